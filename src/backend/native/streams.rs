//! A sandbox's standard streams: pipes, or the caller's own.

use std::io::{self, Write as _};
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::isatty;

use super::supervise::Ends;
use crate::backend::{Command, Io, Stream, Streams};

fn nothing() -> io::Result<OwnedFd> {
    Ok(fs_err::File::open("/dev/null")?.into_file().into())
}

/// The caller's own streams. No terminal is given away: where one is not to be `replaced` by the command's own, what
/// goes over it passes through a pipe.
fn inherited(replaced: Option<[bool; 3]>) -> io::Result<([OwnedFd; 3], Ends)> {
    let [stdin, stdout, stderr] = [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ];
    if let Some([_, _, error_on_terminal]) = replaced {
        let stderr = if error_on_terminal {
            nothing()?
        } else {
            stderr.try_clone_to_owned()?
        };
        return Ok(([nothing()?, nothing()?, stderr], Ends::default()));
    }
    let mut ends = Ends::default();
    let input = if isatty(stdin) {
        let (theirs, feed) = pipe_with(PipeFlags::CLOEXEC)?;
        (ends.stdin, ends.typed) = (Some(feed), Some(stdin.try_clone_to_owned()?));
        theirs
    } else {
        stdin.try_clone_to_owned()?
    };
    let output = |stream: BorrowedFd<'_>, end: &mut Option<OwnedFd>| {
        if isatty(stream) {
            let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
            *end = Some(ours);
            return Ok(theirs);
        }
        stream.try_clone_to_owned()
    };
    let out = output(stdout, &mut ends.stdout)?;
    let err = output(stderr, &mut ends.stderr)?;
    Ok(([input, out, err], ends))
}

/// The sandbox's ends of the streams, and ours.
pub(super) fn make(
    command: &Command,
    io: &Io<'_>,
    terminal: Option<[bool; 3]>,
) -> io::Result<([OwnedFd; 3], Ends)> {
    if command.streams == Streams::Inherited {
        return inherited(terminal);
    }
    let (out, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
    let (err, stderr) = pipe_with(PipeFlags::CLOEXEC)?;
    let (stdin, feed) = if io.stdin.is_some() {
        let (stdin, feed) = pipe_with(PipeFlags::CLOEXEC)?;
        (stdin, Some(feed))
    } else {
        (nothing()?, None)
    };
    Ok((
        [stdin, stdout, stderr],
        Ends {
            stdin: feed,
            stdout: Some(out),
            stderr: Some(err),
            typed: None,
        },
    ))
}

/// Passes output on to the caller's own streams. What cannot be shown has no reader any more.
pub(super) fn show(stream: Stream, bytes: &[u8]) {
    let _gone = match stream {
        Stream::Out => {
            let mut output = io::stdout().lock();
            output.write_all(bytes).and_then(|()| output.flush())
        }
        Stream::Err => io::stderr().write_all(bytes),
    };
}
