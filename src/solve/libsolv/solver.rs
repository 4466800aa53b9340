//! Solving: jobs in, a transaction or contradicting rules out.
#![expect(unsafe_code, reason = "libsolv is a C library")]

use std::marker::PhantomData;

use libc::c_int;
use rattler_libsolv_c as ffi;

use super::{Pool, SolvableId, StringId, int};
use crate::documents::template::Policy;

/// One thing the solver is asked for.
#[derive(Debug, Clone)]
pub(in crate::solve) enum Job {
    /// One of these packages must be installed; naming them sets the policies on versions and architectures aside.
    InstallNamed(Vec<SolvableId>),
    /// One of these packages must be installed, as policies say; with dnf5's they are set aside here too.
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
pub(in crate::solve) enum Answer {
    /// Packages to install in transaction order, and installed ones that they replace.
    Solved {
        install: Vec<SolvableId>,
        replaced: Vec<SolvableId>,
    },
    /// For each problem the rules that contradict each other.
    Problems(Vec<Vec<Rule>>),
}

/// The number of a pool's first solvable.
const FIRST: ffi::Id = 2;

/// Why one rule of a problem exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::solve) enum Rule {
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

impl Pool {
    /// Solves the jobs with dnf's settings. After [`Pool::index`].
    pub(in crate::solve) fn solve(&mut self, jobs: &[Job], weak: bool, policy: Policy) -> Answer {
        let mut queue = Queue::new();
        for job in jobs {
            let (how, what) = self.job(job, policy);
            queue.push(int(how));
            queue.push(what);
        }
        let mut solver = Solver::new(self, weak, policy);
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

    fn job(&mut self, job: &Job, policy: Policy) -> (u32, ffi::Id) {
        // dnf5 has them in every job that installs (`add_provide_install` of its `GoalPrivate`), older ones where packages are
        // named: of the names of all packages that fit, those of another word size may come.
        let set_aside = ffi::SOLVER_SETEVR | ffi::SOLVER_SETARCH;
        let unnamed = match policy {
            Policy::Dnf4 | Policy::Dnf423 => 0,
            Policy::Dnf5 => set_aside,
        };
        let set = |solvables: &[SolvableId]| {
            let mut queue = Queue::new();
            for solvable in solvables {
                queue.push(solvable.0);
            }
            // SAFETY: the pool is alive and indexed; the ids are copied.
            unsafe { ffi::pool_queuetowhatprovides(self.raw.as_ptr(), &raw mut queue.raw) }
        };
        match job {
            Job::InstallOneOf(solvables) => (
                ffi::SOLVER_INSTALL | ffi::SOLVER_SOLVABLE_ONE_OF | unnamed,
                set(solvables),
            ),
            Job::InstallNamed(solvables) => (
                ffi::SOLVER_INSTALL | ffi::SOLVER_SOLVABLE_ONE_OF | set_aside,
                set(solvables),
            ),
            Job::InstallProvider(dependency) => (
                ffi::SOLVER_INSTALL | ffi::SOLVER_SOLVABLE_PROVIDES | unnamed,
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
    fn new(pool: &'a mut Pool, weak: bool, policy: Policy) -> Self {
        // SAFETY: the pool is alive and, by the lifetime, outlives the solver.
        let raw = unsafe { ffi::solver_create(pool.raw.as_ptr()) };
        // Read from dnf's own dump of its solver, and from dnf5's calls of libsolv.
        let flags = [
            (ffi::SOLVER_FLAG_ALLOW_DOWNGRADE, true),
            (ffi::SOLVER_FLAG_ALLOW_VENDORCHANGE, true),
            (ffi::SOLVER_FLAG_IGNORE_RECOMMENDED, !weak),
            (ffi::SOLVER_FLAG_KEEP_EXPLICIT_OBSOLETES, true),
            (ffi::SOLVER_FLAG_BEST_OBEY_POLICY, true),
            (ffi::SOLVER_FLAG_KEEP_ORPHANS, true),
            (ffi::SOLVER_FLAG_YUM_OBSOLETES, true),
            // It counts where something is installed already.
            (ffi::SOLVER_FLAG_FOCUS_NEW, policy == Policy::Dnf5),
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
        // A rich conflict that the package alone has names no other.
        ffi::SolverRuleinfo_SOLVER_RULE_PKG_CONFLICTS if target < FIRST => {
            Rule::SelfConflict(from, dependency)
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
pub(super) struct Queue {
    pub(super) raw: ffi::Queue,
}

impl Queue {
    pub(super) fn new() -> Self {
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

    pub(super) fn iter(&self) -> impl Iterator<Item = ffi::Id> + '_ {
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
