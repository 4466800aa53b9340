//! A command's streams inside a container: pipes, or a terminal that is opened there. The tool's
//! frames go in; when they end the tool is gone, and everything here ends.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::wire::{self, ToTerminal};
use crate::backend::native::sys;

/// How long more is waited for on a terminal that processes of an ended command still hold, and how often.
const REST: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};
const RESTS: u32 = 50;

/// The tool's stream. Its end is the end of everything here.
pub(super) struct Tool;

impl Read for Tool {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| {
            rustix::io::read(sys::inherited(0), &mut *buffer)
        })?)
    }
}

/// The command's streams, and our ends of them.
pub(super) struct Ends {
    pub(super) stdin: OwnedFd,
    feed: Feed,
}

/// Our end of the command's input.
enum Feed {
    /// It has none.
    Nothing,
    Pipe(OwnedFd),
    Terminal(OwnedFd),
}

impl Ends {
    /// Pipes; `/dev/null` where there is no input.
    pub(super) fn pipes(input: bool) -> io::Result<Self> {
        if input {
            let (stdin, feed) = pipe_with(PipeFlags::CLOEXEC)?;
            return Ok(Self {
                stdin,
                feed: Feed::Pipe(feed),
            });
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(Self {
            stdin: rustix::fs::open("/dev/null", flags, Mode::empty())?,
            feed: Feed::Nothing,
        })
    }

    /// A terminal of that size, owned by that user: that of this session.
    pub(super) fn terminal(size: (u16, u16), uid: u32) -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let controller = openpt(flags)?;
        grantpt(&controller)?;
        unlockpt(&controller)?;
        resize(controller.as_fd(), size)?;
        let name = ptsname(&controller, Vec::new())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let stdin = rustix::fs::open(name, flags, Mode::empty())?;
        rustix::fs::fchown(&stdin, Some(rustix::process::Uid::from_raw(uid)), None)?;
        // It is the session's leader already, with some engines.
        let _already = rustix::process::setsid();
        rustix::process::ioctl_tiocsctty(&stdin)?;
        Ok(Self {
            stdin,
            feed: Feed::Terminal(controller),
        })
    }

    /// The three streams of the command.
    pub(super) fn theirs(&self) -> [BorrowedFd<'_>; 3] {
        match self.feed {
            Feed::Terminal(_) => [self.stdin.as_fd(); 3],
            _ => [self.stdin.as_fd(), sys::inherited(1), sys::inherited(2)],
        }
    }

    /// Passes on what comes and goes, from here on.
    pub(super) fn follow(self) -> io::Result<Following> {
        drop(self.stdin);
        let (input, output) = match self.feed {
            Feed::Nothing => (None, None),
            Feed::Pipe(feed) => (Some((feed, false)), None),
            Feed::Terminal(controller) => {
                let theirs = controller.try_clone()?;
                (Some((theirs, true)), Some(controller))
            }
        };
        spawn(move || follow(input))?;
        let Some(controller) = output else {
            return Ok(Following(None));
        };
        let ended = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let told = Arc::clone(&ended);
        let showing = spawn(move || show(&controller, &told))?;
        Ok(Following(Some((ended, showing))))
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().stack_size(64 << 10).spawn(work)
}

/// What is passed on while the command runs.
pub(super) struct Following(Option<(Arc<OwnedFd>, JoinHandle<()>)>);

impl Following {
    /// Waits for the rest of the output, once the command has ended.
    pub(super) fn finish(self) {
        if let Some((ended, showing)) = self.0 {
            let _told = rustix::io::write(&*ended, &1_u64.to_ne_bytes());
            let _joined = showing.join();
        }
    }
}

fn resize(terminal: BorrowedFd<'_>, (rows, columns): (u16, u16)) -> io::Result<()> {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(tcsetwinsize(terminal, size)?)
}

/// Passes input on, and ends everything here when the tool is gone.
fn follow(input: Option<(OwnedFd, bool)>) {
    sys::ignore(libc::SIGPIPE);
    if let Some((feed, terminal)) = input {
        let mut feed = File::from(feed);
        while let Ok(Some(frame)) = wire::read_frame(&mut Tool) {
            let passed = match (terminal, ToTerminal::read(&frame)) {
                (false, _) if frame.is_empty() => break,
                (false, _) => write_following(&mut feed, &frame),
                (true, Some(ToTerminal::Keys(keys))) => write_following(&mut feed, &keys),
                (true, Some(ToTerminal::Size(size))) => resize(feed.as_fd(), size),
                (true, None) => Ok(()),
            };
            if passed.is_err() {
                break;
            }
        }
    }
    let mut tool = [PollFd::from_borrowed_fd(
        sys::inherited(0),
        PollFlags::empty(),
    )];
    while !matches!(poll(&mut tool, None), Ok(1..)) {}
    sys::exit_now(1)
}

/// Writes, unless the tool goes away meanwhile: a command that reads nothing must not keep this from being seen.
fn write_following(feed: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let mut both = [
            PollFd::from_borrowed_fd(sys::inherited(0), PollFlags::empty()),
            PollFd::from_borrowed_fd(feed.as_fd(), PollFlags::OUT),
        ];
        rustix::io::retry_on_intr(|| poll(&mut both, None))?;
        if !both[0].revents().is_empty() {
            sys::exit_now(1);
        }
        // A pipe that is ready takes this much without waiting.
        let length = bytes.len().min(4096);
        let length = feed.write(&bytes[..length])?;
        bytes = &bytes[length..];
    }
    Ok(())
}

/// Shows what is written to the terminal, until nobody holds it, or until the command has ended and nothing more comes.
fn show(controller: &OwnedFd, ended: &OwnedFd) {
    let mut buffer = vec![0; 16 << 10];
    let mut left = None;
    loop {
        let mut both = [
            PollFd::from_borrowed_fd(controller.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(ended.as_fd(), PollFlags::IN),
        ];
        let (looked_at, wait) = match left {
            Some(0) => return,
            Some(_) => (&mut both[..1], Some(&REST)),
            None => (&mut both[..], None),
        };
        match poll(looked_at, wait) {
            Err(rustix::io::Errno::INTR) => continue,
            Ok(1..) => {}
            _ => return,
        }
        if both[0].revents().is_empty() {
            left = Some(RESTS);
            continue;
        }
        left = left.map(|left| left - 1);
        // A terminal that nobody holds any more is an error.
        let Ok(length @ 1..) = rustix::io::read(controller, &mut buffer) else {
            return;
        };
        let mut output = &buffer[..length];
        while let Ok(written @ 1..) = rustix::io::write(sys::inherited(1), output) {
            output = &output[written..];
        }
    }
}
