//! Clones that are kept by name, to come back to: a file each in the store, `kept/NAME.json`, and roots for what
//! changed in them.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::Digest;
use crate::files;

/// The format version that this program writes and reads.
pub const FORMAT: u32 = 1;
/// The folder in the store.
pub const FOLDER: &str = "kept";

/// A clone that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Format version.
    pub format: u32,
    /// Its name.
    pub name: String,
    /// What the prompt says of it.
    pub label: String,
    /// Manifest digest of the snapshot below it.
    pub snapshot: Digest,
    /// Roots with what was changed, lowest first, on top of the snapshot's.
    pub roots: Vec<String>,
    /// Whether the builder has other ids in it, so that it can write the project's folder.
    pub writable: bool,
    /// Where a shell starts.
    pub folder: String,
    /// What a build has in its environment.
    pub environment: BTreeMap<String, String>,
    /// When it was left last, RFC 3339 in UTC.
    pub left: String,
}

/// Why a kept clone cannot be had.
#[derive(Debug, Error)]
pub enum KeptError {
    /// The file system refused.
    #[error("cannot {doing} `{path}`")]
    File {
        /// To read after "cannot".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Its cause.
        source: std::io::Error,
    },
    /// It is of a newer version, or none of ours.
    #[error(
        "`{path}` does not describe a kept clone of a format that this version reads ({FORMAT})"
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        source: serde_json::Error,
    },
}

fn path(store: &Path, name: &str) -> PathBuf {
    store.join(FOLDER).join(format!("{name}.json"))
}

impl Kept {
    /// The kept clone of that name, if there is one.
    pub fn load(store: &Path, name: &str) -> Result<Option<Self>, KeptError> {
        let path = path(store, name);
        let text = match fs_err::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|source| KeptError::File {
                doing: "read",
                path: path.clone(),
                source,
            })?,
        };
        let wrong = |source| KeptError::Format {
            path: path.clone(),
            source,
        };
        let kept: Self = serde_json::from_str(&text).map_err(wrong)?;
        if kept.format > FORMAT {
            let newer = format!("its format is {}", kept.format);
            return Err(wrong(serde::de::Error::custom(newer)));
        }
        Ok(Some(kept))
    }

    /// All kept clones of a store, by name.
    pub fn list(store: &Path) -> Result<Vec<Self>, KeptError> {
        let folder = store.join(FOLDER);
        let failed = |source| KeptError::File {
            doing: "list",
            path: folder.clone(),
            source,
        };
        let entries = match fs_err::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            let name = name.to_string_lossy().into_owned();
            names.extend(name.strip_suffix(".json").map(str::to_owned));
        }
        names.sort();
        let loaded = names.iter().map(|name| Self::load(store, name));
        Ok(loaded
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .collect())
    }

    /// Writes it down.
    pub fn save(&self, store: &Path) -> Result<(), KeptError> {
        let path = path(store, &self.name);
        let failed = |source| KeptError::File {
            doing: "write",
            path: path.clone(),
            source,
        };
        fs_err::create_dir_all(store.join(FOLDER)).map_err(failed)?;
        let text = serde_json::to_string_pretty(self).map_err(|error| failed(error.into()))?;
        files::write_atomic(&path, format!("{text}\n").as_bytes()).map_err(failed)
    }

    /// Forgets it. Its roots are the caller's to remove.
    pub fn forget(&self, store: &Path) -> Result<(), KeptError> {
        let path = path(store, &self.name);
        fs_err::remove_file(&path).map_err(|source| KeptError::File {
            doing: "remove",
            path,
            source,
        })
    }
}

/// Whether a text can name a kept clone.
pub fn is_name(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && name.len() <= 64 && !name.starts_with(['.', '-']) && name.bytes().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_clones_are_found_by_name_and_forgotten() {
        let store = tempfile::tempdir().unwrap();
        assert_eq!(Kept::list(store.path()).unwrap(), []);
        assert_eq!(Kept::load(store.path(), "a").unwrap(), None);
        let kept = Kept {
            format: FORMAT,
            name: "a".to_owned(),
            label: "trial 20260102".to_owned(),
            snapshot: Digest::of(b"image"),
            roots: vec!["kept-a.1".to_owned()],
            writable: false,
            folder: "/builddir".to_owned(),
            environment: BTreeMap::new(),
            left: "2026-01-02T03:04:05Z".to_owned(),
        };
        kept.save(store.path()).unwrap();
        assert_eq!(Kept::list(store.path()).unwrap().first(), Some(&kept));
        assert_eq!(Kept::load(store.path(), "a").unwrap(), Some(kept.clone()));
        let newer = Kept {
            format: 99,
            ..kept.clone()
        };
        newer.save(store.path()).unwrap();
        assert!(Kept::load(store.path(), "a").is_err());
        kept.forget(store.path()).unwrap();
        assert_eq!(Kept::list(store.path()).unwrap(), []);
    }

    #[test]
    fn names_cannot_be_paths() {
        for (name, good) in [
            ("a-1_b.c", true),
            ("", false),
            ("../x", false),
            (".x", false),
            ("-x", false),
            ("a b", false),
        ] {
            assert_eq!(is_name(name), good, "{name:?}");
        }
    }
}
