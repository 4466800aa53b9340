//! Frozen environments: canonical layers, kept as OCI images in the store.

use std::collections::BTreeMap;
use std::io;
use std::thread::{self, JoinHandle};

use crate::backend::{Backend, RootId};
use crate::digest::Digest;
use crate::documents::Lock;
use crate::environment::create::EnvironmentError;
use crate::oci::{Image, ImageConfig, ImageRef, Layer, Layout, OciError};
use crate::threads::ended;
use crate::tree::Normalise;

/// The label with the digest of the lock that the image was made from.
pub const LOCK_LABEL: &str = "io.pristine.lock";
/// The label with the project's name.
pub const PROJECT_LABEL: &str = "io.pristine.project";

/// How much a kept layer's thread leaves to others, in steps of nice(2).
const PATIENCE: i32 = 19;

/// The id of the kept root of a layer.
pub fn root_id(diff_id: &Digest) -> RootId {
    RootId(format!("tree-{}", diff_id.hex()))
}

/// The kept layer of the tree that is expected, while a thread hashes its blob.
#[derive(Debug)]
pub struct Kept {
    diff_id: Digest,
    hashing: JoinHandle<Result<Option<Layer>, OciError>>,
}

impl Kept {
    /// Begins to hash the layer of the `expected` tree, where one is noted: with what others leave of the processors,
    /// while the tree is made.
    pub fn look(layout: &Layout, expected: Option<&Digest>) -> Option<Self> {
        let diff_id = *expected.filter(|expected| layout.has_note_of(expected))?;
        let layout = layout.clone();
        let hashing = thread::spawn(move || {
            // Of this thread alone; it is only later where that is refused.
            let _refused = rustix::process::nice(PATIENCE);
            layout.known_layer(&diff_id)
        });
        Some(Self { diff_id, hashing })
    }

    /// The layer; none where it is damaged.
    fn layer(self) -> Result<Option<Layer>, OciError> {
        ended(self.hashing.join())
    }
}

/// Normalises a root and archives it as a layer. Where the layer of the expected tree is `kept` already,
/// and the tree is that one, it is only digested, not compressed again.
pub fn freeze(
    backend: &dyn Backend,
    root: &RootId,
    normalise: &Normalise,
    layout: &Layout,
    kept: Option<Kept>,
) -> Result<Layer, EnvironmentError> {
    let archive = || EnvironmentError::backend("archive the environment");
    if let Some(kept) = kept {
        let before = layout.marks_of(&kept.diff_id);
        let digested = backend.digest_by(root, Some(normalise), &before);
        let (digest, marks) = digested.map_err(archive())?;
        if digest == kept.diff_id && before.is_empty() && !marks.is_empty() {
            layout.keep_marks(&digest, marks)?;
        }
        if let Some(layer) = kept.layer()?.filter(|layer| layer.diff_id == digest) {
            return Ok(layer);
        }
    }
    let mut writer = layout.layer_writer()?;
    backend
        .export(root, Some(normalise), &mut writer)
        .map_err(archive())?;
    Ok(writer.finish()?)
}

/// The digest of the tree that a stack of layers makes: OCI's chain-id, for one layer its diff-id.
pub fn tree_of(layers: impl IntoIterator<Item = Digest>) -> Option<Digest> {
    layers
        .into_iter()
        .reduce(|below, layer| Digest::of(format!("{below} {layer}").as_bytes()))
}

/// Keeps layers as an image. The same lock, layers and project give the same image.
pub fn keep(
    layout: &Layout,
    layers: &[Layer],
    project: &str,
    lock: &Lock,
) -> Result<ImageRef, EnvironmentError> {
    let below = lock.base.as_ref().map_or(0, |base| base.layers.len());
    let history = std::iter::repeat_n("base", below).chain(
        ["packages by the distribution's rpm", "recipe"]
            .into_iter()
            .skip(below + 1 - lock.environment_layers()),
    );
    let label = |key: &str, value: String| (key.to_owned(), value);
    let config = ImageConfig {
        architecture: lock.architecture.as_str().to_owned(),
        epoch: lock.epoch,
        env: BTreeMap::from([label("PATH", "/usr/sbin:/usr/bin:/sbin:/bin".to_owned())]),
        labels: BTreeMap::from([
            label(LOCK_LABEL, lock.digest().to_string()),
            label(PROJECT_LABEL, project.to_owned()),
        ]),
        history: history.take(layers.len()).map(str::to_owned).collect(),
    };
    Ok(layout.write_image(layers, &config)?)
}

/// The kept image of a lock. Its layers are verified where they are read.
pub fn find(layout: &Layout, lock: &Lock) -> Result<Option<Image>, EnvironmentError> {
    let label = lock.digest().to_string();
    Ok(layout.find(|image| is_labelled(image, lock, &label))?)
}

/// Whether an image is a snapshot of the lock: it says so, and its lowest layers are the environment of the lock. What
/// a recipe's files and commands add is on top of that, and no lock has its digest.
pub fn is_of(image: &Image, lock: &Lock) -> bool {
    is_labelled(image, lock, &lock.digest().to_string())
}

/// As `is_of`, with the lock's digest.
fn is_labelled(image: &Image, lock: &Lock, label: &str) -> bool {
    let says = image
        .config
        .labels
        .get(LOCK_LABEL)
        .is_some_and(|own| own == label);
    let lowest = image
        .reference
        .layers
        .iter()
        .take(lock.environment_layers());
    says && tree_of(lowest.map(|layer| layer.diff_id)) == lock.environment.tree
}

/// Makes the kept root of a layer again, where it is missing.
pub fn restore(
    backend: &dyn Backend,
    layout: &Layout,
    layer: &Layer,
) -> Result<RootId, EnvironmentError> {
    let failed = || EnvironmentError::backend("unpack a layer of the snapshot");
    let root = root_id(&layer.diff_id);
    layout.rely_on(layer)?;
    if backend.has(&root).map_err(failed())? {
        return Ok(root);
    }
    let scratch = unpack(backend, layout, layer)?;
    backend.rename(&scratch, &root).map_err(failed())?;
    Ok(root)
}

/// Unpacks a verified layer into a root of this run alone.
pub fn unpack(
    backend: &dyn Backend,
    layout: &Layout,
    layer: &Layer,
) -> Result<RootId, EnvironmentError> {
    let failed = || EnvironmentError::backend("unpack a layer of the snapshot");
    let scratch = backend.scratch_id();
    let mut reader = layout.open_layer(layer)?;
    backend.import(&scratch, &mut reader).map_err(failed())?;
    // The reader has verified the layer when it was read to its end, and not before.
    if let Err(source) = io::copy(&mut reader, &mut io::sink()) {
        backend.remove(&scratch).map_err(failed())?;
        return Err(EnvironmentError::Layer { source });
    }
    Ok(scratch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_a_stack_is_the_chain_id() {
        let [one, two, three] = ["1", "2", "3"].map(|text| Digest::of(text.as_bytes()));
        assert_eq!(tree_of([]), None);
        assert_eq!(tree_of([one]), Some(one));
        let both = Digest::of(format!("{one} {two}").as_bytes());
        assert_eq!(tree_of([one, two]), Some(both));
        let all = Digest::of(format!("{both} {three}").as_bytes());
        assert_eq!(tree_of([one, two, three]), Some(all));
    }
}
