//! The packages of a lock, in the store: fetched, their digests and signatures checked.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::PathBuf;

use crate::documents::lock::{Lock, LockedRpm, Origin};
use crate::environment::create::Ingredient;
use crate::keyring::Keyring;
use crate::resolve::repositories::join;
use crate::resolve::{ResolveError, Supply};
use crate::store::fetch::Download;

/// Keys by what they are trusted for: a repository's name, or a third-party package's URL.
/// `None` where a package is trusted without a signature, by its digest alone.
pub type Trust = BTreeMap<String, Option<Keyring>>;

/// Where a package comes from, as `Trust` names it.
pub fn origin_name(origin: &Origin) -> &str {
    match origin {
        Origin::Repository { name, .. } => name.as_str(),
        Origin::Url(url) => url.as_str(),
    }
}

/// Fetches packages that the store does not have yet.
pub async fn fetch(supply: Supply<'_>, lock: &Lock, packages: &[&LockedRpm]) -> Result<(), ResolveError> {
    let downloads = packages
        .iter()
        .map(|package| Download {
            name: package.nevra.to_string(),
            urls: urls(supply, lock, package),
            digest: Some(package.digest),
            size: Some(package.size),
            max_size: None,
        })
        .collect();
    supply.fetcher.fetch(downloads, supply.sink, supply.cancel).await?;
    Ok(())
}

fn urls(supply: Supply<'_>, lock: &Lock, package: &LockedRpm) -> Vec<String> {
    let project = supply.project;
    let absolute = |url: &crate::documents::values::Url| project.mirrored(&url.resolve(&project.directory));
    match &package.origin {
        Origin::Url(url) => absolute(url),
        Origin::Repository { name, location } => lock
            .repository(name)
            .into_iter()
            .flat_map(|repository| &repository.urls)
            .flat_map(absolute)
            .map(|base| join(&base, location))
            .collect(),
    }
}

/// Hashes every file again and checks every signature, on all processors. The result has the packages' order;
/// `keys` receives the fingerprint of the key that signed each, where one was checked.
pub fn verify(
    supply: Supply<'_>,
    packages: &[&LockedRpm],
    trust: &Trust,
    threads: NonZero<usize>,
) -> Result<Vec<Verified>, ResolveError> {
    let digests: Vec<_> = packages.iter().map(|package| package.digest).collect();
    let paths = supply.store.verify_many(&digests, threads)?;
    let work: Vec<(&LockedRpm, PathBuf)> = packages.iter().copied().zip(paths).collect();
    let share = work.len().div_ceil(threads.get()).max(1);
    std::thread::scope(|scope| {
        let workers: Vec<_> = work
            .chunks(share)
            .map(|chunk| scope.spawn(move || chunk.iter().map(|(package, path)| signature(package, path, trust)).collect()))
            .collect();
        let mut verified = Vec::with_capacity(work.len());
        for worker in workers {
            let part: Result<Vec<Verified>, ResolveError> = match worker.join() {
                Ok(part) => part,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            verified.extend(part?);
        }
        Ok(verified)
    })
}

/// A package that may be used.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The package in the store.
    pub ingredient: Ingredient,
    /// The key that signed it, where it was checked.
    pub key: Option<String>,
}

fn signature(package: &LockedRpm, path: &PathBuf, trust: &Trust) -> Result<Verified, ResolveError> {
    let keyring = trust.get(origin_name(&package.origin)).and_then(Option::as_ref);
    let key = match keyring {
        Some(keyring) => {
            let signed = keyring.verify_package(path).map_err(|source| ResolveError::Signature {
                subject: package.nevra.to_string(),
                source,
            })?;
            Some(signed.fingerprint.to_string())
        }
        None => None,
    };
    Ok(Verified {
        ingredient: Ingredient {
            nevra: package.nevra.clone(),
            sha256: package.digest,
            path: path.clone(),
        },
        key,
    })
}
