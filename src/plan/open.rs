//! What of the packages' requirements the project does not meet itself, and repositories must.

use std::collections::BTreeSet;

use super::{Binary, Node, PlanError, Providers, installed_for, name_of, providers};
use crate::rpm::{Dependency, Operator, Rich};

/// A requirement that must be met from repositories so that a package can be built.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Foreign<'a> {
    /// The package of the project that asks.
    pub asker: &'a str,
    /// The requirement as its spec has it.
    pub capability: &'a str,
    /// What of it is open: all of it, or of a rich dependency the part that the project's packages do not meet.
    pub open: String,
}

/// What must come from repositories so that each package can be built: its BuildRequires, and the Requires of the
/// project's packages that are installed for it; less what the project's other packages provide.
pub fn foreign_requirements(nodes: &[Node]) -> Result<Vec<(&str, Vec<Foreign<'_>>)>, PlanError> {
    let providers = providers(nodes)?;
    let of = |node| (Node::name(node), foreign(node, nodes, &providers));
    Ok(nodes.iter().map(of).collect())
}

impl Node {
    fn name(&self) -> &str {
        &self.name
    }
}

fn foreign<'a>(node: &'a Node, nodes: &'a [Node], providers: &Providers<'a>) -> Vec<Foreign<'a>> {
    let installed = installed_for(node, nodes, providers);
    let project = Project {
        name: &node.name,
        nodes,
        providers,
        installed: installed
            .iter()
            .flat_map(|(_, binary, _)| names(binary))
            .collect(),
    };
    let asked = node.build_requires.iter().map(|one| (node.name(), one));
    let at_run_time = installed.iter().flat_map(|(other, binary, _)| {
        let requires = binary.requires.iter();
        requires.map(|one| (other.name(), one))
    });
    let mut found: Vec<Foreign<'a>> = asked
        .chain(at_run_time)
        .flat_map(|(asker, capability)| {
            project
                .open(capability)
                .into_iter()
                .map(move |open| Foreign {
                    asker,
                    capability,
                    open,
                })
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn names(binary: &Binary) -> impl Iterator<Item = &str> {
    binary.provides.iter().map(|provide| name_of(provide))
}

/// The rich dependency that a text is.
pub(super) fn rich(dependency: &str) -> Option<Rich> {
    let rich = dependency.starts_with('(').then(|| Rich::parse(dependency));
    rich?.ok()
}

/// The names that a rich dependency asks for, without those that it only asks about.
pub(super) fn wanted(rich: &Rich) -> Vec<String> {
    match rich {
        Rich::Plain(dependency) => vec![dependency.name().to_owned()],
        Rich::Joined {
            operator,
            operands,
            otherwise,
        } => {
            let asked = match operator {
                Operator::And | Operator::Or | Operator::With => operands.len(),
                Operator::Without | Operator::If | Operator::Unless => 1,
            };
            let asked = operands.iter().take(asked);
            asked.chain(otherwise.as_deref()).flat_map(wanted).collect()
        }
    }
}

/// The project as the build of one package sees it.
struct Project<'a, 'p> {
    name: &'a str,
    nodes: &'a [Node],
    providers: &'p Providers<'a>,
    /// What the project's packages that are installed for it provide.
    installed: BTreeSet<&'a str>,
}

impl Project<'_, '_> {
    /// Whether another package of the project provides it.
    fn has(&self, name: &str) -> bool {
        let found = self.providers.get(name).into_iter().flatten();
        let mut others = found.filter(|(index, _)| self.nodes[*index].name != self.name);
        others.next().is_some()
    }

    /// What of a requirement repositories must meet.
    fn open(&self, capability: &str) -> Vec<String> {
        match rich(capability) {
            Some(rich) => self.open_in(&rich),
            None if self.has(name_of(capability)) => Vec::new(),
            None => vec![capability.to_owned()],
        }
    }

    fn open_in(&self, rich: &Rich) -> Vec<String> {
        let (operator, operands, otherwise) = match rich {
            Rich::Plain(dependency) => return self.open(dependency.as_str()),
            Rich::Joined {
                operator,
                operands,
                otherwise,
            } => (operator, operands, otherwise.as_deref()),
        };
        let met = |rich: &Rich| self.open_in(rich).is_empty();
        let whole = || vec![rich.to_string()];
        let (first, last) = (&operands[0], &operands[operands.len() - 1]);
        let part = |taken: bool| match (taken, otherwise) {
            (true, _) => self.open_in(first),
            (false, Some(otherwise)) => self.open_in(otherwise),
            (false, None) => Vec::new(),
        };
        match operator {
            Operator::And => operands.iter().flat_map(|one| self.open_in(one)).collect(),
            Operator::Or | Operator::With if operands.iter().any(met) => Vec::new(),
            Operator::Without if met(first) => Vec::new(),
            Operator::If | Operator::Unless => match self.holds(last) {
                Some(holds) => part(holds == (*operator == Operator::If)),
                None if met(first) && otherwise.is_none_or(met) => Vec::new(),
                None => whole(),
            },
            Operator::Or | Operator::With | Operator::Without => whole(),
        }
    }

    /// Whether a condition holds in the build, where it is about the project's packages alone.
    fn holds(&self, condition: &Rich) -> Option<bool> {
        let leaves = condition.leaves();
        let own = leaves.iter().all(|leaf| self.has(Dependency::name(leaf)));
        let there = |leaf: &&Dependency| self.installed.contains(leaf.name());
        match condition {
            _ if !own => None,
            Rich::Joined {
                operator: Operator::Or,
                ..
            } => Some(leaves.iter().any(there)),
            _ => Some(leaves.iter().all(there)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    fn node(name: &str, build_requires: &[&str], binaries: &[(&str, &[&str])]) -> Node {
        let binary = |(provides, requires): &(&str, &[&str])| Binary {
            provides: own(&[provides]),
            requires: own(requires),
        };
        Node {
            name: name.to_owned(),
            build_requires: own(build_requires),
            binaries: binaries.iter().map(binary).collect(),
        }
    }

    #[test]
    fn what_is_installed_to_build_brings_its_requirements() {
        let nodes = [
            node(
                "tool",
                &["gcc >= 4", "png-devel >= 1"],
                &[("tool", &["unrelated"])],
            ),
            node(
                "png",
                &["cmake"],
                &[
                    ("png-devel = 1-1", &["png = 1-1", "pkgconf"]),
                    ("png = 1-1", &["libc"]),
                ],
            ),
        ];
        let foreign = foreign_requirements(&nodes).unwrap();
        let of_tool = foreign[0].1.iter().map(|one| (one.asker, &*one.open));
        assert_eq!(
            of_tool.collect::<Vec<_>>(),
            [("png", "libc"), ("png", "pkgconf"), ("tool", "gcc >= 4")]
        );
    }

    #[test]
    fn repositories_are_asked_for_what_the_project_leaves_open() {
        let open = |rich: &str| -> Vec<String> {
            let nodes = [
                node("tool", &[rich, "there"], &[("tool", &[])]),
                node("x", &[], &[("x", &[]), ("there", &[])]),
                node("y", &[], &[("y", &[])]),
            ];
            let found = foreign_requirements(&nodes).unwrap();
            found[0].1.iter().map(|one| one.open.clone()).collect()
        };
        for (rich, expected) in [
            ("(x and gcc >= 4 and make)", &["gcc >= 4", "make"][..]),
            ("(x or gcc)", &[]),
            ("(gcc or make)", &["(gcc or make)"]),
            ("(x with y)", &[]),
            ("(gcc without x)", &["(gcc without x)"]),
            ("(x without gcc)", &[]),
            // `there` is installed, `y` is not.
            ("(gcc if there)", &["gcc"]),
            ("(gcc if y)", &[]),
            ("(gcc if y else make)", &["make"]),
            ("(gcc unless there else make)", &["make"]),
            ("(gcc if (y or there))", &["gcc"]),
            ("(gcc if (y and there))", &[]),
            ("(gcc if make)", &["(gcc if make)"]),
            ("(x if make)", &[]),
            ("(not closed", &["(not closed"]),
        ] {
            assert_eq!(open(rich), expected, "{rich}");
        }
    }
}
