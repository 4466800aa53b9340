//! What a collection needs: all blobs, and a place where what nobody wants waits for its deletion.

use std::path::{Path, PathBuf};

use super::error::doing;
use super::{ScratchFolder, Store, StoreError};
use crate::digest::Digest;

/// A blob in the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Blob {
    /// Its digest, by its name.
    pub digest: Digest,
    /// Its file.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
}

/// What was taken out of the store and is deleted when this is dropped; where the process dies first, by a later sweep.
#[derive(Debug)]
pub struct Discarded {
    folder: ScratchFolder,
    number: u64,
}

impl Discarded {
    /// Takes a file or folder out of the store: a rename, whatever its size.
    pub fn take(&mut self, path: &Path) -> Result<(), StoreError> {
        let target = self.folder.path().join(self.number.to_string());
        self.number += 1;
        std::fs::rename(path, target).map_err(doing("remove", path))
    }
}

impl Store {
    /// All blobs, in the order of their digests.
    pub fn blobs(&self) -> Result<Vec<Blob>, StoreError> {
        let mut found = Vec::new();
        for folder in entries(&self.blobs_folder())? {
            for path in entries(&folder)? {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let Ok(digest) = format!("sha256:{name}").parse() else {
                    continue;
                };
                let size = path.metadata().map_err(doing("inspect", &path))?.len();
                found.push(Blob { digest, path, size });
            }
        }
        found.sort();
        Ok(found)
    }

    /// Removes all that is in the store, and the mark that it is one. Its folder stays, and what was never the store's.
    pub fn empty(&self) -> Result<(), StoreError> {
        for path in entries(self.root())? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let foreign = name.starts_with('.') || name.starts_with("README");
            if foreign || name == super::VERSION_FILE {
                continue;
            }
            let removed = if path.is_dir() && !path.is_symlink() {
                std::fs::remove_dir_all(&path)
            } else {
                std::fs::remove_file(&path)
            };
            removed.map_err(doing("remove", &path))?;
        }
        let version = self.root().join(super::VERSION_FILE);
        std::fs::remove_file(&version).map_err(doing("remove", &version))
    }

    /// A place for what is to be removed.
    pub fn discard(&self) -> Result<Discarded, StoreError> {
        Ok(Discarded {
            folder: self.scratch_folder()?,
            number: 0,
        })
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut paths = Vec::new();
    for entry in fs_err::read_dir(folder).map_err(doing("read", folder))? {
        paths.push(entry.map_err(doing("read", folder))?.path());
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_out_is_gone_at_once_and_deleted_later() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let digest = store.insert(&b"abc"[..], None, None).unwrap();
        let blobs = store.blobs().unwrap();
        assert_eq!(
            (blobs.len(), blobs[0].digest, blobs[0].size),
            (1, digest, 3)
        );
        let mut discarded = store.discard().unwrap();
        discarded.take(&blobs[0].path).unwrap();
        assert_eq!(store.blobs().unwrap(), []);
        drop(discarded);
        assert_eq!(store.temporary_folder().read_dir().unwrap().count(), 0);
    }
}
