//! The project's own packages as kept runs built them: what a build by hand takes instead of building it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::build::run::REPOSITORY;
use crate::record::runs::Run;
use crate::rpm::{PackageFacts, RpmError, read_package};
use crate::solve::{Preference, Request, SolveError, Universe, Unsolvable, Wanted};

/// A package that a kept run built.
#[derive(Debug, Clone)]
pub struct OwnPackage {
    /// What it says of itself.
    pub facts: PackageFacts,
    /// The file.
    pub path: PathBuf,
}

impl AsRef<PackageFacts> for OwnPackage {
    fn as_ref(&self) -> &PackageFacts {
        &self.facts
    }
}

/// The packages of each of the project's specs, from the newest of these runs (oldest first) that has them.
pub fn newest(runs: &[Run]) -> Result<Vec<OwnPackage>, RpmError> {
    let mut newest: BTreeMap<&str, Vec<PathBuf>> = BTreeMap::new();
    for run in runs {
        for package in run.record.iter().flat_map(|record| &record.packages) {
            let repository = run.folder.join(REPOSITORY);
            let files: Vec<PathBuf> = package
                .outputs
                .iter()
                .map(|file| repository.join(&file.path))
                .collect();
            if package.outcome.good() && files.iter().all(|file| file.is_file()) {
                newest.insert(&package.name, files);
            }
        }
    }
    let mut found = Vec::new();
    for path in newest.into_values().flatten() {
        let facts = read_package(&path)?;
        if !facts.is_source() {
            found.push(OwnPackage { facts, path });
        }
    }
    Ok(found)
}

/// Which of the own packages have to be installed for `requirements`, in order, or why there is no way.
pub fn select<'a>(
    (arch, installed): (&str, &[PackageFacts]),
    own: &'a [OwnPackage],
    requirements: &[String],
    asked_by: &str,
) -> Result<Result<Vec<&'a OwnPackage>, Unsolvable>, SolveError> {
    let mut universe = Universe::new(arch)?;
    universe.add_installed(installed);
    let repository = universe.add_repository("project", Preference::default(), own);
    let request = Request {
        install: requirements
            .iter()
            .map(|capability| Wanted::dependency(capability, asked_by))
            .collect(),
        ..Request::default()
    };
    Ok(universe.solve(&request).map(|solution| {
        let selected = solution.packages.iter();
        selected
            .filter(|selected| selected.repository == repository)
            .map(|selected| &own[selected.package])
            .collect()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpm::{Dependency, Requirement};

    fn facts(nevra: &str, requires: &[&str]) -> PackageFacts {
        let mut facts = PackageFacts::new(nevra.parse().unwrap());
        facts.provides = vec![Dependency::new(&facts.nevra.name, None)];
        facts.requires = requires
            .iter()
            .map(|text| Requirement {
                dependency: text.parse().unwrap(),
                pre: false,
            })
            .collect();
        facts
    }

    #[test]
    fn what_is_installed_is_not_taken_again_and_what_it_needs_comes_along() {
        let own: Vec<OwnPackage> = [("lib-1-1.noarch", &[][..]), ("tool-1-1.noarch", &["lib"])]
            .into_iter()
            .map(|(nevra, requires)| OwnPackage {
                facts: facts(nevra, requires),
                path: PathBuf::from(nevra),
            })
            .collect();
        let installed = [facts("make-1-1.noarch", &[])];
        let paths = |requirements: &[&str]| {
            let requirements: Vec<String> =
                requirements.iter().map(|&text| text.to_owned()).collect();
            let selected = select(("x86_64", &installed), &own, &requirements, "x").unwrap();
            selected.map(|own| own.iter().map(|one| one.path.clone()).collect::<Vec<_>>())
        };
        assert_eq!(paths(&["make"]).unwrap(), Vec::<PathBuf>::new());
        let both = ["lib-1-1.noarch", "tool-1-1.noarch"].map(PathBuf::from);
        assert_eq!(paths(&["make", "tool"]).unwrap(), both);
        assert!(paths(&["cmake"]).is_err());
    }
}
