//! What a run of the program leaves behind on the host: processes and mounts.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::project::readable;

/// Looks at the host before and after.
pub(crate) struct Watch {
    folder: PathBuf,
    mounts: BTreeSet<String>,
    /// Processes seen, which must have ended.
    seen: BTreeMap<u32, OwnedFd>,
}

impl Watch {
    /// `folder` holds the project and its store.
    pub(crate) fn start(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            mounts: mounts(),
            seen: BTreeMap::new(),
        }
    }

    /// Whether a process that `tool` started, or one that those started, has `marker` in its command line.
    pub(crate) fn sees(tool: u32, marker: &str) -> bool {
        descendants(tool)
            .into_iter()
            .any(|pid| command_line(pid).contains(marker))
    }

    /// Keeps handles on the processes that `tool` has started.
    pub(crate) fn remember(&mut self, tool: u32) {
        for pid in descendants(tool) {
            let handle = Pid::from_raw(pid.cast_signed()).unwrap();
            // One that has ended meanwhile need not be remembered.
            if let Ok(handle) = pidfd_open(handle, PidfdFlags::empty()) {
                self.seen.insert(pid, handle);
            }
        }
        assert!(!self.seen.is_empty(), "it has no processes");
    }

    /// The processes end, nothing holds files of the project, and nothing was mounted.
    pub(crate) fn nothing_left(&self) {
        let handles: Vec<_> = self.seen.values().map(std::os::fd::AsFd::as_fd).collect();
        assert!(
            readable(&handles, Duration::from_secs(30)),
            "processes are left: {:?}",
            self.seen
                .keys()
                .map(|pid| command_line(*pid))
                .collect::<Vec<_>>()
        );
        let end = std::time::Instant::now() + Duration::from_secs(30);
        loop {
            let holders = self.holders();
            if holders.is_empty() {
                break;
            }
            // The last of them end a moment after the program itself.
            assert!(
                std::time::Instant::now() < end,
                "these still run: {holders:?}"
            );
            std::thread::yield_now();
        }
        let text = self.folder.display().to_string();
        let new: Vec<String> = mounts().difference(&self.mounts).cloned().collect();
        assert!(
            !new.iter()
                .any(|line| line.contains(&text) || line.contains("overlay")),
            "mounted on the host: {new:?}"
        );
    }

    /// Other processes than this one that hold a file of the project's.
    fn holders(&self) -> Vec<String> {
        let own = std::process::id();
        let mut found = Vec::new();
        for pid in processes().filter(|pid| *pid != own) {
            let process = PathBuf::from(format!("/proc/{pid}"));
            let open = std::fs::read_dir(process.join("fd")).into_iter().flatten();
            let links = open.flatten().map(|entry| entry.path());
            let all = links.chain(["cwd", "root"].map(|name| process.join(name)));
            let mut inside = all.filter_map(|link| std::fs::read_link(link).ok());
            if inside.any(|path| path.starts_with(&self.folder)) {
                found.push(command_line(pid));
            }
        }
        found
    }
}

fn mounts() -> BTreeSet<String> {
    let text = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
    // An engine of the tests mounts in its own folder.
    let lines = text
        .lines()
        .filter(|line| !line.contains("/pristine-engine-"));
    lines.map(str::to_owned).collect()
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs_err::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn command_line(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// The processes below `tool` in the tree of processes.
fn descendants(tool: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for pid in processes() {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        // The name, in parentheses, may hold anything.
        let parent = stat
            .rsplit(')')
            .next()
            .and_then(|rest| rest.split(' ').nth(2));
        if let Some(parent) = parent.and_then(|parent| parent.parse().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut next = vec![tool];
    while let Some(pid) = next.pop() {
        let own = children.remove(&pid).unwrap_or_default();
        next.extend(&own);
        found.extend(own);
    }
    found
}
