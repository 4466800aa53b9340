//! What dead runs left in the store and in the engine.

use std::collections::{BTreeMap, HashMap};
use std::io;

use bollard::models::ImageSummary;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, ListVolumesOptionsBuilder,
    RemoveVolumeOptionsBuilder,
};

use super::connect::{Engine, PAUSE, TRIES, has_status, is_between, is_missing};
use super::images::{self, LAYERS, STORE};
use super::roots::Form;
use super::session::{LABEL, SCRATCH};
use super::{Shared, container, step};
use crate::backend::BackendError;
use crate::digest::Digest;

/// How often the list of images is asked for.
const LISTINGS: u32 = 5;

/// Removes it all; a line for each thing.
pub(super) fn sweep(shared: &Shared) -> Result<Vec<String>, BackendError> {
    let mut removed = Vec::new();
    let mut judged = BTreeMap::new();
    let mut dead = |name: &str| -> io::Result<bool> {
        if let Some(known) = judged.get(name) {
            return Ok(*known);
        }
        let dead = !shared.session.lives(name)?;
        judged.insert(name.to_owned(), dead);
        Ok(dead)
    };
    let doing = || step("look for what dead runs left");
    for (id, session) in shared.runtime.block_on(containers(shared))? {
        if dead(&session).map_err(doing())? {
            shared
                .runtime
                .block_on(container::remove(&shared.engine, &id))?;
            removed.push(format!("container of dead run {session}"));
        }
    }
    for id in shared.roots.ids().map_err(doing())? {
        let rest = id.0.strip_prefix(SCRATCH);
        let owner = rest.and_then(|rest| rest.rsplit_once('.'));
        if let Some((session, _)) = owner
            && dead(session).map_err(doing())?
        {
            shared.roots.remove(&id).map_err(doing())?;
            removed.push(format!("unfinished root {}", id.0));
        }
    }
    let kept = kept_volumes(shared)?;
    for (name, session) in shared.runtime.block_on(volumes(shared))? {
        if !kept.contains(&name) && dead(&session).map_err(doing())? {
            shared.runtime.block_on(volume(&shared.engine, &name))?;
            removed.push(format!("volume of dead run {session}"));
        }
    }
    removed.extend(images(shared, None)?);
    Ok(removed)
}

fn label(labels: Option<HashMap<String, String>>) -> String {
    labels
        .and_then(|mut labels| labels.remove(LABEL))
        .unwrap_or_default()
}

fn ours(shared: &Shared) -> HashMap<String, Vec<String>> {
    let label = format!("{STORE}={}", shared.session.store());
    HashMap::from([("label".to_owned(), vec![label])])
}

/// The store's containers, each with its run.
async fn containers(shared: &Shared) -> Result<Vec<(String, String)>, BackendError> {
    let options = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&ours(shared))
        .build();
    let mut tries = 0;
    let listed = loop {
        let options = Some(options.clone());
        match shared.engine.api.list_containers(options).await {
            Err(error) if tries < TRIES && is_between(&error) => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            listed => break listed,
        }
    };
    let listed = listed.map_err(shared.engine.failed("list the engine's containers"))?;
    Ok(listed
        .into_iter()
        .filter_map(|found| Some((found.id?, label(found.labels))))
        .collect())
}

/// The store's volumes, each with its run.
async fn volumes(shared: &Shared) -> Result<Vec<(String, String)>, BackendError> {
    let options = ListVolumesOptionsBuilder::default()
        .filters(&ours(shared))
        .build();
    let listed = shared.engine.api.list_volumes(Some(options)).await;
    let listed = listed.map_err(shared.engine.failed("list the engine's volumes"))?;
    Ok(listed
        .volumes
        .unwrap_or_default()
        .into_iter()
        .map(|found| (found.name, label(Some(found.labels))))
        .collect())
}

/// Volumes that are roots under a name for good.
fn kept_volumes(shared: &Shared) -> Result<Vec<String>, BackendError> {
    let mut kept = Vec::new();
    let ids = shared.roots.ids().map_err(step("list the roots"))?;
    for id in ids {
        if let Ok(Some(Form::Volume(name))) = shared.roots.find(&id) {
            kept.push(name);
        }
    }
    Ok(kept)
}

/// Removes a volume, if it is there.
pub(super) async fn volume(engine: &Engine, name: &str) -> Result<(), BackendError> {
    let options = RemoveVolumeOptionsBuilder::default().force(false).build();
    match engine.api.remove_volume(name, Some(options)).await {
        Err(error) if !is_missing(&error) && !has_status(&error, 409) => {
            Err(engine.failed(format!("remove the volume `{name}`"))(error))
        }
        _ => Ok(()),
    }
}

/// The store's images. Podman (4.3) fails as a whole where another run removes an image while it looks at
/// each: it is asked again.
async fn listed_images(shared: &Shared) -> Result<Vec<ImageSummary>, BackendError> {
    let mut tries = 1;
    loop {
        let options = ListImagesOptionsBuilder::default()
            .filters(&ours(shared))
            .build();
        match shared.engine.api.list_images(Some(options)).await {
            Err(error) if tries < LISTINGS && has_status(&error, 500) => tries += 1,
            listed => return listed.map_err(shared.engine.failed("list the engine's images")),
        }
    }
}

/// Removes images whose layers the store has no more: all such, or only those with one layer.
pub(super) fn images(shared: &Shared, of: Option<&Digest>) -> Result<Vec<String>, BackendError> {
    let _one = shared
        .making
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let listed = shared.runtime.block_on(listed_images(shared))?;
    // After the images: a root is there before its images are.
    let kept = kept_layers(shared)?;
    if of.is_some_and(|of| kept.contains(&of.hex())) {
        return Ok(Vec::new());
    }
    let mut removed = Vec::new();
    for image in listed {
        let layers = image.labels.get(LAYERS).cloned().unwrap_or_default();
        let orphan = layers.split(',').any(|layer| match of {
            Some(of) => layer == of.hex(),
            None => !kept.iter().any(|kept| kept == layer),
        });
        if layers.is_empty() || !orphan {
            continue;
        }
        for name in &image.repo_tags {
            shared
                .runtime
                .block_on(images::remove(&shared.engine, name))?;
        }
        removed.push(format!("image {}", image.id));
    }
    Ok(removed)
}

/// Digests of all roots that are archives.
fn kept_layers(shared: &Shared) -> Result<Vec<String>, BackendError> {
    let mut kept = Vec::new();
    for id in shared.roots.ids().map_err(step("list the roots"))? {
        if let Ok(Some(Form::Layer(facts))) = shared.roots.find(&id) {
            kept.push(facts.diff_id.hex());
        }
    }
    Ok(kept)
}
