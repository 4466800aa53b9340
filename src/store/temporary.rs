//! Files that are being made, in `tmp/`: locked while their maker lives, swept when it is dead.
//!
//! A lock (`flock`) ends with its holder, however that dies, and is seen across PID namespaces;
//! a process id in a name is neither. Names:
//! - `new-*`: files and folders that are worth nothing unfinished;
//! - `partial-KEY`: downloads that a later run resumes.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tempfile::{NamedTempFile, TempDir, TempPath};

use super::error::doing;
use super::{Store, StoreError};

const NEW: &str = "new-";
const PARTIAL: &str = "partial-";

/// A new folder in the store's `tmp/`, removed when dropped, or by a sweep once its maker is dead.
#[derive(Debug)]
pub struct ScratchFolder {
    folder: TempDir,
    _lock: File,
}

impl ScratchFolder {
    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// A download that is not complete. Dropping it keeps what a later run can resume.
#[derive(Debug)]
pub(super) struct Partial {
    file: File,
    path: TempPath,
}

impl Partial {
    /// The file, locked, open for reading and writing.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it when it is dropped: nobody can use what it holds.
    pub(super) fn discard(&mut self) {
        self.path.disable_cleanup(false);
    }

    /// The file and its name, which the caller is to change.
    pub(super) fn into_parts(self) -> (File, TempPath) {
        (self.file, self.path)
    }
}

impl Store {
    /// A new empty folder beside the blobs, for things that are renamed or stored when they are done.
    pub fn scratch_folder(&self) -> Result<ScratchFolder, StoreError> {
        let tmp = self.temporary_folder();
        loop {
            let folder = tempfile::Builder::new()
                .prefix(NEW)
                .tempdir_in(&tmp)
                .map_err(|error| {
                    StoreError::from_write(self.root(), &tmp.join(NEW), None, error)
                })?;
            let lock = match File::open(folder.path()) {
                Ok(lock) => lock,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(doing("open", folder.path())(error)),
            };
            if owned(&lock).map_err(doing("lock", folder.path()))? {
                return Ok(ScratchFolder {
                    folder,
                    _lock: lock,
                });
            }
        }
    }

    /// A new locked file. `needed` is how large it will get, for the message of a full disk.
    pub(super) fn temporary_file(&self, needed: Option<u64>) -> Result<NamedTempFile, StoreError> {
        let tmp = self.temporary_folder();
        loop {
            let file = tempfile::Builder::new()
                .prefix(NEW)
                .tempfile_in(&tmp)
                .map_err(|error| {
                    StoreError::from_write(self.root(), &tmp.join(NEW), needed, error)
                })?;
            if owned(file.as_file()).map_err(doing("lock", file.path()))? {
                return Ok(file);
            }
        }
    }

    /// The partial download of `key`, with what an earlier run left. Without a key, or where
    /// another process has it, a new file that nobody resumes: two runs then load the same thing
    /// twice, safely.
    pub(super) fn partial(
        &self,
        key: Option<&str>,
        needed: Option<u64>,
    ) -> Result<Partial, StoreError> {
        let Some(key) = key else {
            return self.unshared(needed);
        };
        let path = self.temporary_folder().join(format!("{PARTIAL}{key}"));
        loop {
            let file = File::options()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(&path);
            let file =
                file.map_err(|error| StoreError::from_write(self.root(), &path, needed, error))?;
            match file.try_lock() {
                // Meanwhile another process may have completed it: then it is a blob, and no longer ours to write.
                Ok(()) if !is_at(&file, &path).map_err(doing("inspect", &path))? => {}
                Ok(()) => {
                    let mut path = TempPath::try_from_path(&path).map_err(doing("name", &path))?;
                    path.disable_cleanup(true);
                    return Ok(Partial { file, path });
                }
                Err(TryLockError::WouldBlock) => return self.unshared(needed),
                Err(TryLockError::Error(error)) => return Err(doing("lock", &path)(error)),
            }
        }
    }

    fn unshared(&self, needed: Option<u64>) -> Result<Partial, StoreError> {
        let (file, path) = self.temporary_file(needed)?.into_parts();
        Ok(Partial { file, path })
    }

    /// Removes what dead processes left in `tmp/`, and partial downloads that were last written
    /// before `partials_before`. Returns what was removed, sorted.
    pub fn sweep_temporary(&self, partials_before: SystemTime) -> Result<Vec<PathBuf>, StoreError> {
        let tmp = self.temporary_folder();
        let mut removed = Vec::new();
        for entry in fs_err::read_dir(&tmp).map_err(doing("read", &tmp))? {
            let path = entry.map_err(doing("read", &tmp))?.path();
            match sweep(&path, partials_before) {
                Ok(true) => removed.push(path),
                Ok(false) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(doing("remove", &path)(error)),
            }
        }
        removed.sort();
        Ok(removed)
    }
}

/// Locks a file that was just made; false where a sweep was faster and removed it.
fn owned(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(links(file)? > 0),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether `path` still is the name of `file`.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (own.dev(), own.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn links(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.nlink())
}

/// Removes one entry if nobody holds it and it is of no use; says whether it did.
fn sweep(path: &Path, partials_before: SystemTime) -> io::Result<bool> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let partial = name.starts_with(PARTIAL);
    if !partial && !name.starts_with(NEW) {
        return Ok(false);
    }
    let file = File::open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(false),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    if !is_at(&file, path)? {
        return Ok(false);
    }
    let metadata = file.metadata()?;
    if partial && metadata.len() > 0 && metadata.modified()? >= partials_before {
        return Ok(false);
    }
    if metadata.is_dir() {
        std::fs::remove_dir_all(path)?;
    } else {
        std::fs::remove_file(path)?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn store() -> (TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        (folder, store)
    }

    fn left(store: &Store) -> Vec<String> {
        let entries = std::fs::read_dir(store.temporary_folder()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_download_that_another_completed_is_not_written_to() {
        use std::io::Write as _;
        let (_folder, store) = store();
        let digest = crate::digest::Digest::of(b"abc");
        let key = digest.hex();
        let first = store.partial(Some(&key), None).unwrap();
        first.file().write_all(b"abc").unwrap();
        let path = first.path().to_owned();
        // Opened before it has its final name, locked afterwards: as happens to two runs at once.
        let late = File::open(&path).unwrap();
        assert!(is_at(&late, &path).unwrap());
        let (file, name) = first.into_parts();
        store.adopt(file, name, &digest).unwrap();
        late.try_lock().unwrap();
        assert!(links(&late).unwrap() == 1 && !is_at(&late, &path).unwrap());
        let second = store.partial(Some(&key), None).unwrap();
        assert!(
            second.file().metadata().unwrap().len() == 0 && is_at(second.file(), &path).unwrap()
        );
        store.verified(&digest).unwrap();
    }

    #[test]
    fn a_sweep_spares_the_living() {
        let (_folder, store) = store();
        let file = store.temporary_file(None).unwrap();
        let scratch = store.scratch_folder().unwrap();
        let partial = store.partial(Some("x"), None).unwrap();
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert_eq!(store.sweep_temporary(far).unwrap(), Vec::<PathBuf>::new());
        assert!(file.path().exists() && scratch.path().exists() && partial.path().exists());
    }

    #[test]
    fn a_sweep_removes_what_the_dead_left() {
        let (_folder, store) = store();
        let tmp = store.temporary_folder();
        std::fs::create_dir_all(tmp.join("new-folder/deep")).unwrap();
        for (name, content) in [
            ("new-file", ""),
            ("partial-empty", ""),
            ("partial-some", "x"),
            ("other", ""),
        ] {
            crate::files::write_atomic(&tmp.join(name), content.as_bytes()).unwrap();
        }
        store.sweep_temporary(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(left(&store), ["other", "partial-some"]);
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert_eq!(
            store.sweep_temporary(far).unwrap(),
            [tmp.join("partial-some")]
        );
    }

    #[test]
    fn one_process_at_a_time_resumes_a_partial_download() {
        use std::io::Write as _;
        let (_folder, store) = store();
        let first = store.partial(Some("x"), None).unwrap();
        first.file().write_all(b"abc").unwrap();
        let second = store.partial(Some("x"), None).unwrap();
        assert_eq!(second.file().metadata().unwrap().len(), 0);
        assert_ne!(first.path(), second.path());
        drop((first, second));
        assert_eq!(left(&store), ["partial-x"]);
        let mut third = store.partial(Some("x"), None).unwrap();
        assert_eq!(third.file().metadata().unwrap().len(), 3);
        third.discard();
        drop(third);
        assert_eq!(left(&store), Vec::<String>::new());
    }
}
