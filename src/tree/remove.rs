//! Removes a tree, whatever is in it: folders without permissions, any depth, any number of entries.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, Scope};

use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;

use super::TreeError;
use super::handle;

/// Folders below each other that are entered; what lies deeper is first moved up.
const DEPTH: usize = 64;
/// A tree from which so many files were removed is large.
const LARGE: usize = 1000;

/// Removes `name` in the folder `parent` and everything below it. It is fine if there is none, and if another process removes
/// the same meanwhile.
///
/// Never follows a link and never enters another mount (`EXDEV` then names it).
pub fn remove(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), TreeError> {
    let path = name.as_bytes();
    let name =
        CString::new(path).map_err(|_| TreeError::refused("path", path, "it has a NUL in it"))?;
    match unlink(parent, &name) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(errno) => return Err(TreeError::path("remove", path, errno)),
    }
    let top = match open(parent, &name) {
        Err(Errno::NOENT) => return Ok(()),
        top => top.map_err(|errno| TreeError::path("open", path, errno))?,
    };
    let tree = Tree {
        top,
        path,
        moved: AtomicU64::new(0),
    };
    while tree.pass()? {}
    gone_is_fine(rustix::fs::unlinkat(parent, &*name, AtFlags::REMOVEDIR))
        .map_err(|errno| TreeError::path("remove", path, errno))
}

fn gone_is_fine(done: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match done {
        Err(Errno::NOENT) => Ok(()),
        done => done,
    }
}

/// What is removed.
struct Tree<'a> {
    top: OwnedFd,
    path: &'a [u8],
    /// Folders that were at the limit of depth, and were moved to the top under names that count up.
    moved: AtomicU64,
}

impl Tree<'_> {
    /// Removes what is in the top folder; whether something may be there still.
    fn pass(&self) -> Result<bool, TreeError> {
        let moved = self.moved.load(Ordering::Relaxed);
        thread::scope(|scope| {
            let mut pass = Pass {
                tree: self,
                backwards: false,
                removed: 0,
                scope: Some(scope),
            };
            pass.empty(self.top.as_fd(), self.path, DEPTH)
        })?;
        Ok(moved != self.moved.load(Ordering::Relaxed))
    }

    fn move_up(&self, folder: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<()> {
        loop {
            let free = format!(".removed-{}", self.moved.fetch_add(1, Ordering::Relaxed));
            let flags = rustix::fs::RenameFlags::NOREPLACE;
            match rustix::fs::renameat_with(folder, name, &self.top, &*free, flags) {
                Err(Errno::EXIST) => {}
                other => return other,
            }
        }
    }
}

/// One way through a tree.
struct Pass<'scope, 'tree> {
    tree: &'scope Tree<'tree>,
    /// Through each folder from its end on.
    backwards: bool,
    removed: usize,
    /// Where another thread can be started that goes the other way.
    scope: Option<&'scope Scope<'scope, 'tree>>,
}

impl Pass<'_, '_> {
    /// Removes what is in `folder`; moves folders at the limit of depth to the top.
    fn empty(
        &mut self,
        folder: BorrowedFd<'_>,
        path: &[u8],
        depth: usize,
    ) -> Result<(), TreeError> {
        let mut names = match handle::names(folder) {
            Err(Errno::NOENT) => return Ok(()),
            names => names.map_err(|errno| TreeError::path("list", path, errno))?,
        };
        if self.backwards {
            names.reverse();
        }
        for name in names {
            let path = || handle::join(path, name.to_bytes());
            let error = |errno| TreeError::path("remove", &path(), errno);
            match unlink(folder, &name) {
                Ok(()) => {
                    self.count();
                    continue;
                }
                Err(Errno::NOENT) => continue,
                Err(Errno::ISDIR) => {}
                Err(errno) => return Err(error(errno)),
            }
            if depth == 0 {
                gone_is_fine(self.tree.move_up(folder, &name)).map_err(error)?;
                continue;
            }
            let inner = match open(folder, &name) {
                Err(Errno::NOENT) => continue,
                inner => inner.map_err(error)?,
            };
            self.empty(inner.as_fd(), &path(), depth - 1)?;
            gone_is_fine(rustix::fs::unlinkat(folder, &*name, AtFlags::REMOVEDIR))
                .map_err(error)?;
        }
        Ok(())
    }

    /// One more is removed. Of a large tree, two threads remove more than one.
    fn count(&mut self) {
        self.removed += 1;
        if self.removed < LARGE {
            return;
        }
        let Some(scope) = self.scope.take() else {
            return;
        };
        let mut other = Pass {
            tree: self.tree,
            backwards: true,
            removed: 0,
            scope: None,
        };
        let help = move || {
            // What it cannot remove this one comes to as well.
            let Tree { top, path, .. } = other.tree;
            let _helped = other.empty(top.as_fd(), path, DEPTH);
        };
        // Without it, it only takes longer.
        let _started = thread::Builder::new().spawn_scoped(scope, help);
    }
}

/// `unlinkat`; a folder gives `ISDIR`, permissions of the folder around it are mended where that helps.
fn unlink(folder: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::ACCESS) => {
            rustix::fs::fchmod(folder, Mode::RWXU)?;
            rustix::fs::unlinkat(folder, name, AtFlags::empty())
        }
        other => other,
    }
}

/// Opens a folder, given permissions first where it has none.
fn open(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    match handle::open_folder(parent, name.to_bytes()) {
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            handle::open_folder(parent, name.to_bytes())
        }
        other => other,
    }
}
