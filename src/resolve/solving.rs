//! What can be chosen, what of it a request can reach, and locked packages out of the answer.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::documents::Name;
use crate::documents::lock::{Lock, LockedKey, LockedRepository, LockedRpm, Origin};
use crate::documents::recipe::{Recipe, ThirdParty};
use crate::documents::template::{Access, Policy, Template};
use crate::repository::{Offered, PackageEntry, Reach};
use crate::resolve::advice;
use crate::resolve::repositories::{self, Published};
use crate::resolve::{ResolveError, Supply};
use crate::resolve::{keys, reading};
use crate::rpm::{Nevra, PackageFacts, read_package};
use crate::solve::{Preference, RepositoryId, Request, Selected, Universe, Wanted};
use crate::store::fetch::Download;

/// Everything that can be chosen.
#[derive(Debug)]
pub struct Offer {
    architecture: String,
    pub(super) published: Vec<Published>,
    outside: Vec<Outside>,
    /// What the base has.
    installed: Vec<PackageFacts>,
    keys: Vec<LockedKey>,
    allow_weak: bool,
    policy: Policy,
    left_out: Vec<Name>,
    /// Repositories that were not looked into, each with the reason.
    pub(super) elsewhere: Vec<String>,
    template_groups: Vec<Wanted>,
    recipe_groups: Vec<Wanted>,
    /// Of packages whose repository names no SHA-256: what they were found to have.
    digests: BTreeMap<Nevra, Digest>,
    /// What they had in an older lock.
    remembered: BTreeMap<Nevra, Digest>,
    /// When the packages of earlier answers were built.
    built: BTreeMap<Nevra, u64>,
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
    /// Reads all repositories of the template and the third-party packages of the recipe; `installed` is what the base has.
    pub fn read(
        supply: Supply<'_>,
        template: &Template,
        recipe: Option<&Recipe>,
        installed: &[PackageFacts],
    ) -> Result<Self, ResolveError> {
        let mut offer = Self::empty(template);
        offer.installed = installed.to_vec();
        (offer.published, offer.left_out) = reading::repositories(supply, template)?;
        offer.elsewhere = advice::elsewhere(template, &offer.left_out);
        let keys = offer.published.iter().flat_map(|one| one.keys.clone());
        offer.keys = keys.collect();
        offer.settle(supply, template, recipe)?;
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
                let one = repositories::read_locked(supply, template, repository, locked)?;
                offer.published.push(one);
            }
        }
        offer.remember(Some(lock));
        offer.settle(supply, template, recipe)?;
        Ok(offer)
    }

    /// The same, for what is added to packages that are there already.
    #[must_use]
    pub fn upon(mut self, installed: Vec<PackageFacts>) -> Self {
        self.installed = installed;
        self
    }

    fn empty(template: &Template) -> Self {
        Self {
            architecture: template.architecture.as_str().to_owned(),
            published: Vec::new(),
            outside: Vec::new(),
            installed: Vec::new(),
            keys: Vec::new(),
            allow_weak: template.weak_dependencies,
            policy: template.policy,
            left_out: Vec::new(),
            elsewhere: advice::elsewhere(template, &[]),
            template_groups: Vec::new(),
            recipe_groups: Vec::new(),
            digests: BTreeMap::new(),
            remembered: BTreeMap::new(),
            built: BTreeMap::new(),
        }
    }

    /// What follows from the repositories once they are read: what modules hide, what groups stand for,
    /// what the recipe brings itself. An index that is found damaged is made anew.
    fn settle(
        &mut self,
        supply: Supply<'_>,
        template: &Template,
        recipe: Option<&Recipe>,
    ) -> Result<(), ResolveError> {
        self.mended(supply, |offer| {
            let published = &mut offer.published;
            reading::hide_modules(supply, template, published)?;
            (offer.template_groups, offer.recipe_groups) =
                reading::groups(supply, template, recipe, published)?;
            Ok(())
        })?;
        self.add_outside(supply, recipe)
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

    /// Every package that template and modules let be seen, with its repository.
    pub fn packages(&self) -> Result<Vec<(&Name, Nevra)>, ResolveError> {
        let mut seen = Vec::new();
        for one in &self.published {
            for number in one.index.numbers() {
                let entry = one.index.entry(number)?;
                if one.sees(&entry) {
                    seen.push((&one.repository.name, entry.facts.nevra));
                }
            }
        }
        Ok(seen)
    }

    /// Packages on offer.
    pub fn len(&self) -> usize {
        let published = self.published.iter().map(|one| one.index.len());
        published.sum::<usize>() + self.outside.len()
    }

    /// Whether there is neither a repository nor a package of the recipe's own.
    pub fn is_empty(&self) -> bool {
        self.published.is_empty() && self.outside.is_empty()
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
            policy: self.policy,
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
        self.find_digests(supply, (&view, &ids), &solution.packages)?;
        let packages = solution.packages.iter();
        let packages = packages.map(|selected| self.locked(&view, &ids, selected));
        Ok(Transaction {
            install: packages.collect::<Result<_, _>>()?,
            replaced: solution.replaced,
        })
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
        (view, ids): (&View, &[RepositoryId]),
        selected: &[Selected],
    ) -> Result<(), ResolveError> {
        let mut wanted = Vec::new();
        let mut digests = Vec::new();
        for selected in selected {
            let Some(part) = ids.iter().position(|id| *id == selected.repository) else {
                continue;
            };
            let (Some(one), Some(entries)) = (self.published.get(part), view.parts.get(part))
            else {
                continue;
            };
            let entry = &entries[selected.package];
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
        let outside = self.outside.iter().map(|one| &one.facts);
        for facts in outside.chain(&self.installed) {
            reach.outside(facts)?;
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
        let all = all.chain(&self.installed);
        universe.introduce(all.map(|facts| facts.nevra.name.as_str()));
        if !self.installed.is_empty() {
            universe.add_installed(&self.installed);
        }
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
            return self.locked_entry(&self.published[part], entry);
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
