//! From the layout into a registry.

use bytes::Bytes;
use futures_util::stream;
use oci_client::RegistryOperation;
use oci_client::errors::OciDistributionError;
use tokio::io::AsyncReadExt as _;

use super::error::status;
use super::progress::Progress;
use super::{Registry, RegistryError};
use crate::digest::Digest;
use crate::events::Sink;
use crate::oci::{Image, Layout};

/// Bytes that are read and sent at once.
const CHUNK: usize = 256 << 10;

impl Registry {
    /// Sends an image whose blobs were verified; those that the registry has are passed over. The manifest goes last, so
    /// that nobody sees a part of the image.
    pub async fn push(
        &self,
        layout: &Layout,
        image: &Image,
        sink: &dyn Sink,
    ) -> Result<(), RegistryError> {
        self.log_in(RegistryOperation::Push).await?;
        let (manifest, kind) = layout.manifest(&image.reference.manifest)?;
        let mut blobs = crate::oci::blobs_of(&manifest)?;
        blobs.dedup();
        let progress = Progress::new(sink, &blobs);
        for (digest, size) in blobs {
            if self.has(&digest).await? {
                progress.add(size);
            } else {
                self.send(layout, &digest, &progress).await?;
            }
            progress.file_done();
        }
        let kind = reqwest::header::HeaderValue::from_str(&kind).ok();
        let kind = kind.unwrap_or(reqwest::header::HeaderValue::from_static(
            "application/vnd.oci.image.manifest.v1+json",
        ));
        self.patiently("push the manifest of", || {
            self.client
                .push_manifest_raw(self.name.reference(), manifest.clone(), kind.clone())
        })
        .await?;
        Ok(())
    }

    async fn has(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let digest = digest.to_string();
        self.patiently("look for a blob of", || async {
            match self
                .client
                .blob_exists(self.name.reference(), &digest)
                .await
            {
                // A repository that does not exist yet may not be looked into.
                Err(error) if matches!(status(&error), Some(401 | 403)) => Ok(false),
                other => other,
            }
        })
        .await
    }

    async fn send(
        &self,
        layout: &Layout,
        digest: &Digest,
        progress: &Progress<'_>,
    ) -> Result<(), RegistryError> {
        let name = digest.to_string();
        let (file, size) = layout.open_blob(digest)?;
        let path = file.path().to_owned();
        self.patiently("push a blob of", || async {
            let file = tokio::fs::File::open(&path).await?;
            let pieces = Box::pin(stream::try_unfold(file, |mut file| async move {
                let mut piece = vec![0; CHUNK];
                let length = file.read(&mut piece).await?;
                piece.truncate(length);
                Ok::<_, OciDistributionError>((length > 0).then(|| (Bytes::from(piece), file)))
            }));
            let reference = self.name.reference();
            self.client
                .push_blob_stream(reference, pieces, &name, Some(size))
                .await
        })
        .await?;
        progress.add(size);
        Ok(())
    }
}
