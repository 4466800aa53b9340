//! Archives into a clone and out of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write};

use bollard::models::ChangeType;
use bollard::query_parameters::{
    ContainerArchiveInfoOptionsBuilder, DownloadFromContainerOptionsBuilder,
    UploadToContainerOptionsBuilder,
};
use futures_util::{Stream, StreamExt as _};
use serde::Deserialize;
use tar::Builder;

use super::clone::DockerClone;
use super::connect::is_missing;
use super::roots::{Finished, folder};
use super::wire::{PLACE, TreeStep};
use super::{step, stream};
use crate::backend::BackendError;
use crate::tree::TreeError;
use crate::tree::canonical::{OPAQUE_NAME, WHITEOUT_PREFIX};
use crate::tree::encode::append_header;
use crate::tree::extract::inside;
use crate::tree::member::{Kind, Member, Members};

const BUFFER: usize = 1 << 18;

fn refused(error: TreeError) -> BackendError {
    match error {
        TreeError::Refused { entry, why } => BackendError::Refused { what: entry, why },
        other => step("read the archive")(io::Error::other(other)),
    }
}

/// The folders of a path, without links: engines resolve those.
fn components(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts
}

/// Unpacks an archive below a path of a clone.
pub(super) fn copy_in(
    clone: &mut DockerClone,
    path: &str,
    tar: &mut (dyn Read + Send),
) -> Result<(), BackendError> {
    let id = clone.any_container()?;
    let shared = &clone.shared;
    let engine = &shared.engine;
    let parts = components(path);
    let mut there = parts.len();
    while there > 0 {
        let place = format!("/{}", parts[..there].join("/"));
        let options = ContainerArchiveInfoOptionsBuilder::default()
            .path(&place)
            .build();
        let info = engine.api.get_container_archive_info(&id, Some(options));
        match shared.runtime.block_on(info) {
            Ok(_) => break,
            Err(error) if is_missing(&error) => there -= 1,
            Err(error) => {
                return Err(engine.failed(format!("look for `{path}` in the clone"))(
                    error,
                ));
            }
        }
    }
    let place = format!("/{}", parts[..there].join("/"));
    let mut spool = tempfile::tempfile().map_err(step("spool an archive"))?;
    prefixed(tar, &parts[there..], &mut spool)?;
    spool.rewind().map_err(step("spool an archive"))?;
    let options = UploadToContainerOptionsBuilder::default()
        .path(&place)
        .build();
    shared.runtime.block_on(async {
        let (body, written) = stream::body(move |output| io::copy(&mut spool, output).map(drop));
        let body = bollard::body_try_stream(body);
        let sent = engine
            .api
            .upload_to_container(&id, Some(options), body)
            .await;
        if let Ok(written) = written.await {
            // Where the engine stopped reading it says why.
            written
                .or_else(|error| if sent.is_err() { Ok(()) } else { Err(error) })
                .map_err(step("spool an archive"))?;
        }
        sent.map_err(engine.failed(format!("unpack an archive in `{path}` of the clone")))
    })
}

/// Writes an archive with its entries below folders that are made by it.
fn prefixed(
    tar: &mut (dyn Read + Send),
    folders: &[&str],
    output: &mut File,
) -> Result<(), BackendError> {
    let failed = || step("spool an archive");
    let mut archive = Builder::new(io::BufWriter::with_capacity(BUFFER, output));
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
    for depth in 1..=folders.len() {
        let name = format!("{}/", folders[..depth].join("/"));
        let made = folder(name.as_bytes(), (0, 0, 0o755, now));
        append_header(&mut archive, &made).map_err(failed())?;
    }
    let prefix = match folders {
        [] => String::new(),
        some => format!("{}/", some.join("/")),
    };
    let below = |member: &Member, name: &[u8]| {
        inside(name)
            .map(|path| [prefix.as_bytes(), &path].concat())
            .map_err(|why| refused(TreeError::refused("archive entry", &member.name, why)))
    };
    let mut members = Members::new(BufReader::with_capacity(BUFFER, tar));
    while let Some(mut member) = members.next_member().map_err(refused)? {
        let mut name = below(&member, &member.name)?;
        if member.kind == Kind::HardLink {
            member.link = below(&member, &member.link)?;
        }
        if member.kind == Kind::Folder {
            if name.is_empty() {
                name.push(b'.');
            }
            if !name.ends_with(b"/") {
                name.push(b'/');
            }
        }
        member.name = name;
        append_header(&mut archive, &member).map_err(failed())?;
        append_content(&mut archive, member.size, &mut members).map_err(failed())?;
    }
    members.drain().map_err(refused)?;
    archive
        .into_inner()
        .and_then(|mut output| output.flush())
        .map_err(failed())
}

/// Appends an entry's content and its padding.
fn append_content<W: Write>(
    tar: &mut Builder<W>,
    size: u64,
    content: &mut impl Read,
) -> io::Result<()> {
    let output = tar.get_mut();
    let copied = io::copy(&mut content.take(size), output)?;
    if copied != size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let padding = size.next_multiple_of(512) - size;
    io::copy(&mut io::repeat(0).take(padding), output).map(drop)
}

/// What the clone changed: paths with whether they are new.
fn changed(clone: &DockerClone, id: &str) -> Result<BTreeMap<String, ChangeType>, BackendError> {
    let engine = &clone.shared.engine;
    let found = clone
        .shared
        .runtime
        .block_on(engine.api.container_changes(id));
    let found = found.map_err(engine.failed("list what the clone changed"))?;
    Ok(found
        .unwrap_or_default()
        .into_iter()
        .map(|change| (change.path, change.kind))
        .collect())
}

/// Writes what the clone itself holds of a folder, sorted.
pub(super) fn copy_out(
    clone: &mut DockerClone,
    path: &str,
    tar: &mut (dyn Write + Send),
) -> Result<(), BackendError> {
    // What was committed on the way is the clone's too, and `changes` does not know it.
    let whole = !clone.images.is_empty();
    let id = clone.any_container()?;
    let spool = download(clone, &id, path)?;
    let place = real_path(clone, &id, path)?;
    let changed = changed(clone, &id)?;
    let own = changed.get(&place) == Some(&ChangeType::_1);
    let keep = |relative: &[u8]| {
        let full = format!("{place}/{}", String::from_utf8_lossy(relative));
        whole || own || changed.contains_key(&full)
    };
    sorted(&spool, &keep, tar)
}

/// The folder's archive as the engine gives it: merged, unsorted.
fn download(clone: &DockerClone, id: &str, path: &str) -> Result<File, BackendError> {
    let engine = &clone.shared.engine;
    let place = format!("/{}/.", components(path).join("/"));
    let options = DownloadFromContainerOptionsBuilder::default()
        .path(&place)
        .build();
    let doing = || format!("read `{path}` of the clone");
    let mut spool = tempfile::tempfile().map_err(step(doing()))?;
    clone.shared.runtime.block_on(async {
        let stream = engine.api.download_from_container(id, Some(options));
        save(stream, &mut spool)
            .await?
            .map_err(engine.failed(doing()))
    })?;
    Ok(spool)
}

async fn save(
    stream: impl Stream<Item = Result<bytes::Bytes, bollard::errors::Error>>,
    file: &mut File,
) -> Result<Result<(), bollard::errors::Error>, BackendError> {
    let mut stream = Box::pin(stream);
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(bytes) => file.write_all(&bytes).map_err(step("spool an archive"))?,
            Err(error) => return Ok(Err(error)),
        }
    }
    file.rewind().map_err(step("spool an archive"))?;
    Ok(Ok(()))
}

/// Where a path leads, links resolved.
fn real_path(clone: &DockerClone, id: &str, path: &str) -> Result<String, BackendError> {
    let engine = &clone.shared.engine;
    let mut real = String::new();
    for part in components(path) {
        let place = format!("{real}/{part}");
        let options = ContainerArchiveInfoOptionsBuilder::default()
            .path(&place)
            .build();
        let info = engine.api.get_container_archive_info(id, Some(options));
        let info = clone.shared.runtime.block_on(info);
        let info = info.map_err(engine.failed(format!("look for `{path}` in the clone")))?;
        real = match info.link_target.as_str() {
            "" => place,
            target => format!("/{}", components(target).join("/")),
        };
    }
    Ok(real)
}

/// Writes the kept members of an archive in the order of canonical ones; folders on the way to them come with them.
fn sorted(
    mut spool: &File,
    keep: &dyn Fn(&[u8]) -> bool,
    output: &mut (dyn Write + Send),
) -> Result<(), BackendError> {
    let failed = || step("write the archive");
    let mut members = Members::new(Counting {
        inner: BufReader::with_capacity(BUFFER, spool),
        at: 0,
    });
    let mut found: BTreeMap<Vec<Vec<u8>>, (Member, u64)> = BTreeMap::new();
    let mut contents: HashMap<Vec<u8>, (Member, u64)> = HashMap::new();
    while let Some(member) = members.next_member().map_err(refused)? {
        let path = inside(&member.name)
            .map_err(|why| refused(TreeError::refused("archive entry", &member.name, why)))?;
        let at = members.input().at;
        if member.kind == Kind::File {
            contents.insert(path.clone(), (member.clone(), at));
        }
        if member.kind != Kind::Device && (path.is_empty() || keep(&path)) {
            let parts = path.split(|&byte| byte == b'/');
            let parts = parts.filter(|part| !part.is_empty());
            found.insert(parts.map(<[u8]>::to_vec).collect(), (member, at));
        }
    }
    let mut archive = Builder::new(output);
    let mut first_names: HashMap<u64, Vec<u8>> = HashMap::new();
    for (parts, (mut member, mut at)) in found {
        let path = parts.join(&b'/');
        if member.kind == Kind::HardLink {
            let target = inside(&member.link).unwrap_or_default();
            let Some((file, content)) = contents.get(&target) else {
                continue;
            };
            (member, at) = (file.clone(), *content);
        }
        member.name = match member.kind {
            Kind::Folder if path.is_empty() => b"./".to_vec(),
            Kind::Folder => [path.as_slice(), b"/"].concat(),
            _ => path.clone(),
        };
        if member.kind == Kind::File && member.size > 0 {
            if let Some(first) = first_names.get(&at) {
                (member.kind, member.link, member.size) = (Kind::HardLink, first.clone(), 0);
            } else {
                first_names.insert(at, path);
            }
        }
        append_header(&mut archive, &member).map_err(failed())?;
        if member.size > 0 {
            spool.seek(SeekFrom::Start(at)).map_err(failed())?;
            append_content(&mut archive, member.size, &mut spool).map_err(failed())?;
        }
    }
    archive
        .into_inner()
        .and_then(|output| output.flush())
        .map_err(failed())
}

/// A reader that knows where it is.
struct Counting<R> {
    inner: R,
    at: u64,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.at += length as u64;
        Ok(length)
    }
}

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
fn top_of(clone: &DockerClone) -> Result<(u32, u32, u32, i64), BackendError> {
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

/// A layer without the place of our own program, which the engine makes in the tree when it reads or
/// writes files there.
fn own_part(mut spool: &File, (at, size): (u64, u64)) -> Result<File, BackendError> {
    let failed = || step("read an archive of the engine's");
    let place = PLACE.trim_start_matches('/').as_bytes();
    let parent = place.split(|&byte| byte == b'/').next().unwrap_or(place);
    let below = |path: &[u8], folder: &[u8]| {
        path.strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with(b"/"))
    };
    let mut each = |act: &mut dyn FnMut(&Member, &[u8], &mut dyn Read) -> io::Result<()>| {
        spool.seek(SeekFrom::Start(at)).map_err(failed())?;
        let mut members = Members::new(BufReader::with_capacity(BUFFER, spool.take(size)));
        while let Some(member) = members.next_member().map_err(refused)? {
            let path = inside(&member.name)
                .map_err(|why| refused(TreeError::refused("archive entry", &member.name, why)))?;
            if path != place && !below(&path, place) {
                act(&member, &path, &mut members).map_err(failed())?;
            }
        }
        Ok::<_, BackendError>(())
    };
    let mut parent_used = false;
    each(&mut |_, path, _| {
        parent_used |= below(path, parent);
        Ok(())
    })?;
    let spooled = tempfile::tempfile().map_err(failed())?;
    let mut layer = Builder::new(io::BufWriter::with_capacity(BUFFER, spooled));
    each(&mut |member, path, mut content| {
        if path == parent && !parent_used {
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
