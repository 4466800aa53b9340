//! Writes a tree as canonical tar: the same tree gives the same bytes, whatever host, file
//! system, order of creation or user namespace. `docs/environment-digest.md` says every rule.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read as _, Write};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use rustix::fs::Stat;
use tar::Builder;

use super::encode::append_header;
use super::handle;
use super::member::{Kind, Member};
use super::walk::{self, Node};
use super::xattr;
use super::{Normalise, TreeError, normalise};
use crate::threads::ended;

/// Bytes handed from the reading to the writing thread at once, and how many such chunks wait at most.
const CHUNK: usize = 1 << 20;
const CHUNKS_AHEAD: usize = 4;
/// About so many bytes lie between members that are named.
const BETWEEN_NAMES: usize = 4 << 20;
/// The name that marks an opaque folder, and the prefix that marks a removed name (OCI image layers).
pub(crate) const OPAQUE_NAME: &[u8] = b".wh..wh..opq";
pub(crate) const WHITEOUT_PREFIX: &[u8] = b".wh.";

/// Writes the tree at `root` to `tar`: the root's own entry `./` first, every folder before its
/// content, names in the order of their bytes. The tree is read ahead on a second thread.
///
/// Refused are trees that such an archive cannot hold: paths above 4095 bytes, names that
/// begin with `.wh.`, attribute names that are not UTF-8.
pub fn write(root: BorrowedFd<'_>, tar: &mut dyn Write) -> Result<(), TreeError> {
    write_clamped(root, None, tar)
}

/// Makes the tree the same as others by `rules`, and writes it; what every entry needs is done on the one way through.
pub fn write_normalised(
    root: BorrowedFd<'_>,
    rules: &Normalise,
    tar: &mut dyn Write,
) -> Result<(), TreeError> {
    normalise::apply(root, rules)?;
    write_clamped(root, Some(rules.epoch), tar)
}

fn write_clamped(
    root: BorrowedFd<'_>,
    epoch: Option<i64>,
    tar: &mut dyn Write,
) -> Result<(), TreeError> {
    stream(root, epoch, Part::default(), &mut |piece| match piece {
        Piece::Bytes(bytes) => tar.write_all(bytes),
        Piece::Member(_) => Ok(()),
    })?;
    tar.flush().map_err(TreeError::Write)
}

/// Members of an archive: from the one of a path on, up to that of another, which is not of them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Part<'a> {
    pub(super) from: Option<&'a [u8]>,
    pub(super) to: Option<&'a [u8]>,
}

impl Part<'_> {
    /// Whether the member of a path comes before the part, in it, or behind it.
    fn compare(&self, path: &[u8]) -> std::cmp::Ordering {
        use std::cmp::Ordering::{Equal, Greater, Less};
        match (self.from, self.to) {
            (Some(from), _) if order(path, from).is_lt() => Less,
            (_, Some(to)) if order(path, to).is_ge() => Greater,
            _ => Equal,
        }
    }
}

/// The order of two members.
pub(super) fn order(one: &[u8], other: &[u8]) -> std::cmp::Ordering {
    let slash = |byte: &u8| *byte == b'/';
    one.split(slash).cmp(other.split(slash))
}

/// What comes out of a part of an archive.
pub(super) enum Piece<'a> {
    Bytes(&'a [u8]),
    /// The member of this path begins here. That is said now and then, not of every member.
    Member(&'a [u8]),
}

/// Gives a part of the archive to `take`, piece by piece. With an epoch, later times in the tree become it.
pub(super) fn stream(
    root: BorrowedFd<'_>,
    epoch: Option<i64>,
    part: Part<'_>,
    take: &mut dyn FnMut(Piece<'_>) -> io::Result<()>,
) -> Result<(), TreeError> {
    let (full, filled) = sync_channel::<Filled>(CHUNKS_AHEAD);
    let (emptied, empty) = channel::<Chunk>();
    thread::scope(|scope| {
        let reader = scope.spawn(move || archive(root, epoch, part, Chunks::new(full, empty)));
        let written = pass_on(&filled, &emptied, take);
        // Ends the reader, where it still runs because writing failed.
        drop(filled);
        let read = ended(reader.join());
        written.map_err(TreeError::Write).and(read)
    })
}

fn pass_on(
    filled: &Receiver<Filled>,
    emptied: &Sender<Chunk>,
    take: &mut dyn FnMut(Piece<'_>) -> io::Result<()>,
) -> io::Result<()> {
    for filled in filled {
        match filled {
            Filled::Chunk(mut chunk) => {
                take(Piece::Bytes(&chunk.bytes[..chunk.used]))?;
                chunk.used = 0;
                // The reader needs no more chunks once it has ended.
                let _ended = emptied.send(chunk);
            }
            Filled::Member(path) => take(Piece::Member(&path))?,
        }
    }
    Ok(())
}

/// What the reading thread hands over.
enum Filled {
    Chunk(Chunk),
    Member(Vec<u8>),
}

/// A piece of the archive: the first `used` bytes of a buffer.
struct Chunk {
    bytes: Box<[u8]>,
    used: usize,
}

impl Chunk {
    fn new() -> Self {
        Self {
            bytes: vec![0; CHUNK].into_boxed_slice(),
            used: 0,
        }
    }
}

/// A writer into chunks that are sent to the other thread when full.
struct Chunks {
    current: Chunk,
    full: SyncSender<Filled>,
    empty: Receiver<Chunk>,
    /// Bytes sent since the last member that was named.
    unnamed: usize,
}

impl Chunks {
    fn new(full: SyncSender<Filled>, empty: Receiver<Chunk>) -> Self {
        Self {
            current: Chunk::new(),
            full,
            empty,
            unnamed: 0,
        }
    }

    /// A member begins.
    fn member(&mut self, path: &[u8]) -> io::Result<()> {
        if self.unnamed < BETWEEN_NAMES {
            return Ok(());
        }
        self.send()?;
        self.unnamed = 0;
        let named = self.full.send(Filled::Member(path.to_vec()));
        named.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Where the next bytes go; never empty.
    fn room(&mut self) -> io::Result<&mut [u8]> {
        if self.current.used == CHUNK {
            self.send()?;
        }
        Ok(&mut self.current.bytes[self.current.used..])
    }

    fn send(&mut self) -> io::Result<()> {
        let next = self.empty.try_recv().unwrap_or_else(|_| Chunk::new());
        let chunk = std::mem::replace(&mut self.current, next);
        self.unnamed += chunk.used;
        self.full
            .send(Filled::Chunk(chunk))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Appends `size` bytes of `file` and the padding after them, read straight into the chunks.
    fn append_file(&mut self, file: &OwnedFd, size: u64) -> io::Result<()> {
        let mut left = size;
        while left > 0 {
            let room = self.room()?;
            let wanted = usize::try_from(left).unwrap_or(CHUNK).min(room.len());
            let read = rustix::io::read(file, &mut room[..wanted])?;
            if read == 0 {
                return Err(io::Error::other("it became shorter while it was read"));
            }
            self.current.used += read;
            left -= read as u64;
        }
        let padding = size.next_multiple_of(512) - size;
        io::copy(&mut io::repeat(0).take(padding), self).map(|_length| ())
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.room()?;
        let length = bytes.len().min(room.len());
        room[..length].copy_from_slice(&bytes[..length]);
        self.current.used += length;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn archive(
    root: BorrowedFd<'_>,
    epoch: Option<i64>,
    part: Part<'_>,
    chunks: Chunks,
) -> Result<(), TreeError> {
    let mut archive = Archive {
        tar: Builder::new(chunks),
        first_names: HashMap::new(),
    };
    walk::walk_until(root, &mut |node| {
        match part.compare(node.path) {
            std::cmp::Ordering::Less => {
                archive.pass(node);
                return Ok(ControlFlow::Continue(()));
            }
            std::cmp::Ordering::Equal => {}
            std::cmp::Ordering::Greater => return Ok(ControlFlow::Break(())),
        }
        let mut stat = *node.stat;
        if let Some(epoch) = epoch {
            stat.st_mtime = normalise::clamp_node(node, epoch)?;
        }
        let node = Node {
            stat: &stat,
            ..*node
        };
        archive.add(&node).map(ControlFlow::Continue)
    })?;
    let ended = if part.to.is_none() {
        archive
            .tar
            .into_inner()
            .and_then(|mut chunks| chunks.send())
    } else {
        // What the builder writes when it is dropped, the end of an archive, is not sent.
        archive.tar.get_mut().send()
    };
    ended.map_err(TreeError::Write)
}

struct Archive {
    tar: Builder<Chunks>,
    /// Files with more than one name: device and inode to the first of them.
    first_names: HashMap<(u64, u64), Vec<u8>>,
}

impl Archive {
    /// A member that is of an earlier part: the first of a file's names may be there.
    fn pass(&mut self, node: &Node<'_>) {
        let stat = node.stat;
        if handle::is_kind(stat, libc::S_IFREG) && stat.st_nlink > 1 {
            let names = self.first_names.entry((stat.st_dev, stat.st_ino));
            names.or_insert_with(|| node.path.to_vec());
        }
    }

    fn add(&mut self, node: &Node<'_>) -> Result<(), TreeError> {
        let stat = node.stat;
        let begun = self.tar.get_mut().member(node.path);
        begun.map_err(TreeError::Write)?;
        if node.name.to_bytes().starts_with(WHITEOUT_PREFIX) {
            let why = "names that begin with `.wh.` mean removed files in image layers";
            return Err(TreeError::refused("path", node.path, why));
        }
        match stat.st_mode & libc::S_IFMT {
            libc::S_IFDIR => self.add_folder(node),
            libc::S_IFREG => self.add_file(node),
            libc::S_IFLNK => {
                let target = rustix::fs::readlinkat(node.parent, node.name, Vec::new())
                    .map_err(|errno| TreeError::path("read the link", node.path, errno))?;
                let mut member = member(Kind::Symlink, node.path.to_vec(), stat);
                member.link = target.into_bytes();
                self.header(&member)
            }
            libc::S_IFIFO => self.header(&member(Kind::Fifo, node.path.to_vec(), stat)),
            libc::S_IFCHR if handle::is_whiteout(stat) => {
                let (folder, name) = handle::split(node.path);
                self.header(&mark(handle::join(
                    folder,
                    &[WHITEOUT_PREFIX, name].concat(),
                )))
            }
            // Sockets and devices are no part of a tree.
            _ => Ok(()),
        }
    }

    fn add_folder(&mut self, node: &Node<'_>) -> Result<(), TreeError> {
        let attributes = match node.folder {
            Some(folder) => xattr::read(folder)
                .map_err(|errno| TreeError::path("read the attributes of", node.path, errno))?,
            None => xattr::Attributes::default(),
        };
        let name = if node.path.is_empty() {
            b"."
        } else {
            node.path
        };
        let mut member = member(Kind::Folder, [name, b"/"].concat(), node.stat);
        member.xattrs = named(attributes.kept, node.path)?;
        self.header(&member)?;
        if attributes.opaque {
            self.header(&mark(handle::join(node.path, OPAQUE_NAME)))?;
        }
        Ok(())
    }

    fn add_file(&mut self, node: &Node<'_>) -> Result<(), TreeError> {
        let stat = node.stat;
        if stat.st_nlink > 1 {
            let key = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.first_names.get(&key) {
                let mut member = member(Kind::HardLink, node.path.to_vec(), stat);
                member.link.clone_from(first);
                return self.header(&member);
            }
            self.first_names.insert(key, node.path.to_vec());
        }
        let error = |errno| TreeError::path("read", node.path, errno);
        let file = handle::open_file(node.parent, node.name).map_err(error)?;
        let attributes = xattr::read(file.as_fd()).map_err(error)?;
        let mut member = member(Kind::File, node.path.to_vec(), stat);
        member.size = stat.st_size.unsigned_abs();
        member.xattrs = named(attributes.kept, node.path)?;
        self.header(&member)?;
        self.tar
            .get_mut()
            .append_file(&file, member.size)
            .map_err(|error| TreeError::path("read", node.path, error))
    }

    fn header(&mut self, member: &Member) -> Result<(), TreeError> {
        append_header(&mut self.tar, member).map_err(TreeError::Write)
    }
}

fn member(kind: Kind, name: Vec<u8>, stat: &Stat) -> Member {
    Member {
        name,
        link: Vec::new(),
        kind,
        size: 0,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: stat.st_mtime,
        xattrs: BTreeMap::new(),
    }
}

/// A whiteout or an opaque mark: only its name has a meaning, the rest is fixed.
fn mark(name: Vec<u8>) -> Member {
    Member {
        name,
        link: Vec::new(),
        kind: Kind::File,
        size: 0,
        mode: 0,
        uid: 0,
        gid: 0,
        mtime: 0,
        xattrs: BTreeMap::new(),
    }
}

/// Attributes, if an archive can name them.
fn named(
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    path: &[u8],
) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, TreeError> {
    if xattrs.keys().any(|name| std::str::from_utf8(name).is_err()) {
        return Err(TreeError::refused(
            "path",
            path,
            "it has an extended attribute whose name is not UTF-8",
        ));
    }
    Ok(xattrs)
}
