//! The native backend: Linux namespaces and overlayfs, without a daemon, as any user.
//!
//! Four kinds of process, all of them our own binary:
//!
//! - the **tool** itself, which makes no mount and enters no namespace;
//! - one **keeper** for each `Native` (`keeper`), in the store's user namespace, which
//!   mounts overlays (attached nowhere) and forks a **worker** for each piece of tree work;
//! - the **zygote** (`zygote`), forked from the keeper into the sandboxes' user namespace,
//!   which has no id of the caller's; it forks the first process of each **sandbox**.
//!
//! Beside a sandbox whose command is traced there is a **tracer** (`tracer`), a worker of the keeper's.
//!
//! Limits that the kernel sets: `redirect_dir` and `metacopy` are off in user namespaces, so
//! renaming a folder of a lower layer fails with `EXDEV` (`mv` then copies), and changing a
//! large file's owner copies it. Roots are a cache of this boot, but those that last (`RootId::lasts`).
//!
//! Our own binary cannot be overwritten from inside (as in CVE-2019-5736): a sandbox may
//! come to read it, by way of `/proc/self/exe` as script interpreter, but its owner has no
//! id inside, so that nobody there can open it for writing; the first process, the only
//! one that maps it, is closed to all others.
//!
//! Invariants: nothing is mounted in the host's mount namespace; a sandbox's user
//! namespace maps subordinate ids only; every path in a tree is resolved by handle; when
//! the tool dies, however it dies, all others die with it: the keeper sees its socket
//! close, the rest have a death signal from their parent, each of which has one thread.

use std::io::{Read, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Backend, BackendError, Capabilities, Clone, RootId, Writers, absent, missing};
use crate::digest::Digest;
use crate::tree::{Mark, Normalise};

mod cgroup;
pub(in crate::backend) mod check;
#[cfg(target_arch = "x86_64")]
pub(in crate::backend) mod clock;
#[cfg(not(target_arch = "x86_64"))]
#[path = "no_clock.rs"]
pub(in crate::backend) mod clock;
mod clone;
mod fanotify;
pub(in crate::backend) mod filter;
mod ids;
pub(in crate::backend) mod inside;
mod keeper;
mod mounts;
mod processes;
pub(in crate::backend) mod program;
#[cfg(target_arch = "x86_64")]
mod ptrace;
mod pump;
pub(in crate::backend) mod sandbox;
pub(in crate::backend) mod session;
pub(in crate::backend) mod stack;
mod streams;
mod supervise;
mod sweep;
pub(in crate::backend) mod sys;
pub(in crate::backend) mod terminal;
pub(in crate::backend) mod trace;
mod tracer;
pub(in crate::backend) mod trees;
mod watch;
pub(in crate::backend) mod wire;
mod worker;
mod zygote;

pub use check::{Fact, Problem, check, host};

use cgroup::Cgroups;
use clone::NativeClone;
use session::Session;
use wire::{Answer, Request};

/// The hidden verb by which the tool runs itself as keeper.
const VERB: &str = "__keeper";

/// Runs the keeper, when this process was started as one, and does not return then.
///
/// The first thing in `main`: before any thread, before arguments are read.
pub fn dispatch() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|verb| verb == VERB) && arguments.next().is_none() {
        keeper::run();
    }
}

/// The native backend on one store.
#[derive(Debug)]
pub struct Native {
    shared: Arc<Shared>,
    capabilities: Capabilities,
}

/// What clones share with their backend.
#[derive(Debug)]
struct Shared {
    session: Session,
    cgroups: Option<Cgroups>,
}

impl Native {
    /// Opens the backend on a store's folder, in which it owns `roots/`, `clones/` and `trash/`.
    pub fn open(store_root: &Path) -> Result<Self, BackendError> {
        Self::open_with(store_root, Path::new("/proc/self/exe"))
    }

    /// As `open`, when this process is not the `pristine` program itself: `program` is, and calls `dispatch`.
    pub fn open_with(store_root: &Path, program: &Path) -> Result<Self, BackendError> {
        let session = Session::start(store_root, program)?;
        let cgroups = Cgroups::find();
        let capabilities = Capabilities {
            limits: cgroups.is_some(),
            network: true,
            rootless: true,
            terminal: true,
            own_ids: true,
            on_store_disk: true,
            attributes: true,
            writers: if rustix::process::geteuid().is_root() {
                Writers::Anyone
            } else {
                Writers::NotRoot
            },
        };
        Ok(Self {
            shared: Arc::new(Shared { session, cgroups }),
            capabilities,
        })
    }

    fn call(&self, request: &Request) -> Result<(), BackendError> {
        self.shared.session.call(request, &[]).map(drop)
    }

    /// Throws a half-made root away after a failure, whose error is the one that counts.
    fn or_discard<T>(
        &self,
        root: &RootId,
        result: Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        if result.is_err()
            && let Err(error) = self.remove(root)
        {
            tracing::warn!(%error, root = root.0, "a half-made root was not removed; the next run will");
        }
        result
    }
}

fn unexpected(doing: &str, root: &RootId, answer: &Answer) -> BackendError {
    BackendError::Step {
        doing: format!("{doing} root `{}`", root.0),
        source: std::io::Error::other(format!("the worker answered {answer:?}")),
    }
}

/// Refuses an id that cannot be a folder's name.
pub(in crate::backend) fn named(root: &RootId) -> Result<(), BackendError> {
    if stack::is_name(root) {
        return Ok(());
    }
    Err(BackendError::Refused {
        what: format!("root id `{}`", root.0.escape_default()),
        why: "ids are letters, digits and `-_.+`, at most 200, and do not begin with a dot"
            .to_owned(),
    })
}

impl Backend for Native {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn scratch_id(&self) -> RootId {
        self.shared.session.scratch_id()
    }

    fn has(&self, root: &RootId) -> Result<bool, BackendError> {
        named(root)?;
        let folder = self.shared.session.store().join(stack::root(root));
        folder.try_exists().map_err(|source| BackendError::Step {
            doing: format!("look for root `{}`", root.0),
            source,
        })
    }

    fn roots(&self) -> Result<Vec<RootId>, BackendError> {
        let folder = self.shared.session.store().join("roots");
        let names = sweep::names(folder)?;
        let kept = |name: &String| !name.starts_with(sweep::SCRATCH);
        Ok(names.into_iter().filter(kept).map(RootId).collect())
    }

    fn size(&self, root: &RootId) -> Result<u64, BackendError> {
        named(root)?;
        let request = Request::Size { root: root.clone() };
        match self.shared.session.call(&request, &[])? {
            Answer::Size(size) => Ok(size),
            other => Err(unexpected("measure", root, &other)),
        }
    }

    fn fingerprint(&self, root: &RootId) -> Result<Digest, BackendError> {
        named(root)?;
        let request = Request::Fingerprint { root: root.clone() };
        match self.shared.session.call(&request, &[])? {
            Answer::Digest(digest) => Ok(digest),
            other => Err(unexpected("look at", root, &other)),
        }
    }

    fn unpack(&self, root: &RootId, packages: &[PathBuf]) -> Result<(), BackendError> {
        absent(self, root)?;
        let store = self.shared.session.store();
        let packages = packages
            .iter()
            .map(|package| stack::reachable(package, store))
            .collect();
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        self.or_discard(
            root,
            self.call(&Request::Unpack {
                root: root.clone(),
                packages,
                threads,
            }),
        )
    }

    fn import(&self, root: &RootId, tar: &mut (dyn Read + Send)) -> Result<(), BackendError> {
        absent(self, root)?;
        let request = Request::Import { root: root.clone() };
        self.or_discard(root, pump::into_worker(&self.shared.session, &request, tar))
    }

    fn export(
        &self,
        root: &RootId,
        normalise: Option<&Normalise>,
        tar: &mut (dyn Write + Send),
    ) -> Result<(), BackendError> {
        named(root)?;
        let request = Request::Export {
            root: root.clone(),
            normalise: normalise.cloned(),
        };
        pump::out_of_worker(&self.shared.session, &request, tar)
    }

    fn digest_by(
        &self,
        root: &RootId,
        normalise: Option<&Normalise>,
        marks: &[Mark],
    ) -> Result<(Digest, Vec<Mark>), BackendError> {
        named(root)?;
        let request = Request::Digest {
            root: root.clone(),
            normalise: normalise.cloned(),
            marks: marks.to_vec(),
        };
        match self.shared.session.call(&request, &[])? {
            Answer::Digested(digest, marks) => Ok((digest, marks)),
            other => Err(unexpected("digest", root, &other)),
        }
    }

    fn rename(&self, from: &RootId, to: &RootId) -> Result<(), BackendError> {
        named(from)?;
        named(to)?;
        self.call(&Request::Rename {
            from: from.clone(),
            to: to.clone(),
        })
    }

    fn remove(&self, root: &RootId) -> Result<(), BackendError> {
        named(root)?;
        self.call(&Request::Remove { root: root.clone() })
    }

    fn open(&self, layers: &[RootId]) -> Result<Box<dyn Clone>, BackendError> {
        for layer in layers {
            if !self.has(layer)? {
                return Err(missing(layer));
            }
        }
        Ok(Box::new(NativeClone::new(Arc::clone(&self.shared), layers)))
    }

    fn sweep(&self) -> Result<Vec<String>, BackendError> {
        let session = &self.shared.session;
        let mut removed = Vec::new();
        if sweep::is_due(session.store(), session.name())?
            && let Answer::Swept(swept) = session.call(&Request::Sweep, &[])?
        {
            removed = swept;
        }
        removed.extend(self.shared.cgroups.iter().flat_map(Cgroups::sweep));
        Ok(removed)
    }
}
