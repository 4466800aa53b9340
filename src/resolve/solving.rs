//! What can be chosen, what of it a request can reach, and locked packages out of the answer.

use std::collections::{BTreeMap, BTreeSet};

use crate::documents::lock::{Lock, LockedKey, LockedRepository, LockedRpm, Origin};
use crate::documents::recipe::{Recipe, ThirdParty};
use crate::documents::template::Template;
use crate::repository::{Offered, PackageEntry, Reach};
use crate::resolve::advice;
use crate::resolve::repositories::{self, Published};
use crate::resolve::{ResolveError, Supply};
use crate::rpm::{Nevra, PackageFacts, read_package};
use crate::solve::{Preference, RepositoryId, Request, Selected, Universe, Wanted};
use crate::store::fetch::Download;

/// Everything that can be chosen.
#[derive(Debug)]
pub struct Offer {
    architecture: String,
    pub(super) published: Vec<Published>,
    outside: Vec<Outside>,
    keys: Vec<LockedKey>,
    allow_weak: bool,
    /// When the packages of earlier answers were built.
    built: BTreeMap<Nevra, u64>,
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

/// The packages that a request can reach.
#[derive(Debug)]
pub struct View {
    /// By repository, in the template's order.
    pub parts: Vec<Vec<PackageEntry>>,
    /// Required paths that `primary` does not list.
    paths: BTreeSet<String>,
    /// Who has them: repository, place, paths.
    pub(super) owners: Vec<(usize, usize, Vec<String>)>,
}

impl Offer {
    /// Reads all repositories of the template and the third-party packages of the recipe.
    pub fn read(
        supply: Supply<'_>,
        template: &Template,
        recipe: Option<&Recipe>,
    ) -> Result<Self, ResolveError> {
        let mut offer = Self::empty(template);
        for repository in &template.repositories {
            let one = repositories::read(supply, repository)?;
            offer.keys.extend(one.keys.iter().cloned());
            offer.published.push(one);
        }
        offer.add_outside(supply, recipe)?;
        Ok(offer)
    }

    /// The same as a lock saw it: its states of the repositories, which the store has as a rule.
    pub fn of_lock(
        supply: Supply<'_>,
        template: &Template,
        recipe: Option<&Recipe>,
        lock: &Lock,
    ) -> Result<Self, ResolveError> {
        let mut offer = Self::empty(template);
        for repository in &template.repositories {
            if let Some(locked) = lock.repository(&repository.name) {
                let one = repositories::read_locked(supply, repository, locked)?;
                offer.published.push(one);
            }
        }
        offer.add_outside(supply, recipe)?;
        Ok(offer)
    }

    fn empty(template: &Template) -> Self {
        Self {
            architecture: template.architecture.as_str().to_owned(),
            published: Vec::new(),
            outside: Vec::new(),
            keys: Vec::new(),
            allow_weak: template.weak_dependencies,
            built: BTreeMap::new(),
        }
    }

    fn add_outside(
        &mut self,
        supply: Supply<'_>,
        recipe: Option<&Recipe>,
    ) -> Result<(), ResolveError> {
        for rpm in recipe.iter().flat_map(|recipe| &recipe.rpms) {
            let (one, own_keys) = third_party(supply, rpm)?;
            self.keys.extend(own_keys);
            self.outside.push(one);
        }
        Ok(())
    }

    /// Packages on offer.
    pub fn len(&self) -> usize {
        self.published.iter().map(|one| one.index.len()).sum()
    }

    /// Whether nothing is on offer.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Requests for the recipe's third-party packages, by their exact names.
    pub fn third_party_requests(&self, recipe: &str) -> Vec<Wanted> {
        let wanted = |one: &Outside| {
            Wanted::package(one.facts.nevra.to_string(), format!("recipe {recipe}"))
        };
        self.outside.iter().map(wanted).collect()
    }

    /// What the recipe's third-party packages say of themselves.
    pub fn third_party(&self) -> impl Iterator<Item = &PackageFacts> {
        self.outside.iter().map(|one| &one.facts)
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
        let texts: Vec<&str> = request
            .install
            .iter()
            .map(|wanted| wanted.capability.as_str())
            .collect();
        let view = self.view(supply, &texts)?;
        let (mut universe, ids) = self.universe(&view)?;
        let solution = match universe.solve(&request) {
            Ok(solution) => solution,
            Err(mut why) => {
                self.mended(supply, |offer| advice::add(offer, &mut why))?;
                return Err(ResolveError::Unsolvable { what, why });
            }
        };
        let packages = solution.packages.iter();
        packages
            .map(|selected| self.locked(&view, &ids, selected))
            .collect()
    }

    /// Everything that has to do with these requests.
    pub fn view(&mut self, supply: Supply<'_>, requests: &[&str]) -> Result<View, ResolveError> {
        self.mended(supply, |offer| offer.try_view(supply, requests))
    }

    /// Does what reads the indexes; where one is found damaged, they are made anew, and it is done again.
    pub(super) fn mended<T>(
        &mut self,
        supply: Supply<'_>,
        mut work: impl FnMut(&mut Self) -> Result<T, ResolveError>,
    ) -> Result<T, ResolveError> {
        match work(self) {
            Err(ResolveError::Damage(damage)) => {
                tracing::info!(%damage, "the indexes of the repositories are made anew");
                for one in &mut self.published {
                    one.mend(supply)?;
                }
                work(self)
            }
            result => result,
        }
    }

    fn try_view(&mut self, supply: Supply<'_>, requests: &[&str]) -> Result<View, ResolveError> {
        let sees: Vec<_> = self
            .published
            .iter()
            .map(|one| |entry: &PackageEntry| one.sees(entry))
            .collect();
        let offered = self.published.iter().zip(&sees).map(|(one, sees)| Offered {
            index: &one.index,
            sees,
        });
        let mut reach = Reach::new(offered, self.allow_weak);
        for text in requests {
            reach.request(text)?;
        }
        for one in &self.outside {
            reach.outside(&one.facts)?;
        }
        let mut paths = BTreeSet::new();
        let mut owners = Vec::new();
        loop {
            let asked = reach.take_paths();
            if asked.is_empty() {
                break;
            }
            for (part, one) in self.published.iter().enumerate() {
                for (package, owned) in one.owners(supply, &asked)? {
                    reach.owner(part, package)?;
                    owners.push((part, package, owned));
                }
            }
            paths.extend(asked);
        }
        let found = reach.into_packages();
        drop(sees);
        if !paths.is_empty() {
            for one in &mut self.published {
                one.note_filelists(supply)?;
            }
        }
        let places = owners.into_iter().filter_map(|(part, package, owned)| {
            let place = found[part].keys().position(|number| *number == package)?;
            Some((part, place, owned))
        });
        Ok(View {
            owners: places.collect(),
            paths,
            parts: found
                .into_iter()
                .map(|part| part.into_values().collect())
                .collect(),
        })
    }

    /// The universe of a view, and its repositories' ids.
    pub fn universe(&self, view: &View) -> Result<(Universe, Vec<RepositoryId>), ResolveError> {
        let mut universe = Universe::new(&self.architecture)?;
        let entries = view.parts.iter().flatten().map(|entry| &entry.facts);
        let all = entries.chain(self.outside.iter().map(|one| &one.facts));
        universe.introduce(all.map(|facts| facts.nevra.name.as_str()));
        let mut ids = Vec::new();
        for (one, entries) in self.published.iter().zip(&view.parts) {
            let repository = &one.repository;
            let preference = Preference {
                priority: u16::try_from(repository.priority).unwrap_or(u16::MAX),
                cost: u16::try_from(repository.cost).unwrap_or(u16::MAX),
            };
            ids.push(universe.add_repository(repository.name.as_str(), preference, entries));
        }
        if !self.outside.is_empty() {
            universe.add_repository("recipe", Preference::default(), &self.outside);
        }
        let owners = view.owners.iter();
        let owners = owners.map(|(part, place, paths)| (ids[*part], *place, paths.clone()));
        universe.add_files(&view.paths, owners);
        Ok((universe, ids))
    }

    fn locked(
        &mut self,
        view: &View,
        ids: &[RepositoryId],
        selected: &Selected,
    ) -> Result<LockedRpm, ResolveError> {
        if let Some(part) = ids.iter().position(|id| *id == selected.repository) {
            let entry = &view.parts[part][selected.package];
            self.built
                .insert(entry.facts.nevra.clone(), entry.facts.build_time);
            return locked_entry(&self.published[part], entry);
        }
        let one = self
            .outside
            .get(selected.package)
            .ok_or_else(|| ResolveError::Value {
                text: selected.nevra.to_string(),
                why: "it comes from no repository".to_owned(),
            })?;
        Ok(LockedRpm {
            nevra: one.facts.nevra.clone(),
            origin: Origin::Url(one.origin.url.clone()),
            size: one.size,
            digest: one.origin.sha256,
            key: None,
        })
    }

    /// When the newest of these packages, which an answer gave, was built, seconds since 1970.
    pub fn newest_build(&self, packages: &[LockedRpm]) -> i64 {
        let times = packages
            .iter()
            .filter_map(|package| self.built.get(&package.nevra));
        times
            .max()
            .and_then(|time| i64::try_from(*time).ok())
            .unwrap_or(0)
    }

    /// The repositories as they were read, and all keys.
    pub fn locked_repositories(&self) -> (Vec<LockedRepository>, Vec<LockedKey>) {
        let repositories = self
            .published
            .iter()
            .map(|one| one.locked().clone())
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
