//! Makes what differs from run to run the same: times, caches, logs.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, Mode, OFlags};

use super::handle;
use super::walk;
use super::{Normalise, TreeError, remove};

/// Applies `rules` to the tree at `root`.
///
/// Paths of the rules go through real folders only: a link on the way means that the path
/// does not match, whatever it points to. Folders in which a rule looked for its last
/// component get the epoch as their time, whether there was something to remove or not.
pub fn run(root: BorrowedFd<'_>, rules: &Normalise) -> Result<(), TreeError> {
    apply(root, rules)?;
    clamp(root, rules.epoch)
}

/// As `run`, but for the times of what no rule names.
pub(super) fn apply(root: BorrowedFd<'_>, rules: &Normalise) -> Result<(), TreeError> {
    // Before removals: the journal beside a database is looked at.
    for pattern in &rules.plain_sqlite {
        matching(root, pattern, &mut leave_write_ahead_mode)
            .and_then(|folders| stamp(root, &folders, rules.epoch))?;
    }
    for pattern in &rules.remove {
        matching(root, pattern, &mut |folder, name, path| {
            remove::remove(folder, std::ffi::OsStr::from_bytes(name))
                .map_err(|error| within(error, path))
        })
        .and_then(|folders| stamp(root, &folders, rules.epoch))?;
    }
    for pattern in &rules.truncate {
        matching(root, pattern, &mut |folder, name, path| {
            truncate(folder, name, path, rules.epoch)
        })
        .and_then(|folders| stamp(root, &folders, rules.epoch))?;
    }
    Ok(())
}

/// The error of a removal, with the whole path.
fn within(error: TreeError, path: &[u8]) -> TreeError {
    match error {
        TreeError::Path { doing, source, .. } => TreeError::path(doing, path, source),
        other => other,
    }
}

fn stamp(root: BorrowedFd<'_>, folders: &[Vec<u8>], epoch: i64) -> Result<(), TreeError> {
    for path in folders {
        handle::open_folder(root, path)
            .and_then(|folder| handle::set_mtime_of(folder.as_fd(), epoch))
            .map_err(|errno| TreeError::path("set the time of", path, errno))?;
    }
    Ok(())
}

/// What is done with a match: its folder, its name there, its path.
type Act<'a> = dyn FnMut(BorrowedFd<'_>, &[u8], &[u8]) -> Result<(), TreeError> + 'a;

/// Calls `act` for everything that `pattern` matches; returns the folders that were searched for its last component.
fn matching(
    root: BorrowedFd<'_>,
    pattern: &str,
    act: &mut Act<'_>,
) -> Result<Vec<Vec<u8>>, TreeError> {
    let refuse = |why| Err(TreeError::refused("pattern", pattern.as_bytes(), why));
    let Some(relative) = pattern.strip_prefix('/') else {
        return refuse("it does not begin with `/`");
    };
    let components: Vec<&[u8]> = relative.split('/').map(str::as_bytes).collect();
    if components
        .iter()
        .any(|component| matches!(*component, b"" | b"." | b".."))
    {
        return refuse("it has an empty component, `.` or `..`");
    }
    let Some((last, folders)) = components.split_last() else {
        return refuse("it is empty");
    };
    let mut level = vec![Vec::new()];
    for component in folders {
        let mut next = Vec::new();
        for path in &level {
            each_match(root, path, component, &mut |_, _, path, is_folder| {
                if is_folder {
                    next.push(path.to_vec());
                }
                Ok(())
            })?;
        }
        level = next;
    }
    for path in &level {
        each_match(root, path, last, &mut |folder, name, path, _| {
            act(folder, name, path)
        })?;
    }
    Ok(level)
}

/// As `Act`, and whether it is a folder.
type Found<'a> = dyn FnMut(BorrowedFd<'_>, &[u8], &[u8], bool) -> Result<(), TreeError> + 'a;

fn each_match(
    root: BorrowedFd<'_>,
    path: &[u8],
    pattern: &[u8],
    found: &mut Found<'_>,
) -> Result<(), TreeError> {
    let error = |errno| TreeError::path("list", path, errno);
    let folder = handle::open_folder(root, path).map_err(error)?;
    for name in handle::names(folder.as_fd()).map_err(error)? {
        if matches(pattern, name.to_bytes()) {
            let stat = handle::stat(folder.as_fd(), &*name).map_err(error)?;
            // A whiteout is no file: without it, the file of a lower layer would come back.
            if handle::is_kind(&stat, libc::S_IFCHR) {
                continue;
            }
            let path = handle::join(path, name.to_bytes());
            found(
                folder.as_fd(),
                name.to_bytes(),
                &path,
                handle::is_kind(&stat, libc::S_IFDIR),
            )?;
        }
    }
    Ok(())
}

/// Whether `name` fits `pattern`, in which `*` stands for any bytes.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let Some(star) = pattern.iter().position(|&byte| byte == b'*') else {
        return pattern == name;
    };
    let (head, tail) = (&pattern[..star], &pattern[star + 1..]);
    name.starts_with(head) && (head.len()..=name.len()).any(|from| matches(tail, &name[from..]))
}

/// Sets the two version bytes of a `SQLite` header to "legacy" (`SQLite` file format, section 1.3.3): what
/// `PRAGMA journal_mode=DELETE` writes once the write-ahead journal is empty.
fn leave_write_ahead_mode(
    folder: BorrowedFd<'_>,
    name: &[u8],
    path: &[u8],
) -> Result<(), TreeError> {
    const WRITE_AHEAD: [u8; 2] = [2, 2];
    let error = |errno| TreeError::path("read the database", path, errno);
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::empty()).map_err(error)?;
    let mut header = [0; 20];
    let length = rustix::io::pread(&file, &mut header, 0).map_err(error)?;
    if length < header.len()
        || !header.starts_with(b"SQLite format 3\0")
        || header[18..] != WRITE_AHEAD
    {
        return Ok(());
    }
    let journal = [name, b"-wal"].concat();
    match handle::stat(folder, journal.as_slice()) {
        Ok(stat) if stat.st_size > 0 => {
            return Err(TreeError::refused(
                "database",
                path,
                "its write-ahead journal is not empty",
            ));
        }
        Ok(_) | Err(rustix::io::Errno::NOENT) => {}
        Err(errno) => return Err(error(errno)),
    }
    rustix::io::pwrite(&file, &[1, 1], 18).map_err(error)?;
    Ok(())
}

/// Makes `name` an empty file: a regular file keeps its owner and mode, a link or fifo is replaced.
fn truncate(folder: BorrowedFd<'_>, name: &[u8], path: &[u8], epoch: i64) -> Result<(), TreeError> {
    let error = |errno| TreeError::path("empty", path, errno);
    let stat = handle::stat(folder, name).map_err(error)?;
    let file = match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG => {
            let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(folder, name, flags, Mode::empty()).map_err(error)?
        }
        libc::S_IFDIR => {
            return Err(TreeError::refused(
                "path",
                path,
                "a folder cannot be made an empty file",
            ));
        }
        _ => {
            rustix::fs::unlinkat(folder, name, AtFlags::empty()).map_err(error)?;
            let file = handle::create_file(folder, name).map_err(error)?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644)).map_err(error)?;
            file
        }
    };
    handle::set_mtime_of(file.as_fd(), epoch).map_err(error)
}

fn clamp(root: BorrowedFd<'_>, epoch: i64) -> Result<(), TreeError> {
    walk::walk(root, &mut |node| clamp_node(node, epoch).map(|_mtime| ()))
}

/// Sets a modification time above the epoch to it; gives what it is now, in whole seconds.
pub(super) fn clamp_node(node: &walk::Node<'_>, epoch: i64) -> Result<i64, TreeError> {
    let stat = node.stat;
    if (stat.st_mtime, stat.st_mtime_nsec) <= (epoch, 0) {
        return Ok(stat.st_mtime);
    }
    handle::set_mtime(node.parent, node.name, epoch)
        .map_err(|errno| TreeError::path("set the time of", node.path, errno))?;
    Ok(epoch)
}
