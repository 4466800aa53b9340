//! What an audit says to its readers, in figures: shares, causes, packages by what is to be done about them.

use std::collections::BTreeMap;
use std::path::Path;

use crate::compare::{Cause, Comparison};
use crate::record::audit::{AuditOutcome, AuditRecord, PackageAudit, of_run};
use crate::record::runs;

/// Audits of earlier nights that are shown.
const NIGHTS: usize = 60;

/// An audit, ready to be shown.
pub(super) struct Audit<'a> {
    pub(super) record: &'a AuditRecord,
    pub(super) counts: Counts,
    /// Causes and the packages that have them, the most frequent first; what nobody can name comes last.
    pub(super) causes: Vec<(Cause, Vec<&'a str>)>,
    /// The newest audit of every kept run, oldest first, this one last.
    pub(super) nights: Vec<Past>,
}

/// How many packages came out how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) identical: usize,
    pub(super) differs: usize,
    pub(super) failed: usize,
    /// Not compared: skipped, or interrupted before it came to them.
    pub(super) rest: usize,
}

/// The audit of another night.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Past {
    pub(super) run: String,
    pub(super) started: String,
    pub(super) counts: Counts,
}

impl Counts {
    fn of(record: &AuditRecord) -> Self {
        let mut counts = Self::default();
        for package in &record.packages {
            *match package.outcome {
                AuditOutcome::Identical {} => &mut counts.identical,
                AuditOutcome::Differs {} => &mut counts.differs,
                AuditOutcome::Failed { .. } => &mut counts.failed,
                AuditOutcome::Skipped { .. } | AuditOutcome::Interrupted {} => &mut counts.rest,
            } += 1;
        }
        counts
    }

    /// Packages that were built again.
    pub(super) fn tried(self) -> usize {
        self.identical + self.differs + self.failed
    }

    pub(super) fn total(self) -> usize {
        self.tried() + self.rest
    }

    /// In a line: what stands at the top of the page.
    pub(super) fn headline(self) -> String {
        match (self.identical, self.tried()) {
            (_, 0) => "nothing was compared".to_owned(),
            (1, 1) => "the package is reproducible".to_owned(),
            (all, tried) if all == tried => format!("all {tried} packages are reproducible"),
            (good, tried) => format!("{good} of {tried} packages are reproducible"),
        }
    }
}

impl<'a> Audit<'a> {
    /// `runs` is the store's folder of runs, for the history.
    pub(super) fn new(record: &'a AuditRecord, runs: Option<&Path>) -> Self {
        Self {
            record,
            counts: Counts::of(record),
            causes: causes(record),
            nights: runs.map_or_else(Vec::new, |runs| nights(runs, record)),
        }
    }

    /// Packages with something to show, in the order of the run: what differs or failed comes first.
    pub(super) fn troubled(&self) -> impl Iterator<Item = &'a PackageAudit> {
        let bad = |package: &&PackageAudit| {
            matches!(
                package.outcome,
                AuditOutcome::Differs {} | AuditOutcome::Failed { .. }
            )
        };
        self.record.packages.iter().filter(bad)
    }
}

/// The comparisons of a package that found something.
pub(super) fn comparisons(package: &PackageAudit) -> impl Iterator<Item = (&Path, &Comparison)> {
    let compared = package
        .artefacts
        .iter()
        .filter_map(|artefact| Some((artefact.path.as_path(), artefact.comparison.as_ref()?)));
    compared.filter(|(_, comparison)| !comparison.is_identical())
}

fn causes(record: &AuditRecord) -> Vec<(Cause, Vec<&str>)> {
    let mut packages: BTreeMap<Cause, Vec<&str>> = BTreeMap::new();
    for package in &record.packages {
        for (_, comparison) in comparisons(package) {
            for (cause, _) in comparison.causes() {
                let names = packages.entry(cause).or_default();
                if names.last() != Some(&package.name.as_str()) {
                    names.push(&package.name);
                }
            }
        }
    }
    let mut causes: Vec<_> = packages.into_iter().collect();
    let vague = |cause: Cause| matches!(cause, Cause::Unknown | Cause::Consequence);
    causes.sort_by_key(|(cause, names)| (vague(*cause), std::cmp::Reverse(names.len()), *cause));
    causes
}

/// The newest audit of every other run of the project up to this one's, and this one.
fn nights(runs: &Path, record: &AuditRecord) -> Vec<Past> {
    let past = |record: &AuditRecord| Past {
        run: record.run.clone(),
        started: record.started.clone(),
        counts: Counts::of(record),
    };
    // Runs that cannot be listed are no reason to have no report.
    let folders = runs::folders(runs).unwrap_or_default();
    let others = folders.into_iter().filter(|(name, _)| *name < record.run);
    let newest = others.filter_map(|(_, folder)| of_run(&folder).pop());
    let mut nights: Vec<Past> = newest
        .filter(|other| other.project == record.project)
        .map(|other| past(&other))
        .collect();
    nights.push(past(record));
    nights.split_off(nights.len().saturating_sub(NIGHTS))
}
