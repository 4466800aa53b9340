//! Hands snapshots to a container engine (Docker Engine, or Podman's Docker-compatible socket).
//!
//! The merged tree goes as a plain tar to the engine's import: engines before Docker 25 read no
//! zstd layers. The engine is the one that `DOCKER_HOST` names, as for the `docker` command.

use std::io::{self, Write};

use bollard::Docker;
use bollard::query_parameters::CreateImageOptionsBuilder;
use bytes::Bytes;
use futures_util::StreamExt as _;
use thiserror::Error;
use tokio::sync::mpsc;

use crate::oci::{Image, Layout, OciError};

/// Bytes that are handed on at once.
const CHUNK: usize = 1 << 20;

/// Why an engine did not take a snapshot.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// No engine answers.
    #[error("no container engine answers (DOCKER_HOST, else /var/run/docker.sock)")]
    Unreachable(#[source] bollard::errors::Error),
    /// The engine refused.
    #[error("the container engine did not take `{name}`")]
    Refused {
        /// Name and tag of the image.
        name: String,
        /// What it said.
        source: bollard::errors::Error,
    },
    /// The snapshot could not be read.
    #[error("cannot read the snapshot")]
    Snapshot(#[from] OciError),
}

/// Loads `image` into the engine as `repository:tag`.
pub async fn load(
    layout: &Layout,
    image: &Image,
    (repository, tag): (&str, &str),
) -> Result<(), EngineError> {
    let engine = Docker::connect_with_defaults().map_err(EngineError::Unreachable)?;
    let engine = engine
        .negotiate_version()
        .await
        .map_err(EngineError::Unreachable)?;
    let mut options = CreateImageOptionsBuilder::default()
        .from_src("-")
        .repo(repository)
        .tag(tag);
    let labels = image.config.labels.iter();
    let changes: Vec<String> = labels
        .map(|(name, value)| format!("LABEL {name}={value}"))
        .chain(
            image
                .config
                .env
                .iter()
                .map(|(name, value)| format!("ENV {name}={value}")),
        )
        .collect();
    options = options.changes(changes);
    let (sender, receiver) = mpsc::channel(4);
    let writing = {
        let (layout, image) = (layout.clone(), image.clone());
        tokio::task::spawn_blocking(move || {
            let mut output = io::BufWriter::with_capacity(CHUNK, Chunks(sender));
            layout.export_tar(&image, &mut output)?;
            // A reader that is gone has said why itself.
            let _gone = output.flush();
            Ok::<(), OciError>(())
        })
    };
    let body = futures_util::stream::unfold(receiver, |mut receiver| async {
        let chunk = receiver.recv().await?;
        Some((Ok::<Bytes, io::Error>(chunk), receiver))
    });
    let mut answers = Box::pin(engine.create_image(
        Some(options.build()),
        Some(bollard::body_try_stream(body)),
        None,
    ));
    let mut refused = None;
    while let Some(answer) = answers.next().await {
        refused = refused.or(answer.err());
    }
    if let Ok(written) = writing.await {
        written?;
    }
    match refused {
        None => Ok(()),
        Some(source) => Err(EngineError::Refused {
            name: format!("{repository}:{tag}"),
            source,
        }),
    }
}

/// A writer whose chunks another task sends on.
struct Chunks(mpsc::Sender<Bytes>);

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.blocking_send(Bytes::copy_from_slice(bytes)) {
            Ok(()) => Ok(bytes.len()),
            Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
