//! The packages of a lock, in the store: fetched, their digests and signatures checked.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::digest::Digest;
use crate::documents::lock::{Lock, LockedRpm, Origin};
use crate::documents::recipe::Recipe;
use crate::documents::template::{Access, Repository, Template};
use crate::documents::{Fingerprint, Name};
use crate::environment::create::Ingredient;
use crate::events::Event;
use crate::keyring::Keyring;
use crate::resolve::keys::load;
use crate::resolve::mirrors;
use crate::resolve::repositories::{SMALL, join, one, read_file, value};
use crate::resolve::{ResolveError, Supply};
use crate::rpm::Nevra;
use crate::store::fetch::Download;
use crate::threads::ended;

/// Who is trusted for what, and how their servers are reached.
#[derive(Debug)]
pub struct Trust {
    /// Keys by what they are trusted for: a repository's name, or a third-party package's URL.
    /// `None` where a package is trusted without a signature, by its digest alone.
    keys: BTreeMap<String, Option<Keyring>>,
    /// The template that the lock was made from.
    template: Template,
}

/// Loads the keys that the lock, the template and the recipe agree on.
pub fn trust(
    supply: Supply<'_>,
    lock: &Lock,
    template: &Template,
    recipe: Option<&Recipe>,
) -> Result<Trust, ResolveError> {
    let mut keys = BTreeMap::new();
    for repository in &template.repositories {
        let checked = repository.check.packages && repository.trusted.is_none();
        let access = repository.access.below(&supply.project.directory);
        let owner = (repository.name.as_str(), &access);
        let keyring = checked
            .then(|| keyring(supply, lock, owner, pins(repository)))
            .transpose()?;
        keys.insert(repository.name.to_string(), keyring);
    }
    for rpm in recipe.iter().flat_map(|recipe| &recipe.rpms) {
        let checked = rpm.trusted.is_none();
        let owner = (rpm.url.as_str(), &Access::default());
        let pins = rpm.keys.iter().map(|key| &key.fingerprint);
        let keyring = checked
            .then(|| keyring(supply, lock, owner, pins))
            .transpose()?;
        keys.insert(rpm.url.to_string(), keyring);
    }
    Ok(Trust {
        keys,
        template: template.clone(),
    })
}

/// All keys that a template trusts for a repository; those of a `.repo` file's keys that were not there
/// while locking are not in the lock either.
fn pins(repository: &Repository) -> impl Iterator<Item = &Fingerprint> {
    let own = repository.keys.iter().map(|key| &key.fingerprint);
    let files = repository.key_files.iter();
    own.chain(files.flat_map(|keys| &keys.fingerprints))
}

fn keyring<'a>(
    supply: Supply<'_>,
    lock: &Lock,
    (owner, access): (&str, &Access),
    pinned: impl Iterator<Item = &'a Fingerprint>,
) -> Result<Keyring, ResolveError> {
    let mut found = Vec::new();
    for pin in pinned {
        let Some(key) = lock.keys.iter().find(|key| key.fingerprint == *pin) else {
            continue;
        };
        let download = Download {
            name: format!("key of {owner}"),
            urls: supply
                .project
                .mirrored(&key.url.resolve(&supply.project.directory)),
            digest: Some(key.digest),
            max_size: Some(SMALL),
            access: access.clone(),
            ..Download::default()
        };
        let file = one(supply, download)?;
        found.push((key.url.to_string(), read_file(supply, &file)?, pin));
    }
    load(owner, found)
}

/// Where a package comes from, as `Trust` names it.
pub fn origin_name(origin: &Origin) -> &str {
    match origin {
        Origin::Repository { name, .. } => name.as_str(),
        Origin::Url(url) => url.as_str(),
    }
}

/// Fetches packages that the store does not have yet. Lists of mirrors are asked for only where one is missing.
pub fn fetch(
    supply: Supply<'_>,
    lock: &Lock,
    trust: &Trust,
    packages: &[&LockedRpm],
) -> Result<(), ResolveError> {
    let mut places = BTreeMap::new();
    let mut downloads = Vec::new();
    for package in packages {
        let (urls, access) = match &package.origin {
            // Its length is still held against the lock.
            _ if is_whole(supply, package) => (Vec::new(), Access::default()),
            Origin::Url(url) => (
                supply
                    .project
                    .mirrored(&url.resolve(&supply.project.directory)),
                Access::default(),
            ),
            Origin::Repository { name, location } => {
                if !places.contains_key(name) {
                    places.insert(name.clone(), bases(supply, lock, trust, name)?);
                }
                let (bases, access) = &places[name];
                let urls = bases.iter().map(|base| join(base, location));
                (urls.collect(), access.clone())
            }
        };
        downloads.push(Download {
            name: package.nevra.to_string(),
            urls,
            digest: Some(package.digest),
            size: Some(package.size),
            access,
            ..Download::default()
        });
    }
    supply.fetch(downloads)?;
    Ok(())
}

/// Whether the store has a package, as far as its length tells: what is damaged is fetched again.
fn is_whole(supply: Supply<'_>, package: &LockedRpm) -> bool {
    let path = supply.store.blob(&package.digest);
    path.is_some_and(|path| {
        path.metadata()
            .is_ok_and(|metadata| metadata.len() == package.size)
    })
}

/// Where the files of a repository of the lock are, and how its servers are reached.
fn bases(
    supply: Supply<'_>,
    lock: &Lock,
    trust: &Trust,
    name: &Name,
) -> Result<(Vec<String>, Access), ResolveError> {
    let template = &trust.template;
    let mut repositories = template.repositories.iter();
    let access = repositories
        .find(|repository| repository.name == *name)
        .map(|repository| repository.access.below(&supply.project.directory))
        .unwrap_or_default();
    let bases = match lock.repository(name) {
        Some(locked) => mirrors::places(supply, template, (name, &locked.source), &access)?.bases,
        None => Vec::new(),
    };
    Ok((bases, access))
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
    // The longest first: else the last thread may start it when all others are done.
    let mut order: Vec<usize> = (0..work.len()).collect();
    order.sort_unstable_by_key(|&index| std::cmp::Reverse(work[index].0.size));
    let next = AtomicUsize::new(0);
    let check = || {
        let mut done = Vec::new();
        while let Some(&index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (package, path) = &work[index];
            done.push((index, signature(package, path, trust)));
        }
        done
    };
    let mut verified: Vec<(usize, Result<Verified, ResolveError>)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.get()).map(|_| scope.spawn(check)).collect();
        let parts = workers.into_iter().map(|worker| ended(worker.join()));
        parts.flatten().collect()
    });
    verified.sort_unstable_by_key(|(index, _)| *index);
    verified.into_iter().map(|(_, result)| result).collect()
}

/// A package that may be used.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The package in the store.
    pub ingredient: Ingredient,
    /// The key that signed it, where it was checked.
    pub key: Option<String>,
}

fn signature(package: &LockedRpm, path: &Path, trust: &Trust) -> Result<Verified, ResolveError> {
    let keyring = trust
        .keys
        .get(origin_name(&package.origin))
        .and_then(Option::as_ref);
    let key = match keyring {
        Some(keyring) => {
            let signed =
                keyring
                    .verify_package(path)
                    .map_err(|source| ResolveError::Signature {
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
            path: path.to_owned(),
        },
        key,
    })
}

/// The packages of a lock, verified: what environments are made of.
#[derive(Debug)]
pub struct Stock {
    /// Of the tools root, by name.
    pub tools: Vec<Ingredient>,
    /// Of the environment, in transaction order.
    pub rpms: Vec<Ingredient>,
    keys: BTreeMap<Digest, Option<String>>,
}

impl Stock {
    /// Fetches what is missing, hashes every file again and checks every signature.
    pub fn of(
        supply: Supply<'_>,
        lock: &Lock,
        trust: &Trust,
        threads: NonZero<usize>,
    ) -> Result<Self, ResolveError> {
        let all: Vec<&LockedRpm> = lock.rpms().collect();
        fetch(supply, lock, trust, &all)?;
        let verified = match verify(supply, &all, trust, threads) {
            Err(ResolveError::Store(damage)) if damage.fetching_mends() => {
                supply.sink.emit(Event::Warning {
                    text: damage.to_string(),
                });
                fetch(supply, lock, trust, &all)?;
                verify(supply, &all, trust, threads)?
            }
            verified => verified?,
        };
        let ingredients: BTreeMap<&Nevra, &Ingredient> = verified
            .iter()
            .map(|one| (&one.ingredient.nevra, &one.ingredient))
            .collect();
        let pick = |nevra: &Nevra| {
            ingredients
                .get(nevra)
                .map(|ingredient| (*ingredient).clone())
        };
        Ok(Self {
            tools: lock.tools.packages.iter().filter_map(pick).collect(),
            rpms: lock
                .environment
                .rpms
                .iter()
                .filter_map(|rpm| pick(&rpm.nevra))
                .collect(),
            keys: verified
                .iter()
                .map(|one| (one.ingredient.sha256, one.key.clone()))
                .collect(),
        })
    }

    /// The packages, each with the key that signed it.
    pub fn signed(&self, packages: Vec<LockedRpm>) -> Result<Vec<LockedRpm>, ResolveError> {
        packages
            .into_iter()
            .map(|package| {
                let key = self.keys.get(&package.digest).and_then(Option::as_deref);
                let key = key.map(value).transpose()?;
                Ok(LockedRpm { key, ..package })
            })
            .collect()
    }
}
