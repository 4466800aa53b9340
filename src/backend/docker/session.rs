//! One run's use of a store: its name, and the lock by which others see that it lives.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::backend::RootId;
use crate::backend::native::session::process_name;

/// The label with the run's name.
pub(super) const LABEL: &str = "io.pristine.session";
/// Begins the name of a root that is being made.
pub(super) const SCRATCH: &str = "scratch-";
const LOCKS: &str = "sessions";

/// Counts sessions of this process.
static SESSIONS: AtomicU64 = AtomicU64::new(0);

/// A session; it ends with this value, or with this process.
#[derive(Debug)]
pub(super) struct Session {
    folder: PathBuf,
    store: String,
    name: String,
    numbers: AtomicU64,
    _lock: File,
}

impl Session {
    /// Begins a session in the backend's folder of a store.
    pub(super) fn start(folder: &Path) -> io::Result<Self> {
        let sessions = folder.join(LOCKS);
        fs_err::create_dir_all(&sessions)?;
        let gate = gate(&sessions)?;
        forget_earlier_boots(folder)?;
        let store = store_id(folder)?;
        let number = SESSIONS.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", process_name()?);
        let lock = fs_err::File::create(sessions.join(&name))?.into_file();
        lock.lock()?;
        drop(gate);
        Ok(Self {
            folder: sessions,
            store,
            name,
            numbers: AtomicU64::new(0),
            _lock: lock,
        })
    }

    /// The store's id.
    pub(super) fn store(&self) -> &str {
        &self.store
    }

    /// The session's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// A number that this session has not given before.
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether the run of that name lives. The lock of a dead one is removed.
    pub(super) fn lives(&self, name: &str) -> io::Result<bool> {
        if name == self.name {
            return Ok(true);
        }
        let _gate = gate(&self.folder)?;
        let path = self.folder.join(name);
        let lock = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        match lock.try_lock() {
            Ok(()) => fs_err::remove_file(&path).map(|()| false),
            Err(std::fs::TryLockError::WouldBlock) => Ok(true),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Err(error) = fs_err::remove_file(self.folder.join(&self.name)) {
            tracing::debug!(%error, "the session's lock stays for the next sweep");
        }
    }
}

/// Held while a session is made or judged.
fn gate(sessions: &Path) -> io::Result<File> {
    let gate = fs_err::File::create(sessions.join(".gate"))?.into_file();
    gate.lock()?;
    Ok(gate)
}

/// Drops the roots that do not outlast a start of the machine, when there was one since they were made: as in the
/// native backend, they are written without syncing, and are caches of what the store keeps verified.
fn forget_earlier_boots(folder: &Path) -> io::Result<()> {
    let boot = fs_err::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let record = folder.join("boot");
    if fs_err::read_to_string(&record).is_ok_and(|before| before == boot) {
        return Ok(());
    }
    let entries = match fs_err::read_dir(folder.join("roots")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        entries => entries?.collect::<Result<_, _>>()?,
    };
    for entry in entries {
        let root = RootId(entry.file_name().to_string_lossy().into_owned());
        if !root.lasts() {
            fs_err::remove_dir_all(entry.path())?;
        }
    }
    crate::files::write_atomic(&record, boot.as_bytes())
}

/// The store's own id, by which it knows its things in an engine that others use too.
fn store_id(folder: &Path) -> io::Result<String> {
    let path = folder.join("id");
    match fs_err::read_to_string(&path) {
        Ok(id) if id.len() == 16 => Ok(id),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => {
            let id = super::follow::nonce()?[..16].to_owned();
            crate::files::write_atomic(&path, id.as_bytes())?;
            Ok(id)
        }
    }
}
