//! What running processes rely on, so that no collection removes it.
//!
//! A process notes what it is about to use in a file of its own, `pins/new-*`, which it holds locked
//! while it lives. It does so while it shares the gate, the lock `locks/gate`; only then it looks
//! whether the thing is there. A collection holds the gate alone: whatever it removes was either not
//! noted, and then nobody has looked for it yet, or belongs to a process that is dead.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use rustix::fs::{AtFlags, CWD, OFlags};
use serde::{Deserialize, Serialize};

use super::error::doing;
use super::locks::{Guard, Holder, Mode};
use super::{Store, StoreError};
use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::events::Sink;

/// The lock that is shared to note something, and held alone to collect.
const GATE: &str = "gate";

/// How the name of a process's file begins, and how it does before the file is locked and has its first line, where it needs a name then.
const READY: &str = "new-";
const MAKING: &str = "making-";

/// Something that a process relies on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pin {
    /// A blob, a layer by its diff-id, or an image by its manifest.
    Content(Digest),
    /// A run by its name.
    Run(String),
}

/// The first line of a file of pins.
#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    format: u32,
    pid: u32,
    command: String,
}

/// What this process noted so far.
#[derive(Debug)]
pub(super) struct Pins {
    file: File,
    path: PathBuf,
    noted: BTreeSet<Pin>,
}

impl Drop for Pins {
    fn drop(&mut self) {
        // Where it stays, the next collection sees that it is nobody's.
        let _stays = std::fs::remove_file(&self.path);
    }
}

/// The gate, held alone: nothing can be noted, and so nothing new be relied on, while this lives.
#[derive(Debug)]
#[must_use = "the gate is open again as soon as this is dropped"]
pub struct Collection {
    _gate: Guard,
    pinned: BTreeMap<Pin, Holder>,
    others: Vec<Holder>,
}

impl Collection {
    /// What other living processes rely on, and who does.
    pub fn pinned(&self) -> &BTreeMap<Pin, Holder> {
        &self.pinned
    }

    /// The other living processes that rely on anything.
    pub fn others(&self) -> &[Holder] {
        &self.others
    }
}

impl Store {
    /// Notes what this process is about to use; whether it is there is looked for afterwards.
    pub fn pin(&self, pins: &[Pin]) -> Result<(), StoreError> {
        let mut own = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        let new: Vec<&Pin> = match &*own {
            Some(own) => pins.iter().filter(|pin| !own.noted.contains(pin)).collect(),
            None => pins.iter().collect(),
        };
        if new.is_empty() {
            return Ok(());
        }
        let _gate = match self.share_gate() {
            // Nobody can remove anything from it either.
            Err(StoreError::ReadOnly { .. }) => return Ok(()),
            gate => gate?,
        };
        let own = match &mut *own {
            Some(own) => own,
            none => none.insert(self.start_pins()?),
        };
        let mut lines = Vec::new();
        for pin in &new {
            serde_json::to_writer(&mut lines, pin)
                .map_err(|error| doing("write", &own.path)(error.into()))?;
            lines.push(b'\n');
        }
        own.file
            .write_all(&lines)
            .map_err(|error| StoreError::from_write(self.root(), &own.path, None, error))?;
        own.noted.extend(new.into_iter().cloned());
        Ok(())
    }

    /// Notes content by its digest.
    pub fn pin_content(&self, digests: &[Digest]) -> Result<(), StoreError> {
        let pins: Vec<Pin> = digests.iter().copied().map(Pin::Content).collect();
        self.pin(&pins)
    }

    /// Keeps collections out while several things are looked at together.
    pub fn share_gate(&self) -> Result<Guard, StoreError> {
        self.wait_for(GATE, Mode::Shared)
    }

    /// Waits until nobody notes anything, and keeps the gate closed while the value lives. What this process noted
    /// itself is not asked for: who collects has no more use of it.
    pub fn collection(&self, sink: &dyn Sink, cancel: &Cancel) -> Result<Collection, StoreError> {
        let gate = self.lock(GATE, Mode::Exclusive, sink, cancel)?;
        let mut collection = Collection {
            _gate: gate,
            pinned: BTreeMap::new(),
            others: Vec::new(),
        };
        let folder = self.pins_folder();
        let own = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        let own = own.as_ref().map(|own| own.path.as_path());
        for entry in fs_err::read_dir(&folder).map_err(doing("read", &folder))? {
            let path = entry.map_err(doing("read", &folder))?.path();
            if own == Some(path.as_path()) {
                continue;
            }
            read_pins(&path, &mut collection).map_err(doing("read", &path))?;
        }
        Ok(collection)
    }

    fn pins_folder(&self) -> PathBuf {
        self.root().join("pins")
    }

    /// Makes this process's own file. The gate is shared meanwhile, so that no collection takes it for a dead one's.
    fn start_pins(&self) -> Result<Pins, StoreError> {
        let folder = self.pins_folder();
        let failed = |error| StoreError::from_write(self.root(), &folder.join("new"), None, error);
        remove_dead(&folder).map_err(failed)?;
        let owner = Owner {
            format: 1,
            pid: std::process::id(),
            command: super::locks::command_line(),
        };
        let mut line =
            serde_json::to_vec(&owner).map_err(|error| doing("write", &folder)(error.into()))?;
        line.push(b'\n');
        // Whatever keeps the first from working, the second says so, or does not mind.
        let (file, path) = born_locked(&folder, &line)
            .or_else(|_cannot| locked_at_once(&folder, &line))
            .map_err(failed)?;
        Ok(Pins {
            file,
            path,
            noted: BTreeSet::new(),
        })
    }
}

/// A file that has no name before it is locked and has its first line: a process that is killed leaves nothing half made.
fn born_locked(folder: &Path, line: &[u8]) -> io::Result<(File, PathBuf)> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(
        folder,
        flags,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
    )?);
    file.lock()?;
    file.write_all(line)?;
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    let named = tempfile::Builder::new()
        .prefix(READY)
        .make_in(folder, |path| {
            rustix::fs::linkat(CWD, &unnamed, CWD, path, AtFlags::SYMLINK_FOLLOW)
                .map_err(io::Error::from)
        })?;
    let ((), path) = named.keep().map_err(|error| error.error)?;
    Ok((file, path))
}

/// The same where the file system knows no files without a name, or there is no `/proc`: it has another name until it is ready.
fn locked_at_once(folder: &Path, line: &[u8]) -> io::Result<(File, PathBuf)> {
    let file = tempfile::Builder::new()
        .prefix(MAKING)
        .tempfile_in(folder)?;
    file.as_file().lock()?;
    file.as_file().write_all(line)?;
    let name = file
        .path()
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let path = folder.join(name.replacen(MAKING, READY, 1));
    let file = file.persist(&path).map_err(|error| error.error)?;
    Ok((file, path))
}

/// Removes what processes left that were killed, so that it does not add up where nothing is ever collected. A file that is
/// being made may have no lock yet: only a collection, which keeps all others out, removes one of those.
fn remove_dead(folder: &Path) -> io::Result<()> {
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        let named = path.file_name().unwrap_or_default().to_string_lossy();
        if !named.starts_with(READY) {
            continue;
        }
        let lock = File::open(&path).map(|file| file.try_lock_shared().map(|()| file));
        if let Ok(Ok(_held)) = lock {
            std::fs::remove_file(&path).or_else(gone)?;
        }
    }
    Ok(())
}

/// Adds what a living process noted; removes the file of a dead one.
fn read_pins(path: &Path, collection: &mut Collection) -> io::Result<()> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    match file.try_lock_shared() {
        Ok(()) => return std::fs::remove_file(path).or_else(gone),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let text = fs_err::read_to_string(path).or_else(|error| gone(error).map(|()| String::new()))?;
    let mut lines = text.lines();
    let owner = lines
        .next()
        .and_then(|line| serde_json::from_str::<Owner>(line).ok());
    let holder = Holder {
        pid: owner.as_ref().map_or(0, |owner| owner.pid),
        command: owner.map_or_else(|| "unknown".to_owned(), |owner| owner.command),
        since: file.metadata()?.created().ok(),
    };
    for line in lines {
        let pin: Pin = serde_json::from_str(line)?;
        collection.pinned.insert(pin, holder.clone());
    }
    collection.others.push(holder);
    Ok(())
}

fn gone(error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Silent;

    fn pinned(store: &Store) -> Vec<Pin> {
        let cancel = Cancel::new().unwrap();
        let collection = store.collection(&Silent, &cancel).unwrap();
        collection.pinned().keys().cloned().collect()
    }

    #[test]
    fn what_a_living_process_noted_is_known_and_what_a_dead_one_did_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let [one, two] = [b"1", b"2"].map(|text| Digest::of(text));
        store.pin_content(&[one, two]).unwrap();
        store.pin_content(&[one]).unwrap();
        store.pin(&[Pin::Run("r".to_owned())]).unwrap();
        let other = Store::open(folder.path()).unwrap();
        let mut expected = vec![
            Pin::Content(one),
            Pin::Content(two),
            Pin::Run("r".to_owned()),
        ];
        expected.sort();
        assert_eq!(pinned(&other), expected);
        // As a process that is killed leaves it: the file, and no lock.
        let left = fs_err::read_dir(other.pins_folder()).unwrap().next();
        let left = left.unwrap().unwrap().path();
        let text = fs_err::read(&left).unwrap();
        assert_eq!(pinned(&store), []);
        drop(store);
        assert!(!left.exists());
        crate::files::write_atomic(&left, &text).unwrap();
        assert_eq!(pinned(&other), []);
        assert!(!left.exists());
    }

    #[test]
    fn what_the_dead_left_does_not_add_up() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let left = store.pins_folder().join("new-dead");
        let making = store.pins_folder().join("making-perhaps-alive");
        for path in [&left, &making] {
            fs_err::write(path, "").unwrap();
        }
        let living = Store::open(folder.path()).unwrap();
        living.pin(&[Pin::Run("a".to_owned())]).unwrap();
        store.pin(&[Pin::Run("b".to_owned())]).unwrap();
        assert!(!left.exists() && making.exists());
        let other = Store::open(folder.path()).unwrap();
        assert_eq!(pinned(&other).len(), 2);
        assert!(!making.exists());
    }

    #[test]
    fn files_are_made_with_and_without_a_name_and_locked_either_way() {
        let folder = tempfile::tempdir().unwrap();
        for make in [born_locked, locked_at_once] {
            let (file, path) = make(folder.path(), b"line\n").unwrap();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            assert!(name.starts_with(READY), "{name}");
            assert_eq!(fs_err::read(&path).unwrap(), b"line\n");
            let other = File::open(&path).unwrap();
            assert!(matches!(
                other.try_lock_shared(),
                Err(TryLockError::WouldBlock)
            ));
            drop(file);
            other.try_lock_shared().unwrap();
        }
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn nothing_is_noted_during_a_collection() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let cancel = Cancel::new().unwrap();
        let (started, starts) = std::sync::mpsc::channel();
        let collection = store.collection(&Silent, &cancel).unwrap();
        std::thread::scope(|scope| {
            let noting = scope.spawn(|| {
                started.send(()).unwrap();
                store.pin(&[Pin::Run("r".to_owned())]).unwrap();
            });
            starts.recv().unwrap();
            assert_eq!(fs_err::read_dir(store.pins_folder()).unwrap().count(), 0);
            drop(collection);
            noting.join().unwrap();
        });
        let other = Store::open(folder.path()).unwrap();
        assert_eq!(pinned(&other), [Pin::Run("r".to_owned())]);
    }
}
