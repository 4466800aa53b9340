//! Roots, kept in the store as canonical archives.
//!
//! `docker/roots/ID/layer.tar` is a root's canonical archive, whose digest is the diff-id of
//! the engine's layer, and `facts.json` says what it is. A root that commands of a container
//! are filling is a volume of the engine's instead, and `facts.json` names that. Engines
//! may lose what they have: all but such volumes is made again from here.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::backend::RootId;
use crate::digest::{Digest, HashingWriter};
use crate::tree::TreeError;
use crate::tree::encode::append_header;
use crate::tree::extract::inside;
use crate::tree::member::{Kind, Member, Members};

const FACTS: &str = "facts.json";
const LAYER: &str = "layer.tar";
const BUFFER: usize = 1 << 20;
const FORMAT: u32 = 1;

/// What a root is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Form {
    /// A canonical archive.
    Layer(Facts),
    /// A volume of the engine's.
    Volume(String),
}

/// What is known of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    /// Its digest.
    pub(super) diff_id: Digest,
    /// Bytes.
    pub(super) size: u64,
    /// `proc` and `dev`, where it has them: whether they are folders.
    pub(super) kernel: BTreeMap<String, bool>,
    /// Owner, group, mode and time of the root folder.
    pub(super) root: (u32, u32, u32, i64),
    /// It has nothing but its root folder.
    pub(super) empty: bool,
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    #[serde(flatten)]
    form: Form,
}

/// The folder of a store's roots.
#[derive(Debug)]
pub(super) struct Roots {
    folder: PathBuf,
}

impl Roots {
    pub(super) fn new(folder: PathBuf) -> io::Result<Self> {
        fs_err::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    fn place(&self, id: &RootId) -> PathBuf {
        self.folder.join(&id.0)
    }

    /// What a root is; `None` where there is none of that name.
    pub(super) fn find(&self, id: &RootId) -> io::Result<Option<Form>> {
        match fs_err::read(self.place(id).join(FACTS)) {
            Ok(text) => {
                let document: Document = serde_json::from_slice(&text)?;
                Ok((document.format == FORMAT).then_some(document.form))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The archive of a root.
    pub(super) fn layer(&self, id: &RootId) -> PathBuf {
        self.place(id).join(LAYER)
    }

    /// All ids, in order.
    pub(super) fn ids(&self) -> io::Result<Vec<RootId>> {
        let mut ids = Vec::new();
        for entry in fs_err::read_dir(&self.folder)? {
            let name = entry?.file_name().into_string().unwrap_or_default();
            if !name.starts_with('.') && !name.is_empty() {
                ids.push(RootId(name));
            }
        }
        ids.sort();
        Ok(ids)
    }

    /// A file beside the roots for an archive that is being made.
    pub(super) fn draft(&self) -> io::Result<Draft> {
        let folder = tempfile::Builder::new()
            .prefix(".new-")
            .tempdir_in(&self.folder)?;
        let file = fs_err::File::create(folder.path().join(LAYER))?.into_file();
        let file = HashingWriter::new(BufWriter::with_capacity(BUFFER, file));
        Ok(Draft { folder, file })
    }

    /// An empty folder beside the roots, of a name that is nowhere else, until it is dropped.
    pub(super) fn mark(&self) -> io::Result<tempfile::TempDir> {
        let mut named = tempfile::Builder::new();
        named
            .prefix(".seen-")
            .rand_bytes(32)
            .tempdir_in(&self.folder)
    }

    /// Keeps a volume as root.
    pub(super) fn keep_volume(&self, id: &RootId, volume: &str) -> io::Result<()> {
        let form = Form::Volume(volume.to_owned());
        let folder = tempfile::Builder::new()
            .prefix(".new-")
            .tempdir_in(&self.folder)?;
        write_facts(folder.path(), form)?;
        self.replace(folder, id)
    }

    /// Puts a finished folder in a root's place.
    fn replace(&self, folder: tempfile::TempDir, id: &RootId) -> io::Result<()> {
        let place = self.place(id);
        match renameat_with(CWD, folder.path(), CWD, &place, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                renameat_with(CWD, folder.path(), CWD, &place, RenameFlags::EXCHANGE)?;
                folder.close()?;
                return Ok(());
            }
            Err(errno) => return Err(errno.into()),
        }
        // It has another name now.
        let _moved = folder.keep();
        Ok(())
    }

    /// Gives a root another id; false where that is taken.
    pub(super) fn rename(&self, from: &RootId, to: &RootId) -> io::Result<bool> {
        let (from, to) = (self.place(from), self.place(to));
        match renameat_with(CWD, &from, CWD, &to, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Removes a root, if there is one.
    pub(super) fn remove(&self, id: &RootId) -> io::Result<()> {
        let place = self.place(id);
        let grave = tempfile::Builder::new()
            .prefix(".old-")
            .tempdir_in(&self.folder)?;
        match fs_err::rename(&place, grave.path().join("root")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => grave.close(),
        }
    }
}

fn write_facts(folder: &Path, form: Form) -> io::Result<()> {
    let document = Document {
        format: FORMAT,
        form,
    };
    fs_err::write(folder.join(FACTS), serde_json::to_vec(&document)?)
}

/// An archive that is being written.
#[derive(Debug)]
pub(super) struct Draft {
    folder: tempfile::TempDir,
    file: HashingWriter<BufWriter<File>>,
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Draft {
    /// Ends the writing; reads the archive once, for what is to be known of it.
    pub(super) fn finish(self) -> Result<Finished, TreeError> {
        let size = self.file.length();
        let (file, diff_id) = self.file.finish();
        file.into_inner()
            .map_err(|error| TreeError::Write(error.into_error()))?;
        let path = self.folder.path().join(LAYER);
        let file = fs_err::File::open(&path).map_err(TreeError::Write)?;
        let (mut facts, canonical) = read(BufReader::with_capacity(BUFFER, file), diff_id)?;
        facts.size = size;
        Ok(Finished {
            folder: self.folder,
            facts,
            canonical,
        })
    }
}

/// An archive that is written.
#[derive(Debug)]
pub(super) struct Finished {
    folder: tempfile::TempDir,
    pub(super) facts: Facts,
    /// It is as `tree::canonical` would have written it.
    pub(super) canonical: bool,
}

impl Finished {
    /// Opens the archive.
    pub(super) fn open(&self) -> io::Result<File> {
        Ok(fs_err::File::open(self.folder.path().join(LAYER))?.into_file())
    }

    /// Keeps it as root, in place of one of that id.
    pub(super) fn keep(self, roots: &Roots, id: &RootId) -> io::Result<()> {
        let folder = self.folder.path();
        write_facts(folder, Form::Layer(self.facts))?;
        if id.lasts() {
            for path in [&folder.join(LAYER), &folder.join(FACTS), folder] {
                fs_err::File::open(path)?.file().sync_all()?;
            }
        }
        roots.replace(self.folder, id)?;
        if id.lasts() {
            fs_err::File::open(&roots.folder)?.file().sync_all()?;
        }
        Ok(())
    }
}

/// Reads an archive: what it has, and whether it is canonical, which is so when writing its
/// members again gives the same bytes and they come in the order and the kinds of `tree::canonical`.
fn read(input: impl Read, diff_id: Digest) -> Result<(Facts, bool), TreeError> {
    let mut again = tar::Builder::new(HashingWriter::new(io::sink()));
    let mut facts = Facts {
        diff_id,
        size: 0,
        kernel: BTreeMap::new(),
        root: (0, 0, 0o755, 0),
        empty: true,
    };
    let mut order = Order::default();
    let mut members = Members::new(input);
    while let Some(member) = members.next_member()? {
        let path = inside(&member.name)
            .map_err(|why| TreeError::refused("archive entry", &member.name, why))?;
        if path.is_empty() {
            facts.root = (member.uid, member.gid, member.mode, member.mtime);
        } else {
            facts.empty = false;
        }
        for name in ["proc", "dev"] {
            if path == name.as_bytes() {
                facts
                    .kernel
                    .insert(name.to_owned(), member.kind == Kind::Folder);
            }
        }
        order.take(&member, &path);
        append_header(&mut again, &member).map_err(TreeError::Write)?;
        copy(&mut members, member.size, again.get_mut())?;
    }
    members.drain()?;
    let again = again.into_inner().map_err(TreeError::Write)?.finish().1;
    Ok((
        facts,
        order.good && order.last.is_some() && again == diff_id,
    ))
}

fn copy(members: &mut impl Read, size: u64, output: &mut impl Write) -> Result<(), TreeError> {
    io::copy(members, output)
        .and_then(|_length| {
            let padding = size.next_multiple_of(512) - size;
            io::copy(&mut io::repeat(0).take(padding), output)
        })
        .map(drop)
        .map_err(|source| TreeError::Read {
            after: String::new(),
            source,
        })
}

/// Whether members come as `tree::canonical` writes them: a cheap look, which may say no to an archive that is.
#[derive(Debug)]
struct Order {
    good: bool,
    last: Option<Vec<Vec<u8>>>,
    folders: Vec<Vec<u8>>,
    files: std::collections::HashSet<Vec<u8>>,
}

impl Default for Order {
    fn default() -> Self {
        Self {
            good: true,
            last: None,
            folders: Vec::new(),
            files: std::collections::HashSet::new(),
        }
    }
}

impl Order {
    fn take(&mut self, member: &Member, path: &[u8]) {
        let components: Vec<Vec<u8>> = path
            .split(|&byte| byte == b'/')
            .filter(|part| !part.is_empty())
            .map(<[u8]>::to_vec)
            .collect();
        let marked = components.iter().any(|part| part.starts_with(b".wh."));
        let depth = components.len();
        let below = depth == 0 || self.folders.get(..depth - 1) == components.get(..depth - 1);
        let ascending = match &self.last {
            None => depth == 0,
            Some(last) => *last < components,
        };
        // Whiteouts sort by the hidden name, and attributes are only some: a container judges both.
        self.good &= below && ascending && !marked && member.xattrs.is_empty();
        match member.kind {
            Kind::Folder => {
                self.folders.clone_from(&components);
                let name = if path.is_empty() { b"." } else { path };
                self.good &= member.name == [name, b"/"].concat();
            }
            Kind::HardLink => self.good &= self.files.contains(&member.link),
            Kind::Device => self.good = false,
            Kind::File => drop(self.files.insert(path.to_vec())),
            Kind::Symlink | Kind::Fifo => {}
        }
        self.good &= member.kind == Kind::Folder || member.name == path;
        self.last = Some(components);
    }
}

/// The canonical archive of an empty root.
pub(super) fn empty_archive() -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    append_header(&mut tar, &folder(b"./", (0, 0, 0o755, 0)))?;
    tar.into_inner()
}

/// A folder, as member of an archive.
pub(super) fn folder(name: &[u8], (uid, gid, mode, mtime): (u32, u32, u32, i64)) -> Member {
    Member {
        name: name.to_vec(),
        link: Vec::new(),
        kind: Kind::Folder,
        size: 0,
        mode,
        uid,
        gid,
        mtime,
        xattrs: BTreeMap::new(),
    }
}
