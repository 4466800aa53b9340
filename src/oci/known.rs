//! Which blob holds a layer's tar: `diff-ids/HEX` in the layout; marks by which that tar is hashed sooner: `marks/HEX`; and
//! the frames of the blob: `frames/HEX`.

use std::cmp::Reverse;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::frames::{Frame, Known, KnownFrames};
use super::layout::to_json;
use super::{Compression, Layer, Layout, OciError};
use crate::digest::Digest;
use crate::files;
use crate::tree::Mark;

const DIFF_ID_VERSION: u32 = 1;
const MARKS_VERSION: u32 = 1;
/// Where the marks of a layer's tar are, and the frames of its blob.
const MARKS: &str = "marks";
const FRAMES: &str = "frames";
/// Frames are looked for in so many layers: each is a file that is open meanwhile.
const MOST_LAYERS: usize = 32;

/// `marks/<hex>`: where the hashing of that tar stood at some of its members.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KnownMarks {
    version: u32,
    marks: Vec<Mark>,
}

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

    /// Marks of the tar with that SHA-256; none where there are none that can be understood.
    pub fn marks_of(&self, diff_id: &Digest) -> Vec<Mark> {
        let text = fs_err::read(self.marks_file(diff_id)).unwrap_or_default();
        let known: Option<KnownMarks> = serde_json::from_slice(&text).ok();
        known
            .filter(|known| known.version == MARKS_VERSION)
            .map_or_else(Vec::new, |known| known.marks)
    }

    /// Keeps marks of a layer's tar for the next time. They are hints: nothing depends on them.
    pub fn keep_marks(&self, diff_id: &Digest, marks: Vec<Mark>) -> Result<(), OciError> {
        let path = self.marks_file(diff_id);
        let known = KnownMarks {
            version: MARKS_VERSION,
            marks,
        };
        files::write_hint(&path, &to_json(&known)?).map_err(OciError::file("write", &path))
    }

    pub(super) fn marks_file(&self, diff_id: &Digest) -> PathBuf {
        self.path().join(MARKS).join(diff_id.hex())
    }

    /// Notes the frames of a layer's blob, for layers that have some of them too.
    pub(super) fn keep_frames(&self, layer: &Layer, frames: Vec<Frame>) -> Result<(), OciError> {
        let path = self.frames_file(&layer.diff_id);
        let text = to_json(&KnownFrames::new(frames))?;
        files::write_hint(&path, &text).map_err(OciError::file("write", &path))
    }

    /// The frames of the layers that were kept last, as far as they can be had.
    pub(super) fn known_frames(&self) -> Known {
        let mut notes = self.named(FRAMES).unwrap_or_default();
        let written = |path: &PathBuf| fs_err::metadata(path)?.modified();
        notes.sort_by_cached_key(|(_, path)| Reverse(written(path).ok()));
        let mut known = Known::default();
        for (diff_id, path) in notes.into_iter().take(MOST_LAYERS) {
            let text = fs_err::read(&path).unwrap_or_default();
            let Some(frames) = KnownFrames::read(&text) else {
                continue;
            };
            if let Ok(Some(layer)) = self.known(&diff_id)
                && let Ok(blob) = fs_err::File::open(self.blob_path(&layer.digest))
            {
                known.add(blob.into_file(), frames);
            }
        }
        known
    }

    pub(super) fn frames_file(&self, diff_id: &Digest) -> PathBuf {
        self.path().join(FRAMES).join(diff_id.hex())
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
