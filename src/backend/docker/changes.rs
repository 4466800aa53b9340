//! What a clone changed, as a layer: freezing.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};

use bollard::models::ChangeType;
use serde::Deserialize;
use tar::Builder;

use super::clone::DockerClone;
use super::collect::{BUFFER, changed, refused, save};
use super::roots::{Finished, folder};
use super::step;
use super::wire::{PLACE, TreeStep};
use crate::backend::BackendError;
use crate::tree::TreeError;
use crate::tree::canonical::{OPAQUE_NAME, WHITEOUT_PREFIX};
use crate::tree::encode::{append_content, append_header};
use crate::tree::extract::inside;
use crate::tree::member::{Kind, Member, Members};

/// What a clone changed, as canonical layer.
pub(super) fn changes(clone: &mut DockerClone) -> Result<Finished, BackendError> {
    let root = top_of(clone)?;
    let mut top_level_touched = !clone.images.is_empty();
    if let Some(made) = &clone.container {
        let changed = changed(clone, &made.id)?;
        top_level_touched |= changed
            .iter()
            .any(|(path, kind)| *kind != ChangeType::_0 && path.matches('/').count() == 1);
        clone.commit()?;
    }
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
    let root = if top_level_touched {
        (root.0, root.1, root.2, now)
    } else {
        root
    };
    let mut base = Builder::new(Vec::new());
    append_header(&mut base, &folder(b"./", root)).map_err(step("write an archive"))?;
    let base = base.into_inner().map_err(step("write an archive"))?;
    let layers = own_layers(clone)?;
    let mut steps = vec![TreeStep::Apply];
    steps.extend(layers.iter().map(|_| TreeStep::ApplyOver));
    // The root folder's time changes with what is made in it: it comes last again.
    steps.extend([TreeStep::ApplyOver, TreeStep::Write]);
    let (mut first, mut last) = (base.as_slice(), base.as_slice());
    let mut layers = layers;
    let mut inputs: Vec<&mut (dyn Read + Send)> = vec![&mut first];
    for layer in &mut layers {
        inputs.push(layer);
    }
    inputs.push(&mut last);
    let made = clone.shared.tree(None, steps, inputs, &mut io::sink())?;
    if clone.images.len() > 1 {
        return without_idle_marks(clone, &made);
    }
    Ok(made)
}

/// A layer that was merged of several, without whiteouts of what only those had: overlayfs shows
/// such marks in folders that no lower layer has.
fn without_idle_marks(clone: &DockerClone, merged: &Finished) -> Result<Finished, BackendError> {
    let failed = || step("read a layer");
    let open = |file: File| Members::new(BufReader::with_capacity(BUFFER, file));
    let mut below = BTreeSet::new();
    for layer in &clone.layers {
        let file = fs_err::File::open(clone.shared.roots.layer(layer)).map_err(failed())?;
        let mut members = open(file.into_file());
        while let Some(member) = members.next_member().map_err(refused)? {
            below.insert(inside(&member.name).unwrap_or_default());
        }
    }
    let mut layer = Builder::new(clone.shared.draft()?);
    let mut members = open(merged.open().map_err(failed())?);
    while let Some(member) = members.next_member().map_err(refused)? {
        let at = member.name.iter().rposition(|&byte| byte == b'/');
        let (folder, name) = member.name.split_at(at.map_or(0, |at| at + 1));
        let hidden = name
            .strip_prefix(WHITEOUT_PREFIX)
            .filter(|_| name != OPAQUE_NAME);
        if hidden.is_none_or(|hidden| below.contains(&[folder, hidden].concat())) {
            append_header(&mut layer, &member).map_err(failed())?;
            append_content(&mut layer, member.size, &mut members).map_err(failed())?;
        }
    }
    super::trees::finish(layer.into_inner().map_err(failed())?)
}

/// Owner, group, mode and time of the root folder of the highest layer.
pub(super) fn top_of(clone: &DockerClone) -> Result<(u32, u32, u32, i64), BackendError> {
    match clone.layers.last() {
        Some(top) => Ok(clone.shared.facts(top)?.root),
        None => Ok((0, 0, 0o755, 0)),
    }
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(rename = "Layers")]
    layers: Vec<String>,
}

/// The layers that commits of this clone made, oldest first.
fn own_layers(clone: &DockerClone) -> Result<Vec<File>, BackendError> {
    let Some(image) = clone.images.last() else {
        return Ok(Vec::new());
    };
    let engine = &clone.shared.engine;
    let mut spool = tempfile::tempfile().map_err(step("spool an archive"))?;
    clone.shared.runtime.block_on(async {
        let stream = engine.api.export_image(image);
        save(stream, &mut spool)
            .await?
            .map_err(engine.failed("take what the clone changed"))
    })?;
    let (files, manifest) = contents(&spool).map_err(step("read an archive of the engine's"))?;
    let own = manifest
        .layers
        .len()
        .saturating_sub(clone.layers.len().max(1));
    let mut layers = Vec::new();
    for name in &manifest.layers[manifest.layers.len() - own.min(manifest.layers.len())..] {
        let Some(&(at, size)) = files.get(name) else {
            return Err(step("read an archive of the engine's")(io::Error::other(
                format!("it has no layer `{name}`"),
            )));
        };
        let layer = own_part(&spool, (at, size))?;
        layers.push(layer);
    }
    Ok(layers)
}

/// What is done with a member: itself, its path, its content.
type Act<'a> = dyn FnMut(&Member, &[u8], &mut dyn Read) -> io::Result<()> + 'a;

/// Empty files that Podman leaves in the tree where it mounts its own.
const LEFT: [&[u8]; 4] = [
    b"etc/hostname",
    b"etc/hosts",
    b"etc/resolv.conf",
    b"run/.containerenv",
];

/// Whether the engine made it: the place of our own program, or what Podman leaves.
fn is_engines(member: &Member, path: &[u8]) -> bool {
    let place = PLACE.trim_start_matches('/').as_bytes();
    let rest = path.strip_prefix(place);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        || (LEFT.contains(&path) && member.kind == Kind::File && member.size == 0)
}

/// A layer without what the engine made, and without folders that have nothing else.
fn own_part(mut spool: &File, (at, size): (u64, u64)) -> Result<File, BackendError> {
    let failed = || step("read an archive of the engine's");
    let mut each = |act: &mut Act<'_>| {
        spool.seek(SeekFrom::Start(at)).map_err(failed())?;
        let mut members = Members::new(BufReader::with_capacity(BUFFER, spool.take(size)));
        while let Some(member) = members.next_member().map_err(refused)? {
            let path = inside(&member.name)
                .map_err(|why| refused(TreeError::refused("archive entry", &member.name, why)))?;
            act(&member, &path, &mut members).map_err(failed())?;
        }
        Ok::<_, BackendError>(())
    };
    let (mut theirs, mut ours) = (BTreeSet::new(), BTreeSet::new());
    each(&mut |member, path, _| {
        let folder = path.iter().rposition(|&byte| byte == b'/');
        let folder = folder.map_or(&[] as &[u8], |at| &path[..at]);
        let of = if is_engines(member, path) {
            &mut theirs
        } else {
            &mut ours
        };
        of.insert(folder.to_vec());
        Ok(())
    })?;
    let spooled = tempfile::tempfile().map_err(failed())?;
    let mut layer = Builder::new(io::BufWriter::with_capacity(BUFFER, spooled));
    each(&mut |member, path, mut content| {
        let emptied = theirs.contains(path) && !ours.contains(path);
        if is_engines(member, path) || (emptied && !path.is_empty()) {
            return Ok(());
        }
        append_header(&mut layer, member)?;
        append_content(&mut layer, member.size, &mut content)
    })?;
    let layer = layer.into_inner().map_err(failed())?;
    let mut layer = layer
        .into_inner()
        .map_err(io::IntoInnerError::into_error)
        .map_err(failed())?;
    layer.rewind().map_err(failed())?;
    Ok(layer)
}

type Places = HashMap<String, (u64, u64)>;

/// Where the files of an engine's image archive are, and its manifest.
fn contents(spool: &File) -> io::Result<(Places, Manifest)> {
    let mut archive = tar::Archive::new(spool);
    let mut places = Places::new();
    let mut links = Vec::new();
    let mut manifest = None;
    for entry in archive.entries_with_seek()? {
        let mut entry = entry?;
        let name = entry.path()?.display().to_string();
        if name == "manifest.json" {
            let mut all: Vec<Manifest> = serde_json::from_reader(&mut entry)?;
            manifest = all.pop();
            continue;
        }
        // A layer that two images have is a link to the other's.
        if let Some(target) = entry.link_name()? {
            links.push((name, target.display().to_string()));
            continue;
        }
        places.insert(name, (entry.raw_file_position(), entry.size()));
    }
    for (name, target) in links {
        let target = target.trim_start_matches("../");
        if let Some(place) = places.get(target).copied() {
            places.insert(name, place);
        }
    }
    let manifest = manifest.ok_or_else(|| io::Error::other("it has no manifest.json"))?;
    Ok((places, manifest))
}
