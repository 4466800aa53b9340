//! The command line: types and help texts, nothing else.

use std::num::NonZero;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

use crate::documents::config::BackendChoice;
use crate::documents::{ImageName, Request};
use crate::record::audit::Variation;
use crate::record::kept::is_name;

mod statements;

pub use statements::{AttestArgs, Attesting, ExportArgs, SbomArgs, VerifyAttestationArgs};

/// Rebuild the build server on every build, and prove it.
#[derive(Debug, Parser)]
#[command(
    name = "pristine",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub struct Cli {
    /// The project: a folder with a `pristine.toml`
    #[arg(
        short = 'C',
        long,
        global = true,
        default_value = ".",
        value_name = "DIR"
    )]
    pub project: PathBuf,
    /// Where downloads, snapshots and runs are kept, instead of the project file's choice
    #[arg(long, global = true, env = "PRISTINE_STORE", value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Where environments are made and packages built, instead of the project file's choice;
    /// without any choice the first that works here
    #[arg(
        long,
        global = true,
        env = "PRISTINE_BACKEND",
        value_name = "NAME",
        value_parser = backend_parser()
    )]
    pub backend: Option<BackendChoice>,
    /// Only results and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Solve everything that the project needs and write `pristine.lock`
    ///
    /// Packages that are locked already stay as they are; `update` moves them.
    Lock {
        /// Ask nothing of the network: what the store does not have is named
        #[arg(long)]
        offline: bool,
    },
    /// Solve again, taking the newest versions, and write `pristine.lock`
    Update {
        /// Only these packages may move; without names, all may
        names: Vec<String>,
        /// Ask nothing of the network: what the store does not have is named
        #[arg(long)]
        offline: bool,
    },
    /// Say which request brings a package into the lock, along the shortest chain
    Why {
        /// A package of the lock (name, name-version, full name), or something that one provides
        name: String,
        /// Ask nothing of the network
        #[arg(long)]
        offline: bool,
    },
    /// Say what keeps a package out of the lock
    WhyNot {
        /// A package of the repositories: name, name-version or full name
        #[arg(value_name = "NAME[-VERSION]")]
        name: String,
        /// Ask nothing of the network
        #[arg(long)]
        offline: bool,
    },
    /// Create the environment from the lock, then build every package in a clone of it
    Build(BuildArgs),
    /// Run a shell, or a command, in a throw-away clone of the pristine snapshot
    Enter(EnterArgs),
    /// Build one spec or source package by hand in the pristine environment, as the nightly build would
    Run(RunArgs),
    /// List, show, tag, verify, remove, export, import, push and pull snapshots
    #[command(subcommand)]
    Snapshot(SnapshotVerb),
    /// Make the embedded distribution, write a demonstration project, and build it
    Demo(DemoArgs),
    /// Build a run's packages a second time, elsewhere and otherwise, and say what differs and why
    ///
    /// Exit code 0: all are the same, byte for byte; 1: something differs, or does not build again.
    Audit(AuditArgs),
    /// Rebuild shipped packages from the record of their run, and say whether they are the same
    Verify(VerifyArgs),
    /// List the kept runs, newest first
    Runs {
        /// For machines: one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Tell how a run went: what failed and why, and each package
    Show {
        /// A run's name or the beginning of it, `latest`, or a run's folder
        #[arg(default_value = "latest")]
        run: String,
        /// For machines: the run's record
        #[arg(long)]
        json: bool,
    },
    /// Print the log of a package's build
    Log(LogArgs),
    /// Write a statement of what each package of a run was made from: in-toto, SLSA build provenance
    ///
    /// Signed with --key; without it the statements are bare, and named otherwise.
    Attest(AttestArgs),
    /// Check signed statements and the packages that they are about; asks nothing of the network
    ///
    /// Files that end in .rpm are packages, all others statements. Without packages, those are looked at that lie
    /// beside the statements or in the run's repository.
    VerifyAttestation(VerifyAttestationArgs),
    /// Write bills of materials of a run: of its environment and of each of its packages
    Sbom(SbomArgs),
    /// Write the lock's environment in a format of other tools
    Export(ExportArgs),
    /// Tell what differs between two runs, or two locks
    ///
    /// Each is a run (its name or the beginning of it, `latest`, its folder), a lock's file, or a git revision of the
    /// project's lock. What is a file is taken for one first, then runs are looked for, then revisions.
    Diff {
        /// What was before
        old: String,
        /// What is now
        new: String,
        /// For machines: one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Remove what interrupted runs left in the store
    Clean {
        /// Everything that is in the store, snapshots and runs too
        #[arg(long)]
        all: bool,
    },
    /// Remove what no kept run, no tag and no lock of a project wants, and say why the rest stays
    ///
    /// Which runs are kept says `keep` in `[store]` of the project file.
    Gc {
        /// Remove nothing: only say it
        #[arg(long)]
        dry_run: bool,
    },
    /// Look after the store itself
    #[command(subcommand)]
    Store(StoreVerb),
    /// Say what works on this host, and what to do where something does not
    Doctor {
        /// Ask nothing of the network
        #[arg(long)]
        offline: bool,
    },
}

/// Verbs on the store.
#[derive(Debug, Subcommand)]
pub enum StoreVerb {
    /// Hash everything that is in the store again, and name what is damaged
    Verify {
        /// Remove what is damaged, and fetch again what the lock names
        #[arg(long)]
        repair: bool,
        /// Look only at files that were changed since they were hashed last
        #[arg(long)]
        quick: bool,
        /// With --repair: ask nothing of the network
        #[arg(long)]
        offline: bool,
    },
}

/// Reads the name of a kept clone.
fn kept_name(text: &str) -> Result<String, &'static str> {
    if is_name(text) {
        return Ok(text.to_owned());
    }
    Err("a name is letters, digits and `-_.`, and does not begin with `-` or `.`")
}

/// Reads the name of a backend.
fn backend_parser() -> impl TypedValueParser<Value = BackendChoice> {
    let names = BackendChoice::ALL.map(BackendChoice::name);
    PossibleValuesParser::new(names).try_map(|name| {
        let all = BackendChoice::ALL.into_iter();
        all.into_iter()
            .find(|choice| choice.name() == name)
            .ok_or("there is no such backend")
    })
}

impl Verb {
    /// Whether events go to standard output as JSON.
    pub fn events_as_json(&self) -> bool {
        matches!(self, Self::Build(arguments) if arguments.json)
    }

    /// Whether its log is worth the time of day in each line.
    pub fn takes_long(&self) -> bool {
        matches!(
            self,
            Self::Build(_)
                | Self::Run(_)
                | Self::Audit(_)
                | Self::Verify(_)
                | Self::Lock { .. }
                | Self::Update { .. }
                | Self::Demo(_)
        )
    }

    /// Whether nothing may be asked of the network.
    pub fn offline(&self) -> bool {
        match self {
            Self::Lock { offline }
            | Self::Update { offline, .. }
            | Self::Why { offline, .. }
            | Self::WhyNot { offline, .. }
            | Self::Doctor { offline }
            | Self::Store(StoreVerb::Verify { offline, .. }) => *offline,
            Self::Build(arguments) => arguments.offline,
            Self::Enter(arguments) => arguments.offline,
            Self::Run(arguments) => arguments.offline,
            Self::Audit(arguments) => arguments.offline,
            Self::Verify(arguments) => arguments.offline,
            Self::Snapshot(_)
            | Self::Demo(_)
            | Self::Runs { .. }
            | Self::Show { .. }
            | Self::Log(_)
            | Self::Attest(_)
            | Self::Export(_)
            | Self::Sbom(_)
            | Self::VerifyAttestation(_)
            | Self::Diff { .. }
            | Self::Clean { .. }
            | Self::Gc { .. } => false,
        }
    }
}

/// Arguments of `build`.
#[derive(Debug, Clone, Default, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "flags of the command line, each on its own"
)]
pub struct BuildArgs {
    /// Refuse to build when `pristine.lock` does not fit the project, and say what changed
    ///
    /// Without it, a lock that does not fit is written anew first.
    #[arg(long)]
    pub locked: bool,
    /// Start from the kept snapshot of this lock, where there is one, instead of creating it anew
    #[arg(long)]
    pub reuse_snapshot: bool,
    /// Ask nothing of the network: what the store does not have is named
    #[arg(long)]
    pub offline: bool,
    /// Where the results go, instead of a new folder below the store's `runs/`
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Write events to standard output as JSON, one object a line (docs/events.md)
    #[arg(long)]
    pub json: bool,
    /// Build a clean checkout of a commit: a repository's URL or path, `#`, and a branch, tag or commit
    ///
    /// -C then names the project's folder in the repository. The lock must fit, as with --locked.
    #[arg(long, value_name = "URL#REF")]
    pub checkout: Option<String>,
    /// Builds at once, at most; without it, as many as there are processors, and memory for
    #[arg(short, long, value_name = "N")]
    pub jobs: Option<NonZero<usize>>,
    /// Build on when a package fails; only what needs it is skipped (this is what happens without any option)
    #[arg(long, conflicts_with = "fail_fast")]
    pub keep_going: bool,
    /// End the run at the first package that fails
    #[arg(long)]
    pub fail_fast: bool,
    /// Let a package fail that uses what its spec does not declare (docs/declared.md)
    #[arg(long)]
    pub strict: bool,
    /// Only these packages, and those of the project that they need; names separated by commas, or several times
    #[arg(long, value_name = "PACKAGE", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Build what has changed since this run and what depends on it; take the rest from there
    ///
    /// A run's name, the beginning of it, or `latest`.
    #[arg(long, value_name = "RUN")]
    pub since: Option<String>,
    /// Go on with a run that was interrupted: build what it had not built
    #[arg(long, value_name = "RUN", conflicts_with_all = ["since", "only"])]
    pub resume: Option<String>,
    /// Sign a statement of each package with this Ed25519 key (PEM, or OpenSSH's), as `pristine attest` does
    ///
    /// They go to attestations/ in the run's folder.
    #[arg(long, env = "PRISTINE_ATTEST_KEY", value_name = "FILE")]
    pub attest_key: Option<PathBuf>,
    /// What statements say beside that
    #[command(flatten)]
    pub attesting: Attesting,
}

/// Arguments of `audit`.
#[derive(Debug, Clone, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches of the command line"
)]
pub struct AuditArgs {
    /// A run's name or the beginning of it, `latest`, or a run's folder
    #[arg(default_value = "latest")]
    pub run: String,
    /// Only these packages of it
    pub packages: Vec<String>,
    /// Leave this as it was in the run; names separated by commas, or several times
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = variation_parser())]
    pub without_variation: Vec<Variation>,
    /// Vary this too, which is not varied by default: build-path, job-order
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = variation_parser())]
    pub with_variation: Vec<Variation>,
    /// Vary this, and what else is named so, and leave the rest as it was
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        value_parser = variation_parser(),
        conflicts_with_all = ["without_variation", "with_variation"]
    )]
    pub only_variation: Vec<Variation>,
    /// Find which variation makes a package differ, by rebuilding it with fewer of them
    #[arg(long)]
    pub bisect_variation: bool,
    /// Let diffoscope, where it is installed, write a page about each package that differs
    #[arg(long)]
    pub deep: bool,
    /// Builds at once, at most; without it, as many as there are processors, and memory for
    #[arg(short, long, value_name = "N")]
    pub jobs: Option<NonZero<usize>>,
    /// Ask nothing of the network: what the store does not have is named
    #[arg(long)]
    pub offline: bool,
    /// For machines: the audit's record
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// Source or binary packages, as they were shipped
    #[arg(required = true, value_name = "FILE.rpm")]
    pub files: Vec<PathBuf>,
    /// What they were made from: a run's folder or record.json; without it, the kept run that made them
    #[arg(long, value_name = "RECORD")]
    pub record: Option<PathBuf>,
    /// Let diffoscope, where it is installed, write a page about each file that is not the same into this folder
    #[arg(long, value_name = "DIR")]
    pub deep: Option<PathBuf>,
    /// Ask nothing of the network: what the store does not have is named
    #[arg(long)]
    pub offline: bool,
}

/// Reads the name of a variation.
fn variation_parser() -> impl TypedValueParser<Value = Variation> {
    let names = Variation::ALL.map(Variation::name);
    PossibleValuesParser::new(names).try_map(|name| {
        let mut all = Variation::ALL.into_iter();
        all.find(|variation| variation.name() == name)
            .ok_or("there is no such variation")
    })
}

/// Arguments of `enter`.
#[derive(Debug, Clone, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches of the command line"
)]
pub struct EnterArgs {
    /// The environment of a kept run: its name or the beginning of it, or `latest`
    #[arg(long, value_name = "ID", conflicts_with = "snapshot")]
    pub run: Option<String>,
    /// The environment of a snapshot: its digest or the beginning of it, the date of a run, or a lock file
    #[arg(long, value_name = "ID|DATE|FILE")]
    pub snapshot: Option<String>,
    /// Stand in the unpacked sources of a package, with what its build has
    #[arg(long, value_name = "NAME")]
    pub package: Option<String>,
    /// Stand in what the newest failed build of a package left (of `--run`, where that is given)
    #[arg(long, value_name = "NAME", conflicts_with_all = ["package", "snapshot"])]
    pub failed: Option<String>,
    /// Install this package too, from the lock's repositories as the lock saw them
    #[arg(long, value_name = "PKG")]
    pub with: Vec<Request>,
    /// Let the project's folder, which is /work inside, be written; what is written is yours
    #[arg(long)]
    pub rw: bool,
    /// Keep the clone under a name; the next time with that name goes on where this ended
    #[arg(
        long,
        value_name = "NAME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "default",
        value_parser = kept_name
    )]
    pub keep: Option<String>,
    /// Say which clones are kept
    #[arg(long, exclusive = true)]
    pub list: bool,
    /// Remove a kept clone
    #[arg(long, value_name = "NAME", value_parser = kept_name)]
    pub forget: Option<String>,
    /// Let the commands inside use the host's network
    #[arg(long)]
    pub network: bool,
    /// Ask nothing of the network to make the environment: what the store does not have is named
    #[arg(long)]
    pub offline: bool,
    /// Be root inside (never outside) instead of the builder
    #[arg(long)]
    pub root: bool,
    /// The command and its arguments; a login shell without one
    #[arg(last = true)]
    pub command: Vec<String>,
}

/// Arguments of `log`.
#[derive(Debug, Clone, Args)]
#[command(allow_missing_positional = true)]
pub struct LogArgs {
    /// A run's name or the beginning of it, `latest`, or a run's folder
    #[arg(default_value = "latest")]
    pub run: String,
    /// The package's name in the project
    #[arg(required = true)]
    pub package: String,
    /// As it was written, escape sequences and all, also to a terminal
    #[arg(long)]
    pub raw: bool,
}

/// Arguments of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// A spec, of the project or with its sources beside it, or a source package
    #[arg(value_name = "SPEC-OR-SRPM")]
    pub source: PathBuf,
    /// Where packages and log go; files of the same names are replaced
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub output: PathBuf,
    /// Install this package too, from the lock's repositories as the lock saw them
    #[arg(long, value_name = "PKG")]
    pub with: Vec<Request>,
    /// Ask nothing of the network: what the store does not have is named
    #[arg(long)]
    pub offline: bool,
}

/// Verbs on snapshots.
#[derive(Debug, Subcommand)]
pub enum SnapshotVerb {
    /// The snapshots in the store
    List,
    /// Say what a snapshot is, how it was made, and which commands make it again from nothing
    Show {
        /// Its digest or the beginning of it, a tag, or a run's name or date; without it, the one of the project's lock
        snapshot: Option<String>,
    },
    /// Give a snapshot a name that keeps it; without a name, say which there are
    Tag {
        /// The name; a snapshot that has it already loses it
        name: Option<String>,
        /// Its digest or the beginning of it, a tag, or a run's name or date; without it, the one of the project's lock
        snapshot: Option<String>,
        /// Take the name away
        #[arg(long, requires = "name", conflicts_with = "snapshot")]
        remove: bool,
    },
    /// Hash a snapshot's layers again, and the trees that they were unpacked to
    Verify {
        /// Its digest or the beginning of it, a tag, or a run's name or date; without it, the one of the project's lock
        snapshot: Option<String>,
        /// Hash only what looks different from when it was found whole last
        #[arg(long)]
        quick: bool,
    },
    /// Remove a snapshot, its tags, and what only it wants
    Remove {
        /// Its digest or the beginning of it, a tag, or a run's name or date
        snapshot: String,
    },
    /// Write a snapshot to a file that any OCI tool reads (`skopeo`, `podman load`)
    Export {
        /// Where to; `-` is standard output
        file: PathBuf,
        /// Its digest or the beginning of it, a tag, or a run's name or date; without it, the one of the project's lock
        #[arg(long)]
        snapshot: Option<String>,
        /// A plain tarball of the file tree instead of an OCI archive
        #[arg(long)]
        tar: bool,
    },
    /// Hand a snapshot to Docker Engine or Podman (`DOCKER_HOST`) as an image
    Load {
        /// The image's name there, with or without a tag
        #[arg(value_name = "NAME[:TAG]")]
        name: String,
        /// Its digest or the beginning of it, a tag, or a run's name or date; without it, the one of the project's lock
        #[arg(long)]
        snapshot: Option<String>,
    },
    /// Send a snapshot to a registry, so that others can pull it
    ///
    /// Credentials are those of `docker login` and `podman login`.
    Push {
        /// The image's name there; `http://` before it asks the registry without TLS
        #[arg(value_name = "REGISTRY/NAME:TAG")]
        name: ImageName,
        /// Its digest or the beginning of it, a tag, or a run's name or date; without it, the one of the project's lock
        #[arg(long)]
        snapshot: Option<String>,
    },
    /// Fetch a snapshot from a registry into the store
    Pull {
        /// The image's name there, with a tag or a digest; `http://` before it asks the registry without TLS
        #[arg(value_name = "REGISTRY/NAME:TAG")]
        name: ImageName,
    },
    /// Read a snapshot from an OCI archive
    Import {
        /// The archive
        file: PathBuf,
        /// The name that keeps it; without one, `imported/` and the beginning of its digest
        #[arg(long)]
        tag: Option<String>,
    },
}

/// Arguments of `demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Where the project is written
    #[arg(default_value = "pristine-demo", value_name = "DIR")]
    pub folder: PathBuf,
    /// The Debian suite that the distribution is made of
    #[arg(long, default_value = "trixie", value_parser = ["bookworm", "trixie", "sid"])]
    pub suite: String,
    /// The Debian mirror; without it, the one that the host's apt uses, else a public one
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn a_log_is_asked_for_with_or_without_its_run() {
        let parse = |words: &[&str]| {
            let words = ["pristine", "log"].iter().chain(words);
            match super::Cli::try_parse_from(words).map(|cli| cli.verb) {
                Ok(super::Verb::Log(log)) => Some((log.run, log.package)),
                _ => None,
            }
        };
        let pair = |run: &str, package: &str| Some((run.to_owned(), package.to_owned()));
        assert_eq!(parse(&["zlib"]), pair("latest", "zlib"));
        assert_eq!(parse(&["2026", "zlib"]), pair("2026", "zlib"));
        assert_eq!(parse(&[]), None);
    }
}
