//! Paths inside a tree that strangers filled: resolved by the kernel, never leaving the tree.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, readlinkat};
use rustix::io::Errno;

/// What a path must be, and is made as where it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backend) enum Kind {
    Folder,
    File,
}

/// Symbolic links followed by hand, at most; the kernel's own limit.
const LINKS: usize = 40;

/// Opens `path` below `root`; links and `..` cannot lead out of it.
pub(in crate::backend) fn open(
    root: impl AsFd,
    path: impl AsRef<Path>,
    flags: OFlags,
) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        match openat2(
            root.as_fd(),
            path.as_ref(),
            flags | OFlags::CLOEXEC,
            Mode::empty(),
            resolve,
        ) {
            // A rename elsewhere in the tree raced with a `..`.
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

/// Opens the path that must be `kind` (as `O_PATH`), making it and its parents where they are missing.
pub(in crate::backend) fn ensure(
    root: BorrowedFd<'_>,
    path: &Path,
    kind: Kind,
) -> io::Result<OwnedFd> {
    let mut path = relative(path);
    for _ in 0..LINKS {
        let flags = if kind == Kind::Folder {
            OFlags::PATH | OFlags::DIRECTORY
        } else {
            OFlags::PATH
        };
        match open(root, &path, flags) {
            Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {}
            result => return result,
        }
        let name = path.file_name().ok_or(Errno::INVAL)?.to_owned();
        let parent_path = path.parent().map(Path::to_owned).unwrap_or_default();
        let parent = ensure(root, &parent_path, Kind::Folder)?;
        let made = match kind {
            Kind::Folder => mkdirat(&parent, &name, Mode::from_raw_mode(0o755)),
            Kind::File => {
                let flags = OFlags::CREATE
                    | OFlags::EXCL
                    | OFlags::NOFOLLOW
                    | OFlags::WRONLY
                    | OFlags::CLOEXEC;
                openat(&parent, &name, flags, Mode::from_raw_mode(0o644)).map(drop)
            }
        };
        match made {
            Ok(()) => {}
            // A link whose target is missing: make the target, where the link says, inside.
            Err(Errno::EXIST) => {
                let link = readlinkat(&parent, &name, Vec::new())?;
                path = relative(&parent_path.join(
                    <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(link.as_bytes()),
                ));
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(Errno::LOOP.into())
}

/// Where a file or folder lies below a root, without links: read off its parents.
pub(super) fn place(root: BorrowedFd<'_>, found: BorrowedFd<'_>) -> io::Result<PathBuf> {
    use std::os::fd::AsRawFd as _;
    let path =
        |handle: BorrowedFd<'_>| fs_err::read_link(format!("/proc/self/fd/{}", handle.as_raw_fd()));
    // The mount is attached nowhere: the kernel gives paths from its root.
    let (root, found) = (path(root)?, path(found)?);
    let below = found.strip_prefix(&root).map_err(io::Error::other)?;
    Ok(Path::new(".").join(below))
}

/// The path seen from the root's handle; the root itself is `.`.
fn relative(path: &Path) -> PathBuf {
    let path = path.components().filter(|part| {
        !matches!(
            part,
            std::path::Component::RootDir | std::path::Component::CurDir
        )
    });
    let path: PathBuf = path.collect();
    if path.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_never_lead_out() {
        let folder = tempfile::tempdir().unwrap();
        let (root, outside) = (folder.path().join("root"), folder.path().join("outside"));
        fs_err::create_dir(&root).unwrap();
        fs_err::create_dir(&outside).unwrap();
        symlink(&outside, root.join("absolute")).unwrap();
        symlink("../../../outside", root.join("upwards")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("/made/by/link", root.join("dangling")).unwrap();
        let handle = fs_err::File::open(&root).unwrap();
        for (path, kind) in [
            ("/absolute/x", Kind::Folder),
            ("/upwards/y", Kind::File),
            ("/../../z", Kind::Folder),
            ("/dangling", Kind::File),
        ] {
            ensure(handle.as_fd(), Path::new(path), kind).unwrap();
        }
        assert!(ensure(handle.as_fd(), Path::new("/loop/x"), Kind::Folder).is_err());
        assert_eq!(fs_err::read_dir(&outside).unwrap().count(), 0);
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 2);
        assert!(root.join("made/by/link").is_file());
    }
}
