//! Applies a tar stream to a tree: the inverse of `canonical`, for archives of anybody.
//!
//! Nothing outside of the tree can be reached: names are relative and without `..`; every
//! folder on the way is opened without following links; files are made new, never opened
//! where something lies already. Later entries replace earlier ones.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use super::canonical::{OPAQUE_NAME, WHITEOUT_PREFIX};
use super::handle::{self, Owner};
use super::member::{Kind, Member, Members};
use super::{TreeError, remove, xattr};

const BUFFER: usize = 256 * 1024;

/// Applies the uncompressed tar stream `tar` to the tree at `root` and reads it to its end.
///
/// Whiteouts become overlayfs' own (character device 0:0, `user.overlay.opaque`). Device
/// nodes are left out. Attributes that do not belong to a tree are left out, those of
/// overlayfs refused. Folders that no entry describes are made with mode 0755, owner 0.
pub fn apply(root: BorrowedFd<'_>, tar: &mut dyn Read) -> Result<(), TreeError> {
    apply_as(root, tar, false)
}

/// As `apply`, for a layer above those that the tree holds already: its whiteouts remove what
/// they hid there, and stay, since they hide what is in layers below the tree too.
pub fn apply_over(root: BorrowedFd<'_>, tar: &mut dyn Read) -> Result<(), TreeError> {
    apply_as(root, tar, true)
}

fn apply_as(root: BorrowedFd<'_>, tar: &mut dyn Read, over: bool) -> Result<(), TreeError> {
    let mut members = Members::new(BufReader::with_capacity(BUFFER, tar));
    let mut tree = Tree {
        root,
        over,
        times: BTreeMap::new(),
        last: None,
        buffer: vec![0; BUFFER],
    };
    while let Some(member) = members.next_member()? {
        tree.add(&member, &mut members)?;
    }
    tree.set_times()?;
    members.drain()
}

/// The path inside the tree that an archive's name means; empty for the root.
pub(crate) fn inside(name: &[u8]) -> Result<Vec<u8>, &'static str> {
    if name.is_empty() {
        return Err("its name is empty");
    }
    if name.contains(&0) {
        return Err("its name has a NUL in it");
    }
    if name[0] == b'/' {
        return Err("its name is absolute");
    }
    let mut path = Vec::with_capacity(name.len());
    for component in name.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => continue,
            b".." => return Err("its name leads outside through `..`"),
            _ if component.len() > 255 => {
                return Err("a part of its name is longer than 255 bytes");
            }
            _ => {}
        }
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(component);
    }
    if path.len() > handle::LONGEST_PATH {
        return Err("its name is longer than 4095 bytes");
    }
    Ok(path)
}

struct Tree<'a> {
    root: BorrowedFd<'a>,
    /// The archive is a layer above what the tree holds.
    over: bool,
    /// Times of folders, set when nothing is made in them any more.
    times: BTreeMap<Vec<u8>, i64>,
    /// The folder of the entry before, which most entries share.
    last: Option<(Vec<u8>, OwnedFd)>,
    buffer: Vec<u8>,
}

/// Where an entry goes.
struct Place<'a> {
    folder: BorrowedFd<'a>,
    name: &'a [u8],
    member: &'a Member,
}

impl Place<'_> {
    fn refused(&self, why: &str) -> TreeError {
        refused(self.member, why)
    }

    fn failed(&self, doing: &'static str) -> impl Fn(Errno) -> TreeError {
        let path = self.member.name.clone();
        move |errno| TreeError::path(doing, &path, errno)
    }
}

fn refused(member: &Member, why: &str) -> TreeError {
    TreeError::refused("archive entry", &member.name, why)
}

impl Tree<'_> {
    fn add(&mut self, member: &Member, content: &mut impl Read) -> Result<(), TreeError> {
        let path = inside(&member.name).map_err(|why| refused(member, why))?;
        if let Some(name) = member.xattrs.keys().find(|name| xattr::is_overlay(name)) {
            let why = format!(
                "the attribute `{}` belongs to overlayfs",
                super::error::shown(name)
            );
            return Err(refused(member, &why));
        }
        if path.is_empty() {
            return self.add_root(member);
        }
        let (folder, name) = handle::split(&path);
        let folder = self.open(folder, member)?;
        let place = Place {
            folder: folder.as_fd(),
            name,
            member,
        };
        if let Some(hidden) = name.strip_prefix(WHITEOUT_PREFIX) {
            if self.over {
                clear(&place, hidden)?;
            }
            add_mark(&place, hidden)?;
        } else {
            match member.kind {
                Kind::Folder => self.add_folder(&place, &path)?,
                Kind::File => self.add_file(&place, content)?,
                Kind::HardLink => self.add_hard_link(&place, &path)?,
                Kind::Symlink => add_symlink(&place)?,
                Kind::Fifo => add_fifo(&place)?,
                Kind::Device => {
                    tracing::debug!(entry = %super::error::shown(&member.name), "device node left out");
                }
            }
        }
        let parent = handle::split(&path).0;
        self.last = Some((parent.to_vec(), folder));
        Ok(())
    }

    fn add_root(&mut self, member: &Member) -> Result<(), TreeError> {
        if member.kind != Kind::Folder {
            return Err(refused(member, "it would replace the root of the tree"));
        }
        let place = Place {
            folder: self.root,
            name: b".",
            member,
        };
        set_folder(&place, self.root)?;
        self.times.insert(Vec::new(), member.mtime);
        Ok(())
    }

    /// Opens the folder of an entry; makes it where it is missing.
    fn open(&mut self, path: &[u8], member: &Member) -> Result<OwnedFd, TreeError> {
        if let Some((last, folder)) = self.last.take()
            && last == path
        {
            return Ok(folder);
        }
        match handle::open_folder(self.root, path) {
            Ok(folder) => Ok(folder),
            Err(Errno::NOENT) => self.make_folders(path, member),
            Err(errno) => Err(self.no_way(path, member, errno)),
        }
    }

    fn make_folders(&mut self, path: &[u8], member: &Member) -> Result<OwnedFd, TreeError> {
        let error = |errno| TreeError::path("make the folders of", &member.name, errno);
        let mut folder = handle::open_folder(self.root, b"").map_err(error)?;
        for component in path.split(|&byte| byte == b'/') {
            match rustix::fs::mkdirat(&folder, component, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(error(errno)),
            }
            folder = handle::open_folder(folder.as_fd(), component)
                .map_err(|errno| self.no_way(path, member, errno))?;
        }
        Ok(folder)
    }

    fn add_folder(&mut self, place: &Place<'_>, path: &[u8]) -> Result<(), TreeError> {
        let error = place.failed("make");
        let mut opaque = false;
        match rustix::fs::mkdirat(place.folder, place.name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let stat = handle::stat(place.folder, place.name).map_err(&error)?;
                if !handle::is_kind(&stat, libc::S_IFDIR) {
                    // A whiteout before it hides what lower layers have there, and so must the folder.
                    opaque = handle::is_whiteout(&stat);
                    rustix::fs::unlinkat(place.folder, place.name, AtFlags::empty())
                        .map_err(&error)?;
                    rustix::fs::mkdirat(place.folder, place.name, Mode::RWXU).map_err(&error)?;
                }
            }
            Err(errno) => return Err(error(errno)),
        }
        let folder = handle::open_folder(place.folder, place.name).map_err(&error)?;
        set_folder(place, folder.as_fd())?;
        if opaque {
            xattr::set(folder.as_fd(), xattr::OPAQUE, b"y")
                .map_err(place.failed("set the attributes of"))?;
        }
        self.times.insert(path.to_vec(), place.member.mtime);
        Ok(())
    }

    fn add_file(&mut self, place: &Place<'_>, content: &mut impl Read) -> Result<(), TreeError> {
        let error = place.failed("write");
        let file = anew(place, || handle::create_file(place.folder, place.name))?;
        let mut length = 0;
        loop {
            let read = match content.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(fault) if fault.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    return Err(TreeError::Read {
                        after: super::error::shown(&place.member.name),
                        source,
                    });
                }
            };
            handle::write_all(&file, &self.buffer[..read])
                .map_err(|fault| TreeError::path("write", &place.member.name, fault))?;
            length += read as u64;
        }
        debug_assert_eq!(length, place.member.size);
        set_metadata(place.member, file.as_fd()).map_err(&error)?;
        handle::set_mtime_of(file.as_fd(), place.member.mtime).map_err(error)
    }

    fn add_hard_link(&self, place: &Place<'_>, path: &[u8]) -> Result<(), TreeError> {
        let target = inside(&place.member.link).map_err(|why| {
            place.refused(&format!("the target of the hard link is refused: {why}"))
        })?;
        if target == path {
            return Err(place.refused("it is a hard link to itself"));
        }
        let (target_folder, target_name) = handle::split(&target);
        let folder = handle::open_folder(self.root, target_folder)
            .map_err(|errno| no_target(place, errno))?;
        let stat =
            handle::stat(folder.as_fd(), target_name).map_err(|errno| no_target(place, errno))?;
        if !handle::is_kind(&stat, libc::S_IFREG) {
            return Err(place.refused("it is a hard link to something that is not a regular file"));
        }
        anew(place, || {
            rustix::fs::linkat(
                &folder,
                target_name,
                place.folder,
                place.name,
                AtFlags::empty(),
            )
        })
    }

    /// The error for a way to an entry that does not lead through folders of the tree: names where it ends.
    fn no_way(&self, path: &[u8], member: &Member, errno: Errno) -> TreeError {
        let ends = path
            .iter()
            .enumerate()
            .filter(|&(_, &byte)| byte == b'/')
            .map(|(at, _)| at);
        for prefix in ends.chain([path.len()]).map(|end| &path[..end]) {
            let (folder, name) = handle::split(prefix);
            let stat = handle::open_folder(self.root, folder)
                .and_then(|folder| handle::stat(folder.as_fd(), name));
            let what = match stat.map(|stat| stat.st_mode & libc::S_IFMT) {
                Ok(libc::S_IFDIR) | Err(_) => continue,
                Ok(libc::S_IFLNK) => "the symbolic link",
                Ok(_) => "something that is not a folder,",
            };
            let prefix = super::error::shown(prefix);
            return refused(member, &format!("its name leads through {what} `{prefix}`"));
        }
        TreeError::path("open the folder of", &member.name, errno)
    }

    /// Sets the times of folders last, since making something in a folder changes them.
    fn set_times(&self) -> Result<(), TreeError> {
        for (path, &mtime) in &self.times {
            // What a later entry replaced is no folder any more.
            if let Ok(folder) = handle::open_folder(self.root, path) {
                handle::set_mtime_of(folder.as_fd(), mtime)
                    .map_err(|errno| TreeError::path("set the time of", path, errno))?;
            }
        }
        Ok(())
    }
}

fn no_target(place: &Place<'_>, errno: Errno) -> TreeError {
    match errno {
        Errno::NOENT => place.refused("it is a hard link to something that the tree does not have"),
        Errno::LOOP | Errno::NOTDIR | Errno::XDEV => place
            .refused("the target of the hard link leads through something that is not a folder"),
        _ => TreeError::path(
            "open the target of the hard link",
            &place.member.name,
            errno,
        ),
    }
}

/// Makes something new at a place; what is there already is removed first.
fn anew<T>(place: &Place<'_>, make: impl Fn() -> rustix::io::Result<T>) -> Result<T, TreeError> {
    match make() {
        Err(Errno::EXIST) => {
            remove::remove(place.folder, OsStr::from_bytes(place.name))?;
            make().map_err(place.failed("make"))
        }
        other => other.map_err(place.failed("make")),
    }
}

fn add_symlink(place: &Place<'_>) -> Result<(), TreeError> {
    let target = place.member.link.as_slice();
    if target.is_empty() || target.contains(&0) || target.len() > handle::LONGEST_PATH {
        return Err(
            place.refused("the target of the symbolic link is empty, too long or has a NUL in it")
        );
    }
    anew(place, || {
        rustix::fs::symlinkat(target, place.folder, place.name)
    })?;
    set_at(place)
}

fn add_fifo(place: &Place<'_>) -> Result<(), TreeError> {
    anew(place, || {
        rustix::fs::mknodat(place.folder, place.name, FileType::Fifo, Mode::RUSR, 0)
    })?;
    set_at(place)?;
    // Made a moment ago by us, and not a link: following is no danger.
    rustix::fs::chmodat(
        place.folder,
        place.name,
        Mode::from_raw_mode(place.member.mode),
        AtFlags::empty(),
    )
    .map_err(place.failed("set the mode of"))?;
    handle::set_mtime(place.folder, place.name, place.member.mtime)
        .map_err(place.failed("set the time of"))
}

/// Removes what a whiteout of a higher layer hides. Its mark comes before what that layer itself has there.
fn clear(place: &Place<'_>, hidden: &[u8]) -> Result<(), TreeError> {
    if place.name != OPAQUE_NAME {
        return match handle::stat(place.folder, hidden) {
            Ok(_) => remove::remove(place.folder, OsStr::from_bytes(hidden)),
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(place.failed("look at")(errno)),
        };
    }
    for name in handle::names(place.folder).map_err(place.failed("list"))? {
        remove::remove(place.folder, OsStr::from_bytes(name.to_bytes()))?;
    }
    Ok(())
}

/// A whiteout, by the rules of OCI layers: it speaks of lower layers alone, so that what this
/// archive itself has at that name stays.
fn add_mark(place: &Place<'_>, hidden: &[u8]) -> Result<(), TreeError> {
    if place.member.kind != Kind::File || place.member.size != 0 {
        return Err(place.refused("only an empty file can be a whiteout"));
    }
    let error = place.failed("mark");
    if place.name == OPAQUE_NAME {
        return xattr::set(place.folder, xattr::OPAQUE, b"y").map_err(error);
    }
    if matches!(hidden, b"" | b"." | b"..") || hidden.starts_with(WHITEOUT_PREFIX) {
        return Err(place.refused("it is not the whiteout of any name"));
    }
    match rustix::fs::mknodat(
        place.folder,
        hidden,
        FileType::CharacterDevice,
        Mode::empty(),
        0,
    ) {
        Err(Errno::EXIST) => {
            let stat = handle::stat(place.folder, hidden).map_err(&error)?;
            if handle::is_kind(&stat, libc::S_IFDIR) {
                let folder = handle::open_folder(place.folder, hidden).map_err(&error)?;
                xattr::set(folder.as_fd(), xattr::OPAQUE, b"y").map_err(error)?;
            }
            Ok(())
        }
        Ok(()) => handle::set_mtime(place.folder, hidden, 0).map_err(error),
        Err(errno) => Err(error(errno)),
    }
}

/// Metadata of a link or fifo, which cannot be opened. Its time comes with it.
fn set_at(place: &Place<'_>) -> Result<(), TreeError> {
    let owner = Owner {
        uid: place.member.uid,
        gid: place.member.gid,
    };
    owner
        .set_at(place.folder, place.name)
        .map_err(place.failed("set the owner of"))?;
    handle::set_mtime(place.folder, place.name, place.member.mtime)
        .map_err(place.failed("set the time of"))
}

fn set_folder(place: &Place<'_>, folder: BorrowedFd<'_>) -> Result<(), TreeError> {
    set_metadata(place.member, folder).map_err(place.failed("set the owner, mode or attributes of"))
}

/// Owner, mode and attributes, in the order in which none undoes another.
fn set_metadata(member: &Member, file: BorrowedFd<'_>) -> rustix::io::Result<()> {
    Owner {
        uid: member.uid,
        gid: member.gid,
    }
    .set(file)?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(member.mode))?;
    for (name, value) in member
        .xattrs
        .iter()
        .filter(|(name, _)| xattr::belongs(name))
    {
        xattr::set(file, name, value)?;
    }
    Ok(())
}
