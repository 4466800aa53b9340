//! Tree work: done by our own program in a container, on a volume, so that it is the same
//! code, with the same rights, as in the native backend.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use super::container::{self, Frame, program_mount, volume_mount};
use super::follow::{self, Ended, Talk};
use super::roots::{Draft, Facts, Finished, Form, empty_archive};
use super::wire::{TreeStep, VOLUME, Work};
use super::{Shared, step};
use crate::backend::native::wire::Answer;
use crate::backend::{BackendError, Limits, RootId, Stream, Surroundings};
use crate::tree::{Normalise, TreeError};

impl Shared {
    /// Does steps on the tree in a volume (an unnamed, empty one where none is named); the archive
    /// that they write is kept, and written to `copy` too.
    pub(super) fn tree(
        &self,
        volume: Option<&str>,
        steps: Vec<TreeStep>,
        inputs: Vec<&mut (dyn Read + Send)>,
        copy: &mut (dyn Write + Send),
    ) -> Result<Finished, BackendError> {
        let mut draft = self.draft()?;
        let mut said = Vec::new();
        let mut output = |stream, bytes: &[u8]| match stream {
            Stream::Out => draft.write_all(bytes).and_then(|()| copy.write_all(bytes)),
            Stream::Err => said.write_all(bytes),
        };
        let limits = Limits::default();
        let talk = Talk {
            inputs,
            output: &mut output,
            cancel: None,
            limits: &limits,
            held: 0,
            terminal: None,
            beside: None,
        };
        self.work(volume, steps, talk)?;
        if !said.is_empty() {
            tracing::debug!(said = %String::from_utf8_lossy(&said), "tree work");
        }
        copy.flush().map_err(step("write the archive"))?;
        finish(draft)
    }

    /// Runs steps on a volume.
    pub(super) fn work(
        &self,
        volume: Option<&str>,
        steps: Vec<TreeStep>,
        talk: Talk<'_, '_>,
    ) -> Result<(), BackendError> {
        let (program, image) = self.prepared()?;
        let frame = Frame {
            image,
            host_name: Surroundings::default().host_name,
            labels: self.labels(),
            mounts: vec![
                program_mount(&program),
                volume_mount(volume.unwrap_or_default(), VOLUME, false),
            ],
            memory: Vec::new(),
            network: false,
            mounting: false,
            limits: Limits::default(),
        };
        let ended = self.runtime.block_on(async {
            let id = container::create(&self.engine, frame).await?;
            let ended = follow::run(&self.engine, &id, Work::Tree(steps), talk).await;
            container::remove(&self.engine, &id).await?;
            ended
        })?;
        match ended {
            Ended::Answered(Answer::Done, _) => Ok(()),
            Ended::Answered(Answer::Failed(failure), _) => Err(self.engine.inside(failure)),
            Ended::Answered(..) | Ended::Limit(_) => Err(step("work on a tree")(io::Error::other(
                "the program inside gave another answer than was asked for",
            ))),
        }
    }

    pub(super) fn draft(&self) -> Result<Draft, BackendError> {
        self.roots.draft().map_err(step("write in the store"))
    }

    /// Takes an archive of anybody; what is not canonical is made so.
    pub(super) fn canonical(&self, tar: &mut (dyn Read + Send)) -> Result<Finished, BackendError> {
        let mut draft = self.draft()?;
        let length = copy(tar, &mut draft)?;
        if length == 0 {
            let archive = empty_archive().map_err(step("write an archive"))?;
            draft
                .write_all(&archive)
                .map_err(step("write in the store"))?;
        }
        let given = finish(draft)?;
        if given.canonical {
            return Ok(given);
        }
        let mut file = given.open().map_err(step("read the archive"))?;
        let steps = vec![TreeStep::Apply, TreeStep::Write];
        self.tree(None, steps, vec![&mut file], &mut io::sink())
    }

    /// Archives a root, after `normalise` where given, and keeps it as that archive; a volume goes.
    pub(super) fn archive(
        &self,
        root: &RootId,
        normalise: Option<&Normalise>,
        copy: &mut (dyn Write + Send),
    ) -> Result<Facts, BackendError> {
        let rules = normalise.cloned().map(TreeStep::Normalise);
        let rest = rules.into_iter().chain([TreeStep::Write]);
        let form = self.form(root)?;
        let made = match &form {
            Form::Volume(volume) => self.tree(Some(volume), rest.collect(), Vec::new(), copy)?,
            Form::Layer(_) => {
                let mut file = fs_err::File::open(self.roots.layer(root))
                    .map_err(step(format!("read root `{}`", root.0)))?;
                let steps = std::iter::once(TreeStep::Apply).chain(rest).collect();
                self.tree(None, steps, vec![&mut file], copy)?
            }
        };
        let facts = made.facts.clone();
        made.keep(&self.roots, root)
            .map_err(step(format!("keep root `{}`", root.0)))?;
        if let Form::Volume(volume) = form {
            self.runtime
                .block_on(super::sweep::volume(&self.engine, &volume))?;
        }
        Ok(facts)
    }

    /// A root as volume, for commands that write to it.
    pub(super) fn volume(&self, root: &RootId) -> Result<String, BackendError> {
        let facts = match self.form(root)? {
            Form::Volume(volume) => return Ok(volume),
            Form::Layer(facts) => facts,
        };
        let name = format!(
            "pristine-{}-{}.{}",
            self.session.store(),
            self.session.name(),
            self.session.number()
        );
        let request = bollard::models::VolumeCreateRequest {
            name: Some(name.clone()),
            labels: Some(self.labels()),
            ..bollard::models::VolumeCreateRequest::default()
        };
        self.runtime
            .block_on(self.engine.api.create_volume(request))
            .map_err(self.engine.failed("make a volume"))?;
        if !facts.empty {
            let mut file = fs_err::File::open(self.roots.layer(root))
                .map_err(step(format!("read root `{}`", root.0)))?;
            let limits = Limits::default();
            let talk = Talk {
                inputs: vec![&mut file],
                output: &mut |_, _| Ok(()),
                cancel: None,
                limits: &limits,
                held: 0,
                terminal: None,
                beside: None,
            };
            self.work(Some(&name), vec![TreeStep::Apply], talk)?;
        }
        self.roots
            .keep_volume(root, &name)
            .map_err(step(format!("keep root `{}`", root.0)))?;
        Ok(name)
    }
}

/// Copies an archive; says which side failed.
fn copy(from: &mut (dyn Read + Send), to: &mut impl Write) -> Result<u64, BackendError> {
    let mut buffer = vec![0; 1 << 20];
    let mut length = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(length),
            Ok(read) => {
                to.write_all(&buffer[..read])
                    .map_err(step("write in the store"))?;
                length += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(step("read the archive")(error)),
        }
    }
}

/// Ends an archive that was written here.
pub(super) fn finish(draft: Draft) -> Result<Finished, BackendError> {
    draft.finish().map_err(|error| match error {
        TreeError::Refused { entry, why } => BackendError::Refused { what: entry, why },
        other => step("read the archive")(io::Error::other(other)),
    })
}

/// Packages as one stream: eight bytes of length before each.
#[derive(Debug)]
pub(super) struct Packages<'a> {
    left: std::slice::Iter<'a, PathBuf>,
    current: Option<io::Chain<io::Cursor<[u8; 8]>, io::Take<fs_err::File>>>,
}

impl<'a> Packages<'a> {
    pub(super) fn new(packages: &'a [PathBuf]) -> Self {
        Self {
            left: packages.iter(),
            current: None,
        }
    }
}

impl Read for Packages<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(current) = &mut self.current {
                let length = current.read(buffer)?;
                if length > 0 {
                    return Ok(length);
                }
            }
            let Some(path) = self.left.next() else {
                return Ok(0);
            };
            let file = fs_err::File::open(path)?;
            let size = file.metadata()?.len();
            self.current = Some(io::Cursor::new(size.to_be_bytes()).chain(file.take(size)));
        }
    }
}
