//! The run: every package of the plan by a worker of its own, as soon as what it needs is there and the machine has room.

mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, Scope};
use std::time::Instant;

use thiserror::Error;

use crate::backend::{Backend, BackendError, Limits, RootId};
use crate::build::conditions::Conditions;
use crate::build::declared::{Ground, Tracing};
use crate::build::needed::{Installed, Own};
use crate::build::package::{Builder, PackageError};
use crate::build::reuse::Earlier;
use crate::build::schedule::{Demand, Machine, Schedule, Start};
use crate::build::work::{Finished, Work};
use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::events::{Event, Sink};
use crate::plan::Plan;
use crate::record::journal::Journal;
use crate::record::{FileRecord, Outcome, PackageRecord, RecordError};
use crate::repository::{RepositoryError, Writer};
use crate::rpm::{PackageFacts, RpmError};
use crate::solve::SolveError;

/// The repository's folder in a run folder.
pub const REPOSITORY: &str = "repository";
/// The logs' folder in a run folder.
pub const LOGS: &str = "logs";

/// One package of the project, ready to build.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Name in the project.
    pub name: String,
    /// Version and release of its source package.
    pub version: String,
    /// File name of the spec.
    pub spec: String,
    /// BuildRequires as rpm prints them.
    pub build_requires: Vec<String>,
    /// Each once more, with where the spec has it.
    pub asks: Vec<(String, String)>,
    /// The spec, sources and patches: file name, and where it lies on the host.
    pub files: Vec<(String, PathBuf)>,
    /// The same for the record.
    pub inputs: Vec<FileRecord>,
    /// More arguments of rpmbuild.
    pub options: Vec<String>,
    /// Whether the spec's change log gives the date.
    pub has_changelog: bool,
    /// What it asks of the machine.
    pub demand: Demand,
    /// Limits.
    pub limits: Limits,
    /// What it should not show.
    pub conditions: Conditions,
    /// The own packages that are to be installed for it, where an earlier build has settled that.
    pub recorded: Option<Recorded>,
}

/// The project's own packages as an earlier build had them.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The folder that has them.
    pub repository: PathBuf,
    /// In the order of their installation.
    pub own: Vec<FileRecord>,
}

/// What all builds of a run share.
#[derive(Clone, Copy)]
#[expect(
    missing_debug_implementations,
    reason = "a bundle of references; the sink has no debug form"
)]
pub struct Site<'a> {
    /// Where clones are made.
    pub backend: &'a dyn Backend,
    /// The snapshot's layers, lowest first.
    pub roots: &'a [RootId],
    /// Digest of the snapshot's tree, all layers together.
    pub tree: &'a Digest,
    /// What is installed in it.
    pub installed: &'a [PackageFacts],
    /// The run folder.
    pub folder: &'a Path,
    /// Who builds.
    pub builder: &'a Builder,
    /// Macros of all builds.
    pub macros: &'a BTreeMap<String, String>,
    /// Date of what has no other, seconds since 1970.
    pub epoch: u64,
    /// The architecture, as rpm names it.
    pub arch: &'a str,
    /// Where archives are spooled.
    pub spool: &'a Path,
    /// How many failed builds may still be kept as they failed (`pristine enter --failed`).
    pub keep_failed: &'a AtomicUsize,
    /// What the machine has for the builds.
    pub machine: Machine,
    /// Whether the first failure ends the run.
    pub fail_fast: bool,
    /// From where packages are taken over that are made from the same.
    pub earlier: Option<&'a Earlier>,
    /// How builds are watched, where they are.
    pub tracing: Option<&'a Tracing>,
    /// The run's start: times in the record count from here.
    pub started: Instant,
    /// Keeps what is done, should the run be killed; none where that is of no use to anybody.
    pub journal: Option<&'a Journal>,
    /// The command that opens what a failed build left, but for the package's name at its end.
    pub enter: &'a str,
    /// Hears of progress.
    pub sink: &'a dyn Sink,
    /// Ends the run.
    pub cancel: &'a Cancel,
}

/// Why the run could not go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// A package could not be tried.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The run's repository could not be written.
    #[error("cannot write the run's repository")]
    Repository(#[from] RepositoryError),
    /// A package that was built cannot be read.
    #[error("a package that was just built cannot be read")]
    Rpm(#[from] RpmError),
    /// The solver could not be used.
    #[error(transparent)]
    Solve(#[from] SolveError),
    /// A file in the run folder.
    #[error("cannot write `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// Its cause.
        source: std::io::Error,
    },
    /// What is done could not be kept.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The token of the run could not be made.
    #[error("cannot start the builds")]
    Start(#[source] std::io::Error),
}

/// What came of a run.
#[derive(Debug)]
pub struct Ran {
    /// One entry for each package, in plan order.
    pub packages: Vec<PackageRecord>,
    /// Why it ended.
    pub end: End,
}

/// Why a run ended.
#[derive(Debug)]
pub enum End {
    /// Every package has its outcome.
    Complete,
    /// The first failure was to end it.
    Failed,
    /// The caller's token was set.
    Cancelled,
    /// The tool could not go on.
    Broken(RunError),
}

/// A run in progress: one thread decides, one thread for each build works.
struct Run<'a> {
    site: Site<'a>,
    plan: &'a Plan,
    /// In the order of the plan.
    packages: Vec<&'a Ready>,
    installed: &'a Installed,
    ground: Option<&'a Ground<'a>>,
    /// All that each package needs, also by way of others.
    needs: Vec<BTreeSet<usize>>,
    schedule: Schedule,
    writer: Writer,
    /// Whether the repository on disk lacks something.
    stale: bool,
    /// What each package has made.
    own: BTreeMap<usize, Vec<Arc<Own>>>,
    records: BTreeMap<usize, PackageRecord>,
    started: BTreeMap<usize, Instant>,
    end: End,
}

/// A worker's last word.
type Ended = (usize, thread::Result<Result<Finished, RunError>>);

/// Builds every package of the plan, which are all in `packages`; what does not build is in the result, and what needs
/// it is skipped.
pub fn run(site: Site<'_>, plan: &Plan, packages: &[Ready]) -> Result<Ran, RunError> {
    let repository = site.folder.join(REPOSITORY);
    for folder in [&repository, &site.folder.join(LOGS)] {
        fs_err::create_dir_all(folder).map_err(|source| RunError::File {
            path: folder.clone(),
            source,
        })?;
    }
    // What ends this run need not end the caller.
    let cancel = site.cancel.child().map_err(RunError::Start)?;
    let installed = Installed::new(site.arch, site.installed);
    let inside = Site {
        cancel: &cancel,
        ..site
    };
    let ground = site
        .tracing
        .map(|tracing| Ground::new(site.installed, tracing));
    let shared = (&installed, ground.as_ref());
    let mut run = Run::new(inside, plan, packages, shared);
    for place in 0..run.packages.len() {
        run.note(&run.unfinished(place))?;
    }
    run.writer.update()?;
    thread::scope(|scope| run.follow(scope));
    if site.cancel.is_cancelled() && !run.schedule.is_done() {
        run.end = End::Cancelled;
    }
    run.writer.write()?;
    Ok(run.ran())
}

impl<'a> Run<'a> {
    fn new(
        site: Site<'a>,
        plan: &'a Plan,
        packages: &'a [Ready],
        (installed, ground): (&'a Installed, Option<&'a Ground<'a>>),
    ) -> Self {
        let by_name: BTreeMap<&str, &Ready> = packages
            .iter()
            .map(|ready| (ready.name.as_str(), ready))
            .collect();
        let steps = plan.steps.iter();
        let packages: Vec<&Ready> = steps.map(|step| by_name[step.name.as_str()]).collect();
        let demands: Vec<Demand> = packages.iter().map(|ready| ready.demand).collect();
        Self {
            schedule: Schedule::new(plan, &demands, site.machine),
            needs: needs(plan),
            writer: Writer::new(&site.folder.join(REPOSITORY), site.epoch),
            stale: false,
            own: BTreeMap::new(),
            records: BTreeMap::new(),
            started: BTreeMap::new(),
            end: End::Complete,
            site,
            plan,
            packages,
            installed,
            ground,
        }
    }

    /// Notes what is known of a package, should the run be killed.
    fn note(&self, package: &PackageRecord) -> Result<(), RecordError> {
        self.site
            .journal
            .map_or(Ok(()), |journal| journal.add(package))
    }

    /// Starts what may start and hears what has ended, until nothing runs.
    fn follow<'scope>(&mut self, scope: &'scope Scope<'scope, '_>)
    where
        'a: 'scope,
    {
        let (done, ended) = channel();
        loop {
            while !self.site.cancel.is_cancelled()
                && let Some(start) = self.schedule.start()
            {
                self.spawn(scope, start, done.clone());
            }
            self.progress();
            // After the next builds have started: they need not wait for it.
            if std::mem::take(&mut self.stale)
                && let Err(error) = self.writer.update()
            {
                self.broken(error.into());
            }
            if self.started.is_empty() {
                return;
            }
            // Every worker says its last word, so that this wait ends.
            let Ok((place, result)) = ended.recv() else {
                return;
            };
            self.settle(place, result);
            // What has ended at the same time shares the next update of the repository.
            for (place, result) in ended.try_iter() {
                self.settle(place, result);
            }
        }
    }

    fn spawn<'scope>(&mut self, scope: &'scope Scope<'scope, '_>, start: Start, done: Sender<Ended>)
    where
        'a: 'scope,
    {
        let place = start.place;
        let work = Work {
            site: self.site,
            installed: self.installed,
            ground: self.ground,
            ready: self.packages[place],
            processors: start.processors,
        };
        self.started.insert(place, Instant::now());
        if let Err(error) = self.note(&self.unfinished(place)) {
            self.broken(error.into());
        }
        let record = self.blank(place);
        let needs = self.needs[place].iter();
        let own: Vec<Arc<Own>> = needs
            .filter_map(|need| self.own.get(need))
            .flatten()
            .cloned()
            .collect();
        self.site.sink.emit(Event::PackageStarted {
            package: record.name.clone(),
            number: self.records.len() + self.started.len(),
            total: self.packages.len(),
            processors: start.processors.get(),
            expected: self.packages[place].demand.time,
        });
        scope.spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(|| work.run(record, &own)));
            // Nobody listens only where another worker's panic has ended the run.
            let _unheard = done.send((place, result));
        });
    }

    fn settle(&mut self, place: usize, result: thread::Result<Result<Finished, RunError>>) {
        let result = result.unwrap_or_else(|panic| {
            self.site.cancel.cancel();
            resume_unwind(panic)
        });
        let finished = match result {
            Ok(finished) => finished,
            Err(error) => {
                if !is_interruption(&error) {
                    self.broken(error);
                }
                return self.interrupted(place);
            }
        };
        self.started.remove(&place);
        let good = finished.record.outcome.good();
        self.own.insert(place, finished.own);
        self.stale |= !finished.described.is_empty();
        for described in finished.described {
            self.writer.insert(described);
        }
        self.tell(&finished.record, finished.excerpt);
        self.keep(place, finished.record);
        for (skipped, cause) in self.schedule.end(place, good) {
            let mut record = self.blank(skipped);
            record.outcome = Outcome::Skipped {
                because: self.packages[cause].name.clone(),
            };
            self.tell(&record, Vec::new());
            self.keep(skipped, record);
        }
        if !good && self.site.fail_fast && matches!(self.end, End::Complete) {
            self.end = End::Failed;
            self.site.cancel.cancel();
        }
    }

    /// The tool cannot go on: what runs is ended, what is done is kept.
    fn broken(&mut self, error: RunError) {
        self.site.cancel.cancel();
        if !matches!(self.end, End::Broken(_)) {
            self.end = End::Broken(error);
        }
    }

    /// A build was ended before its own end.
    fn interrupted(&mut self, place: usize) {
        let mut record = self.unfinished(place);
        let written = |log: &PathBuf| self.site.folder.join(log).exists();
        record.log = record.log.filter(written);
        if let Some(started) = self.started.remove(&place) {
            record.milliseconds = told::milliseconds(started.elapsed());
        }
        self.tell(&record, Vec::new());
        self.records.insert(place, record);
        self.schedule.interrupt(place);
    }

    /// What was not begun was interrupted, too.
    fn ran(mut self) -> Ran {
        for place in 0..self.packages.len() {
            if !self.records.contains_key(&place) {
                self.records.insert(place, self.unfinished(place));
            }
        }
        Ran {
            packages: self.records.into_values().collect(),
            end: self.end,
        }
    }
}

/// All that each step needs, also by way of others: by places in the plan, in which needs come first.
fn needs(plan: &Plan) -> Vec<BTreeSet<usize>> {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut all: Vec<BTreeSet<usize>> = Vec::with_capacity(plan.steps.len());
    for (place, step) in plan.steps.iter().enumerate() {
        let mut own = BTreeSet::new();
        for need in step
            .needs
            .iter()
            .filter_map(|name| places.get(name.as_str()))
        {
            own.insert(*need);
            own.extend(&all[*need]);
        }
        all.push(own);
        places.insert(&step.name, place);
    }
    all
}

fn is_interruption(error: &RunError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if matches!(error.downcast_ref(), Some(BackendError::Interrupted)) {
            return true;
        }
        cause = error.source();
    }
    false
}
