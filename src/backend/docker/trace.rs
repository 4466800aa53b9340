//! What a container's command uses, heard from outside of it, where the engine works on this machine.
//!
//! As with the native backend the kernel tells: the folders of the container's root are watched by way of its first
//! process, before that has its order. Nothing is added to the container, and no right is given to it.

use rustix::fs::{Mode, OFlags};

use super::connect::Engine;
use crate::backend::native::trace::{Tracing, Wanted};
use crate::backend::{Trace, Watched};

/// A tracer, from what it is wanted for to what it saw.
pub(super) enum Beside {
    /// The container has not been started.
    Wanted(Wanted),
    /// It watches.
    AtWork(Tracing),
    /// In words why it sees nothing.
    Blind(String),
}

impl Beside {
    /// One that is asked for.
    pub(super) fn new(watched: &Watched) -> Self {
        match Wanted::new(watched) {
            Ok(wanted) => Self::Wanted(wanted),
            Err(error) => Self::Blind(format!("the kernel gives no events of files: {error}")),
        }
    }

    /// Begins to watch a container that has started, and whose first process waits for its order.
    pub(super) async fn begin(&mut self, engine: &Engine, id: &str) {
        let wanted = match std::mem::replace(self, Self::Blind(String::new())) {
            Self::Wanted(wanted) => wanted,
            other => return *self = other,
        };
        let begun = root(engine, id).await.and_then(|root| wanted.here(root));
        *self = begun.map_or_else(Self::Blind, Self::AtWork);
    }

    /// What was seen, once the container has ended.
    pub(super) fn seen(self) -> Result<Trace, String> {
        match self {
            Self::AtWork(tracing) => tracing.end(),
            Self::Wanted(_) => Err("its container was not started".to_owned()),
            Self::Blind(why) => Err(why),
        }
    }
}

/// The root of a container, by its first process. The engine's process ids may be those of another machine, or of
/// another namespace: the process must be one of that container.
async fn root(engine: &Engine, id: &str) -> Result<std::os::fd::OwnedFd, String> {
    let found = engine.api.inspect_container(id, None).await;
    let state = found.map_err(|error| error.to_string())?.state;
    let pid = state.and_then(|state| state.pid).filter(|pid| *pid > 0);
    let pid = pid.ok_or("the engine does not tell its container's process")?;
    let group = fs_err::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    if !group.contains(id) {
        return Err("the engine's processes are not to be seen here: it is on another machine, or in a container".to_owned());
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty()).map_err(|errno| {
        format!("the container's files cannot be reached from outside: {errno} (root can, or who started a rootless engine)")
    })
}
