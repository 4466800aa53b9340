//! The keeper: our own binary, started once for each `Native`, with one thread.
//!
//! It lives in the store's user namespace and in a mount namespace of its own, as the
//! caller (inner 65536) with all capabilities over the mapped ids. It mounts overlays
//! and forks a worker for each piece of tree work. It ends when the tool's end of the
//! control socket closes, however the tool died, and everything that it started ends with it.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{DumpableBehavior, Pid, Signal, set_dumpable_behavior};
use rustix::thread::{CapabilitiesSecureBits, UnshareFlags};

use super::ids::{self, CALLER};
use super::stack::{self, Places};
use super::sys::{self, Fork};
use super::tracer::Tracer;
use super::wire::{self, Answer, Doing, Failure, Hello, Request, Run, Start};
use super::{cgroup, mounts, worker, zygote};
use crate::backend::{Mount, User};

/// What the keeper holds.
struct Keeper {
    control: OwnedFd,
    zygote: OwnedFd,
    /// Zygotes in whose sandboxes a user is the caller, by that user's ids: for folders that are shared writable.
    writers: RefCell<BTreeMap<(u32, u32), OwnedFd>>,
    places: Places,
    /// Deletes what is in the trash; started when there is something.
    undertaker: OnceCell<OwnedFd>,
    /// Cgroups that sandboxes were put into.
    cgroups: RefCell<Vec<PathBuf>>,
    /// Held open, and with it locked, as long as any process of this session lives.
    _lock: OwnedFd,
}

/// Runs the keeper on standard input's socket. Never returns.
pub(super) fn run() -> ! {
    let Ok(control) = sys::inherited(0).try_clone_to_owned() else {
        sys::exit_now(1)
    };
    let code = match prepare(&control) {
        Ok((zygote, lock, places)) => {
            Keeper {
                control,
                zygote,
                writers: RefCell::default(),
                places,
                undertaker: OnceCell::new(),
                cgroups: RefCell::default(),
                _lock: lock,
            }
            .serve();
            0
        }
        Err(failure) => {
            // With nobody left to tell, the exit code has to do.
            let _told = wire::send(&control, &Answer::Failed(failure), &[]);
            1
        }
    };
    sys::exit_now(code)
}

/// Makes the namespaces and the zygote; tells the tool when all is ready.
fn prepare(control: &OwnedFd) -> Result<(OwnedFd, OwnedFd, Places), Failure> {
    // Away from the terminal's foreground group: Ctrl-C is the tool's to handle.
    rustix::process::setpgid(None, None).doing(|| "leave the process group".to_owned())?;
    sys::unshare(UnshareFlags::NEWUSER).doing(|| "make a user namespace".to_owned())?;
    wire::send(control, &Answer::Unmapped, &[]).doing(|| "ask for ids".to_owned())?;
    let hello = wire::receive::<Hello>(control).doing(|| "receive the session".to_owned())?;
    let Some((hello, mut files)) = hello else {
        sys::exit_now(0)
    };
    let lock = files.pop().ok_or_else(|| {
        Failure::step(
            "receive the session's lock",
            io::Error::other("it is missing"),
        )
    })?;
    let null = fs_err::File::open("/dev/null").doing(|| "open `/dev/null`".to_owned())?;
    sys::place(null.file().as_fd(), 0).doing(|| "replace standard input".to_owned())?;
    // The ids for file access are switched often: capabilities must survive that.
    rustix::thread::set_capabilities_secure_bits(CapabilitiesSecureBits::NO_SETUID_FIXUP)
        .doing(|| "keep capabilities over changes of ids".to_owned())?;
    rustix::process::umask(rustix::fs::Mode::empty());
    sys::unshare(UnshareFlags::NEWNS).doing(|| "make a mount namespace".to_owned())?;
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .doing(|| "make the mounts private".to_owned())?;
    let zygote = start_zygote(None)?;
    sys::ignore(libc::SIGCHLD);
    let places = Places::new(&hello.session);
    if hello.new_boot {
        as_inner_root(|| {
            stack::forget_caches(&places)?;
            stack::try_overlay(&places)
        })?;
    }
    wire::send(control, &Answer::Done, &[]).doing(|| "report readiness".to_owned())?;
    Ok((zygote, lock, places))
}

/// A zygote of which no id inside is the caller's, unless it is that of a `writer`.
fn start_zygote(writer: Option<User>) -> Result<OwnedFd, Failure> {
    let (ours, theirs) = wire::pair().doing(|| "make a socket".to_owned())?;
    let own = own_handle()?;
    if writer.is_some() {
        // The ids for file access were changed since the start: the maps of a child would be host root's alone.
        let looked_into = set_dumpable_behavior(DumpableBehavior::Dumpable);
        looked_into.doing(|| "let the sandboxes' ids be mapped".to_owned())?;
    }
    let fork = sys::fork_into(libc::CLONE_NEWUSER | libc::CLONE_NEWNS);
    match fork.doing(|| "make the sandboxes' user namespace".to_owned())? {
        Fork::Child => {
            drop(ours);
            zygote::run(&theirs, &own)
        }
        Fork::Parent(pid) => {
            let pid = Pid::from_raw(pid).ok_or_else(|| {
                Failure::step("start the zygote", io::Error::other("no process id"))
            })?;
            let mapped = ids::map_inner(pid, writer);
            if writer.is_some() {
                set_dumpable_behavior(DumpableBehavior::NotDumpable)
                    .doing(|| "close the keeper again".to_owned())?;
            }
            mapped.doing(|| "map the sandboxes' ids".to_owned())?;
            wire::send(&ours, &(), &[]).doing(|| "start the zygote".to_owned())?;
            match wire::receive(&ours).doing(|| "start the zygote".to_owned())? {
                Some((Answer::Done, _)) => Ok(ours),
                Some((Answer::Failed(failure), _)) => Err(failure),
                _ => Err(Failure::step(
                    "start the zygote",
                    io::Error::other("it ended"),
                )),
            }
        }
    }
}

/// A user namespace with one owner's ids alone, kept by its handle; no process stays in it.
fn owner_ids(owner: (u32, u32), user: User) -> Result<OwnedFd, Failure> {
    let doing = || "make a user namespace for a shared folder".to_owned();
    let (ours, theirs) = wire::pair().doing(doing)?;
    let own = own_handle()?;
    match sys::fork_into(libc::CLONE_NEWUSER).doing(doing)? {
        Fork::Child => {
            drop(ours);
            let _followed = end_with_parent(own.as_fd());
            // Its own handle: nobody else may look into a process whose ids were changed.
            if let Ok(Some(_)) = wire::receive::<()>(&theirs)
                && let Ok(handle) = fs_err::File::open("/proc/self/ns/user")
            {
                let _told = wire::send(&theirs, &(), &[handle.as_fd()]);
            }
            sys::exit_now(0)
        }
        Fork::Parent(pid) => {
            drop(theirs);
            let lost = || Failure::step(doing(), io::Error::other("no process id"));
            let pid = Pid::from_raw(pid).ok_or_else(lost)?;
            ids::map_owner(pid, owner, user).doing(doing)?;
            wire::send(&ours, &(), &[]).doing(doing)?;
            match wire::receive::<()>(&ours).doing(doing)? {
                Some(((), mut files)) if files.len() == 1 => Ok(files.remove(0)),
                _ => Err(Failure::step(doing(), io::Error::other("it ended"))),
            }
        }
    }
}

/// A handle by which a child can see that this process is gone.
fn own_handle() -> Result<OwnedFd, Failure> {
    rustix::process::pidfd_open(
        rustix::process::getpid(),
        rustix::process::PidfdFlags::empty(),
    )
    .doing(|| "open the keeper's handle".to_owned())
}

/// Ends this process when its parent, whose handle is given, does.
pub(super) fn end_with_parent(parent: BorrowedFd<'_>) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have died before the line above.
    let mut handles = [PollFd::from_borrowed_fd(parent, PollFlags::IN)];
    if poll(
        &mut handles,
        Some(&Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        }),
    )? > 0
    {
        sys::exit_now(1);
    }
    Ok(())
}

/// Does file system work so that what it makes belongs to root inside.
pub(super) fn as_inner_root<T>(work: impl FnOnce() -> T) -> T {
    sys::set_file_ids(0, 0);
    let result = work();
    sys::set_file_ids(CALLER, CALLER);
    result
}

impl Keeper {
    fn serve(self) {
        self.requests();
        // The tool is gone, with or without a word. Its sandboxes end with the zygote, all else with this process.
        let _gone = self.end_zygotes();
        for folder in self.cgroups.take() {
            cgroup::remove(&folder);
        }
    }

    fn requests(&self) {
        while let Ok(Some((request, files))) = wire::receive::<Request>(&self.control) {
            let mut files = files.into_iter();
            let Some(channel) = files.next() else {
                continue;
            };
            self.handle(request, channel, files.collect());
        }
    }

    fn handle(&self, request: Request, channel: OwnedFd, files: Vec<OwnedFd>) {
        let answer = match request {
            Request::Run(run) => match self.start(*run, &channel, files) {
                // The zygote answers.
                Ok(()) => return,
                Err(failure) => Answer::Failed(failure),
            },
            Request::Rename { from, to } => self.quick(|| stack::rename(&self.places, &from, &to)),
            Request::Remove { root } => {
                self.quick(|| stack::discard(&self.places, &stack::root(&root)))
            }
            Request::Destroy { stack } => {
                self.quick(|| stack::discard(&self.places, &stack.folder))
            }
            Request::Freeze { stack, root } => {
                self.quick(|| stack::freeze(&self.places, &stack, &root))
            }
            Request::Ids { owner, user } => match owner_ids(owner, user) {
                Ok(ids) => {
                    let _told = wire::send(&channel, &Answer::Ids, &[ids.as_fd()]);
                    return;
                }
                Err(failure) => Answer::Failed(failure),
            },
            Request::Finish => self.finish(),
            long => {
                return self.work(Some(channel), move |places| {
                    worker::work(long, files, places)
                });
            }
        };
        // The tool may have given up waiting.
        let _told = wire::send(&channel, &answer, &[]);
    }

    /// Renames, done here and now; what they moved into the trash is deleted behind them.
    fn quick(&self, work: impl FnOnce() -> Result<Option<String>, Failure>) -> Answer {
        match as_inner_root(work) {
            Ok(None) => Answer::Done,
            Ok(Some(entry)) => {
                self.bury(entry);
                Answer::Done
            }
            Err(failure) => Answer::Failed(failure),
        }
    }

    /// Has a trash entry deleted behind the tool's back, by a process that stays for the next one.
    fn bury(&self, entry: String) {
        let undertaker = match self.undertaker.get() {
            Some(undertaker) => undertaker,
            None => match wire::pair() {
                Ok((ours, theirs)) => {
                    self.work(None, move |_| worker::bury(&theirs));
                    self.undertaker.get_or_init(|| ours)
                }
                // The next sweep will find it.
                Err(_) => return,
            },
        };
        if wire::send(undertaker, &entry, &[]).is_err() {
            self.work(None, move |_| worker::delete(&[entry]));
        }
    }

    /// Work that takes long or reads what strangers wrote: a child of its own, as root inside.
    fn work(
        &self,
        channel: Option<OwnedFd>,
        work: impl FnOnce(&Places) -> Result<Answer, Failure>,
    ) {
        let forked = own_handle()
            .and_then(|own| Ok((own, sys::fork().doing(|| "start a worker".to_owned())?)));
        let answer = match forked {
            Ok((_, Fork::Parent(_))) => return,
            Err(failure) => Answer::Failed(failure),
            Ok((keeper, Fork::Child)) => {
                let prepared =
                    worker::prepare(keeper.as_fd()).doing(|| "prepare a worker".to_owned());
                let answer = prepared
                    .and_then(|()| work(&self.places))
                    .unwrap_or_else(Answer::Failed);
                if let Some(channel) = channel {
                    let _told = wire::send(channel, &answer, &[]);
                }
                sys::exit_now(0);
            }
        };
        if let Some(channel) = channel {
            let _told = wire::send(channel, &answer, &[]);
        }
    }

    /// Mounts what one sandbox needs and hands it to the zygote.
    fn start(&self, run: Run, channel: &OwnedFd, files: Vec<OwnedFd>) -> Result<(), Failure> {
        let mut files = files.into_iter();
        let streams: Vec<OwnedFd> = files.by_ref().take(3).collect();
        let tracer: Vec<OwnedFd> = files
            .by_ref()
            .take(if run.traced { 3 } else { 0 })
            .collect();
        if !run.cgroup.is_empty() {
            let mut cgroups = self.cgroups.borrow_mut();
            cgroups.retain(|folder| folder.exists());
            cgroups.extend(run.cgroup);
        }
        let clone = as_inner_root(|| stack::mount(&self.places, &run.stack))?;
        if let Ok(files) = <[OwnedFd; 3]>::try_from(tracer) {
            let tracer = Tracer::new(files, &clone).doing(|| "prepare to trace".to_owned())?;
            self.work(None, move |_| tracer.run());
        }
        let mut given = Vec::new();
        let mut targets = Vec::new();
        let mut as_caller = false;
        for (mount, attached) in run.command.mounts.iter().zip(&run.attached) {
            let came = if *attached { files.next() } else { None };
            as_caller |= !attached && matches!(mount, Mount::Writable { .. });
            given.push(came.map_or_else(|| stack::source(mount), Ok)?);
            targets.push(stack::target(mount).to_owned());
        }
        if run.command.network {
            for file in ["/etc/resolv.conf", "/etc/hosts"]
                .into_iter()
                .filter(|file| Path::new(file).exists())
            {
                given.push(mounts::copy(file, true).doing(|| format!("share `{file}`"))?);
                targets.push(file.to_owned());
            }
        }
        let mut all: Vec<BorrowedFd<'_>> = vec![channel.as_fd()];
        all.extend(streams.iter().map(AsFd::as_fd));
        all.push(clone.as_fd());
        all.extend(given.iter().map(AsFd::as_fd));
        let start = Start {
            command: run.command,
            targets,
            gated: run.gated,
            terminal: run.terminal,
        };
        let gone = || "start a sandbox: the zygote is gone".to_owned();
        if !as_caller {
            return wire::send(&self.zygote, &start, &all).doing(gone);
        }
        let user = start.command.user;
        let mut writers = self.writers.borrow_mut();
        let zygote = match writers.entry((user.uid, user.gid)) {
            Entry::Occupied(zygote) => zygote.into_mut(),
            Entry::Vacant(place) => place.insert(start_zygote(Some(user))?),
        };
        wire::send(zygote, &start, &all).doing(gone)
    }

    /// Ends all zygotes, and so all sandboxes.
    fn end_zygotes(&self) -> rustix::io::Result<()> {
        for zygote in self.writers.take().into_values() {
            let _gone = rustix::net::shutdown(zygote, rustix::net::Shutdown::Both);
        }
        rustix::net::shutdown(&self.zygote, rustix::net::Shutdown::Both)
    }

    /// Waits for the deletions, so that nothing of this session is left.
    fn finish(&self) -> Answer {
        if self.end_zygotes().is_err() {
            return Answer::Done;
        }
        if let Some(undertaker) = self.undertaker.get() {
            // Fails only where it is gone already.
            let _gone = rustix::net::shutdown(undertaker, rustix::net::Shutdown::Write);
        }
        // With SIGCHLD ignored, waiting ends with ECHILD when the last child is gone.
        while rustix::process::wait(rustix::process::WaitOptions::empty()).is_ok() {}
        as_inner_root(|| stack::end_session(&self.places))
            .map_or_else(Answer::Failed, |()| Answer::Done)
    }
}
