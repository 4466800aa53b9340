//! The base of an environment in a lock.

use serde::Deserialize;
use toml::Spanned;

use crate::digest::Digest;
use crate::documents::error::DocumentError;
use crate::documents::source::Source;
use crate::documents::values::{ImageName, Url};
use crate::rpm::Nevra;

/// An image or a root archive that an environment begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedBase {
    /// Where it comes from.
    pub origin: BaseOrigin,
    /// Its layers, lowest first.
    pub layers: Vec<LockedLayer>,
    /// The packages in it, as its own rpm has them.
    pub installed: Vec<InstalledRpm>,
}

/// Where a base comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseOrigin {
    /// A registry.
    Image {
        /// As the template names it.
        name: ImageName,
        /// Digest of the manifest of the image for the architecture.
        manifest: Digest,
    },
    /// An archive of a whole root.
    Rootfs {
        /// As the template names it.
        url: Url,
        /// Digest of the file.
        sha256: Digest,
    },
}

/// A layer of a base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockedLayer {
    /// Digest of its tar.
    pub diff_id: Digest,
    /// Digest of its blob in the registry; `None` for a root archive.
    pub digest: Option<Digest>,
}

/// A package in a base.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct InstalledRpm {
    /// Its full name.
    pub nevra: Nevra,
    /// Digest of its header.
    pub header: Digest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawBase {
    image: Option<ImageName>,
    manifest: Option<Digest>,
    rootfs: Option<RawRootfs>,
    layers: Vec<RawLayer>,
    installed: Vec<RawInstalled>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawRootfs {
    url: Url,
    sha256: Digest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawLayer {
    diff_id: Digest,
    digest: Option<Digest>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawInstalled {
    nevra: Nevra,
    header: Digest,
}

/// The base of the lock in `source`.
pub(super) fn read(
    source: &Source<'_>,
    raw: Spanned<RawBase>,
) -> Result<LockedBase, DocumentError> {
    let span = raw.span();
    let raw = raw.into_inner();
    let origin = match (raw.image, raw.manifest, raw.rootfs) {
        (Some(name), Some(manifest), None) => BaseOrigin::Image { name, manifest },
        (None, None, Some(RawRootfs { url, sha256 })) => BaseOrigin::Rootfs { url, sha256 },
        _ => {
            return Err(source.error(
                span,
                "a base has either `image` and `manifest`, or `rootfs`",
            ));
        }
    };
    if raw.layers.is_empty() {
        return Err(source.error(span, "the base has no layers"));
    }
    let layers = raw.layers.into_iter().map(|layer| LockedLayer {
        diff_id: layer.diff_id,
        digest: layer.digest,
    });
    let installed = raw.installed.into_iter().map(|rpm| InstalledRpm {
        nevra: rpm.nevra,
        header: rpm.header,
    });
    Ok(LockedBase {
        origin,
        layers: layers.collect(),
        installed: installed.collect(),
    })
}
