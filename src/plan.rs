//! The plan: which package is built after which, from what the specs declare.
//!
//! Edges are BuildRequires and, for what must be installed to build, the runtime Requires
//! of the project's own packages. A cycle is an error that names it.

mod open;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;
use thiserror::Error;

pub use open::{Foreign, foreign_requirements};

/// One package of the project (a spec), as far as the plan needs to know it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Name in the project.
    pub name: String,
    /// What its spec BuildRequires, as rpm prints it (`gcc >= 4`).
    pub build_requires: Vec<String>,
    /// Its binary packages.
    pub binaries: Vec<Binary>,
}

/// One binary package that a spec declares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Binary {
    /// What it provides, its own name first (`zlib = 1.3-1`).
    pub provides: Vec<String>,
    /// What it requires at run time.
    pub requires: Vec<String>,
}

/// A package in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Name in the project.
    pub name: String,
    /// The packages of the project that must be built before.
    pub needs: BTreeSet<String>,
}

/// Every package once, each after all that it needs; by name where the order is free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In build order.
    pub steps: Vec<Step>,
}

/// Why there is no order.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    /// The packages need each other.
    #[error("the packages need each other to build: {}", describe(.cycle))]
    Cycle {
        /// Each with the capability for which it needs the next; the last needs the first.
        cycle: Vec<(String, String)>,
    },
    /// Two specs declare the same binary package.
    #[error("both `{first}` and `{second}` build a package called `{binary}`")]
    Duplicate {
        /// One spec.
        first: String,
        /// The other.
        second: String,
        /// The binary package.
        binary: String,
    },
    /// A package was asked for that the project does not have.
    #[error("the project has no package `{name}`")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is, sorted.
        known: Vec<String>,
    },
}

fn describe(cycle: &[(String, String)]) -> String {
    let others = cycle.iter().map(|(name, _)| name).cycle().skip(1);
    cycle
        .iter()
        .zip(others)
        .map(|((name, capability), other)| {
            // The package's own name says it all where it is what is needed.
            if capability == other {
                format!("{name} needs {other}")
            } else {
                format!("{name} needs {capability} of {other}")
            }
        })
        .collect::<Vec<_>>()
        .join(", ")
}

/// The name in a dependency: `gcc` of `gcc >= 4`. A rich dependency has none and stays whole.
fn name_of(dependency: &str) -> &str {
    match dependency.split_once(' ') {
        Some((name, _)) if !dependency.starts_with('(') => name,
        _ => dependency,
    }
}

/// The names that a dependency may be met by: its own, or those in a rich dependency that are not only asked about.
fn names_in(dependency: &str) -> Vec<String> {
    match open::rich(dependency) {
        Some(rich) => open::wanted(&rich),
        None => vec![name_of(dependency).to_owned()],
    }
}

/// What a package needs of the others: the package, and the capability that leads to it.
type Needs = BTreeMap<String, String>;

impl Plan {
    /// Orders `nodes`.
    pub fn new(nodes: &[Node]) -> Result<Self, PlanError> {
        let providers = providers(nodes)?;
        let needs: BTreeMap<&str, Needs> = nodes
            .iter()
            .map(|node| (node.name.as_str(), needs_of(node, nodes, &providers)))
            .collect();
        if let Some(cycle) = find_cycle(&needs) {
            return Err(PlanError::Cycle { cycle });
        }
        Ok(Self {
            steps: order(&needs),
        })
    }

    /// The part of the plan that these packages make with all that they need.
    pub fn only(&self, wanted: &[String]) -> Result<Self, PlanError> {
        let mut kept: BTreeSet<&str> = wanted.iter().map(String::as_str).collect();
        for name in &kept {
            if !self.steps.iter().any(|step| step.name == *name) {
                let known: BTreeSet<String> =
                    self.steps.iter().map(|step| step.name.clone()).collect();
                return Err(PlanError::Unknown {
                    name: (*name).to_owned(),
                    known: known.into_iter().collect(),
                });
            }
        }
        let mut steps = Vec::new();
        // What needs something comes after it.
        for step in self.steps.iter().rev() {
            if kept.contains(step.name.as_str()) {
                kept.extend(step.needs.iter().map(String::as_str));
                steps.push(step.clone());
            }
        }
        steps.reverse();
        Ok(Self { steps })
    }
}

/// Capability → indices of node and binary.
type Providers<'a> = BTreeMap<&'a str, Vec<(usize, usize)>>;

fn providers(nodes: &[Node]) -> Result<Providers<'_>, PlanError> {
    let mut providers = Providers::new();
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, node) in nodes.iter().enumerate() {
        for (position, binary) in node.binaries.iter().enumerate() {
            for (place, capability) in binary
                .provides
                .iter()
                .map(|provide| name_of(provide))
                .enumerate()
            {
                providers
                    .entry(capability)
                    .or_default()
                    .push((index, position));
                // By convention the first provide is the package's own name.
                if place == 0
                    && let Some(other) = names.insert(capability, index)
                    && other != index
                {
                    return Err(PlanError::Duplicate {
                        first: nodes[other].name.clone(),
                        second: node.name.clone(),
                        binary: capability.to_owned(),
                    });
                }
            }
        }
    }
    Ok(providers)
}

/// The other packages' binaries that are installed to build `node`, each with the capability that leads
/// to it: from the BuildRequires over the Requires of the project's own packages.
fn installed_for<'a>(
    node: &'a Node,
    nodes: &'a [Node],
    providers: &Providers<'a>,
) -> Vec<(&'a Node, &'a Binary, &'a str)> {
    let mut installed = Vec::new();
    let mut seen = BTreeSet::new();
    let mut queue: VecDeque<&str> = node.build_requires.iter().map(String::as_str).collect();
    while let Some(capability) = queue.pop_front() {
        let names = names_in(capability);
        let found = names.iter().filter_map(|name| providers.get(name.as_str()));
        for &(index, position) in found.flatten() {
            let other = &nodes[index];
            // What a spec builds itself, an earlier build of it from a repository must provide.
            if other.name == node.name || !seen.insert((index, position)) {
                continue;
            }
            let binary = &other.binaries[position];
            installed.push((other, binary, capability));
            queue.extend(binary.requires.iter().map(String::as_str));
        }
    }
    installed
}

fn needs_of(node: &Node, nodes: &[Node], providers: &Providers<'_>) -> Needs {
    let mut needs = Needs::new();
    for (other, _, capability) in installed_for(node, nodes, providers) {
        needs
            .entry(other.name.clone())
            .or_insert_with(|| capability.to_owned());
    }
    needs
}

fn find_cycle(needs: &BTreeMap<&str, Needs>) -> Option<Vec<(String, String)>> {
    let mut graph = DiGraphMap::<&str, ()>::new();
    for (name, needed) in needs {
        graph.add_node(name);
        for other in needed.keys() {
            graph.add_edge(name, other, ());
        }
    }
    let tangle = tarjan_scc(&graph)
        .into_iter()
        .find(|component| component.len() > 1)?;
    let members: BTreeSet<&str> = tangle.into_iter().collect();
    let start = *members.first()?;
    shortest_cycle(start, &members, needs)
}

/// Breadth first from `start` back to `start`, within one strongly connected component.
fn shortest_cycle(
    start: &str,
    members: &BTreeSet<&str>,
    needs: &BTreeMap<&str, Needs>,
) -> Option<Vec<(String, String)>> {
    let mut paths = VecDeque::from([vec![start]]);
    let mut seen = BTreeSet::new();
    while let Some(path) = paths.pop_front() {
        let last = *path.last()?;
        for other in needs[last]
            .keys()
            .map(String::as_str)
            .filter(|other| members.contains(other))
        {
            if other == start {
                let next = path.iter().skip(1).copied().chain([start]);
                let step =
                    |(name, next): (&&str, &str)| ((*name).to_owned(), needs[*name][next].clone());
                return Some(path.iter().zip(next).map(step).collect());
            }
            if seen.insert(other) {
                paths.push_back(path.iter().copied().chain([other]).collect());
            }
        }
    }
    None
}

/// Kahn's algorithm over sorted names.
fn order(needs: &BTreeMap<&str, Needs>) -> Vec<Step> {
    let mut steps = Vec::with_capacity(needs.len());
    let mut dependents: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut open: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, needed) in needs {
        open.insert(name, needed.len());
        for other in needed.keys() {
            dependents.entry(other).or_default().push(name);
        }
    }
    let mut free: BTreeSet<&str> = open
        .iter()
        .filter(|(_, waits)| **waits == 0)
        .map(|(name, _)| *name)
        .collect();
    while let Some(name) = free.pop_first() {
        for dependent in dependents.get(name).into_iter().flatten() {
            if let Some(waits) = open.get_mut(dependent) {
                *waits -= 1;
                if *waits == 0 {
                    free.insert(dependent);
                }
            }
        }
        steps.push(Step {
            name: name.to_owned(),
            needs: needs[name].keys().cloned().collect(),
        });
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, build_requires: &[&str], binaries: &[(&[&str], &[&str])]) -> Node {
        let own = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        Node {
            name: name.to_owned(),
            build_requires: own(build_requires),
            binaries: binaries
                .iter()
                .map(|(provides, requires)| Binary {
                    provides: own(provides),
                    requires: own(requires),
                })
                .collect(),
        }
    }

    fn names(plan: &Plan) -> Vec<&str> {
        plan.steps.iter().map(|step| step.name.as_str()).collect()
    }

    #[test]
    fn a_chain_is_built_from_its_root() {
        let plan = Plan::new(&[
            node("tool", &["gcc", "png-devel"], &[(&["tool"], &[])]),
            node(
                "png",
                &["z-devel"],
                &[
                    (&["png"], &[]),
                    (&["png-devel", "pkgconfig(png)"], &["png", "z-devel"]),
                ],
            ),
            node("z", &["gcc"], &[(&["z"], &[]), (&["z-devel"], &["z"])]),
            node("alone", &[], &[(&["alone"], &[])]),
        ])
        .unwrap();
        assert_eq!(names(&plan), ["alone", "z", "png", "tool"]);
        let needs: Vec<&str> = plan.steps[3].needs.iter().map(String::as_str).collect();
        assert_eq!(
            needs,
            ["png", "z"],
            "png-devel requires z-devel at run time"
        );
    }

    #[test]
    fn a_part_has_what_it_needs() {
        let plan = Plan::new(&[
            node("tool", &["png"], &[(&["tool"], &[])]),
            node("png", &["z"], &[(&["png"], &[])]),
            node("z", &[], &[(&["z"], &[])]),
            node("other", &["z"], &[(&["other"], &[])]),
        ])
        .unwrap();
        let part = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
            plan.only(&wanted)
        };
        assert_eq!(names(&part(&["png"]).unwrap()), ["z", "png"]);
        assert_eq!(
            names(&part(&["tool", "other"]).unwrap()),
            ["z", "other", "png", "tool"]
        );
        insta::assert_snapshot!(part(&["png", "jpeg"]).unwrap_err(), @"the project has no package `jpeg`");
    }

    #[test]
    fn runtime_requires_count_only_for_what_is_installed_to_build() {
        // `app` requires `lib` at run time, but nobody installs `app` to build: no edge.
        let plan = Plan::new(&[
            node("app", &[], &[(&["app"], &["lib"])]),
            node("lib", &["app-data"], &[(&["lib"], &[])]),
            node("data", &[], &[(&["app-data"], &[])]),
        ])
        .unwrap();
        assert_eq!(names(&plan), ["app", "data", "lib"]);
    }

    #[test]
    fn a_cycle_is_named() {
        let error = Plan::new(&[
            node("a", &["b-devel"], &[(&["a"], &[]), (&["a-devel"], &[])]),
            node("b", &["c"], &[(&["b"], &[]), (&["b-devel"], &[])]),
            node("c", &["a-devel"], &[(&["c"], &[])]),
        ])
        .unwrap_err();
        insta::assert_snapshot!(error, @"the packages need each other to build: a needs b-devel of b, b needs c, c needs a-devel of a");
    }

    #[test]
    fn a_package_that_needs_itself_takes_it_from_a_repository() {
        let nodes = [node("make", &["make"], &[(&["make"], &[])])];
        assert_eq!(names(&Plan::new(&nodes).unwrap()), ["make"]);
        let foreign = foreign_requirements(&nodes).unwrap();
        assert_eq!(foreign[0].1[0].open, "make");
    }

    #[test]
    fn a_rich_dependency_on_an_own_package_is_an_edge() {
        let needs = |rich: &str| -> Vec<String> {
            let plan = Plan::new(&[
                node("tool", &[rich], &[(&["tool"], &[])]),
                node("x", &[], &[(&["x", "x(api) = 2"], &[])]),
                node("y", &[], &[(&["y"], &[])]),
            ]);
            let steps = plan.unwrap().steps;
            let tool = steps.into_iter().find(|step| step.name == "tool").unwrap();
            tool.needs.into_iter().collect()
        };
        for (rich, expected) in [
            ("(x and gcc)", &["x"][..]),
            ("(x >= 1 or y)", &["x", "y"]),
            ("(x(api) with x(api) < 3)", &["x"]),
            ("(gcc or (clang and x))", &["x"]),
            ("(x if gcc else y)", &["x", "y"]),
            // What is only asked about need not be there.
            ("(gcc if x)", &[]),
            ("(x unless y)", &["x"]),
            ("(x without y)", &["x"]),
            ("(this is no dependency", &[]),
        ] {
            assert_eq!(needs(rich), expected, "{rich}");
        }
    }

    #[test]
    fn one_binary_has_one_spec() {
        let error = Plan::new(&[
            node("a", &[], &[(&["x"], &[])]),
            node("b", &[], &[(&["x"], &[])]),
        ])
        .unwrap_err();
        insta::assert_snapshot!(error, @"both `a` and `b` build a package called `x`");
    }

    proptest::proptest! {
        /// Whatever the edges: every package once, each after all that it needs, or a true cycle.
        #[test]
        fn the_order_holds(edges in proptest::collection::vec((0..8_usize, 0..8_usize), 0..20)) {
            let nodes: Vec<Node> = (0..8)
                .map(|index| {
                    let needs: Vec<String> =
                        edges.iter().filter(|(from, _)| *from == index).map(|(_, to)| format!("p{to}")).collect();
                    let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
                    node(&format!("p{index}"), &needs, &[(&[&format!("p{index}")], &[])])
                })
                .collect();
            match Plan::new(&nodes) {
                Ok(plan) => {
                    proptest::prop_assert_eq!(plan.steps.len(), 8);
                    let mut done = BTreeSet::new();
                    for step in plan.steps {
                        proptest::prop_assert!(step.needs.is_subset(&done));
                        done.insert(step.name);
                    }
                }
                Err(PlanError::Cycle { cycle }) => {
                    for (place, (name, capability)) in cycle.iter().enumerate() {
                        let next = &cycle[(place + 1) % cycle.len()].0;
                        proptest::prop_assert_eq!(capability, next);
                        let node = nodes.iter().find(|node| &node.name == name).unwrap();
                        proptest::prop_assert!(node.build_requires.contains(capability));
                    }
                }
                Err(other) => proptest::prop_assert!(false, "{}", other),
            }
        }
    }
}
