//! Which frames the kept layers have: `frames/HEX` in the layout, by the digest of a layer's tar.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cut::MOST;
use super::{LEVEL, Place};

const VERSION: u32 = 1;

/// A frame of a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::oci) struct Frame {
    /// BLAKE3 of the piece of the tar.
    content: String,
    /// BLAKE3 of the frame.
    packed: String,
    /// Where in the blob it begins, and how many bytes it has there.
    pub(super) offset: u64,
    length: u64,
}

impl Frame {
    /// At the beginning of a blob.
    pub(super) fn new(content: &blake3::Hash, bytes: &[u8]) -> Self {
        Self {
            content: content.to_hex().to_string(),
            packed: blake3::hash(bytes).to_hex().to_string(),
            offset: 0,
            length: bytes.len() as u64,
        }
    }
}

/// The file of a layer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::oci) struct KnownFrames {
    version: u32,
    /// What compressed them: another would give other bytes, and they would depend on what is kept.
    by: String,
    pub(in crate::oci) frames: Vec<Frame>,
}

impl KnownFrames {
    pub(in crate::oci) fn new(frames: Vec<Frame>) -> Self {
        Self {
            version: VERSION,
            by: by(),
            frames,
        }
    }

    /// Those of a file; none where it cannot be understood, or another compressor made them.
    pub(in crate::oci) fn read(text: &[u8]) -> Option<Self> {
        let known: Self = serde_json::from_slice(text).ok()?;
        (known.version == VERSION && known.by == by()).then_some(known)
    }
}

fn by() -> String {
    format!("zstd {} level {LEVEL}", zstd::zstd_safe::version_number())
}

/// The frames of all kept layers.
#[derive(Debug, Default)]
pub(in crate::oci) struct Known(HashMap<String, (Arc<File>, Frame)>);

impl Known {
    /// Adds the frames of a blob.
    pub(in crate::oci) fn add(&mut self, blob: File, known: KnownFrames) {
        let blob = Arc::new(blob);
        for frame in known.frames {
            let place = (Arc::clone(&blob), frame);
            self.0.entry(place.1.content.clone()).or_insert(place);
        }
    }

    /// The frame with that content, read into `bytes` and checked, and where it is; one that is damaged counts as not there.
    pub(super) fn find(
        &self,
        content: &blake3::Hash,
        bytes: &mut Vec<u8>,
    ) -> Option<(Frame, Place)> {
        let (file, frame) = self.0.get(content.to_hex().as_str())?;
        // Nothing is compressed to much more than itself.
        let length = usize::try_from(frame.length).ok()?;
        bytes.resize(Some(length).filter(|length| *length <= 2 * MOST)?, 0);
        file.read_exact_at(bytes, frame.offset).ok()?;
        let whole = blake3::hash(bytes).to_hex().as_str() == frame.packed;
        whole.then(|| (frame.clone(), (Arc::clone(file), frame.offset)))
    }
}
