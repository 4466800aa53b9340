//! The tool's end of a tracer: what is watched is told, the end is told, what was seen is heard.
//!
//! The group of events is made here, in the namespaces of the caller: root's tells which process it was.
//! Nothing here fails a build: what goes wrong is the reason why it was not traced.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, memfd_create};

use super::wire::{self, Answer};
use super::{fanotify, tracer};
use crate::backend::{BackendError, Trace, Watched};

/// A tracer that is asked for.
#[derive(Debug)]
pub(in crate::backend) struct Wanted {
    channel: OwnedFd,
    theirs: [OwnedFd; 3],
    processes: bool,
}

/// A tracer at work.
#[derive(Debug)]
pub(in crate::backend) struct Tracing {
    channel: OwnedFd,
    processes: bool,
}

impl Wanted {
    /// Makes what the tracer needs.
    pub(in crate::backend) fn new(watched: &Watched) -> io::Result<Self> {
        let (channel, theirs) = wire::pair()?;
        let (group, processes) = fanotify::group()?;
        Ok(Self {
            channel,
            theirs: [theirs, group, list(watched)?],
            processes,
        })
    }

    /// The tracer's files, in the order in which it takes them.
    pub(super) fn files(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.theirs.iter().map(AsFd::as_fd)
    }

    /// Waits until all is watched; or says why it cannot be.
    pub(super) fn begun(self) -> Result<Tracing, String> {
        // The other end is the tracer's alone from here on, so that its end is seen.
        drop(self.theirs);
        begun(self.channel, self.processes)
    }

    /// Watches below a root that is reached from here, in a thread of this process; or says why it cannot.
    pub(in crate::backend) fn here(self, root: OwnedFd) -> Result<Tracing, String> {
        let [theirs, group, list] = self.theirs;
        let work = move || tracer::beside([theirs, group, list, root]);
        let spawned = std::thread::Builder::new()
            .name("tracer".to_owned())
            .spawn(work);
        spawned.map_err(|error| format!("no thread for its tracer: {error}"))?;
        begun(self.channel, self.processes)
    }
}

fn begun(channel: OwnedFd, processes: bool) -> Result<Tracing, String> {
    match hear(&channel)? {
        Answer::Watching => Ok(Tracing { channel, processes }),
        other => Err(unexpected(&other)),
    }
}

impl Tracing {
    /// What was seen, once the command has ended.
    pub(in crate::backend) fn end(self) -> Result<Trace, String> {
        // The tracer hears the end of what it can read; fails only where it is gone, which is seen next.
        let _gone = rustix::net::shutdown(&self.channel, rustix::net::Shutdown::Write);
        match hear(&self.channel)? {
            Answer::Traced(trace) => Ok(Trace {
                processes: self.processes,
                ..*trace
            }),
            other => Err(unexpected(&other)),
        }
    }
}

fn hear(channel: &OwnedFd) -> Result<Answer, String> {
    match wire::receive(channel) {
        Ok(Some((Answer::Failed(failure), _))) => Err(words(&BackendError::from(failure))),
        Ok(Some((answer, _))) => Ok(answer),
        Ok(None) => Err("its tracer was killed".to_owned()),
        Err(error) => Err(format!("its tracer cannot be heard: {error}")),
    }
}

fn unexpected(answer: &Answer) -> String {
    format!("its tracer answered {answer:?}")
}

/// An error with its causes, in one line. Kernels before 6.6 give no handles of an overlay.
fn words(error: &BackendError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let _infallible = write!(text, ": {error}");
        cause = error.source();
    }
    if let BackendError::Step { source, .. } = error
        && matches!(source.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENODEV))
    {
        text.push_str(" (Linux 6.6 or newer can)");
    }
    text
}

/// What is watched, for the tracer: a line for each folder, and one that begins with a tab for each name in it.
fn list(watched: &Watched) -> io::Result<OwnedFd> {
    let mut text = String::new();
    for (folder, names) in &watched.folders {
        if folder.contains('\n') {
            continue;
        }
        text.push_str(folder);
        text.push('\n');
        for name in names.iter().filter(|name| !name.contains('\n')) {
            text.push('\t');
            text.push_str(name);
            text.push('\n');
        }
    }
    let file = memfd_create("watched", MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(file);
    file.write_all(text.as_bytes())?;
    Ok(file.into())
}
