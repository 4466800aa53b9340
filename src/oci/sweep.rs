//! What a collection needs of the layout: everything that is in it, and its removal.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Layout, OciError};
use crate::digest::Digest;
use crate::store::{Blob, Discarded};

/// Everything in a layout beside its images.
#[derive(Debug)]
pub struct Contents {
    /// The blobs: layers, manifests, configurations.
    pub blobs: Vec<Blob>,
    /// Layers that this tool made: the digests of the tar and of the blob.
    pub layers: Vec<(Digest, Digest)>,
}

impl Layout {
    /// Lists what is in the layout.
    pub fn contents(&self) -> Result<Contents, OciError> {
        let mut blobs = Vec::new();
        for (digest, path) in self.named("blobs/sha256")? {
            let size = path.metadata();
            let size = size.map_err(OciError::file("inspect", &path))?.len();
            blobs.push(Blob { digest, path, size });
        }
        let mut layers = Vec::new();
        for (diff_id, _) in self.named("diff-ids")? {
            layers.extend(self.recorded(&diff_id)?.map(|blob| (diff_id, blob)));
        }
        Ok(Contents { blobs, layers })
    }

    /// Takes these images out of `index.json`, and forgets how they were made. Their blobs stay.
    pub fn forget(
        &self,
        images: &BTreeSet<Digest>,
        discarded: &mut Discarded,
    ) -> Result<(), OciError> {
        if images.is_empty() {
            return Ok(());
        }
        let _lock = self.lock()?;
        let mut entries = self.read_index()?.manifests().clone();
        let gone: BTreeSet<String> = images.iter().map(ToString::to_string).collect();
        entries.retain(|entry| !gone.contains(&entry.digest().to_string()));
        self.write_index(entries)?;
        for image in images {
            for ending in ["json", "lock"] {
                take(&self.origin_file(image, ending), discarded)?;
            }
        }
        Ok(())
    }

    /// Forgets which blobs are the layers with these diff-ids.
    pub fn forget_layer(
        &self,
        diff_id: &Digest,
        discarded: &mut Discarded,
    ) -> Result<(), OciError> {
        take(&self.path().join("diff-ids").join(diff_id.hex()), discarded)?;
        take(&self.frames_file(diff_id), discarded)?;
        take(&self.marks_file(diff_id), discarded)
    }

    /// The files of a folder that are named by a digest, in its order.
    pub(super) fn named(&self, folder: &str) -> Result<Vec<(Digest, PathBuf)>, OciError> {
        let folder = self.path().join(folder);
        let mut found = Vec::new();
        for entry in fs_err::read_dir(&folder).map_err(OciError::file("list", &folder))? {
            let path = entry.map_err(OciError::file("list", &folder))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if let Ok(digest) = format!("sha256:{name}").parse() {
                found.push((digest, path));
            }
        }
        found.sort();
        Ok(found)
    }
}

fn take(path: &Path, discarded: &mut Discarded) -> Result<(), OciError> {
    if path.exists() {
        discarded.take(path)?;
    }
    Ok(())
}
