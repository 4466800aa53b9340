//! From a registry into the layout.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use oci_client::RegistryOperation;
use oci_client::client::{BlobResponse, SizedStream};
use oci_client::errors::OciDistributionError;

use super::error::{passing, status};
use super::progress::Progress;
use super::{Registry, RegistryError};
use crate::digest::Digest;
use crate::events::Sink;
use crate::oci::{self, BlobWriter, Image, Layout, OciError};

/// What a manifest may be: an image or an index, by OCI's names and by Docker's older ones.
const ACCEPTED: [&str; 4] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
/// Blobs at once.
const PARALLEL: usize = 3;
/// No manifest or index is near this, in bytes.
const LARGEST_MANIFEST: usize = 4 << 20;

/// Why one try of a blob ended.
enum Broken {
    /// The registry, or the way there.
    Registry(OciDistributionError),
    /// It may be better the next time.
    Passing(RegistryError),
    /// This machine.
    Fatal(RegistryError),
}

impl From<OciError> for Broken {
    fn from(error: OciError) -> Self {
        Self::Fatal(error.into())
    }
}

impl Registry {
    /// Brings the image for `architecture` (RPM's name, such as `x86_64`) into the layout; blobs that are there, whole
    /// and unchanged, are not fetched again. Where the name has a digest, nothing with another one is taken.
    pub async fn pull(
        &self,
        layout: &Layout,
        architecture: &str,
        sink: &dyn Sink,
    ) -> Result<Image, RegistryError> {
        self.log_in(RegistryOperation::Pull).await?;
        let manifest = self.manifest(architecture).await?;
        let mut blobs = oci::blobs_of(&manifest)?;
        let layers = blobs.split_off(1);
        self.blobs(layout, blobs, sink).await?;
        let image = layout.inspect(&manifest)?;
        let wanted = oci::architecture(architecture).to_string();
        let own = &image.config.architecture;
        if *own != wanted {
            return Err(self.other_architectures(architecture, vec![own.clone()]));
        }
        self.blobs(layout, layers, sink).await?;
        Ok(layout.adopt(&manifest)?)
    }

    /// Fetches those of the blobs that the layout lacks.
    async fn blobs(
        &self,
        layout: &Layout,
        blobs: Vec<(Digest, u64)>,
        sink: &dyn Sink,
    ) -> Result<(), RegistryError> {
        let mut missing = Vec::new();
        for (digest, size) in blobs {
            if !missing.contains(&(digest, size)) && !layout.holds(&digest, size)? {
                missing.push((digest, size));
            }
        }
        let progress = Progress::new(sink, &missing);
        let each = missing
            .iter()
            .map(|blob| self.blob(layout, *blob, &progress));
        stream::iter(each)
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await
    }

    /// The manifest of the image for `architecture`.
    async fn manifest(&self, architecture: &str) -> Result<Vec<u8>, RegistryError> {
        let document = self
            .document(self.name.reference(), self.name.digest())
            .await?;
        let Some(variants) = oci::parse_index(&document)? else {
            return Ok(document);
        };
        let wanted = oci::architecture(architecture).to_string();
        let fitting = variants
            .iter()
            .find(|variant| variant.architecture == wanted);
        let Some(variant) = fitting else {
            let mut available: Vec<String> = variants
                .into_iter()
                .map(|variant| variant.architecture)
                .collect();
            available.sort();
            available.dedup();
            return Err(self.other_architectures(architecture, available));
        };
        let pinned = self.name.with_digest(&variant.manifest);
        self.document(pinned.reference(), Some(variant.manifest))
            .await
    }

    fn other_architectures(&self, architecture: &str, available: Vec<String>) -> RegistryError {
        RegistryError::Architecture {
            name: self.name.to_string(),
            architecture: architecture.to_owned(),
            available,
        }
    }

    async fn document(
        &self,
        reference: &oci_client::Reference,
        expected: Option<Digest>,
    ) -> Result<Vec<u8>, RegistryError> {
        let pull = || {
            self.client
                .pull_manifest_raw(reference, self.auth(), &ACCEPTED)
        };
        let answer = self
            .patiently("read the manifest of", || async {
                match pull().await {
                    // Compared below, where both digests are named.
                    Err(OciDistributionError::DigestError(error)) => Ok(Err(error)),
                    other => other.map(|(bytes, _digest)| Ok(bytes)),
                }
            })
            .await?;
        let bytes = match answer {
            Ok(bytes) => bytes,
            Err(error) => return Err(self.wrong_manifest(expected, error)),
        };
        if bytes.len() > LARGEST_MANIFEST {
            return Err(RegistryError::Length {
                name: self.name.to_string(),
                expected: LARGEST_MANIFEST as u64,
                found: bytes.len() as u64,
            });
        }
        let found = Digest::of(&bytes);
        match expected {
            Some(expected) if expected != found => {
                Err(self.mismatch("the manifest", (expected, found)))
            }
            _ => Ok(bytes.to_vec()),
        }
    }

    /// The digest that came differs from the one asked for, or from the one that the registry itself stated.
    fn wrong_manifest(
        &self,
        expected: Option<Digest>,
        error: oci_client::errors::DigestError,
    ) -> RegistryError {
        use oci_client::errors::DigestError::VerificationError;
        if let VerificationError {
            expected: stated,
            actual,
        } = &error
            && let (Ok(stated), Ok(found)) = (stated.parse(), actual.parse())
        {
            return self.mismatch("the manifest", (expected.unwrap_or(stated), found));
        }
        self.failed("read the manifest of", 1, error.into())
    }

    fn mismatch(&self, what: &'static str, (expected, found): (Digest, Digest)) -> RegistryError {
        RegistryError::Digest {
            what,
            name: self.name.to_string(),
            expected,
            found,
        }
    }

    /// Fetches one blob; what breaks off is resumed, what is wrong is fetched anew.
    async fn blob(
        &self,
        layout: &Layout,
        (digest, size): (Digest, u64),
        progress: &Progress<'_>,
    ) -> Result<(), RegistryError> {
        let doing = "pull a blob of";
        let mut writer = layout.blob_writer()?;
        let mut tries = 1;
        loop {
            let before = writer.length();
            let broken = match self.receive(&mut writer, (digest, size), progress).await {
                Ok(()) => {
                    let found = writer.digest();
                    if found == digest {
                        writer.finish(&digest, size)?;
                        progress.file_done();
                        return Ok(());
                    }
                    progress.take_back(writer.length());
                    writer.restart()?;
                    Broken::Passing(self.mismatch("a blob", (digest, found)))
                }
                Err(broken) => broken,
            };
            // Bytes that came are progress: a slow and shaky line is no reason to give up.
            if writer.length() > before {
                tries = 1;
            }
            match broken {
                Broken::Fatal(error) => return Err(error),
                Broken::Registry(error) if tries >= self.options.attempts || !passing(&error) => {
                    return Err(self.failed(doing, tries, error));
                }
                Broken::Passing(error) if tries >= self.options.attempts => return Err(error),
                Broken::Registry(error) => tracing::debug!(%digest, %error, "a try failed"),
                Broken::Passing(error) => tracing::debug!(%digest, %error, "a try failed"),
            }
            self.pause(tries).await;
            tries += 1;
        }
    }

    /// One try: from where the last one ended to the end of the blob.
    async fn receive(
        &self,
        writer: &mut BlobWriter,
        (digest, size): (Digest, u64),
        progress: &Progress<'_>,
    ) -> Result<(), Broken> {
        let from = writer.length();
        if from == size {
            return Ok(());
        }
        let text = digest.to_string();
        let reference = self.name.reference();
        let answer = if from == 0 {
            let whole = self.client.pull_blob_stream(reference, text.as_str());
            whole.await.map(BlobResponse::Full)
        } else {
            let rest = self
                .client
                .pull_blob_stream_partial(reference, text.as_str(), from, None);
            rest.await
        };
        let mut body: SizedStream = match answer {
            Ok(BlobResponse::Partial(body)) => body,
            Ok(BlobResponse::Full(body)) => {
                if from > 0 {
                    progress.take_back(from);
                    writer.restart()?;
                }
                body
            }
            // It has less than what was there already, which then is something else.
            Err(error) if from > 0 && status(&error) == Some(416) => {
                progress.take_back(from);
                writer.restart()?;
                return Err(Broken::Passing(self.failed("pull a blob of", 1, error)));
            }
            Err(error) => return Err(Broken::Registry(error)),
        };
        while let Some(piece) = body.next().await {
            let piece = match piece {
                Ok(piece) => piece,
                // It was whole, but wrong: the caller's own digest says how.
                Err(_wrong) if writer.length() == size => break,
                Err(error) => return Err(Broken::Registry(error.into())),
            };
            let length = writer.length() + piece.len() as u64;
            if length > size {
                return Err(Broken::Fatal(RegistryError::Length {
                    name: self.name.to_string(),
                    expected: size,
                    found: length,
                }));
            }
            writer.write(&piece)?;
            progress.add(piece.len() as u64);
        }
        if writer.length() < size {
            let cut = format!("the blob ended after {} of {size} bytes", writer.length());
            let error = std::io::Error::new(std::io::ErrorKind::UnexpectedEof, cut);
            return Err(Broken::Registry(error.into()));
        }
        Ok(())
    }
}
