//! What is looked at from outside while a sandbox runs, and what its limits are held against.
//!
//! With a cgroup the kernel keeps memory and processes within their limits and wakes this when one is met;
//! without one their sums are taken from `/proc` at intervals. Processor time is looked at when it could have
//! reached its limit at the earliest; the clone's disk when so much less is free on its file system that the
//! clone could have grown to its limit, and now and then.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::cgroup::{Cgroup, Signals};
use super::processes::{self, Process};
use crate::backend::limits::milliseconds;
use crate::backend::{Limit, LimitHit, Limits, Usage};

/// Between two looks at all processes, at least.
const SCAN: Duration = Duration::from_millis(100);
/// Between two looks at the kernel's counters: version 1 does not tell of every change.
const COUNTERS: Duration = Duration::from_millis(250);
/// Between two looks at what is free on the disk.
const FREE: Duration = Duration::from_millis(200);
/// Between two measures of the clone, while nothing says that it grows.
const MEASURE: Duration = Duration::from_secs(20);
/// A look takes at most this part of the time.
const SHARE: u32 = 50;
/// The kernel tells that memory is short before it kills.
const SOON: Duration = Duration::from_millis(10);

/// What a clone holds, and what is free where it lies.
pub(super) trait Disk {
    /// Bytes free on its file system.
    fn free(&self) -> u64;
    /// Bytes that it holds; dear. `None` where it cannot be told.
    fn held(&self) -> Option<u64>;
}

/// Holds one command against its limits.
pub(super) struct Watch<'a> {
    limits: &'a Limits,
    cgroup: Option<&'a Cgroup>,
    signals: Signals,
    disk: &'a dyn Disk,
    first: i32,
    scan_at: Option<Instant>,
    counters_at: Option<Instant>,
    /// Until when a kill that was announced may still come.
    soon_until: Option<Instant>,
    disk_at: Option<Instant>,
    measured: Measured,
    seen: Seen,
}

/// The disk when the clone was measured last.
struct Measured {
    at: Instant,
    cost: Duration,
    held: u64,
    free: u64,
}

/// What was seen of the processes.
#[derive(Default)]
struct Seen {
    at: Option<Instant>,
    memory: u64,
    processes: u64,
    largest: Option<(String, u64)>,
}

impl<'a> Watch<'a> {
    /// Begins with a sandbox, whose first process has the id `first`.
    pub(super) fn new(
        limits: &'a Limits,
        (cgroup, signals): (Option<&'a Cgroup>, Signals),
        disk: &'a dyn Disk,
        first: i32,
    ) -> Self {
        let now = Instant::now();
        let counted = limits.memory.is_some() || limits.processes.is_some();
        let by_hand = cgroup.is_none() && counted;
        let mut watch = Self {
            limits,
            cgroup,
            signals,
            disk,
            first,
            scan_at: by_hand.then_some(now + SCAN),
            counters_at: (cgroup.is_some() && counted).then_some(now + COUNTERS),
            soon_until: None,
            disk_at: limits.disk.map(|_| now + FREE),
            measured: Measured {
                at: now,
                cost: Duration::ZERO,
                held: 0,
                free: if limits.disk.is_some() {
                    disk.free()
                } else {
                    0
                },
            },
            seen: Seen::default(),
        };
        watch.plan_cpu(Duration::ZERO, now);
        watch
    }

    /// What wakes it.
    pub(super) fn handles(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        self.signals.handles()
    }

    /// When it wants to look next.
    pub(super) fn due(&self) -> Option<Instant> {
        let soon = self.soon_until.map(|_| Instant::now() + SOON);
        [self.scan_at, self.counters_at, self.disk_at, soon]
            .into_iter()
            .flatten()
            .min()
    }

    /// Looks at what is due; `woken` when a handle was ready. Gives the limit that was met.
    pub(super) fn look(&mut self, woken: bool) -> Option<LimitHit> {
        let now = Instant::now();
        if woken {
            self.signals.reset();
            self.soon_until = Some(now + 20 * SOON);
            if self.seen.at.is_none_or(|at| now - at > SOON) {
                self.scan();
            }
        }
        let counters = self.counters_at.is_some_and(|at| at <= now);
        if self.soon_until.is_some() || counters {
            if let Some(hit) = self.kernel_says() {
                return Some(hit);
            }
            self.soon_until = self.soon_until.filter(|until| now < *until);
            self.counters_at = self.counters_at.map(|_| now + COUNTERS);
            if counters && self.fills() {
                self.scan();
            }
        }
        if self.scan_at.is_some_and(|at| at <= now)
            && let Some(hit) = self.scan_for_limits(now)
        {
            return Some(hit);
        }
        if self.disk_at.is_some_and(|at| at <= now) {
            return self.look_at_disk(now);
        }
        None
    }

    /// Whether a kill may come with which all processes go, so that it is to be known before which is the largest.
    fn fills(&self) -> bool {
        let limited = self.cgroup.zip(self.limits.memory);
        limited.is_some_and(|(cgroup, limit)| cgroup.fills(limit))
    }

    /// The limit that the kernel's counters say was met.
    fn kernel_says(&self) -> Option<LimitHit> {
        let cgroup = self.cgroup?;
        if let Some(value) = self.limits.memory {
            let kills = cgroup.memory_kills();
            if kills > 0 {
                let mut hit = self.of_memory(value);
                hit.counters.insert("oom_kill".to_owned(), kills);
                return Some(hit);
            }
        }
        let refused = cgroup.refused_processes();
        let value = self.limits.processes.filter(|_| refused > 0)?;
        let mut hit = LimitHit::new(Limit::Processes, value);
        hit.peak = cgroup.peak_processes().or(Some(value));
        hit.process = self.seen.largest.as_ref().map(|(name, _)| name.clone());
        hit.counters.insert("pids.max".to_owned(), refused);
        Some(hit)
    }

    fn of_memory(&self, value: u64) -> LimitHit {
        let mut hit = LimitHit::new(Limit::Memory, value);
        hit.peak = match self.cgroup {
            Some(cgroup) => cgroup.peak_memory(),
            None => Some(self.seen.memory),
        };
        if let Some((name, bytes)) = &self.seen.largest {
            hit.process = Some(name.clone());
            hit.counters.insert("largest_process".to_owned(), *bytes);
        }
        hit
    }

    /// Looks at all processes.
    fn scan(&mut self) -> Vec<Process> {
        let all = processes::inside(self.cgroup, self.first);
        let sum = |of: fn(&Process) -> u64| all.iter().map(of).sum::<u64>();
        self.seen.at = Some(Instant::now());
        self.seen.memory = self.seen.memory.max(sum(|process| process.memory));
        self.seen.processes = self.seen.processes.max(sum(|process| process.threads));
        let largest = all.iter().max_by_key(|process| process.memory);
        let before = self.seen.largest.as_ref().map_or(0, |(_, bytes)| *bytes);
        if let Some(largest) = largest.filter(|process| process.memory > before) {
            self.seen.largest = Some((largest.name.clone(), largest.memory));
        }
        all
    }

    fn scan_for_limits(&mut self, now: Instant) -> Option<LimitHit> {
        let all = self.scan();
        let cost = now.elapsed();
        self.scan_at = None;
        if self.cgroup.is_none() {
            self.scan_at = Some(now + SCAN.max(cost * SHARE));
            let reached = |limit: Option<u64>, seen: u64| limit.filter(|limit| seen >= *limit);
            if let Some(value) = reached(self.limits.memory, self.seen.memory) {
                return Some(self.of_memory(value));
            }
            // The kernel's own limit for each user lets it get there and no further.
            if let Some(value) = reached(self.limits.processes, self.seen.processes) {
                let mut hit = LimitHit::new(Limit::Processes, value);
                hit.peak = Some(self.seen.processes);
                hit.process = newest(&all);
                return Some(hit);
            }
        }
        let spent = all.iter().map(|process| process.cpu).sum();
        if let Some(limit) = self.limits.cpu.filter(|limit| spent >= *limit) {
            let mut hit = LimitHit::of_time(Limit::Cpu, limit);
            hit.peak = Some(milliseconds(spent));
            let busiest = all.iter().max_by_key(|process| process.cpu);
            hit.process = busiest.map(|process| process.name.clone());
            return Some(hit);
        }
        self.plan_cpu(spent, now);
        None
    }

    /// The next look at processor time: when all processors together could have spent what is left.
    fn plan_cpu(&mut self, spent: Duration, now: Instant) {
        if let Some(limit) = self.limits.cpu {
            let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            let processors = u32::try_from(processors).unwrap_or(u32::MAX);
            let at = now + SCAN.max(limit.saturating_sub(spent) / processors);
            self.scan_at = Some(self.scan_at.map_or(at, |other| other.min(at)));
        }
    }

    fn look_at_disk(&mut self, now: Instant) -> Option<LimitHit> {
        let limit = self.limits.disk?;
        self.disk_at = Some(now + FREE);
        let last = &self.measured;
        let gone = last.free.saturating_sub(self.disk.free());
        let could_be_full = last.held.saturating_add(gone) >= limit;
        let age = now - last.at;
        if age < last.cost * SHARE || !(could_be_full || age >= MEASURE) {
            return None;
        }
        let held = self.disk.held()?;
        self.measured = Measured {
            at: now,
            cost: now.elapsed(),
            held,
            free: self.disk.free(),
        };
        (held > limit).then(|| {
            let mut hit = LimitHit::new(Limit::Disk, limit);
            hit.peak = Some(held);
            hit
        })
    }

    /// A limit of time was met: who was there then.
    pub(super) fn of_time(&mut self, limit: Limit, value: Duration) -> LimitHit {
        let all = self.scan();
        let mut hit = LimitHit::of_time(limit, value);
        let stuck: Vec<&Process> = all
            .iter()
            .filter(|process| process.uninterruptible)
            .collect();
        hit.process = match stuck.first() {
            Some(process) => Some(process.name.clone()),
            None => newest(&all),
        };
        hit.counters
            .insert("processes".to_owned(), all.len() as u64);
        if !stuck.is_empty() {
            hit.counters
                .insert("uninterruptible".to_owned(), stuck.len() as u64);
        }
        hit
    }

    /// After the end: the limit that was met without anybody having been woken, and what was used.
    pub(super) fn end(&self) -> (Option<LimitHit>, Usage) {
        let seen = |value: u64| (value > 0).then_some(value);
        let usage = Usage {
            memory: match self.cgroup {
                Some(cgroup) => cgroup.peak_memory(),
                None => seen(self.seen.memory),
            },
            processes: match self.cgroup {
                Some(cgroup) => cgroup.peak_processes(),
                None => seen(self.seen.processes),
            },
            ..Usage::default()
        };
        (self.kernel_says(), usage)
    }
}

fn newest(all: &[Process]) -> Option<String> {
    let newest = all.iter().max_by_key(|process| process.began);
    newest.map(|process| process.name.clone())
}
