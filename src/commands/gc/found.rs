//! Everything that is in the store, and everything that may want it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::backend::RootId;
use crate::commands::context::Workshop;
use crate::digest::Digest;
use crate::documents::Lock;
use crate::documents::config::{Keep, Project};
use crate::documents::lock::FILE;
use crate::error::{Failure, Kind};
use crate::oci::{Contents, Image};
use crate::record::runs::{self, Run};
use crate::store::{Blob, KnownProject};

/// All of it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) runs: Vec<FoundRun>,
    /// The rules, by the name of the project.
    pub(super) rules: BTreeMap<String, Keep>,
    /// The images, each with the lock that it was made from, where that is known.
    pub(super) images: Vec<(Image, Option<Lock>)>,
    pub(super) tags: BTreeMap<String, Digest>,
    pub(super) oci: Contents,
    /// The roots, and what they take on disk.
    pub(super) roots: Vec<(RootId, u64)>,
    pub(super) blobs: Vec<Blob>,
    /// Files computed from blobs.
    pub(super) derived: Vec<(PathBuf, u64)>,
    pub(super) locks: Vec<(KnownProject, Lock)>,
    /// The clones that `pristine enter --keep` left, and the snapshots below them.
    pub(super) clones: Vec<KeptClone>,
    /// Projects whose folder is gone.
    pub(super) gone: Vec<KnownProject>,
    /// Whether a lock could not be read, so that nobody knows what it wants.
    pub(super) blind: bool,
    pub(super) warnings: Vec<String>,
}

/// A run and what it takes on disk.
#[derive(Debug)]
pub(super) struct FoundRun {
    pub(super) run: Run,
    pub(super) size: u64,
}

/// What roots and runs take on disk: measured before the gate is closed, since that takes long.
#[derive(Debug)]
pub(super) struct Sizes {
    roots: BTreeMap<RootId, u64>,
    runs: BTreeMap<PathBuf, u64>,
}

impl Sizes {
    /// Measures all. What is removed meanwhile by another process has none.
    pub(super) fn measure(workshop: &Workshop) -> Result<Self, Failure> {
        let mut roots = BTreeMap::new();
        for root in workshop.backend.roots()? {
            roots.insert(
                root.clone(),
                workshop.backend.size(&root).unwrap_or_default(),
            );
        }
        let mut sizes = BTreeMap::new();
        for run in runs::list(&workshop.store.runs_folder())? {
            let size = size_of(&run.folder).unwrap_or_default();
            sizes.insert(run.folder, size);
        }
        Ok(Self { roots, runs: sizes })
    }
}

impl Found {
    /// Reads all. The gate must be held.
    pub(super) fn read(
        project: &Project,
        workshop: &Workshop,
        sizes: &Sizes,
    ) -> Result<Self, Failure> {
        let store = &workshop.store;
        let layout = &workshop.layout;
        let mut images = Vec::new();
        for digest in layout.images()? {
            let image = layout.describe(&digest)?;
            let lock = layout.lock_of(&digest)?;
            images.push((image, lock.and_then(|text| Lock::parse(&text).ok())));
        }
        let roots = workshop.backend.roots()?.into_iter();
        let roots = roots.map(|root| {
            let size = sizes.roots.get(&root).copied().unwrap_or_default();
            (root, size)
        });
        let runs = runs::list(&store.runs_folder())?.into_iter();
        let runs = runs.map(|run| FoundRun {
            size: sizes.runs.get(&run.folder).copied().unwrap_or_default(),
            run,
        });
        let mut found = Self {
            runs: runs.collect(),
            rules: BTreeMap::from([(project.name.to_string(), project.keep)]),
            images,
            tags: layout.tags()?,
            oci: layout.contents()?,
            roots: roots.collect(),
            blobs: store.blobs()?,
            derived: files(&store.derived_folder())?,
            locks: Vec::new(),
            clones: kept_clones(&store.root().join("kept"))?,
            gone: Vec::new(),
            blind: false,
            warnings: Vec::new(),
        };
        for known in store.projects()? {
            found.consider(known);
        }
        Ok(found)
    }

    /// What a known project wants, by its project file and its lock.
    fn consider(&mut self, known: KnownProject) {
        if !known.folder.is_dir() {
            let folder = known.folder.display();
            self.warnings.push(format!(
                "the project folder `{folder}` is gone: its lock keeps nothing any longer"
            ));
            self.gone.push(known);
            return;
        }
        if let Ok(project) = Project::load(&known.folder) {
            let name = project.name.to_string();
            self.rules.entry(name).or_insert(project.keep);
        }
        if !known.folder.join(FILE).exists() {
            return;
        }
        match Lock::load(&known.folder) {
            Ok(lock) => self.locks.push((known, lock)),
            Err(error) => {
                self.blind = true;
                self.warnings.push(format!(
                    "a lock cannot be read, and so no package is removed: {error}"
                ));
            }
        }
    }
}

/// As much of a kept clone's file as a collection looks at.
#[derive(Debug, Deserialize)]
pub(super) struct KeptClone {
    pub(super) name: String,
    pub(super) snapshot: Digest,
    pub(super) roots: Vec<String>,
}

fn kept_clones(folder: &Path) -> Result<Vec<KeptClone>, Failure> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut clones = Vec::new();
    for (path, _) in files(folder)? {
        // Others are being written.
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = fs_err::read(&path).map_err(|error| Failure::new(Kind::CannotRun, error))?;
        // A collection that does not know what one needs must not take it away.
        let clone = serde_json::from_slice(&text).map_err(|error| {
            let text = format!(
                "cannot understand the kept clone `{}`: {error}",
                path.display()
            );
            Failure::new(Kind::CannotRun, text)
        })?;
        clones.push(clone);
    }
    Ok(clones)
}

/// Bytes of all files below a folder.
fn size_of(folder: &Path) -> Result<u64, Failure> {
    let failed = |error| Failure::new(Kind::CannotRun, error);
    let mut size = 0;
    for entry in fs_err::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            size += size_of(&entry.path())?;
        } else {
            size += entry.metadata().map_err(failed)?.len();
        }
    }
    Ok(size)
}

fn files(folder: &Path) -> Result<Vec<(PathBuf, u64)>, Failure> {
    let failed = |error| Failure::new(Kind::CannotRun, error);
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        found.push((entry.path(), entry.metadata().map_err(failed)?.len()));
    }
    found.sort();
    Ok(found)
}
