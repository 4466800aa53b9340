//! A run in figures.

use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::record::{Ending, Outcome, Record, Scope};

/// How many packages ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Whether the run came to its end, over all of the project, and every package is good.
    pub green: bool,
    /// Built in this run.
    pub built: usize,
    /// Taken from an earlier run.
    pub reused: usize,
    /// Did not build.
    pub failed: usize,
    /// Not tried.
    pub skipped: usize,
    /// Ended with the run.
    pub interrupted: usize,
}

impl Counts {
    /// Of a run.
    pub fn of(record: &Record) -> Self {
        let mut counts = Self::default();
        for package in &record.packages {
            *match package.outcome {
                Outcome::Built {} => &mut counts.built,
                Outcome::Reused { .. } => &mut counts.reused,
                Outcome::Failed { .. } => &mut counts.failed,
                Outcome::Skipped { .. } => &mut counts.skipped,
                Outcome::Interrupted {} => &mut counts.interrupted,
            } += 1;
        }
        counts.green = record.ending == Ending::Complete
            && !matches!(record.scope, Scope::Only { .. })
            && counts.failed + counts.skipped + counts.interrupted == 0;
        counts
    }

    /// All packages.
    pub fn total(&self) -> usize {
        self.built + self.reused + self.failed + self.skipped + self.interrupted
    }

    /// In words, those that are none left out: `58 built, 2 failed`.
    pub fn words(&self) -> String {
        let words: Vec<String> = [
            (self.built, "built"),
            (self.reused, "reused"),
            (self.failed, "failed"),
            (self.skipped, "skipped"),
            (self.interrupted, "interrupted"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
        if words.is_empty() {
            "no packages".to_owned()
        } else {
            words.join(", ")
        }
    }
}

/// The run in a sentence: `2 of 60 packages failed`.
pub fn verdict(record: &Record) -> String {
    let counts = Counts::of(record);
    let total = packages(counts.total());
    let good = counts.built + counts.reused;
    if record.ending == Ending::Interrupted {
        return format!("interrupted with {good} of {total} done");
    }
    match (counts.failed, counts.skipped) {
        (0, 0) if counts.total() == 0 => "no packages to build".to_owned(),
        (0, 0) if good == 1 => "the package is built".to_owned(),
        (0, 0) => format!("all {total} are built"),
        (0, skipped) => format!("{skipped} of {total} were not tried"),
        (failed, _) => format!("{failed} of {total} failed"),
    }
}

fn packages(count: usize) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} package{plural}")
}

/// The whole run's wall time: to the millisecond as far as its parts tell, else in seconds.
pub fn took(record: &Record) -> Duration {
    let moment = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    let clock = match (moment(&record.started), moment(&record.ended)) {
        (Some(started), Some(ended)) => Duration::try_from(ended - started).unwrap_or_default(),
        _ => Duration::ZERO,
    };
    let parts = record
        .packages
        .iter()
        .map(|package| package.at.saturating_add(package.milliseconds))
        .chain(
            record
                .steps
                .iter()
                .map(|step| step.at.saturating_add(step.milliseconds)),
        )
        .max();
    clock.max(Duration::from_millis(parts.unwrap_or(0)))
}
