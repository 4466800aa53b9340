//! libsolv behind a safe face: the only file of the project that calls it.
//!
//! A pool owns everything that hangs on it (repositories, solvables, strings) and is freed with them.
//! No pointer leaves this file: outside, strings, solvables and repositories are numbers, checked
//! where they come back in. A pool is neither `Send` nor `Sync`, as libsolv demands.
#![expect(unsafe_code, reason = "libsolv is a C library")]

use std::ffi::{CStr, CString, c_void};
use std::marker::PhantomData;
use std::ptr::NonNull;

use libc::{c_char, c_int};
use rattler_libsolv_c as ffi;

/// A string or relation of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct StringId(ffi::Id);

/// A package in the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SolvableId(ffi::Id);

/// A repository of the pool, by its place among those added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RepositoryIndex(usize);

/// How two strings are joined into one dependency; the values are libsolv's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Relation {
    Greater = ffi::REL_GT,
    Equal = ffi::REL_EQ,
    GreaterOrEqual = ffi::REL_GT | ffi::REL_EQ,
    Less = ffi::REL_LT,
    LessOrEqual = ffi::REL_LT | ffi::REL_EQ,
    And = ffi::REL_AND,
    Or = ffi::REL_OR,
    With = ffi::REL_WITH,
    Without = ffi::REL_WITHOUT,
    If = ffi::REL_COND,
    Unless = ffi::REL_UNLESS,
    Else = ffi::REL_ELSE,
}

/// The lists of dependencies that a solvable has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    Provides,
    Requires,
    /// Requires that must be there before the package's scriptlets run.
    RequiresBefore,
    Conflicts,
    Obsoletes,
    Recommends,
    Suggests,
    Supplements,
    Enhances,
}

/// One thing the solver is asked for.
#[derive(Debug, Clone)]
pub(super) enum Job {
    /// One of these packages must be installed; naming them sets the policies on versions and architectures aside.
    InstallNamed(Vec<SolvableId>),
    /// One of these packages must be installed, as policies say.
    InstallOneOf(Vec<SolvableId>),
    /// Something that provides this must be installed.
    InstallProvider(StringId),
    /// Where there is a choice, one of these is taken.
    Favor(Vec<SolvableId>),
    /// Several versions of what provides this may be installed at once.
    MultiVersion(StringId),
}

/// What the solver found.
#[derive(Debug)]
pub(super) enum Answer {
    /// Packages to install in transaction order, and installed ones that they replace.
    Solved {
        install: Vec<SolvableId>,
        replaced: Vec<SolvableId>,
    },
    /// For each problem the rules that contradict each other.
    Problems(Vec<Vec<Rule>>),
}

/// Why one rule of a problem exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// The job with this place in the request.
    Job(usize),
    Requires(SolvableId, StringId),
    NothingProvides(SolvableId, StringId),
    Conflicts(SolvableId, SolvableId, StringId),
    SelfConflict(SolvableId, StringId),
    Obsoletes(SolvableId, SolvableId, StringId),
    SameName(SolvableId, SolvableId),
    InferiorArchitecture(SolvableId),
    NotInstallable(SolvableId),
    Other,
}

pub(super) struct Pool {
    raw: NonNull<ffi::Pool>,
    repositories: Vec<Repository>,
    known: Known,
}

struct Repository {
    raw: *mut ffi::Repo,
    files: *mut ffi::Repodata,
}

/// Strings that libsolv itself knows.
struct Known {
    prerequisite_marker: ffi::Id,
    file_marker: ffi::Id,
    file_list: ffi::Id,
    requires: ffi::Id,
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: the pool was made by `pool_create`, is freed once, and nothing points into it any more.
        unsafe { ffi::pool_free(self.raw.as_ptr()) }
    }
}

impl Pool {
    /// A pool with RPM's semantics for the architecture `arch`; `None` where this libsolv was built without them.
    pub(super) fn new(arch: &str) -> Option<Self> {
        let arch = c_string(arch);
        let known = |raw: *mut ffi::Pool, name: &CStr| {
            // SAFETY: the pool is alive and the name ends in a NUL.
            unsafe { ffi::pool_str2id(raw, name.as_ptr(), 1) }
        };
        // SAFETY: `pool_create` aborts rather than give null; the calls take the fresh pool and a C string.
        let raw = unsafe {
            let raw = ffi::pool_create();
            ffi::pool_setdisttype(raw, int(ffi::DISTTYPE_RPM));
            ffi::pool_setarch(raw, arch.as_ptr());
            // As dnf sets them.
            for flag in [
                ffi::POOL_FLAG_IMPLICITOBSOLETEUSESCOLORS,
                ffi::POOL_FLAG_WHATPROVIDESWITHDISABLED,
            ] {
                ffi::pool_set_flag(raw, int(flag), 1);
            }
            raw
        };
        let pool = Self {
            raw: NonNull::new(raw)?,
            repositories: Vec::new(),
            known: Known {
                prerequisite_marker: known(raw, c"solvable:prereqmarker"),
                file_marker: known(raw, c"solvable:filemarker"),
                file_list: known(raw, c"solvable:filelist"),
                requires: known(raw, c"solvable:requires"),
            },
        };
        (pool.fields().disttype == int(ffi::DISTTYPE_RPM)).then_some(pool)
    }

    fn fields(&self) -> &ffi::Pool {
        // SAFETY: the pool lives as long as `self`; no C call runs while the reference is used, as those take `&mut self` or
        // change only caches that are not read through it.
        unsafe { self.raw.as_ref() }
    }

    /// The string's id, made where it is new.
    pub(super) fn string(&mut self, text: &str) -> StringId {
        // A C library ends a string at a NUL; metadata cannot have one.
        let text = text.split('\0').next().unwrap_or_default();
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        // SAFETY: the pool is alive; the pointer is valid for `length` bytes, which are copied.
        StringId(unsafe {
            ffi::pool_strn2id(self.raw.as_ptr(), text.as_ptr().cast::<c_char>(), length, 1)
        })
    }

    /// The id of `left relation right`.
    pub(super) fn relation(
        &mut self,
        left: StringId,
        relation: Relation,
        right: StringId,
    ) -> StringId {
        // SAFETY: the pool is alive; both ids come from it.
        StringId(unsafe {
            ffi::pool_rel2id(self.raw.as_ptr(), left.0, right.0, relation as c_int, 1)
        })
    }

    /// The dependency as text.
    pub(super) fn text(&mut self, id: StringId) -> String {
        // SAFETY: the id comes from this pool; the text lives in the pool's own temporary space and is copied at once.
        unsafe { copy(ffi::pool_dep2str(self.raw.as_ptr(), id.0)) }
    }

    /// All plain strings with a provider.
    pub(super) fn provided(&self) -> Vec<String> {
        let (count, table) = (self.fields().ss.nstrings, self.fields().whatprovides);
        if table.is_null() {
            return Vec::new();
        }
        let provided = (2..count).filter(|id| {
            // SAFETY: `whatprovides` has an element for each string id below `nstrings`.
            unsafe { *table.offset(*id as isize) > 1 }
        });
        // SAFETY: the ids are below `nstrings`; the text is copied at once.
        provided
            .map(|id| unsafe { copy(ffi::pool_id2str(self.raw.as_ptr(), id)) })
            .collect()
    }

    /// Adds an empty repository; higher priorities win, then lower costs.
    pub(super) fn add_repository(
        &mut self,
        name: &str,
        priority: i32,
        cost: i32,
    ) -> RepositoryIndex {
        let name = c_string(name);
        // SAFETY: the pool is alive and the name is copied by libsolv; the repository belongs to the pool.
        // A repodata moves only when another is added to the same repository, which never happens.
        let repository = unsafe {
            let raw = ffi::repo_create(self.raw.as_ptr(), name.as_ptr());
            (*raw).priority = priority;
            (*raw).subpriority = cost.saturating_neg();
            Repository {
                raw,
                files: ffi::repo_add_repodata(raw, 0),
            }
        };
        self.repositories.push(repository);
        RepositoryIndex(self.repositories.len() - 1)
    }

    /// Says that the packages of this repository are installed.
    pub(super) fn set_installed(&mut self, repository: RepositoryIndex) {
        let raw = self.repositories[repository.0].raw;
        // SAFETY: both belong to this pool.
        unsafe { ffi::pool_set_installed(self.raw.as_ptr(), raw) }
    }

    /// Adds a package that provides itself.
    pub(super) fn add_solvable(
        &mut self,
        repository: RepositoryIndex,
        [name, evr, arch, vendor]: [&str; 4],
    ) -> SolvableId {
        let [name, arch] = [name, arch].map(|text| self.string(text));
        let evr = self.string(evr);
        let vendor = if vendor.is_empty() {
            StringId(0)
        } else {
            self.string(vendor)
        };
        let itself = self.relation(name, Relation::Equal, evr);
        let raw = self.repositories[repository.0].raw;
        // SAFETY: the repository belongs to this pool.
        let id = unsafe { ffi::repo_add_solvable(raw) };
        let solvable = self.solvable(SolvableId(id));
        // SAFETY: `solvable` points to the solvable just made; no other reference to it exists.
        unsafe {
            (*solvable).name = name.0;
            (*solvable).evr = evr.0;
            (*solvable).arch = arch.0;
            (*solvable).vendor = vendor.0;
        }
        self.add_dependency(SolvableId(id), List::Provides, itself);
        SolvableId(id)
    }

    /// Takes the solvable out of the pool again.
    pub(super) fn remove_solvable(&mut self, repository: RepositoryIndex, solvable: SolvableId) {
        let raw = self.repositories[repository.0].raw;
        // SAFETY: the solvable belongs to the repository, that to the pool; ids are not used again.
        unsafe { ffi::repo_free_solvable(raw, solvable.0, 0) }
    }

    /// Adds a dependency to one of the solvable's lists.
    pub(super) fn add_dependency(
        &mut self,
        solvable: SolvableId,
        list: List,
        dependency: StringId,
    ) {
        let (prerequisite, file) = (self.known.prerequisite_marker, self.known.file_marker);
        let solvable = self.solvable(solvable);
        // SAFETY: `solvable` is an element of the pool's table with a repository; `repo_addid_dep` moves
        // the repository's own array of ids only, never the table that `solvable` points into.
        unsafe {
            let (place, marker) = match list {
                List::Provides => (&raw mut (*solvable).provides, -file),
                List::Requires => (&raw mut (*solvable).requires, -prerequisite),
                List::RequiresBefore => (&raw mut (*solvable).requires, prerequisite),
                List::Conflicts => (&raw mut (*solvable).conflicts, 0),
                List::Obsoletes => (&raw mut (*solvable).obsoletes, 0),
                List::Recommends => (&raw mut (*solvable).recommends, 0),
                List::Suggests => (&raw mut (*solvable).suggests, 0),
                List::Supplements => (&raw mut (*solvable).supplements, 0),
                List::Enhances => (&raw mut (*solvable).enhances, 0),
            };
            *place = ffi::repo_addid_dep((*solvable).repo, *place, dependency.0, marker);
        }
    }

    /// Adds an absolute path to the solvable's file list. Only before [`Pool::internalise`].
    pub(super) fn add_file(
        &mut self,
        repository: RepositoryIndex,
        solvable: SolvableId,
        path: &str,
    ) {
        let Some((folder, name)) = path.rsplit_once('/').filter(|(_, name)| !name.is_empty())
        else {
            return;
        };
        let (folder, name) = (
            c_string(if folder.is_empty() { "/" } else { folder }),
            c_string(name),
        );
        let files = self.repositories[repository.0].files;
        // SAFETY: `files` is the repodata of that repository, still open for additions and the only one there is;
        // the strings are copied.
        unsafe {
            let folder = ffi::repodata_str2dir(files, folder.as_ptr(), 1);
            ffi::repodata_add_dirstr(
                files,
                solvable.0,
                self.known.file_list,
                folder,
                name.as_ptr(),
            );
        }
    }

    /// Ends the adding of files to a repository.
    pub(super) fn internalise(&mut self, repository: RepositoryIndex) {
        // SAFETY: the repository belongs to this pool.
        unsafe { ffi::repo_internalize(self.repositories[repository.0].raw) }
    }

    /// Computes who provides what. Again after every change, before anything is asked.
    pub(super) fn index(&mut self) {
        // SAFETY: the pool is alive; both may be called any number of times.
        unsafe {
            ffi::pool_addfileprovides(self.raw.as_ptr());
            ffi::pool_createwhatprovides(self.raw.as_ptr());
        }
    }

    /// All packages that provide `dependency`. After [`Pool::index`].
    pub(super) fn providers(&mut self, dependency: StringId) -> Vec<SolvableId> {
        let pool = self.raw.as_ptr();
        let mut found = Vec::new();
        // SAFETY: after `pool_createwhatprovides` each string and relation id has an element in its table; an empty one
        // is computed by `pool_addrelproviders`, which may move the tables, so they are read anew afterwards.
        // The list of providers ends with a 0.
        unsafe {
            let offset = match self.relation_index(dependency) {
                Some(index) => *(*pool).whatprovides_rel.add(index),
                None => *(*pool).whatprovides.add(dependency.0 as usize),
            };
            let offset = if offset == 0 {
                ffi::pool_addrelproviders(pool, dependency.0).cast_unsigned()
            } else {
                offset
            };
            let mut next = (*pool).whatprovidesdata.add(offset as usize);
            while *next != 0 {
                found.push(SolvableId(*next));
                next = next.add(1);
            }
        }
        // The first solvable stands for the system itself.
        found.retain(|solvable| solvable.0 > 1);
        found
    }

    /// All packages of all repositories whose own file list has `path`.
    pub(super) fn file_owners(&mut self, path: &str) -> Vec<SolvableId> {
        unsafe extern "C" fn collect(
            data: *mut c_void,
            solvable: *mut ffi::Solvable,
            _: *mut ffi::Repodata,
            _: *mut ffi::Repokey,
            _: *mut ffi::KeyValue,
        ) -> c_int {
            // SAFETY: `data` is the vector below, which outlives the search and is not touched meanwhile.
            unsafe { (*data.cast::<Vec<*mut ffi::Solvable>>()).push(solvable) };
            0
        }
        let path = c_string(path);
        let mut found: Vec<*mut ffi::Solvable> = Vec::new();
        let flags = int(ffi::SEARCH_STRING | ffi::SEARCH_FILES);
        for repository in &self.repositories {
            // SAFETY: the repository belongs to the pool, the path is a C string, and `collect` gets the vector it expects.
            unsafe {
                ffi::repo_search(
                    repository.raw,
                    0,
                    self.known.file_list,
                    path.as_ptr(),
                    flags,
                    Some(collect),
                    (&raw mut found).cast(),
                )
            };
        }
        let table = self.fields().solvables;
        let ids = found.into_iter().map(|solvable| {
            // SAFETY: libsolv calls back with elements of the pool's own table.
            let index = unsafe { solvable.offset_from(table) };
            SolvableId(ffi::Id::try_from(index).unwrap_or_default())
        });
        ids.collect()
    }

    /// Name, EVR and architecture of a solvable.
    pub(super) fn names(&self, solvable: SolvableId) -> [String; 3] {
        let solvable = self.solvable(solvable);
        // SAFETY: the solvable is an element of the table, its ids belong to the pool, the texts are copied at once.
        unsafe {
            [(*solvable).name, (*solvable).evr, (*solvable).arch]
                .map(|id| copy(ffi::pool_id2str(self.raw.as_ptr(), id)))
        }
    }

    /// The id of a solvable's name.
    pub(super) fn name_id(&self, solvable: SolvableId) -> StringId {
        // SAFETY: the solvable is an element of the table.
        StringId(unsafe { (*self.solvable(solvable)).name })
    }

    /// Whether the solvable itself (not what it provides) matches a dependency: how obsoletes match.
    pub(super) fn matches_itself(&mut self, solvable: SolvableId, dependency: StringId) -> bool {
        let solvable = self.solvable(solvable);
        // SAFETY: both belong to this pool.
        unsafe { ffi::pool_match_nevr_rel(self.raw.as_ptr(), solvable, dependency.0) != 0 }
    }

    /// Everything the solvable requires.
    pub(super) fn requires(&mut self, solvable: SolvableId) -> Vec<StringId> {
        let raw = self.solvable(solvable);
        let mut queue = Queue::new();
        // SAFETY: the solvable is an element of the table; 0 asks for both sides of the marker.
        unsafe { ffi::solvable_lookup_deparray(raw, self.known.requires, &raw mut queue.raw, 0) };
        let marker = self.known.prerequisite_marker;
        queue
            .iter()
            .filter(|id| *id != marker)
            .map(StringId)
            .collect()
    }

    /// The plain capabilities in a dependency, rich ones taken apart, comparisons left off.
    pub(super) fn leaves(&self, dependency: StringId, leaves: &mut Vec<StringId>) {
        let Some(index) = self.relation_index(dependency) else {
            leaves.push(dependency);
            return;
        };
        // SAFETY: the index of a relation made by this pool is below its number of relations.
        let relation = unsafe { *self.fields().rels.add(index) };
        self.leaves(StringId(relation.name), leaves);
        // Larger flags join two dependencies; smaller ones compare with a version.
        if relation.flags > int(ffi::REL_GT | ffi::REL_EQ | ffi::REL_LT) {
            self.leaves(StringId(relation.evr), leaves);
        }
    }

    /// The text of a plain string.
    pub(super) fn plain_text(&self, id: StringId) -> String {
        // SAFETY: the id comes from this pool; the text is copied at once.
        unsafe { copy(ffi::pool_id2str(self.raw.as_ptr(), id.0)) }
    }

    /// The highest bit marks the id of a relation; the rest is its place in the table.
    fn relation_index(&self, id: StringId) -> Option<usize> {
        let index = (id.0.cast_unsigned() & 0x7fff_ffff) as usize;
        let count = usize::try_from(self.fields().nrels).unwrap_or_default();
        (id.0 < 0 && index < count).then_some(index)
    }

    fn solvable(&self, solvable: SolvableId) -> *mut ffi::Solvable {
        assert!(
            (2..self.fields().nsolvables).contains(&solvable.0),
            "a solvable's id comes from its own pool"
        );
        // SAFETY: checked to lie in the table.
        unsafe { self.fields().solvables.offset(solvable.0 as isize) }
    }

    /// Solves the jobs with dnf's settings. After [`Pool::index`].
    pub(super) fn solve(&mut self, jobs: &[Job], weak: bool) -> Answer {
        let mut queue = Queue::new();
        for job in jobs {
            let (how, what) = self.job(job);
            queue.push(int(how));
            queue.push(what);
        }
        let mut solver = Solver::new(self, weak);
        // SAFETY: solver and queue are alive; libsolv copies the jobs.
        let problems = unsafe { ffi::solver_solve(solver.raw, &raw mut queue.raw) };
        if problems > 0 {
            return Answer::Problems(
                (1..=problems)
                    .map(|problem| solver.problem(problem))
                    .collect(),
            );
        }
        solver.transaction()
    }

    fn job(&mut self, job: &Job) -> (u32, ffi::Id) {
        let set = |solvables: &[SolvableId]| {
            let mut queue = Queue::new();
            solvables.iter().for_each(|solvable| queue.push(solvable.0));
            // SAFETY: the pool is alive and indexed; the ids are copied.
            unsafe { ffi::pool_queuetowhatprovides(self.raw.as_ptr(), &raw mut queue.raw) }
        };
        match job {
            Job::InstallOneOf(solvables) => (
                ffi::SOLVER_INSTALL | ffi::SOLVER_SOLVABLE_ONE_OF,
                set(solvables),
            ),
            Job::InstallNamed(solvables) => {
                let how = ffi::SOLVER_INSTALL
                    | ffi::SOLVER_SOLVABLE_ONE_OF
                    | ffi::SOLVER_SETEVR
                    | ffi::SOLVER_SETARCH;
                (how, set(solvables))
            }
            Job::InstallProvider(dependency) => (
                ffi::SOLVER_INSTALL | ffi::SOLVER_SOLVABLE_PROVIDES,
                dependency.0,
            ),
            Job::Favor(solvables) => (
                ffi::SOLVER_FAVOR | ffi::SOLVER_SOLVABLE_ONE_OF,
                set(solvables),
            ),
            Job::MultiVersion(dependency) => (
                ffi::SOLVER_MULTIVERSION | ffi::SOLVER_SOLVABLE_PROVIDES,
                dependency.0,
            ),
        }
    }
}

/// A solver of one pool, freed at the end.
struct Solver<'a> {
    raw: *mut ffi::Solver,
    pool: PhantomData<&'a mut Pool>,
}

impl Drop for Solver<'_> {
    fn drop(&mut self) {
        // SAFETY: made by `solver_create`, freed once, before its pool.
        unsafe { ffi::solver_free(self.raw) }
    }
}

impl<'a> Solver<'a> {
    fn new(pool: &'a mut Pool, weak: bool) -> Self {
        // SAFETY: the pool is alive and, by the lifetime, outlives the solver.
        let raw = unsafe { ffi::solver_create(pool.raw.as_ptr()) };
        // Read from dnf's own dump of its solver.
        let flags = [
            (ffi::SOLVER_FLAG_ALLOW_DOWNGRADE, true),
            (ffi::SOLVER_FLAG_ALLOW_VENDORCHANGE, true),
            (ffi::SOLVER_FLAG_IGNORE_RECOMMENDED, !weak),
            (ffi::SOLVER_FLAG_KEEP_EXPLICIT_OBSOLETES, true),
            (ffi::SOLVER_FLAG_BEST_OBEY_POLICY, true),
            (ffi::SOLVER_FLAG_KEEP_ORPHANS, true),
            (ffi::SOLVER_FLAG_YUM_OBSOLETES, true),
        ];
        for (flag, value) in flags {
            // SAFETY: the solver is alive.
            unsafe { ffi::solver_set_flag(raw, int(flag), c_int::from(value)) };
        }
        Self {
            raw,
            pool: PhantomData,
        }
    }

    fn transaction(&mut self) -> Answer {
        let (mut install, mut replaced) = (Vec::new(), Vec::new());
        // SAFETY: the solver has solved without problems; the transaction is freed here and its steps are copied before.
        // A step's id is a solvable of the pool.
        unsafe {
            let transaction = ffi::solver_create_transaction(self.raw);
            ffi::transaction_order(transaction, 0);
            let pool = (*transaction).pool;
            for place in 0..(*transaction).steps.count {
                let id = *(*transaction).steps.elements.offset(place as isize);
                let repository = (*(*pool).solvables.offset(id as isize)).repo;
                let list = if repository == (*pool).installed {
                    &mut replaced
                } else {
                    &mut install
                };
                list.push(SolvableId(id));
            }
            ffi::transaction_free(transaction);
        }
        Answer::Solved { install, replaced }
    }

    fn problem(&mut self, problem: c_int) -> Vec<Rule> {
        let mut rules = Queue::new();
        // SAFETY: the solver has solved, and the problem is one of those it counted.
        unsafe { ffi::solver_findallproblemrules(self.raw, problem, &raw mut rules.raw) };
        let mut found = Vec::new();
        for rule in rules.iter() {
            let mut infos = Queue::new();
            // SAFETY: the rule comes from the solver itself.
            unsafe { ffi::solver_allruleinfos(self.raw, rule, &raw mut infos.raw) };
            let infos: Vec<_> = infos.iter().collect();
            for info in infos.chunks_exact(4) {
                let rule = convert([info[0], info[1], info[2], info[3]]);
                if !found.contains(&rule) {
                    found.push(rule);
                }
            }
        }
        found
    }
}

fn convert([kind, source, target, dependency]: [ffi::Id; 4]) -> Rule {
    let (from, to, dependency) = (SolvableId(source), SolvableId(target), StringId(dependency));
    match kind.cast_unsigned() {
        // The job's place in the queue of pairs.
        ffi::SolverRuleinfo_SOLVER_RULE_JOB
        | ffi::SolverRuleinfo_SOLVER_RULE_JOB_NOTHING_PROVIDES_DEP
        | ffi::SolverRuleinfo_SOLVER_RULE_JOB_UNKNOWN_PACKAGE
        | ffi::SolverRuleinfo_SOLVER_RULE_JOB_UNSUPPORTED => {
            Rule::Job(usize::try_from(source / 2).unwrap_or_default())
        }
        ffi::SolverRuleinfo_SOLVER_RULE_PKG_REQUIRES => Rule::Requires(from, dependency),
        ffi::SolverRuleinfo_SOLVER_RULE_PKG_NOTHING_PROVIDES_DEP => {
            Rule::NothingProvides(from, dependency)
        }
        ffi::SolverRuleinfo_SOLVER_RULE_PKG_CONFLICTS => Rule::Conflicts(from, to, dependency),
        ffi::SolverRuleinfo_SOLVER_RULE_PKG_SELF_CONFLICT => Rule::SelfConflict(from, dependency),
        ffi::SolverRuleinfo_SOLVER_RULE_PKG_OBSOLETES
        | ffi::SolverRuleinfo_SOLVER_RULE_PKG_IMPLICIT_OBSOLETES
        | ffi::SolverRuleinfo_SOLVER_RULE_PKG_INSTALLED_OBSOLETES
        | ffi::SolverRuleinfo_SOLVER_RULE_YUMOBS => Rule::Obsoletes(from, to, dependency),
        ffi::SolverRuleinfo_SOLVER_RULE_PKG_SAME_NAME => Rule::SameName(from, to),
        ffi::SolverRuleinfo_SOLVER_RULE_INFARCH => Rule::InferiorArchitecture(from),
        ffi::SolverRuleinfo_SOLVER_RULE_PKG_NOT_INSTALLABLE => Rule::NotInstallable(from),
        _ => Rule::Other,
    }
}

/// libsolv's growing array of ids.
struct Queue {
    raw: ffi::Queue,
}

impl Queue {
    fn new() -> Self {
        let mut raw = ffi::Queue {
            elements: std::ptr::null_mut(),
            count: 0,
            alloc: std::ptr::null_mut(),
            left: 0,
        };
        // SAFETY: gets a valid place to write to.
        unsafe { ffi::queue_init(&raw mut raw) };
        Self { raw }
    }

    fn push(&mut self, id: ffi::Id) {
        let end = self.raw.count;
        // SAFETY: the queue is initialised, and the place is its end.
        unsafe { ffi::queue_insert(&raw mut self.raw, end, id) }
    }

    fn iter(&self) -> impl Iterator<Item = ffi::Id> + '_ {
        (0..self.raw.count).map(|place| {
            // SAFETY: a queue has `count` elements, and nothing changes it while it is borrowed.
            unsafe { *self.raw.elements.offset(place as isize) }
        })
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, freed once.
        unsafe { ffi::queue_free(&raw mut self.raw) }
    }
}

/// libsolv's constants are generated unsigned, its functions take `int`; none has the highest bit.
fn int(constant: u32) -> c_int {
    constant.cast_signed()
}

fn c_string(text: &str) -> CString {
    CString::new(text.split('\0').next().unwrap_or_default()).unwrap_or_default()
}

/// # Safety
/// `text` must be null or a NUL-terminated string that stays until this returns.
unsafe fn copy(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}
