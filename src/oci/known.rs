//! Which blob holds a layer's tar: `diff-ids/HEX` in the layout.

use std::io;

use serde::{Deserialize, Serialize};

use super::layout::to_json;
use super::{Compression, Layer, Layout, OciError};
use crate::digest::Digest;
use crate::files;

const DIFF_ID_VERSION: u32 = 1;

/// `diff-ids/<hex>`: the blob that this tool made of a tar.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KnownLayer {
    version: u32,
    digest: Digest,
    size: u64,
}

impl Layout {
    /// Whether there is a note of the layer of the tar with that SHA-256; what it says is for `known_layer` to check.
    pub fn has_note_of(&self, diff_id: &Digest) -> bool {
        self.path().join("diff-ids").join(diff_id.hex()).exists()
    }

    /// The layer that this tool made of the tar with that SHA-256, if its blob is kept.
    ///
    /// The blob is verified; one that is damaged or missing counts as not kept, so that it is made again.
    pub fn known_layer(&self, diff_id: &Digest) -> Result<Option<Layer>, OciError> {
        self.pin(&[*diff_id])?;
        let Some(known) = self.known(diff_id)? else {
            return Ok(None);
        };
        let kept = match self.check_blob(&known.digest, known.size) {
            Ok(()) => true,
            Err(OciError::Missing { .. } | OciError::Damaged { .. }) => false,
            Err(error) => return Err(error),
        };
        Ok((kept && known.version == DIFF_ID_VERSION).then_some(Layer {
            diff_id: *diff_id,
            digest: known.digest,
            size: known.size,
            compression: Compression::Zstd,
        }))
    }

    /// The blob that holds the tar with that SHA-256, as it was noted.
    pub(super) fn recorded(&self, diff_id: &Digest) -> Result<Option<Digest>, OciError> {
        Ok(self.known(diff_id)?.map(|known| known.digest))
    }

    fn known(&self, diff_id: &Digest) -> Result<Option<KnownLayer>, OciError> {
        let path = self.path().join("diff-ids").join(diff_id.hex());
        match fs_err::read(&path) {
            // What cannot be understood is made again.
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(OciError::file("read", &path)(error)),
        }
    }

    pub(super) fn remember(&self, layer: &Layer) -> Result<(), OciError> {
        self.pin(&[layer.diff_id])?;
        let path = self.path().join("diff-ids").join(layer.diff_id.hex());
        let known = KnownLayer {
            version: DIFF_ID_VERSION,
            digest: layer.digest,
            size: layer.size,
        };
        let text = to_json(&known)?;
        files::write_atomic(&path, &text).map_err(OciError::file("write", &path))
    }
}
