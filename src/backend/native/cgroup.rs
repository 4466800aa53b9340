//! Limits on all processes of a sandbox together, where a cgroup can be had.
//!
//! Version 2: below the nearest ancestor that has the memory and pids controllers on and
//! that the caller may write to (a delegated slice, or as root). Version 1: below the
//! caller's own memory and pids cgroups, as root. Names are `pristine-SESSION.NUMBER`, so
//! that what a killed run left can be told from what is in use.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Access;
use rustix::process::geteuid;

use super::session::start_time;
use crate::backend::{LimitHit, Limits};

const PREFIX: &str = "pristine-";

/// Where cgroups can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cgroups {
    version: Version,
    /// Parents of the memory and the pids cgroup: the same folder in version 2.
    memory: PathBuf,
    pids: PathBuf,
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
        };
        fs_err::create_dir(&cgroup.memory)?;
        if cgroup.pids != cgroup.memory {
            fs_err::create_dir(&cgroup.pids)?;
        }
        if let Some(bytes) = limits.memory {
            cgroup.limit_memory(bytes)?;
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
        for parent in [&self.memory, &self.pids] {
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
    fn limit_memory(&self, bytes: u64) -> io::Result<()> {
        let (memory, swap) = match self.version {
            Version::Two => (("memory.max", bytes), ("memory.swap.max", 0)),
            Version::One => (
                ("memory.limit_in_bytes", bytes),
                ("memory.memsw.limit_in_bytes", bytes),
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
        folders.dedup();
        folders
    }

    /// Moves a process in, by its handle; what it forks follows.
    pub(super) fn add(&self, process: impl AsFd) -> io::Result<()> {
        let facts =
            fs_err::read_to_string(format!("/proc/self/fdinfo/{}", process.as_fd().as_raw_fd()))?;
        let pid = facts
            .lines()
            .find_map(|line| line.strip_prefix("Pid:"))
            .map(str::trim);
        let pid = pid
            .filter(|pid| *pid != "-1")
            .ok_or_else(|| io::Error::other("the process is gone"))?;
        write(&self.memory.join("cgroup.procs"), pid)?;
        if self.pids == self.memory {
            Ok(())
        } else {
            write(&self.pids.join("cgroup.procs"), pid)
        }
    }

    /// Which limit has killed a process, if one has.
    pub(super) fn hit(&self, limits: &Limits) -> Option<LimitHit> {
        let bytes = limits.memory?;
        let file = if self.version == Version::Two {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        let text = fs_err::read_to_string(self.memory.join(file)).ok()?;
        (counter(&text, "oom_kill ") > 0).then_some(LimitHit::Memory(bytes))
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
