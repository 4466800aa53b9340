//! The record of an audit: `audit.json`, in the folder of the run that was audited (`docs/audit.md`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Ending, HostRecord, RecordError, StepRecord, UsageRecord, versioned};
use crate::compare::{Cause, Comparison};
use crate::digest::Digest;
pub use crate::reproducibility::Variation;

/// The format version that this program writes and reads.
pub const FORMAT: u32 = 1;
/// The file's name in an audit's folder.
pub const FILE_NAME: &str = "audit.json";
/// The folder of all audits in a run folder.
pub const AUDITS: &str = "audits";

/// What was audited, how, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditRecord {
    /// Format version.
    pub format: u32,
    /// The audit's name: its start in UTC and a number that makes it unique.
    pub audit: String,
    /// The run that was audited.
    pub run: String,
    /// Name of the project.
    pub project: String,
    /// The program that wrote it, with its version.
    pub tool: String,
    /// Start, RFC 3339 in UTC.
    pub started: String,
    /// End, RFC 3339 in UTC.
    pub ended: String,
    /// Whether it came to its end.
    pub ending: Ending,
    /// What it was rebuilt on.
    pub host: HostRecord,
    /// SHA-256 of the lock from which both sides were made.
    pub lock: Digest,
    /// The second environment beside the first.
    pub environment: EnvironmentAudit,
    /// What was done before the first package, in order.
    pub steps: Vec<StepRecord>,
    /// Variations that were switched off, or that could not be made here, and why.
    pub not_varied: BTreeMap<Variation, String>,
    /// One entry for each package that was asked for, in the order of the run.
    pub packages: Vec<PackageAudit>,
}

/// The second environment, made anew from the lock, beside that of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentAudit {
    /// Digest of the environment's tree in the run.
    pub first: Digest,
    /// Digest of the second one.
    pub second: Digest,
    /// The same of all layers together, with what the recipe changed, where the run's snapshot is still kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_tree: Option<Digest>,
    /// The second one's.
    pub second_tree: Digest,
    /// What differs, file by file, for each layer that does; nothing where the run's snapshot is not kept any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub comparisons: Vec<Comparison>,
}

impl EnvironmentAudit {
    /// Whether both are the same, as far as that is known.
    pub fn is_same(&self) -> bool {
        let trees = self
            .first_tree
            .is_none_or(|first| first == self.second_tree);
        self.first == self.second && trees
    }
}

/// What became of one package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageAudit {
    /// Name in the project.
    pub name: String,
    /// Version and release of its source package, where they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// In short.
    pub outcome: AuditOutcome,
    /// What was different in the second build, with both values.
    pub varied: Vec<Varied>,
    /// What could not be varied for this package alone, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub not_varied: BTreeMap<Variation, String>,
    /// Source and binary packages: those of the run, and those that only the second build made.
    pub artefacts: Vec<ArtefactAudit>,
    /// Why it may differ, where the project file says so of every cause; empty where it does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
    /// Which variations make it differ, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bisection: Option<Bisection>,
    /// Its start, milliseconds since the audit's start; 0 where it was not tried.
    pub at: u64,
    /// Wall time of the rebuild in milliseconds; 0 where it was not tried.
    pub milliseconds: u64,
    /// The log of the rebuild, relative to the audit's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<PathBuf>,
    /// What it used in the run, held against what its spec declares; none where that was not watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageRecord>,
}

impl PackageAudit {
    /// Whether nothing speaks against it: it is the same, it was not tried, or it may differ as it does.
    pub fn good(&self) -> bool {
        self.outcome.good() || !self.allowed.is_empty()
    }

    /// The causes of what was compared, once each.
    pub fn causes(&self) -> BTreeSet<Cause> {
        let comparisons = self
            .artefacts
            .iter()
            .filter_map(|one| one.comparison.as_ref());
        let causes = comparisons.flat_map(Comparison::causes);
        causes.map(|(cause, _)| cause).collect()
    }

    /// The same, that of what is not listed among them. `None` where something that differs could not be compared.
    pub fn all_causes(&self) -> Option<BTreeSet<Cause>> {
        let mut causes = self.causes();
        for artefact in self.artefacts.iter().filter(|one| !one.is_identical()) {
            if artefact.comparison.as_ref()?.left_out > 0 {
                causes.insert(Cause::Unknown);
            }
        }
        Some(causes)
    }
}

/// How a package's audit ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "result", deny_unknown_fields)]
pub enum AuditOutcome {
    /// Every artefact was made again, byte for byte.
    Identical {},
    /// Something differs: `artefacts` say what and why.
    Differs {},
    /// It did not build the second time.
    Failed {
        /// Why, in words.
        reason: String,
    },
    /// There is nothing to compare with.
    Skipped {
        /// Why, in words.
        because: String,
    },
    /// The audit ended before it did.
    Interrupted {},
}

impl AuditOutcome {
    /// Its word in the file.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Identical {} => "identical",
            Self::Differs {} => "differs",
            Self::Failed { .. } => "failed",
            Self::Skipped { .. } => "skipped",
            Self::Interrupted {} => "interrupted",
        }
    }

    /// Whether nothing speaks against the package.
    pub fn good(&self) -> bool {
        matches!(self, Self::Identical {} | Self::Skipped { .. })
    }
}

/// One condition with both its values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Varied {
    /// Which; none for the time, which is never the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variation: Option<Variation>,
    /// What is varied, in words.
    pub what: String,
    /// Its value in the run.
    pub first: String,
    /// Its value in the second build.
    pub second: String,
}

/// One package file beside its twin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtefactAudit {
    /// File name.
    pub path: PathBuf,
    /// SHA-256 in the run; none where the run had no such file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Digest>,
    /// SHA-256 of the second build's; none where it made no such file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<Digest>,
    /// What differs, with causes; none where both are the same, or where one is not there to be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    /// What diffoscope made of it, where it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deep: Option<DeepRecord>,
}

/// A deep view, by diffoscope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "result", deny_unknown_fields)]
pub enum DeepRecord {
    /// Its page.
    Page {
        /// Relative to the audit's folder.
        path: PathBuf,
    },
    /// There is none.
    Nothing {
        /// Why, in words.
        because: String,
    },
}

impl ArtefactAudit {
    /// Whether both are there and the same.
    pub fn is_identical(&self) -> bool {
        self.first.is_some() && self.first == self.second
    }
}

/// What rebuilding with fewer variations told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bisection {
    /// It differs, or fails, with nothing varied but the time.
    pub unvaried: bool,
    /// Each by itself makes it differ or fail.
    pub alone: Vec<Variation>,
    /// Sets of which no half does, but the whole.
    pub together: Vec<Vec<Variation>>,
    /// Rebuilds that this took.
    pub rebuilds: u32,
}

impl AuditRecord {
    /// Writes it into an audit's folder.
    pub fn save(&self, folder: &Path) -> Result<(), RecordError> {
        versioned::save(&folder.join(FILE_NAME), self, FORMAT)
    }

    /// Reads it from an audit's folder.
    pub fn load(folder: &Path) -> Result<Self, RecordError> {
        versioned::load(&folder.join(FILE_NAME), FORMAT)
    }
}

/// The audits of a run, oldest first, as far as they can be read.
pub fn of_run(run: &Path) -> Vec<AuditRecord> {
    let entries = fs_err::read_dir(run.join(AUDITS)).into_iter().flatten();
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    folders.sort();
    let read = |folder: &PathBuf| AuditRecord::load(folder).ok();
    folders.iter().filter_map(read).collect()
}

#[cfg(test)]
pub(crate) mod sample {
    use super::*;

    /// An audit in which one package differs.
    pub(crate) fn example() -> AuditRecord {
        AuditRecord {
            format: FORMAT,
            audit: "20260103-030405-1".to_owned(),
            run: "20260102-030405-1".to_owned(),
            project: "p".to_owned(),
            tool: "pristine 0.1.0".to_owned(),
            started: "2026-01-03T03:04:05Z".to_owned(),
            ended: "2026-01-03T03:04:06Z".to_owned(),
            ending: Ending::Complete,
            host: HostRecord {
                backend: "native".to_owned(),
                kernel: "6.18.0".to_owned(),
                processors: 2,
                memory: 1 << 30,
                jobs: 1,
            },
            lock: Digest::of(b"lock"),
            environment: EnvironmentAudit {
                first: Digest::of(b"tree"),
                second: Digest::of(b"tree"),
                first_tree: None,
                second_tree: Digest::of(b"all"),
                comparisons: Vec::new(),
            },
            steps: Vec::new(),
            not_varied: BTreeMap::from([(Variation::Umask, "switched off".to_owned())]),
            packages: vec![PackageAudit {
                name: "a".to_owned(),
                version: None,
                outcome: AuditOutcome::Differs {},
                varied: vec![Varied {
                    variation: Some(Variation::HostName),
                    what: "host name".to_owned(),
                    first: "pristine".to_owned(),
                    second: "auditor".to_owned(),
                }],
                not_varied: BTreeMap::new(),
                artefacts: vec![ArtefactAudit {
                    path: "a-1-1.x86_64.rpm".into(),
                    first: Some(Digest::of(b"1")),
                    second: Some(Digest::of(b"2")),
                    comparison: Some(Comparison::identical()),
                    deep: None,
                }],
                allowed: Vec::new(),
                bisection: Some(Bisection {
                    alone: vec![Variation::HostName],
                    rebuilds: 5,
                    ..Bisection::default()
                }),
                at: 3,
                milliseconds: 12,
                log: Some("logs/a.log".into()),
                usage: None,
            }],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::sample::example;
    use super::*;

    #[test]
    fn round_trips_through_its_file_and_is_found_in_its_run() {
        let run = tempfile::tempdir().unwrap();
        assert!(of_run(run.path()).is_empty());
        let folder = run.path().join(AUDITS).join("1");
        fs_err::create_dir_all(&folder).unwrap();
        example().save(&folder).unwrap();
        assert_eq!(AuditRecord::load(&folder).unwrap(), example());
        fs_err::create_dir(run.path().join(AUDITS).join("2")).unwrap();
        assert_eq!(of_run(run.path()), [example()]);
    }

    #[test]
    fn names_of_variations_are_those_of_the_file() {
        for variation in Variation::ALL {
            let text = serde_json::to_value(variation).unwrap();
            assert_eq!(text, variation.name());
        }
    }

    #[test]
    fn a_newer_format_is_refused_by_its_number_and_an_unknown_field_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        fs_err::write(&path, r#"{"format": 99}"#).unwrap();
        let error = AuditRecord::load(folder.path()).unwrap_err();
        let text = format!(
            "`{}` has format 99, which is newer than the newest that this version reads (1)",
            path.display()
        );
        assert_eq!(error.to_string(), text);
        let mut value = serde_json::to_value(example()).unwrap();
        value["surprise"] = true.into();
        fs_err::write(&path, value.to_string()).unwrap();
        assert!(AuditRecord::load(folder.path()).is_err());
    }

    #[test]
    fn an_environment_of_which_the_first_tree_is_lost_is_known_by_its_digest() {
        let mut environment = example().environment;
        assert!(environment.is_same());
        environment.first_tree = Some(Digest::of(b"another"));
        assert!(!environment.is_same());
    }
}
