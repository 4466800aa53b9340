//! Files of our own on the host: written whole or not at all.

use std::io::{self, Read, Write};
use std::path::Path;

use tempfile::NamedTempFile;

/// Writes `bytes` to `path` through a temporary file beside it, synced and renamed:
/// a reader, or the next run after a crash, sees the old content or the new, never a part.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = beside(path, bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    fs_err::File::open(folder(path))?.file().sync_all()
}

/// The same of what is only a hint: nobody waits for the disk. A reader sees the old content or the new; after a crash of the
/// machine it may be anything, which whoever reads it must notice.
pub fn write_hint(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = beside(path, bytes)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// A file in the same folder with that content.
fn beside(path: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let folder = folder(path);
    let mut file = tempfile::Builder::new()
        .prefix(".pristine-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)
        .map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot write in `{}`: {error}", folder.display()),
            )
        })?;
    file.write_all(bytes)?;
    Ok(file)
}

/// Where a path's file lies.
fn folder(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Reads until the buffer is full or nothing is left.
pub fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match input.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for write in [write_atomic, write_hint] {
            for content in ["longer than the next", "short"] {
                write(&path, content.as_bytes()).unwrap();
                assert_eq!(fs_err::read_to_string(&path).unwrap(), content);
            }
        }
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1);
    }
}
