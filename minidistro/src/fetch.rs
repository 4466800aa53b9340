//! Downloads: retried, checked against a digest, kept by it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use crate::error::MinidistroError;

/// Attempts before a download fails.
const ATTEMPTS: u32 = 5;
/// Time to connect, and longest silence in a download.
const PATIENCE: Duration = Duration::from_secs(30);

/// An HTTP client with a folder of verified files, named by their SHA-256.
#[derive(Debug, Clone)]
pub(crate) struct Fetcher {
    client: reqwest::Client,
    folder: PathBuf,
}

/// What is to be downloaded.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) url: String,
    /// SHA-256, hexadecimal.
    pub(crate) sha256: String,
}

impl Fetcher {
    /// Keeps verified files in `folder`, which is made.
    pub(crate) fn new(folder: &Path) -> Result<Self, MinidistroError> {
        // Another provider may be installed already: any will do.
        let _already = rustls::crypto::ring::default_provider().install_default();
        fs_err::create_dir_all(folder).map_err(MinidistroError::file(folder))?;
        let client = reqwest::Client::builder()
            .connect_timeout(PATIENCE)
            .read_timeout(PATIENCE)
            .user_agent(concat!("minidistro/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| MinidistroError::Download { url: "(any)".to_owned(), reason: chain(&error) })?;
        Ok(Self { client, folder: folder.to_owned() })
    }

    /// A small file without a digest of its own: only for what carries a signature.
    pub(crate) async fn text(&self, url: &str) -> Result<String, MinidistroError> {
        let attempt = || async {
            let response = self.client.get(url).send().await?.error_for_status()?;
            response.text().await
        };
        let mut last = String::new();
        for number in 0..ATTEMPTS {
            wait(number).await;
            match attempt().await {
                Ok(text) => return Ok(text),
                Err(error) => last = chain(&error),
            }
        }
        Err(MinidistroError::Download { url: url.to_owned(), reason: last })
    }

    /// Where the wanted file is, downloaded if need be, its digest checked now.
    pub(crate) async fn file(&self, wanted: &Wanted) -> Result<PathBuf, MinidistroError> {
        let path = self.folder.join(&wanted.sha256);
        if path.exists() {
            let (check, expected) = (path.clone(), wanted.sha256.clone());
            let same = tokio::task::spawn_blocking(move || sha256_of(&check).is_ok_and(|got| got == expected)).await;
            if same.unwrap_or(false) {
                return Ok(path);
            }
            fs_err::remove_file(&path).map_err(MinidistroError::file(&path))?;
        }
        let mut last = MinidistroError::Download { url: wanted.url.clone(), reason: String::new() };
        for number in 0..ATTEMPTS {
            wait(number).await;
            match self.download(wanted, &path).await {
                Ok(()) => return Ok(path),
                Err(error @ MinidistroError::File { .. }) => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn download(&self, wanted: &Wanted, path: &Path) -> Result<(), MinidistroError> {
        let failed = |error: reqwest::Error| MinidistroError::Download { url: wanted.url.clone(), reason: chain(&error) };
        let response = self.client.get(&wanted.url).send().await.and_then(reqwest::Response::error_for_status);
        let mut body = response.map_err(failed)?.bytes_stream();
        let temporary = tempfile::Builder::new()
            .prefix(".part-")
            .tempfile_in(&self.folder)
            .map_err(MinidistroError::file(&self.folder))?;
        let handle = temporary.as_file().try_clone().map_err(MinidistroError::file(path))?;
        let mut file = tokio::fs::File::from_std(handle);
        let mut hasher = Sha256::new();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(failed)?;
            hasher.update(&chunk);
            file.write_all(&chunk).await.map_err(MinidistroError::file(path))?;
        }
        file.flush().await.map_err(MinidistroError::file(path))?;
        let got = hex(&hasher.finalize());
        if got != wanted.sha256 {
            return Err(MinidistroError::Digest { url: wanted.url.clone(), expected: wanted.sha256.clone(), got });
        }
        temporary.persist(path).map_err(|error| MinidistroError::File { path: path.to_owned(), source: error.error })?;
        Ok(())
    }
}

async fn wait(attempt: u32) {
    if attempt > 0 {
        tokio::time::sleep(Duration::from_millis(250 << attempt)).await;
    }
}

/// An error with its causes: reqwest's own text leaves them out.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// SHA-256 of a file, hexadecimal.
pub(crate) fn sha256_of(path: &Path) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    std::io::copy(&mut fs_err::File::open(path)?, &mut hasher)?;
    Ok(hex(&hasher.finalize()))
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
