//! The project folders that use a store: their locks say what of it is still wanted.
//!
//! A file for each, `projects/KEY.json`, where `KEY` is the SHA-256 of the folder's path: written whole, so that any
//! number of processes may do so at once.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::doing;
use super::{Store, StoreError};
use crate::digest::Digest;

const FORMAT: u32 = 1;

/// A project folder that uses the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KnownProject {
    /// Its folder, absolute.
    pub folder: PathBuf,
    /// Its name, as it was when it used the store last.
    pub name: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Document {
    format: u32,
    folder: PathBuf,
    name: String,
}

impl Store {
    /// Remembers that the project in `folder` uses the store.
    pub fn remember_project(&self, folder: &Path, name: &str) -> Result<(), StoreError> {
        let folder = fs_err::canonicalize(folder).map_err(doing("find", folder))?;
        let document = Document {
            format: FORMAT,
            name: name.to_owned(),
            folder,
        };
        let path = self.project_file(&document.folder);
        let text =
            serde_json::to_vec(&document).map_err(|error| doing("write", &path)(error.into()))?;
        if std::fs::File::open(&path)
            .and_then(|mut file| {
                let mut old = Vec::new();
                std::io::Read::read_to_end(&mut file, &mut old).map(|_length| old == text)
            })
            .unwrap_or(false)
        {
            return Ok(());
        }
        match crate::files::write_atomic(&path, &text) {
            // Nothing can be removed from it either.
            Err(error) if error.kind() == std::io::ErrorKind::ReadOnlyFilesystem => Ok(()),
            written => {
                written.map_err(|error| StoreError::from_write(self.root(), &path, None, error))
            }
        }
    }

    /// The projects that use the store, by folder.
    pub fn projects(&self) -> Result<Vec<KnownProject>, StoreError> {
        let folder = self.root().join("projects");
        let mut found = Vec::new();
        for entry in fs_err::read_dir(&folder).map_err(doing("read", &folder))? {
            let path = entry.map_err(doing("read", &folder))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let text = fs_err::read(&path).map_err(doing("read", &path))?;
            let document: Document = serde_json::from_slice(&text)
                .map_err(|error| doing("understand", &path)(error.into()))?;
            if document.format > FORMAT {
                return Err(StoreError::Newer {
                    root: path,
                    found: document.format,
                });
            }
            found.push(KnownProject {
                folder: document.folder,
                name: document.name,
            });
        }
        found.sort();
        Ok(found)
    }

    /// Forgets a project.
    pub fn forget_project(&self, project: &KnownProject) -> Result<(), StoreError> {
        let path = self.project_file(&project.folder);
        fs_err::remove_file(&path).map_err(doing("remove", &path))
    }

    fn project_file(&self, folder: &Path) -> PathBuf {
        let key = Digest::of(folder.as_os_str().as_bytes()).hex();
        self.root().join("projects").join(format!("{key}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projects_are_remembered_once_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        for (folder, name) in [(&two, "a"), (&one, "b"), (&two, "c")] {
            fs_err::create_dir_all(folder).unwrap();
            store.remember_project(folder, name).unwrap();
        }
        let known = store.projects().unwrap();
        let names: Vec<_> = known.iter().map(|project| project.name.as_str()).collect();
        assert_eq!(names, ["b", "c"]);
        store.forget_project(&known[0]).unwrap();
        assert_eq!(store.projects().unwrap(), known[1..]);
    }
}
