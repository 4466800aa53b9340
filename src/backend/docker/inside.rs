//! The tool's own program as the first process of a container.
//!
//! It is what `native::sandbox` is there: it gives the command what the native backend
//! gives it, reaps, and ends with the command; when it ends, the kernel kills all that is
//! left. It also does tree work, on a volume. Namespaces, mounts and the cgroup are the
//! engine's; the system call filter comes on top of the engine's own.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::process::{DumpableBehavior, Pid, set_dumpable_behavior};

use super::streams::{Ends, Tool};
use super::wire::{self, Last, Order, TreeStep, VOLUME, Work};
use crate::backend::native::clock::Gate;
use crate::backend::native::filter::Filters;
use crate::backend::native::program::{Program, keep_nothing, to_foreground};
use crate::backend::native::sandbox::{clock, ended, hold_back, limits, own_folder};
use crate::backend::native::sys::{self, Fork};
use crate::backend::native::trees;
use crate::backend::native::wire::{Answer, Doing, Failure, Spent};
use crate::backend::{Command, Mount};

/// Where packages are kept while they are unpacked.
const PACKAGES: &str = "/packages";

/// Does what the order says. Never returns.
pub(super) fn run() -> ! {
    // Nobody inside may look into this process: it knows the nonce.
    let _refused = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    sys::restore(libc::SIGCHLD);
    let Ok(Some(order)) = order() else {
        sys::exit_now(1)
    };
    let before = memory_kills();
    let answer = match order.work {
        Work::Run {
            command,
            input,
            terminal,
            root_mode,
        } => run_command(&command, (input, terminal), root_mode),
        Work::Tree(steps) => tree(&steps).map(|()| Answer::Done),
    };
    let last = Last {
        answer: answer.unwrap_or_else(Answer::Failed),
        kills: memory_kills().saturating_sub(before),
        spent: Spent::by_children().ok(),
    };
    say(&order.nonce, &last);
    sys::exit_now(0)
}

/// The last words: one write, which a pipe takes whole, so that no other process gets between.
fn say(nonce: &str, last: &Last) {
    let last = serde_json::to_string(last).unwrap_or_default();
    let _gone = rustix::io::write(sys::inherited(2), format!("{nonce}{last}\n").as_bytes());
}

/// Processes that the kernel has killed for want of memory since it started.
fn memory_kills() -> u64 {
    let counters = fs_err::read_to_string("/proc/vmstat").unwrap_or_default();
    let line = counters
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "));
    line.and_then(|count| count.parse().ok()).unwrap_or(0)
}

fn order() -> io::Result<Option<Order>> {
    wire::read_frame(&mut Tool)?
        .map(|order| serde_json::from_slice(&order).map_err(io::Error::other))
        .transpose()
}

/// Input in frames, as one stream.
#[derive(Default)]
struct Input {
    frame: Vec<u8>,
    taken: usize,
    ended: bool,
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.frame.len() && !self.ended {
            match wire::read_frame(&mut Tool)? {
                Some(frame) => (self.frame, self.taken) = (frame, 0),
                None => sys::exit_now(1),
            }
            self.ended = self.frame.is_empty();
        }
        let length = buffer.len().min(self.frame.len() - self.taken);
        buffer[..length].copy_from_slice(&self.frame[self.taken..self.taken + length]);
        self.taken += length;
        Ok(length)
    }
}

fn tree(steps: &[TreeStep]) -> Result<(), Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root =
        rustix::fs::open(VOLUME, flags, Mode::empty()).doing(|| format!("open `{VOLUME}`"))?;
    let root = root.as_fd();
    rustix::process::umask(Mode::from_raw_mode(0o022));
    for step in steps {
        match step {
            TreeStep::Apply => trees::apply(root, &mut Input::default())?,
            TreeStep::ApplyOver => trees::apply_over(root, &mut Input::default())?,
            TreeStep::Unpack { packages } => {
                let packages =
                    receive(*packages).doing(|| "take the packages from the tool".to_owned())?;
                let threads =
                    std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
                trees::unpack(root, &packages, threads)?;
            }
            TreeStep::Normalise(rules) => trees::normalise(root, rules)?,
            TreeStep::Write => {
                let output = sys::inherited(1)
                    .try_clone_to_owned()
                    .doing(|| "open the output".to_owned())?;
                trees::write(root, &mut File::from(output))?;
            }
        }
    }
    Ok(())
}

/// Takes packages from the input into files.
fn receive(count: usize) -> io::Result<Vec<PathBuf>> {
    fs_err::create_dir_all(PACKAGES)?;
    let mut input = Input::default();
    let mut packages = Vec::new();
    for number in 0..count {
        let mut length = [0; 8];
        input.read_exact(&mut length)?;
        let path = Path::new(PACKAGES).join(format!("{number}.rpm"));
        let mut file = fs_err::File::create(&path)?;
        let length = u64::from_be_bytes(length);
        if io::copy(&mut (&mut input).take(length), &mut file)? != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        packages.push(path);
    }
    Ok(packages)
}

fn run_command(
    command: &Command,
    (input, terminal): (bool, Option<(u16, u16)>),
    root_mode: u32,
) -> Result<Answer, Failure> {
    root_folder(root_mode).doing(|| "set the mode of `/`".to_owned())?;
    for mount in &command.mounts {
        if let Mount::Memory { target, .. } = mount {
            everybody_s(target).doing(|| format!("set the mode of `{target}`"))?;
        }
    }
    if let Some(path) = &command.inner_root {
        kernel(path)?;
    }
    if let Some(account) = &command.account {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open("/", flags, Mode::empty()).doing(|| "open `/`".to_owned())?;
        account.settle(root.as_fd())?;
    }
    limits(command).doing(|| "set resource limits".to_owned())?;
    let settled = command.surroundings.settle();
    settled.doing(|| "settle what is seen of the machine".to_owned())?;
    let filters = Filters::compile().doing(|| "compile the system call filter".to_owned())?;
    let streams = match terminal {
        Some(size) => Ends::terminal(size, command.user.uid),
        None => Ends::pipes(input),
    };
    let streams = streams.doing(|| "make the streams".to_owned())?;
    let program =
        Program::new(command, terminal.is_some()).doing(|| "prepare the command".to_owned())?;
    filters
        .apply(command.skip_sync)
        .doing(|| "apply the system call filter".to_owned())?;
    let gate = Gate::new(command.surroundings.ahead).doing(clock)?;
    match sys::fork().doing(|| "start the command".to_owned())? {
        Fork::Child => {
            hold_back(gate.as_ref());
            program.run(streams.theirs())
        }
        Fork::Parent(pid) => {
            let lost = || Failure::step("start the command", io::Error::other("it has no id"));
            let command = Pid::from_raw(pid).ok_or_else(lost)?;
            if terminal.is_some() {
                to_foreground(command, streams.stdin.as_fd());
            }
            let followed = gate.map(|gate| gate.follow(command)).transpose();
            let followed = followed.doing(clock)?;
            keep_nothing().doing(|| "drop capabilities".to_owned())?;
            let following = streams.follow().doing(|| "follow the tool".to_owned())?;
            let ended = ended(command, followed);
            let ended = ended.doing(|| "wait for the command".to_owned());
            following.finish();
            ended
        }
    }
}

/// Gives the root folder its mode, where the engine has not.
fn root_folder(mode: u32) -> io::Result<()> {
    let found = rustix::fs::stat("/")?.st_mode & 0o7777;
    if found != mode {
        rustix::fs::chmod("/", Mode::from_raw_mode(mode))?;
    }
    Ok(())
}

/// Lets everybody write in a folder in memory: runc gives it the mode of the folder that it hides, whatever was asked for.
fn everybody_s(path: &str) -> io::Result<()> {
    // A link is not followed: who was here before may have made it.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::open(path, flags, Mode::empty())?;
    Ok(rustix::fs::fchmod(folder, Mode::from_raw_mode(0o1777))?)
}

/// The container's own `/proc` and `/dev`, seen in the root that the command enters by chroot.
fn kernel(path: &str) -> Result<(), Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root =
        rustix::fs::open(path, flags, Mode::empty()).doing(|| format!("open `{path}` inside"))?;
    for name in ["proc", "dev"] {
        use std::os::fd::AsRawFd as _;
        let place = own_folder(&root, name)?;
        let target = format!("/proc/self/fd/{}", place.as_raw_fd());
        rustix::mount::mount_bind_recursive(format!("/{name}"), target)
            .doing(|| format!("show `/{name}` in `{path}`"))?;
    }
    Ok(())
}
