//! Archives into a clone and out of it.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write};

use bollard::models::ChangeType;
use bollard::query_parameters::{
    ContainerArchiveInfoOptionsBuilder, DownloadFromContainerOptionsBuilder,
    UploadToContainerOptionsBuilder,
};
use futures_util::{Stream, StreamExt as _};
use tar::Builder;

use super::clone::DockerClone;
use super::connect::is_missing;
use super::roots::folder;
use super::{step, stream};
use crate::backend::BackendError;
use crate::tree::TreeError;
use crate::tree::encode::{append_content, append_header};
use crate::tree::extract::inside;
use crate::tree::member::{Kind, Member, Members};

pub(super) const BUFFER: usize = 1 << 18;

pub(super) fn refused(error: TreeError) -> BackendError {
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

/// What the clone changed: paths with whether they are new.
pub(super) fn changed(
    clone: &DockerClone,
    id: &str,
) -> Result<BTreeMap<String, ChangeType>, BackendError> {
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
    let place = real_path(clone, &id, path)?;
    // By its real path: Podman 5.8 gives nothing of a folder that is reached by a link.
    let spool = download(clone, &id, (path, &place))?;
    let changed = changed(clone, &id)?;
    let own = changed.get(&place) == Some(&ChangeType::_1);
    let keep = |relative: &[u8]| {
        let full = format!("{place}/{}", String::from_utf8_lossy(relative));
        whole || own || changed.contains_key(&full)
    };
    sorted(&spool, &keep, tar)
}

/// The folder's archive as the engine gives it: merged, unsorted.
fn download(
    clone: &DockerClone,
    id: &str,
    (path, place): (&str, &str),
) -> Result<File, BackendError> {
    let engine = &clone.shared.engine;
    let options = DownloadFromContainerOptionsBuilder::default()
        .path(&format!("{place}/."))
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

pub(super) async fn save(
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
        .and_then(Write::flush)
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
