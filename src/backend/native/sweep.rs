//! What dead runs left: clones, scratch roots, trash.
//!
//! A session's processes hold a lock on `clones/SESSION/lock` as long as one of them
//! lives, so a lock that can be had means that the session is dead, whatever became of
//! its process ids. Making a session and sweeping exclude each other by `clones/.lock`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

use super::stack::{self, Places};
use super::wire::{Doing, Failure};
use super::worker;

/// Begins the name of a root that is being made.
pub(super) const SCRATCH: &str = "scratch-";
/// Taken to make a session, and to sweep.
pub(super) const GATE: &str = "clones/.lock";
/// Locked to delete what others threw away: one sweep at a time does.
const TRASH: &str = "trash";

/// Whether there may be anything to remove. `session` looks, whose tool this process is: where nothing was left, as
/// a rule, no other process need be started for that.
pub(super) fn is_due(store: &Path, session: &str) -> Result<bool, Failure> {
    let path = store.join(GATE);
    let gate = open(&path).doing(|| format!("open `{GATE}`"))?;
    flock(&gate, FlockOperation::LockExclusive).doing(|| format!("lock `{GATE}`"))?;
    for other in names(store.join("clones"))? {
        let lives = other == session
            || is_locked(store, &other).doing(|| format!("look at `clones/{other}`"))?;
        if !lives {
            return Ok(true);
        }
    }
    let scratch = |name: &String| name.starts_with(SCRATCH);
    Ok(!names(store.join("trash"))?.is_empty() || names(store.join("roots"))?.iter().any(scratch))
}

/// Removes what dead sessions left; a line for each thing.
pub(super) fn sweep(places: &Places) -> Result<Vec<String>, Failure> {
    let (mut removed, mut entries) = (Vec::new(), Vec::new());
    let gate = open(Path::new(GATE)).doing(|| format!("open `{GATE}`"))?;
    flock(&gate, FlockOperation::LockExclusive).doing(|| format!("lock `{GATE}`"))?;
    let alive = bury_sessions(places, &mut removed, &mut entries)?;
    for root in names("roots")? {
        let owner = root
            .strip_prefix(SCRATCH)
            .and_then(|rest| rest.rsplit_once('.'));
        if owner.is_some_and(|(session, _)| !alive.contains(session)) {
            entries.extend(stack::discard(places, &format!("roots/{root}"))?);
            removed.push(format!("unfinished root {root}"));
        }
    }
    for entry in names("trash")? {
        let owner = entry.rsplit_once('.');
        if !owner.is_some_and(|(session, _)| alive.contains(session)) {
            removed.push(format!("trash {entry}"));
            entries.push(entry);
        }
    }
    // Deleting takes long, and new sessions wait at the gate.
    drop(gate);
    let lock = stack::open_folder(TRASH).doing(|| format!("open `{TRASH}`"))?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
        worker::delete(&entries)?;
    }
    Ok(removed)
}

/// Moves the clones of dead sessions into the trash; gives the names of those that live.
fn bury_sessions(
    places: &Places,
    removed: &mut Vec<String>,
    entries: &mut Vec<String>,
) -> Result<BTreeSet<String>, Failure> {
    let mut alive = BTreeSet::from([places.session().to_owned()]);
    for session in names("clones")? {
        let lives = alive.contains(&session)
            || is_locked(Path::new(""), &session)
                .doing(|| format!("look at `clones/{session}`"))?;
        if lives {
            alive.insert(session);
        } else {
            entries.extend(stack::discard(places, &format!("clones/{session}"))?);
            removed.push(format!("clones of dead run {session}"));
        }
    }
    Ok(alive)
}

fn open(path: &Path) -> rustix::io::Result<File> {
    rustix::fs::open(
        path,
        OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::from_raw_mode(0o600),
    )
    .map(File::from)
}

fn is_locked(store: &Path, session: &str) -> io::Result<bool> {
    let path = store.join("clones").join(session).join("lock");
    let lock = match rustix::fs::open(
        &path,
        OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        // It died before it made its lock.
        Err(Errno::NOENT) => return Ok(false),
        result => result?,
    };
    match flock(lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

/// Names in a folder, in order, without those that begin with a dot.
pub(super) fn names(folder: impl AsRef<Path>) -> Result<Vec<String>, Failure> {
    let folder = folder.as_ref();
    let doing = || format!("list `{}`", folder.display());
    let mut names = Vec::new();
    for entry in fs_err::read_dir(folder).doing(doing)? {
        let name = entry.doing(doing)?.file_name();
        names.extend(
            name.into_string()
                .ok()
                .filter(|name| !name.starts_with('.')),
        );
    }
    names.sort();
    Ok(names)
}
