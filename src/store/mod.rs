//! The content-addressed store: downloads, layers, roots and runs of one user on one machine.
//!
//! Invariants:
//! - a file below `blobs/` is complete: it is written and synced elsewhere, then given its name; but for [`Arrived`], which is
//!   synced while it is used;
//! - its name is the SHA-256 of its content when it is written. Disks and people change files, so
//!   whoever uses a blob asks for it with [`Store::verified`], which hashes it again;
//! - any number of processes may use one store at once, and any of them may be killed at any time.
//!
//! Layout 1, below the store's folder:
//!
//! | path | what |
//! | --- | --- |
//! | `store.json` | `{"format":1}`; a newer number is refused |
//! | `blobs/sha256/XX/DIGEST` | blobs; `XX` are the first two hex digits of the digest |
//! | `tmp/` | what is being made: `new-*`, and `partial-DIGEST`, downloads that are resumed |
//! | `locks/NAME` | locks, with a note on who took them last |
//! | `roots/`, `clones/` | the backend's |
//! | `oci/` | OCI image layout of the snapshots |
//! | `runs/` | a folder per run |
//! | `derived/` | what was computed from blobs, to save time |
//! | `pins/` | what running processes rely on, a file each |
//! | `verified.json` | what files looked like when they were hashed last |
//! | `projects/` | the project folders that use the store, a file each |
//!
//! Blobs are 0644 in folders of 0755, because sandboxes read them with other user ids.

mod blobs;
mod derived;
mod error;
pub mod fetch;
mod locks;
mod pins;
mod projects;
mod stamps;
mod sweep;
mod temporary;

use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use crate::files;

pub use blobs::{Arrived, BlobWriter};
pub use error::StoreError;
pub use locks::{Guard, Holder, Mode};
pub use pins::{Collection, Pin};
pub use projects::KnownProject;
pub use stamps::{Stamps, look};
pub use sweep::{Blob, Discarded};
pub use temporary::ScratchFolder;

use error::doing;

/// The layout's version that this program writes and reads.
pub const FORMAT: u32 = 1;

const VERSION_FILE: &str = "store.json";
const FOLDERS: [&str; 11] = [
    "blobs",
    "blobs/sha256",
    "tmp",
    "roots",
    "clones",
    "oci",
    "runs",
    "locks",
    "derived",
    "pins",
    "projects",
];

/// A store on disk. Clones are cheap and mean the same store.
#[derive(Debug, Clone)]
pub struct Store {
    root: Arc<Path>,
    pins: Arc<Mutex<Option<pins::Pins>>>,
}

/// What `store.json` holds.
#[derive(Debug, Serialize, Deserialize)]
struct Version {
    format: u32,
}

impl Store {
    /// Opens the store at `root`, or makes one where there is none or an empty folder.
    ///
    /// A store of a newer layout is refused, and so is a folder that holds other things.
    /// A complete store on a read-only file system opens; writing to it fails later.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let root = std::path::absolute(root).map_err(doing("find the store", root))?;
        make_folder(&root, true)
            .map_err(|error| StoreError::from_write(&root, &root, None, error))?;
        let version = root.join(VERSION_FILE);
        match fs_err::read(&version) {
            Ok(bytes) => check_version(&root, &version, &bytes)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                refuse_foreign(&root)?;
                let text = format!("{{\"format\":{FORMAT}}}\n");
                files::write_atomic(&version, text.as_bytes())
                    .map_err(|error| StoreError::from_write(&root, &version, None, error))?;
            }
            Err(error) => return Err(doing("read", &version)(error)),
        }
        for name in FOLDERS {
            let path = root.join(name);
            make_folder(&path, false)
                .map_err(|error| StoreError::from_write(&root, &path, None, error))?;
        }
        Ok(Self {
            root: root.into(),
            pins: Arc::default(),
        })
    }

    /// The store's own folder, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// All content, named by its digest.
    pub fn blobs_folder(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    /// File trees that a backend keeps; the backend alone looks inside.
    pub fn roots_folder(&self) -> PathBuf {
        self.root.join("roots")
    }

    /// Writable clones of a backend; the backend alone looks inside.
    pub fn clones_folder(&self) -> PathBuf {
        self.root.join("clones")
    }

    /// The OCI image layout of the snapshots.
    pub fn oci_folder(&self) -> PathBuf {
        self.root.join("oci")
    }

    /// The runs, a folder each.
    pub fn runs_folder(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// Files that are being made. On the same file system as all else here, so that a rename suffices.
    /// [`Store::sweep_temporary`] removes what is in it.
    pub fn temporary_folder(&self) -> PathBuf {
        self.root.join("tmp")
    }
}

/// Makes one folder (with its parents, for the store's own) that other user ids can search,
/// whatever the umask. What is there already keeps its mode.
fn make_folder(path: &Path, parents: bool) -> std::io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    match std::fs::DirBuilder::new()
        .recursive(parents)
        .mode(0o755)
        .create(path)
    {
        Ok(()) => std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

fn check_version(root: &Path, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let version: Version = serde_json::from_slice(bytes).map_err(|source| StoreError::Version {
        path: path.to_owned(),
        source,
    })?;
    if version.format > FORMAT {
        return Err(StoreError::Newer {
            root: root.to_owned(),
            found: version.format,
        });
    }
    Ok(())
}

/// Refuses to spread a store over somebody's files: hidden files, a README and the
/// store's own folders (of an opening that was cut short) may be there, nothing else.
fn refuse_foreign(root: &Path) -> Result<(), StoreError> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(root).map_err(doing("read", root))? {
        let entry = entry.map_err(doing("read", root))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let known = |name: &String| {
        name.starts_with('.')
            || name.starts_with("README")
            || FOLDERS.contains(&name.as_str())
            || name == VERSION_FILE
    };
    match names.into_iter().find(|name| !known(name)) {
        Some(entry) => Err(StoreError::Foreign {
            root: root.to_owned(),
            entry,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opening_twice_gives_the_same_store() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("a/b");
        Store::open(&root).unwrap();
        Store::open(&root).unwrap();
        assert_eq!(
            fs_err::read(root.join(VERSION_FILE)).unwrap(),
            b"{\"format\":1}\n"
        );
        for name in FOLDERS {
            let mode = fs_err::metadata(root.join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o7777, 0o755, "{name}");
        }
    }

    #[test]
    fn an_opening_that_was_cut_short_is_completed() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::create_dir(folder.path().join("blobs")).unwrap();
        files::write_atomic(&folder.path().join(".gitkeep"), b"").unwrap();
        Store::open(folder.path()).unwrap();
        assert!(folder.path().join("locks").is_dir());
    }

    #[test]
    fn what_is_no_store_of_ours_is_refused() {
        let cases: [(&str, &str); 4] = [
            (VERSION_FILE, "{\"format\":2}"),
            (VERSION_FILE, "{\"format\":"),
            (VERSION_FILE, "{}"),
            ("thesis.tex", ""),
        ];
        let messages = cases.map(|(name, text)| {
            let folder = tempfile::tempdir().unwrap();
            files::write_atomic(&folder.path().join(name), text.as_bytes()).unwrap();
            let error = Store::open(folder.path()).unwrap_err();
            format!("{:#}", chain(&error)).replace(&*folder.path().to_string_lossy(), "ROOT")
        });
        insta::assert_snapshot!(messages.join("\n"), @"
        the store `ROOT` has layout 2, and this version of pristine knows layouts up to 1: use a newer pristine or another store
        `ROOT/store.json` does not say which layout the store has: EOF while parsing a value at line 1 column 10
        `ROOT/store.json` does not say which layout the store has: missing field `format` at line 1 column 2
        `ROOT` is no store, and not empty (it holds `thesis.tex`): choose an empty or new folder
        ");
    }

    fn chain(error: &dyn std::error::Error) -> String {
        std::iter::successors(Some(error), |error| error.source())
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(": ")
    }
}
