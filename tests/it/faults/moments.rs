//! SIGKILL at random times, and many sessions one after the other: nothing is left, and nothing adds up.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use super::kills::Trial;
use super::points;

/// A number below `bound`; which one nobody knows before.
fn any(bound: u64) -> u64 {
    RandomState::new().hash_one(0) % bound.max(1)
}

/// Starts the command and sends SIGKILL after that time, where it still runs.
fn killed_after(trial: &Trial, arguments: &[&str], time: Duration) {
    let running = trial.project.start(arguments);
    let process = pidfd_open(Pid::from_child(&running.child), PidfdFlags::empty()).unwrap();
    let mut polled = [PollFd::new(&process, PollFlags::IN)];
    poll(&mut polled, Some(&time.try_into().unwrap())).unwrap();
    running.signal(Signal::KILL);
    running.wait();
}

#[test]
fn kill_9_at_any_time() {
    let Some(trial) = Trial::new() else {
        return;
    };
    let commands: [&[&str]; 5] = [
        &["build"],
        &["lock"],
        &["enter", "--", "sh", "-c", "touch /tmp/new"],
        &["snapshot", "export", "image.tar"],
        &["gc"],
    ];
    let mut lengths = BTreeMap::new();
    for arguments in commands {
        let start = Instant::now();
        trial.project.good(arguments);
        lengths.insert(arguments, start.elapsed());
    }
    for number in 0..points(5) {
        let arguments = commands[usize::try_from(number).unwrap() % commands.len()];
        let length = u64::try_from(lengths[arguments].as_micros()).unwrap();
        let time = Duration::from_micros(any(length));
        killed_after(&trial, arguments, time);
        println!("{arguments:?} killed after {time:?}");
        trial.recovers(&format!("{arguments:?} killed after {time:?}"));
    }
}

/// What the host has of each kind that a session could leave.
#[derive(Debug, PartialEq, Eq)]
struct Host {
    mounts: usize,
    /// Processes in the project: each would hold namespaces.
    processes: usize,
    /// Control groups with the tool's name.
    groups: usize,
    /// Files and folders of the store.
    files: BTreeSet<PathBuf>,
}

#[test]
fn sessions_leave_nothing_however_many() {
    let Some(trial) = Trial::new() else {
        return;
    };
    let enter = ["enter", "--", "true"];
    let project = &trial.project;
    project.good(&["gc"]);
    let before = Host::now(&trial);
    for number in 0..10 * points(4) {
        if number % 10 == 0 {
            killed_after(&trial, &enter, Duration::from_micros(any(100_000)));
        } else {
            let ended = project.command(&enter).output().unwrap();
            assert!(ended.status.success(), "{ended:?}");
        }
    }
    project.good(&["gc"]);
    let after = Host::now(&trial);
    let new: Vec<&PathBuf> = after.files.difference(&before.files).collect();
    assert!(
        after == before,
        "{:?} {new:?}",
        (after.mounts, after.processes, after.groups)
    );
    trial.recovers("many sessions");
}

impl Host {
    fn now(trial: &Trial) -> Self {
        // Others work on this host meanwhile: only what is this project's is counted.
        let folder = trial.project.path("").display().to_string();
        let mounts = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
        Self {
            mounts: mounts.lines().filter(|line| line.contains(&folder)).count(),
            processes: processes_in(&folder),
            groups: super::kills::cgroups_of_the_dead().len(),
            files: files_in(&trial.project.path("cache")),
        }
    }
}

/// Processes that stand in the folder or have a root there.
fn processes_in(folder: &str) -> usize {
    let processes = fs_err::read_dir("/proc").unwrap().flatten();
    let inside = |name: &str, process: &Path| {
        std::fs::read_link(process.join(name)).is_ok_and(|path| path.starts_with(folder))
    };
    processes
        .map(|entry| entry.path())
        .filter(|process| inside("cwd", process) || inside("root", process))
        .count()
}

fn files_in(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
            found.insert(entry.path());
        }
    }
    found
}
