//! The record of a run: `record.json`, versioned, written atomically (`docs/record.md`).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::Digest;
use crate::files;
use crate::rpm::Nevra;

/// The format version that this program writes and reads.
pub const FORMAT: u32 = 1;

/// The file's name in a run folder.
pub const FILE_NAME: &str = "record.json";

/// All that a run was made from and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Format version, `FORMAT`.
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
    /// One entry per package of the project, in plan order.
    pub packages: Vec<PackageRecord>,
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
    /// Built, failed or skipped.
    pub outcome: Outcome,
    /// Spec and sources, by SHA-256.
    pub inputs: Vec<FileRecord>,
    /// The project's own packages that were installed for it, in installation order.
    pub own_packages: Vec<FileRecord>,
    /// Source and binary packages that came out.
    pub outputs: Vec<FileRecord>,
    /// `SOURCE_DATE_EPOCH` of the build, where the spec's change log gives none.
    pub source_date_epoch: i64,
    /// Wall time in milliseconds; 0 for a skipped package.
    pub milliseconds: u64,
    /// The log, relative to the run folder.
    pub log: Option<PathBuf>,
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
    /// It did not build.
    Failed {
        /// Why, in words.
        reason: String,
    },
    /// It was not tried.
    Skipped {
        /// The package whose failure stood in the way.
        because: String,
    },
}

impl Outcome {
    /// Whether it counts as good.
    pub fn good(&self) -> bool {
        matches!(self, Self::Built {})
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Built {} => f.write_str("built"),
            Self::Failed { reason } => write!(f, "failed: {reason}"),
            Self::Skipped { because } => {
                write!(f, "skipped: needs `{because}`, which was not built")
            }
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
    /// It is not a record of a format that this version reads.
    #[error("`{path}` is not a record that this version reads (format {FORMAT})")]
    Format {
        /// The record.
        path: PathBuf,
        /// What the reader said.
        source: serde_json::Error,
    },
}

impl Record {
    /// Writes it into a run folder.
    pub fn save(&self, folder: &Path) -> Result<(), RecordError> {
        let path = folder.join(FILE_NAME);
        let mut text =
            serde_json::to_string_pretty(self).map_err(|source| RecordError::Format {
                path: path.clone(),
                source,
            })?;
        text.push('\n');
        files::write_atomic(&path, text.as_bytes()).map_err(|source| RecordError::File {
            doing: "write",
            path,
            source,
        })
    }

    /// Reads it from a run folder.
    pub fn load(folder: &Path) -> Result<Self, RecordError> {
        let path = folder.join(FILE_NAME);
        let text = fs_err::read_to_string(&path).map_err(|source| RecordError::File {
            doing: "read",
            path: path.clone(),
            source,
        })?;
        serde_json::from_str(&text).map_err(|source| RecordError::Format { path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Record {
        let file = |path: &str| FileRecord {
            path: path.into(),
            sha256: Digest::of(path.as_bytes()),
            size: 7,
        };
        let package = |name: &str, outcome| PackageRecord {
            name: name.to_owned(),
            outcome,
            inputs: vec![file("packages/a/a.spec")],
            own_packages: Vec::new(),
            outputs: vec![file("repository/a-1-1.x86_64.rpm")],
            source_date_epoch: 1,
            milliseconds: 12,
            log: Some("logs/a.log".into()),
        };
        Record {
            format: FORMAT,
            run: "20260102-030405-1".to_owned(),
            project: "p".to_owned(),
            tool: "pristine 0.1.0".to_owned(),
            started: "2026-01-02T03:04:05Z".to_owned(),
            ended: "2026-01-02T03:04:06Z".to_owned(),
            lock: Digest::of(b"lock"),
            base: None,
            environment: Digest::of(b"tree"),
            snapshot: Digest::of(b"image"),
            installed: vec!["bash-5-1.x86_64".parse().unwrap()],
            packages: vec![
                package("a", Outcome::Built {}),
                package(
                    "b",
                    Outcome::Failed {
                        reason: "exit code 1".to_owned(),
                    },
                ),
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
    fn an_unknown_field_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut value = serde_json::to_value(example()).unwrap();
        value["surprise"] = true.into();
        fs_err::write(folder.path().join(FILE_NAME), value.to_string()).unwrap();
        assert!(Record::load(folder.path()).is_err());
    }
}
