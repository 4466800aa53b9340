//! The end of one image, because its user says so.

use std::collections::{BTreeMap, BTreeSet};

use super::backends::{Backends, Place};
use crate::commands::context::{Context, Workshop};
use crate::digest::Digest;
use crate::environment::snapshot;
use crate::error::{Failure, Kind};
use crate::events::{Event, Sink as _};
use crate::oci::ImageRef;
use crate::record::kept::Kept;
use crate::store::{Collection, Holder, Pin};

/// Removes an image with its tags, and of its layers, their roots and their blobs what no other image and no running
/// process wants. Tells how many bytes that were.
pub(in crate::commands) fn remove_image(
    context: &Context<'_>,
    workshop: &Workshop,
    manifest: &Digest,
) -> Result<u64, Failure> {
    let layout = &workshop.layout;
    let backends = Backends::open(workshop)?;
    for text in &backends.warnings {
        context.ui.emit(Event::Warning { text: text.clone() });
    }
    let sizes = sizes(&backends, &layout.describe(manifest)?.reference)?;
    let collection = workshop.store.collection(context.ui, &context.cancel)?;
    check_unused(workshop, &collection, manifest)?;
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
        for place in backends.places(&snapshot::root_id(&layer.diff_id))? {
            freed += sizes.get(&place).copied().unwrap_or_default();
            backends.remove(&place)?;
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

/// Refuses where a running process has the image, or a kept clone is on top of it.
fn check_unused(
    workshop: &Workshop,
    collection: &Collection,
    manifest: &Digest,
) -> Result<(), Failure> {
    let used = |by: String| {
        let text = format!("the snapshot {} is in use by {by}", manifest.short());
        Failure::new(Kind::CannotRun, text)
    };
    if let Some(holder) = held(collection, manifest) {
        return Err(used(holder.to_string()).hint("wait for its end"));
    }
    let mut kept = Kept::list(workshop.store.root())?.into_iter();
    if let Some(Kept { name, .. }) = kept.find(|kept| kept.snapshot == *manifest) {
        let hint = format!("forget that clone first: pristine enter --forget {name}");
        return Err(used(format!("the kept clone `{name}`")).hint(hint));
    }
    Ok(())
}

/// What the layers' roots take on disk: measured before the gate is closed, since that takes long.
fn sizes(backends: &Backends<'_>, image: &ImageRef) -> Result<BTreeMap<Place, u64>, Failure> {
    let mut sizes = BTreeMap::new();
    for layer in &image.layers {
        for place in backends.places(&snapshot::root_id(&layer.diff_id))? {
            let size = backends.size(&place);
            sizes.insert(place, size);
        }
    }
    Ok(sizes)
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
