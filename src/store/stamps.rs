//! What files looked like when they were hashed last and found whole: `verified.json`.
//!
//! A file that looks the same (inode, size, both times) was not written to since, and need not be hashed for a quick
//! look. What a disk does to it behind the kernel's back is only seen by hashing it.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::doing;
use super::{Store, StoreError};

const FORMAT: u32 = 1;
const FILE: &str = "verified.json";

/// Looks of files, by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamps {
    format: u32,
    looks: BTreeMap<String, String>,
}

impl Stamps {
    /// The stamps that an earlier look left; none where they cannot be understood.
    pub fn load(store: &Store) -> Self {
        let text = fs_err::read(store.root().join(FILE)).unwrap_or_default();
        let read: Option<Self> = serde_json::from_slice(&text).ok();
        read.filter(|stamps| stamps.format == FORMAT)
            .unwrap_or_default()
    }

    /// Keeps them for later.
    pub fn save(mut self, store: &Store) -> Result<(), StoreError> {
        self.format = FORMAT;
        let path = store.root().join(FILE);
        let text =
            serde_json::to_vec(&self).map_err(|error| doing("write", &path)(error.into()))?;
        crate::files::write_atomic(&path, &text)
            .map_err(|error| StoreError::from_write(store.root(), &path, None, error))
    }

    /// Whether something looked like this when it was found whole.
    pub fn has(&self, name: &str, look: &str) -> bool {
        self.looks.get(name).is_some_and(|known| known == look)
    }

    /// Takes over what was found whole just now; tells whether that is anything new.
    pub fn take(&mut self, found: Self) -> bool {
        let new = |(name, look): (&String, &String)| !self.has(name, look);
        let any = found.looks.iter().any(new);
        self.looks.extend(found.looks);
        any
    }

    /// Notes what something looks like that was found whole.
    pub fn note(&mut self, name: String, look: String) {
        self.looks.insert(name, look);
    }
}

/// What a file looks like.
pub fn look(path: &Path) -> Result<String, StoreError> {
    let found = std::fs::metadata(path).map_err(doing("inspect", path))?;
    let (ino, size) = (found.ino(), found.len());
    let times = [
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec(),
    ];
    let times = times.map(|time| time.to_string()).join(" ");
    Ok(format!("{ino} {size} {times}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_to_looks_different() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let path = folder.path().join("file");
        crate::files::write_atomic(&path, b"abc").unwrap();
        let mut stamps = Stamps::load(&store);
        stamps.note("file".to_owned(), look(&path).unwrap());
        stamps.save(&store).unwrap();
        let stamps = Stamps::load(&store);
        assert!(stamps.has("file", &look(&path).unwrap()));
        crate::files::write_atomic(&path, b"abd").unwrap();
        assert!(!stamps.has("file", &look(&path).unwrap()));
    }
}
