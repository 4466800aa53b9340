//! Stacks of roots as images of the engine.
//!
//! An image is named by the diff-ids of its layers, and its layers are the archives of the
//! roots, byte for byte: the engine digests them again when it takes them.

use std::io::{self, Write};
use std::path::PathBuf;

use bollard::query_parameters::{
    CreateImageOptionsBuilder, ImportImageOptionsBuilder, RemoveImageOptionsBuilder,
};
use futures_util::StreamExt as _;
use serde_json::json;

use super::connect::{Engine, has_status, is_missing};
use super::stream;
use crate::backend::BackendError;
use crate::digest::Digest;

/// The label with the diff-ids of an image's layers.
pub(super) const LAYERS: &str = "io.pristine.layers";
/// The label with the store's id.
pub(super) const STORE: &str = "io.pristine.store";
/// The image of nothing, for work that needs no image.
const EMPTY: &str = "localhost/pristine/empty:1";

/// A layer: its digest and its archive.
pub(super) type Layer = (Digest, PathBuf);

/// Makes sure that the engine has the image of these layers; gives its name.
pub(super) async fn provide(
    engine: &Engine,
    store: &str,
    layers: &[Layer],
) -> Result<String, BackendError> {
    let ids: Vec<String> = layers.iter().map(|(id, _)| id.hex()).collect();
    let ids = ids.join(",");
    if layers.is_empty() {
        return empty(engine).await;
    }
    let key = Digest::of(ids.as_bytes()).hex();
    let name = format!("localhost/pristine/{store}:{}", &key[..32]);
    if has(engine, &name).await? {
        return Ok(name);
    }
    if let [(_, path)] = layers {
        let labels = [(STORE, store), (LAYERS, &ids)];
        let path = path.clone();
        let write = move |output: &mut dyn Write| {
            io::copy(&mut fs_err::File::open(&path)?, output).map(drop)
        };
        import(engine, &name, &labels, write).await?;
    } else {
        // The lowest layer goes the short way; the rest builds on it.
        Box::pin(provide(engine, store, &layers[..1])).await?;
        let archive = Archive {
            name: name.clone(),
            labels: json!({STORE: store, LAYERS: ids}),
            layers: layers.to_vec(),
        };
        if load(engine, archive.clone(), 1).await.is_err() || !has(engine, &name).await? {
            load(engine, archive, 0).await?;
        }
    }
    verify(engine, &name, layers).await?;
    Ok(name)
}

/// The image of nothing.
pub(super) async fn empty(engine: &Engine) -> Result<String, BackendError> {
    if !has(engine, EMPTY).await? {
        let nothing = |output: &mut dyn Write| output.write_all(&[0; 1024]);
        import(engine, EMPTY, &[], nothing).await?;
    }
    Ok(EMPTY.to_owned())
}

async fn has(engine: &Engine, name: &str) -> Result<bool, BackendError> {
    match engine.api.inspect_image(name).await {
        Ok(_) => Ok(true),
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(engine.failed(format!("look for the image `{name}`"))(error)),
    }
}

/// The engine took what it was given.
async fn verify(engine: &Engine, name: &str, layers: &[Layer]) -> Result<(), BackendError> {
    let image = engine.api.inspect_image(name).await;
    let image = image.map_err(engine.failed(format!("look at the image `{name}`")))?;
    let found = image
        .root_fs
        .and_then(|root| root.layers)
        .unwrap_or_default();
    let given: Vec<String> = layers.iter().map(|(id, _)| id.to_string()).collect();
    if found == given {
        return Ok(());
    }
    remove(engine, name).await?;
    Err(BackendError::Refused {
        what: format!("the image `{name}` of the engine"),
        why: "its layers are not those that it was made of".to_owned(),
    })
}

async fn import(
    engine: &Engine,
    name: &str,
    labels: &[(&str, &str)],
    write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> Result<(), BackendError> {
    let changes = labels
        .iter()
        .map(|(key, value)| format!("LABEL {key}={value}"));
    let options = CreateImageOptionsBuilder::default()
        .from_src("-")
        // With its tag: Podman does not read the tag where Docker has it.
        .repo(name)
        .changes(changes.collect())
        .build();
    let (body, written) = stream::body(write);
    let mut answers = Box::pin(engine.api.create_image(
        Some(options),
        Some(bollard::body_try_stream(body)),
        None,
    ));
    let mut refused = None;
    while let Some(answer) = answers.next().await {
        refused = refused.or(answer.err());
    }
    finish(engine, written, refused).await
}

async fn finish(
    engine: &Engine,
    written: tokio::task::JoinHandle<io::Result<()>>,
    refused: Option<bollard::errors::Error>,
) -> Result<(), BackendError> {
    let read = match written.await {
        // The engine had enough: what it said counts.
        Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Ok(written) => written,
        Err(_) => Ok(()),
    };
    read.map_err(|source| BackendError::Step {
        doing: "read a root".to_owned(),
        source,
    })?;
    match refused {
        Some(error) => Err(engine.failed("give a root to the engine")(error)),
        None => Ok(()),
    }
}

#[derive(Clone)]
struct Archive {
    name: String,
    labels: serde_json::Value,
    layers: Vec<Layer>,
}

/// Loads an image; its lowest `known` layers are in the engine and are not sent.
async fn load(engine: &Engine, archive: Archive, known: usize) -> Result<(), BackendError> {
    let (body, written) = stream::body(move |output| archive.write(known, output));
    let options = ImportImageOptionsBuilder::default().quiet(true).build();
    let mut answers = Box::pin(engine.api.import_image(
        options,
        bollard::body_try_stream(body),
        None,
    ));
    let mut refused = None;
    while let Some(answer) = answers.next().await {
        refused = refused.or(answer.err());
    }
    finish(engine, written, refused).await
}

impl Archive {
    fn write(&self, known: usize, output: &mut dyn Write) -> io::Result<()> {
        let ids: Vec<String> = self.layers.iter().map(|(id, _)| id.to_string()).collect();
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        // Podman wants as many entries as there are layers.
        let entry = json!({"created": "1970-01-01T00:00:00Z", "created_by": "pristine"});
        let config = serde_json::to_vec(&json!({
            "history": vec![entry; ids.len()],
            "architecture": architecture,
            "os": "linux",
            "config": {"Labels": self.labels},
            "rootfs": {"type": "layers", "diff_ids": ids},
        }))?;
        let config_name = format!("{}.json", Digest::of(&config).hex());
        let file_of = |id: &Digest| format!("{}/layer.tar", id.hex());
        let files: Vec<String> = self.layers.iter().map(|(id, _)| file_of(id)).collect();
        let manifest = serde_json::to_vec(&json!([
            {"Config": config_name, "RepoTags": [self.name], "Layers": files}
        ]))?;
        let mut tar = tar::Builder::new(output);
        let header = |size| {
            let mut header = tar::Header::new_ustar();
            header.set_mode(0o644);
            header.set_size(size);
            header
        };
        for (name, bytes) in [
            (config_name.as_str(), &config),
            ("manifest.json", &manifest),
        ] {
            tar.append_data(&mut header(bytes.len() as u64), name, bytes.as_slice())?;
        }
        for (id, path) in &self.layers[known..] {
            let file = fs_err::File::open(path)?;
            let size = file.metadata()?.len();
            let content = io::Read::take(file, size);
            tar.append_data(&mut header(size), file_of(id), content)?;
        }
        tar.into_inner().map(drop)
    }
}

/// Removes an image's name, and with its last one the image.
pub(super) async fn remove(engine: &Engine, name: &str) -> Result<(), BackendError> {
    let options = RemoveImageOptionsBuilder::default().force(false).build();
    match engine.api.remove_image(name, Some(options), None).await {
        // A container of another run's may use it: the next sweep comes.
        Err(error) if !is_missing(&error) && !has_status(&error, 409) => {
            Err(engine.failed(format!("remove the image `{name}`"))(error))
        }
        _ => Ok(()),
    }
}
