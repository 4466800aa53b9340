//! What a command sees of the machine beside its clone. It is the same for all, unless an audit asks whether that shows.

use std::io;
use std::num::NonZero;

use rustix::fs::Mode;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};

use super::native::sys;

/// What a command sees of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Surroundings {
    /// The machine's name.
    pub host_name: String,
    /// The permission bits that new files do not get.
    pub umask: u32,
    /// Some of the machine's processors; all of them without it.
    pub processors: Option<Pinned>,
    /// `uname` tells a release `2.6.…`, which is the only other one that the kernel itself can tell.
    pub old_kernel: bool,
    /// Seconds that the calendar is ahead of the machine's; files get the machine's time all the same.
    pub ahead: i64,
}

/// Some of the processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// How many, where there are so many.
    pub count: NonZero<usize>,
    /// Which one is the first, counted round and round.
    pub from: usize,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self {
            host_name: "pristine".to_owned(),
            umask: 0o022,
            processors: None,
            old_kernel: false,
            ahead: 0,
        }
    }
}

impl Surroundings {
    /// Gives this process, and what it starts, all of them but the host name and the calendar.
    pub(in crate::backend) fn settle(&self) -> io::Result<()> {
        rustix::process::umask(Mode::from_raw_mode(self.umask));
        if let Some(pinned) = self.processors {
            sched_setaffinity(None, &pinned.of(&sched_getaffinity(None)?))?;
        }
        if self.old_kernel {
            sys::tell_old_kernel()?;
        }
        Ok(())
    }
}

impl Pinned {
    /// Those of a set.
    fn of(self, all: &CpuSet) -> CpuSet {
        let there: Vec<usize> = (0..CpuSet::MAX_CPU)
            .filter(|&cpu| all.is_set(cpu))
            .collect();
        let from = self.from % there.len().max(1);
        let round = there.iter().cycle().skip(from);
        let mut chosen = CpuSet::new();
        for &cpu in round.take(self.count.get().min(there.len())) {
            chosen.set(cpu);
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_taken_round_and_round_of_those_that_there_are() {
        let mut all = CpuSet::new();
        for cpu in [0, 2, 3, 70] {
            all.set(cpu);
        }
        let chosen = |count, from| {
            let count = NonZero::new(count).unwrap();
            let set = Pinned { count, from }.of(&all);
            (0..128).filter(|&cpu| set.is_set(cpu)).collect::<Vec<_>>()
        };
        assert_eq!(chosen(1, 0), [0]);
        assert_eq!(chosen(1, 5), [2]);
        assert_eq!(chosen(3, 3), [0, 2, 70]);
        assert_eq!(chosen(9, 1), [0, 2, 3, 70]);
    }
}
