//! A writable clone: commands run in it, archives go in and out.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use rustix::termios::isatty;

use super::cgroup::Cgroup;
use super::session::Session;
use super::supervise::{Ends, Living, Running, end_sandbox, last_words};
use super::terminal::{self, Ended, Joined};
use super::watch::{Disk, Watch};
use super::wire::{self, Answer, Request, Run, Stack};
use super::{Shared, mounts, processes, pump, streams, trace};
use crate::backend::{
    BackendError, Command, Exit, Io, Limits, Mount, RootId, Streams, Trace, Usage, User, Watched,
};
use crate::cancel::Cancel;

/// A clone of a stack of roots.
#[derive(Debug)]
pub(super) struct NativeClone {
    shared: Arc<Shared>,
    stack: Stack,
    /// What its commands used so far.
    used: Usage,
    ended: bool,
}

fn step(doing: &'static str) -> impl Fn(io::Error) -> BackendError {
    move |source| BackendError::Step {
        doing: doing.to_owned(),
        source,
    }
}

impl NativeClone {
    pub(super) fn new(shared: Arc<Shared>, layers: &[RootId]) -> Self {
        let folder = format!(
            "clones/{}/{}",
            shared.session.name(),
            shared.session.number()
        );
        Self {
            shared,
            stack: Stack {
                folder,
                layers: layers.to_vec(),
            },
            used: Usage::default(),
            ended: false,
        }
    }

    fn session(&self) -> &Session {
        &self.shared.session
    }

    /// Starts the sandbox; gives the answer's socket and the sandbox's handle.
    fn start(
        &self,
        command: &Command,
        streams: &[OwnedFd; 3],
        (terminal, traced): (Option<[bool; 3]>, Option<&trace::Wanted>),
        cgroup: Option<&Cgroup>,
    ) -> Result<(OwnedFd, OwnedFd), BackendError> {
        let gated = is_limited(&command.limits) || traced.is_some();
        let mut given = Vec::new();
        let mut attached = Vec::new();
        for mount in &command.mounts {
            let copy = match mount {
                Mount::Writable { source, .. } => self.writable(source, command.user)?,
                other => copy_as_root(other),
            };
            attached.push(copy.is_some());
            given.extend(copy);
        }
        let mut files: Vec<BorrowedFd<'_>> = streams.iter().map(AsFd::as_fd).collect();
        files.extend(traced.into_iter().flat_map(trace::Wanted::files));
        files.extend(given.iter().map(AsFd::as_fd));
        let mut command = command.clone();
        if cgroup.is_some() {
            // The limit for each user would count what others run at the same time.
            command.limits.processes = None;
        }
        let run = Run {
            stack: self.stack.clone(),
            attached,
            gated,
            terminal,
            traced: traced.is_some(),
            cgroup: cgroup.map(Cgroup::folders).unwrap_or_default(),
            command,
        };
        let channel = self.session().ask(&Request::Run(Box::new(run)), &files)?;
        match wire::receive(&channel).map_err(step("start the sandbox"))? {
            Some((Answer::Started, mut files)) if files.len() == 1 => {
                Ok((channel, files.remove(0)))
            }
            Some((Answer::Failed(failure), _)) => Err(failure.into()),
            _ => Err(step("start the sandbox")(io::Error::other(
                "its process was killed",
            ))),
        }
    }

    /// As host root: a host folder, writable, in which what is its owner's is the user's inside. Anybody else has one
    /// id that can stand for the user's: `None`, and the sandbox gets that.
    fn writable(&self, source: &Path, user: User) -> Result<Option<OwnedFd>, BackendError> {
        let doing = || format!("share `{}` for writing", source.display());
        let failed = |error: io::Error| BackendError::Step {
            doing: doing(),
            source: error,
        };
        let facts = fs_err::metadata(source).map_err(|error| failed(error.kind().into()))?;
        let root = rustix::process::geteuid().is_root();
        if !root && user == User::ROOT {
            return Err(BackendError::Refused {
                what: format!("`{}` as root's inside", source.display()),
                why: "without root outside, only another user inside can stand for its owner"
                    .to_owned(),
            });
        }
        if !root {
            return Ok(None);
        }
        let owner = (facts.uid(), facts.gid());
        let channel = self.session().ask(&Request::Ids { owner, user }, &[])?;
        let ids = match wire::receive(&channel).map_err(failed)? {
            Some((Answer::Ids, mut files)) if files.len() == 1 => files.remove(0),
            Some((Answer::Failed(failure), _)) => return Err(failure.into()),
            _ => return Err(failed(io::Error::other("the sandbox process was killed"))),
        };
        match mounts::copy_writable(source, Some(ids.as_fd())) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Err(BackendError::Unavailable {
                what: format!("the file system of `{}` cannot show its files as another user's", source.display()),
                remedy: "keep the folder on ext4, xfs, btrfs or tmpfs with Linux 6.3 or newer, or run pristine as its owner".to_owned(),
            }),
            result => result.map(Some).map_err(failed),
        }
    }

    /// A cgroup with the limits, where limits are asked for and a cgroup can be had.
    fn limit(&self, limits: &Limits) -> io::Result<Option<Cgroup>> {
        let cgroups = self.shared.cgroups.as_ref().filter(|_| is_limited(limits));
        let name = || format!("{}.{}", self.session().name(), self.session().number());
        cgroups
            .map(|cgroups| cgroups.make(&name(), limits))
            .transpose()
    }

    /// Bytes that it holds beside its roots.
    fn measure(&self) -> Result<u64, BackendError> {
        let request = self.stack_of(|stack| Request::Measure { stack });
        match self.session().call(&request, &[])? {
            Answer::Size(bytes) => Ok(bytes),
            other => Err(step("measure a clone")(io::Error::other(format!(
                "the worker answered {other:?}"
            )))),
        }
    }

    fn stack_of(&self, request: impl FnOnce(Stack) -> Request) -> Request {
        request(self.stack.clone())
    }
}

/// The clone's disk, for the watch.
struct Held<'a>(&'a NativeClone);

impl Disk for Held<'_> {
    fn free(&self) -> u64 {
        let facts = rustix::fs::statvfs(self.0.session().store());
        facts.map_or(u64::MAX, |facts| {
            facts.f_bavail.saturating_mul(facts.f_frsize)
        })
    }

    fn held(&self) -> Option<u64> {
        let held = self.0.measure();
        held.inspect_err(|error| tracing::debug!(%error, "a clone cannot be measured"))
            .ok()
    }
}

/// Whether the sandbox is to be put into a cgroup before its command starts.
fn is_limited(limits: &Limits) -> bool {
    limits.memory.is_some() || limits.processes.is_some() || limits.cores.is_some()
}

/// As host root alone: a copy of a mount wherever it lies, also below folders of users
/// that the keeper, which has no privileges there, cannot enter. It is attached nowhere.
fn copy_as_root(mount: &Mount) -> Option<OwnedFd> {
    match mount {
        Mount::Host { source, .. } if rustix::process::geteuid().is_root() => {
            mounts::copy(source, true).ok()
        }
        _ => None,
    }
}

/// The command's terminal, once the sandbox has made it, joined to the caller's; the command starts then.
fn join(channel: &OwnedFd) -> Result<Joined, BackendError> {
    let lost = || step("make a terminal")(io::Error::other("the sandbox was killed"));
    let inner = match wire::receive(channel).map_err(step("make a terminal"))? {
        Some((Answer::Terminal, mut files)) if files.len() == 1 => files.remove(0),
        Some((Answer::Failed(failure), _)) => return Err(failure.into()),
        _ => return Err(lost()),
    };
    let joined = Joined::new(inner).map_err(step("take the terminal"))?;
    wire::send(channel, &(), &[]).map_err(step("start the command"))?;
    Ok(joined)
}

/// Follows a command on a terminal of its own.
fn on_terminal(
    channel: &OwnedFd,
    sandbox: OwnedFd,
    cancel: &Cancel,
) -> Result<(Exit, Usage), BackendError> {
    let sandbox = Living(sandbox);
    let ended = join(channel)?
        .follow(sandbox.0.as_fd(), cancel)
        .map_err(step("follow the command"))?;
    match ended {
        Ended::Command => last_words(channel, None),
        Ended::Cut => Err(BackendError::Interrupted),
    }
}

impl NativeClone {
    /// Runs a command; where a tracer is `wanted`, it watches before the command starts.
    fn follow(
        &mut self,
        command: &Command,
        io: Io<'_>,
        wanted: Option<trace::Wanted>,
    ) -> Result<(Exit, Option<Result<Trace, String>>), BackendError> {
        if io.cancel.is_cancelled() {
            return Err(BackendError::Interrupted);
        }
        let own_terminal = command.streams == Streams::Inherited && terminal::is_there();
        let terminal = own_terminal.then(|| [true, true, isatty(rustix::stdio::stderr())]);
        let (theirs, ends) =
            streams::make(command, &io, terminal).map_err(step("make the streams"))?;
        let cgroup = self
            .limit(&command.limits)
            .map_err(step("set the limits"))?;
        let started = self.start(
            command,
            &theirs,
            (terminal, wanted.as_ref()),
            cgroup.as_ref(),
        )?;
        drop(theirs);
        let tracing = wanted.map(trace::Wanted::begun);
        let gated = is_limited(&command.limits) || tracing.is_some();
        if gated {
            let_go(&started, cgroup.as_ref())?;
        }
        let (exit, usage) =
            self.supervise(command, io, (started, terminal, ends), cgroup.as_ref())?;
        if exit == Exit::Killed && self.measure().is_err() {
            let why = "its sandbox was killed, and with it what had started it";
            return Err(step("follow the command")(io::Error::other(why)));
        }
        self.used = self.used.then(usage);
        Ok((exit, tracing.map(|tracing| tracing?.end())))
    }

    fn supervise(
        &self,
        command: &Command,
        io: Io<'_>,
        (started, terminal, ends): (Started, Option<[bool; 3]>, Ends),
        cgroup: Option<&Cgroup>,
    ) -> Result<(Exit, Usage), BackendError> {
        let (channel, sandbox) = started;
        let first = processes::id(&sandbox).unwrap_or_default();
        let signals = cgroup
            .map(|cgroup| cgroup.signals(&command.limits))
            .unwrap_or_default();
        let disk = Held(self);
        let watch = Watch::new(&command.limits, (cgroup, signals), &disk, first);
        let limits = (&command.limits, watch);
        if terminal.is_some() {
            return on_terminal(&channel, sandbox, io.cancel);
        }
        match command.streams {
            Streams::Piped => Running::new(channel, sandbox, ends, io, limits).wait(),
            Streams::Inherited => {
                let io = Io {
                    stdin: None,
                    output: &mut streams::show,
                    cancel: io.cancel,
                };
                Running::new(channel, sandbox, ends, io, limits).wait()
            }
        }
    }
}

/// A started sandbox: where it tells how it ended, and its handle.
type Started = (OwnedFd, OwnedFd);

/// Puts a sandbox that waits into its cgroup, where it has one, and lets it go on.
fn let_go((channel, sandbox): &Started, cgroup: Option<&Cgroup>) -> Result<(), BackendError> {
    let opened = cgroup.map_or(Ok(()), |cgroup| cgroup.add(sandbox));
    if let Err(error) = opened.and_then(|()| wire::send(channel, &(), &[])) {
        end_sandbox(sandbox.as_fd());
        return Err(step("set the limits")(error));
    }
    Ok(())
}

impl crate::backend::Clone for NativeClone {
    fn run(&mut self, command: &Command, io: Io<'_>) -> Result<Exit, BackendError> {
        self.follow(command, io, None).map(|(exit, _)| exit)
    }

    fn run_traced(
        &mut self,
        command: &Command,
        io: Io<'_>,
        watched: &Watched,
    ) -> Result<(Exit, Result<Trace, String>), BackendError> {
        match trace::Wanted::new(watched) {
            Ok(wanted) => {
                let (exit, traced) = self.follow(command, io, Some(wanted))?;
                Ok((exit, traced.unwrap_or_else(|| Ok(Trace::default()))))
            }
            Err(error) => {
                let why = format!("the kernel gives no events of files: {error}");
                Ok((self.run(command, io)?, Err(why)))
            }
        }
    }

    fn used(&mut self) -> Result<Usage, BackendError> {
        let held = Usage {
            disk: Some(self.measure()?),
            ..Usage::default()
        };
        Ok(self.used.then(held))
    }

    fn copy_in(&mut self, path: &str, tar: &mut (dyn Read + Send)) -> Result<(), BackendError> {
        let request = self.stack_of(|stack| Request::CopyIn {
            stack,
            path: path.to_owned(),
        });
        pump::into_worker(self.session(), &request, tar)
    }

    fn copy_out(&mut self, path: &str, tar: &mut (dyn Write + Send)) -> Result<(), BackendError> {
        let request = self.stack_of(|stack| Request::CopyOut {
            stack,
            path: path.to_owned(),
        });
        pump::out_of_worker(self.session(), &request, tar)
    }

    fn freeze(mut self: Box<Self>, root: &RootId) -> Result<(), BackendError> {
        super::named(root)?;
        let draft = if root.lasts() {
            self.session().scratch_id()
        } else {
            root.clone()
        };
        let request = self.stack_of(|stack| Request::Freeze {
            stack,
            root: draft.clone(),
        });
        self.session().call(&request, &[])?;
        self.ended = true;
        if root.lasts() {
            let to = root.clone();
            let request = Request::Settle { from: draft, to };
            self.session().call(&request, &[])?;
        }
        Ok(())
    }

    fn destroy(mut self: Box<Self>) -> Result<(), BackendError> {
        let request = self.stack_of(|stack| Request::Destroy { stack });
        self.session().call(&request, &[])?;
        self.ended = true;
        Ok(())
    }
}

impl Drop for NativeClone {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let request = self.stack_of(|stack| Request::Destroy { stack });
        if let Err(error) = self.session().call(&request, &[]) {
            tracing::warn!(%error, clone = self.stack.folder, "a clone was not removed; the next run will");
        }
    }
}
