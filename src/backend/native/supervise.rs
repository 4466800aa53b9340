//! Follows one running sandbox from outside: streams, limits, cancellation, its end.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Signal;

use super::watch::Watch;
use super::wire::{self, Answer};
use crate::backend::{BackendError, Exit, Io, Limit, LimitHit, Limits, Stream, Usage};

/// Bytes read or written at once: what a pipe holds.
const CHUNK: usize = 64 << 10;
/// How long a killed sandbox may take to die: what waits for a device or a file server hears no signal.
const PATIENCE: Duration = Duration::from_secs(20);

/// The tool's ends of a sandbox's streams.
#[derive(Debug, Default)]
pub(super) struct Ends {
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
    /// The caller's terminal, where that is what standard input is fed from.
    pub(super) typed: Option<OwnedFd>,
}

/// What was decided before the sandbox ended by itself.
enum Verdict {
    Cancelled,
    Limit(LimitHit),
}

/// A sandbox that runs.
pub(super) struct Running<'a, 'io> {
    channel: OwnedFd,
    sandbox: OwnedFd,
    ends: Ends,
    io: Io<'io>,
    limits: &'a Limits,
    watch: Watch<'a>,
    started: Instant,
    last_output: Instant,
    verdict: Option<Verdict>,
    killed: Option<Instant>,
    /// It was killed and does not die.
    stuck: bool,
    buffer: Vec<u8>,
    /// Input that was read but not yet taken.
    pending: Vec<u8>,
}

fn step(doing: &str) -> impl FnOnce(io::Error) -> BackendError + use<'_> {
    move |source| BackendError::Step {
        doing: doing.to_owned(),
        source,
    }
}

impl<'a, 'io> Running<'a, 'io> {
    /// Takes over a started sandbox by its handle; `channel` is where it tells how it ended.
    pub(super) fn new(
        channel: OwnedFd,
        sandbox: OwnedFd,
        ends: Ends,
        io: Io<'io>,
        (limits, watch): (&'a Limits, Watch<'a>),
    ) -> Self {
        let now = Instant::now();
        Self {
            channel,
            sandbox,
            ends,
            io,
            limits,
            watch,
            started: now,
            last_output: now,
            verdict: None,
            killed: None,
            stuck: false,
            buffer: vec![0; CHUNK],
            pending: Vec::new(),
        }
    }

    /// Returns when every process inside is dead, or was killed and does not die.
    pub(super) fn wait(mut self) -> Result<(Exit, Usage), BackendError> {
        for end in [&self.ends.stdin, &self.ends.stdout, &self.ends.stderr]
            .into_iter()
            .flatten()
        {
            rustix::io::ioctl_fionbio(end, true)
                .map_err(io::Error::from)
                .map_err(step("prepare the streams"))?;
        }
        while !self.turn().map_err(step("follow the command"))? {}
        self.end()
    }

    /// One round of waiting; true when the sandbox is dead.
    fn turn(&mut self) -> io::Result<bool> {
        let mut watched = vec![(Source::Sandbox, self.sandbox.as_fd(), PollFlags::IN)];
        if self.verdict.is_none() {
            watched.push((Source::Cancel, self.io.cancel.as_fd(), PollFlags::IN));
            let signals = self.watch.handles();
            watched.extend(signals.map(|(handle, flags)| (Source::Limits, handle, flags)));
        }
        let ends = [
            (Source::Out, &self.ends.stdout, PollFlags::IN),
            (Source::Err, &self.ends.stderr, PollFlags::IN),
            match self.ends.typed.as_ref().filter(|_| self.pending.is_empty()) {
                Some(_) => (Source::Typed, &self.ends.typed, PollFlags::IN),
                None => (Source::In, &self.ends.stdin, PollFlags::OUT),
            },
        ];
        watched.extend(
            ends.into_iter()
                .filter_map(|(source, end, flags)| Some((source, end.as_ref()?.as_fd(), flags))),
        );
        let mut handles: Vec<PollFd<'_>> = watched
            .iter()
            .map(|(_, handle, flags)| PollFd::from_borrowed_fd(*handle, *flags))
            .collect();
        let timeout = self.timeout();
        match poll(&mut handles, timeout.as_ref()) {
            Err(Errno::INTR) => return Ok(false),
            result => result?,
        };
        let ready: Vec<Source> = watched
            .iter()
            .zip(&handles)
            .filter(|(_, handle)| !handle.revents().is_empty())
            .map(|((source, ..), _)| *source)
            .collect();
        for source in &ready {
            match source {
                // Output first: what was written before the end is still in the pipes.
                Source::Sandbox | Source::Limits => {}
                Source::Cancel => self.kill(Verdict::Cancelled)?,
                Source::Out => self.read(Stream::Out)?,
                Source::Err => self.read(Stream::Err)?,
                Source::In => self.feed()?,
                Source::Typed => self.take_typed()?,
            }
        }
        if ready.contains(&Source::Sandbox) {
            self.drain()?;
            return Ok(true);
        }
        self.check(ready.contains(&Source::Limits))?;
        Ok(self.stuck)
    }

    /// When the next limit is due.
    fn timeout(&self) -> Option<Timespec> {
        if let Some(killed) = self.killed {
            return Timespec::try_from(PATIENCE.saturating_sub(killed.elapsed())).ok();
        }
        let look = self
            .watch
            .due()
            .map(|at| at.saturating_duration_since(Instant::now()));
        let time = self
            .limits
            .time
            .map(|limit| limit.saturating_sub(self.started.elapsed()));
        let silence = self
            .silence()
            .map(|limit| limit.saturating_sub(self.last_output.elapsed()));
        let next = time.into_iter().chain(silence).chain(look).min()?;
        // Rounded up: waking too early would only turn once more.
        Timespec::try_from(next + Duration::from_micros(500)).ok()
    }

    /// Nothing is seen of a command's output that goes to the caller's own streams.
    fn silence(&self) -> Option<Duration> {
        let seen = self.ends.stdout.is_some() || self.ends.stderr.is_some();
        self.limits.silence.filter(|_| seen)
    }

    fn check(&mut self, woken: bool) -> io::Result<()> {
        if let Some(killed) = self.killed {
            self.stuck = killed.elapsed() >= PATIENCE;
            return Ok(());
        }
        let of_time = [
            (Limit::Time, self.limits.time, self.started),
            (Limit::Silence, self.silence(), self.last_output),
        ];
        for (limit, value, since) in of_time {
            if let Some(value) = value.filter(|value| since.elapsed() >= *value) {
                let hit = self.watch.of_time(limit, value);
                return self.kill(Verdict::Limit(hit));
            }
        }
        match self.watch.look(woken) {
            Some(hit) => self.kill(Verdict::Limit(hit)),
            None => Ok(()),
        }
    }

    /// Kills the first process inside, and with it all others. The first verdict stands.
    fn kill(&mut self, verdict: Verdict) -> io::Result<()> {
        if self.verdict.is_none() {
            self.verdict = Some(verdict);
            self.killed = Some(Instant::now());
            kill(self.sandbox.as_fd())?;
        }
        Ok(())
    }

    /// Reads once; true while there may be more.
    fn read_some(&mut self, stream: Stream) -> io::Result<bool> {
        let end = match stream {
            Stream::Out => &mut self.ends.stdout,
            Stream::Err => &mut self.ends.stderr,
        };
        let Some(pipe) = end else { return Ok(false) };
        match rustix::io::read(&*pipe, &mut self.buffer[..]) {
            Ok(0) => {
                *end = None;
                Ok(false)
            }
            Ok(length) => {
                self.last_output = Instant::now();
                (self.io.output)(stream, &self.buffer[..length]);
                Ok(true)
            }
            Err(Errno::INTR) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    fn read(&mut self, stream: Stream) -> io::Result<()> {
        self.read_some(stream).map(drop)
    }

    /// What is still in the pipes; never waits, whoever may hold their other ends.
    fn drain(&mut self) -> io::Result<()> {
        for stream in [Stream::Out, Stream::Err] {
            while self.read_some(stream)? {}
        }
        Ok(())
    }

    /// Takes what was typed. Its end, or a terminal that is gone, is the end of the input.
    fn take_typed(&mut self) -> io::Result<()> {
        let Some(terminal) = &self.ends.typed else {
            return Ok(());
        };
        self.pending.resize(CHUNK, 0);
        match rustix::io::read(terminal, &mut self.pending[..]) {
            Ok(length) => self.pending.truncate(length),
            Err(_) => self.pending.clear(),
        }
        if self.pending.is_empty() {
            (self.ends.typed, self.ends.stdin) = (None, None);
            return Ok(());
        }
        self.give()
    }

    /// Writes input while the pipe takes it; closes it at the end, or when nobody reads any more.
    fn feed(&mut self) -> io::Result<()> {
        if self.pending.is_empty()
            && let Some(source) = &mut self.io.stdin
        {
            self.pending.resize(CHUNK, 0);
            let length = read_retrying(source, &mut self.pending)?;
            self.pending.truncate(length);
        }
        if self.pending.is_empty() {
            self.ends.stdin = None;
            return Ok(());
        }
        self.give()
    }

    /// Writes what was read, as far as the pipe takes it.
    fn give(&mut self) -> io::Result<()> {
        let Some(pipe) = &self.ends.stdin else {
            return Ok(());
        };
        match rustix::io::write(pipe, &self.pending) {
            Ok(length) => drop(self.pending.drain(..length)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(Errno::PIPE) => {
                (self.ends.typed, self.ends.stdin) = (None, None);
                self.pending.clear();
            }
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }

    fn end(mut self) -> Result<(Exit, Usage), BackendError> {
        let (late, usage) = self.watch.end();
        match self.verdict.take() {
            Some(Verdict::Cancelled) => return Err(BackendError::Interrupted),
            Some(Verdict::Limit(mut hit)) => {
                if self.stuck {
                    hit.counters.insert("not_killed".to_owned(), 1);
                }
                return Ok((Exit::Limit(Box::new(hit)), usage));
            }
            None => {}
        }
        let (exit, spent) = last_words(&self.channel, late)?;
        Ok((exit, usage.then(spent)))
    }
}

/// How a command ended whose sandbox is dead, and what it used, in the sandbox's own last words; `late`: a limit
/// that was seen to be met meanwhile.
pub(super) fn last_words(
    channel: &OwnedFd,
    late: Option<LimitHit>,
) -> Result<(Exit, Usage), BackendError> {
    let hear = || {
        let received = wire::receive(channel).map_err(step("hear how the command ended"))?;
        Ok::<_, BackendError>(received.map(|(answer, _)| answer))
    };
    let (mut usage, mut answer) = (Usage::default(), hear()?);
    if let Some(Answer::Used(spent)) = answer {
        usage = spent.into();
        answer = hear()?;
    }
    // Even where the command made nothing of the loss of a process: what it made is not to be trusted.
    let exit = match (late, answer) {
        (_, Some(Answer::Failed(failure))) => return Err(failure.into()),
        (Some(hit), _) => Exit::Limit(Box::new(hit)),
        (None, Some(Answer::Code(code))) => Exit::Code(code),
        (None, Some(Answer::Signal(signal))) => Exit::Signal(signal),
        // First process and all: the kernel short of memory, or an operator.
        (None, _) => Exit::Killed,
    };
    Ok((exit, usage))
}

/// A sandbox that is dead when this is dropped.
pub(super) struct Living(pub(super) OwnedFd);

impl Drop for Living {
    fn drop(&mut self) {
        end_sandbox(self.0.as_fd());
    }
}

impl Drop for Running<'_, '_> {
    /// An error on the way must not leave the sandbox running, nor return before it is dead.
    fn drop(&mut self) {
        if !self.stuck {
            end_sandbox(self.sandbox.as_fd());
        }
    }
}

/// Kills a sandbox, if it still lives, and waits for its end.
pub(super) fn end_sandbox(sandbox: BorrowedFd<'_>) {
    if kill(sandbox).is_ok() {
        let mut handles = [PollFd::from_borrowed_fd(sandbox, PollFlags::IN)];
        while poll(&mut handles, None) == Err(Errno::INTR) {}
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Sandbox,
    Limits,
    Cancel,
    Out,
    Err,
    In,
    Typed,
}

pub(super) fn kill(sandbox: BorrowedFd<'_>) -> io::Result<()> {
    match rustix::process::pidfd_send_signal(sandbox, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn read_retrying(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
