//! Takes out of the store what goes. What names something goes before what it names, so that a crash in between leaves
//! nothing that is incomplete, only something that the next collection finds.

use super::backends::Backends;
use super::found::Found;
use super::judge::Verdict;
use crate::commands::context::Workshop;
use crate::error::Failure;
use crate::report;
use crate::store::Discarded;

/// Takes all out, by renaming it; what is returned is deleted when it is dropped.
pub(super) fn sweep(
    (workshop, backends): (&Workshop, &Backends<'_>),
    found: &Found,
    verdict: &Verdict,
) -> Result<Discarded, Failure> {
    let (store, layout) = (&workshop.store, &workshop.layout);
    let mut discarded = store.discard()?;
    for one in &found.runs {
        if verdict.runs.contains(&one.run.name) {
            discarded.take(&one.run.folder)?;
        }
    }
    if !verdict.runs.is_empty() {
        report::index(&store.runs_folder())?;
    }
    layout.forget(&verdict.images, &mut discarded)?;
    for root in &verdict.roots {
        backends.remove(root)?;
    }
    for diff_id in &verdict.layers {
        layout.forget_layer(diff_id, &mut discarded)?;
    }
    for path in &verdict.derived {
        discarded.take(path)?;
    }
    let blobs = (found
        .oci
        .blobs
        .iter()
        .filter(|blob| verdict.oci_blobs.contains(&blob.digest)))
    .chain(
        found
            .blobs
            .iter()
            .filter(|blob| verdict.blobs.contains(&blob.digest)),
    );
    for blob in blobs {
        discarded.take(&blob.path)?;
    }
    for project in &found.gone {
        store.forget_project(project)?;
    }
    Ok(discarded)
}
