//! What this host is and allows, apart from any backend.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{statfs, statvfs};

use super::Check;
use crate::backend::native;
use crate::ui;

/// The oldest kernel that has all that the sandbox uses.
const KERNEL: (u32, u32) = (5, 13);
/// Space and files below which a build may fail for want of them.
const SPACE: u64 = 5 << 30;
const FILES: u64 = 100_000;

/// All checks of the host.
pub(super) fn checks(store: &Path) -> Vec<Check> {
    let mut checks = vec![kernel(&release())];
    checks.extend(native::host().into_iter().map(|fact| Check {
        what: fact.what,
        result: fact.found,
        remedy: fact.remedy,
    }));
    checks.push(file_system(store));
    checks.push(space(store));
    checks
}

fn release() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

fn kernel(release: &str) -> Check {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || {
        numbers
            .next()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    };
    let version: (u32, u32) = (number(), number());
    let (major, minor) = KERNEL;
    Check {
        what: "kernel".to_owned(),
        result: format!("{release} ({major}.{minor} or newer is needed)"),
        remedy: (version < KERNEL).then(|| "start a newer kernel".to_owned()),
    }
}

/// The file systems that are told by name, and whether a store can be there.
const FILE_SYSTEMS: [(i64, &str, bool); 10] = [
    (0xEF53, "ext4", true),
    (0x5846_5342, "xfs", true),
    (0x9123_683E, "btrfs", true),
    (0x0102_1994, "tmpfs (gone when the machine stops)", true),
    (0xF2F5_2010, "f2fs", true),
    (0x2FC1_2FC1, "zfs", true),
    (0x794C_7630, "overlayfs", false),
    (0x6969, "nfs", false),
    (0xFF53_4D42, "cifs", false),
    (0x6573_5546, "fuse", false),
];

fn file_system(store: &Path) -> Check {
    let kind = statfs(store).map(|found| found.f_type).unwrap_or_default();
    let known = FILE_SYSTEMS.iter().find(|(magic, ..)| *magic == kind);
    let (name, good) = match known {
        Some((_, name, good)) => ((*name).to_owned(), *good),
        None => (format!("of the unknown type {kind:#x}"), true),
    };
    Check {
        what: "store".to_owned(),
        result: format!("`{}` on {name}", store.display()),
        remedy: (!good).then(|| {
            "put the store on ext4, xfs or btrfs: `--store`, PRISTINE_STORE, or `path` in [store]".to_owned()
        }),
    }
}

fn space(store: &Path) -> Check {
    let what = "disk".to_owned();
    let Ok(found) = statvfs(store) else {
        return Check {
            what,
            result: format!("`{}` cannot be looked at", store.display()),
            remedy: Some("look whether the folder is there and yours".to_owned()),
        };
    };
    let free = found.f_bavail * found.f_frsize;
    // File systems that make inodes as they need them count none.
    let few = found.f_files > 0 && found.f_favail < FILES;
    let read_only = found.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY);
    let files = if found.f_files > 0 {
        format!(", room for {} files", found.f_favail)
    } else {
        String::new()
    };
    let remedy = if read_only {
        Some("mount it writable".to_owned())
    } else {
        (free < SPACE || few).then(|| {
            "remove what nothing wants: pristine gc (with --dry-run it only says so); and look at `keep` in [store]".to_owned()
        })
    };
    let state = if read_only { ", read-only" } else { "" };
    Check {
        what,
        result: format!("{} free{files}{state}", ui::size(free)),
        remedy,
    }
}

/// Whether the clock can be right: not before `newest`, which was published before now, and not far from what the
/// servers say. Certificates and signatures are believed by date.
pub(super) fn clock(
    now: Duration,
    newest: Option<(String, i64)>,
    servers: &[(String, SystemTime)],
) -> Check {
    const APART: u64 = 300;
    let now = now.as_secs();
    let mut wrong = None;
    if let Some((what, epoch)) = newest
        && u64::try_from(epoch).is_ok_and(|epoch| epoch > now + APART)
    {
        wrong = Some(format!("it is before {what}"));
    }
    for (server, date) in servers {
        let theirs = date
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let apart = theirs.abs_diff(now);
        if apart > APART {
            wrong.get_or_insert(format!("{server} has another time, {apart} s away"));
        }
    }
    let compared = match (servers.len(), &wrong) {
        (_, Some(wrong)) => wrong.clone(),
        (0, None) => "nothing here says otherwise".to_owned(),
        (count, None) => format!("as {count} of the project's servers have it"),
    };
    Check {
        what: "clock".to_owned(),
        result: compared,
        remedy: wrong.map(|_| "set it: sudo timedatectl set-ntp true".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_kernels_are_named() {
        assert_eq!(kernel("6.8.0-31-generic").remedy, None);
        assert_eq!(kernel("5.13.0").remedy, None);
        insta::assert_snapshot!(kernel("5.10.0-28-amd64"), @"
        kernel: 5.10.0-28-amd64 (5.13 or newer is needed)
          to mend it: start a newer kernel
        ");
    }

    #[test]
    fn a_wrong_clock_is_seen_by_the_lock_and_by_the_servers() {
        let now = Duration::from_secs(1_700_000_000);
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let near = ("a.example".to_owned(), at(1_700_000_100));
        let far = ("b.example".to_owned(), at(1_700_100_000));
        let newest = |epoch| Some(("the newest package of the lock".to_owned(), epoch));
        let all = [
            clock(now, None, &[]),
            clock(now, newest(1_600_000_000), std::slice::from_ref(&near)),
            clock(now, newest(1_800_000_000), &[]),
            clock(now, None, &[near, far]),
        ];
        insta::assert_snapshot!(all.map(|check| check.to_string()).join("\n"), @"
        clock: nothing here says otherwise
        clock: as 1 of the project's servers have it
        clock: it is before the newest package of the lock
          to mend it: set it: sudo timedatectl set-ntp true
        clock: b.example has another time, 100000 s away
          to mend it: set it: sudo timedatectl set-ntp true
        ");
    }
}
