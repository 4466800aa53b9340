//! One RPM file: its header, checked before it is believed, and where its payload begins.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use rpm::{FileEntry, FileFlags, IndexTag, PackageMetadata};

use super::super::extract::inside;
use super::super::{TreeError, xattr};
use crate::rpm::read_headers;

/// What an entry of the header's file list is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    File,
    Symlink(Vec<u8>),
    Fifo,
    /// Never made: ghosts, devices, sockets.
    LeftOut,
}

/// One entry of the header's file list: all metadata comes from here, none from the payload.
#[derive(Debug)]
pub(super) struct Entry {
    /// Path inside the tree, links not resolved; empty for the root.
    pub path: Vec<u8>,
    pub kind: Kind,
    pub mode: u32,
    /// Names of owner and group where they are not `root`.
    pub user: Option<Box<str>>,
    pub group: Option<Box<str>>,
    pub mtime: i64,
    pub size: u64,
    /// Value of `security.capability`.
    pub capabilities: Option<Vec<u8>>,
    /// Which of `Package::sets` it belongs to.
    pub set: Option<usize>,
}

/// A package whose header was read.
#[derive(Debug)]
pub(super) struct Package {
    pub file: PathBuf,
    /// Where the payload begins, bytes.
    pub payload: u64,
    pub entries: Vec<Entry>,
    /// Hard links: entries that are one file, in the header's order; the payload has its content with the last.
    pub sets: Vec<Vec<usize>>,
}

impl Package {
    /// Reads the headers of `file`.
    pub(super) fn read(file: &Path) -> Result<Self, TreeError> {
        let damaged = |why: String| TreeError::package(file, why);
        let input = fs_err::File::open(file).map_err(|error| damaged(error.to_string()))?;
        let bytes = read_headers(&mut BufReader::with_capacity(64 * 1024, input))
            .map_err(|error| damaged(error.to_string()))?;
        let metadata = PackageMetadata::parse(&mut bytes.as_slice())
            .map_err(|error| damaged(error.to_string()))?;
        if metadata.is_source_package() {
            return Err(damaged("it is a source package".to_owned()));
        }
        let mut entries = Vec::new();
        for entry in metadata
            .get_file_entries()
            .map_err(|error| damaged(error.to_string()))?
        {
            entries.push(Entry::new(file, &entry)?);
        }
        let sets = link_sets(&metadata, &mut entries);
        Ok(Self {
            file: file.to_owned(),
            payload: bytes.len() as u64,
            entries,
            sets,
        })
    }

    /// The size of what the payload has for an entry: files and links have content; of hard links, the last alone.
    pub(super) fn content_size(&self, number: usize) -> Option<u64> {
        let entry = self.entries.get(number)?;
        Some(match (&entry.kind, entry.set) {
            (Kind::File, Some(set)) if self.sets[set].last() != Some(&number) => 0,
            (Kind::File | Kind::Symlink(_), _) => entry.size,
            _ => 0,
        })
    }

    /// An error about one entry of the package.
    pub(super) fn refused(&self, name: &[u8], why: &str) -> TreeError {
        refused(&self.file, name, why)
    }
}

fn refused(file: &Path, name: &[u8], why: &str) -> TreeError {
    TreeError::Refused {
        entry: format!(
            "entry `{}` of package `{}`",
            super::super::error::shown(name),
            file.display()
        ),
        why: why.to_owned(),
    }
}

impl Entry {
    fn new(file: &Path, entry: &FileEntry<'_>) -> Result<Self, TreeError> {
        let name = format!("{}{}", entry.dirname(), entry.basename()).into_bytes();
        let refused = |why| refused(file, &name, why);
        let relative = name
            .strip_prefix(b"/")
            .ok_or_else(|| refused("its name is not absolute"))?;
        let path = if relative.is_empty() {
            Vec::new()
        } else {
            inside(relative).map_err(refused)?
        };
        let mode = u32::from(entry.mode().raw_mode());
        let kind = match mode & libc::S_IFMT {
            _ if entry.flags().contains(FileFlags::GHOST) => Kind::LeftOut,
            libc::S_IFDIR => Kind::Folder,
            _ if path.is_empty() => return Err(refused("it would replace the root of the tree")),
            libc::S_IFREG => Kind::File,
            libc::S_IFLNK => Kind::Symlink(
                target(entry).ok_or_else(|| refused("its target is empty or has a NUL in it"))?,
            ),
            libc::S_IFIFO => Kind::Fifo,
            _ => Kind::LeftOut,
        };
        let capabilities = match entry.caps() {
            None | Some("") => None,
            Some(text) => Some(
                xattr::capability_value(text)
                    .ok_or_else(|| refused("its capabilities are not understood"))?,
            ),
        };
        let name = |name: &str| (name != "root").then(|| name.into());
        Ok(Self {
            kind,
            mode: mode & 0o7777,
            user: name(entry.user()),
            group: name(entry.group()),
            mtime: i64::from(entry.modified_at().0),
            size: entry.size() as u64,
            capabilities,
            set: None,
            path,
        })
    }
}

fn target(entry: &FileEntry<'_>) -> Option<Vec<u8>> {
    entry
        .linkto()
        .filter(|target| !target.is_empty() && !target.contains('\0'))
        .map(|target| target.as_bytes().to_vec())
}

/// Sets of hard links: regular files with the same device and inode in the header.
fn link_sets(metadata: &PackageMetadata, entries: &mut [Entry]) -> Vec<Vec<usize>> {
    let numbers = |tag| {
        metadata
            .header
            .get_entry_data_as_u32_array(tag)
            .unwrap_or_default()
    };
    let (devices, inodes) = (
        numbers(IndexTag::RPMTAG_FILEDEVICES),
        numbers(IndexTag::RPMTAG_FILEINODES),
    );
    let mut members: BTreeMap<(u32, u32), Vec<usize>> = BTreeMap::new();
    for (at, entry) in entries.iter().enumerate() {
        if let (Kind::File, Some(&device), Some(&inode)) =
            (&entry.kind, devices.get(at), inodes.get(at))
        {
            members.entry((device, inode)).or_default().push(at);
        }
    }
    let sets: Vec<Vec<usize>> = members.into_values().filter(|set| set.len() > 1).collect();
    for (number, set) in sets.iter().enumerate() {
        for &at in set {
            entries[at].set = Some(number);
        }
    }
    sets
}
