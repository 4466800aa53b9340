//! A run as its report tells it.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use super::comparison::Comparison;
use super::counts::{Counts, took};
use super::graph;
use crate::record::{Class, LimitRecord, Outcome, PackageRecord, Record, Resources};
use crate::words::{clean, seconds, size};

/// How many lines of a log stand for a failure of which the record has no lines.
const TAIL_LINES: usize = 12;
/// How much of a log's end is looked at for them, bytes.
const TAIL_BYTES: u64 = 8 << 10;

/// A run, with what is computed from its record.
#[derive(Debug)]
pub(super) struct Night<'a> {
    pub(super) record: &'a Record,
    pub(super) folder: &'a Path,
    pub(super) counts: Counts,
    pub(super) took: Duration,
    /// What differs from the last green run; none where there was none.
    pub(super) since: Option<&'a Comparison>,
    /// Whether the kept runs are beside its folder.
    pub(super) kept: bool,
    /// Indices of the packages of the longest chain, in its order.
    pub(super) critical: Vec<usize>,
}

impl<'a> Night<'a> {
    pub(super) fn new(
        record: &'a Record,
        folder: &'a Path,
        since: Option<&'a Comparison>,
        kept: bool,
    ) -> Self {
        Self {
            record,
            folder,
            counts: Counts::of(record),
            took: took(record),
            since,
            kept,
            critical: graph::critical_path(&record.packages),
        }
    }

    /// Packages that did not build.
    pub(super) fn failed(&self) -> impl Iterator<Item = &'a PackageRecord> {
        let packages = self.record.packages.iter();
        packages.filter(|package| matches!(package.outcome, Outcome::Failed { .. }))
    }

    /// Names of the packages that were not tried because this one failed, directly or not.
    pub(super) fn stopped_by(&self, name: &'a str) -> Vec<&'a str> {
        let mut stopped = vec![name];
        for package in &self.record.packages {
            if let Outcome::Skipped { because } = &package.outcome
                && stopped.contains(&because.as_str())
            {
                stopped.push(&package.name);
            }
        }
        stopped.split_off(1)
    }

    /// Wall time of the longest chain.
    pub(super) fn critical_time(&self) -> Duration {
        let packages = self.critical.iter().map(|&at| &self.record.packages[at]);
        Duration::from_millis(packages.map(|package| package.milliseconds).sum())
    }

    /// Wall time of all builds, one after the other.
    pub(super) fn work(&self) -> Duration {
        let packages = self.record.packages.iter();
        Duration::from_millis(packages.map(|package| package.milliseconds).sum())
    }
}

/// The last lines of a package's log.
fn tail(folder: &Path, package: &PackageRecord) -> Vec<String> {
    let Some(log) = package.log.as_deref().filter(|log| inside(log)) else {
        return Vec::new();
    };
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = fs_err::File::open(folder.join(log))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut end = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut end)?;
        Ok(end)
    };
    // A log that is gone leaves its place empty.
    let text = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let last = lines.len().saturating_sub(TAIL_LINES);
    lines[last..]
        .iter()
        .map(|line| (*line).to_owned())
        .collect()
}

/// The lines that say best why a package failed, cleaned: the record's, else the end of its log in the run's folder.
pub fn excerpt(folder: &Path, package: &PackageRecord) -> Vec<String> {
    let Outcome::Failed { excerpt, .. } = &package.outcome else {
        return Vec::new();
    };
    let lines = if excerpt.is_empty() {
        tail(folder, package)
    } else {
        excerpt.clone()
    };
    lines.iter().map(|line| clean(line, true)).collect()
}

/// Whether a path of a record stays in the run's folder.
pub(super) fn inside(path: &Path) -> bool {
    path.components()
        .all(|part| matches!(part, std::path::Component::Normal(_)))
}

/// What kind of failure it is, in a word or two.
pub fn class_name(class: Class) -> &'static str {
    match class {
        Class::Dependency => "dependency",
        Class::Sources => "sources",
        Class::Compiler => "compiler",
        Class::Test => "test",
        Class::Packaging => "packaging",
        Class::Limit => "limit",
        Class::Undeclared => "undeclared",
        Class::Infrastructure => "infrastructure",
        Class::Other => "other",
    }
}

/// Processor time, in user mode and in the kernel together, milliseconds.
pub fn processor_time(used: &Resources) -> Option<u64> {
    match (used.user, used.system) {
        (None, None) => None,
        (own, kernel) => Some(own.unwrap_or(0).saturating_add(kernel.unwrap_or(0))),
    }
}

/// A figure of a limit in its unit.
pub fn limit_figure(limit: &LimitRecord, figure: u64) -> String {
    match limit.limit.as_str() {
        "time" | "silence" => seconds(Duration::from_millis(figure)),
        "memory" | "swap" | "disk" => size(figure),
        _ => figure.to_string(),
    }
}
