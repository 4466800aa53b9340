//! Downloads: retried, checked against a digest, kept by it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use crate::error::MinidistroError;

/// Attempts before a download fails.
const ATTEMPTS: u32 = 5;
/// Half of the pause before the second attempt; each one is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 250 });
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
            .map_err(|error| MinidistroError::Download {
                url: "(any)".to_owned(),
                reason: chain(&error),
            })?;
        Ok(Self {
            client,
            folder: folder.to_owned(),
        })
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
        Err(MinidistroError::Download {
            url: url.to_owned(),
            reason: last,
        })
    }

    /// Where the wanted file is, downloaded if need be, its digest checked now.
    pub(crate) async fn file(&self, wanted: &Wanted) -> Result<PathBuf, MinidistroError> {
        let path = self.folder.join(&wanted.sha256);
        if path.exists() {
            let (check, expected) = (path.clone(), wanted.sha256.clone());
            let same = tokio::task::spawn_blocking(move || {
                sha256_of(&check).is_ok_and(|got| got == expected)
            })
            .await;
            if same.unwrap_or(false) {
                return Ok(path);
            }
            fs_err::remove_file(&path).map_err(MinidistroError::file(&path))?;
        }
        let mut last = MinidistroError::Download {
            url: wanted.url.clone(),
            reason: String::new(),
        };
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
        let failed = |error: reqwest::Error| MinidistroError::Download {
            url: wanted.url.clone(),
            reason: chain(&error),
        };
        let response = self
            .client
            .get(&wanted.url)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status);
        let mut body = response.map_err(failed)?.bytes_stream();
        let temporary = tempfile::Builder::new()
            .prefix(".part-")
            .tempfile_in(&self.folder)
            .map_err(MinidistroError::file(&self.folder))?;
        let handle = temporary
            .as_file()
            .try_clone()
            .map_err(MinidistroError::file(path))?;
        let mut file = tokio::fs::File::from_std(handle);
        let mut hasher = Sha256::new();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(failed)?;
            hasher.update(&chunk);
            file.write_all(&chunk)
                .await
                .map_err(MinidistroError::file(path))?;
        }
        file.flush().await.map_err(MinidistroError::file(path))?;
        let got = hex(&hasher.finalize());
        if got != wanted.sha256 {
            return Err(MinidistroError::Digest {
                url: wanted.url.clone(),
                expected: wanted.sha256.clone(),
                got,
            });
        }
        temporary
            .persist(path)
            .map_err(|error| MinidistroError::File {
                path: path.to_owned(),
                source: error.error,
            })?;
        Ok(())
    }
}

async fn wait(attempt: u32) {
    if attempt > 0 {
        tokio::time::sleep(FIRST_PAUSE * (1 << attempt)).await;
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
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _infallible = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    /// Serves `bodies`, one for each connection, the last one again and again; an empty one is an answer 503.
    async fn server(bodies: &'static [&'static str]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/file", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for number in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _request = stream.read(&mut [0; 4096]).await.unwrap();
                let body = bodies[number.min(bodies.len() - 1)];
                let status = if body.is_empty() {
                    "503 Busy"
                } else {
                    "200 OK"
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                stream
                    .write_all(format!("{head}{body}").as_bytes())
                    .await
                    .unwrap();
            }
        });
        url
    }

    fn wanted(url: String) -> Wanted {
        Wanted {
            url,
            sha256: hex(&Sha256::digest(b"right")),
        }
    }

    #[tokio::test]
    async fn a_download_is_retried_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let fetcher = Fetcher::new(folder.path()).unwrap();
        let wanted = wanted(server(&["", "wrong", "right"]).await);
        let path = fetcher.file(&wanted).await.unwrap();
        assert_eq!(fs_err::read_to_string(&path).unwrap(), "right");
        // It is used again without the server, unless it was changed.
        let gone = Wanted {
            url: "http://127.0.0.1:1/file".to_owned(),
            ..wanted.clone()
        };
        assert_eq!(fetcher.file(&gone).await.unwrap(), path);
        fs_err::write(&path, "changed").unwrap();
        fetcher.file(&wanted).await.unwrap();
        assert_eq!(fs_err::read_to_string(&path).unwrap(), "right");
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn wrong_content_is_refused_with_both_digests() {
        let folder = tempfile::tempdir().unwrap();
        let url = server(&["wrong"]).await;
        let error = Fetcher::new(folder.path())
            .unwrap()
            .file(&wanted(url.clone()))
            .await
            .unwrap_err();
        insta::assert_snapshot!(error.to_string().replace(&url, "URL"),
            @"`URL` has the wrong content: expected sha256 27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9, got 8810ad581e59f2bc3928b261707a71308f7e139eb04820366dc4d5c18d980225");
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0);
    }
}
