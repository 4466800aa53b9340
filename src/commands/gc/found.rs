//! Everything that is in the store, and everything that may want it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::backends::{Backends, Place};
use crate::commands::context::Workshop;
use crate::digest::Digest;
use crate::documents::Lock;
use crate::documents::config::{Keep, Project};
use crate::documents::lock::FILE;
use crate::error::{Failure, Kind};
use crate::oci::{Contents, Image};
use crate::record::kept::Kept;
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
    /// The roots of each backend, and what they take on disk.
    pub(super) roots: Vec<(Place, u64)>,
    pub(super) blobs: Vec<Blob>,
    /// Files computed from blobs.
    pub(super) derived: Vec<(PathBuf, u64)>,
    pub(super) locks: Vec<(KnownProject, Lock)>,
    /// The clones that `pristine enter --keep` left, and the snapshots below them.
    pub(super) clones: Vec<Kept>,
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
    roots: BTreeMap<Place, u64>,
    runs: BTreeMap<PathBuf, u64>,
}

impl Sizes {
    /// Measures all. What is removed meanwhile by another process has none.
    pub(super) fn measure(workshop: &Workshop, backends: &Backends<'_>) -> Result<Self, Failure> {
        let roots = backends.roots()?.into_iter();
        let roots = roots.map(|root| (root.clone(), backends.size(&root)));
        let roots = roots.collect();
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
        (workshop, backends): (&Workshop, &Backends<'_>),
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
        let roots = backends.roots()?.into_iter();
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
            clones: Kept::list(store.root())?,
            gone: Vec::new(),
            blind: false,
            warnings: backends.warnings.clone(),
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
