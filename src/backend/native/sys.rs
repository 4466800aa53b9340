#![expect(
    unsafe_code,
    reason = "system calls that neither std nor rustix wraps safely; all unsafe code of the backend is here"
)]
//! The system calls that have no safe wrapper.
//!
//! Everything here runs in processes with one thread (the keeper and its children), except `detached_tree`.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use rustix::thread::UnshareFlags;

/// Which side of a fork this is.
pub(in crate::backend) enum Fork {
    /// The new process.
    Child,
    /// The old process; the new one's id.
    Parent(i32),
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Forks. The caller has one thread.
pub(in crate::backend) fn fork() -> io::Result<Fork> {
    // SAFETY: one thread, so the child inherits no lock that another thread holds.
    let pid = unsafe { libc::fork() };
    Ok(match check(pid.into())? {
        0 => Fork::Child,
        _ => Fork::Parent(pid),
    })
}

/// Forks into new namespaces (`CLONE_NEW…` bits). The caller has one thread.
pub(super) fn fork_into(namespaces: i32) -> io::Result<Fork> {
    // SAFETY: `clone_args` is plain integers; zero is a valid value of each.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = u64::from(namespaces.cast_unsigned());
    arguments.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    // SAFETY: without CLONE_VM this is a fork: the child runs on its own copy of this stack. One thread, as above.
    let pid = check(unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw mut arguments,
            size_of::<libc::clone_args>(),
        )
    })?;
    Ok(match pid {
        0 => Fork::Child,
        _ => Fork::Parent(i32::try_from(pid).map_err(io::Error::other)?),
    })
}

/// Bytes of a page of memory.
pub(super) fn page_size() -> u64 {
    // SAFETY: always sound.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// Ticks of the clock in which the kernel counts processor time, each second.
pub(super) fn clock_ticks() -> u64 {
    // SAFETY: always sound.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).map_or(100, |ticks| ticks.max(1))
}

/// What the children of this process that have ended, and those of theirs, have used.
pub(in crate::backend) fn used_by_children() -> io::Result<libc::rusage> {
    // SAFETY: plain integers; zero is a valid value of each, and the kernel fills them in.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        check(libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage).into())?;
        Ok(usage)
    }
}

/// From now on `uname` tells this process, and what it starts, a release `2.6.…`.
pub(in crate::backend) fn tell_old_kernel() -> io::Result<()> {
    const ASK: libc::c_ulong = 0xffff_ffff;
    // SAFETY: always sound.
    let now = check(unsafe { libc::personality(ASK) }.into())?;
    let old = libc::c_ulong::from(libc::UNAME26.unsigned_abs()) | now.unsigned_abs();
    // SAFETY: always sound.
    check(unsafe { libc::personality(old) }.into()).map(drop)
}

/// Ends this process without running anything else.
pub(in crate::backend) fn exit_now(code: i32) -> ! {
    // SAFETY: always sound.
    unsafe { libc::_exit(code) }
}

/// Leaves the named namespaces for new ones. The caller has one thread.
pub(super) fn unshare(namespaces: UnshareFlags) -> io::Result<()> {
    // SAFETY: the file table is not unshared.
    Ok(unsafe { rustix::thread::unshare_unsafe(namespaces) }?)
}

/// Replaces this process. Returns only on failure.
pub(super) fn execute(program: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    let list = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings
            .iter()
            .map(|text| text.as_ptr())
            .chain(std::iter::once(std::ptr::null()))
            .collect()
    };
    let (arguments, environment) = (list(arguments), list(environment));
    // SAFETY: both lists end in null and point to strings that live until the call returns.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Sets one signal's disposition to its default, or to be ignored. Signals that cannot be set are left.
fn dispose(signal: i32, disposition: libc::sighandler_t) {
    // SAFETY: no handler function is installed.
    unsafe { libc::signal(signal, disposition) };
}

/// Every signal to its default and none blocked, as a program expects at its start.
pub(super) fn reset_signals() {
    for signal in 1..=64 {
        dispose(signal, libc::SIG_DFL);
    }
    // SAFETY: the set is initialised by `sigemptyset` before it is read.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Ignores a signal. `SIGCHLD` ignored means: children are reaped by the kernel.
pub(in crate::backend) fn ignore(signal: i32) {
    dispose(signal, libc::SIG_IGN);
}

/// The default for a signal.
pub(in crate::backend) fn restore(signal: i32) {
    dispose(signal, libc::SIG_DFL);
}

/// Closes every descriptor from `first` on. Nothing that owns one of them may be dropped afterwards.
pub(in crate::backend) fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: the callers never return to code that owns descriptors: they end in `execute` or `exit_now`.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) }).map(drop)
}

/// Puts a copy of `from` at the number `to`.
pub(in crate::backend) fn place(from: BorrowedFd<'_>, to: RawFd) -> io::Result<()> {
    // SAFETY: overwrites a descriptor number that is a standard stream or free, as the callers arrange.
    check(unsafe { libc::dup2(from.as_raw_fd(), to) }.into()).map(drop)
}

/// The descriptor at `number`, which the process was started with.
pub(in crate::backend) fn inherited(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: the callers name descriptors that stay open for the life of the process.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// Sets the ids that file system access is checked with, and new files get.
pub(super) fn set_file_ids(uid: u32, gid: u32) {
    // SAFETY: always sound; these calls cannot report failure.
    unsafe {
        libc::setfsgid(gid);
        libc::setfsuid(uid);
    }
}

/// Joins a new session keyring, so that none of the caller's keys can be found.
pub(super) fn join_new_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    check(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, 0, 0, 0, 0) }).map(drop)
}

/// Brings the loopback interface of this network namespace up.
pub(super) fn loopback_up(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: `ifreq` is plain bytes; the name is a null-terminated string within its array; the flags member of
    // the union is the one that SIOCSIFFLAGS reads.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l'.cast_signed();
        request.ifr_name[1] = b'o'.cast_signed();
        request.ifr_ifru.ifru_flags =
            libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or_default();
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request).into())
            .map(drop)
    }
}

/// Changes the attributes of a detached mount and all below it.
pub(super) fn set_mount_attributes(mount: BorrowedFd<'_>, set: u64) -> io::Result<()> {
    change_mount(mount, set, 0)
}

/// Shows the files of a detached mount with other owners: those that a user namespace makes of them.
pub(super) fn map_mount(mount: BorrowedFd<'_>, ids: BorrowedFd<'_>) -> io::Result<()> {
    let ids = u64::try_from(ids.as_raw_fd()).map_err(io::Error::other)?;
    change_mount(mount, libc::MOUNT_ATTR_IDMAP, ids)
}

fn change_mount(mount: BorrowedFd<'_>, set: u64, userns_fd: u64) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd,
    };
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the path is an empty string, the structure lives through the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// Does something to the terminal that would stop a background process. This thread alone is affected.
pub(in crate::backend) fn without_terminal_stop(work: impl FnOnce()) {
    // SAFETY: both sets are initialised before they are read: one by `sigemptyset`, one by the first `pthread_sigmask`.
    unsafe {
        let (mut blocked, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigemptyset(&raw mut blocked);
        libc::sigaddset(&raw mut blocked, libc::SIGTTOU);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const blocked, &raw mut before);
        work();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
    }
}
