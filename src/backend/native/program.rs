//! The command itself: what it may do, and how it is started.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::process::{Gid, Pid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::sys;
use crate::backend::Command;

/// What root inside keeps: what packages and their scripts need, as in other container engines.
const ROOT_KEEPS: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::AUDIT_WRITE)
    .union(CapabilitySet::SETFCAP);

/// Exit codes of shells for a program that cannot be run.
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;

/// A command, ready to run in the new process.
pub(in crate::backend) struct Program<'a> {
    command: &'a Command,
    foreground: bool,
    candidates: Vec<CString>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl<'a> Program<'a> {
    /// Makes the strings that the kernel wants; `foreground`: it is to have the terminal on its standard input.
    pub(in crate::backend) fn new(command: &'a Command, foreground: bool) -> io::Result<Self> {
        let text = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::other);
        let first = command
            .argv
            .first()
            .ok_or_else(|| io::Error::other("it has no program"))?;
        let path = command.env.get("PATH").map_or("", String::as_str);
        let candidates = if first.contains('/') {
            vec![text(first.as_bytes())?]
        } else {
            let places = std::env::split_paths(OsStr::new(path)).map(|folder| folder.join(first));
            places
                .map(|place| text(place.as_os_str().as_bytes()))
                .collect::<io::Result<_>>()?
        };
        Ok(Self {
            command,
            foreground,
            candidates,
            arguments: command
                .argv
                .iter()
                .map(|argument| text(argument.as_bytes()))
                .collect::<io::Result<_>>()?,
            environment: command
                .env
                .iter()
                .map(|(key, value)| text(format!("{key}={value}").as_bytes()))
                .collect::<io::Result<_>>()?,
        })
    }

    /// Becomes the command. Never returns: what goes wrong is said on its standard error, as a shell would.
    pub(in crate::backend) fn run(self, streams: [BorrowedFd<'_>; 3]) -> ! {
        let (message, code) = match self.become_command(streams) {
            Ok(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {
                ("not found".to_owned(), NOT_FOUND)
            }
            Ok(error) | Err(error) => (error.to_string(), NOT_EXECUTABLE),
        };
        let name = self.command.argv.first().map_or("", String::as_str);
        let line = format!("pristine: cannot run `{name}`: {message}\n");
        let _told = rustix::io::write(sys::inherited(2), line.as_bytes());
        sys::exit_now(code)
    }

    /// The error that is returned as `Ok` is that of the last `execve`.
    fn become_command(&self, streams: [BorrowedFd<'_>; 3]) -> io::Result<io::Error> {
        if self.foreground {
            to_foreground(rustix::process::getpid(), streams[0]);
        }
        // Copies above the standard numbers first, so that none is overwritten before it is used.
        let copies = streams.map(|stream| rustix::io::fcntl_dupfd_cloexec(stream, 10));
        for (number, copy) in (0..).zip(copies) {
            use std::os::fd::AsFd as _;
            let copy = copy?;
            sys::place(copy.as_fd(), number)?;
            std::mem::forget(copy);
        }
        sys::close_from(3)?;
        sys::reset_signals();
        drop_privileges(self.command.user.uid, self.command.user.gid)?;
        rustix::process::chdir(Path::new(&self.command.cwd)).map_err(|errno| {
            io::Error::other(format!("working directory `{}`: {errno}", self.command.cwd))
        })?;
        let mut last = io::Error::from_raw_os_error(libc::ENOENT);
        for candidate in &self.candidates {
            let error = sys::execute(candidate, &self.arguments, &self.environment);
            // Like a shell: a file that may not be run is remembered, but a later one may be.
            if last.raw_os_error() != Some(libc::EACCES) {
                last = error;
            }
        }
        Ok(last)
    }
}

/// Takes the ids of the command and leaves no more capabilities than it needs.
fn drop_privileges(uid: u32, gid: u32) -> io::Result<()> {
    let root = uid == 0;
    let keeps = if root {
        ROOT_KEEPS
    } else {
        CapabilitySet::empty()
    };
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if keeps.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // Past the kernel's last one.
            Err(rustix::io::Errno::INVAL) => break,
            result => result?,
        }
    }
    rustix::thread::set_thread_groups(&[])?;
    let (gid, uid) = (Gid::from_raw(gid), Uid::from_raw(uid));
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    keep_only(keeps)
}

fn keep_only(keeps: CapabilitySet) -> io::Result<()> {
    let sets = CapabilitySets {
        effective: keeps,
        permitted: keeps,
        inheritable: CapabilitySet::empty(),
    };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

/// The first process only waits from here on: it keeps nothing.
pub(in crate::backend) fn keep_nothing() -> io::Result<()> {
    keep_only(CapabilitySet::empty())
}

/// Gives the terminal, where there is one, to a process's group: both sides of the fork do it, so that neither is too early.
pub(in crate::backend) fn to_foreground(leader: Pid, terminal: BorrowedFd<'_>) {
    // A background process that asks for the terminal is stopped, unless it ignores that.
    sys::ignore(libc::SIGTTOU);
    let _already = rustix::process::setpgid(Some(leader), Some(leader));
    let _no_terminal = rustix::termios::tcsetpgrp(terminal, leader);
    sys::restore(libc::SIGTTOU);
}
