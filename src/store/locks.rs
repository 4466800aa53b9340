//! Named locks of a store, with a note on who holds them.
//!
//! A lock is `flock` on `locks/NAME`: it ends with its holder, however that dies. The file
//! stays, since removing it would let two processes hold "the same" lock. The note in it is for
//! people only, and its time of modification is when the lock was taken.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use super::error::doing;
use super::{Store, StoreError};
use crate::cancel::Cancel;
use crate::events::{Event, Sink};

/// How often a waiter looks whether the lock is free.
const LOOK: Duration = Duration::from_millis(50);

/// Notes longer than this are cut: command lines may be.
const NOTE: u64 = 4096;

/// Whether others may hold the lock too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Many may hold it at once.
    Shared,
    /// One alone holds it.
    Exclusive,
}

/// Who holds a lock; of several that share it, the last that took it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Process id, in the holder's own PID namespace.
    pub pid: u32,
    /// Its command line.
    pub command: String,
    /// When it took the lock.
    pub since: Option<SystemTime>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} (`{}`", self.pid, self.command)?;
        let since = self.since.map(time::OffsetDateTime::from);
        if let Some(text) = since.and_then(|since| {
            since
                .replace_nanosecond(0)
                .ok()?
                .format(&time::format_description::well_known::Rfc3339)
                .ok()
        }) {
            write!(f, ", since {text}")?;
        }
        write!(f, ")")
    }
}

/// What a lock's file holds.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    format: u32,
    pid: u32,
    command: String,
}

/// A lock that is held until this is dropped.
#[derive(Debug)]
#[must_use = "the lock is free again as soon as this is dropped"]
pub struct Guard {
    _file: File,
}

impl Store {
    /// Takes the lock `name`, and waits for it where another holds it. A waiter says once,
    /// as a warning, for whom it waits; `cancel` ends the wait.
    pub fn lock(
        &self,
        name: &str,
        mode: Mode,
        sink: &dyn Sink,
        cancel: &Cancel,
    ) -> Result<Guard, StoreError> {
        let mut told = false;
        loop {
            if cancel.is_cancelled() {
                return Err(StoreError::Interrupted);
            }
            if let Some(guard) = self.try_lock(name, mode)? {
                return Ok(guard);
            }
            if !told {
                let holder = self
                    .holder(name)
                    .map_or("another process".to_owned(), |holder| holder.to_string());
                let text =
                    format!("waiting for {holder}, which holds the lock `{name}` of the store");
                sink.emit(Event::Warning { text });
                told = true;
            }
            let mut watched = [PollFd::new(cancel, PollFlags::IN)];
            let pause = Timespec {
                tv_sec: 0,
                tv_nsec: LOOK.subsec_nanos().into(),
            };
            match poll(&mut watched, Some(&pause)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(doing("wait for", &self.lock_path(name))(errno.into())),
            }
        }
    }

    /// Takes the lock `name` where it is free.
    pub fn try_lock(&self, name: &str, mode: Mode) -> Result<Option<Guard>, StoreError> {
        let path = self.lock_path(name);
        let file = self.lock_file(&path)?;
        let taken = match mode {
            Mode::Shared => file.try_lock_shared(),
            Mode::Exclusive => file.try_lock(),
        };
        match taken {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(doing("lock", &path)(error)),
        }
        if let Err(error) = write_note(&file) {
            tracing::warn!(%error, path = %path.display(), "could not note who holds the lock");
        }
        Ok(Some(Guard { _file: file }))
    }

    /// Takes a lock that nobody holds for long, and waits for it without a word. It is not noted who has it.
    pub(super) fn wait_for(&self, name: &str, mode: Mode) -> Result<Guard, StoreError> {
        let path = self.lock_path(name);
        let file = self.lock_file(&path)?;
        let taken = match mode {
            Mode::Shared => file.lock_shared(),
            Mode::Exclusive => file.lock(),
        };
        taken.map_err(doing("lock", &path))?;
        Ok(Guard { _file: file })
    }

    fn lock_file(&self, path: &std::path::Path) -> Result<File, StoreError> {
        File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(|error| StoreError::from_write(self.root(), path, None, error))
    }

    /// Who took the lock `name` last, where that can be read. It may be free again.
    pub fn holder(&self, name: &str) -> Option<Holder> {
        let file = File::open(self.lock_path(name)).ok()?;
        let since = file
            .metadata()
            .and_then(|metadata| metadata.modified())
            .ok();
        let mut text = String::new();
        file.take(2 * NOTE).read_to_string(&mut text).ok()?;
        let note: Note = serde_json::from_str(text.lines().next()?).ok()?;
        Some(Holder {
            pid: note.pid,
            command: note.command,
            since,
        })
    }

    fn lock_path(&self, name: &str) -> std::path::PathBuf {
        debug_assert!(
            !name.contains('/') && !name.starts_with('.'),
            "a lock's name is a file name: {name}"
        );
        self.root().join("locks").join(name)
    }
}

/// This process's command line, as people are told it.
pub(super) fn command_line() -> String {
    let words: Vec<String> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let longest = usize::try_from(NOTE / 8).unwrap_or(0);
    words.join(" ").chars().take(longest).collect()
}

/// One line, then nothing: a reader takes the first line, so that a longer old note does not show.
fn write_note(file: &File) -> std::io::Result<()> {
    let note = Note {
        format: 1,
        pid: std::process::id(),
        command: command_line(),
    };
    let mut line = serde_json::to_vec(&note)?;
    line.push(b'\n');
    file.write_all_at(&line, 0)?;
    file.set_len(line.len() as u64)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Told(Mutex<Vec<Event>>);

    impl Sink for Told {
        fn emit(&self, event: Event) {
            self.0.lock().unwrap().push(event);
        }
    }

    #[test]
    fn sharing_excludes_the_exclusive_only() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let one = store.try_lock("x", Mode::Shared).unwrap();
        let two = store.try_lock("x", Mode::Shared).unwrap();
        assert!(one.is_some() && two.is_some());
        assert!(store.try_lock("x", Mode::Exclusive).unwrap().is_none());
        assert!(store.try_lock("y", Mode::Exclusive).unwrap().is_some());
        drop((one, two));
        assert!(store.try_lock("x", Mode::Exclusive).unwrap().is_some());
    }

    #[test]
    fn a_waiter_says_for_whom_and_stops_when_told() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let cancel = Cancel::new().unwrap();
        let told = Told::default();
        let _held = store.lock("x", Mode::Exclusive, &told, &cancel).unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| store.lock("x", Mode::Exclusive, &told, &cancel));
            while told.0.lock().unwrap().is_empty() {
                std::thread::yield_now();
            }
            cancel.cancel();
            assert!(matches!(
                waiter.join().unwrap(),
                Err(StoreError::Interrupted)
            ));
        });
        let holder = store.holder("x").unwrap();
        assert_eq!(holder.pid, std::process::id());
        let expected = format!("waiting for {holder}, which holds the lock `x` of the store");
        assert_eq!(*told.0.lock().unwrap(), [Event::Warning { text: expected }]);
    }

    #[test]
    fn a_waiter_gets_the_lock_when_it_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let cancel = Cancel::new().unwrap();
        let told = Told::default();
        let held = store.lock("x", Mode::Exclusive, &told, &cancel).unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| store.lock("x", Mode::Shared, &told, &cancel).map(drop));
            while told.0.lock().unwrap().is_empty() {
                std::thread::yield_now();
            }
            drop(held);
            waiter.join().unwrap().unwrap();
        });
    }

    #[test]
    fn a_holder_reads_well() {
        let holder = Holder {
            pid: 42,
            command: "pristine build".to_owned(),
            since: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)),
        };
        insta::assert_snapshot!(holder.to_string(), @"process 42 (`pristine build`, since 2023-11-14T22:13:20Z)");
    }
}
