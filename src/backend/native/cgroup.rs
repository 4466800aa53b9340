//! Limits on all processes of a sandbox together, where a cgroup can be had.
//!
//! Version 2: below the nearest ancestor that has the memory and pids controllers on and
//! that the caller may write to (a delegated slice, or as root). Version 1: below the
//! caller's own memory and pids cgroups, as root. Names are `pristine-SESSION.NUMBER`, so
//! that what a killed run left can be told from what is in use.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFlags, eventfd};
use rustix::fs::Access;
use rustix::process::geteuid;

use super::processes;
use super::session::start_time;
use crate::backend::Limits;

const PREFIX: &str = "pristine-";
/// What a share of processor time is a part of: the kernel's default, microseconds.
const PERIOD: u64 = 100_000;

/// Where cgroups can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cgroups {
    version: Version,
    /// Parents of the memory and the pids cgroup: the same folder in version 2.
    memory: PathBuf,
    pids: PathBuf,
    /// The same for processor time, where it can be shared out.
    cpu: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// One sandbox's cgroup.
#[derive(Debug)]
pub(super) struct Cgroup {
    version: Version,
    memory: PathBuf,
    pids: PathBuf,
    cpu: Option<PathBuf>,
}

impl std::fmt::Display for Cgroups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let version = match self.version {
            Version::One => 1,
            Version::Two => 2,
        };
        write!(f, "`{}` (version {version})", self.memory.display())
    }
}

impl Cgroups {
    /// Finds where this process may make cgroups.
    pub(super) fn find() -> Option<Self> {
        let own = fs_err::read_to_string("/proc/self/cgroup").ok()?;
        let mounts = fs_err::read_to_string("/proc/self/mountinfo").ok()?;
        // Version 1 lets only root move the process of another id.
        unified(&own, &mounts).or_else(|| geteuid().is_root().then(|| legacy(&own, &mounts))?)
    }

    /// Makes the cgroup `name` with the limits that are given.
    pub(super) fn make(&self, name: &str, limits: &Limits) -> io::Result<Cgroup> {
        let name = format!("{PREFIX}{name}");
        let cgroup = Cgroup {
            version: self.version,
            memory: self.memory.join(&name),
            pids: self.pids.join(&name),
            cpu: (limits.cores.and(self.cpu.as_ref())).map(|cpu| cpu.join(&name)),
        };
        for folder in cgroup.folders() {
            fs_err::create_dir(folder)?;
        }
        if let Some(bytes) = limits.memory {
            cgroup.limit_memory(bytes, limits.swap.unwrap_or(0))?;
        }
        if let (Some(hundredths), Some(cpu)) = (limits.cores, &cgroup.cpu) {
            let quota = u64::from(hundredths) * PERIOD / 100;
            match self.version {
                Version::One => write(&cpu.join("cpu.cfs_quota_us"), &quota.to_string())?,
                Version::Two => write(&cpu.join("cpu.max"), &format!("{quota} {PERIOD}"))?,
            }
        }
        if let Some(processes) = limits.processes {
            // The sandbox's own first process does not count for the caller.
            write(&cgroup.pids.join("pids.max"), &(processes + 1).to_string())?;
        }
        Ok(cgroup)
    }

    /// Removes what dead runs left.
    pub(super) fn sweep(&self) -> Vec<String> {
        let mut removed = Vec::new();
        for parent in [&self.memory, &self.pids].into_iter().chain(&self.cpu) {
            for entry in fs_err::read_dir(parent).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.strip_prefix(PREFIX).is_some_and(is_dead)
                    && fs_err::remove_dir(entry.path()).is_ok()
                {
                    removed.push(format!("cgroup {name}"));
                }
            }
        }
        removed.sort();
        removed.dedup();
        removed
    }
}

impl Cgroup {
    fn limit_memory(&self, bytes: u64, swap: u64) -> io::Result<()> {
        let (memory, swap) = match self.version {
            Version::Two => (("memory.max", bytes), ("memory.swap.max", swap)),
            Version::One => (
                ("memory.limit_in_bytes", bytes),
                ("memory.memsw.limit_in_bytes", bytes.saturating_add(swap)),
            ),
        };
        write(&self.memory.join(memory.0), &memory.1.to_string())?;
        if self.version == Version::Two {
            // One process killed out of many leaves a build that fails in odd ways.
            write(&self.memory.join("memory.oom.group"), "1")?;
        }
        // Only where the kernel counts swap.
        let swap_file = self.memory.join(swap.0);
        if swap_file.exists() {
            write(&swap_file, &swap.1.to_string())
        } else {
            Ok(())
        }
    }

    /// The cgroup's folders.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.memory.clone(), self.pids.clone()];
        folders.extend(self.cpu.clone());
        folders.dedup();
        folders
    }

    /// Moves a process in, by its handle; what it forks follows.
    pub(super) fn add(&self, process: impl AsFd) -> io::Result<()> {
        let id = processes::id(process)?.to_string();
        let mut folders = self.folders().into_iter();
        folders.try_for_each(|folder| write(&folder.join("cgroup.procs"), &id))
    }

    /// Ids of its processes.
    pub(super) fn processes(&self) -> Vec<i32> {
        let ids = fs_err::read_to_string(self.pids.join("cgroup.procs")).unwrap_or_default();
        ids.lines().filter_map(|id| id.parse().ok()).collect()
    }

    /// Processes that the kernel killed because memory was short in here.
    pub(super) fn memory_kills(&self) -> u64 {
        let file = match self.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        let text = fs_err::read_to_string(self.memory.join(file)).unwrap_or_default();
        counter(&text, "oom_kill ")
    }

    /// How often the limit of processes stood in the way of a new one.
    pub(super) fn refused_processes(&self) -> u64 {
        let text = fs_err::read_to_string(self.pids.join("pids.events")).unwrap_or_default();
        counter(&text, "max ")
    }

    /// Whether so much memory is in use that it may soon be short, where the kernel itself does not tell (version 2).
    pub(super) fn fills(&self, limit: u64) -> bool {
        let used = || number(&self.memory.join("memory.current")).unwrap_or(0);
        self.version == Version::Two && used() >= limit / 2
    }

    /// The most memory that was in use at once, bytes.
    pub(super) fn peak_memory(&self) -> Option<u64> {
        number(&self.memory.join(match self.version {
            Version::One => "memory.max_usage_in_bytes",
            Version::Two => "memory.peak",
        }))
    }

    /// The most processes and threads at once, without the sandbox's first.
    pub(super) fn peak_processes(&self) -> Option<u64> {
        number(&self.pids.join("pids.peak")).map(|peak| peak.saturating_sub(1))
    }

    /// What tells that a limit was met, or is near. Where the kernel has less of it, the counters are read at the end.
    pub(super) fn signals(&self, limits: &Limits) -> Signals {
        let mut signals = Signals::default();
        if limits.processes.is_some() {
            signals.changes_of(&self.pids.join("pids.events"));
        }
        match (limits.memory, self.version) {
            (None, _) => {}
            (Some(_), Version::Two) => signals.changes_of(&self.memory.join("memory.events")),
            (Some(bytes), Version::One) => {
                if let Err(error) = signals.thresholds_of(&self.memory, bytes) {
                    tracing::debug!(%error, "the kernel does not tell when memory is short");
                }
            }
        }
        signals
    }
}

/// Handles that become ready when the kernel has something to say of a cgroup.
#[derive(Debug, Default)]
pub(super) struct Signals {
    events: Vec<OwnedFd>,
    changes: Vec<OwnedFd>,
    /// Held open as long as they are watched.
    watched: Vec<OwnedFd>,
}

impl Signals {
    fn changes_of(&mut self, path: &Path) {
        if let Ok(file) = std::fs::File::open(path) {
            self.changes.push(file.into());
            self.reset();
        }
    }

    /// Version 1: an event when memory is short, and each time that its use passes a part of the limit.
    fn thresholds_of(&mut self, folder: &Path, bytes: u64) -> io::Result<()> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let control = folder.join("cgroup.event_control");
        let mut watch = |file: &str, argument: &str| {
            let file: OwnedFd = fs_err::File::open(folder.join(file))?.into_file().into();
            let line = format!("{} {} {argument}", event.as_raw_fd(), file.as_raw_fd());
            self.watched.push(file);
            write(&control, line.trim_end())
        };
        watch("memory.oom_control", "")?;
        for percent in [50, 75, 90, 95, 98] {
            let part = (bytes / 100 * percent).to_string();
            watch("memory.usage_in_bytes", &part)?;
        }
        self.events.push(event);
        Ok(())
    }

    pub(super) fn handles(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let events = self
            .events
            .iter()
            .map(|event| (event.as_fd(), PollFlags::IN));
        let changes = self
            .changes
            .iter()
            .map(|file| (file.as_fd(), PollFlags::PRI));
        events.chain(changes)
    }

    /// Takes what was said.
    pub(super) fn reset(&mut self) {
        let mut buffer = [0; 512];
        for event in &self.events {
            // Nothing to take is fine.
            let _taken = rustix::io::read(event, &mut buffer[..8]);
        }
        for file in &self.changes {
            // Reading is what ends the readiness; the counters are read by name.
            let _read = rustix::io::pread(file, &mut buffer[..], 0);
        }
    }
}

impl Drop for Cgroup {
    /// Its processes are dead; the kernel may take a moment to see it.
    fn drop(&mut self) {
        self.folders().iter().for_each(|folder| remove(folder));
    }
}

/// Removes a cgroup whose processes are dead or dying.
pub(super) fn remove(folder: &Path) {
    for _ in 0..1000 {
        match std::fs::remove_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                std::thread::sleep(Duration::from_millis(1));
            }
            _ => break,
        }
    }
}

/// cgroup files take their value in one write and must not be replaced.
fn write(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    fs_err::OpenOptions::new()
        .write(true)
        .open(path)?
        .write_all(text.as_bytes())
}

fn number(path: &Path) -> Option<u64> {
    fs_err::read_to_string(path).ok()?.trim().parse().ok()
}

fn counter(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        .unwrap_or_default()
}

/// Whether the process that a cgroup's name begins with is gone.
fn is_dead(name: &str) -> bool {
    let mut parts = name.split('-').map(str::parse::<u64>);
    match (parts.next(), parts.next()) {
        (Some(Ok(pid)), Some(Ok(start))) => {
            i32::try_from(pid).map_or(true, |pid| start_time(pid).ok() != Some(start))
        }
        _ => false,
    }
}

fn unified(own: &str, mounts: &str) -> Option<Cgroups> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let (top, folder) = mounted(mounts, "cgroup2", None, path)?;
    folder
        .ancestors()
        .take_while(|folder| folder.starts_with(&top))
        .find_map(|folder| {
            let on = fs_err::read_to_string(folder.join("cgroup.subtree_control")).ok()?;
            let has = |name| on.split_whitespace().any(|controller| controller == name);
            let usable = has("memory")
                && has("pids")
                && writable(folder)
                && writable(&folder.join("cgroup.procs"));
            usable.then(|| Cgroups {
                version: Version::Two,
                memory: folder.to_owned(),
                pids: folder.to_owned(),
                cpu: has("cpu").then(|| folder.to_owned()),
            })
        })
}

fn legacy(own: &str, mounts: &str) -> Option<Cgroups> {
    let folder = |controller: &str| {
        let path = own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            fields
                .next()?
                .split(',')
                .any(|name| name == controller)
                .then(|| fields.next())?
        })?;
        mounted(mounts, "cgroup", Some(controller), path)
            .map(|(_, folder)| folder)
            .filter(|folder| writable(folder))
    };
    Some(Cgroups {
        version: Version::One,
        memory: folder("memory")?,
        pids: folder("pids")?,
        cpu: folder("cpu"),
    })
}

fn writable(path: &Path) -> bool {
    rustix::fs::access(path, Access::WRITE_OK).is_ok()
}

/// The mount point of a hierarchy, and the folder of `path` below it.
fn mounted(
    mounts: &str,
    kind: &str,
    controller: Option<&str>,
    path: &str,
) -> Option<(PathBuf, PathBuf)> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, point) = (before.next()?, before.next()?);
        let mut after = after.split(' ');
        let found = after.next()? == kind
            && controller.is_none_or(|name| {
                after
                    .nth(1)
                    .is_some_and(|options| options.split(',').any(|o| o == name))
            });
        let below = Path::new(path).strip_prefix(root).ok()?;
        found.then(|| (PathBuf::from(point), Path::new(point).join(below)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
24 22 0:21 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
25 24 0:22 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
26 24 0:23 /docker/x /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
27 24 0:24 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_own_folder_is_found_below_each_mount() {
        let folder = |kind, controller, path| {
            mounted(MOUNTS, kind, controller, path).map(|(_, folder)| folder.display().to_string())
        };
        assert_eq!(
            folder("cgroup", Some("memory"), "/a/b").as_deref(),
            Some("/sys/fs/cgroup/memory/a/b")
        );
        assert_eq!(
            folder("cgroup", Some("cpuacct"), "/docker/x/y").as_deref(),
            Some("/sys/fs/cgroup/cpu/y")
        );
        assert_eq!(folder("cgroup", Some("cpu"), "/elsewhere"), None);
        assert_eq!(folder("cgroup", Some("pids"), "/"), None);
        assert_eq!(
            folder("cgroup2", None, "/user.slice").as_deref(),
            Some("/sys/fs/cgroup/unified/user.slice")
        );
    }

    #[test]
    fn only_the_kill_counter_counts() {
        let events = "low 0\nhigh 0\nmax 17\noom 2\noom_kill 1\noom_group_kill 0\n";
        assert_eq!(counter(events, "oom_kill "), 1);
        assert_eq!(
            counter("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", "oom_kill "),
            3
        );
        assert_eq!(counter("", "oom_kill "), 0);
    }

    #[test]
    fn names_tell_the_dead_from_the_living() {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let name = format!("{own}-{}-0.3", start_time(own).unwrap());
        assert!(!is_dead(&name));
        assert!(is_dead(&format!("{own}-1-0.3")));
        assert!(!is_dead("something-else"));
    }
}
