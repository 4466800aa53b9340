//! Removes a tree, whatever is in it: folders without permissions, any depth, any number of entries.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;

use super::TreeError;
use super::handle;

/// Folders below each other that are entered; what lies deeper is first moved up.
const DEPTH: usize = 64;

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
    let mut moved = 0_u64;
    let top = match open(parent, &name) {
        Err(Errno::NOENT) => return Ok(()),
        top => top.map_err(|errno| TreeError::path("open", path, errno))?,
    };
    loop {
        let deeper = moved;
        empty(&top, top.as_fd(), path, DEPTH, &mut moved)?;
        if deeper == moved {
            break;
        }
    }
    gone_is_fine(rustix::fs::unlinkat(parent, &*name, AtFlags::REMOVEDIR))
        .map_err(|errno| TreeError::path("remove", path, errno))
}

fn gone_is_fine(done: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match done {
        Err(Errno::NOENT) => Ok(()),
        done => done,
    }
}

/// Removes what is in `folder`; moves folders at the limit of depth to `top`, under names that count up.
fn empty(
    top: &OwnedFd,
    folder: BorrowedFd<'_>,
    path: &[u8],
    depth: usize,
    moved: &mut u64,
) -> Result<(), TreeError> {
    let names = match handle::names(folder) {
        Err(Errno::NOENT) => return Ok(()),
        names => names.map_err(|errno| TreeError::path("list", path, errno))?,
    };
    for name in names {
        let path = || handle::join(path, name.to_bytes());
        let error = |errno| TreeError::path("remove", &path(), errno);
        match unlink(folder, &name) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::ISDIR) => {}
            Err(errno) => return Err(error(errno)),
        }
        if depth == 0 {
            gone_is_fine(move_up(top, folder, &name, moved)).map_err(error)?;
            continue;
        }
        let inner = match open(folder, &name) {
            Err(Errno::NOENT) => continue,
            inner => inner.map_err(error)?,
        };
        empty(top, inner.as_fd(), &path(), depth - 1, moved)?;
        gone_is_fine(rustix::fs::unlinkat(folder, &*name, AtFlags::REMOVEDIR)).map_err(error)?;
    }
    Ok(())
}

fn move_up(
    top: &OwnedFd,
    folder: BorrowedFd<'_>,
    name: &CStr,
    moved: &mut u64,
) -> rustix::io::Result<()> {
    loop {
        let free = format!(".removed-{moved}");
        *moved += 1;
        match rustix::fs::renameat_with(
            folder,
            name,
            top,
            &*free,
            rustix::fs::RenameFlags::NOREPLACE,
        ) {
            Err(Errno::EXIST) => {}
            other => return other,
        }
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
