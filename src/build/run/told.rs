//! What is recorded and told of each package of a run.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{LOGS, Run};
use crate::events::Event;
use crate::record::{Outcome, PackageRecord};

impl Run<'_> {
    /// A record that says what is known before the build; of a package that is at work, also since when.
    pub(super) fn blank(&self, place: usize) -> PackageRecord {
        let (ready, step) = (self.packages[place], &self.plan.steps[place]);
        let started = self.started.get(&place);
        PackageRecord {
            name: ready.name.clone(),
            version: Some(ready.version.clone()),
            outcome: Outcome::Built {},
            needs: step.needs.iter().cloned().collect(),
            inputs: ready.inputs.clone(),
            made_from: None,
            own_packages: Vec::new(),
            outputs: Vec::new(),
            source_date_epoch: i64::try_from(self.site.epoch).unwrap_or(0),
            at: started.map_or(0, |at| milliseconds(at.duration_since(self.site.started))),
            milliseconds: 0,
            phases: Vec::new(),
            given: None,
            used: None,
            usage: None,
            log: None,
        }
    }

    /// The record of a package as long as its build has not ended.
    pub(super) fn unfinished(&self, place: usize) -> PackageRecord {
        let mut record = self.blank(place);
        record.outcome = Outcome::Interrupted {};
        record.log = self
            .started
            .contains_key(&place)
            .then(|| Path::new(LOGS).join(format!("{}.log", record.name)));
        record
    }

    /// A package has its outcome.
    pub(super) fn keep(&mut self, place: usize, record: PackageRecord) {
        if let Err(error) = self.note(&record) {
            self.broken(error.into());
        }
        self.records.insert(place, record);
    }

    pub(super) fn tell(&self, record: &PackageRecord, excerpt: Vec<String>) {
        self.site.sink.emit(Event::PackageEnded {
            package: record.name.clone(),
            result: record.outcome.word(),
            outcome: record.outcome.to_string(),
            took: Duration::from_millis(record.milliseconds),
            log: record.log.as_ref().map(|log| self.site.folder.join(log)),
            enter: match &record.outcome {
                Outcome::Failed { kept: Some(_), .. } => {
                    Some(format!("{} {}", self.site.enter, record.name))
                }
                _ => None,
            },
            excerpt,
        });
    }

    pub(super) fn progress(&self) {
        let since = |place: usize| self.started.get(&place).map(Instant::elapsed);
        self.site.sink.emit(Event::Progress {
            done: self.records.len(),
            total: self.packages.len(),
            running: self.started.len(),
            remaining: self
                .schedule
                .remaining(|place| since(place).unwrap_or_default()),
        });
    }
}

pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
