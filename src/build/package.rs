//! One package, built in a clone of its own: sources in, own packages installed, rpmbuild, results out.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::backend::{
    self, Backend, BackendError, Command, Exit, Io, Limits, Mount, RootId, Trace, Watched,
};
use crate::build::conditions::{Conditions, TIME_ZONE};
use crate::build::diagnosis::Verdict;
use crate::build::log::Log;
use crate::build::{limits, results};
use crate::cancel::Cancel;
use crate::environment::pack::{Entry, pack};
use crate::record::FileRecord;

/// The account that builds: unprivileged inside, a subordinate id outside.
pub use crate::backend::Account as Builder;

/// The builder's usual home and rpmbuild's `_topdir`.
pub const TOPDIR: &str = "/builddir";
/// Where the run's repository is visible.
const REPOSITORY: &str = "/run/pristine/repository";
/// How the distribution's rpm installs packages that were verified.
const INSTALL: [&str; 6] = [
    "rpm",
    "--upgrade",
    "--oldpackage",
    "--replacepkgs",
    "--nosignature",
    "--noplugins",
];

/// What one build needs.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// Name in the project.
    pub name: &'a str,
    /// Who builds.
    pub builder: &'a Builder,
    /// File name of the spec.
    pub spec: &'a str,
    /// The spec, sources and patches: file name and where it lies on the host.
    pub files: Vec<(String, PathBuf)>,
    /// The project's own packages to install first, file names in `repository`, in order.
    pub own_packages: Vec<String>,
    /// The folder on the host that has them.
    pub repository: &'a Path,
    /// Where the packages go that are built: as a rule the same folder.
    pub results: &'a Path,
    /// What it should not show.
    pub conditions: &'a Conditions,
    /// Macros beside those that make builds reproducible.
    pub macros: &'a BTreeMap<String, String>,
    /// More arguments of rpmbuild (`--with=x`).
    pub options: &'a [String],
    /// `SOURCE_DATE_EPOCH` where the change log gives none, seconds since 1970.
    pub epoch: u64,
    /// Whether the spec has a change log, whose newest entry then gives the date.
    pub has_changelog: bool,
    /// Processors that the build may use.
    pub processors: usize,
    /// Limits.
    pub limits: Limits,
    /// Where archives are spooled.
    pub spool: &'a Path,
    /// What the build is watched for.
    pub watched: Option<&'a Watched>,
    /// The root that the clone becomes where the build fails, for `pristine enter --failed`.
    pub keep: Option<RootId>,
}

/// What came of it.
#[derive(Debug)]
pub enum Built {
    /// The packages, in the repository folder, sorted by name.
    Packages(Vec<FileRecord>),
    /// It did not build; the root that keeps what it left, where one does.
    Failed(Box<Verdict>, Option<RootId>),
}

/// A build that was tried.
#[derive(Debug)]
pub struct Tried {
    /// What came of it.
    pub built: Built,
    /// What rpmbuild used of the environment, or why that is not known; none where nobody asked.
    pub trace: Option<Result<Trace, String>>,
}

/// Why the tool could not try.
#[derive(Debug, Error)]
pub enum PackageError {
    /// The sandbox.
    #[error("cannot build `{package}` in a sandbox")]
    Sandbox {
        /// Name in the project.
        package: String,
        /// Its cause.
        source: BackendError,
    },
    /// Files on the host.
    #[error("cannot {doing} for `{package}`")]
    Files {
        /// To read after "cannot".
        doing: &'static str,
        /// Name in the project.
        package: String,
        /// Its cause.
        source: io::Error,
    },
}

/// Builds one package in a fresh clone of `roots`.
pub fn build(
    backend: &dyn Backend,
    roots: &[RootId],
    job: &Job<'_>,
    log: &mut Log<'_>,
    cancel: &Cancel,
) -> Result<Tried, PackageError> {
    let sandbox = |source| PackageError::Sandbox {
        package: job.name.to_owned(),
        source,
    };
    let mut clone = backend.open(roots).map_err(sandbox)?;
    copy_in(&mut *clone, job, Vec::new())?;
    let mut trace = None;
    for (phase, command, watched) in [
        ("prepare", prepare(job), None),
        ("rpmbuild", rpmbuild(job, "-ba"), job.watched),
    ] {
        log.begin(phase);
        let (exit, seen) = run(&mut *clone, (&command, watched), log, cancel).map_err(sandbox)?;
        trace = seen;
        log.pause();
        if !exit.success() {
            log.note(clone.used().map_err(sandbox)?.into());
            let place = backend.capabilities().on_store_disk.then_some(job.spool);
            let verdict = Box::new(verdict(job, log, &exit, place)?);
            let built = Built::Failed(verdict, leave(clone, job, log));
            return Ok(Tried { built, trace });
        }
    }
    log.note(clone.used().map_err(sandbox)?.into());
    let built = match results::collect(&mut *clone, job)? {
        Ok(packages) => {
            clone.destroy().map_err(sandbox)?;
            Built::Packages(packages)
        }
        Err(reason) => {
            let kept = leave(clone, job, log);
            Built::Failed(Box::new(Verdict::of_results(reason)), kept)
        }
    };
    Ok(Tried { built, trace })
}

/// Why it failed: by its log, the limit that ended it, and the disk, of which `place` is, where it is this machine's.
fn verdict(
    job: &Job<'_>,
    log: &Log<'_>,
    exit: &Exit,
    place: Option<&Path>,
) -> Result<Verdict, PackageError> {
    let mut verdict = log.verdict(exit).map_err(|source| PackageError::Files {
        doing: "read the log",
        package: job.name.to_owned(),
        source,
    })?;
    if let Exit::Limit(hit) = exit {
        verdict.limit = Some(limits::record(hit, job.processors));
    } else if verdict.full_disk {
        let held = log.used().and_then(|used| used.disk);
        let (limit, words) = limits::full_disk(place, held);
        verdict.reason = format!("{}: {words}", verdict.reason);
        verdict.limit = Some(limit);
    }
    Ok(verdict)
}

/// Keeps a failed build's clone as it is, which costs a rename, or drops it where nobody wants it. A build has failed
/// all the same where neither can be done, as on a disk that it has filled.
fn leave(clone: Box<dyn backend::Clone>, job: &Job<'_>, log: &mut Log<'_>) -> Option<RootId> {
    let (left, kept) = match &job.keep {
        Some(root) => (clone.freeze(root), Some(root.clone())),
        None => (clone.destroy(), None),
    };
    if let Err(error) = left {
        tracing::warn!(%error, package = job.name, "what a failed build left is not kept");
        let text = format!("\npristine: what this build left is not kept: {error}\n");
        log.write(text.as_bytes());
        return None;
    }
    kept
}

/// Puts the spec, the sources and `more` into rpmbuild's folders.
pub(super) fn copy_in(
    clone: &mut dyn backend::Clone,
    job: &Job<'_>,
    more: Vec<Entry>,
) -> Result<(), PackageError> {
    let mut entries = entries(job);
    entries.extend(more);
    let packed = pack(&entries, job.epoch, job.spool);
    let mut sources = packed.map_err(|source| PackageError::Files {
        doing: "pack the sources",
        package: job.name.to_owned(),
        source,
    })?;
    clone
        .copy_in(&job.builder.home, &mut sources)
        .map_err(|source| PackageError::Sandbox {
            package: job.name.to_owned(),
            source,
        })
}

fn entries(job: &Job<'_>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = [
        "",
        "SPECS",
        "SOURCES",
        "BUILD",
        "BUILDROOT",
        "RPMS",
        "SRPMS",
    ]
    .into_iter()
    .map(|folder| Entry::folder(&format!("./{folder}"), job.builder.user))
    .collect();
    for (name, path) in &job.files {
        let folder = if name == job.spec { "SPECS" } else { "SOURCES" };
        entries.push(Entry::host(
            format!("{folder}/{name}"),
            path.clone(),
            job.builder.user,
        ));
    }
    entries
}

impl Builder {
    /// The environment variables of its processes.
    pub fn environment(&self) -> [(String, String); 4] {
        [
            ("HOME", self.home.as_str()),
            ("USER", &self.name),
            ("LOGNAME", &self.name),
            ("TZ", TIME_ZONE),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
    }
}

/// As root inside: the builder's account, and the project's own packages by the distribution's rpm. The account is not
/// left to the command that builds: what is read for it would count as the build's.
pub(super) fn prepare(job: &Job<'_>) -> Command {
    let mut command = job.builder.install(job.repository, &job.own_packages);
    command.limits = job.limits.clone();
    command
}

impl Builder {
    /// What installs packages, files in the folder `repository` on the host, as root inside, where the account is.
    pub fn install(&self, repository: &Path, packages: &[String]) -> Command {
        let mut command = if packages.is_empty() {
            Command::new(["sh", "-c", ":"])
        } else {
            let own = packages.iter().map(|file| format!("{REPOSITORY}/{file}"));
            let mut install = Command::new(INSTALL.map(str::to_owned).into_iter().chain(own));
            install.mounts.push(Mount::Host {
                source: repository.to_owned(),
                target: REPOSITORY.to_owned(),
            });
            install
        };
        command.account = Some(self.clone());
        command.skip_sync = true;
        command
    }
}

/// The macros that make an RPM the same whenever and wherever it is built (rpm 4.18 and newer).
const REPRODUCIBLE: [(&str, &str); 5] = [
    ("_buildhost", "pristine"),
    ("source_date_epoch_from_changelog", "1"),
    ("use_source_date_epoch_as_buildtime", "1"),
    ("clamp_mtime_to_source_date_epoch", "1"),
    ("build_mtime_policy", "clamp_to_source_date_epoch"),
];

/// The macros of a build, in the order in which they are defined.
pub(super) fn macros<'a>(job: &Job<'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
    let own = job.macros.iter();
    let own = own.map(|(key, value)| (key.as_str(), value.as_str()));
    let topdir = [("_topdir", job.builder.home.as_str())];
    topdir.into_iter().chain(REPRODUCIBLE).chain(own)
}

/// As the builder: rpmbuild up to a stage (`-ba` is all of it).
pub(super) fn rpmbuild(job: &Job<'_>, stage: &str) -> Command {
    // One stream, so that errors stand in the log where they happened.
    let mut argv = ["sh", "-c", r#"exec rpmbuild "$@" 2>&1"#, "rpmbuild", stage]
        .map(str::to_owned)
        .to_vec();
    argv.extend(job.options.iter().cloned());
    for (key, value) in macros(job) {
        argv.extend(["--define".to_owned(), format!("{key} {value}")]);
    }
    argv.push(format!("{}/SPECS/{}", job.builder.home, job.spec));
    let mut command = Command::new(argv);
    command.cwd.clone_from(&job.builder.home);
    command.user = job.builder.user;
    command.limits = job.limits.clone();
    command.env.extend(job.builder.environment());
    let processors = job.conditions.processors;
    let processors = processors.map_or(job.processors, NonZero::get);
    command
        .env
        .insert("RPM_BUILD_NCPUS".to_owned(), processors.to_string());
    if !job.has_changelog {
        command
            .env
            .insert("SOURCE_DATE_EPOCH".to_owned(), job.epoch.to_string());
    }
    job.conditions.apply(&mut command);
    command
}

fn run(
    clone: &mut dyn backend::Clone,
    (command, watched): (&Command, Option<&Watched>),
    log: &mut Log<'_>,
    cancel: &Cancel,
) -> Result<(Exit, Option<Result<Trace, String>>), BackendError> {
    let io = Io {
        stdin: None,
        output: &mut |_, bytes| log.write(bytes),
        cancel,
    };
    match watched {
        None => Ok((clone.run(command, io)?, None)),
        Some(watched) => {
            let (exit, trace) = clone.run_traced(command, io, watched)?;
            Ok((exit, Some(trace)))
        }
    }
}
