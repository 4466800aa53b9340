//! The tool's own program, with the libraries that it needs, in a volume of the engine's:
//! containers mount it read-only, whatever their image holds.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bollard::models::{ContainerCreateBody, HostConfig, VolumeCreateRequest};
use bollard::query_parameters::{
    ContainerArchiveInfoOptionsBuilder, UploadToContainerOptionsBuilder,
};

use super::connect::Engine;
use super::container::{remove, volume_mount};
use super::stream;
use super::wire::{PLACE, VERB};
use crate::backend::BackendError;
use crate::digest::Digest;

/// The last file that is written: without it the volume is not complete.
const COMPLETE: &str = "complete";
/// Says that a volume holds the program, and of which digest.
const LABEL: &str = "io.pristine.program";

/// Where a container has the volume that is filled.
const FILLED: &str = "/filled";

/// Files by their names in the volume.
type Files = Vec<(String, PathBuf)>;

fn step(doing: &str) -> impl FnOnce(io::Error) -> BackendError {
    let doing = doing.to_owned();
    move |source| BackendError::Step { doing, source }
}

/// Puts the program into the engine where it does not have it; gives the volume's name.
pub(super) async fn provide(
    engine: &Engine,
    program: &Path,
    empty_image: &str,
) -> Result<String, BackendError> {
    let files = files(program).map_err(step("find the libraries of this program"))?;
    let digest = digest(&files).map_err(step("read this program"))?;
    let name = format!("pristine-program-{}", &digest.hex()[..16]);
    let request = VolumeCreateRequest {
        name: Some(name.clone()),
        labels: Some(HashMap::from([(LABEL.to_owned(), digest.to_string())])),
        ..VolumeCreateRequest::default()
    };
    let made = engine.api.create_volume(request).await;
    made.map_err(engine.failed("make the volume of this program"))?;
    let labels = HashMap::from([(LABEL.to_owned(), digest.to_string())]);
    let container = holding(engine, (&name, empty_image), labels).await?;
    let filled = if has(engine, &container, COMPLETE).await {
        Ok(())
    } else {
        upload(engine, &container, move |output| archive(&files, output)).await
    };
    remove(engine, &container).await?;
    filled.map(|()| name)
}

/// Puts what `write` archives into a volume.
pub(super) async fn fill(
    engine: &Engine,
    target: (&str, &str),
    labels: HashMap<String, String>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> Result<(), BackendError> {
    let container = holding(engine, target, labels).await?;
    let filled = upload(engine, &container, write).await;
    remove(engine, &container).await?;
    filled
}

/// A container, never started, by which a volume is looked at and filled.
async fn holding(
    engine: &Engine,
    (volume, empty_image): (&str, &str),
    labels: HashMap<String, String>,
) -> Result<String, BackendError> {
    let body = ContainerCreateBody {
        image: Some(empty_image.to_owned()),
        entrypoint: Some(vec![format!("{PLACE}/loader")]),
        labels: Some(labels),
        host_config: Some(HostConfig {
            mounts: Some(vec![volume_mount(volume, FILLED, false)]),
            network_mode: Some("none".to_owned()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let made = engine.api.create_container(None, body).await;
    Ok(made
        .map_err(engine.failed("make a container for a volume"))?
        .id)
}

async fn has(engine: &Engine, container: &str, name: &str) -> bool {
    let options = ContainerArchiveInfoOptionsBuilder::default()
        .path(&format!("{FILLED}/{name}"))
        .build();
    let info = engine
        .api
        .get_container_archive_info(container, Some(options));
    info.await.is_ok()
}

async fn upload(
    engine: &Engine,
    container: &str,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> Result<(), BackendError> {
    let (body, written) = stream::body(write);
    let options = UploadToContainerOptionsBuilder::default()
        .path(FILLED)
        .build();
    let sent = engine
        .api
        .upload_to_container(container, Some(options), bollard::body_try_stream(body))
        .await;
    match written.await {
        // The engine had enough: what it said counts.
        Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Ok(written) => written.map_err(step("read what is copied into the engine"))?,
        Err(_) => {}
    }
    sent.map_err(engine.failed("copy files into the engine"))
}

fn archive(files: &Files, output: &mut dyn Write) -> io::Result<()> {
    let mut tar = tar::Builder::new(output);
    let header = |size| {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o755);
        header.set_size(size);
        header
    };
    for (name, path) in files {
        let file = fs_err::File::open(path)?;
        let size = file.metadata()?.len();
        tar.append_data(&mut header(size), name, io::Read::take(file, size))?;
    }
    tar.append_data(&mut header(0), COMPLETE, io::empty())?;
    tar.into_inner().map(drop)
}

fn digest(files: &Files) -> io::Result<Digest> {
    let mut list = Vec::new();
    for (name, path) in files {
        let digest = Digest::of_reader(&mut fs_err::File::open(path)?)?.0;
        list.push(format!("{name} {digest}"));
    }
    Ok(Digest::of(list.join("\n").as_bytes()))
}

/// The program, its loader and its libraries, as the loader itself finds them.
#[expect(
    clippy::disallowed_methods,
    reason = "the loader lists the libraries of our own program and runs nothing"
)]
fn files(program: &Path) -> io::Result<Files> {
    let output = std::process::Command::new(program)
        .arg(VERB)
        .env("LD_TRACE_LOADED_OBJECTS", "1")
        .stdin(std::process::Stdio::null())
        .output()?;
    let listed = parse(&String::from_utf8_lossy(&output.stdout));
    if !listed.iter().any(|(name, _)| name == "loader") {
        return Err(io::Error::other(
            "the loader did not list them: was this program linked in an unusual way?",
        ));
    }
    let own = [("pristine".to_owned(), program.to_owned())];
    Ok(own.into_iter().chain(listed).collect())
}

fn parse(listing: &str) -> Files {
    let mut files = Vec::new();
    for line in listing.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(name), Some("=>"), Some(path)) if path.starts_with('/') => {
                files.push((name.to_owned(), PathBuf::from(path)));
            }
            (Some(path), ..) if path.starts_with('/') => {
                files.push(("loader".to_owned(), PathBuf::from(path)));
            }
            _ => {}
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_s_list_is_read() {
        let listing = "\tlinux-vdso.so.1 (0x00007ffc)\n\tlibm.so.6 => /lib/libm.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let expected = [
            ("libm.so.6", "/lib/libm.so.6"),
            ("loader", "/lib64/ld-linux-x86-64.so.2"),
        ]
        .map(|(name, path)| (name.to_owned(), PathBuf::from(path)));
        assert_eq!(parse(listing), expected);
        assert_eq!(parse("\tstatically linked\n"), []);
    }
}
