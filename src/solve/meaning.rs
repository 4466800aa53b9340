//! What the text of a request means in a universe, and how far it reaches.

use std::collections::BTreeSet;

use super::libsolv::{Job, SolvableId, StringId};
use super::request::{Meaning, Request, Wanted};
use super::universe::Universe;
use crate::documents::template::Policy;
use crate::rpm::{Dependency, Nevra};

impl Universe {
    /// Which required paths only `filelists` metadata can find, for what the request can reach.
    ///
    /// Look them up in every repository, give the owners to [`Universe::add_files`], ask again: an owner
    /// may reach further. Empty when nothing more is needed.
    pub fn needs_filelists(&mut self, request: &Request) -> BTreeSet<String> {
        self.prepare(request);
        let wanted: Vec<_> = request
            .install
            .iter()
            .map(|wanted| self.meaning_of(wanted, request.policy))
            .collect();
        let mut paths = BTreeSet::new();
        let mut queue: Vec<SolvableId> = Vec::new();
        for (wanted, job) in request.install.iter().zip(wanted) {
            match job {
                Some(Job::InstallNamed(solvables) | Job::InstallOneOf(solvables)) => {
                    queue.extend(solvables);
                }
                Some(Job::InstallProvider(id)) => self.reach(id, &mut paths, &mut queue),
                // Nothing has it so far.
                _ if wanted.capability.starts_with('/') => {
                    paths.insert(wanted.capability.clone());
                }
                _ => {}
            }
        }
        let mut seen = BTreeSet::new();
        while let Some(solvable) = queue.pop() {
            if seen.insert(solvable) {
                for dependency in self.pool.requires(solvable) {
                    self.reach(dependency, &mut paths, &mut queue);
                }
            }
        }
        paths.retain(|path| {
            !rpmrepo_metadata::utils::is_primary_file(path) && !self.found_files.contains(path)
        });
        paths
    }

    fn reach(
        &mut self,
        dependency: StringId,
        paths: &mut BTreeSet<String>,
        queue: &mut Vec<SolvableId>,
    ) {
        let mut leaves = Vec::new();
        self.pool.leaves(dependency, &mut leaves);
        for leaf in leaves {
            let text = self.pool.plain_text(leaf);
            if text.starts_with('/') {
                paths.insert(text);
            }
            queue.extend(self.pool.providers(leaf));
        }
    }

    pub(super) fn find(&mut self, wanted: &[Nevra]) -> Vec<SolvableId> {
        let mut found = Vec::new();
        for nevra in wanted {
            let candidates = self.named(&nevra.name);
            found.extend(
                candidates
                    .into_iter()
                    .filter(|solvable| self.nevra(*solvable) == *nevra),
            );
        }
        found
    }

    /// All packages of that name.
    pub(super) fn named(&mut self, name: &str) -> Vec<SolvableId> {
        let id = self.pool.string(name);
        let mut solvables = self.pool.providers(id);
        solvables.retain(|solvable| self.pool.name_id(*solvable) == id);
        solvables
    }

    /// All packages of that name, those for other architectures too.
    pub(super) fn all_named(&self, name: &str) -> Vec<SolvableId> {
        let named = self
            .origins
            .keys()
            .filter(|solvable| self.pool.names(**solvable)[0] == name);
        named.copied().collect()
    }

    /// Whether any package meets a plain dependency.
    pub(super) fn is_provided(&mut self, dependency: &Dependency) -> bool {
        let id = self.dependency(dependency);
        !self.pool.providers(id).is_empty()
    }

    /// `None` where nothing fits.
    pub(super) fn meaning_of(&mut self, wanted: &Wanted, policy: Policy) -> Option<Job> {
        let dependency: Dependency = match wanted.capability.parse() {
            Ok(dependency) => dependency,
            Err(_) => Dependency::new(&wanted.capability, None),
        };
        let id = self.dependency(&dependency);
        // Whether a rich dependency can be met is not to be seen from its providers alone.
        if dependency.is_rich() {
            return Some(Job::InstallProvider(id));
        }
        let named = wanted.meaning == Meaning::Package;
        if named && dependency.comparison().is_none() {
            let packages = self.packages(dependency.name(), policy);
            if !packages.is_empty() {
                return Some(Job::InstallNamed(packages));
            }
        }
        let providers = self.pool.providers(id);
        if !providers.is_empty() {
            return Some(if named {
                Job::InstallNamed(providers)
            } else {
                Job::InstallProvider(id)
            });
        }
        if !dependency.is_file() {
            return None;
        }
        let owners = self.pool.file_owners(dependency.name());
        let job = if named {
            Job::InstallNamed
        } else {
            Job::InstallOneOf
        };
        (!owners.is_empty()).then(|| job(owners))
    }

    /// As dnf reads an argument: `name-epoch:version-release.arch` and its shorter forms, the longest first;
    /// to a bare name belong the packages that obsolete it; for newer ones than 4.14 those that obsolete the newest version.
    fn packages(&mut self, text: &str, policy: Policy) -> Vec<SolvableId> {
        if let Ok(nevra) = text.parse::<Nevra>() {
            let found = self.find(std::slice::from_ref(&nevra));
            if !found.is_empty() {
                return found;
            }
        }
        for (name, rest) in text
            .rmatch_indices('-')
            .map(|(at, _)| (&text[..at], &text[at + 1..]))
        {
            let mut found = self.named(name);
            found.retain(|solvable| self.version_is(*solvable, rest));
            if !found.is_empty() {
                return found;
            }
        }
        if let Some((name, arch)) = text.rsplit_once('.') {
            let mut found = self.named(name);
            found.retain(|solvable| self.pool.names(*solvable)[2] == arch);
            if !found.is_empty() {
                return found;
            }
        }
        let mut found = self.named(text);
        let obsoleted = match policy {
            Policy::Dnf4 => found.clone(),
            Policy::Dnf423 | Policy::Dnf5 => self.newest(&found),
        };
        let obsoleters: Vec<_> = self.obsoletes.clone();
        let obsoleters = obsoleters.into_iter().filter(|(id, _)| {
            obsoleted
                .iter()
                .any(|solvable| self.pool.matches_itself(*solvable, *id))
        });
        let obsoleters: Vec<_> = obsoleters.map(|(_, solvable)| solvable).collect();
        found.extend(
            obsoleters
                .iter()
                .filter(|solvable| !found.contains(solvable))
                .copied()
                .collect::<Vec<_>>(),
        );
        found
    }

    /// The newest of these packages of one name, for each architecture.
    fn newest(&self, packages: &[SolvableId]) -> Vec<SolvableId> {
        let named: Vec<_> = packages
            .iter()
            .map(|solvable| (*solvable, self.nevra(*solvable)))
            .collect();
        let newest = named.iter().filter(|(_, one)| {
            let mut beside = named.iter().filter(|(_, other)| other.arch == one.arch);
            beside.all(|(_, other)| one.compare_evr(other).is_ge())
        });
        newest.map(|(solvable, _)| *solvable).collect()
    }

    /// Whether `text` is the solvable's `version-release` or `version`, the epoch left out or not.
    fn version_is(&self, solvable: SolvableId, text: &str) -> bool {
        let nevra = self.nevra(solvable);
        let text = match text.split_once(':') {
            Some((epoch, rest)) if epoch.parse() == Ok(nevra.epoch) => rest,
            Some(_) => return false,
            None => text,
        };
        text == format!("{}-{}", nevra.version, nevra.release) || text == nevra.version
    }
}
