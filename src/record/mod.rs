//! The record of a run: `record.json`, versioned, written atomically (`docs/record.md`).

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::Digest;
use crate::files;
use crate::rpm::Nevra;

pub mod audit;
pub mod journal;
pub mod kept;
pub mod retention;
pub mod runs;
mod usage;
mod versioned;

pub use usage::{How, Means, Undeclared, Unused, UsageRecord, UsedFile};

/// The format version that this program writes and reads.
///
/// Format 1 had no times within the run, no resources, no classes of failures; it is read too.
pub const FORMAT: u32 = 2;

/// The file's name in a run folder.
pub const FILE_NAME: &str = "record.json";

/// All that a run was made from and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Format version, `FORMAT` or an older one.
    pub format: u32,
    /// The run's name: its start in UTC and a number that makes it unique.
    pub run: String,
    /// Name of the project.
    pub project: String,
    /// The program that wrote it, with its version.
    pub tool: String,
    /// Start, RFC 3339 in UTC.
    pub started: String,
    /// End, RFC 3339 in UTC.
    pub ended: String,
    /// Whether the run came to its end.
    #[serde(default)]
    pub ending: Ending,
    /// Which packages were asked for.
    #[serde(default)]
    pub scope: Scope,
    /// The commit that was built, where the project is in git.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceRecord>,
    /// What it was built on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostRecord>,
    /// SHA-256 of `pristine.lock` as it was used.
    pub lock: Digest,
    /// The image or root archive that the environment begins with, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<BaseRecord>,
    /// Digest of the environment's tree, equal to the lock's.
    pub environment: Digest,
    /// Manifest digest of the snapshot in the store.
    pub snapshot: Digest,
    /// Packages installed in the snapshot, sorted.
    pub installed: Vec<Nevra>,
    /// What was done before the first package, in order.
    #[serde(default)]
    pub steps: Vec<StepRecord>,
    /// One entry per package of the project, in plan order.
    pub packages: Vec<PackageRecord>,
}

/// Whether a run came to its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// Every package has its outcome.
    #[default]
    Complete,
    /// Ctrl-C, a signal or `--fail-fast` ended it before that.
    Interrupted,
}

/// Which packages a run was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "what", deny_unknown_fields)]
pub enum Scope {
    /// All of the project.
    #[default]
    All,
    /// These, and what they need.
    Only {
        /// Names in the project, sorted.
        packages: Vec<String>,
    },
    /// What has changed since another run, and what depends on it; the rest was taken from there.
    Since {
        /// The other run's name.
        run: String,
    },
    /// What an interrupted run had not done; the rest was taken from there.
    Resume {
        /// The other run's name.
        run: String,
    },
}

/// The commit that was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceRecord {
    /// Its object id, hexadecimal.
    pub commit: String,
    /// URL or path and ref of a clean checkout, as asked for; none where the user's own tree was built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkout: Option<String>,
    /// SHA-256 of what the tree had beside the commit (`git diff HEAD` and files that git does not track);
    /// none for a clean tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Digest>,
}

/// What a run was built on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostRecord {
    /// Name of the backend.
    pub backend: String,
    /// Release of the kernel, as `uname -r` prints it.
    pub kernel: String,
    /// Processors that builds could use together.
    pub processors: u32,
    /// Memory that builds could use together, bytes.
    pub memory: u64,
    /// Builds at once, at most.
    pub jobs: u32,
}

/// A step before the first package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepRecord {
    /// In the words of the terminal (`creating the environment`).
    pub step: String,
    /// What came of it, in a few words; often nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub result: String,
    /// Its start, milliseconds since the run's start.
    pub at: u64,
    /// Wall time in milliseconds.
    pub milliseconds: u64,
}

/// What an environment begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseRecord {
    /// The image, or the URL of the root archive, as the template names it.
    pub name: String,
    /// Digest of the image's manifest, or of the archive.
    pub digest: Digest,
}

/// What became of one package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageRecord {
    /// Name in the project.
    pub name: String,
    /// Version and release of its source package, where they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Built, failed or skipped.
    pub outcome: Outcome,
    /// Names of the project's packages that had to be built before it, sorted.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Spec and sources, by SHA-256.
    pub inputs: Vec<FileRecord>,
    /// Digest of all that it was made from (the snapshot's tree, inputs, own packages, macros, options): where that is
    /// the same in another run, so are its packages. None for a package that was not tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_from: Option<Digest>,
    /// The project's own packages that were installed for it, in installation order.
    pub own_packages: Vec<FileRecord>,
    /// Source and binary packages that came out.
    pub outputs: Vec<FileRecord>,
    /// `SOURCE_DATE_EPOCH` of the build, where the spec's change log gives none.
    pub source_date_epoch: i64,
    /// Its start, milliseconds since the run's start; 0 for a skipped package.
    #[serde(default)]
    pub at: u64,
    /// Wall time in milliseconds; 0 for a skipped package.
    pub milliseconds: u64,
    /// The parts of the build in order: `prepare`, then rpmbuild's (`%prep`, `%build`, …).
    #[serde(default)]
    pub phases: Vec<PhaseRecord>,
    /// What it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<Given>,
    /// What it used, as far as this machine could tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Resources>,
    /// What it used of the environment, held against what its spec declares; none for a package that was not tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageRecord>,
    /// The log, relative to the run folder.
    pub log: Option<PathBuf>,
}

/// A part of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhaseRecord {
    /// `prepare`, `%prep`, `%build`, `%install`, `%check`, `packaging` and the like.
    pub phase: String,
    /// Wall time in milliseconds.
    pub milliseconds: u64,
}

/// What a build was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// Processors, and so `%_smp_mflags`.
    pub processors: u32,
    /// Memory limit, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
}

/// What a build used: all its processes together. What could not be read is missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    /// Processor time in user mode, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<u64>,
    /// Processor time in the kernel, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<u64>,
    /// Peak of memory, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Peak of processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    /// Bytes read from block devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<u64>,
    /// Bytes written to block devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written: Option<u64>,
    /// Bytes that the clone held at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<u64>,
}

/// A file and its digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRecord {
    /// Relative to the run folder (outputs) or the project (inputs), or the plain file name of a downloaded source.
    pub path: PathBuf,
    /// SHA-256 of its content.
    pub sha256: Digest,
    /// Bytes.
    pub size: u64,
}

/// How a package ended. A package that does not build is a result, not a failure of the tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "result", deny_unknown_fields)]
pub enum Outcome {
    /// All its packages were built.
    Built {},
    /// Its packages were taken from an earlier run, where nothing that they are made from differs.
    Reused {
        /// The run that built them.
        run: String,
    },
    /// It did not build.
    Failed {
        /// Why, in words.
        reason: String,
        /// What kind of failure it is.
        #[serde(default)]
        class: Class,
        /// The part of the build in which it failed, as in `phases`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        phase: Option<String>,
        /// The limit that ended it, with its figures.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<LimitRecord>,
        /// The lines of the log that say it best.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        excerpt: Vec<String>,
        /// The root that keeps the clone as the failure left it, for `pristine enter --failed`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kept: Option<String>,
    },
    /// It was not tried.
    Skipped {
        /// The package whose failure stood in the way.
        because: String,
    },
    /// The run ended before it did.
    Interrupted {},
}

/// What kind of failure it is.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Something that it needs is missing: a BuildRequires, a program, a header, a module.
    Dependency,
    /// `%prep`: a source, a patch.
    Sources,
    /// A compiler or linker.
    Compiler,
    /// A test in `%check`.
    Test,
    /// What rpm says of files, descriptions and scriptlets of the packages.
    Packaging,
    /// A limit on time, memory, processes or disk.
    Limit,
    /// It uses what its spec does not declare, where that is an error (`--strict`).
    Undeclared,
    /// The machine: the disk, the sandbox, a signal from outside.
    Infrastructure,
    /// None of these.
    #[default]
    Other,
}

/// A limit that ended a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitRecord {
    /// `time`, `silence`, `cpu`, `memory`, `processes` or `disk`.
    pub limit: String,
    /// Its value: milliseconds, bytes or a number.
    pub value: u64,
    /// The highest figure that was seen, in the same unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak: Option<u64>,
    /// The process that met it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// What was read, by name (`oom_kill`, `pids.max`), so that the verdict can be checked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: BTreeMap<String, u64>,
    /// What would help, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
}

impl Outcome {
    /// Whether it counts as good.
    pub fn good(&self) -> bool {
        matches!(self, Self::Built {} | Self::Reused { .. })
    }

    /// Its word in the record.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Built {} => "built",
            Self::Reused { .. } => "reused",
            Self::Failed { .. } => "failed",
            Self::Skipped { .. } => "skipped",
            Self::Interrupted {} => "interrupted",
        }
    }

    /// A failure of which no more is known than why.
    pub fn failed(reason: impl Into<String>, class: Class) -> Self {
        Self::Failed {
            reason: reason.into(),
            class,
            phase: None,
            limit: None,
            excerpt: Vec::new(),
            kept: None,
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Built {} => f.write_str("built"),
            Self::Reused { run } => write!(f, "as in run {run}"),
            Self::Failed { reason, limit, .. } => {
                write!(f, "failed: {reason}")?;
                let suggestion = limit.as_ref().and_then(|limit| limit.suggestion.as_ref());
                suggestion.map_or(Ok(()), |suggestion| write!(f, "; {suggestion}"))
            }
            Self::Skipped { because } => {
                write!(f, "skipped: needs `{because}`, which was not built")
            }
            Self::Interrupted {} => f.write_str("interrupted"),
        }
    }
}

/// Why a record could not be written or read.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The file system refused.
    #[error("cannot {doing} `{path}`")]
    File {
        /// To read after "cannot".
        doing: &'static str,
        /// The record.
        path: PathBuf,
        /// Its cause.
        source: std::io::Error,
    },
    /// A newer version wrote it.
    #[error(
        "`{path}` has format {found}, which is newer than the newest that this version reads ({newest})"
    )]
    Newer {
        /// The record.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The newest that is read.
        newest: u32,
    },
    /// It is not a record of a format that this version reads.
    #[error("`{path}` is not a record that this version reads (format {newest} and older)")]
    Format {
        /// The record.
        path: PathBuf,
        /// The newest that is read.
        newest: u32,
        /// What the reader said.
        source: serde_json::Error,
    },
}

/// What is read first of all.
#[derive(Deserialize)]
struct Header {
    format: u64,
}

impl Record {
    /// Writes it into a run folder.
    pub fn save(&self, folder: &Path) -> Result<(), RecordError> {
        let path = folder.join(FILE_NAME);
        let mut text =
            serde_json::to_string_pretty(self).map_err(|source| RecordError::Format {
                path: path.clone(),
                newest: FORMAT,
                source,
            })?;
        text.push('\n');
        files::write_atomic(&path, text.as_bytes()).map_err(|source| RecordError::File {
            doing: "write",
            path,
            source,
        })
    }

    /// Reads it from a run folder; of a run that was killed, what it left of it.
    pub fn load(folder: &Path) -> Result<Self, RecordError> {
        let path = folder.join(FILE_NAME);
        let text = match fs_err::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => {
                let left = match source.kind() {
                    ErrorKind::NotFound => journal::recovered(folder)?,
                    _ => None,
                };
                let doing = "read";
                return left.ok_or(RecordError::File {
                    doing,
                    path,
                    source,
                });
            }
        };
        check_format(&text, &path)?;
        serde_json::from_str(&text).map_err(|source| RecordError::Format {
            path,
            newest: FORMAT,
            source,
        })
    }

    /// The same; none where the run left nothing, or still goes on.
    pub fn find(folder: &Path) -> Result<Option<Self>, RecordError> {
        if folder.join(FILE_NAME).exists() {
            return Self::load(folder).map(Some);
        }
        journal::recovered(folder)
    }
}

/// Refuses what a newer version has written.
fn check_format(text: &str, path: &Path) -> Result<(), RecordError> {
    let header = serde_json::from_str(text);
    let Header { format } = header.map_err(|source| RecordError::Format {
        path: path.to_owned(),
        newest: FORMAT,
        source,
    })?;
    if format > u64::from(FORMAT) {
        return Err(RecordError::Newer {
            path: path.to_owned(),
            found: format,
            newest: FORMAT,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, outcome: Outcome) -> PackageRecord {
        let file = |path: &str| FileRecord {
            path: path.into(),
            sha256: Digest::of(path.as_bytes()),
            size: 7,
        };
        PackageRecord {
            name: name.to_owned(),
            version: Some("1-1".to_owned()),
            outcome,
            needs: Vec::new(),
            inputs: vec![file("packages/a/a.spec")],
            made_from: Some(Digest::of(b"all")),
            own_packages: Vec::new(),
            outputs: vec![file("repository/a-1-1.x86_64.rpm")],
            source_date_epoch: 1,
            at: 3,
            milliseconds: 12,
            phases: vec![PhaseRecord {
                phase: "%build".to_owned(),
                milliseconds: 9,
            }],
            given: Some(Given {
                processors: 2,
                memory: None,
            }),
            used: Some(Resources {
                user: Some(11),
                ..Resources::default()
            }),
            usage: Some(UsageRecord::untraced("no reason")),
            log: Some("logs/a.log".into()),
        }
    }

    pub(super) fn example() -> Record {
        Record {
            format: FORMAT,
            run: "20260102-030405-1".to_owned(),
            project: "p".to_owned(),
            tool: "pristine 0.1.0".to_owned(),
            started: "2026-01-02T03:04:05Z".to_owned(),
            ended: "2026-01-02T03:04:06Z".to_owned(),
            ending: Ending::Complete,
            scope: Scope::Only {
                packages: vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
            },
            source: Some(SourceRecord {
                commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
                checkout: None,
                changes: Some(Digest::of(b"diff")),
            }),
            host: Some(HostRecord {
                backend: "native".to_owned(),
                kernel: "6.18.0".to_owned(),
                processors: 2,
                memory: 1 << 30,
                jobs: 1,
            }),
            lock: Digest::of(b"lock"),
            base: None,
            environment: Digest::of(b"tree"),
            snapshot: Digest::of(b"image"),
            installed: vec!["bash-5-1.x86_64".parse().unwrap()],
            steps: vec![StepRecord {
                step: "solving".to_owned(),
                result: String::new(),
                at: 0,
                milliseconds: 2,
            }],
            packages: vec![
                package("a", Outcome::Built {}),
                package("b", Outcome::failed("exit code 1", Class::Other)),
                package(
                    "c",
                    Outcome::Skipped {
                        because: "b".to_owned(),
                    },
                ),
            ],
        }
    }

    #[test]
    fn round_trips_through_its_file() {
        let folder = tempfile::tempdir().unwrap();
        example().save(folder.path()).unwrap();
        assert_eq!(Record::load(folder.path()).unwrap(), example());
    }

    #[test]
    fn records_of_format_1_are_read() {
        let text = r#"{ "format": 1, "run": "r", "project": "p", "tool": "pristine 0.1.0",
            "started": "2026-01-02T03:04:05Z", "ended": "2026-01-02T03:04:06Z",
            "lock": "LOCK", "environment": "LOCK", "snapshot": "LOCK", "installed": [],
            "packages": [{ "name": "a", "outcome": { "result": "failed", "reason": "exit code 1" },
                "inputs": [], "own_packages": [], "outputs": [], "source_date_epoch": 1,
                "milliseconds": 5, "log": null }] }"#
            .replace("LOCK", &Digest::of(b"lock").to_string());
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join(FILE_NAME), text).unwrap();
        let record = Record::load(folder.path()).unwrap();
        assert_eq!(record.ending, Ending::Complete);
        let outcome = Outcome::failed("exit code 1", Class::Other);
        assert_eq!(record.packages[0].outcome, outcome);
    }

    #[test]
    fn a_newer_format_is_refused_by_its_number() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join(FILE_NAME), r#"{"format": 99}"#).unwrap();
        let error = Record::load(folder.path()).unwrap_err();
        assert!(error.to_string().contains("has format 99"), "{error}");
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut value = serde_json::to_value(example()).unwrap();
        value["surprise"] = true.into();
        fs_err::write(folder.path().join(FILE_NAME), value.to_string()).unwrap();
        assert!(Record::load(folder.path()).is_err());
    }
}
