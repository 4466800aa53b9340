//! The first process of a sandbox: makes its root, starts the command, reaps, and ends
//! with the command. When it ends, the kernel kills all that is left in its pid namespace.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, WaitOptions, getpid, getrlimit, pidfd_open, setrlimit,
};
use rustix::thread::UnshareFlags;

use super::clock::{Followed, Gate};
use super::filter::Filters;
use super::inside::{self, Kind};
use super::program::{self, Program};
use super::sys::{self, Fork};
use super::wire::{self, Answer, Doing, Failure, Spent, Start};
use super::{keeper, mounts, processes, terminal, zygote};
use crate::backend::Command;

/// Runs the sandbox. Files: three streams, the clone's mount, one mount per target. Never returns.
pub(super) fn run(
    start: &Start,
    channel: BorrowedFd<'_>,
    files: Vec<OwnedFd>,
    (filters, zygote): (&Filters, &OwnedFd),
) -> ! {
    let answer = match sandbox(start, channel, files, (filters, zygote)) {
        Ok(answer) => answer,
        Err(failure) => Answer::Failed(failure),
    };
    let _told = wire::send(channel, &answer, &[]);
    sys::exit_now(0)
}

fn sandbox(
    start: &Start,
    channel: BorrowedFd<'_>,
    files: Vec<OwnedFd>,
    (filters, zygote): (&Filters, &OwnedFd),
) -> Result<Answer, Failure> {
    keeper::end_with_parent(zygote.as_fd()).doing(|| "follow the zygote".to_owned())?;
    sys::restore(libc::SIGCHLD);
    // By itself, so that no answer of its own can come before.
    let own = pidfd_open(getpid(), PidfdFlags::empty())
        .doing(|| "open the sandbox's handle".to_owned())?;
    wire::send(channel, &Answer::Started, &[own.as_fd()])
        .doing(|| "report the sandbox".to_owned())?;
    if start.gated
        && wire::receive::<()>(channel)
            .doing(|| "wait for the limits".to_owned())?
            .is_none()
    {
        sys::exit_now(1);
    }
    // After the tool has moved this process: the cgroup it is in now becomes the root of what it sees.
    sys::unshare(UnshareFlags::NEWCGROUP).doing(|| "make a cgroup namespace".to_owned())?;
    let mut files = files.into_iter();
    let streams: Vec<OwnedFd> = files.by_ref().take(3).collect();
    let missing = || Failure::step("start a sandbox", io::Error::other("a file is missing"));
    let streams = <[OwnedFd; 3]>::try_from(streams).map_err(|_| missing())?;
    let clone = files.next().ok_or_else(missing)?;
    enter(&clone, start, files)?;
    settle(&start.command)?;
    let program = Program::new(&start.command, false).doing(|| "prepare the command".to_owned())?;
    // Away from the caller's terminal.
    rustix::process::setsid().doing(|| "make a session".to_owned())?;
    let streams = match start.terminal {
        Some(on) => own_terminal(start, channel, streams, on)?,
        None => streams,
    };
    let [stdin, stdout, stderr] = streams;
    // Before the fork: the command has it from its parent, and nothing from here on needs what it refuses.
    filters
        .apply(start.command.skip_sync)
        .doing(|| "apply the system call filter".to_owned())?;
    let gate = Gate::new(start.command.surroundings.ahead).doing(clock)?;
    match sys::fork().doing(|| "start the command".to_owned())? {
        Fork::Child => {
            if start.terminal.is_some() && terminal::control(stdin.as_fd()).is_err() {
                sys::exit_now(1);
            }
            hold_back(gate.as_ref());
            program.run([stdin.as_fd(), stdout.as_fd(), stderr.as_fd()])
        }
        Fork::Parent(pid) => {
            let command = Pid::from_raw(pid).ok_or_else(missing)?;
            let followed = gate.map(|gate| gate.follow(command)).transpose();
            let followed = followed.doing(clock)?;
            // Nothing but the channel stays open: no stream is held, and nothing can be taken from here.
            [stdin, stdout, stderr, clone]
                .into_iter()
                .for_each(std::mem::forget);
            sys::place(channel, 0).doing(|| "keep the channel".to_owned())?;
            sys::close_from(1).doing(|| "close all files".to_owned())?;
            program::keep_nothing().doing(|| "drop capabilities".to_owned())?;
            let answer = ended(command, followed).unwrap_or_else(|error| {
                Answer::Failed(Failure::step("wait for the command", error))
            });
            if let Ok(spent) = Spent::by_children() {
                let _told = wire::send(sys::inherited(0), &Answer::Used(spent), &[]);
            }
            let _told = wire::send(sys::inherited(0), &answer, &[]);
            sys::exit_now(0)
        }
    }
}

/// What goes wrong with a calendar that is ahead.
pub(in crate::backend) fn clock() -> String {
    "set the command's clock".to_owned()
}

/// Holds the new process back until it is followed, where it is to be.
pub(in crate::backend) fn hold_back(gate: Option<&Gate>) {
    if gate.is_some_and(|gate| gate.pass().is_err()) {
        sys::exit_now(1);
    }
}

/// Reaps whatever ends until the command does.
pub(in crate::backend) fn ended(command: Pid, followed: Option<Followed>) -> io::Result<Answer> {
    match followed {
        Some(followed) => followed.reap(),
        None => reap(command),
    }
}

/// Puts a new terminal in the place of those streams that are to be on it, once the tool has its other end.
fn own_terminal(
    start: &Start,
    channel: BorrowedFd<'_>,
    streams: [OwnedFd; 3],
    on: [bool; 3],
) -> Result<[OwnedFd; 3], Failure> {
    let doing = || "make a terminal".to_owned();
    let (outer, inner) = terminal::open(start.command.user).doing(doing)?;
    wire::send(channel, &Answer::Terminal, &[outer.as_fd()]).doing(doing)?;
    if wire::receive::<()>(channel).doing(doing)?.is_none() {
        sys::exit_now(1);
    }
    let mut placed = streams;
    for (stream, on) in placed.iter_mut().zip(on) {
        if on {
            *stream = inner.try_clone().doing(doing)?;
        }
    }
    Ok(placed)
}

/// Makes the mount namespace: the clone with `/proc`, `/dev` and what the caller wants to see.
fn enter(
    clone: &OwnedFd,
    start: &Start,
    given: impl Iterator<Item = OwnedFd>,
) -> Result<(), Failure> {
    let place = rustix::fs::open(zygote::ROOT, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .doing(|| "open the root's place".to_owned())?;
    mounts::attach(clone, place).doing(|| "attach the clone".to_owned())?;
    kernel(clone)?;
    for (target, mount) in start.targets.iter().zip(given) {
        let doing = || format!("mount on `{target}` inside");
        let facts = rustix::fs::fstat(&mount).doing(doing)?;
        let folder = rustix::fs::FileType::from_raw_mode(facts.st_mode).is_dir();
        let kind = if folder { Kind::Folder } else { Kind::File };
        let place = inside::ensure(clone.as_fd(), Path::new(target), kind).doing(doing)?;
        mounts::attach(mount, place).doing(doing)?;
    }
    if let Some(path) = &start.command.inner_root {
        let root = inside::ensure(clone.as_fd(), Path::new(path), Kind::Folder)
            .doing(|| format!("open `{path}` inside"))?;
        kernel(&root)?;
    }
    if let Some(account) = &start.command.account {
        account.settle(clone.as_fd())?;
    }
    mounts::enter(clone.as_fd()).doing(|| "enter the clone".to_owned())
}

/// Mounts `/proc` and `/dev` in a root.
fn kernel(root: &OwnedFd) -> Result<(), Failure> {
    let null = Path::new(zygote::DEVICES).join("null");
    mounts::proc(own_folder(root, "proc")?, null)
        .doing(|| "mount `/proc`: is this a container with a masked `/proc`?".to_owned())?;
    mounts::dev(own_folder(root, "dev")?, Path::new(zygote::DEVICES))
        .doing(|| "make `/dev`".to_owned())
}

/// A folder at the top of the tree which must not be a link: what is mounted there must be there and nowhere else.
pub(in crate::backend) fn own_folder(clone: &OwnedFd, name: &str) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(clone, name, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => {
            mounts::folder(clone, name).doing(|| format!("make `/{name}` inside"))
        }
        Err(rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => Err(Failure::Refused {
            what: format!("the tree's `/{name}`"),
            why: "it is not a folder".to_owned(),
        }),
        result => result.doing(|| format!("open `/{name}` inside")),
    }
}

/// What is set once for all processes inside.
fn settle(command: &Command) -> Result<(), Failure> {
    rustix::system::sethostname(command.surroundings.host_name.as_bytes())
        .doing(|| "set the host name".to_owned())?;
    if !command.network {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)
            .doing(|| "make a socket".to_owned())?;
        sys::loopback_up(socket.as_fd()).doing(|| "bring up the loopback interface".to_owned())?;
    }
    match sys::join_new_keyring() {
        // A kernel or container without keyrings has none to leak.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {}
        result => result.doing(|| "leave the session keyring".to_owned())?,
    }
    limits(command).doing(|| "set resource limits".to_owned())?;
    let settled = command.surroundings.settle();
    settled.doing(|| "settle what is seen of the machine".to_owned())
}

/// The same for every caller, as far as the caller's own limits allow.
pub(in crate::backend) fn limits(command: &Command) -> io::Result<()> {
    let lower = |resource, soft: u64| {
        let maximum = getrlimit(resource).maximum;
        let current = maximum.map_or(soft, |maximum| soft.min(maximum));
        setrlimit(
            resource,
            Rlimit {
                current: Some(current),
                maximum,
            },
        )
    };
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )?;
    lower(Resource::Nofile, 1024)?;
    lower(Resource::Stack, 8 << 20)?;
    if let Some(processes) = command.limits.processes {
        // Beside the cgroup's limit, and all there is without one: counted per user.
        setrlimit(
            Resource::Nproc,
            Rlimit {
                current: Some(processes),
                maximum: Some(processes),
            },
        )?;
    }
    Ok(())
}

/// The same for a command that nobody follows.
fn reap(command: Pid) -> io::Result<Answer> {
    loop {
        let waited = rustix::io::retry_on_intr(|| rustix::process::wait(WaitOptions::UNTRACED))?;
        let Some((pid, status)) = waited else {
            continue;
        };
        if pid != command {
            continue;
        }
        if let Some(answer) = Answer::of(status) {
            return Ok(answer);
        }
        if status.stopped() {
            processes::wake(pid)?;
        }
    }
}
