//! The packages to choose from.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::explain;
use super::libsolv::{Answer, Job, List, Pool, Relation, RepositoryIndex, SolvableId, StringId};
use super::problem::Unsolvable;
use super::request::{Request, Selected, Solution};
use crate::rpm::{Comparison, Dependency, Nevra, Operator, PackageFacts, Rich};

/// What provides the project's own capabilities; never part of a solution.
const PHANTOM: &str = "pristine-project";

/// Packages of which several versions are installed beside each other: dnf's `installonlypkgs`.
const MULTI_VERSION: [&str; 6] = [
    "kernel",
    "kernel-PAE",
    "installonlypkg(kernel)",
    "installonlypkg(kernel-module)",
    "installonlypkg(vm)",
    "multiversion(kernel)",
];

/// A repository of a universe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryId(usize);

/// Which of several repositories wins; dnf's keys of the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Preference {
    /// The lowest wins, whatever the versions.
    pub priority: u16,
    /// Of the same package at the same priority the cheapest wins.
    pub cost: u16,
}

impl Default for Preference {
    /// dnf's defaults.
    fn default() -> Self {
        Self {
            priority: 99,
            cost: 1000,
        }
    }
}

/// Why a universe cannot be made or asked.
#[derive(Debug, Error)]
pub enum SolveError {
    /// The libsolv that was linked does not know RPM.
    #[error("the solver was built without RPM semantics: this is a fault of the build of pristine")]
    NoRpm,
    /// The request cannot be met.
    #[error(transparent)]
    Unsolvable(#[from] Unsolvable),
}

/// All packages to choose from, and their dependencies.
///
/// Not `Send`: made, asked and dropped on one thread, never kept across an `await`.
pub struct Universe {
    pub(super) pool: Pool,
    /// Where each solvable came from; `None` for the phantom.
    pub(super) origins: BTreeMap<SolvableId, (RepositoryId, usize)>,
    /// The pool's repository and its solvables by the place the caller knows.
    repositories: Vec<(RepositoryIndex, Vec<Option<SolvableId>>)>,
    installed: Option<RepositoryIndex>,
    phantom: Option<(Vec<Dependency>, SolvableId)>,
    pub(super) obsoletes: Vec<(StringId, SolvableId)>,
    pub(super) found_files: BTreeSet<String>,
    indexed: bool,
}

impl std::fmt::Debug for Universe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Universe")
            .field("packages", &self.origins.len())
            .finish_non_exhaustive()
    }
}

impl Universe {
    /// An empty universe for machines of the architecture `arch`, as rpm names it (`x86_64`).
    pub fn new(arch: &str) -> Result<Self, SolveError> {
        Ok(Self {
            pool: Pool::new(arch).ok_or(SolveError::NoRpm)?,
            origins: BTreeMap::new(),
            repositories: Vec::new(),
            installed: None,
            phantom: None,
            obsoletes: Vec::new(),
            found_files: BTreeSet::new(),
            indexed: false,
        })
    }

    /// Tells the names of all packages before any is added. libsolv breaks ties by when it first heard
    /// of a name: so they go by the alphabet, whatever other packages there are.
    pub fn introduce<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        let names: BTreeSet<&str> = names.into_iter().collect();
        for name in names {
            self.pool.string(name);
        }
    }

    /// Adds a repository with all its packages; source packages are never chosen.
    pub fn add_repository<P: AsRef<PackageFacts>>(
        &mut self,
        name: &str,
        preference: Preference,
        packages: &[P],
    ) -> RepositoryId {
        let priority = -i32::from(preference.priority);
        let index = self
            .pool
            .add_repository(name, priority, i32::from(preference.cost));
        self.fill(index, packages)
    }

    /// Adds the packages that are installed already. At most once.
    pub fn add_installed<P: AsRef<PackageFacts>>(&mut self, packages: &[P]) -> RepositoryId {
        let index = self.installed_repository();
        self.fill(index, packages)
    }

    fn installed_repository(&mut self) -> RepositoryIndex {
        if let Some(index) = self.installed {
            return index;
        }
        let index = self.pool.add_repository("installed", 0, 0);
        self.pool.set_installed(index);
        *self.installed.insert(index)
    }

    fn fill<P: AsRef<PackageFacts>>(
        &mut self,
        index: RepositoryIndex,
        packages: &[P],
    ) -> RepositoryId {
        let repository = RepositoryId(self.repositories.len());
        let mut order: Vec<_> = packages.iter().map(AsRef::as_ref).enumerate().collect();
        // Strings and packages get their numbers in this order, and libsolv breaks ties by number: by the names of the files, as
        // createrepo_c writes them, so that ties end as in dnf.
        order.sort_by_key(|(_, facts)| *facts);
        order.sort_by_cached_key(|(_, facts)| facts.nevra.file_name());
        self.introduce(order.iter().map(|(_, facts)| facts.nevra.name.as_str()));
        let mut solvables = vec![None; packages.len()];
        for (place, facts) in order {
            if !facts.is_source() {
                let solvable = self.add_package(index, facts);
                self.origins.insert(solvable, (repository, place));
                solvables[place] = Some(solvable);
            }
        }
        self.pool.internalise(index);
        self.repositories.push((index, solvables));
        self.indexed = false;
        repository
    }

    fn add_package(&mut self, index: RepositoryIndex, facts: &PackageFacts) -> SolvableId {
        let nevra = &facts.nevra;
        let solvable = self.pool.add_solvable(
            index,
            [&nevra.name, &nevra.evr(), &nevra.arch, &facts.vendor],
        );
        self.add_list(solvable, List::Provides, &facts.provides);
        for requirement in facts
            .requires
            .iter()
            .filter(|requirement| !requirement.dependency.is_rpmlib())
        {
            let list = if requirement.pre {
                List::RequiresBefore
            } else {
                List::Requires
            };
            self.add_list(solvable, list, [&requirement.dependency]);
        }
        self.add_list(solvable, List::Conflicts, &facts.conflicts);
        for dependency in &facts.obsoletes {
            let id = self.dependency(dependency);
            self.pool.add_dependency(solvable, List::Obsoletes, id);
            self.obsoletes.push((id, solvable));
        }
        self.add_list(solvable, List::Suggests, &facts.suggests);
        self.add_list(solvable, List::Enhances, &facts.enhances);
        self.add_list(solvable, List::Recommends, &facts.recommends);
        self.add_list(solvable, List::Supplements, &facts.supplements);
        for path in &facts.files {
            self.pool.add_file(index, solvable, path);
        }
        solvable
    }

    fn add_list<'a>(
        &mut self,
        solvable: SolvableId,
        list: List,
        dependencies: impl IntoIterator<Item = &'a Dependency>,
    ) {
        for dependency in dependencies {
            let id = self.dependency(dependency);
            self.pool.add_dependency(solvable, list, id);
        }
    }

    /// Rich dependencies that cannot be read are names that nothing provides, as in dnf.
    pub(super) fn dependency(&mut self, dependency: &Dependency) -> StringId {
        match dependency.rich() {
            Ok(rich) => self.rich(&rich),
            Err(_) => self.pool.string(dependency.as_str()),
        }
    }

    fn rich(&mut self, rich: &Rich) -> StringId {
        let (operator, operands, otherwise) = match rich {
            Rich::Plain(dependency) => return self.plain(dependency),
            Rich::Joined {
                operator,
                operands,
                otherwise,
            } => (*operator, operands, otherwise),
        };
        let mut ids: Vec<_> = operands.iter().map(|operand| self.rich(operand)).collect();
        let Some(mut last) = ids.pop() else {
            return self.pool.string(&rich.to_string());
        };
        if let Some(otherwise) = otherwise {
            let otherwise = self.rich(otherwise);
            last = self.pool.relation(last, Relation::Else, otherwise);
        }
        let relation = match operator {
            Operator::And => Relation::And,
            Operator::Or => Relation::Or,
            Operator::With => Relation::With,
            Operator::Without => Relation::Without,
            Operator::If => Relation::If,
            Operator::Unless => Relation::Unless,
        };
        ids.into_iter().rev().fold(last, |right, left| {
            self.pool.relation(left, relation, right)
        })
    }

    fn plain(&mut self, dependency: &Dependency) -> StringId {
        let name = self.pool.string(dependency.name());
        let Some((comparison, version)) = dependency.comparison() else {
            return name;
        };
        let relation = match comparison {
            Comparison::Less => Relation::Less,
            Comparison::LessOrEqual => Relation::LessOrEqual,
            Comparison::Equal => Relation::Equal,
            Comparison::GreaterOrEqual => Relation::GreaterOrEqual,
            Comparison::Greater => Relation::Greater,
        };
        let version = self.pool.string(version);
        self.pool.relation(name, relation, version)
    }

    /// Says that `paths` were looked up in `filelists`, and which packages (by their place in the
    /// repository as added) have which of them.
    pub fn add_files(
        &mut self,
        paths: &BTreeSet<String>,
        owners: impl IntoIterator<Item = (RepositoryId, usize, Vec<String>)>,
    ) {
        for (repository, place, owned) in owners {
            let solvable = self
                .repositories
                .get(repository.0)
                .and_then(|(_, solvables)| *solvables.get(place)?);
            for path in owned.iter().filter(|_| solvable.is_some()) {
                let id = self.pool.string(path);
                if let Some(solvable) = solvable {
                    self.pool.add_dependency(solvable, List::Provides, id);
                }
            }
        }
        self.found_files.extend(paths.iter().cloned());
        self.indexed = false;
    }

    /// Solves the request.
    pub fn solve(&mut self, request: &Request) -> Result<Solution, Unsolvable> {
        self.prepare(request);
        let mut jobs = Vec::new();
        let mut missing = Vec::new();
        for wanted in &request.install {
            match self.meaning_of(wanted, request.policy) {
                Some(job) => jobs.push(job),
                None => missing.push(explain::missing(self, wanted)),
            }
        }
        if !missing.is_empty() {
            return Err(Unsolvable { problems: missing });
        }
        let keep = self.find(&request.keep);
        if !keep.is_empty() {
            jobs.push(Job::Favor(keep));
        }
        jobs.extend(MULTI_VERSION.map(|name| Job::MultiVersion(self.pool.string(name))));
        match self.pool.solve(&jobs, request.allow_weak, request.policy) {
            Answer::Solved { install, replaced } => Ok(Solution {
                packages: install
                    .into_iter()
                    .filter_map(|solvable| self.selected(solvable))
                    .collect(),
                replaced: replaced
                    .into_iter()
                    .map(|solvable| self.nevra(solvable))
                    .collect(),
            }),
            Answer::Problems(problems) => Err(explain::problems(self, request, &jobs, &problems)),
        }
    }

    fn selected(&self, solvable: SolvableId) -> Option<Selected> {
        let (repository, package) = *self.origins.get(&solvable)?;
        Some(Selected {
            repository,
            package,
            nevra: self.nevra(solvable),
        })
    }

    /// What names a solvable.
    pub(super) fn nevra(&self, solvable: SolvableId) -> Nevra {
        let [name, evr, arch] = self.pool.names(solvable);
        let (epoch, rest) = evr.split_once(':').unwrap_or(("0", &evr));
        let (version, release) = rest.rsplit_once('-').unwrap_or((rest, ""));
        Nevra {
            name,
            epoch: epoch.parse().unwrap_or_default(),
            version: version.to_owned(),
            release: release.to_owned(),
            arch,
        }
    }

    /// Brings the phantom and the index up to date.
    pub(super) fn prepare(&mut self, request: &Request) {
        let provided = self
            .phantom
            .as_ref()
            .map_or(&[][..], |(provided, _)| provided);
        if provided != request.exclude.as_slice() {
            self.replace_phantom(&request.exclude);
        }
        if !self.indexed {
            self.pool.index();
            self.indexed = true;
        }
    }

    fn replace_phantom(&mut self, provided: &[Dependency]) {
        let index = self.installed_repository();
        if let Some((_, solvable)) = self.phantom.take() {
            self.pool.remove_solvable(index, solvable);
        }
        if !provided.is_empty() {
            let solvable = self
                .pool
                .add_solvable(index, [PHANTOM, "0-0", "noarch", ""]);
            self.add_list(solvable, List::Provides, provided);
            self.phantom = Some((provided.to_vec(), solvable));
        }
        self.indexed = false;
    }
}
