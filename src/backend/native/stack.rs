//! Folders of the store that the backend owns: roots, clones of this session, trash.
//!
//! The keeper's working folder is the store's root, and every path here is relative to
//! it: the folders above it may be closed to everybody but the caller. Names are checked
//! before they become paths. `roots/ID` is an immutable tree; `clones/SESSION/NUMBER`
//! holds `upper` and a `work-N` for each mount; `trash/NAME` only waits for deletion.

use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, Uid, chmodat, chownat,
    mkdir, renameat_with, statat, utimensat,
};
use rustix::io::Errno;

use super::mounts;
use super::wire::{Doing, Failure, Stack};
use crate::backend::{Mount, RootId};

/// Names of this session's folders, and numbers for new ones.
pub(super) struct Places {
    session: String,
    next: Cell<u64>,
}

impl Places {
    pub(super) fn new(session: &str) -> Self {
        Self {
            session: session.to_owned(),
            next: Cell::new(0),
        }
    }

    /// This session's name.
    pub(super) fn session(&self) -> &str {
        &self.session
    }

    /// A name part that no other process of this session gives: a worker starts with a copy of the keeper's counter.
    fn unique(&self) -> String {
        let number = self.next.get();
        self.next.set(number + 1);
        format!("{}-{number}", rustix::process::getpid().as_raw_nonzero())
    }

    fn trash(&self) -> String {
        format!("trash/{}.{}", self.session, self.unique())
    }
}

/// Whether an id can be a folder's name: letters, digits and `-_.+`, not beginning with a dot.
pub(in crate::backend) fn is_name(id: &RootId) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
    !id.0.is_empty() && id.0.len() <= 200 && !id.0.starts_with('.') && id.0.bytes().all(good)
}

/// The folder of a root.
pub(super) fn root(id: &RootId) -> String {
    format!("roots/{}", id.0)
}

/// Gives a root another name; where that is taken it goes into the trash, which is returned.
pub(super) fn rename(
    places: &Places,
    from: &RootId,
    to: &RootId,
) -> Result<Option<String>, Failure> {
    adopt(places, &root(from), &root(to))
        .doing(|| format!("rename root `{}` to `{}`", from.0, to.0))
}

/// Keeps a clone's changes as a root; what had its name goes into the trash with the rest of the clone.
pub(super) fn freeze(
    places: &Places,
    stack: &Stack,
    id: &RootId,
) -> Result<Option<String>, Failure> {
    let doing = || format!("keep the clone as root `{}`", id.0);
    ensure(stack).doing(doing)?;
    let upper = format!("{}/upper", stack.folder);
    // The name's old content takes the upper's place and so leaves with the clone.
    match renameat_with(CWD, &upper, CWD, root(id), RenameFlags::EXCHANGE) {
        Err(Errno::NOENT) => renameat_with(CWD, &upper, CWD, root(id), RenameFlags::NOREPLACE),
        result => result,
    }
    .doing(doing)?;
    discard(places, &stack.folder)
}

/// Gives a root a name that lasts, once all of it is on the disk.
pub(super) fn settle(from: &RootId, to: &RootId) -> Result<(), Failure> {
    let doing = || format!("keep root `{}` for good", to.0);
    let roots = open_folder("roots").doing(doing)?;
    // What overlayfs has written is the file system's own, whose pages are all written out.
    rustix::fs::syncfs(&roots).doing(doing)?;
    renameat_with(&roots, &*from.0, &roots, &*to.0, RenameFlags::NOREPLACE).doing(doing)?;
    rustix::fs::fsync(&roots).doing(doing)
}

/// Moves into the trash what does not outlast a start of the machine: trees are written without syncing, and after a
/// loss of power their files may be empty. They are caches of what the store keeps verified, and are made again.
pub(super) fn forget_caches(places: &Places) -> Result<(), Failure> {
    for name in super::sweep::names("roots")?.into_iter().map(RootId) {
        if !name.lasts() {
            // Not a living session's: the next sweep deletes it.
            let trash = format!("trash/earlier-{}", places.unique());
            let doing = || format!("forget root `{}`", name.0);
            renameat_with(CWD, root(&name), CWD, &trash, RenameFlags::NOREPLACE).doing(doing)?;
        }
    }
    Ok(())
}

/// Gives `from` the name `to`, or moves it into the trash where that name is taken.
fn adopt(places: &Places, from: &str, to: &str) -> io::Result<Option<String>> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::EXIST) => {
            let trash = places.trash();
            renameat_with(CWD, from, CWD, &trash, RenameFlags::NOREPLACE)?;
            Ok(Some(trash))
        }
        result => Ok(result.map(|()| None)?),
    }
}

/// Moves a folder into the trash. A clone that was never used has none.
pub(super) fn discard(places: &Places, folder: &str) -> Result<Option<String>, Failure> {
    let trash = places.trash();
    match renameat_with(CWD, folder, CWD, &trash, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(Some(trash)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Failure::step(format!("remove `{folder}`"), errno)),
    }
}

/// Makes the clone's own folders where they are missing. Its root folder looks like that of the highest layer.
pub(super) fn ensure(stack: &Stack) -> io::Result<()> {
    let upper = format!("{}/upper", stack.folder);
    match mkdir(&stack.folder, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => return Ok(()),
        result => result?,
    }
    mkdir(&upper, Mode::from_raw_mode(0o755))?;
    if let Some(top) = stack.layers.last() {
        let facts = statat(CWD, root(top), AtFlags::SYMLINK_NOFOLLOW)?;
        chownat(
            CWD,
            &upper,
            Some(Uid::from_raw(facts.st_uid)),
            Some(Gid::from_raw(facts.st_gid)),
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
        chmodat(
            CWD,
            &upper,
            Mode::from_raw_mode(facts.st_mode & 0o7777),
            AtFlags::empty(),
        )?;
        let time = |seconds: i64, nanoseconds: u64| Timespec {
            tv_sec: seconds,
            tv_nsec: nanoseconds.try_into().unwrap_or_default(),
        };
        let times = Timestamps {
            last_access: time(facts.st_atime, facts.st_atime_nsec),
            last_modification: time(facts.st_mtime, facts.st_mtime_nsec),
        };
        utimensat(CWD, &upper, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

/// Mounts the clone, attached nowhere. Each mount has its own work folder: `volatile` refuses a used one.
pub(super) fn mount(places: &Places, stack: &Stack) -> Result<OwnedFd, Failure> {
    let doing = || format!("mount the clone `{}`", stack.folder);
    ensure(stack).doing(doing)?;
    let work = format!("{}/work-{}", stack.folder, places.unique());
    mkdir(&work, Mode::from_raw_mode(0o755)).doing(doing)?;
    let mut lower: Vec<String> = stack.layers.iter().rev().map(root).collect();
    if lower.is_empty() {
        lower.push(empty_folder(places).doing(doing)?);
    }
    mounts::overlay(&lower, &format!("{}/upper", stack.folder), &work).doing(doing)
}

fn empty_folder(places: &Places) -> io::Result<String> {
    let empty = format!("clones/{}/empty", places.session);
    match mkdir(&empty, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(empty),
        Err(errno) => Err(errno.into()),
    }
}

/// Mounts an overlay once after each start of the machine, so that what a host or file system cannot do is said at the
/// start of the tool.
pub(super) fn try_overlay(places: &Places) -> Result<(), Failure> {
    let probe = Stack {
        folder: format!("clones/{}/probe", places.session),
        layers: Vec::new(),
    };
    match mount(places, &probe) {
        Ok(_mount) => Ok(()),
        Err(Failure::Step { text, .. }) => Err(Failure::Unavailable {
            what: format!(
                "overlayfs cannot be mounted in a user namespace on the store's file system: {text}"
            ),
            remedy: "use a kernel from 5.11 on with overlayfs (`sudo modprobe overlay`), \
                     and a store on ext4, xfs, btrfs or tmpfs (not NFS, not another overlay)"
                .to_owned(),
        }),
        Err(failure) => Err(failure),
    }
}

/// What a mount shows: a copy of a mount at a host path, read-only, or of a root.
pub(super) fn source(mount: &Mount) -> Result<OwnedFd, Failure> {
    match mount {
        Mount::Host { source, .. } => {
            mounts::copy(source, true).doing(|| format!("share `{}`", source.display()))
        }
        Mount::Writable { source, .. } => mounts::copy_writable(source, None)
            .doing(|| format!("share `{}` for writing", source.display())),
        Mount::Empty { target } => {
            mounts::empty().doing(|| format!("make an empty folder for `{target}`"))
        }
        Mount::Memory { target, size } => {
            mounts::memory(*size).doing(|| format!("make a folder in memory for `{target}`"))
        }
        Mount::Root { root: id, .. } => {
            mounts::copy(root(id), false).doing(|| format!("share root `{}`", id.0))
        }
    }
}

/// Where a mount goes.
pub(super) fn target(mount: &Mount) -> &str {
    match mount {
        Mount::Host { target, .. }
        | Mount::Writable { target, .. }
        | Mount::Empty { target }
        | Mount::Memory { target, .. }
        | Mount::Root { target, .. } => target,
    }
}

/// Makes a new, empty root and gives its handle. Attributes are those of an empty folder of root's.
pub(super) fn create_root(id: &RootId) -> io::Result<OwnedFd> {
    mkdir(root(id), Mode::from_raw_mode(0o755))?;
    open_folder(&root(id))
}

/// Opens a folder of the store.
pub(super) fn open_folder(path: &str) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// Removes the session's own folder. Clones that are still there were not closed, and stay for the next sweep.
pub(super) fn end_session(places: &Places) -> Result<(), Failure> {
    let session = format!("clones/{}", places.session);
    if let Some(entry) = discard(places, &session)? {
        super::worker::delete(&[entry])?;
    }
    Ok(())
}

/// A path of the caller's, as the keeper can best reach it: relative where it lies in the store.
pub(super) fn reachable(path: &Path, store: &Path) -> PathBuf {
    path.strip_prefix(store)
        .map_or_else(|_| path.to_owned(), |inside| Path::new(".").join(inside))
}
