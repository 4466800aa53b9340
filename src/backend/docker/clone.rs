//! A clone: a container of the image of its roots, started once for each command.
//!
//! What a container may see is fixed when it is made. A command that needs another one (other
//! mounts, network, terminal, limits) gets it on an image of what the commands before it left.

use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use bollard::models::{ContainerConfig, ContainerUpdateBody, Mount as EngineMount};
use bollard::query_parameters::CommitContainerOptionsBuilder;

use super::container::{self, Frame, empty_mount, program_mount, volume_mount};
use super::follow::{self, Ended, Talk};
use super::share::Copied;
use super::terminal::{self, Terminal};
use super::trace::Beside;
use super::wire::Work;
use super::{Shared, changes, collect, figures, images, step, sweep};
use crate::backend::native::wire::Answer;
use crate::backend::{
    BackendError, Command, Exit, Io, Limits, Mount, RootId, Stream, Streams, Surroundings, Trace,
    Usage, User, Watched, Writers,
};

/// A clone of a stack of roots.
#[derive(Debug)]
pub(super) struct DockerClone {
    pub(super) shared: Arc<Shared>,
    pub(super) layers: Vec<RootId>,
    /// Images of what earlier containers of this clone left, oldest first.
    pub(super) images: Vec<String>,
    pub(super) container: Option<Made>,
    /// Folders that were copied to the engine for its commands.
    copied: Vec<Copied>,
    /// What its commands used so far.
    used: Usage,
    /// Bytes that earlier containers of it held.
    held: u64,
}

/// The clone's container.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) id: String,
    shape: Shape,
    limits: Limits,
}

/// What is fixed when a container is made.
#[derive(Debug, Clone, Default, PartialEq)]
struct Shape {
    host_name: String,
    mounts: Vec<EngineMount>,
    memory: Vec<(String, u64)>,
    network: bool,
    mounting: bool,
}

impl DockerClone {
    pub(super) fn new(shared: Arc<Shared>, layers: Vec<RootId>) -> Self {
        Self {
            shared,
            layers,
            images: Vec::new(),
            container: None,
            copied: Vec::new(),
            used: Usage::default(),
            held: 0,
        }
    }

    /// The container, of any shape.
    pub(super) fn any_container(&mut self) -> Result<String, BackendError> {
        if let Some(made) = &self.container {
            return Ok(made.id.clone());
        }
        let shape = Shape {
            host_name: Surroundings::default().host_name,
            ..Shape::default()
        };
        self.container(shape, &Limits::default())
    }

    /// A container of this shape.
    fn container(&mut self, shape: Shape, limits: &Limits) -> Result<String, BackendError> {
        if let Some(made) = &mut self.container
            && made.shape == shape
            && made.limit(&self.shared, limits)?
        {
            return Ok(made.id.clone());
        }
        let image = match &self.container {
            Some(_) => self.commit()?,
            None => self.shared.image(&self.layers)?,
        };
        let (program, _) = self.shared.prepared()?;
        let mut mounts = vec![program_mount(&program)];
        mounts.extend(shape.mounts.iter().cloned());
        let frame = Frame {
            image,
            host_name: shape.host_name.clone(),
            labels: self.shared.labels(),
            mounts,
            memory: shape.memory.clone(),
            network: shape.network,
            mounting: shape.mounting,
            limits: limits.clone(),
        };
        let id = self
            .shared
            .runtime
            .block_on(container::create(&self.shared.engine, frame))?;
        self.container = Some(Made {
            id: id.clone(),
            shape,
            limits: limits.clone(),
        });
        Ok(id)
    }

    /// Keeps what the container holds as an image; the container goes.
    pub(super) fn commit(&mut self) -> Result<String, BackendError> {
        let Some(made) = &self.container else {
            return self.shared.image(&self.layers);
        };
        let engine = &self.shared.engine;
        let tag = format!(
            "{}.{}",
            self.shared.session.name(),
            self.shared.session.number()
        );
        let repository = format!("localhost/pristine/{}", self.shared.session.store());
        let options = CommitContainerOptionsBuilder::default()
            .container(&made.id)
            .repo(&repository)
            .tag(&tag)
            .pause(false)
            .build();
        let config = ContainerConfig {
            labels: Some(self.shared.labels()),
            ..ContainerConfig::default()
        };
        let held = self.shared.runtime.block_on(async {
            let held = figures::disk(engine, &made.id).await;
            let kept = engine.api.commit_container(options, config).await;
            kept.map_err(engine.failed("keep what a container holds"))?;
            container::remove(engine, &made.id).await?;
            Ok::<_, BackendError>(held)
        })?;
        self.container = None;
        self.held += held.unwrap_or(0);
        let image = format!("{repository}:{tag}");
        self.images.push(image.clone());
        Ok(image)
    }

    /// Removes the container and the images.
    pub(super) fn clear(&mut self) -> Result<(), BackendError> {
        let shared = Arc::clone(&self.shared);
        shared.runtime.block_on(async {
            if let Some(made) = &self.container {
                container::remove(&shared.engine, &made.id).await?;
                self.container = None;
            }
            while let Some(image) = self.images.last() {
                images::remove(&shared.engine, image).await?;
                self.images.pop();
            }
            while let Some(copied) = self.copied.last() {
                sweep::volume(&shared.engine, &copied.volume).await?;
                self.copied.pop();
            }
            Ok(())
        })
    }

    fn shape(&mut self, command: &Command) -> Result<Shape, BackendError> {
        let (mut mounts, mut memory) = (Vec::new(), Vec::new());
        for mount in &command.mounts {
            mounts.push(match mount {
                Mount::Memory { target, size } => {
                    memory.push((target.clone(), *size));
                    continue;
                }
                Mount::Host { source, target } => {
                    self.shared.show(source, target, &mut self.copied)?
                }
                Mount::Writable { source, target } => {
                    self.check_writer(source, command.user)?;
                    self.shared.share(source, target)?
                }
                Mount::Empty { target } => empty_mount(target),
                Mount::Root { root, target } => {
                    volume_mount(&self.shared.volume(root)?, target, false)
                }
            });
        }
        Ok(Shape {
            host_name: command.surroundings.host_name.clone(),
            mounts,
            memory,
            network: command.network,
            mounting: command.inner_root.is_some(),
        })
    }

    /// A command must be the folder's owner, where it writes.
    fn check_writer(&self, source: &Path, user: User) -> Result<(), BackendError> {
        let facts = fs_err::metadata(source)
            .map_err(|error| io::Error::from(error.kind()))
            .map_err(step(format!("share `{}` for writing", source.display())))?;
        let fits = match self.shared.writers {
            Writers::Anyone => true,
            Writers::NotRoot => user != User::ROOT,
            Writers::Same => (user.uid, user.gid) == (facts.uid(), facts.gid()),
            Writers::Root => user == User::ROOT,
            Writers::Nobody => false,
        };
        if fits {
            return Ok(());
        }
        Err(BackendError::Refused {
            what: format!(
                "`{}` for writing by user {} inside",
                source.display(),
                user.uid
            ),
            why: "with this engine its files would not be their owner's afterwards".to_owned(),
        })
    }

    /// The kernel's file systems must be mounted where they belong, and nowhere else.
    fn check_kernel(&self) -> Result<(), BackendError> {
        for name in ["proc", "dev"] {
            for layer in self.layers.iter().rev() {
                match self.shared.facts(layer)?.kernel.get(name) {
                    Some(true) => break,
                    Some(false) => {
                        return Err(BackendError::Refused {
                            what: format!("the tree's `/{name}`"),
                            why: "it is not a folder".to_owned(),
                        });
                    }
                    None => {}
                }
            }
        }
        Ok(())
    }
}

impl Made {
    /// Whether the container has these limits, or can be given them.
    fn limit(&mut self, shared: &Shared, limits: &Limits) -> Result<bool, BackendError> {
        let kept = |limits: &Limits| (limits.memory, limits.swap, limits.processes, limits.cores);
        let (had, wanted) = (kept(&self.limits), kept(limits));
        if had == wanted {
            return Ok(true);
        }
        // Engines do not take limits away again, and Podman's socket does not give any.
        if had != kept(&Limits::default()) || shared.engine.podman {
            return Ok(false);
        }
        let number =
            |value: Option<u64>| value.map(|value| i64::try_from(value).unwrap_or(i64::MAX));
        let update = ContainerUpdateBody {
            memory: number(limits.memory),
            memory_swap: number(container::memory_and_swap(limits)),
            nano_cpus: limits.cores.map(container::nano_cpus),
            pids_limit: number(limits.processes),
            ..ContainerUpdateBody::default()
        };
        let engine = &shared.engine;
        shared
            .runtime
            .block_on(engine.api.update_container(&self.id, update))
            .map_err(engine.failed("set the limits"))?;
        self.limits = limits.clone();
        Ok(true)
    }
}

impl DockerClone {
    /// Runs a command; where somebody is to watch it, from before it has its order.
    fn follow(
        &mut self,
        command: &Command,
        io: Io<'_>,
        beside: Option<&mut Beside>,
    ) -> Result<Exit, BackendError> {
        if io.cancel.is_cancelled() {
            return Err(BackendError::Interrupted);
        }
        self.check_kernel()?;
        let inherited = command.streams == Streams::Inherited;
        let terminal = inherited && terminal::is_there();
        let shape = self.shape(command)?;
        let id = self.container(shape, &command.limits)?;
        let terminal = terminal
            .then(Terminal::take)
            .transpose()
            .map_err(step("take the terminal"))?;
        let own_output = io.output;
        let mut output = |stream, bytes: &[u8]| match (inherited, stream) {
            (true, Stream::Out) => io::stdout().write_all(bytes),
            (true, Stream::Err) => io::stderr().write_all(bytes),
            (false, stream) => {
                own_output(stream, bytes);
                Ok(())
            }
        };
        let mut own_input = io::stdin();
        let input = match (inherited, io.stdin) {
            (true, _) => Some(&mut own_input as &mut (dyn Read + Send)),
            (false, input) => input.map(|input| input as &mut (dyn Read + Send)),
        };
        let work = Work::Run {
            command: Box::new(command.clone()),
            input: input.is_some(),
            terminal: terminal.is_some().then(terminal::size),
            root_mode: changes::top_of(self)?.2,
        };
        let talk = Talk {
            inputs: input.into_iter().collect(),
            output: &mut output,
            cancel: Some(io.cancel),
            limits: &command.limits,
            held: self.held,
            terminal,
            beside,
        };
        let shared = &self.shared;
        let ended = shared
            .runtime
            .block_on(follow::run(&shared.engine, &id, work, talk))?;
        match ended {
            Ended::Limit(limit) => Ok(Exit::Limit(Box::new(limit))),
            Ended::Answered(Answer::Failed(failure), _) => Err(self.shared.engine.inside(failure)),
            Ended::Answered(answer, usage) => {
                self.used = self.used.then(usage);
                exit(&answer)
            }
        }
    }
}

impl crate::backend::Clone for DockerClone {
    fn run(&mut self, command: &Command, io: Io<'_>) -> Result<Exit, BackendError> {
        self.follow(command, io, None)
    }

    fn run_traced(
        &mut self,
        command: &Command,
        io: Io<'_>,
        watched: &Watched,
    ) -> Result<(Exit, Result<Trace, String>), BackendError> {
        let mut beside = Beside::new(watched);
        let exit = self.follow(command, io, Some(&mut beside))?;
        Ok((exit, beside.seen()))
    }

    fn used(&mut self) -> Result<Usage, BackendError> {
        let Shared {
            runtime, engine, ..
        } = &*self.shared;
        let container = self.container.as_ref();
        let now = container.and_then(|made| runtime.block_on(figures::disk(engine, &made.id)));
        self.used.disk = now.map(|now| self.held + now).or(self.used.disk);
        Ok(self.used)
    }

    fn copy_in(&mut self, path: &str, tar: &mut (dyn Read + Send)) -> Result<(), BackendError> {
        collect::copy_in(self, path, tar)
    }

    fn copy_out(&mut self, path: &str, tar: &mut (dyn Write + Send)) -> Result<(), BackendError> {
        collect::copy_out(self, path, tar)
    }

    fn freeze(mut self: Box<Self>, root: &RootId) -> Result<(), BackendError> {
        super::super::native::named(root)?;
        let layer = changes::changes(&mut self)?;
        layer
            .keep(&self.shared.roots, root)
            .map_err(step(format!("keep the clone as root `{}`", root.0)))?;
        self.clear()
    }

    fn destroy(mut self: Box<Self>) -> Result<(), BackendError> {
        self.clear()
    }
}

/// How a command ended, by what the program inside says.
fn exit(answer: &Answer) -> Result<Exit, BackendError> {
    match answer {
        Answer::Code(code) => Ok(Exit::Code(*code)),
        Answer::Signal(signal) => Ok(Exit::Signal(*signal)),
        _ => Err(step("follow the command")(io::Error::other(
            "the program inside gave an answer to another question",
        ))),
    }
}

impl Drop for DockerClone {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            tracing::warn!(%error, "a clone was not removed; the next run will");
        }
    }
}
