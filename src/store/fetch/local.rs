//! Files of this machine as a mirror: read through the same checks.

use std::path::{Path, PathBuf};

use reqwest::Url;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use super::error::{Fault, Problem};
use super::job::Job;
use crate::digest::Digest;

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// The path that `url` means, where it means one: an absolute path or a `file` URL.
pub(super) fn path(url: &str) -> Option<PathBuf> {
    if url.starts_with('/') {
        return Some(url.into());
    }
    let url = Url::parse(url).ok()?;
    if url.scheme() == "file" {
        url.to_file_path().ok()
    } else {
        None
    }
}

/// Copies the file at `path` into `job`, and checks it.
pub(super) async fn read(path: &Path, job: &mut Job<'_>) -> Result<Digest, Fault> {
    let unreadable = |error: std::io::Error| Problem::lasting(format!("cannot read it: {error}"));
    let mut file = File::open(path).await.map_err(unreadable)?;
    let metadata = file.metadata().await.map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Problem::lasting("it is not a file").into());
    }
    job.announce(metadata.len())?;
    job.restart()?;
    job.transfer.begin_piece(None);
    file.set_max_buf_size(CHUNK);
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = file.read(&mut chunk).await.map_err(unreadable)?;
        if count == 0 {
            return job.check();
        }
        job.take(&chunk[..count])?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_file_urls_are_local() {
        let cases = [
            ("/a b/c", Some("/a b/c")),
            ("file:///a%20b/c", Some("/a b/c")),
            ("file://localhost/a", Some("/a")),
            ("http://host/a", None),
            ("a/b", None),
            ("", None),
        ];
        for (url, expected) in cases {
            assert_eq!(path(url), expected.map(PathBuf::from), "{url}");
        }
    }
}
