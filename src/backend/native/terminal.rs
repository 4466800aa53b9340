//! A terminal of the command's own, joined to the caller's.
//!
//! The sandbox makes it in its own `devpts`; the tool gets the other end and passes on what is typed and shown, as
//! it is, and the size. So a command has a real terminal, with job control, and never holds the caller's: nothing
//! can be typed into that one from inside.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::stdio::{stdin, stdout};
use rustix::termios::{
    OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};
use signal_hook::consts::{SIGHUP, SIGWINCH};
use signal_hook::low_level::{pipe, unregister};

use super::supervise;
use super::sys;
use crate::backend::User;
use crate::cancel::Cancel;

/// Bytes passed on at once.
const CHUNK: usize = 16 << 10;
/// What programs inside have to end when the caller's terminal is gone.
const GRACE: Duration = Duration::from_secs(2);

/// Whether the caller's input and output are a terminal.
pub(in crate::backend) fn is_there() -> bool {
    isatty(stdin()) && isatty(stdout())
}

/// The caller's terminal, passing everything on as it is; as it was before when this is dropped.
#[derive(Debug)]
pub(in crate::backend) struct Raw {
    before: Termios,
}

impl Raw {
    /// Takes the terminal over.
    pub(in crate::backend) fn take() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A program that was put into the background meanwhile would be stopped here.
        sys::without_terminal_stop(|| {
            let _gone = tcsetattr(stdin(), OptionalActions::Drain, &self.before);
        });
    }
}

/// Both ends of a new terminal of this sandbox, the program's for `user`.
pub(super) fn open(user: User) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let ours = rustix::fs::open("/dev/pts/ptmx", flags, Mode::empty())?;
    unlockpt(&ours)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let theirs = ioctl_tiocgptpeer(&ours, flags)?;
    rustix::fs::fchown(&theirs, Some(Uid::from_raw(user.uid)), None::<Gid>)?;
    Ok((ours, theirs))
}

/// Makes a terminal the controlling one of this process, in a session of its own.
pub(super) fn control(terminal: BorrowedFd<'_>) -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(rustix::process::ioctl_tiocsctty(terminal)?)
}

/// A signal, as something that `poll` can wait for.
struct Signal {
    id: signal_hook::SigId,
    seen: UnixStream,
}

impl Signal {
    fn watch(signal: i32) -> io::Result<Self> {
        let (seen, tell) = UnixStream::pair()?;
        seen.set_nonblocking(true)?;
        Ok(Self {
            id: pipe::register(signal, tell)?,
            seen,
        })
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        unregister(self.id);
    }
}

/// How a session on the terminal ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The command ended.
    Command,
    /// It was ended: by the caller's token, or since it went on without a terminal.
    Cut,
}

/// The caller's terminal joined to one inside.
pub(super) struct Joined {
    /// `None` once the caller's terminal is gone.
    inner: Option<OwnedFd>,
    resized: Signal,
    hung_up: Signal,
    /// Typed but not yet taken.
    pending: Vec<u8>,
    deadline: Option<Instant>,
    /// Nobody inside has the terminal open.
    closed: bool,
    buffer: Vec<u8>,
    _raw: Raw,
}

impl Joined {
    /// Gives the inner terminal the outer one's settings and size, and takes the outer one over.
    pub(super) fn new(inner: OwnedFd) -> io::Result<Self> {
        let (resized, hung_up) = (Signal::watch(SIGWINCH)?, Signal::watch(SIGHUP)?);
        let mut settings = tcgetattr(stdin())?;
        // Those of the program that ran before may be any: what a shell expects is set.
        let plain = tcgetattr(&inner)?;
        (settings.input_modes, settings.output_modes) = (plain.input_modes, plain.output_modes);
        (settings.control_modes, settings.local_modes) = (plain.control_modes, plain.local_modes);
        let utf8 = rustix::termios::InputModes::IUTF8;
        settings.input_modes |= tcgetattr(stdin())?.input_modes & utf8;
        tcsetattr(&inner, OptionalActions::Now, &settings)?;
        rustix::io::ioctl_fionbio(&inner, true)?;
        let joined = Self {
            _raw: Raw::take()?,
            inner: Some(inner),
            resized,
            hung_up,
            pending: Vec::new(),
            deadline: None,
            closed: false,
            buffer: vec![0; CHUNK],
        };
        joined.resize();
        Ok(joined)
    }

    fn resize(&self) {
        if let (Some(inner), Ok(size)) = (&self.inner, tcgetwinsize(stdout())) {
            let _gone = tcsetwinsize(inner, size);
        }
    }

    /// Passes on until the sandbox is dead.
    pub(super) fn follow(mut self, sandbox: BorrowedFd<'_>, cancel: &Cancel) -> io::Result<Ended> {
        let mut cut = false;
        loop {
            let Some(ready) = self.wait(sandbox, cancel, cut)? else {
                continue;
            };
            if ready.inner {
                self.show()?;
            }
            if ready.sandbox {
                while self.show()? {}
                return Ok(if cut { Ended::Cut } else { Ended::Command });
            }
            let late = self
                .deadline
                .is_some_and(|deadline| Instant::now() >= deadline);
            if !cut && (ready.cancel || late) {
                cut = true;
                supervise::kill(sandbox)?;
            }
            if ready.resized {
                let _taken = rustix::io::read(&self.resized.seen, &mut self.buffer[..]);
                self.resize();
            }
            if ready.hung_up {
                self.hang_up();
            }
            if ready.typed {
                self.take();
            }
            self.give()?;
        }
    }

    /// Waits for something to do; `None` when it was disturbed.
    fn wait(
        &self,
        sandbox: BorrowedFd<'_>,
        cancel: &Cancel,
        cut: bool,
    ) -> io::Result<Option<Ready>> {
        let (none, inward) = (PollFlags::empty(), PollFlags::IN);
        let watched = |wanted: bool| if wanted { inward } else { none };
        let inner_flags = if self.pending.is_empty() {
            inward
        } else {
            PollFlags::IN | PollFlags::OUT
        };
        let input = stdin();
        let here = self.inner.is_some();
        let mut handles = vec![
            PollFd::from_borrowed_fd(sandbox, inward),
            PollFd::new(&self.resized.seen, inward),
            PollFd::new(&self.hung_up.seen, watched(here)),
            PollFd::new(cancel, watched(!cut)),
        ];
        let typed = here && self.pending.is_empty();
        if typed {
            handles.push(PollFd::new(&input, inward));
        }
        if let Some(inner) = self.inner.as_ref().filter(|_| !self.closed) {
            handles.push(PollFd::new(inner, inner_flags));
        }
        let timeout = self.deadline.filter(|_| !cut).and_then(|deadline| {
            Timespec::try_from(deadline.saturating_duration_since(Instant::now())).ok()
        });
        match poll(&mut handles, timeout.as_ref()) {
            Err(Errno::INTR) => return Ok(None),
            result => result?,
        };
        let at = |index: usize| {
            handles
                .get(index)
                .is_some_and(|handle| !handle.revents().is_empty())
        };
        Ok(Some(Ready {
            sandbox: at(0),
            resized: at(1),
            hung_up: here && at(2),
            cancel: !cut && at(3),
            typed: typed && at(4),
            inner: at(4 + usize::from(typed)),
        }))
    }

    /// The caller's terminal is gone: so is the inner one, which tells the programs inside.
    fn hang_up(&mut self) {
        if self.inner.take().is_some() {
            self.deadline = Some(Instant::now() + GRACE);
        }
    }

    /// Takes what is typed.
    fn take(&mut self) {
        match rustix::io::read(stdin(), &mut self.buffer[..]) {
            Ok(0) => self.hang_up(),
            Ok(length) => self.pending.extend_from_slice(&self.buffer[..length]),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => self.hang_up(),
        }
    }

    /// Gives on what was typed, as far as it is taken.
    fn give(&mut self) -> io::Result<()> {
        let Some(inner) = &self.inner else {
            return Ok(());
        };
        if self.pending.is_empty() {
            return Ok(());
        }
        match rustix::io::write(inner, &self.pending) {
            Ok(length) => drop(self.pending.drain(..length)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Nobody reads any more.
            Err(Errno::IO) => self.pending.clear(),
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }

    /// Shows what was written inside; true while there may be more.
    fn show(&mut self) -> io::Result<bool> {
        let Some(inner) = self.inner.as_ref().filter(|_| !self.closed) else {
            return Ok(false);
        };
        match rustix::io::read(inner, &mut self.buffer[..]) {
            Ok(0) | Err(Errno::IO) => {
                self.closed = true;
                Ok(false)
            }
            Ok(length) => {
                if write_all(&self.buffer[..length]).is_err() {
                    self.hang_up();
                }
                Ok(true)
            }
            Err(Errno::INTR) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// What can be gone on with.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent answers of one `poll`"
)]
struct Ready {
    sandbox: bool,
    resized: bool,
    hung_up: bool,
    cancel: bool,
    typed: bool,
    inner: bool,
}

/// Writes to the caller's terminal, which other programs may have set to refuse what it cannot take at once.
fn write_all(mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(stdout(), bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let output = stdout();
                let mut handles = [PollFd::from_borrowed_fd(output.as_fd(), PollFlags::OUT)];
                rustix::io::retry_on_intr(|| poll(&mut handles, None))?;
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
