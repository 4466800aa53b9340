//! Which of the project's own packages are installed for a build: the solver's answer, on what the snapshot has.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::record::FileRecord;
use crate::rpm::{Dependency, PackageFacts};
use crate::solve::{Preference, Request, SolveError, Universe, Unsolvable, Wanted};

/// A package of the project that this run has.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) facts: PackageFacts,
    pub(super) file: FileRecord,
}

impl AsRef<PackageFacts> for Own {
    fn as_ref(&self) -> &PackageFacts {
        &self.facts
    }
}

/// What is installed in the snapshot. Its thousands of files are told to the solver only where somebody asks for one.
#[derive(Debug)]
pub(super) struct Installed {
    arch: String,
    packages: Vec<PackageFacts>,
    files: BTreeMap<String, Vec<usize>>,
    asked: BTreeSet<String>,
    /// What own packages may have to do with: its names, and what it requires.
    names: BTreeSet<String>,
}

impl Installed {
    pub(super) fn new(arch: &str, packages: &[PackageFacts]) -> Self {
        let mut files: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let (mut asked, mut names) = (BTreeSet::new(), BTreeSet::new());
        let mut slim = packages.to_vec();
        for (place, facts) in slim.iter_mut().enumerate() {
            for path in std::mem::take(&mut facts.files) {
                files.entry(path).or_default().push(place);
            }
            asked.extend(files_asked_for(facts));
            names.insert(facts.nevra.name.clone());
            names.extend(led_to(facts));
        }
        Self {
            arch: arch.to_owned(),
            packages: slim,
            files,
            asked,
            names,
        }
    }

    /// The packages of `own` to install for what `asked_by` asks for, in order; or, in words, why they cannot be.
    pub(super) fn choose(
        &self,
        asked_by: &str,
        build_requires: &[String],
        own: &[Arc<Own>],
    ) -> Result<Result<Vec<FileRecord>, String>, SolveError> {
        // rpmbuild itself looks whether the environment has the rest.
        if own.is_empty() {
            return Ok(Ok(Vec::new()));
        }
        let all: Vec<&Own> = own.iter().map(Arc::as_ref).collect();
        let near = self.reachable(build_requires, &all);
        let chosen = match self.solve(asked_by, build_requires, &near)? {
            // What else there is may explain it.
            Err(_) if near.len() < all.len() => self.solve(asked_by, build_requires, &all)?,
            chosen => chosen,
        };
        Ok(chosen.map_err(|why| format!("what it needs cannot be installed: {why}")))
    }

    /// The packages of `own` that can have a part in the answer: those that have, or take the place of, something that is asked for,
    /// that is installed, or that one of them requires. A long plan has thousands, of which a build needs few.
    fn reachable<'a>(&self, build_requires: &[String], own: &[&'a Own]) -> Vec<&'a Own> {
        let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, own) in own.iter().enumerate() {
            let facts = &own.facts;
            let given = facts.provides.iter().chain(&facts.obsoletes);
            for name in given.map(Dependency::name).chain([&*facts.nevra.name]) {
                by_name.entry(name).or_default().push(place);
            }
        }
        let wanted = build_requires.iter().flat_map(|text| names_in(text));
        let mut queue: Vec<String> = self.names.iter().cloned().chain(wanted).collect();
        let mut asked: BTreeSet<String> = queue.iter().cloned().collect();
        let mut reached = BTreeSet::new();
        while let Some(name) = queue.pop() {
            let mut found = by_name.get(name.as_str()).cloned().unwrap_or_default();
            if name.starts_with('/') {
                let has = |place: &usize| own[*place].facts.files.contains(&name);
                found.extend((0..own.len()).filter(has));
            }
            for place in found.into_iter().filter(|place| reached.insert(*place)) {
                let facts = &own[place].facts;
                let names = led_to(facts).chain([facts.nevra.name.clone()]);
                queue.extend(names.filter(|name| asked.insert(name.clone())));
            }
        }
        reached.into_iter().map(|place| own[place]).collect()
    }

    fn solve(
        &self,
        asked_by: &str,
        build_requires: &[String],
        own: &[&Own],
    ) -> Result<Result<Vec<FileRecord>, Unsolvable>, SolveError> {
        let mut universe = Universe::new(&self.arch)?;
        let installed = universe.add_installed(&self.packages);
        let facts: Vec<&PackageFacts> = own.iter().map(|own| &own.facts).collect();
        let project = universe.add_repository("project", Preference::default(), &facts);
        let wanted = build_requires.iter().flat_map(|text| paths_in(text));
        let mut asked: BTreeSet<String> = self.asked.iter().cloned().chain(wanted).collect();
        asked.extend(facts.iter().flat_map(|facts| files_asked_for(facts)));
        let mut owned: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for path in &asked {
            for place in self.files.get(path).into_iter().flatten() {
                owned.entry(*place).or_default().push(path.clone());
            }
        }
        let owners = owned
            .into_iter()
            .map(|(place, paths)| (installed, place, paths));
        universe.add_files(&asked, owners);
        let request = Request {
            install: build_requires
                .iter()
                .map(|capability| Wanted::dependency(capability, asked_by))
                .collect(),
            ..Request::default()
        };
        Ok(universe.solve(&request).map(|solution| {
            solution
                .packages
                .iter()
                .filter(|selected| selected.repository == project)
                .map(|selected| own[selected.package].file.clone())
                .collect()
        }))
    }
}

/// The names to which a package leads: what it requires, and the parts of rich conflicts, since installing something may meet `unless`.
fn led_to(facts: &PackageFacts) -> impl Iterator<Item = String> {
    let required = facts
        .requires
        .iter()
        .map(|requirement| &requirement.dependency);
    let rich = facts.conflicts.iter().filter(|conflict| conflict.is_rich());
    required.chain(rich).flat_map(Dependency::leaf_names)
}

fn files_asked_for(facts: &PackageFacts) -> Vec<String> {
    let required = facts
        .requires
        .iter()
        .map(|requirement| &requirement.dependency);
    let all = required.chain(&facts.conflicts);
    all.filter(|dependency| dependency.is_file() || dependency.is_rich())
        .flat_map(Dependency::leaf_names)
        .filter(|name| name.starts_with('/'))
        .collect()
}

/// What a BuildRequires names, as rpm prints it.
fn names_in(text: &str) -> Vec<String> {
    match text.parse::<Dependency>() {
        Ok(dependency) => dependency.leaf_names(),
        Err(_) => vec![text.to_owned()],
    }
}

/// Paths in a BuildRequires.
fn paths_in(text: &str) -> Vec<String> {
    let mut names = names_in(text);
    names.retain(|name| name.starts_with('/'));
    names
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::digest::Digest;
    use crate::rpm::Requirement;

    fn list(kinds: &'static str, most: usize) -> impl Strategy<Value = Vec<String>> {
        proptest::collection::vec(kinds, 0..most)
    }

    /// Any dependency of few names, versions and forms.
    const ANY: &str = "[a-f]( (<|>=|=) [123])?|/[a-f]|\\([a-f] (or|and|if|unless) [a-f]\\)";
    const PLAIN: &str = "[a-f]( (<|>=|=) [123])?";

    prop_compose! {
        fn facts()(
            name in "[a-f]", version in 1..4_u32, provides in list(PLAIN, 2), requires in list(ANY, 3), conflicts in list(ANY, 2),
            obsoletes in list(PLAIN, 2), files in list("/[a-f]", 2),
        ) -> PackageFacts {
            let parsed = |list: Vec<String>| -> Vec<Dependency> { list.iter().map(|text| text.parse().unwrap()).collect() };
            let mut facts = PackageFacts::new(format!("{name}-{version}-1.noarch").parse().unwrap());
            facts.provides = parsed(provides);
            facts.provides.push(Dependency::new(&name, Some((crate::rpm::Comparison::Equal, &format!("{version}-1")))));
            facts.requires = parsed(requires).into_iter().map(|dependency| Requirement { dependency, pre: false }).collect();
            (facts.conflicts, facts.obsoletes, facts.files) = (parsed(conflicts), parsed(obsoletes), files);
            facts
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn what_cannot_be_reached_has_no_part_in_the_answer(
            installed in proptest::collection::vec(facts(), 0..3), own in proptest::collection::vec(facts(), 0..7), wanted in list(ANY, 3),
        ) {
            let installed = Installed::new("x86_64", &installed);
            let own: Vec<Own> = own.into_iter().map(|facts| {
                let file = FileRecord { path: facts.nevra.to_string().into(), size: 1, sha256: Digest::of(b"") };
                Own { facts, file }
            }).collect();
            let all: Vec<&Own> = own.iter().collect();
            let near = installed.reachable(&wanted, &all);
            let of_all = installed.solve("x", &wanted, &all).unwrap();
            let of_near = installed.solve("x", &wanted, &near).unwrap();
            prop_assert_eq!(of_near.ok(), of_all.ok());
        }
    }
}
