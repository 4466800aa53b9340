//! What a tree takes on its disk, also while it is changed.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::TreeError;
use super::handle;

/// Folders below each other that are entered; what lies deeper is not counted.
const DEPTH: usize = 256;

/// Bytes of the blocks of everything below `root`, each file once.
///
/// Others may change the tree meanwhile: what is gone is not counted.
pub fn size(root: BorrowedFd<'_>) -> Result<u64, TreeError> {
    let mut seen = HashSet::new();
    let mut total = 0;
    let mut folders: Vec<OwnedFd> = vec![open(root, c".").map_err(error)?];
    let mut names = vec![
        handle::names(folders[0].as_fd())
            .map_err(error)?
            .into_iter(),
    ];
    while let (Some(folder), Some(left)) = (folders.last(), names.last_mut()) {
        let Some(name) = left.next() else {
            folders.pop();
            names.pop();
            continue;
        };
        let stat = match rustix::fs::statat(folder, &*name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(error(errno)),
        };
        if stat.st_nlink < 2 || seen.insert((stat.st_dev, stat.st_ino)) {
            total += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
        }
        let is_folder = FileType::from_raw_mode(stat.st_mode).is_dir();
        if is_folder && folders.len() < DEPTH {
            match open(folder.as_fd(), &name) {
                Ok(inner) => match handle::names(inner.as_fd()) {
                    Ok(inside) => {
                        names.push(inside.into_iter());
                        folders.push(inner);
                    }
                    Err(Errno::NOENT) => {}
                    Err(errno) => return Err(error(errno)),
                },
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(errno) => return Err(error(errno)),
            }
        }
    }
    Ok(total)
}

fn open(folder: BorrowedFd<'_>, name: &std::ffi::CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

fn error(errno: Errno) -> TreeError {
    TreeError::path("measure", b".", errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_count_once_and_by_their_blocks() {
        let folder = tempfile::tempdir().unwrap();
        let measure = || size(fs_err::File::open(folder.path()).unwrap().as_fd()).unwrap();
        let empty = measure();
        fs_err::create_dir(folder.path().join("inside")).unwrap();
        let file = folder.path().join("inside/file");
        fs_err::write(&file, vec![1; 1 << 20]).unwrap();
        fs_err::hard_link(&file, folder.path().join("again")).unwrap();
        let sparse = fs_err::File::create(folder.path().join("sparse")).unwrap();
        sparse.set_len(1 << 30).unwrap();
        sparse.sync_all().unwrap();
        fs_err::File::open(&file).unwrap().sync_all().unwrap();
        let grown = measure() - empty;
        assert!((1 << 20..3 << 20).contains(&grown), "{grown}");
    }
}
