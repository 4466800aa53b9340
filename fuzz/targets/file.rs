//! What is to be read, as a file: one in memory, written anew each time.

use std::path::Path;
use std::sync::OnceLock;

use tempfile::NamedTempFile;

/// The file with these bytes.
pub(crate) fn with(bytes: &[u8]) -> &'static Path {
    static FILE: OnceLock<NamedTempFile> = OnceLock::new();
    let file = FILE.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let made = NamedTempFile::new_in(memory).or_else(|_| NamedTempFile::new());
        made.expect("a temporary file can be made")
    });
    std::fs::write(file.path(), bytes).expect("the file can be written");
    file.path()
}
