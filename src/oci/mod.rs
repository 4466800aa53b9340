//! Images: an OCI image layout in the store, its layers, and archives of single images.
//!
//! Invariants: a blob's file name is the SHA-256 of its bytes, checked whenever it is read; the
//! same layers and configuration give the same bytes of manifest and configuration; files
//! appear whole or not at all, and `index.json` is changed under a lock.

use std::collections::BTreeMap;

use crate::digest::Digest;

mod archive;
mod blob;
mod error;
mod flatten;
mod frames;
mod image;
mod known;
mod layer;
mod layout;
mod origin;
mod sweep;
mod tags;

pub use blob::BlobWriter;
pub use error::OciError;
pub use image::{Variant, architecture, blobs_of, parse_index};
pub use layer::{LayerReader, LayerWriter};
pub use layout::Layout;
pub use origin::Origin;
pub use sweep::Contents;
pub use tags::is_tag;

/// How a layer's blob is compressed; decides its media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// `…layer.v1.tar+zstd`: what this tool writes.
    Zstd,
    /// `…layer.v1.tar+gzip`: read only.
    Gzip,
    /// `…layer.v1.tar`: read only.
    Plain,
}

/// One layer: a blob, and the tar stream in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// SHA-256 of the uncompressed tar; for layers of this tool the tree digest.
    pub diff_id: Digest,
    /// SHA-256 of the blob.
    pub digest: Digest,
    /// Length of the blob, bytes.
    pub size: u64,
    /// How the blob is compressed.
    pub compression: Compression,
}

/// What goes into an image's configuration beside its layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    /// The processor, by RPM's name (`x86_64`) or OCI's (`amd64`); OCI's is what is written.
    pub architecture: String,
    /// Time of creation, seconds since 1970.
    pub epoch: i64,
    /// Environment of a container's processes.
    pub env: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// What made each layer, lowest first; more lines than layers describe steps without a layer.
    pub history: Vec<String>,
}

/// The names of an image's parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRef {
    /// SHA-256 of the manifest: the image's name.
    pub manifest: Digest,
    /// SHA-256 of the configuration.
    pub config: Digest,
    /// Layers, lowest first.
    pub layers: Vec<Layer>,
}

/// An image whose manifest and configuration were verified; its layers too, where `Layout::image` gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The names of its parts.
    pub reference: ImageRef,
    /// Its configuration, as far as this tool knows it.
    pub config: ImageConfig,
}
