//! From what the project asks to what is exact: repositories read, requests solved, sources found.

use thiserror::Error;

use crate::cancel::Cancel;
use crate::documents::config::Project;
use crate::events::Sink;
use crate::keyring::KeyringError;
use crate::plan::PlanError;
use crate::repository::RepositoryError;
use crate::rpm::RpmError;
use crate::solve::{SolveError, Unsolvable};
use crate::store::fetch::{Download, FetchError, Fetched, Fetcher};
use crate::store::{Arrived, Store, StoreError};

mod advice;
pub mod chain;
pub mod groups;
mod keys;
pub mod metadata;
pub mod mirrors;
pub mod modules;
pub mod packages;
pub mod places;
mod questions;
mod reading;
pub mod repositories;
pub mod request;
pub mod solving;
pub mod sources;

/// Where things come from and go to while resolving.
#[derive(Clone, Copy)]
#[expect(
    missing_debug_implementations,
    reason = "a bundle of references; the sink has no debug form"
)]
pub struct Supply<'a> {
    /// The project.
    pub project: &'a Project,
    /// The store.
    pub store: &'a Store,
    /// Downloads into it.
    pub fetcher: &'a Fetcher,
    /// Runs the downloads.
    pub runtime: &'a tokio::runtime::Runtime,
    /// Hears of progress.
    pub sink: &'a dyn Sink,
    /// Ends the work.
    pub cancel: &'a Cancel,
}

impl Supply<'_> {
    /// Downloads into the store; blocks until all are there.
    pub fn fetch(&self, downloads: Vec<Download>) -> Result<Vec<Fetched>, FetchError> {
        self.runtime
            .block_on(self.fetcher.fetch(downloads, self.sink, self.cancel))
    }

    /// One file, to be used before it is on the disk, where it came just now.
    pub fn fetch_ahead(
        &self,
        download: &Download,
    ) -> Result<(Fetched, Option<Arrived>), FetchError> {
        let fetch = self.fetcher.fetch_ahead(download, self.sink, self.cancel);
        self.runtime.block_on(fetch)
    }
}

fn keys_of(found: &[(String, String, String)]) -> String {
    let texts: Vec<String> = found
        .iter()
        .map(|(fingerprint, user, url)| format!("{url} has {fingerprint} ({user})"))
        .collect();
    texts.join(", ")
}

impl ResolveError {
    /// Whether something could not be fetched, which another time may go well.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Fetch(FetchError::Failed { .. }))
    }
}

/// Why the project's requests could not be made exact.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// A download.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A signature of a repository or package.
    #[error("`{subject}` is not trusted")]
    Signature {
        /// The file.
        subject: String,
        /// Its cause.
        source: KeyringError,
    },
    /// A key of the template or recipe.
    #[error("the key of `{owner}` cannot be used")]
    Key {
        /// The repository or the third-party package that names it.
        owner: String,
        /// Its cause.
        source: KeyringError,
    },
    /// Metadata.
    #[error("the repository `{name}` cannot be read")]
    Repository {
        /// Its name.
        name: String,
        /// Its cause.
        source: RepositoryError,
    },
    /// A repository has no `primary` metadata.
    #[error("the repository `{name}` has no `{kind}` metadata with a SHA-256 checksum")]
    NoMetadata {
        /// Its name.
        name: String,
        /// What is missing.
        kind: &'static str,
    },
    /// A metadata file or a package is not what the metadata promise.
    #[error(
        "{what} of the repository `{name}` is not what its metadata promise: expected {expected}, found {found}"
    )]
    Checksum {
        /// The repository's name.
        name: String,
        /// The file.
        what: String,
        /// The checksum in the metadata.
        expected: String,
        /// That of the file.
        found: String,
    },
    /// A `.repo` file names keys of which the template pins none.
    #[error(
        "no key of the repository `{name}` is pinned by its template; {}",
        keys_of(found)
    )]
    NotPinned {
        /// The repository's name.
        name: String,
        /// The keys that there are: fingerprint, owner and URL of each.
        found: Vec<(String, String, String)>,
    },
    /// Something that no repository has: a group, an environment, a module or one of its streams.
    #[error("no repository has the {what} `{name}`")]
    Unknown {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
        /// The names that are most like it.
        nearest: Vec<String>,
    },
    /// A template enables two streams of a module.
    #[error("the template enables the streams `{}` and `{}` of the module `{name}`: only one can be", streams[0], streams[1])]
    TwoStreams {
        /// The module.
        name: String,
        /// The streams.
        streams: [String; 2],
    },
    /// A kept index, made anew just now.
    #[error(transparent)]
    Damage(#[from] crate::repository::Damage),
    /// A header.
    #[error(transparent)]
    Rpm(#[from] RpmError),
    /// The plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The solver could not be used.
    #[error(transparent)]
    Solve(#[from] SolveError),
    /// There is no answer.
    #[error("{what} cannot be installed together:\n{why}")]
    Unsolvable {
        /// What was asked.
        what: &'static str,
        /// The reasons.
        why: Unsolvable,
    },
    /// A local source of a spec is missing.
    #[error("`{spec}` names the source `{file}`, which lies neither beside the spec nor at a URL")]
    NoSource {
        /// The spec.
        spec: String,
        /// The source.
        file: String,
    },
    /// A local source cannot be read.
    #[error("cannot read a source of `{spec}`")]
    Source {
        /// The spec.
        spec: String,
        /// Its cause.
        source: std::io::Error,
    },
    /// A value that came from outside does not fit the lock.
    #[error("`{text}` cannot be written into the lock: {why}")]
    Value {
        /// The value.
        text: String,
        /// Why.
        why: String,
    },
}
