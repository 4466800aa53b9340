//! What was computed from blobs and is kept to save time: it can be removed at any time, and is made anew.
//!
//! Whoever reads it checks it himself: a file here may be of another version, cut off or damaged.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{Store, StoreError};

impl Store {
    /// Files computed from blobs.
    pub fn derived_folder(&self) -> PathBuf {
        self.root().join("derived")
    }

    /// Where the derived file `name` is, or would be.
    pub fn derived(&self, name: &str) -> PathBuf {
        self.derived_folder().join(name)
    }

    /// Keeps a derived file in place of an older one. Not synced: what a crash leaves of it is seen by its reader.
    pub fn keep_derived(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.keep_derived_by(name, bytes.len() as u64, |file| file.write_all_at(bytes, 0))
    }

    /// The same of a file of this many bytes that `write` writes.
    pub fn keep_derived_by(
        &self,
        name: &str,
        length: u64,
        write: impl FnOnce(&File) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let path = self.derived(name);
        let needed = Some(length);
        let failed = |path: &Path, error| StoreError::from_write(self.root(), path, needed, error);
        let file = self.temporary_file(needed)?;
        let written = file
            .as_file()
            .set_permissions(std::fs::Permissions::from_mode(0o644))
            .and_then(|()| write(file.as_file()));
        written.map_err(|error| failed(file.path(), error))?;
        file.persist(&path)
            .map_err(|error| failed(&path, error.error))?;
        Ok(())
    }

    /// Removes all derived files but those that `wanted` names; gives what was removed.
    pub fn sweep_derived(&self, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, StoreError> {
        let folder = self.derived_folder();
        let doing = super::error::doing;
        let mut removed = Vec::new();
        for entry in fs_err::read_dir(&folder).map_err(doing("read", &folder))? {
            let entry = entry.map_err(doing("read", &folder))?;
            if !entry.file_name().to_str().is_some_and(&wanted) {
                let path = entry.path();
                fs_err::remove_file(&path).map_err(doing("remove", &path))?;
                removed.push(path);
            }
        }
        removed.sort();
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_files_are_replaced_and_swept() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        for text in ["one", "two"] {
            store.keep_derived("a", text.as_bytes()).unwrap();
            assert_eq!(fs_err::read(store.derived("a")).unwrap(), text.as_bytes());
        }
        store.keep_derived("b", b"").unwrap();
        assert_eq!(
            store.sweep_derived(|name| name == "b").unwrap(),
            [store.derived("a")]
        );
        assert!(store.derived("b").exists());
    }
}
