//! Sources and patches: beside the spec, or fetched by URL and locked by SHA-256.

use std::collections::BTreeMap;
use std::path::Path;

use crate::documents::lock::{LockedPackage, LockedSource, RemoteSource};
use crate::environment::specs::SpecFacts;
use crate::resolve::repositories::value;
use crate::resolve::{ResolveError, Supply};
use crate::store::fetch::Download;

/// What an older lock says of downloads: URL → source. What is locked stays, unless it is to be looked at anew.
pub type Known = BTreeMap<String, RemoteSource>;

/// The downloads that a package of an older lock knows.
pub fn known<'a>(packages: impl IntoIterator<Item = &'a LockedPackage>) -> Known {
    packages
        .into_iter()
        .flat_map(|package| &package.sources)
        .filter_map(|source| source.remote.clone())
        .map(|remote| (remote.url.to_string(), remote))
        .collect()
}

/// Finds all sources of a spec; downloads that no older lock knows are fetched now.
pub async fn lock(
    supply: Supply<'_>,
    spec: &Path,
    facts: &SpecFacts,
    known: &Known,
) -> Result<Vec<LockedSource>, ResolveError> {
    let folder = spec.parent().unwrap_or(Path::new("."));
    let mut sources = Vec::new();
    for file in &facts.sources {
        let remote = match facts.urls.get(file) {
            // A file beside the spec goes before its URL, as rpmbuild itself would take it.
            _ if folder.join(file).is_file() => None,
            Some(url) => Some(match known.get(url) {
                Some(remote) => remote.clone(),
                None => first_fetch(supply, file, url).await?,
            }),
            None => {
                return Err(ResolveError::NoSource {
                    spec: spec.display().to_string(),
                    file: file.clone(),
                });
            }
        };
        sources.push(LockedSource {
            file: file.clone(),
            remote,
        });
    }
    Ok(sources)
}

async fn first_fetch(supply: Supply<'_>, file: &str, url: &str) -> Result<RemoteSource, ResolveError> {
    let download = Download {
        name: file.to_owned(),
        urls: supply.project.mirrored(url),
        digest: None,
        size: None,
        max_size: None,
    };
    let fetched = super::repositories::one(supply, download).await?;
    Ok(RemoteSource {
        url: value(url)?,
        size: fetched.size,
        digest: fetched.digest,
    })
}

/// Fetches the locked downloads that the store does not have.
pub async fn fetch(supply: Supply<'_>, packages: &[LockedPackage]) -> Result<(), ResolveError> {
    let remotes = packages.iter().flat_map(|package| &package.sources);
    let downloads = remotes
        .filter_map(|source| source.remote.as_ref().map(|remote| (source, remote)))
        .map(|(source, remote)| Download {
            name: source.file.clone(),
            urls: supply.project.mirrored(remote.url.as_str()),
            digest: Some(remote.digest),
            size: Some(remote.size),
            max_size: None,
        })
        .collect();
    supply.fetcher.fetch(downloads, supply.sink, supply.cancel).await?;
    Ok(())
}
