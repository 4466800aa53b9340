//! The kept runs side by side.

use std::collections::BTreeMap;
use std::path::Path;

use super::counts::{Counts, took};
use crate::record::runs::Entry;
use crate::record::{Outcome, Record};

/// The kept runs, oldest first.
#[derive(Debug)]
pub(super) struct Trends {
    pub(super) runs: Vec<Past>,
    /// Packages that were not good in each of them, worst first.
    pub(super) troubled: Vec<Troubled>,
}

/// A kept run.
#[derive(Debug)]
pub(super) struct Past {
    pub(super) name: String,
    /// Path of its report beside the folder of the runs, where it has one.
    pub(super) report: Option<String>,
    pub(super) state: State,
}

/// What is known of a kept run.
#[derive(Debug)]
pub(super) enum State {
    /// It has a record.
    Recorded {
        counts: Counts,
        took: std::time::Duration,
        record: Box<Record>,
    },
    /// It was ended before it could write one, or is still going on.
    Unrecorded,
    /// The record cannot be read: why.
    Unreadable(String),
}

/// A package that was not always good.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Troubled {
    pub(super) name: String,
    pub(super) failures: usize,
    /// How it ended, run by run; none where it was not part of the run.
    pub(super) outcomes: Vec<Option<Outcome>>,
}

impl Trends {
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        let runs: Vec<Past> = entries
            .into_iter()
            .map(|entry| Past {
                report: report(&entry.folder),
                state: match entry.record {
                    Ok(Some(record)) => State::Recorded {
                        counts: Counts::of(&record),
                        took: took(&record),
                        record: Box::new(record),
                    },
                    Ok(None) => State::Unrecorded,
                    Err(error) => State::Unreadable(error.to_string()),
                },
                name: entry.name,
            })
            .collect();
        let troubled = troubled(&runs);
        Self { runs, troubled }
    }

    /// Runs with a record, oldest first.
    pub(super) fn recorded(
        &self,
    ) -> impl DoubleEndedIterator<Item = (&Past, &Record, Counts, std::time::Duration)> {
        self.runs.iter().filter_map(|past| match &past.state {
            State::Recorded {
                counts,
                took,
                record,
            } => Some((past, &**record, *counts, *took)),
            _ => None,
        })
    }
}

fn report(folder: &Path) -> Option<String> {
    let report = folder.join(super::REPORT);
    let beside = report.strip_prefix(folder.parent()?.parent()?).ok()?;
    report.exists().then(|| beside.display().to_string())
}

fn troubled(runs: &[Past]) -> Vec<Troubled> {
    let records: Vec<&Record> = runs
        .iter()
        .filter_map(|past| match &past.state {
            State::Recorded { record, .. } => Some(&**record),
            _ => None,
        })
        .collect();
    let mut outcomes: BTreeMap<&str, Vec<Option<Outcome>>> = BTreeMap::new();
    for (at, record) in records.iter().enumerate() {
        for package in &record.packages {
            let row = outcomes.entry(&package.name);
            row.or_insert_with(|| vec![None; records.len()])[at] = Some(package.outcome.clone());
        }
    }
    let mut troubled: Vec<Troubled> = outcomes
        .into_iter()
        .filter(|(_, row)| row.iter().flatten().any(|outcome| !outcome.good()))
        .map(|(name, outcomes)| Troubled {
            name: name.to_owned(),
            failures: outcomes
                .iter()
                .filter(|outcome| matches!(outcome, Some(Outcome::Failed { .. })))
                .count(),
            outcomes,
        })
        .collect();
    troubled.sort_by(|a, b| {
        b.failures
            .cmp(&a.failures)
            .then_with(|| a.name.cmp(&b.name))
    });
    troubled
}
