//! File systems, made as detached mounts and attached by handle inside a sandbox.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use super::sys::{map_mount, set_mount_attributes};

/// Devices that are the host's own, by bind mount.
pub(super) const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Files in `/proc` that say too much, or do things; they read as empty.
const MASKED_FILES: [&str; 8] = [
    "kcore",
    "keys",
    "key-users",
    "timer_list",
    "sched_debug",
    "latency_stats",
    "kallsyms",
    "sysrq-trigger",
];
/// Folders in `/proc` that look empty.
const MASKED_FOLDERS: [&str; 4] = ["acpi", "asound", "scsi", "bus"];
/// What in `/proc` can be read but not written.
const READ_ONLY: [&str; 3] = ["sys", "irq", "fs"];

/// Makes a file system of one kind with options (an empty value is a flag), attached nowhere.
pub(super) fn make(
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> io::Result<OwnedFd> {
    let file_system = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        if value.is_empty() {
            fsconfig_set_flag(&file_system, *key)?;
        } else {
            fsconfig_set_string(&file_system, *key, *value)?;
        }
    }
    fsconfig_create(&file_system)?;
    Ok(fsmount(
        &file_system,
        FsMountFlags::FSMOUNT_CLOEXEC,
        attributes,
    )?)
}

/// The overlay of `lower` (highest first) and the folders `upper` and `work`, attached nowhere.
///
/// `volatile`: nothing is synced when it ends; a crash of the machine loses the clone anyway.
pub(super) fn overlay(lower: &[String], upper: &str, work: &str) -> io::Result<OwnedFd> {
    let rest = [
        ("upperdir", upper),
        ("workdir", work),
        ("userxattr", ""),
        ("volatile", ""),
    ];
    let each: Vec<_> = lower
        .iter()
        .map(|folder| ("lowerdir+", folder.as_str()))
        .chain(rest)
        .collect();
    match make("overlay", &each, MountAttrFlags::MOUNT_ATTR_NODEV) {
        // Kernels before 6.8 know only the joined form.
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
            overlay_joined(lower, &rest)
        }
        result => result,
    }
}

fn overlay_joined(lower: &[String], rest: &[(&str, &str)]) -> io::Result<OwnedFd> {
    let joined = lower.join(":");
    let all: Vec<_> = std::iter::once(("lowerdir", joined.as_str()))
        .chain(rest.iter().copied())
        .collect();
    make("overlay", &all, MountAttrFlags::MOUNT_ATTR_NODEV)
}

/// A copy of the mounts at a host path, attached nowhere; with all that is mounted below,
/// since an unprivileged caller may not uncover what a mount hides.
pub(super) fn copy(path: impl AsRef<Path>, read_only: bool) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    let mount = open_tree(CWD, path.as_ref(), flags)?;
    let read_only = if read_only {
        libc::MOUNT_ATTR_RDONLY
    } else {
        0
    };
    set_mount_attributes(
        mount.as_fd(),
        read_only | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
    )?;
    Ok(mount)
}

/// A copy of the mount at a host folder alone, writable; with `ids`, its files are those of others
/// (`sys::map_mount`). Attached nowhere.
pub(super) fn copy_writable(
    path: impl AsRef<Path>,
    ids: Option<BorrowedFd<'_>>,
) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(CWD, path.as_ref(), flags)?;
    set_mount_attributes(
        mount.as_fd(),
        libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
    )?;
    if let Some(ids) = ids {
        map_mount(mount.as_fd(), ids)?;
    }
    Ok(mount)
}

/// An empty folder, read-only, attached nowhere.
pub(super) fn empty() -> io::Result<OwnedFd> {
    make(
        "tmpfs",
        &[("mode", "555"), ("size", "4k")],
        MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC
            | MountAttrFlags::MOUNT_ATTR_RDONLY,
    )
}

/// An empty folder in memory that everybody may write, attached nowhere.
pub(super) fn memory(size: u64) -> io::Result<OwnedFd> {
    make(
        "tmpfs",
        &[("mode", "1777"), ("size", &size.to_string())],
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
    )
}

/// A copy of one device's mount, which must stay usable as a device.
pub(super) fn copy_device(path: impl AsRef<Path>) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    Ok(open_tree(CWD, path.as_ref(), flags)?)
}

/// Attaches a detached mount on top of `target`.
pub(super) fn attach(mount: impl AsFd, target: impl AsFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, "", target, "", flags)?)
}

/// A fresh `/proc` on `target`, with its doors closed.
pub(super) fn proc(target: impl AsFd, null: impl AsRef<Path>) -> io::Result<()> {
    let careful = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = make("proc", &[], careful)?;
    attach(&mount, target)?;
    let below = |name: &str| match openat(
        &mount,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        Ok(handle) => Ok(Some(handle)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(io::Error::from(errno)),
    };
    for name in MASKED_FILES {
        if let Some(handle) = below(name)? {
            attach(copy_device(null.as_ref())?, handle)?;
        }
    }
    for name in MASKED_FOLDERS {
        if let Some(handle) = below(name)? {
            attach(
                make(
                    "tmpfs",
                    &[("mode", "555"), ("size", "4k")],
                    careful | MountAttrFlags::MOUNT_ATTR_RDONLY,
                )?,
                handle,
            )?;
        }
    }
    for name in READ_ONLY {
        if let Some(handle) = below(name)? {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_EMPTY_PATH;
            let copy = open_tree(&handle, "", flags | OpenTreeFlags::AT_RECURSIVE)?;
            set_mount_attributes(copy.as_fd(), libc::MOUNT_ATTR_RDONLY)?;
            attach(copy, handle)?;
        }
    }
    Ok(())
}

/// A small `/dev` on `target`: harmless devices, own pseudo-terminals, shared memory.
pub(super) fn dev(target: impl AsFd, devices: &Path) -> io::Result<()> {
    let (nosuid, noexec) = (
        MountAttrFlags::MOUNT_ATTR_NOSUID,
        MountAttrFlags::MOUNT_ATTR_NOEXEC,
    );
    let dev = make(
        "tmpfs",
        &[("mode", "755"), ("size", "64k")],
        nosuid | noexec,
    )?;
    attach(&dev, target)?;
    for name in DEVICES {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::WRONLY;
        let place = openat(&dev, name, flags, Mode::from_raw_mode(0o666))?;
        attach(copy_device(devices.join(name))?, place)?;
    }
    let links = [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ];
    for (name, to) in links {
        symlinkat(to, &dev, name)?;
    }
    let terminals = [
        ("newinstance", ""),
        ("ptmxmode", "0666"),
        ("mode", "0620"),
        ("gid", "5"),
    ];
    attach(
        make("devpts", &terminals, nosuid | noexec)?,
        folder(&dev, "pts")?,
    )?;
    let careful = nosuid | noexec | MountAttrFlags::MOUNT_ATTR_NODEV;
    attach(
        make("tmpfs", &[("mode", "1777")], careful)?,
        folder(&dev, "shm")?,
    )
}

/// Makes a folder in a file system of our own.
pub(super) fn folder(parent: impl AsFd, name: &str) -> io::Result<OwnedFd> {
    mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
    Ok(openat(
        parent,
        name,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// Makes `root` the root of this process's mount namespace; nothing else stays mounted.
pub(super) fn enter(root: BorrowedFd<'_>) -> io::Result<()> {
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}
