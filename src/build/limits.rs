//! What a build used and which limit ended it, for the record and in words.

use std::path::Path;

use crate::backend::{Limit, LimitHit, Usage};
use crate::record::{LimitRecord, Resources};

impl From<Usage> for Resources {
    fn from(usage: Usage) -> Self {
        let milliseconds =
            |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            user: usage.user.map(milliseconds),
            system: usage.system.map(milliseconds),
            memory: usage.memory,
            processes: usage.processes,
            read: usage.read,
            written: usage.written,
            disk: usage.disk,
        }
    }
}

/// A limit that ended a build with `processors`, and what would help.
pub(super) fn record(hit: &LimitHit, processors: usize) -> LimitRecord {
    LimitRecord {
        limit: hit.limit.name().to_owned(),
        value: hit.value,
        peak: hit.peak,
        process: hit.process.clone(),
        counters: hit.counters.clone(),
        suggestion: Some(suggestion(hit, processors)),
    }
}

fn suggestion(hit: &LimitHit, processors: usize) -> String {
    let double = hit.value.max(hit.peak.unwrap_or(0)).saturating_mul(2);
    match hit.limit {
        Limit::Memory => {
            let largest = hit.counters.get("largest_process").copied();
            match largest.filter(|bytes| *bytes <= hit.value / 2 && processors > 1) {
                Some(bytes) => format!(
                    "`jobs = 1` would have fitted, since the largest process had {}; or raise `memory` to {}",
                    size(bytes),
                    size(double)
                ),
                None => format!("raise `memory` to {}", size(double)),
            }
        }
        Limit::Processes => format!(
            "raise `processes` to {double}, unless it starts processes without end"
        ),
        Limit::Disk => format!("raise `disk` to {}", size(double)),
        Limit::Time => format!("raise `timeout` to {}", period(double)),
        Limit::Cpu => format!("raise `cpu_time` to {}", period(double)),
        Limit::Silence if hit.counters.contains_key("uninterruptible") => {
            "it waits for a device or a file server, where no signal reaches it: see the kernel's log"
                .to_owned()
        }
        Limit::Silence => format!(
            "raise `silence` to {}, unless it waits for something that never comes",
            period(double)
        ),
    }
}

/// The disk is full that the clones lie on: the one of `place`, or an engine's; a clone had `held` bytes.
pub(super) fn full_disk(place: Option<&Path>, held: Option<u64>) -> (LimitRecord, String) {
    let free = place.map(|place| {
        let facts = rustix::fs::statvfs(place).ok();
        facts.map_or(0, |facts| facts.f_bavail.saturating_mul(facts.f_frsize))
    });
    let (mut words, suggestion) = match (place, free) {
        (Some(place), Some(free)) => (
            format!("{} free in `{}`", size(free), place.display()),
            format!(
                "make room where `{}` is (`pristine gc` removes what no kept run wants), or move the store",
                place.display()
            ),
        ),
        _ => (
            "the disk of the engine is full".to_owned(),
            "make room on the engine's disk (`docker system df` tells what takes it)".to_owned(),
        ),
    };
    if let Some(held) = held {
        words = format!("{words}; its clone has {}", size(held));
    }
    let record = LimitRecord {
        limit: Limit::Disk.name().to_owned(),
        value: free.unwrap_or(0).saturating_add(held.unwrap_or(0)),
        peak: held,
        process: None,
        counters: free
            .map(|free| ("free".to_owned(), free))
            .into_iter()
            .collect(),
        suggestion: Some(suggestion),
    };
    (record, words)
}

/// Bytes as the project file has them, rounded up.
pub(super) fn size(bytes: u64) -> String {
    let mebibytes = bytes.div_ceil(1 << 20);
    if mebibytes >= 4096 {
        format!("{}GiB", mebibytes.div_ceil(1024))
    } else {
        format!("{mebibytes}MiB")
    }
}

/// Milliseconds as the project file has them, rounded up.
fn period(milliseconds: u64) -> String {
    let seconds = milliseconds.div_ceil(1000);
    match (seconds % 3600, seconds % 60) {
        (0, _) => format!("{}h", seconds / 3600),
        (_, 0) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(limit: Limit, value: u64, peak: Option<u64>, counter: Option<(&str, u64)>) -> LimitHit {
        let mut hit = LimitHit::new(limit, value);
        hit.peak = peak;
        hit.counters
            .extend(counter.map(|(name, value)| (name.to_owned(), value)));
        hit
    }

    #[test]
    fn each_limit_comes_with_a_suggestion() {
        let mebi = 1 << 20;
        let told: Vec<String> = [
            hit(
                Limit::Memory,
                512 * mebi,
                Some(512 * mebi),
                Some(("largest_process", 100 * mebi)),
            ),
            hit(
                Limit::Memory,
                4096 * mebi,
                Some(4096 * mebi),
                Some(("largest_process", 4000 * mebi)),
            ),
            hit(Limit::Processes, 100, Some(100), None),
            hit(Limit::Disk, 1024 * mebi, Some(1100 * mebi), None),
            hit(Limit::Time, 1_800_000, None, None),
            hit(Limit::Cpu, 45_000, Some(45_200), None),
            hit(Limit::Silence, 60_000, None, None),
            hit(Limit::Silence, 60_000, None, Some(("uninterruptible", 1))),
        ]
        .iter()
        .map(|hit| format!("{hit}: {}", suggestion(hit, 8)))
        .collect();
        insta::assert_snapshot!(told.join("\n"), @r#"
        ended by the memory limit of 512 MiB: `jobs = 1` would have fitted, since the largest process had 100MiB; or raise `memory` to 1024MiB
        ended by the memory limit of 4096 MiB: raise `memory` to 8GiB
        ended by the limit of 100 processes and threads: raise `processes` to 200, unless it starts processes without end
        ended by the disk limit of 1024 MiB: raise `disk` to 2200MiB
        ended by the time limit of 1800 s: raise `timeout` to 1h
        ended by the limit of 45 s of processor time: raise `cpu_time` to 91s
        ended after 60 s without output: raise `silence` to 2m, unless it waits for something that never comes
        ended after 60 s without output: it waits for a device or a file server, where no signal reaches it: see the kernel's log
        "#);
    }
}
