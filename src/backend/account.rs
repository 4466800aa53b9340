//! The account that a command's clone is to have: an entry in its `/etc/passwd` and `/etc/group`, and a home.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, chmodat, chownat, fstat, mkdirat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::User;
use super::native::inside::{self, Kind};
use super::native::wire::{Doing, Failure};

/// Bytes of `/etc/passwd` or `/etc/group` that are read: no distribution comes near.
const LARGEST: u64 = 4 << 20;

/// A user with a group of the same name and a home, made in a clone where it is not there yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// User and group name.
    pub name: String,
    /// Its ids inside.
    pub user: User,
    /// Its home, absolute.
    pub home: String,
}

impl Account {
    /// Adds the account to the tree at `root`: nothing that is there is changed. Strangers filled the tree, so that
    /// each path is resolved below it, and what is no regular file is refused.
    pub(in crate::backend) fn settle(&self, root: BorrowedFd<'_>) -> Result<(), Failure> {
        let Self { name, user, home } = self;
        let User { uid, gid } = user;
        let entries = [
            ("passwd", format!("{name}:x:{uid}:{gid}::{home}:/bin/sh\n")),
            ("group", format!("{name}:x:{gid}:\n")),
        ];
        for (file, entry) in entries {
            add(root, file, &entry).doing(|| format!("add `{name}` to `/etc/{file}` inside"))?;
        }
        self.settle_home(root)
            .doing(|| format!("make `{home}` inside"))
    }

    fn settle_home(&self, root: BorrowedFd<'_>) -> io::Result<()> {
        let home = Path::new(&self.home);
        match inside::open(root, home, OFlags::PATH | OFlags::DIRECTORY) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found.map(drop),
        }
        let name = home.file_name().ok_or(Errno::INVAL)?;
        let parent = inside::ensure(root, home.parent().unwrap_or(home), Kind::Folder)?;
        mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
        own(&parent, name, self.user)
    }
}

/// Gives a folder that was just made to its owner, whatever this process's ids and umask are.
fn own(parent: &OwnedFd, name: &OsStr, user: User) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    chmodat(parent, name, Mode::from_raw_mode(0o755), AtFlags::empty())?;
    chownat(
        parent,
        name,
        Some(uid),
        Some(gid),
        AtFlags::SYMLINK_NOFOLLOW,
    )?;
    Ok(())
}

/// Appends an entry to a file in `/etc` that has none of that name; the file is made where it is missing.
fn add(root: BorrowedFd<'_>, name: &str, entry: &str) -> io::Result<()> {
    let path = Path::new("etc").join(name);
    inside::ensure(root, Path::new("etc"), Kind::Folder)?;
    let found = inside::ensure(root, &path, Kind::File)?;
    // Before it is opened: opening a FIFO waits, and opening a device does something.
    if !regular(&found)? {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut text = Vec::new();
    File::from(inside::open(root, &path, OFlags::RDONLY)?)
        .take(LARGEST + 1)
        .read_to_end(&mut text)?;
    if text.len() as u64 > LARGEST {
        let why = format!("it is larger than {LARGEST} bytes");
        return Err(io::Error::other(why));
    }
    let key = entry.split_inclusive(':').next().unwrap_or(entry);
    let mut lines = text.split(|byte| *byte == b'\n');
    if lines.any(|line| line.starts_with(key.as_bytes())) {
        return Ok(());
    }
    let unfinished = text.last().is_some_and(|last| *last != b'\n');
    let line_end = if unfinished { "\n" } else { "" };
    File::from(inside::open(root, &path, OFlags::WRONLY | OFlags::APPEND)?)
        .write_all(format!("{line_end}{entry}").as_bytes())
}

fn regular(file: &OwnedFd) -> io::Result<bool> {
    Ok(FileType::from_raw_mode(fstat(file)?.st_mode) == FileType::RegularFile)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    fn account() -> Account {
        Account {
            name: "builder".to_owned(),
            user: User {
                uid: rustix::process::geteuid().as_raw(),
                gid: rustix::process::getegid().as_raw(),
            },
            home: "/var/lib/builder".to_owned(),
        }
    }

    fn settle(folder: &Path) -> Result<(), Failure> {
        account().settle(fs_err::File::open(folder).unwrap().file().as_fd())
    }

    fn etc(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs_err::create_dir(folder.path().join("etc")).unwrap();
        for (name, text) in files {
            fs_err::write(folder.path().join("etc").join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn an_account_is_added_once_and_nothing_else_changes() {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        let User { uid, gid } = account().user;
        let user = format!("builder:x:{uid}:{gid}::/var/lib/builder:/bin/sh\n");
        let group = format!("builder:x:{gid}:\n");
        for (before, between) in [
            ("", ""),
            ("root:x:0:0::/root:/bin/sh\n", ""),
            ("root:x:0:0::/root:/bin/sh", "\n"),
            ("builders:x:7:7::/:/bin/sh\n", ""),
        ] {
            let folder = etc(&[("passwd", before)]);
            settle(folder.path()).unwrap();
            settle(folder.path()).unwrap();
            let read = |name: &str| fs_err::read_to_string(folder.path().join(name)).unwrap();
            assert_eq!(read("etc/passwd"), format!("{before}{between}{user}"));
            assert_eq!(read("etc/group"), group);
            let home = fs_err::metadata(folder.path().join("var/lib/builder")).unwrap();
            assert_eq!(home.permissions().mode() & 0o7777, 0o755);
            assert_eq!((home.uid(), home.gid()), (uid, gid));
        }
    }

    #[test]
    fn an_account_that_is_there_stays_as_it_is() {
        let text = "builder:x:1:1::/elsewhere:/bin/false\n";
        let folder = etc(&[("passwd", text), ("group", "builder:x:1:\n")]);
        settle(folder.path()).unwrap();
        let passwd = fs_err::read_to_string(folder.path().join("etc/passwd")).unwrap();
        assert_eq!(passwd, text);
    }

    #[test]
    fn what_strangers_put_there_leads_nowhere_and_keeps_nobody_waiting() {
        use std::os::unix::fs::symlink;
        let outside = etc(&[("passwd", "outside\n")]);
        let folder = etc(&[]);
        let link = folder.path().join("etc/passwd");
        symlink(outside.path().join("etc/passwd"), &link).unwrap();
        symlink(outside.path(), folder.path().join("var")).unwrap();
        settle(folder.path()).unwrap();
        let text = fs_err::read_to_string(outside.path().join("etc/passwd")).unwrap();
        assert_eq!(text, "outside\n");
        assert_eq!(fs_err::read_dir(outside.path()).unwrap().count(), 1);
        fs_err::remove_file(&link).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &link, Mode::from_raw_mode(0o644)).unwrap();
        let Err(Failure::Step { doing, text, .. }) = settle(folder.path()) else {
            panic!("a FIFO was taken for a file");
        };
        assert!(doing.contains("`/etc/passwd`"), "{doing}");
        assert_eq!(text, "it is no regular file");
    }
}
