//! Takes damaged things out of the store, so that they are fetched or made again.

use std::collections::BTreeSet;

use super::items::{Damage, Kind};
use crate::commands::context::{Context, Workshop};
use crate::digest::Digest;
use crate::error::Failure;
use crate::store::{Collection, Pin};

/// Removes what is damaged. What must stay is returned, each with the reason.
pub(super) fn remove(
    context: &Context<'_>,
    workshop: &Workshop,
    damages: Vec<Damage>,
) -> Result<Vec<(String, String)>, Failure> {
    let collection = workshop.store.collection(context.ui, &context.cancel)?;
    let mut discarded = workshop.store.discard()?;
    let (mut left, mut parts) = (Vec::new(), BTreeSet::new());
    for damage in damages {
        let what = damage.item.what;
        match damage.item.kind {
            Kind::Blob(blob) => discarded.take(&blob.path)?,
            Kind::Index(path, _) => discarded.take(&path)?,
            Kind::Document(blob) => {
                discarded.take(&blob.path)?;
                parts.insert(blob.digest);
            }
            Kind::Layer(layer, path) => {
                discarded.take(&path)?;
                workshop
                    .layout
                    .forget_layer(&layer.diff_id, &mut discarded)?;
                parts.insert(layer.digest);
            }
            Kind::Root(root, digest) => match user(&collection, &digest) {
                None => workshop.backend.remove(&root)?,
                Some(holder) => left.push((what, format!("it is in use by {holder}"))),
            },
            Kind::Output(..) => left.push((what, "only another build makes it again".to_owned())),
        }
    }
    forget_images(workshop, &parts, &mut discarded)?;
    Ok(left)
}

/// The images that lack one of these parts now are no images any more.
fn forget_images(
    workshop: &Workshop,
    parts: &BTreeSet<Digest>,
    discarded: &mut crate::store::Discarded,
) -> Result<(), Failure> {
    let mut gone = BTreeSet::new();
    for digest in workshop.layout.images()? {
        let whole = workshop.layout.describe(&digest).is_ok_and(|image| {
            let reference = image.reference;
            let mut layers = reference.layers.iter();
            !layers.any(|layer| parts.contains(&layer.digest))
        });
        if !whole {
            gone.insert(digest);
        }
    }
    Ok(workshop.layout.forget(&gone, discarded)?)
}

/// Another process that relies on a layer's root.
fn user(collection: &Collection, diff_id: &Digest) -> Option<String> {
    let holder = collection.pinned().get(&Pin::Content(*diff_id));
    holder.map(ToString::to_string)
}
