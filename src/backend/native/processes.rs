//! The processes of a sandbox: looked at from outside by `/proc`, and woken.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::cgroup::Cgroup;
use super::sys;

/// What is seen of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    /// Its name: what it executes, 15 bytes at most.
    pub(super) name: String,
    /// Waits where no signal reaches it.
    pub(super) uninterruptible: bool,
    pub(super) threads: u64,
    /// Clock ticks since the machine started.
    pub(super) began: u64,
    /// Its own and that of its children which have ended.
    pub(super) cpu: Duration,
    /// What it shares with nobody, bytes.
    pub(super) memory: u64,
}

/// Wakes a command that Ctrl-Z stopped, with no shell of its own to do that.
pub(super) fn wake(command: Pid) -> rustix::io::Result<()> {
    kill_process_group(command, Signal::CONT).or_else(|_| kill_process(command, Signal::CONT))
}

/// The process id behind a handle.
pub(super) fn id(process: impl AsFd) -> io::Result<i32> {
    let path = format!("/proc/self/fdinfo/{}", process.as_fd().as_raw_fd());
    let facts = fs_err::read_to_string(path)?;
    let line = facts.lines().find_map(|line| line.strip_prefix("Pid:"));
    line.and_then(|pid| pid.trim().parse().ok())
        .filter(|&pid| pid > 0)
        .ok_or_else(|| io::Error::other("the process is gone"))
}

/// All processes of a sandbox but its first, which is ours.
pub(super) fn inside(cgroup: Option<&Cgroup>, first: i32) -> Vec<Process> {
    let ids = match cgroup {
        Some(cgroup) => cgroup.processes(),
        None => descendants(first),
    };
    let others = ids.into_iter().filter(|&id| id != first);
    others.filter_map(look).collect()
}

/// Who has no parent left inside is a child of the first process, so that this is all of them.
fn descendants(first: i32) -> Vec<i32> {
    let mut all = vec![first];
    let mut at = 0;
    while let Some(parent) = all.get(at).copied() {
        let threads = std::fs::read_dir(format!("/proc/{parent}/task"));
        for thread in threads.into_iter().flatten().flatten() {
            let children = fs_err::read_to_string(thread.path().join("children"));
            let children = children.unwrap_or_default();
            all.extend(
                children
                    .split_whitespace()
                    .filter_map(|id| id.parse::<i32>().ok()),
            );
        }
        at += 1;
    }
    all
}

/// `None` where it has ended.
fn look(id: i32) -> Option<Process> {
    let stat = fs_err::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let statm = fs_err::read_to_string(format!("/proc/{id}/statm")).ok()?;
    parse(&stat, &statm)
}

fn parse(stat: &str, statm: &str) -> Option<Process> {
    // The name, in parentheses, may hold anything.
    let (head, fields) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let ticks = (11..=14).filter_map(number).sum::<u64>();
    let mut pages = statm
        .split(' ')
        .skip(1)
        .map_while(|field| field.parse::<u64>().ok());
    let (resident, shared) = (pages.next()?, pages.next()?);
    Some(Process {
        name: name.to_owned(),
        uninterruptible: fields.first() == Some(&"D"),
        threads: number(17)?,
        began: number(19)?,
        cpu: Duration::from_millis(ticks.saturating_mul(1000) / sys::clock_ticks()),
        memory: resident
            .saturating_sub(shared)
            .saturating_mul(sys::page_size()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name_is() {
        let stat = "7 (a b) c) D 1 7 7 0 -1 4194560 100 0 0 0 30 10 40 20 20 0 3 0 12345 1000 50 18446744073709551615";
        let process = parse(stat, "250 50 20 1 0 9 0\n").unwrap();
        assert_eq!(
            (
                process.name.as_str(),
                process.uninterruptible,
                process.threads
            ),
            ("a b) c", true, 3)
        );
        assert_eq!(process.began, 12345);
        assert_eq!(process.memory, 30 * sys::page_size());
        assert_eq!(
            process.cpu,
            Duration::from_millis(100 * 1000 / sys::clock_ticks())
        );
        assert_eq!(parse("7 (a", "1 2 3"), None);
    }

    #[test]
    fn descendants_are_found_below_their_parent() {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        assert!(look(own).is_some_and(|process| process.memory > 0 && process.threads > 0));
        assert!(descendants(own).contains(&own));
    }
}
