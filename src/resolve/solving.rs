//! The universe of all repositories of a template, and locked packages out of its solutions.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::documents::Name;
use crate::documents::lock::{Lock, LockedKey, LockedRepository, LockedRpm, Origin};
use crate::documents::recipe::{Recipe, ThirdParty};
use crate::documents::template::{Access, Template};
use crate::events::Event;
use crate::repository::PackageEntry;
use crate::resolve::keys;
use crate::resolve::reading;
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
    left_out: Vec<Name>,
    template_groups: Vec<Wanted>,
    recipe_groups: Vec<Wanted>,
    /// Of packages whose repository names no SHA-256: what they were found to have.
    digests: BTreeMap<Nevra, Digest>,
    /// What they had in an older lock.
    remembered: BTreeMap<Nevra, Digest>,
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
    /// Reads all repositories of the template and the third-party packages of the recipe.
    pub fn read(
        supply: Supply<'_>,
        template: &Template,
        recipe: Option<&Recipe>,
    ) -> Result<Self, ResolveError> {
        let (mut read, left_out) = reading::repositories(supply, template)?;
        reading::hide_modules(supply, template, &mut read)?;
        let (template_groups, recipe_groups) =
            reading::groups(supply, template, recipe, &mut read)?;
        let mut universe = Universe::new(template.architecture.as_str())?;
        let mut published = Vec::new();
        let mut keys = Vec::new();
        for one in read {
            let repository = &one.repository;
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
            left_out,
            template_groups,
            recipe_groups,
            digests: BTreeMap::new(),
            remembered: BTreeMap::new(),
        })
    }

    /// Takes note of an older lock: a package of it that is in the store need not be fetched to know its SHA-256.
    pub fn remember(&mut self, old: Option<&Lock>) {
        let rpms = old.into_iter().flat_map(Lock::rpms);
        self.remembered = rpms.map(|rpm| (rpm.nevra.clone(), rpm.digest)).collect();
    }

    /// Repositories that could not be reached.
    pub fn left_out(&self) -> Vec<Name> {
        self.left_out.clone()
    }

    /// What the groups of the template ask for.
    pub fn template_groups(&self) -> Vec<Wanted> {
        self.template_groups.clone()
    }

    /// What the groups of the recipe ask for.
    pub fn recipe_groups(&self) -> Vec<Wanted> {
        self.recipe_groups.clone()
    }

    /// The packages on offer, each with its repository.
    pub fn packages(&self) -> impl Iterator<Item = (&Name, &Nevra)> {
        self.published.iter().flat_map(|(_, one)| {
            let name = &one.repository.name;
            one.entries
                .iter()
                .map(move |entry| (name, &entry.facts.nevra))
        })
    }

    /// Packages on offer.
    pub fn len(&self) -> usize {
        self.published
            .iter()
            .map(|(_, one)| one.entries.len())
            .sum()
    }

    /// Whether nothing is on offer.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Requests for the recipe's third-party packages, by their exact names.
    pub fn third_party_requests(&self, recipe: &str) -> Vec<Wanted> {
        let outside = self.third_party.iter().flat_map(|(_, packages)| packages);
        outside
            .map(|one| Wanted::package(one.facts.nevra.to_string(), format!("recipe {recipe}")))
            .collect()
    }

    /// Solves; the packages come in transaction order. `what` names the request in messages.
    pub fn solve(
        &mut self,
        supply: Supply<'_>,
        what: &'static str,
        install: Vec<Wanted>,
        keep: &[Nevra],
    ) -> Result<Vec<LockedRpm>, ResolveError> {
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
        let solution = self.universe.solve(&request).map_err(|why| {
            self.tell_hidden(supply, &request.install);
            ResolveError::Unsolvable { what, why }
        })?;
        self.find_digests(supply, &solution.packages)?;
        solution
            .packages
            .iter()
            .map(|selected| self.locked(selected))
            .collect()
    }

    /// Warns of what was asked for by name and is there, but not looked at.
    fn tell_hidden(&self, supply: Supply<'_>, asked: &[Wanted]) {
        let mut told = BTreeSet::new();
        for wanted in asked {
            let name = wanted.capability.split(' ').next().unwrap_or_default();
            for (_, one) in &self.published {
                if let Some((nevra, why)) = one.hidden.get(name).filter(|_| told.insert(name)) {
                    let repository = &one.repository.name;
                    let text =
                        format!("{nevra} of the repository `{repository}` is not looked at: {why}");
                    supply.sink.emit(Event::Warning { text });
                }
            }
        }
    }

    /// The SHA-256 of a remembered package, where the store has it and it is what the metadata promise.
    fn in_store(
        &self,
        supply: Supply<'_>,
        one: &Published,
        entry: &PackageEntry,
    ) -> Option<Digest> {
        let digest = *self.remembered.get(&entry.facts.nevra)?;
        supply.store.blob(&digest)?;
        let path = supply.store.verified(&digest).ok()?;
        let name = &one.repository.name;
        let same = repositories::check(&path, &entry.checksum, (name, "package"));
        same.ok().map(|()| digest)
    }

    /// Fetches packages whose repository names no SHA-256 (openSUSE names SHA-512), to find theirs.
    fn find_digests(
        &mut self,
        supply: Supply<'_>,
        selected: &[Selected],
    ) -> Result<(), ResolveError> {
        let mut wanted = Vec::new();
        let mut digests = Vec::new();
        for selected in selected {
            let found = self.published.iter();
            let mut found = found.filter(|(id, _)| *id == selected.repository);
            if let Some((_, one)) = found.next() {
                let entry = &one.entries[selected.package];
                let known = self.digests.contains_key(&entry.facts.nevra);
                if known || entry.checksum.sha256().is_some() {
                    continue;
                }
                if let Some(digest) = self.in_store(supply, one, entry) {
                    digests.push((entry.facts.nevra.clone(), digest));
                } else {
                    let download = Download {
                        size: Some(entry.size),
                        ..one.download(entry.facts.nevra.to_string(), &entry.location)
                    };
                    wanted.push((one, entry, download));
                }
            }
        }
        let downloads = wanted.iter().map(|(_, _, download)| download.clone());
        let fetched = supply.fetch(downloads.collect())?;
        for ((one, entry, _), file) in wanted.iter().zip(fetched) {
            let path = supply.store.verified(&file.digest)?;
            let what = entry.facts.nevra.to_string();
            repositories::check(&path, &entry.checksum, (&one.repository.name, &what))?;
            digests.push((entry.facts.nevra.clone(), file.digest));
        }
        self.digests.extend(digests);
        Ok(())
    }

    fn locked(&self, selected: &Selected) -> Result<LockedRpm, ResolveError> {
        let published = self
            .published
            .iter()
            .find(|(id, _)| *id == selected.repository);
        if let Some((_, one)) = published {
            return self.locked_entry(one, &one.entries[selected.package]);
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

    fn locked_entry(
        &self,
        one: &Published,
        entry: &PackageEntry,
    ) -> Result<LockedRpm, ResolveError> {
        let nevra = &entry.facts.nevra;
        let digest = entry.checksum.sha256();
        let digest = digest
            .or_else(|| self.digests.get(nevra).copied())
            .ok_or_else(|| ResolveError::Value {
                text: nevra.to_string(),
                why: "it has no SHA-256".to_owned(),
            })?;
        Ok(LockedRpm {
            nevra: nevra.clone(),
            origin: Origin::Repository {
                name: one.repository.name.clone(),
                location: entry.location.clone(),
            },
            size: entry.size,
            digest,
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
            ..Download::default()
        },
    )?;
    let path = supply.store.verified(&rpm.sha256)?;
    let keys = match rpm.trusted {
        Some(_) => Vec::new(),
        None => keys::fetch(supply, rpm.url.as_str(), &rpm.keys, &Access::default())?.1,
    };
    let outside = Outside {
        facts: read_package(&path)?,
        size: fetched.size,
        origin: rpm.clone(),
    };
    Ok((outside, keys))
}
