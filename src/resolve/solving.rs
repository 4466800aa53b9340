//! The universe of all repositories of a template, and locked packages out of its solutions.

use std::collections::{BTreeMap, BTreeSet};

use crate::documents::lock::{LockedKey, LockedRepository, LockedRpm, Origin};
use crate::documents::recipe::{Recipe, ThirdParty};
use crate::documents::template::Template;
use crate::repository::PackageEntry;
use crate::resolve::repositories::{self, Published};
use crate::resolve::{ResolveError, Supply};
use crate::rpm::{Nevra, PackageFacts, read_package};
use crate::solve::{Preference, RepositoryId, Request, Selected, Universe, Wanted};
use crate::store::fetch::Download;

/// Everything that can be chosen.
#[derive(Debug)]
pub struct Offer {
    universe: Universe,
    published: Vec<(RepositoryId, Published)>,
    third_party: Option<(RepositoryId, Vec<Outside>)>,
    keys: Vec<LockedKey>,
    allow_weak: bool,
}

/// What a request comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transaction {
    /// The packages to install, in transaction order.
    pub install: Vec<LockedRpm>,
    /// Packages of the base in whose place they come.
    pub replaced: Vec<Nevra>,
}

/// A third-party package of the recipe.
#[derive(Debug)]
struct Outside {
    facts: PackageFacts,
    size: u64,
    origin: ThirdParty,
}

impl AsRef<PackageFacts> for Outside {
    fn as_ref(&self) -> &PackageFacts {
        &self.facts
    }
}

impl Offer {
    /// Reads all repositories of the template and the third-party packages of the recipe; `installed` is what the base has.
    pub fn read(
        supply: Supply<'_>,
        template: &Template,
        recipe: Option<&Recipe>,
        installed: &[PackageFacts],
    ) -> Result<Self, ResolveError> {
        let mut universe = Universe::new(template.architecture.as_str())?;
        if !installed.is_empty() {
            universe.add_installed(installed);
        }
        let mut published = Vec::new();
        let mut keys = Vec::new();
        for repository in &template.repositories {
            let one = repositories::read(supply, repository)?;
            let preference = Preference {
                priority: u16::try_from(repository.priority).unwrap_or(u16::MAX),
                cost: u16::try_from(repository.cost).unwrap_or(u16::MAX),
            };
            let id = universe.add_repository(repository.name.as_str(), preference, &one.entries);
            keys.extend(one.keys.iter().cloned());
            published.push((id, one));
        }
        let mut outside = Vec::new();
        for rpm in recipe.iter().flat_map(|recipe| &recipe.rpms) {
            let (one, own_keys) = third_party(supply, rpm)?;
            keys.extend(own_keys);
            outside.push(one);
        }
        let third_party = if outside.is_empty() {
            None
        } else {
            let id = universe.add_repository("recipe", Preference::default(), &outside);
            Some((id, outside))
        };
        Ok(Self {
            universe,
            published,
            third_party,
            keys,
            allow_weak: template.weak_dependencies,
        })
    }

    /// Packages on offer.
    pub fn len(&self) -> usize {
        let published = self.published.iter().map(|(_, one)| one.entries.len());
        let outside = self.third_party.iter().map(|(_, packages)| packages.len());
        published.chain(outside).sum()
    }

    /// Whether there is neither a repository nor a package of the recipe's own.
    pub fn is_empty(&self) -> bool {
        self.published.is_empty() && self.third_party.is_none()
    }

    /// Requests for the recipe's third-party packages, by their exact names.
    pub fn third_party_requests(&self, recipe: &str) -> Vec<Wanted> {
        let outside = self.third_party.iter().flat_map(|(_, packages)| packages);
        outside
            .map(|one| Wanted::package(one.facts.nevra.to_string(), format!("recipe {recipe}")))
            .collect()
    }

    /// Solves; the packages to install come in transaction order. `what` names the request in messages.
    pub fn solve(
        &mut self,
        supply: Supply<'_>,
        what: &'static str,
        install: Vec<Wanted>,
        keep: &[Nevra],
    ) -> Result<Transaction, ResolveError> {
        let request = Request {
            install,
            exclude: Vec::new(),
            keep: keep.to_vec(),
            allow_weak: self.allow_weak,
        };
        loop {
            let paths = self.universe.needs_filelists(&request);
            if paths.is_empty() {
                break;
            }
            let mut owners = Vec::new();
            for (id, one) in &mut self.published {
                let found = one.owners(supply, &paths)?;
                owners.extend(found.into_iter().map(|(place, paths)| (*id, place, paths)));
            }
            self.universe.add_files(&paths, owners);
        }
        let solution = self
            .universe
            .solve(&request)
            .map_err(|why| ResolveError::Unsolvable { what, why })?;
        let packages = solution
            .packages
            .iter()
            .map(|selected| self.locked(selected));
        Ok(Transaction {
            install: packages.collect::<Result<_, _>>()?,
            replaced: solution.replaced,
        })
    }

    fn locked(&self, selected: &Selected) -> Result<LockedRpm, ResolveError> {
        let published = self
            .published
            .iter()
            .find(|(id, _)| *id == selected.repository);
        if let Some((_, one)) = published {
            return locked_entry(one, &one.entries[selected.package]);
        }
        let outside = self
            .third_party
            .iter()
            .find(|(id, _)| *id == selected.repository);
        let (_, packages) = outside.ok_or_else(|| ResolveError::Value {
            text: selected.nevra.to_string(),
            why: "it comes from no repository".to_owned(),
        })?;
        let one = &packages[selected.package];
        Ok(LockedRpm {
            nevra: one.facts.nevra.clone(),
            origin: Origin::Url(one.origin.url.clone()),
            size: one.size,
            digest: one.origin.sha256,
            key: None,
        })
    }

    /// When the newest of these packages was built, seconds since 1970.
    pub fn newest_build(&self, packages: &[LockedRpm]) -> i64 {
        let chosen: BTreeSet<&Nevra> = packages.iter().map(|package| &package.nevra).collect();
        let published = self.published.iter().flat_map(|(_, one)| &one.entries);
        let times = published
            .filter(|entry| chosen.contains(&entry.facts.nevra))
            .map(|entry| entry.facts.build_time);
        times
            .max()
            .and_then(|time| i64::try_from(time).ok())
            .unwrap_or(0)
    }

    /// The repositories as they were read, and all keys.
    pub fn locked_repositories(&self) -> (Vec<LockedRepository>, Vec<LockedKey>) {
        let repositories = self
            .published
            .iter()
            .map(|(_, one)| one.locked.clone())
            .collect();
        let by_fingerprint: BTreeMap<_, _> = self
            .keys
            .iter()
            .map(|key| (key.fingerprint.clone(), key.clone()))
            .collect();
        (repositories, by_fingerprint.into_values().collect())
    }
}

fn locked_entry(one: &Published, entry: &PackageEntry) -> Result<LockedRpm, ResolveError> {
    let digest = entry
        .checksum
        .sha256()
        .ok_or_else(|| ResolveError::NotYet {
            name: one.repository.name.to_string(),
            what: "checksums of packages other than SHA-256",
        })?;
    Ok(LockedRpm {
        nevra: entry.facts.nevra.clone(),
        origin: Origin::Repository {
            name: one.repository.name.clone(),
            location: entry.location.clone(),
        },
        size: entry.size,
        digest,
        key: None,
    })
}

fn third_party(
    supply: Supply<'_>,
    rpm: &ThirdParty,
) -> Result<(Outside, Vec<LockedKey>), ResolveError> {
    let urls = supply
        .project
        .mirrored(&rpm.url.resolve(&supply.project.directory));
    let fetched = repositories::one(
        supply,
        Download {
            name: rpm.url.to_string(),
            urls,
            digest: Some(rpm.sha256),
            size: None,
            max_size: None,
        },
    )?;
    let path = supply.store.verified(&rpm.sha256)?;
    let keys = match rpm.trusted {
        Some(_) => Vec::new(),
        None => repositories::keys(supply, rpm.url.as_str(), &rpm.keys)?.1,
    };
    let outside = Outside {
        facts: read_package(&path)?,
        size: fetched.size,
        origin: rpm.clone(),
    };
    Ok((outside, keys))
}
