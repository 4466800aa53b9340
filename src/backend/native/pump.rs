//! Archives between the caller's streams and a worker's pipe.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use super::session::{self, Session};
use super::wire::Request;
use crate::backend::BackendError;

/// What a pipe is asked to hold, and how much goes through at once.
const SIZE: usize = 1 << 20;

fn pipe() -> Result<(OwnedFd, OwnedFd), BackendError> {
    let (read, write) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|errno| step("make a pipe", errno.into()))?;
    // Only speed depends on it: users have a quota for large pipes.
    let _size = fcntl_setpipe_size(&write, SIZE);
    Ok((read, write))
}

fn step(doing: &str, source: io::Error) -> BackendError {
    BackendError::Step {
        doing: doing.to_owned(),
        source,
    }
}

/// Feeds an archive to a worker. When the worker stops early, its reason is the error.
pub(super) fn into_worker(
    session: &Session,
    request: &Request,
    tar: &mut (dyn Read + Send),
) -> Result<(), BackendError> {
    let (read, write) = pipe()?;
    let channel = session.ask(request, &[read.as_fd()])?;
    drop(read);
    let fed = copy(tar, &mut File::from(write));
    let answer = session::answer(&channel).map(drop);
    match fed {
        // The reader is gone: it has said why, or had enough.
        Err(Fault::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => answer,
        Err(Fault::Write(error)) => answer.and(Err(step("pass the archive on", error))),
        Err(Fault::Read(error)) => Err(step("read the archive", error)),
        Ok(()) => answer,
    }
}

/// Takes an archive from a worker.
pub(super) fn out_of_worker(
    session: &Session,
    request: &Request,
    tar: &mut (dyn Write + Send),
) -> Result<(), BackendError> {
    let (read, write) = pipe()?;
    let channel = session.ask(request, &[write.as_fd()])?;
    drop(write);
    let taken = copy(&mut File::from(read), tar);
    let answer = session::answer(&channel).map(drop);
    match taken {
        Ok(()) => answer,
        Err(Fault::Write(error)) => Err(step("write the archive", error)),
        Err(Fault::Read(error)) => answer.and(Err(step("take the archive", error))),
    }
}

enum Fault {
    Read(io::Error),
    Write(io::Error),
}

fn copy(from: &mut dyn Read, to: &mut dyn Write) -> Result<(), Fault> {
    let mut buffer = vec![0; SIZE];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return to.flush().map_err(Fault::Write),
            Ok(length) => to.write_all(&buffer[..length]).map_err(Fault::Write)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Fault::Read(error)),
        }
    }
}
