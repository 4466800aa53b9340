//! Host files packed for `Clone::copy_in`: fixed owners, modes and times, spooled on disk.

use std::fs::File;
use std::io::{self, BufWriter, Cursor, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::backend::User;

/// One file on its way into a clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative path in the folder that it is copied to.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Its owner inside.
    pub owner: User,
    /// Where its bytes come from.
    pub content: Content,
}

/// Where an entry's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A file on the host.
    Host(PathBuf),
    /// These bytes.
    Bytes(Vec<u8>),
    /// No bytes: a folder.
    Folder,
}

impl Entry {
    /// A folder.
    pub fn folder(path: &str, owner: User) -> Self {
        Self {
            path: path.to_owned(),
            mode: 0o755,
            owner,
            content: Content::Folder,
        }
    }

    /// A copy of a host file, mode 644.
    pub fn host(path: String, source: PathBuf, owner: User) -> Self {
        Self {
            path,
            mode: 0o644,
            owner,
            content: Content::Host(source),
        }
    }
}

/// A tar of `entries` in their order, all of time `mtime` (seconds since 1970),
/// in an unnamed file in the folder `spool`.
pub fn pack(entries: &[Entry], mtime: u64, spool: &Path) -> io::Result<File> {
    let mut tar = tar::Builder::new(BufWriter::with_capacity(
        1 << 20,
        tempfile::tempfile_in(spool)?,
    ));
    for entry in entries {
        let mut header = tar::Header::new_ustar();
        header.set_mode(entry.mode);
        header.set_uid(u64::from(entry.owner.uid));
        header.set_gid(u64::from(entry.owner.gid));
        header.set_mtime(mtime);
        match &entry.content {
            Content::Folder => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_size(0);
                tar.append_data(&mut header, &entry.path, io::empty())?;
            }
            Content::Bytes(bytes) => {
                header.set_size(bytes.len() as u64);
                tar.append_data(&mut header, &entry.path, Cursor::new(bytes))?;
            }
            Content::Host(path) => {
                let file = fs_err::File::open(path)?;
                let size = file.metadata()?.len();
                header.set_size(size);
                // `take`: a file that grows meanwhile must not break the archive.
                tar.append_data(&mut header, &entry.path, file.take(size))?;
            }
        }
    }
    let mut file = tar
        .into_inner()?
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    file.flush()?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("s");
        fs_err::write(&source, "source").unwrap();
        let entries = [
            Entry::folder("SOURCES", User::ROOT),
            Entry::host("SOURCES/s".to_owned(), source, User::ROOT),
        ];
        let read = || {
            let mut bytes = Vec::new();
            pack(&entries, 7, folder.path())
                .unwrap()
                .read_to_end(&mut bytes)
                .unwrap();
            bytes
        };
        assert_eq!(read(), read());
    }
}
