//! The zygote: forked from the keeper, one thread, root inside the sandboxes' user
//! namespace, which has no id of the caller's. Its mount namespace holds nothing but
//! `/proc` and a few devices, so that each sandbox starts from little.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Gid, Mode, OFlags, Uid, openat};
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};
use rustix::process::{DumpableBehavior, PidfdFlags, getpid, pidfd_open, set_dumpable_behavior};

use super::filter::Filters;
use super::sys::{self, Fork};
use super::wire::{self, Answer, Doing, Failure, Start};
use super::{keeper, mounts, sandbox};

/// Where sandboxes find the devices.
pub(super) const DEVICES: &str = "/dev";
/// Where a sandbox attaches its root before it enters it.
pub(super) const ROOT: &str = "/root";

/// Runs the zygote on its socket. Never returns.
pub(super) fn run(socket: &OwnedFd, keeper: &OwnedFd) -> ! {
    // The keeper says when the ids are mapped.
    let Ok(Some(((), _))) = wire::receive::<()>(socket) else {
        sys::exit_now(1)
    };
    let (filters, own) = match prepare(keeper) {
        Ok(prepared) => prepared,
        Err(failure) => {
            let _told = wire::send(socket, &Answer::Failed(failure), &[]);
            sys::exit_now(1)
        }
    };
    if wire::send(socket, &Answer::Done, &[]).is_err() {
        sys::exit_now(1);
    }
    while let Ok(Some((start, files))) = wire::receive::<Start>(socket) {
        let mut files = files.into_iter();
        let Some(channel) = files.next() else {
            continue;
        };
        if let Err(failure) = begin(&start, &channel, files.collect(), (&filters, &own)) {
            let _told = wire::send(&channel, &Answer::Failed(failure), &[]);
        }
    }
    sys::exit_now(0)
}

fn prepare(keeper: &OwnedFd) -> Result<(Filters, OwnedFd), Failure> {
    become_root().doing(|| "become root inside".to_owned())?;
    keeper::end_with_parent(keeper.as_fd()).doing(|| "follow the keeper".to_owned())?;
    sys::ignore(libc::SIGCHLD);
    small_root().doing(|| "make the sandboxes' first root".to_owned())?;
    // From here on nobody inside can look into this process or what it forks.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .doing(|| "close this process to others".to_owned())?;
    let filters = Filters::compile().doing(|| "compile the system call filter".to_owned())?;
    let own = pidfd_open(getpid(), PidfdFlags::empty())
        .doing(|| "open the zygote's handle".to_owned())?;
    Ok((filters, own))
}

fn become_root() -> io::Result<()> {
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    Ok(rustix::thread::set_thread_res_uid(
        Uid::ROOT,
        Uid::ROOT,
        Uid::ROOT,
    )?)
}

/// A root with `/proc` (the kernel allows a new one only beside a visible one), the devices, and a place to attach to.
fn small_root() -> io::Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    let proc = open_tree(rustix::fs::CWD, "/proc", flags)?;
    let mut devices = Vec::new();
    for name in mounts::DEVICES {
        devices.push((name, mounts::copy_device(Path::new("/dev").join(name))?));
    }
    let root = mounts::make(
        "tmpfs",
        &[("mode", "755"), ("size", "64k")],
        MountAttrFlags::MOUNT_ATTR_NOSUID,
    )?;
    // `/proc` is sure to exist, and has just been copied.
    mounts::attach(
        &root,
        rustix::fs::open("/proc", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?,
    )?;
    let dev = mounts::folder(&root, &DEVICES[1..])?;
    mounts::folder(&root, &ROOT[1..]).map(drop)?;
    mounts::attach(proc, mounts::folder(&root, "proc")?)?;
    for (name, device) in devices {
        mounts::attach(
            device,
            openat(
                &dev,
                name,
                OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC,
                Mode::from_raw_mode(0o644),
            )?,
        )?;
    }
    mounts::enter(root.as_fd())
}

/// Forks one sandbox into namespaces of its own.
fn begin(
    start: &Start,
    channel: &OwnedFd,
    files: Vec<OwnedFd>,
    own: (&Filters, &OwnedFd),
) -> Result<(), Failure> {
    let mut namespaces =
        libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    if !start.command.network {
        namespaces |= libc::CLONE_NEWNET;
    }
    match sys::fork_into(namespaces).doing(|| "make the sandbox's namespaces".to_owned())? {
        Fork::Parent(_) => Ok(()),
        Fork::Child => sandbox::run(start, channel.as_fd(), files, own),
    }
}
