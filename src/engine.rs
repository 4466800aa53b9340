//! Hands snapshots to a container engine (Docker Engine, or Podman's Docker-compatible socket).
//!
//! The merged tree goes as a plain tar to the engine's import: engines before Docker 25 read no
//! zstd layers. The connection is that of the docker backend.

use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt as _;
use thiserror::Error;

use crate::backend::BackendError;
use crate::backend::docker::Address;
use crate::backend::docker::connect::Engine;
use crate::backend::docker::stream;
use crate::oci::{Image, Layout, OciError};

/// Why an engine did not take a snapshot.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// No engine answers.
    #[error("no container engine takes the snapshot")]
    Unreachable(#[from] BackendError),
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

/// Loads `image` into the engine at `address`, as `repository:tag`.
pub async fn load(
    layout: &Layout,
    image: &Image,
    (repository, tag): (&str, &str),
    address: &Address,
) -> Result<(), EngineError> {
    let engine = Engine::connect(address).await?.api;
    let name = format!("{repository}:{tag}");
    let mut options = CreateImageOptionsBuilder::default()
        .from_src("-")
        // With its tag: Podman does not read the tag where Docker has it.
        .repo(&name);
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
    let (body, writing) = {
        let (layout, image) = (layout.clone(), image.clone());
        stream::body(move |output| layout.export_tar(&image, output))
    };
    let mut answers = Box::pin(engine.create_image(
        Some(options.build()),
        Some(bollard::body_try_stream(body)),
        None,
    ));
    let mut refused = None;
    while let Some(answer) = answers.next().await {
        refused = refused.or(answer.err());
    }
    match (writing.await, refused) {
        // A reader that is gone has said why itself.
        (Ok(Err(source)), None) => Err(source.into()),
        (_, Some(source)) => Err(EngineError::Refused { name, source }),
        _ => Ok(()),
    }
}
