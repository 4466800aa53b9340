//! Which of the project's own packages are installed for a build: the solver's answer, on what the snapshot has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::record::FileRecord;
use crate::rpm::{Dependency, PackageFacts};
use crate::solve::{Preference, Request, SolveError, Universe, Wanted};

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
}

impl Installed {
    pub(super) fn new(arch: &str, packages: &[PackageFacts]) -> Self {
        let mut files: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut asked = BTreeSet::new();
        let mut slim = packages.to_vec();
        for (place, facts) in slim.iter_mut().enumerate() {
            for path in std::mem::take(&mut facts.files) {
                files.entry(path).or_default().push(place);
            }
            asked.extend(files_asked_for(facts));
        }
        Self {
            arch: arch.to_owned(),
            packages: slim,
            files,
            asked,
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
        Ok(match universe.solve(&request) {
            Ok(solution) => Ok(solution
                .packages
                .iter()
                .filter(|selected| selected.repository == project)
                .map(|selected| own[selected.package].file.clone())
                .collect()),
            Err(why) => Err(format!("what it needs cannot be installed: {why}")),
        })
    }
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

/// Paths in a BuildRequires as rpm prints it.
fn paths_in(text: &str) -> Vec<String> {
    let Ok(dependency) = text.parse::<Dependency>() else {
        return Vec::new();
    };
    let names = dependency.leaf_names().into_iter();
    names.filter(|name| name.starts_with('/')).collect()
}
