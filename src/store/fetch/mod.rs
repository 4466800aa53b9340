//! Downloads into the store: parallel, resumed, retried over mirrors, hashed while written.
//!
//! Invariants:
//! - what arrives becomes a blob only when its digest, and its length where known, are as promised;
//! - a mirror that lies or breaks costs time, never more disk than the file is allowed to have;
//! - everything that is retried is retried in a fixed order after fixed pauses, without chance;
//! - dropping the future stops at once, and leaves at most a partial file that a later run resumes.
//!
//! A file whose digest is known and that the store has is not fetched. That is a look at its name
//! and length only: whoever uses it hashes it (see [`Store::verified`]).

mod error;
mod http;
mod job;
mod local;
mod mirrors;
mod probe;
mod progress;
mod transfer;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep_until};

use super::{Arrived, Store, StoreError};
use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::documents::template::Access;
use crate::events::Sink;

pub use error::{Failed, FetchError, Tried};
pub use probe::Answer;

use error::Fault;
use http::Http;
use job::Job;
use mirrors::Mirrors;
use progress::Progress;
use transfer::Transfer;

/// One file to fetch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Download {
    /// What messages call it.
    pub name: String,
    /// Where it is, the preferred mirror first: `http`, `https` or `file` URLs, or absolute paths.
    pub urls: Vec<String>,
    /// What its content must have; `None` where only a signature on it can tell (`repomd.xml`).
    pub digest: Option<Digest>,
    /// Its length in bytes, where known.
    pub size: Option<u64>,
    /// The longest that it may be, in bytes, where its length is not known.
    pub max_size: Option<u64>,
    /// How its servers are reached.
    pub access: Access,
}

/// One file that is in the store now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Its digest: the one asked for, or of what came.
    pub digest: Digest,
    /// Its blob.
    pub path: PathBuf,
    /// The address that gave it; `None` where the store, or an earlier run's unfinished file, had all of it.
    pub url_used: Option<String>,
    /// Its length in bytes.
    pub size: u64,
}

/// How to fetch.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// Downloads at once.
    pub parallel: NonZero<usize>,
    /// Tries per mirror and file.
    pub attempts: u32,
    /// The pause after the first failure of a mirror; it doubles with each further one.
    pub first_pause: Duration,
    /// The longest pause, also where a mirror asks for one; a mirror that asks for more is given up.
    pub longest_pause: Duration,
    /// Time to connect.
    pub connect: Duration,
    /// Time in which an answer must begin, and in which `minimum_rate` is measured.
    pub idle: Duration,
    /// Bytes per second below which a mirror is given up for now. One byte per `idle` is the least.
    pub minimum_rate: u64,
    /// The longest file, in bytes, where a download says neither its size nor its own limit.
    pub max_size: u64,
    /// What servers are told of us.
    pub user_agent: String,
    /// Whether nothing may be asked of the network: the store has it, or a local path, or it is an error.
    pub offline: bool,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            parallel: NonZero::new(8).unwrap_or(NonZero::<usize>::MIN),
            attempts: 5,
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_mins(1),
            connect: Duration::from_secs(15),
            idle: Duration::from_secs(30),
            minimum_rate: 1000,
            max_size: 8 << 30,
            user_agent: concat!("pristine/", env!("CARGO_PKG_VERSION")).to_owned(),
            offline: false,
        }
    }
}

/// Fetches files into one store. Keep it: it reuses connections.
#[derive(Debug)]
pub struct Fetcher {
    store: Store,
    options: FetchOptions,
    http: Mutex<BTreeMap<Access, Http>>,
    /// Origins (`http://host:port`) that could not be reached: tried last from then on.
    unreachable: Mutex<Vec<String>>,
}

/// How one download ended without a file: it failed, or nothing can go on.
enum End {
    Failed(Failed),
    Fatal(FetchError),
}

impl From<FetchError> for End {
    fn from(error: FetchError) -> Self {
        Self::Fatal(error)
    }
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::Fatal(error.into())
    }
}

impl Fetcher {
    /// A fetcher into `store`.
    pub fn new(store: Store, options: FetchOptions) -> Self {
        Self {
            store,
            options,
            http: Mutex::default(),
            unreachable: Mutex::new(Vec::new()),
        }
    }

    /// Fetches what of `downloads` the store does not have. Returns them in the order given.
    ///
    /// A file that no mirror has does not stop the others, so that the error names all such files;
    /// when all mirrors of a file are out of reach, or the disk is full, the rest is not tried.
    pub async fn fetch(
        &self,
        downloads: Vec<Download>,
        sink: &dyn Sink,
        cancel: &Cancel,
    ) -> Result<Vec<Fetched>, FetchError> {
        unless_cancelled(cancel, self.fetch_all(downloads, sink)).await
    }

    /// Fetches one file if the store does not have it, to be used before it is on the disk.
    pub async fn fetch_ahead(
        &self,
        download: &Download,
        sink: &dyn Sink,
        cancel: &Cancel,
    ) -> Result<(Fetched, Option<Arrived>), FetchError> {
        let fetch = async {
            if let Some(fetched) = self.present(download).await? {
                return Ok((fetched, None));
            }
            let progress = Progress::new(sink, [download].into_iter());
            let fetched = self.try_mirrors(download, &progress, Transfer::place);
            match fetched.await {
                Ok((fetched, arrived)) => Ok((fetched, Some(arrived))),
                Err(End::Fatal(error)) => Err(error),
                Err(End::Failed(failed)) => Err(FetchError::Failed {
                    failures: vec![failed],
                    total: 1,
                }),
            }
        };
        unless_cancelled(cancel, fetch).await
    }

    async fn fetch_all(
        &self,
        downloads: Vec<Download>,
        sink: &dyn Sink,
    ) -> Result<Vec<Fetched>, FetchError> {
        let (unique, places) = merge(downloads);
        let mut done: Vec<Option<Fetched>> = Vec::with_capacity(unique.len());
        for download in &unique {
            done.push(self.present(download).await?);
        }
        let missing = || {
            unique
                .iter()
                .enumerate()
                .zip(&done)
                .filter(|(_, done)| done.is_none())
                .map(|(item, _)| item)
        };
        let progress = Progress::new(sink, missing().map(|(_, download)| download));
        let jobs: Vec<_> = missing()
            .map(|(index, download)| self.fetch_one(index, download, &progress))
            .collect();
        let mut running = stream::iter(jobs).buffer_unordered(self.options.parallel.get());
        let mut failures = Vec::new();
        while let Some((index, result)) = running.next().await {
            match result {
                Ok(fetched) => done[index] = Some(fetched),
                Err(End::Fatal(error)) => return Err(error),
                Err(End::Failed(failed)) => {
                    let gone = failed.gone;
                    failures.push((index, failed));
                    if !gone {
                        break;
                    }
                }
            }
        }
        if failures.is_empty() {
            let done: Vec<Fetched> = done.into_iter().flatten().collect();
            return Ok(places
                .into_iter()
                .map(|place| done[place].clone())
                .collect());
        }
        failures.sort_by_key(|(index, _)| *index);
        let failures = failures.into_iter().map(|(_, failed)| failed).collect();
        Err(FetchError::Failed {
            failures,
            total: unique.len(),
        })
    }

    /// What the store has of it already, by name and length.
    async fn present(&self, download: &Download) -> Result<Option<Fetched>, StoreError> {
        let remembered = || self.remembered(download).filter(|_| self.options.offline);
        let Some(digest) = download.digest.or_else(remembered) else {
            return Ok(None);
        };
        let Some(path) = self.store.blob(&digest) else {
            return Ok(None);
        };
        let actual = path
            .metadata()
            .map(|metadata| metadata.len())
            .map_err(super::error::doing("inspect", &path))?;
        match download.size.filter(|&expected| expected != actual) {
            None => Ok(Some(Fetched {
                digest,
                path,
                url_used: None,
                size: actual,
            })),
            Some(expected) => {
                // One of the two lies: a damaged blob is fetched again, a wrong length is refused as from a mirror.
                let store = self.store.clone();
                match blocking(move || store.verified(&digest)).await {
                    Err(StoreError::Damaged { removed: true, .. }) => Ok(None),
                    Err(error) => Err(error),
                    Ok(_) => Err(StoreError::Length { expected, actual }),
                }
            }
        }
    }

    async fn fetch_one(
        &self,
        index: usize,
        download: &Download,
        progress: &Progress<'_>,
    ) -> (usize, Result<Fetched, End>) {
        let fetched = self.try_mirrors(download, progress, Transfer::adopt);
        (index, fetched.await.map(|(fetched, ())| fetched))
    }

    /// Goes over the mirrors until one gives the file or none is left; `keep` makes a blob of it.
    async fn try_mirrors<T: Send + 'static>(
        &self,
        download: &Download,
        progress: &Progress<'_>,
        keep: fn(Transfer, &Digest) -> Result<T, StoreError>,
    ) -> Result<(Fetched, T), End> {
        let key = download.digest.map(|digest| digest.hex());
        let (store, size) = (self.store.clone(), download.size);
        let transfer = blocking(move || Transfer::open(store, key.as_deref(), size)).await?;
        let mut job = Job::new(download, &self.options, transfer, progress);
        if let Some(digest) = job.complete()? {
            return Ok(self.finish(job, digest, None, keep).await?);
        }
        let mut mirrors = Mirrors::new(&download.urls, |url| self.reachable(url), &self.options);
        while let Some((mirror, ready)) = mirrors.next(Instant::now()) {
            sleep_until(ready).await;
            let url = mirrors.url(mirror);
            let result = match local::path(url) {
                Some(path) => local::read(&path, &mut job).await,
                None if self.options.offline => Err(Fault::from(error::Problem::lasting(
                    "it is not in the store, and nothing is fetched (--offline)",
                ))),
                None => self.load(url, &mut job).await,
            };
            match result {
                Ok(digest) => {
                    self.remember(download, url, &digest);
                    return Ok(self.finish(job, digest, Some(url), keep).await?);
                }
                Err(Fault::Fatal(error)) => {
                    if matches!(error, FetchError::Store(StoreError::Full { .. })) {
                        job.transfer.discard();
                    }
                    return Err(End::Fatal(error));
                }
                Err(Fault::Mirror(problem)) => {
                    tracing::debug!(
                        name = download.name,
                        url = error::shown(url),
                        problem.reason,
                        "a try failed"
                    );
                    if problem.unreachable {
                        self.note_unreachable(url);
                    }
                    mirrors.failed(mirror, problem, Instant::now());
                }
            }
        }
        Err(End::Failed(mirrors.into_failed(download.name.clone())))
    }

    /// Makes a blob of what was transferred.
    async fn finish<T: Send + 'static>(
        &self,
        job: Job<'_>,
        digest: Digest,
        url: Option<&str>,
        keep: fn(Transfer, &Digest) -> Result<T, StoreError>,
    ) -> Result<(Fetched, T), StoreError> {
        let Job {
            transfer, progress, ..
        } = job;
        let size = transfer.length();
        let kept = blocking(move || keep(transfer, &digest)).await?;
        progress.file_done();
        let fetched = Fetched {
            digest,
            path: self.store.blob_path(&digest),
            url_used: url.map(ToOwned::to_owned),
            size,
        };
        Ok((fetched, kept))
    }

    /// Notes what an address gave that promises no digest: with `offline` it gives the same again.
    fn remember(&self, download: &Download, url: &str, digest: &Digest) {
        if download.digest.is_none() && local::path(url).is_none() {
            let kept = self
                .store
                .keep_derived(&latest(url), digest.hex().as_bytes());
            if let Err(error) = kept {
                tracing::warn!(%error, "what was fetched cannot be found again offline");
            }
        }
    }

    /// What the first address of a download gave last; whether the store still has it is not asked.
    fn remembered(&self, download: &Download) -> Option<Digest> {
        let text = |url: &String| fs_err::read_to_string(self.store.derived(&latest(url))).ok();
        download.urls.iter().find_map(text)?.parse().ok()
    }

    fn reachable(&self, url: &str) -> bool {
        let known = self
            .unreachable
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        !known.contains(&http::origin(url))
    }

    fn note_unreachable(&self, url: &str) {
        let origin = http::origin(url);
        let mut known = self
            .unreachable
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !known.contains(&origin) {
            known.push(origin);
        }
    }
}

/// The derived file that says what an address gave last.
fn latest(url: &str) -> String {
    format!("latest-{}", Digest::of(url.as_bytes()).hex())
}

/// Makes one download of those that ask for the same digest; says where each of the given ones went.
fn merge(downloads: Vec<Download>) -> (Vec<Download>, Vec<usize>) {
    let mut unique: Vec<Download> = Vec::with_capacity(downloads.len());
    let mut seen: BTreeMap<(Digest, Option<u64>), usize> = BTreeMap::new();
    let mut places = Vec::with_capacity(downloads.len());
    for download in downloads {
        let key = download.digest.map(|digest| (digest, download.size));
        if let Some(&place) = key.and_then(|key| seen.get(&key)) {
            for url in download.urls {
                if !unique[place].urls.contains(&url) {
                    unique[place].urls.push(url);
                }
            }
            places.push(place);
        } else {
            if let Some(key) = key {
                seen.insert(key, unique.len());
            }
            places.push(unique.len());
            unique.push(download);
        }
    }
    (unique, places)
}

/// What comes of a fetch that is dropped when it is cancelled, and not begun when it was before.
async fn unless_cancelled<T>(
    cancel: &Cancel,
    fetch: impl Future<Output = Result<T, FetchError>>,
) -> Result<T, FetchError> {
    if cancel.is_cancelled() {
        return Err(FetchError::Interrupted);
    }
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(FetchError::Interrupted),
        result = fetch => result,
    }
}

/// Runs what waits for the disk on a thread that may wait.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is being shut down, and with it this future.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_may_move_between_threads() {
        fn movable<T: Send>(_: T) {}
        let folder = tempfile::tempdir().unwrap();
        let fetcher = Fetcher::new(Store::open(folder.path()).unwrap(), FetchOptions::default());
        let cancel = Cancel::new().unwrap();
        movable(fetcher.fetch(Vec::new(), &crate::events::Silent, &cancel));
    }

    #[test]
    fn one_digest_is_one_download() {
        let download = |name: &str, digest: Option<&[u8]>| Download {
            name: name.to_owned(),
            urls: vec![
                format!("http://mirror/{name}"),
                "http://mirror/common".to_owned(),
            ],
            digest: digest.map(Digest::of),
            ..Download::default()
        };
        let all = vec![
            download("a", Some(b"1")),
            download("b", None),
            download("c", Some(b"1")),
            download("b", None),
        ];
        let (unique, places) = merge(all);
        assert_eq!(places, [0, 1, 0, 2]);
        assert_eq!(
            unique[0].urls,
            ["http://mirror/a", "http://mirror/common", "http://mirror/c"]
        );
    }
}
