//! Images written and read: manifest and configuration.

use std::collections::BTreeMap;

use oci_spec::image::{
    Arch, ConfigBuilder, Descriptor, History, HistoryBuilder, ImageConfiguration,
    ImageConfigurationBuilder, ImageIndex, ImageManifest, ImageManifestBuilder, MediaType, Os,
    Platform, RootFsBuilder, SCHEMA_VERSION,
};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::layout::{blob_name, descriptor, to_json, unwritable};
use super::{Compression, Image, ImageConfig, ImageRef, Layer, Layout, OciError};
use crate::digest::{Digest, DigestError};

impl Compression {
    fn media_type(self) -> MediaType {
        match self {
            Self::Zstd => MediaType::ImageLayerZstd,
            Self::Gzip => MediaType::ImageLayerGzip,
            Self::Plain => MediaType::ImageLayer,
        }
    }

    fn of(media_type: &MediaType) -> Option<Self> {
        match media_type {
            MediaType::ImageLayerZstd => Some(Self::Zstd),
            MediaType::ImageLayerGzip => Some(Self::Gzip),
            MediaType::ImageLayer => Some(Self::Plain),
            MediaType::Other(kind) => match kind.as_str() {
                "application/vnd.docker.image.rootfs.diff.tar.zstd" => Some(Self::Zstd),
                "application/vnd.docker.image.rootfs.diff.tar.gzip" => Some(Self::Gzip),
                "application/vnd.docker.image.rootfs.diff.tar" => Some(Self::Plain),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Layout {
    /// Writes an image of layers that the layout has, and lists it in `index.json`. The same
    /// arguments give the same image.
    pub fn write_image(
        &self,
        layers: &[Layer],
        config: &ImageConfig,
    ) -> Result<ImageRef, OciError> {
        let document = to_json(&configuration(layers, config)?)?;
        let config_digest = self.write_blob(&document)?;
        let layer_descriptors: Result<Vec<_>, _> = layers
            .iter()
            .map(|layer| descriptor(layer.compression.media_type(), &layer.digest, layer.size))
            .collect();
        let manifest = ImageManifestBuilder::default()
            .schema_version(SCHEMA_VERSION)
            .media_type(MediaType::ImageManifest)
            .config(descriptor(
                MediaType::ImageConfig,
                &config_digest,
                document.len() as u64,
            )?)
            .layers(layer_descriptors?)
            .build()
            .map_err(unwritable)?;
        let manifest = to_json(&manifest)?;
        let digest = self.write_blob(&manifest)?;
        self.add_to_index(
            (&digest, manifest.len() as u64),
            &architecture(&config.architecture),
            MediaType::ImageManifest,
        )?;
        Ok(ImageRef {
            manifest: digest,
            config: config_digest,
            layers: layers.to_vec(),
        })
    }

    /// Reads an image and checks its manifest, its configuration and every layer's blob.
    pub fn image(&self, manifest: &Digest) -> Result<Image, OciError> {
        self.pin(&[*manifest])?;
        let image = self.describe(manifest)?;
        for layer in &image.reference.layers {
            self.check_blob(&layer.digest, layer.size)?;
        }
        Ok(image)
    }

    /// The first image that `wanted` names, in the order of digests. It is used: no collection removes it.
    pub fn find(&self, wanted: impl Fn(&Image) -> bool) -> Result<Option<Image>, OciError> {
        let _steady = self.steady()?;
        for digest in self.images()? {
            let image = self.describe(&digest)?;
            if wanted(&image) {
                self.pin(&[digest])?;
                return Ok(Some(image));
            }
        }
        Ok(None)
    }

    /// All images, in the order of their digests, with manifest and configuration verified.
    pub fn all(&self) -> Result<Vec<Image>, OciError> {
        let _steady = self.steady()?;
        let digests = self.images()?.into_iter();
        digests.map(|digest| self.describe(&digest)).collect()
    }

    /// As `image`, but the layers' blobs are not looked at, and it is not noted as used: for lists and searches.
    pub fn describe(&self, manifest: &Digest) -> Result<Image, OciError> {
        parse(
            manifest,
            &self.read_blob(manifest)?,
            &mut |config, _size| self.read_blob(config),
        )
    }
}

/// What Docker called the same documents before there was OCI, and many registries still do.
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

fn is(kind: &MediaType, oci: &MediaType, docker: &str) -> bool {
    kind == oci || kind.as_ref() == docker
}

/// The media type that a manifest has in an index and in a registry.
pub(super) fn manifest_kind(manifest: &[u8]) -> MediaType {
    let parsed = serde_json::from_slice::<ImageManifest>(manifest);
    let kind = parsed.ok().and_then(|parsed| parsed.media_type().clone());
    kind.unwrap_or(MediaType::ImageManifest)
}

/// A variant of an image in an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// The processor, by OCI's name.
    pub architecture: String,
    /// Digest of its manifest.
    pub manifest: Digest,
}

/// The Linux images of an index, in its order; `None` where `document` is no index.
pub fn parse_index(document: &[u8]) -> Result<Option<Vec<Variant>>, OciError> {
    let Ok(index) = serde_json::from_slice::<ImageIndex>(document) else {
        return Ok(None);
    };
    let platforms = index.manifests().iter().filter_map(|entry| {
        let platform = entry.platform().as_ref()?;
        (*platform.os() == Os::Linux).then_some((entry, platform))
    });
    let variant = |(entry, platform): (&Descriptor, &Platform)| {
        Ok(Variant {
            architecture: platform.architecture().to_string(),
            manifest: digest_of(entry, "the image index")?,
        })
    };
    platforms
        .map(variant)
        .collect::<Result<Vec<_>, _>>()
        .map(Some)
}

/// Digest and size of all that a manifest names: the configuration, then the layers.
pub fn blobs_of(manifest: &[u8]) -> Result<Vec<(Digest, u64)>, OciError> {
    let what = || format!("manifest {}", Digest::of(manifest));
    let parsed: ImageManifest = serde_json::from_slice(manifest)
        .map_err(|error| OciError::damaged(what(), error.to_string()))?;
    let all = std::iter::once(parsed.config()).chain(parsed.layers());
    all.map(|entry| Ok((digest_of(entry, &what())?, entry.size())))
        .collect()
}

/// Reads a document by digest and size.
type Read<'a> = dyn FnMut(&Digest, u64) -> Result<Vec<u8>, OciError> + 'a;

/// Reads a manifest and, through `read`, the configuration of that digest and size.
pub(super) fn parse(
    digest: &Digest,
    manifest: &[u8],
    read: &mut Read<'_>,
) -> Result<Image, OciError> {
    let what = || format!("manifest {digest}");
    let damaged = |error: serde_json::Error| OciError::damaged(what(), error.to_string());
    let manifest: ImageManifest = serde_json::from_slice(manifest).map_err(damaged)?;
    if manifest.schema_version() != SCHEMA_VERSION
        || manifest
            .media_type()
            .as_ref()
            .is_some_and(|kind| !is(kind, &MediaType::ImageManifest, DOCKER_MANIFEST))
    {
        return Err(OciError::refused(
            what(),
            "it is not an OCI image manifest of version 2",
        ));
    }
    if !is(
        manifest.config().media_type(),
        &MediaType::ImageConfig,
        DOCKER_CONFIG,
    ) {
        let why = format!(
            "its configuration is a `{}`",
            manifest.config().media_type()
        );
        return Err(OciError::refused(what(), why));
    }
    let config_digest = digest_of(manifest.config(), &what())?;
    let document = read(&config_digest, manifest.config().size())?;
    if document.len() as u64 != manifest.config().size() {
        return Err(super::layout::wrong_size(
            &config_digest,
            document.len() as u64,
            manifest.config().size(),
        ));
    }
    let config: ImageConfiguration = serde_json::from_slice(&document)
        .map_err(|error| OciError::damaged(blob_name(&config_digest), error.to_string()))?;
    let layers = layers(&manifest, &config, &what())?;
    Ok(Image {
        config: read_configuration(&config, &blob_name(&config_digest))?,
        reference: ImageRef {
            manifest: *digest,
            config: config_digest,
            layers,
        },
    })
}

/// The layers that a manifest and its configuration describe together.
fn layers(
    manifest: &ImageManifest,
    config: &ImageConfiguration,
    what: &str,
) -> Result<Vec<Layer>, OciError> {
    let diff_ids = config.rootfs().diff_ids();
    if diff_ids.len() != manifest.layers().len() {
        let why = format!(
            "it has {} layers, its configuration {}",
            manifest.layers().len(),
            diff_ids.len()
        );
        return Err(OciError::refused(what, why));
    }
    let mut layers = Vec::new();
    for (layer, diff_id) in manifest.layers().iter().zip(diff_ids) {
        let kind = layer.media_type();
        layers.push(Layer {
            diff_id: diff_id
                .parse()
                .map_err(|error: DigestError| OciError::refused(what, error.to_string()))?,
            digest: digest_of(layer, what)?,
            size: layer.size(),
            compression: Compression::of(kind).ok_or_else(|| {
                OciError::refused(what, format!("it has a layer of the unknown type `{kind}`"))
            })?,
        });
    }
    Ok(layers)
}

/// The SHA-256 that a descriptor names; other algorithms are refused.
pub(super) fn digest_of(descriptor: &Descriptor, what: &str) -> Result<Digest, OciError> {
    let text = descriptor.digest().to_string();
    text.parse()
        .map_err(|error: DigestError| OciError::refused(what, error.to_string()))
}

fn configuration(layers: &[Layer], config: &ImageConfig) -> Result<ImageConfiguration, OciError> {
    let created = OffsetDateTime::from_unix_timestamp(config.epoch)
        .map_err(unwritable)?
        .format(&Rfc3339)
        .map_err(unwritable)?;
    let process = ConfigBuilder::default()
        .env(
            config
                .env
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect::<Vec<_>>(),
        )
        .cmd(vec!["/bin/sh".to_owned()])
        .working_dir("/")
        .labels(
            config
                .labels
                .clone()
                .into_iter()
                .collect::<std::collections::HashMap<_, _>>(),
        )
        .build()
        .map_err(unwritable)?;
    let steps = config.history.len().max(layers.len());
    let history: Result<Vec<History>, _> = (0..steps)
        .map(|step| {
            let line = config.history.get(step).map_or("", String::as_str);
            let entry = HistoryBuilder::default()
                .created(created.clone())
                .created_by(line);
            if step < layers.len() {
                entry.build()
            } else {
                entry.empty_layer(true).build()
            }
        })
        .collect();
    let diff_ids: Vec<String> = layers
        .iter()
        .map(|layer| layer.diff_id.to_string())
        .collect();
    ImageConfigurationBuilder::default()
        .created(created)
        .architecture(architecture(&config.architecture))
        .os(Os::Linux)
        .config(process)
        .rootfs(
            RootFsBuilder::default()
                .typ("layers")
                .diff_ids(diff_ids)
                .build()
                .map_err(unwritable)?,
        )
        .history(history.map_err(unwritable)?)
        .build()
        .map_err(unwritable)
}

fn read_configuration(config: &ImageConfiguration, what: &str) -> Result<ImageConfig, OciError> {
    let epoch = match config.created() {
        None => 0,
        Some(text) => OffsetDateTime::parse(text, &Rfc3339)
            .map_err(|error| OciError::damaged(what, format!("its time of creation: {error}")))?
            .unix_timestamp(),
    };
    let process = config.config().as_ref();
    let env = process
        .and_then(|process| process.env().as_ref())
        .into_iter()
        .flatten();
    let labels = process
        .and_then(|process| process.labels().as_ref())
        .into_iter()
        .flatten();
    let history = config.history().iter().flatten();
    Ok(ImageConfig {
        architecture: config.architecture().to_string(),
        epoch,
        env: env
            .map(|line| line.split_once('=').unwrap_or((line, "")))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        labels: labels
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect::<BTreeMap<_, _>>(),
        history: history
            .map(|step| step.created_by().clone().unwrap_or_default())
            .collect(),
    })
}

/// OCI's (that is Go's) name of a processor that RPM names.
pub fn architecture(name: &str) -> Arch {
    match name {
        "x86_64" | "amd64" => Arch::Amd64,
        "aarch64" | "arm64" => Arch::ARM64,
        "i386" | "i486" | "i586" | "i686" => Arch::i386,
        "armv7hl" | "armv7l" | "armv6hl" | "arm" => Arch::ARM,
        other => Arch::from(other),
    }
}
