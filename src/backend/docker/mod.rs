//! The docker backend: Docker Engine, or Podman by its Docker-compatible socket.
//!
//! A root is a canonical archive in the store (`roots`); the engine is given it as the
//! layer of an image (`images`), and a clone is a container of that image (`clone`), which
//! is started once for each command. The first process inside is our own program
//! (`inside`), which the engine has in a volume (`program`): it gives commands the same
//! ids, limits, system call filter and terminal as the native backend, with the same code.
//! Tree work is done by that program too, in a volume (`trees`), so that trees are the
//! same bit for bit.
//!
//! Invariants: everything in the engine is labelled with its store and its run; containers
//! have no network unless asked, no new privileges and no capability that native does not
//! give; a container ends when the tool does, because its standard input ends; what a dead
//! run left is found by the lock that a living one holds.
//!
//! Weaker than native: root inside is root outside, without most of its capabilities,
//! unless the engine maps ids itself. `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`
//! are the engine's own while a command runs.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bollard::models::SystemInfoCgroupVersionEnum;

use super::native::named;
use super::{Backend, BackendError, Capabilities, Clone, RootId, Writers, absent, missing};
use crate::digest::Digest;
use crate::tree::Normalise;

pub mod address;
mod changes;
mod clone;
mod collect;
pub mod connect;
mod container;
mod dial;
mod figures;
mod follow;
mod images;
mod inside;
mod program;
mod roots;
mod session;
mod share;
pub mod stream;
mod streams;
mod sweep;
mod terminal;
mod trace;
mod trees;
mod wire;

use clone::DockerClone;
use connect::Engine;
use roots::{Form, Roots};
use session::Session;
use wire::TreeStep;

pub use address::Address;
pub use connect::Brand;

/// Runs the program inside, when this process was started as it, and does not return then.
///
/// In `main`, before any thread and before arguments are read.
pub fn dispatch() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|verb| verb == wire::VERB) && arguments.next().is_none() {
        inside::run();
    }
}

/// The docker backend on one store.
#[derive(Debug)]
pub struct Docker {
    shared: Arc<Shared>,
    capabilities: Capabilities,
}

/// What clones share with their backend.
#[derive(Debug)]
struct Shared {
    runtime: tokio::runtime::Runtime,
    engine: Engine,
    roots: Roots,
    session: Session,
    program: PathBuf,
    writers: Writers,
    /// The volume with our own program, and the image of nothing, once they are there.
    prepared: Mutex<Option<(String, String)>>,
    /// Whether the engine finds this machine's files by their paths, once that was tried.
    sees_files: OnceLock<bool>,
    /// Held while an image is made, so that one is not made twice.
    making: Mutex<()>,
}

fn step(doing: impl Into<String>) -> impl FnOnce(io::Error) -> BackendError {
    let doing = doing.into();
    move |source| BackendError::Step { doing, source }
}

/// Refuses an engine that cannot run this program.
fn same_processor(engine: &Engine, theirs: &str) -> Result<(), BackendError> {
    let plain = |name: &str| match name {
        "amd64" => "x86_64".to_owned(),
        "arm64" => "aarch64".to_owned(),
        name => name.to_owned(),
    };
    let own = std::env::consts::ARCH;
    if theirs.is_empty() || plain(theirs) == own {
        return Ok(());
    }
    Err(BackendError::Unavailable {
        what: format!(
            "the engine at `{}` has `{}` processors, and this program is for `{own}`",
            engine.address,
            plain(theirs)
        ),
        remedy: format!("run pristine on that machine, or name an engine with `{own}` processors"),
    })
}

impl Docker {
    /// Opens the backend on a store's folder, in which it owns `docker/`, with the engine at `address`.
    pub fn open(store: &Path, address: &Address) -> Result<Self, BackendError> {
        Self::open_with(store, address, Path::new("/proc/self/exe"))
    }

    /// As `open`, when this process is not the `pristine` program itself: `program` is, and calls `dispatch`.
    pub fn open_with(
        store: &Path,
        address: &Address,
        program: &Path,
    ) -> Result<Self, BackendError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(step("start the runtime of the docker backend"))?;
        let engine = runtime.block_on(Engine::connect(address))?;
        let info = runtime
            .block_on(engine.api.info())
            .map_err(engine.failed("ask the engine what it can do"))?;
        same_processor(&engine, info.architecture.as_deref().unwrap_or_default())?;
        let folder = store.join("docker");
        let doing = || format!("prepare the store's folders in `{}`", folder.display());
        let session = Session::start(&folder).map_err(step(doing()))?;
        let roots = Roots::new(folder.join("roots")).map_err(step(doing()))?;
        let options = info.security_options.unwrap_or_default();
        let has = |name: &str| options.iter().any(|option| option.contains(name));
        let rootless = has("rootless") || engine.is_a_user_s_podman();
        // Podman says that it limits there, and does not.
        let unlimited = rootless && info.cgroup_version == Some(SystemInfoCgroupVersionEnum::_1);
        let writers = match (rootless, has("userns")) {
            (true, _) => Writers::Root,
            (false, true) => Writers::Nobody,
            (false, false) => Writers::Same,
        };
        let capabilities = Capabilities {
            limits: info.memory_limit != Some(false)
                && info.pids_limit != Some(false)
                && !unlimited,
            network: true,
            rootless,
            terminal: true,
            own_ids: has("userns") || rootless,
            on_store_disk: false,
            // Docker keeps `security.capability` alone of what containers change.
            attributes: engine.podman,
            writers,
        };
        Ok(Self {
            shared: Arc::new(Shared {
                runtime,
                engine,
                roots,
                session,
                program: program.to_owned(),
                writers,
                prepared: Mutex::new(None),
                sees_files: OnceLock::new(),
                making: Mutex::new(()),
            }),
            capabilities,
        })
    }
}

impl Shared {
    /// What is put on everything that is made in the engine.
    fn labels(&self) -> HashMap<String, String> {
        HashMap::from([
            (images::STORE.to_owned(), self.session.store().to_owned()),
            (session::LABEL.to_owned(), self.session.name().to_owned()),
        ])
    }

    /// The volume with our own program, and the image of nothing.
    fn prepared(&self) -> Result<(String, String), BackendError> {
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(prepared) = &*prepared {
            return Ok(prepared.clone());
        }
        let made = self.runtime.block_on(async {
            let image = images::empty(&self.engine).await?;
            let volume = program::provide(&self.engine, &self.program, &image).await?;
            Ok::<_, BackendError>((volume, image))
        })?;
        Ok(prepared.insert(made).clone())
    }

    /// What a root is; an error where there is none.
    fn form(&self, root: &RootId) -> Result<Form, BackendError> {
        named(root)?;
        let found = self.roots.find(root);
        found
            .map_err(step(format!("look for root `{}`", root.0)))?
            .ok_or_else(|| missing(root))
    }

    /// A root as archive: one that is a volume becomes one.
    fn facts(&self, root: &RootId) -> Result<roots::Facts, BackendError> {
        match self.form(root)? {
            Form::Layer(facts) => Ok(facts),
            Form::Volume(_) => self.archive(root, None, &mut io::sink()),
        }
    }

    /// The image of a stack of roots.
    fn image(&self, layers: &[RootId]) -> Result<String, BackendError> {
        let mut stack = Vec::new();
        for root in layers {
            stack.push((self.facts(root)?.diff_id, self.roots.layer(root)));
        }
        let _one = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        self.runtime
            .block_on(images::provide(&self.engine, self.session.store(), &stack))
    }

    /// Throws an archive away, and the images that are made of it, unless another root is the same.
    fn forget(&self, root: &RootId) -> Result<(), BackendError> {
        let doing = || step(format!("remove root `{}`", root.0));
        let form = self.roots.find(root).map_err(doing())?;
        self.roots.remove(root).map_err(doing())?;
        match form {
            Some(Form::Volume(volume)) => {
                self.runtime.block_on(sweep::volume(&self.engine, &volume))
            }
            Some(Form::Layer(facts)) => sweep::images(self, Some(&facts.diff_id)).map(drop),
            None => Ok(()),
        }
    }
}

impl Backend for Docker {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn scratch_id(&self) -> RootId {
        let session = &self.shared.session;
        RootId(format!(
            "{}{}.{}",
            session::SCRATCH,
            session.name(),
            session.number()
        ))
    }

    fn has(&self, root: &RootId) -> Result<bool, BackendError> {
        named(root)?;
        let found = self.shared.roots.find(root);
        Ok(found
            .map_err(step(format!("look for root `{}`", root.0)))?
            .is_some())
    }

    fn roots(&self) -> Result<Vec<RootId>, BackendError> {
        let ids = self.shared.roots.ids().map_err(step("list the roots"))?;
        let kept = |id: &RootId| !id.0.starts_with(session::SCRATCH);
        Ok(ids.into_iter().filter(kept).collect())
    }

    fn size(&self, root: &RootId) -> Result<u64, BackendError> {
        Ok(match self.shared.form(root)? {
            Form::Layer(facts) => facts.size,
            // Only the engine could tell, and only by reading all of it.
            Form::Volume(_) => 0,
        })
    }

    fn fingerprint(&self, root: &RootId) -> Result<Digest, BackendError> {
        let doing = || step(format!("look at root `{}`", root.0));
        let facts = match self.shared.form(root)? {
            Form::Layer(_) => {
                let path = self.shared.roots.layer(root);
                let found = fs_err::metadata(path).map_err(doing())?;
                let times = (
                    found.mtime(),
                    found.mtime_nsec(),
                    found.ctime(),
                    found.ctime_nsec(),
                );
                format!("{} {} {times:?}", found.ino(), found.len())
            }
            Form::Volume(name) => name,
        };
        Ok(Digest::of(facts.as_bytes()))
    }

    fn unpack(&self, root: &RootId, packages: &[PathBuf]) -> Result<(), BackendError> {
        absent(self, root)?;
        let mut input = trees::Packages::new(packages);
        let steps = vec![
            TreeStep::Unpack {
                packages: packages.len(),
            },
            TreeStep::Write,
        ];
        let draft = self
            .shared
            .tree(None, steps, vec![&mut input], &mut io::sink())?;
        draft
            .keep(&self.shared.roots, root)
            .map_err(step(format!("keep root `{}`", root.0)))
    }

    fn import(&self, root: &RootId, tar: &mut (dyn Read + Send)) -> Result<(), BackendError> {
        absent(self, root)?;
        let layer = self.shared.canonical(tar)?;
        layer
            .keep(&self.shared.roots, root)
            .map_err(step(format!("keep root `{}`", root.0)))
    }

    fn export(
        &self,
        root: &RootId,
        normalise: Option<&Normalise>,
        tar: &mut (dyn Write + Send),
    ) -> Result<(), BackendError> {
        match (self.shared.form(root)?, normalise) {
            (Form::Layer(_), None) => {
                let mut file = fs_err::File::open(self.shared.roots.layer(root))
                    .map_err(step(format!("read root `{}`", root.0)))?;
                io::copy(&mut file, tar)
                    .and_then(|_length| tar.flush())
                    .map_err(step("write the archive"))
            }
            _ => self.shared.archive(root, normalise, tar).map(drop),
        }
    }

    fn rename(&self, from: &RootId, to: &RootId) -> Result<(), BackendError> {
        named(from)?;
        named(to)?;
        let renamed = self.shared.roots.rename(from, to);
        if renamed.map_err(step(format!("rename root `{}` to `{}`", from.0, to.0)))? {
            return Ok(());
        }
        self.shared.forget(from)
    }

    fn remove(&self, root: &RootId) -> Result<(), BackendError> {
        named(root)?;
        self.shared.forget(root)
    }

    fn open(&self, layers: &[RootId]) -> Result<Box<dyn Clone>, BackendError> {
        for layer in layers {
            self.shared.form(layer)?;
        }
        Ok(Box::new(DockerClone::new(
            Arc::clone(&self.shared),
            layers.to_vec(),
        )))
    }

    fn sweep(&self) -> Result<Vec<String>, BackendError> {
        sweep::sweep(&self.shared)
    }
}
