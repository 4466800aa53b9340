//! Everything in the store that has a digest.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use crate::backend::RootId;
use crate::commands::context::Workshop;
use crate::digest::Digest;
use crate::documents::{Lock, Project};
use crate::environment::snapshot;
use crate::error::{self, Failure};
use crate::oci::{Image, Layer};
use crate::record::runs;
use crate::resolve::metadata;
use crate::store::Blob;

/// Something with a digest.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) kind: Kind,
    /// What people call it.
    pub(super) what: String,
    /// Bytes; unknown of trees.
    pub(super) size: u64,
}

/// What it is.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// A package, a source, metadata.
    Blob(Blob),
    /// A manifest or a configuration.
    Document(Blob),
    /// A layer of an image, both its blob and the tar in it.
    Layer(Layer, PathBuf),
    /// A layer unpacked.
    Root(RootId, Digest),
    /// An index of metadata, and the digest of these.
    Index(PathBuf, Digest),
    /// What a run in that folder made, and the digest in its record.
    Output(PathBuf, PathBuf, Digest),
}

/// Something that is not what it was.
#[derive(Debug)]
pub(super) struct Damage {
    pub(super) item: Item,
    pub(super) why: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "damaged: {}: {}", self.item.what, self.why)
    }
}

/// All of them.
pub(super) fn all(project: &Project, workshop: &Workshop) -> Result<Vec<Item>, Failure> {
    let names = names(project);
    let mut items = Vec::new();
    for blob in workshop.store.blobs()? {
        let what = match names.get(&blob.digest) {
            Some(name) => format!("{name} (blob {})", blob.digest),
            None => format!("blob {}", blob.digest),
        };
        let size = blob.size;
        items.push(Item {
            kind: Kind::Blob(blob),
            what,
            size,
        });
    }
    of_images(workshop, &mut items)?;
    indexes(project, workshop, &mut items);
    for root in workshop.backend.roots()? {
        let hex = root.0.strip_prefix("tree-");
        if let Some(digest) = hex.and_then(|hex| format!("sha256:{hex}").parse().ok()) {
            items.push(tree(root, digest));
        }
    }
    for run in runs::list(&workshop.store.runs_folder())? {
        let packages = run.record.iter().flat_map(|record| &record.packages);
        for output in packages.flat_map(|package| &package.outputs) {
            items.push(Item {
                what: format!("{} of run {}", output.path.display(), run.name),
                size: output.size,
                kind: Kind::Output(
                    run.folder.clone(),
                    run.folder.join("repository").join(&output.path),
                    output.sha256,
                ),
            });
        }
    }
    // The largest first: else the last thread may start it when all others are done. Trees are larger than any file.
    items.sort_by_key(|item| (!matches!(item.kind, Kind::Root(..)), u64::MAX - item.size));
    Ok(items)
}

/// The layers of one image, and the trees that they were unpacked to.
pub(super) fn of_image(workshop: &Workshop, image: &Image) -> Result<Vec<Item>, Failure> {
    let blobs = workshop.layout.contents()?.blobs;
    let manifest = &image.reference.manifest;
    let mut items = Vec::new();
    for layer in &image.reference.layers {
        workshop.layout.rely_on(layer)?;
        let Some(blob) = blobs.iter().find(|blob| blob.digest == layer.digest) else {
            let text = format!("the layer {} of the snapshot is missing", layer.diff_id);
            return Err(Failure::new(error::Kind::CannotRun, text));
        };
        items.push(layer_of(manifest, layer.clone(), blob));
        let root = snapshot::root_id(&layer.diff_id);
        if workshop.backend.has(&root)? {
            items.push(tree(root, layer.diff_id));
        }
    }
    Ok(items)
}

fn layer_of(manifest: &Digest, layer: Layer, blob: &Blob) -> Item {
    Item {
        what: format!("layer {} of snapshot {}", layer.diff_id, manifest.short()),
        size: layer.size,
        kind: Kind::Layer(layer, blob.path.clone()),
    }
}

fn tree(root: RootId, digest: Digest) -> Item {
    Item {
        what: format!("tree {digest}"),
        size: 0,
        kind: Kind::Root(root, digest),
    }
}

/// The layers of all images, then what else the layout has.
fn of_images(workshop: &Workshop, items: &mut Vec<Item>) -> Result<(), Failure> {
    let blobs: BTreeMap<Digest, Blob> = (workshop.layout.contents()?.blobs.into_iter())
        .map(|blob| (blob.digest, blob))
        .collect();
    let mut seen = BTreeSet::new();
    for digest in workshop.layout.images()? {
        // A manifest that cannot be read is among the documents below.
        let Ok(image) = workshop.layout.describe(&digest) else {
            continue;
        };
        for layer in image.reference.layers {
            let Some(blob) = blobs
                .get(&layer.digest)
                .filter(|_| seen.insert(layer.digest))
            else {
                continue;
            };
            items.push(layer_of(&digest, layer, blob));
        }
    }
    for blob in blobs
        .into_values()
        .filter(|blob| !seen.contains(&blob.digest))
    {
        let what = format!("part {} of a snapshot", blob.digest);
        let size = blob.size;
        items.push(Item {
            kind: Kind::Document(blob),
            what,
            size,
        });
    }
    Ok(())
}

/// The indexes of the metadata that the project's lock names.
fn indexes(project: &Project, workshop: &Workshop, items: &mut Vec<Item>) {
    let Ok(lock) = Lock::load(&project.directory) else {
        return;
    };
    for repository in &lock.repositories {
        for metadata in &repository.metadata {
            let path = workshop
                .store
                .derived(&metadata::index_name(&metadata.digest));
            if let Ok(found) = path.metadata() {
                let what = format!("index of {} of {}", metadata.kind, repository.name);
                let kind = Kind::Index(path, metadata.digest);
                items.push(Item {
                    kind,
                    what,
                    size: found.len(),
                });
            }
        }
    }
}

/// What the project's lock calls its blobs.
fn names(project: &Project) -> BTreeMap<Digest, String> {
    let Ok(lock) = Lock::load(&project.directory) else {
        return BTreeMap::new();
    };
    let mut names = BTreeMap::new();
    for rpm in lock.rpms() {
        names.insert(rpm.digest, rpm.nevra.to_string());
    }
    for source in lock.packages.iter().flat_map(|package| &package.sources) {
        if let Some(remote) = &source.remote {
            names.insert(remote.digest, source.file.clone());
        }
    }
    for repository in &lock.repositories {
        names.insert(
            repository.repomd,
            format!("repomd.xml of {}", repository.name),
        );
        for metadata in &repository.metadata {
            let kind = &metadata.kind;
            names.insert(metadata.digest, format!("{kind} of {}", repository.name));
        }
    }
    names
}
