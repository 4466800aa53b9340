//! Limits on a command, what is known of the one that ended it, and what a command used.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Limits on one command. `None` means no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory of all processes, bytes.
    pub memory: Option<u64>,
    /// Swap of all processes beside it, bytes; none where memory is limited and this is not.
    pub swap: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Wall time.
    pub time: Option<Duration>,
    /// Time without output.
    pub silence: Option<Duration>,
    /// Processor time of all processes.
    pub cpu: Option<Duration>,
    /// How much of the machine's processors they get, in hundredths of one: this slows, it does not end.
    pub cores: Option<u32>,
    /// What the clone may hold beside its roots, bytes.
    pub disk: Option<u64>,
}

impl From<&crate::documents::config::Limits> for Limits {
    fn from(limits: &crate::documents::config::Limits) -> Self {
        let crate::documents::config::Limits {
            time,
            silence,
            memory,
            swap,
            processes,
            cpu,
            cores,
            disk,
        } = *limits;
        Self {
            memory,
            swap,
            processes,
            time,
            silence,
            cpu,
            cores,
            disk,
        }
    }
}

/// A limit that can end a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// Wall time, milliseconds.
    Time,
    /// Time without output, milliseconds.
    Silence,
    /// Processor time, milliseconds.
    Cpu,
    /// Memory, bytes.
    Memory,
    /// Processes and threads.
    Processes,
    /// What the clone holds, bytes.
    Disk,
}

impl Limit {
    /// Its name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Silence => "silence",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Processes => "processes",
            Self::Disk => "disk",
        }
    }
}

/// The limit that ended a command, with what was read of it from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitHit {
    /// Which.
    pub limit: Limit,
    /// Its value, in the limit's unit.
    pub value: u64,
    /// The highest figure that was seen, in the same unit.
    pub peak: Option<u64>,
    /// The process that stood out: the largest, the busiest, or the one that began last.
    pub process: Option<String>,
    /// Figures behind the verdict, by name.
    pub counters: BTreeMap<String, u64>,
}

impl LimitHit {
    /// A limit of which no more is known than its value.
    pub fn new(limit: Limit, value: u64) -> Self {
        Self {
            limit,
            value,
            peak: None,
            process: None,
            counters: BTreeMap::new(),
        }
    }

    /// The same for a limit of time.
    pub fn of_time(limit: Limit, value: Duration) -> Self {
        Self::new(limit, milliseconds(value))
    }
}

/// Whole milliseconds.
pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Display for LimitHit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.value / 1000;
        let mebibytes = self.value >> 20;
        match self.limit {
            Limit::Time => write!(f, "ended by the time limit of {seconds} s"),
            Limit::Silence => write!(f, "ended after {seconds} s without output"),
            Limit::Cpu => write!(f, "ended by the limit of {seconds} s of processor time"),
            Limit::Memory => write!(f, "ended by the memory limit of {mebibytes} MiB"),
            Limit::Processes => write!(
                f,
                "ended by the limit of {} processes and threads",
                self.value
            ),
            Limit::Disk => write!(f, "ended by the disk limit of {mebibytes} MiB"),
        }?;
        match (self.limit, &self.process) {
            (_, None) => Ok(()),
            (Limit::Memory, Some(process)) => write!(f, "; the largest process was `{process}`"),
            (Limit::Cpu, Some(process)) => write!(f, "; the busiest process was `{process}`"),
            (_, Some(process)) => write!(f, "; the newest process was `{process}`"),
        }
    }
}

/// What a command used: all its processes together. `None` is what could not be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time in user mode.
    pub user: Option<Duration>,
    /// Processor time in the kernel.
    pub system: Option<Duration>,
    /// Peak of memory, bytes.
    pub memory: Option<u64>,
    /// Peak of processes and threads.
    pub processes: Option<u64>,
    /// Bytes read from block devices.
    pub read: Option<u64>,
    /// Bytes written to block devices, counted when pages become dirty.
    pub written: Option<u64>,
    /// Bytes that the clone holds beside its roots.
    pub disk: Option<u64>,
}

impl Usage {
    /// Both, one after the other: sums of what is spent, the higher peak.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        fn both<T>(one: Option<T>, two: Option<T>, with: impl Fn(T, T) -> T) -> Option<T> {
            match (one, two) {
                (Some(one), Some(two)) => Some(with(one, two)),
                (one, two) => one.or(two),
            }
        }
        Self {
            user: both(self.user, next.user, |a, b| a + b),
            system: both(self.system, next.system, |a, b| a + b),
            memory: both(self.memory, next.memory, u64::max),
            processes: both(self.processes, next.processes, u64::max),
            read: both(self.read, next.read, |a, b| a + b),
            written: both(self.written, next.written, |a, b| a + b),
            disk: next.disk.or(self.disk),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told_with_their_figures() {
        let mut hits: Vec<LimitHit> = [
            (Limit::Time, 7_200_000),
            (Limit::Silence, 2000),
            (Limit::Cpu, 60_000),
            (Limit::Memory, 64 << 20),
            (Limit::Processes, 20),
            (Limit::Disk, 1 << 30),
        ]
        .map(|(limit, value)| LimitHit::new(limit, value))
        .to_vec();
        for index in [1, 3] {
            let mut hit = hits[index].clone();
            hit.process = Some("cc1plus".to_owned());
            hits.push(hit);
        }
        let told: Vec<String> = hits.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(told.join("\n"), @"
        ended by the time limit of 7200 s
        ended after 2 s without output
        ended by the limit of 60 s of processor time
        ended by the memory limit of 64 MiB
        ended by the limit of 20 processes and threads
        ended by the disk limit of 1024 MiB
        ended after 2 s without output; the newest process was `cc1plus`
        ended by the memory limit of 64 MiB; the largest process was `cc1plus`
        ");
    }

    #[test]
    fn usage_adds_up_what_is_spent_and_keeps_the_higher_peak() {
        let one = Usage {
            user: Some(Duration::from_secs(1)),
            memory: Some(5),
            disk: Some(3),
            ..Usage::default()
        };
        let two = Usage {
            user: Some(Duration::from_secs(2)),
            memory: Some(4),
            read: Some(7),
            ..Usage::default()
        };
        let both = Usage {
            user: Some(Duration::from_secs(3)),
            memory: Some(5),
            read: Some(7),
            disk: Some(3),
            ..Usage::default()
        };
        assert_eq!(one.then(two), both);
    }
}
