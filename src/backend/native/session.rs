//! The tool's end of a session: starts the keeper, asks it, ends it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::fs::{FlockOperation, flock};
use rustix::process::Pid;

use super::check::check;
use super::ids::Ids;
use super::wire::{self, Answer, Hello, Request};
use super::{VERB, sweep};
use crate::backend::{BackendError, RootId};

/// Which start of the machine the store was used in last.
const BOOT: &str = "clones/.boot";

/// Counts sessions of this process.
static SESSIONS: AtomicU64 = AtomicU64::new(0);

/// A running keeper. Ends with this value, or with this process.
#[derive(Debug)]
pub(super) struct Session {
    control: Arc<OwnedFd>,
    keeper: Mutex<Child>,
    /// What makes the keeper ready, until somebody has waited for it.
    greeting: Mutex<Option<JoinHandle<Result<(), BackendError>>>>,
    name: String,
    store: PathBuf,
    numbers: AtomicU64,
    _lock: File,
}

fn step(doing: impl Into<String>) -> impl FnOnce(io::Error) -> BackendError {
    let doing = doing.into();
    move |source| BackendError::Step { doing, source }
}

impl Session {
    /// Starts a session in a store; `program` is our own binary.
    pub(super) fn start(store: &Path, program: &Path) -> Result<Self, BackendError> {
        let ids = Ids::of_caller().map_err(|problems| unavailable(&problems))?;
        let doing = || format!("prepare the store's folders in `{}`", store.display());
        fs_err::create_dir_all(store).map_err(step(doing()))?;
        let store = fs_err::canonicalize(store).map_err(step(doing()))?;
        for folder in ["roots", "clones", "trash"] {
            private_folder(&store.join(folder)).map_err(step(doing()))?;
        }
        let (name, lock, new_boot) = lock_session(&store).map_err(step(doing()))?;
        let (control, theirs) = wire::pair().map_err(step("make a socket"))?;
        let keeper = start_keeper(program, &store, theirs)
            .map_err(step(format!("start `{}`", program.display())))?;
        let control = Arc::new(control);
        let greeting = Greeting {
            control: Arc::clone(&control),
            keeper: pid_of(&keeper)?,
            ids,
            lock: lock.try_clone().map_err(step("copy a lock"))?,
            hello: Hello {
                session: name.clone(),
                new_boot: new_boot.is_some(),
            },
        };
        let greeting = std::thread::Builder::new()
            .name("greeting".to_owned())
            .spawn(|| greeting.greet())
            .map_err(step("start a thread"))?;
        let session = Self {
            control,
            keeper: Mutex::new(keeper),
            greeting: Mutex::new(Some(greeting)),
            name,
            store,
            numbers: AtomicU64::new(0),
            _lock: lock,
        };
        // What a keeper could do since the machine's start, the next one can: the tool goes on meanwhile.
        if let Some(new_boot) = new_boot {
            session.ready()?;
            new_boot.done(&session.store).map_err(step(doing()))?;
        }
        Ok(session)
    }

    /// Waits until the keeper can be asked. Who asks first hears what went wrong.
    fn ready(&self) -> Result<(), BackendError> {
        let mut greeting = self.greeting.lock().unwrap_or_else(PoisonError::into_inner);
        match greeting.take() {
            Some(greeting) => crate::threads::ended(greeting.join()),
            None => Ok(()),
        }
    }

    /// The store's root, canonical.
    pub(super) fn store(&self) -> &Path {
        &self.store
    }

    /// The session's name: process id, its start time, a number.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// A number that this session has not given before.
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// A name for a root that is being made.
    pub(super) fn scratch_id(&self) -> RootId {
        let (name, number) = (self.name(), self.number());
        RootId(format!("{}{name}.{number}", sweep::SCRATCH))
    }

    /// Sends a request; gives the socket on which the answer comes.
    pub(super) fn ask(
        &self,
        request: &Request,
        files: &[BorrowedFd<'_>],
    ) -> Result<OwnedFd, BackendError> {
        self.ready()?;
        let (channel, theirs) = wire::pair().map_err(step("make a socket"))?;
        let mut all = vec![theirs.as_fd()];
        all.extend_from_slice(files);
        wire::send(&*self.control, request, &all).map_err(step("reach the sandbox keeper"))?;
        Ok(channel)
    }

    /// Sends a request and waits for its answer.
    pub(super) fn call(
        &self,
        request: &Request,
        files: &[BorrowedFd<'_>],
    ) -> Result<Answer, BackendError> {
        answer(&self.ask(request, files)?)
    }
}

impl Drop for Session {
    /// Ends the keeper once it has deleted what this session threw away.
    fn drop(&mut self) {
        if let Err(error) = self.call(&Request::Finish, &[]) {
            tracing::warn!(%error, "the sandbox keeper did not end well");
        }
        // What ends the keeper; fails only where it is gone.
        let _gone = rustix::net::shutdown(&*self.control, rustix::net::Shutdown::Both);
        if let Ok(mut keeper) = self.keeper.lock() {
            let _status = keeper.wait();
        }
    }
}

/// What a keeper and its tool say to each other first.
struct Greeting {
    control: Arc<OwnedFd>,
    keeper: Pid,
    ids: Ids,
    lock: File,
    hello: Hello,
}

impl Greeting {
    fn greet(self) -> Result<(), BackendError> {
        match wire::receive(&*self.control).map_err(step("start the sandbox keeper"))? {
            Some((Answer::Unmapped, _)) => {}
            Some((Answer::Failed(failure), _)) => return Err(explain(failure.into())),
            _ => return Err(ended("start")),
        }
        self.ids
            .map(self.keeper)
            .map_err(step("give the store's user namespace its ids"))
            .map_err(explain)?;
        wire::send(&*self.control, &self.hello, &[self.lock.as_fd()])
            .map_err(step("start the sandbox keeper"))?;
        match wire::receive(&*self.control).map_err(step("start the sandbox keeper"))? {
            Some((Answer::Done, _)) => Ok(()),
            Some((Answer::Failed(failure), _)) => Err(explain(failure.into())),
            _ => Err(ended("start")),
        }
    }
}

fn pid_of(keeper: &Child) -> Result<Pid, BackendError> {
    i32::try_from(keeper.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| ended("start"))
}

/// Waits for the one answer on a request's socket.
pub(super) fn answer(channel: &OwnedFd) -> Result<Answer, BackendError> {
    match wire::receive(channel).map_err(step("hear from the sandbox keeper"))? {
        Some((Answer::Failed(failure), _)) => Err(failure.into()),
        Some((answer, _)) => Ok(answer),
        None => Err(ended("answer")),
    }
}

fn ended(doing: &str) -> BackendError {
    BackendError::Step {
        doing: doing.to_owned(),
        source: io::Error::other("the sandbox process was killed"),
    }
}

/// A failure at the start is the host's settings' fault, when one of them is known to be bad.
fn explain(error: BackendError) -> BackendError {
    let problems = check();
    if problems.is_empty() {
        error
    } else {
        unavailable(&problems)
    }
}

fn unavailable(problems: &[super::check::Problem]) -> BackendError {
    let join = |texts: Vec<&str>, by: &str| texts.join(by);
    BackendError::Unavailable {
        what: join(
            problems
                .iter()
                .map(|problem| problem.what.as_str())
                .collect(),
            "; ",
        ),
        remedy: join(
            problems
                .iter()
                .map(|problem| problem.remedy.as_str())
                .collect(),
            " && ",
        ),
    }
}

/// Trees hold programs with set-id bits of others: nobody else may reach them.
fn private_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// The machine has started anew since the store was used last: nobody else begins a session or sweeps before the
/// keeper has forgotten what does not outlast that.
struct NewBoot {
    boot: String,
    _gate: fs_err::File,
}

impl NewBoot {
    /// Writes down that it is forgotten.
    fn done(self, store: &Path) -> io::Result<()> {
        crate::files::write_atomic(&store.join(BOOT), self.boot.as_bytes())
    }
}

/// Makes the session's folder and locks it, while no sweep looks.
fn lock_session(store: &Path) -> io::Result<(String, File, Option<NewBoot>)> {
    let open = |path: PathBuf| {
        fs_err::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
    };
    let gate = open(store.join(sweep::GATE))?;
    flock(gate.file(), FlockOperation::LockExclusive)?;
    let name = format!(
        "{}-{}",
        process_name()?,
        SESSIONS.fetch_add(1, Ordering::Relaxed)
    );
    let folder = store.join("clones").join(&name);
    fs_err::create_dir(&folder)?;
    let lock = open(folder.join("lock"))?.into_file();
    flock(&lock, FlockOperation::LockExclusive)?;
    let boot = fs_err::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let new_boot = match fs_err::read_to_string(store.join(BOOT)) {
        Ok(before) if before == boot => None,
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => Some(NewBoot { boot, _gate: gate }),
    };
    Ok((name, lock, new_boot))
}

/// Process id and start time: together no other process has them until the machine starts anew.
pub(in crate::backend) fn process_name() -> io::Result<String> {
    let pid = rustix::process::getpid().as_raw_nonzero();
    Ok(format!("{pid}-{}", start_time(pid.get())?))
}

/// When a process started, in clock ticks since the machine did.
pub(super) fn start_time(pid: i32) -> io::Result<u64> {
    let text = fs_err::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may hold anything; the 20th field after it is the time.
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    fields
        .split_whitespace()
        .nth(19)
        .and_then(|field| field.parse().ok())
        .ok_or_else(|| io::Error::other(format!("`/proc/{pid}/stat` is short")))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the keeper is what everything else of the backend is started by"
)]
fn start_keeper(program: &Path, store: &Path, socket: OwnedFd) -> io::Result<Child> {
    std::process::Command::new(program)
        .arg(VERB)
        .current_dir(store)
        .env_clear()
        .stdin(Stdio::from(socket))
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
}
