//! Folder handles: the only way in which anything inside a tree is reached.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, RawDir, ResolveFlags, Stat, Timespec, Timestamps, UTIME_OMIT, Uid,
};

/// The longest path that the kernel takes in one call, and so the longest in a tree.
pub(super) const LONGEST_PATH: usize = 4095;

/// No step of a lookup leaves the handle: not by `..`, not by a symbolic link, not by a mount.
fn inside() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV
}

/// Opens the folder `path` below `root` (empty: `root` itself), through real folders only.
pub(super) fn open_folder(root: BorrowedFd<'_>, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat2(root, path, flags, Mode::empty(), inside())
}

/// Opens the regular file or fifo `name` in `folder` to read it; never waits.
pub(super) fn open_file(folder: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    rustix::fs::openat2(folder, name, flags, Mode::empty(), inside())
}

/// Makes the regular file `name` in `folder`, which must not exist, and opens it to write.
pub(super) fn create_file(folder: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR)
}

/// What `name` in `folder` is; links are not followed.
pub(super) fn stat(
    folder: BorrowedFd<'_>,
    name: impl rustix::path::Arg,
) -> rustix::io::Result<Stat> {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// The names in a folder in the order of their bytes, without `.` and `..`.
pub(super) fn names(folder: BorrowedFd<'_>) -> rustix::io::Result<Vec<CString>> {
    let mut buffer: Vec<u8> = Vec::with_capacity(32 * 1024);
    let mut names = Vec::new();
    rustix::fs::seek(folder, rustix::fs::SeekFrom::Start(0))?;
    let mut entries = RawDir::new(folder, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Sets the modification time of `name` in `folder` (a link itself, not what it points to).
pub(super) fn set_mtime(
    folder: BorrowedFd<'_>,
    name: impl rustix::path::Arg,
    seconds: i64,
) -> rustix::io::Result<()> {
    rustix::fs::utimensat(folder, name, &times(seconds), AtFlags::SYMLINK_NOFOLLOW)
}

/// Sets the modification time of an open file or folder.
pub(super) fn set_mtime_of(file: BorrowedFd<'_>, seconds: i64) -> rustix::io::Result<()> {
    rustix::fs::futimens(file, &times(seconds))
}

fn times(seconds: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: seconds,
            tv_nsec: 0,
        },
    }
}

/// Owner and permissions of an entry that is being made. Numbers are those seen inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Owner {
    /// Of an open file or folder. Clears set-id bits and capabilities: comes before them.
    pub(super) fn set(self, file: BorrowedFd<'_>) -> rustix::io::Result<()> {
        rustix::fs::fchown(
            file,
            Some(Uid::from_raw(self.uid)),
            Some(Gid::from_raw(self.gid)),
        )
    }

    /// Of `name` in `folder`; a link itself, not what it points to.
    pub(super) fn set_at(
        self,
        folder: BorrowedFd<'_>,
        name: impl rustix::path::Arg,
    ) -> rustix::io::Result<()> {
        rustix::fs::chownat(
            folder,
            name,
            Some(Uid::from_raw(self.uid)),
            Some(Gid::from_raw(self.gid)),
            AtFlags::SYMLINK_NOFOLLOW,
        )
    }
}

/// Whether `stat` is overlayfs' mark for "removed": the character device 0:0.
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFCHR && stat.st_rdev == 0
}

/// Whether `stat` is of the kind `format` (`libc::S_IF…`).
pub(super) fn is_kind(stat: &Stat, format: u32) -> bool {
    stat.st_mode & libc::S_IFMT == format
}

/// A path split at its last `/`: the folder and the name in it.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&[], path),
    }
}

/// `folder` and `name` joined.
pub(super) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(folder.len() + name.len() + 1);
    path.extend_from_slice(folder);
    if !folder.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// Writes all of `bytes` to an open file.
pub(super) fn write_all(file: &impl AsFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
