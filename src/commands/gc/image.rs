//! The end of one image, because its user says so.

use std::collections::BTreeSet;

use crate::commands::context::{Context, Workshop};
use crate::digest::Digest;
use crate::environment::snapshot;
use crate::error::{Failure, Kind};
use crate::oci::ImageRef;
use crate::store::{Collection, Holder, Pin};

/// Removes an image with its tags, and of its layers, their roots and their blobs what no other image and no running
/// process wants. Tells how many bytes that were.
pub(in crate::commands) fn remove_image(
    context: &Context<'_>,
    workshop: &Workshop,
    manifest: &Digest,
) -> Result<u64, Failure> {
    let layout = &workshop.layout;
    let collection = workshop.store.collection(context.ui, &context.cancel)?;
    if let Some(holder) = held(&collection, manifest) {
        let text = format!("the snapshot {} is in use by {holder}", manifest.short());
        return Err(Failure::new(Kind::CannotRun, text).hint("wait for its end"));
    }
    let image = layout.describe(manifest)?.reference;
    let mut others = BTreeSet::new();
    for digest in layout.images()? {
        if digest != *manifest {
            others.extend(parts(&layout.describe(&digest)?.reference));
        }
    }
    let mut discarded = workshop.store.discard()?;
    for (name, tagged) in layout.tags()? {
        if tagged == *manifest {
            layout.untag(&name)?;
        }
    }
    layout.forget(&BTreeSet::from([*manifest]), &mut discarded)?;
    let goes = |digest: &Digest| !others.contains(digest) && held(&collection, digest).is_none();
    let mut freed = 0;
    for layer in image.layers.iter().filter(|layer| goes(&layer.diff_id)) {
        let root = snapshot::root_id(&layer.diff_id);
        if workshop.backend.has(&root)? {
            freed += workshop.backend.size(&root)?;
            workshop.backend.remove(&root)?;
        }
        layout.forget_layer(&layer.diff_id, &mut discarded)?;
    }
    let gone: BTreeSet<Digest> = parts(&image).into_iter().filter(goes).collect();
    for blob in layout.contents()?.blobs {
        if gone.contains(&blob.digest) {
            freed += blob.size;
            discarded.take(&blob.path)?;
        }
    }
    drop(collection);
    drop(discarded);
    Ok(freed)
}

/// Everything that an image names, itself among it.
fn parts(image: &ImageRef) -> Vec<Digest> {
    let layers = image
        .layers
        .iter()
        .flat_map(|layer| [layer.diff_id, layer.digest]);
    layers.chain([image.manifest, image.config]).collect()
}

/// Another process that relies on it.
fn held<'a>(collection: &'a Collection, digest: &Digest) -> Option<&'a Holder> {
    collection.pinned().get(&Pin::Content(*digest))
}
