//! One build: from its trace to what is undeclared and what is unused.

use std::collections::{BTreeMap, BTreeSet};

use super::{Ground, line, reach};
use crate::backend::{Touch, Touched, Trace};
use crate::documents::config::Trace as Settings;
use crate::record::{How, Means, Undeclared, Unused, UsageRecord, UsedFile};
use crate::resolve::chain;
use crate::rpm::{Dependency, Gathering, PackageFacts};
use crate::solve::Wanted;

/// Files of a package that are named.
const NAMED: usize = 5;

/// Folders that a program reads as a whole, whatever is in them: to find a file of theirs opened says nothing about
/// what a build needs.
const READ_AS_A_WHOLE: [&str; 5] = [
    "/usr/lib/rpm/macros.d/",
    "/usr/lib/rpm/fileattrs/",
    "/etc/rpm/",
    "/etc/ld.so.conf.d/",
    "/usr/share/aclocal/",
];
/// What lies here works on a build by macros and generators, which nobody sees being used.
const WORKS_UNSEEN: [&str; 2] = ["/usr/lib/rpm/", "/etc/rpm/"];

/// A spec, and which of the project's packages were installed for it.
#[derive(Debug, Clone, Copy)]
pub(in crate::build) struct Spec<'a> {
    /// Its name in the project.
    pub(in crate::build) name: &'a str,
    /// Its BuildRequires, each with where it stands.
    pub(in crate::build) asks: &'a [(String, String)],
    /// The project's packages that were installed for it.
    pub(in crate::build) own: &'a [&'a PackageFacts],
}

/// What a build used, held against what its spec declares.
pub(in crate::build) fn judge(
    ground: &Ground<'_>,
    spec: Spec<'_>,
    trace: &Trace,
    settings: &Settings,
) -> UsageRecord {
    let case = Case::new(ground, spec);
    let used = case.used(trace);
    let opened = |files: &&Vec<UsedFile>| files.iter().any(|file| file.how > How::LookedFor);
    let strong = used.iter().filter(|(_, files)| opened(files));
    UsageRecord {
        means: if trace.processes {
            Means::Events
        } else {
            Means::EventsWithoutProcesses
        },
        gap: trace.lost.then(|| {
            "the kernel dropped events, since more files were opened than could be followed: \
             what is missing here may have been used"
                .to_owned()
        }),
        files: count(trace),
        packages: strong
            .map(|(place, _)| case.facts(*place).nevra.name.clone())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
        undeclared: case.undeclared(&used, trace, settings),
        unused: if trace.lost {
            Vec::new()
        } else {
            case.unused(&used, settings)
        },
    }
}

fn count(trace: &Trace) -> u64 {
    let opened = trace.files.values();
    let opened = opened.filter(|seen| seen.touch > Touch::LookedUp).count();
    u64::try_from(opened).unwrap_or(u64::MAX)
}

/// The files of each package that were used, the strongest first.
type Used = BTreeMap<usize, Vec<UsedFile>>;

/// One build: the environment, and the project's packages after it in places.
struct Case<'a> {
    ground: &'a Ground<'a>,
    spec: Spec<'a>,
    own: Gathering<'a>,
    owners: BTreeMap<&'a str, Vec<usize>>,
    requires: Vec<BTreeSet<usize>>,
}

impl<'a> Case<'a> {
    fn new(ground: &'a Ground<'a>, spec: Spec<'a>) -> Self {
        let first = ground.requires.len();
        let own = Gathering::new(spec.own.to_vec());
        let mut owners: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, facts) in spec.own.iter().enumerate() {
            for path in &facts.files {
                owners.entry(path).or_default().push(first + place);
            }
        }
        let mut case = Self {
            ground,
            spec,
            own,
            owners,
            requires: ground.requires.clone(),
        };
        for facts in spec.own {
            let leads = facts.requires.iter();
            let leads = leads.flat_map(|requirement| case.leads_to(&requirement.dependency));
            let leads: BTreeSet<usize> = leads.collect();
            case.requires.push(leads);
        }
        case
    }

    fn first_own(&self) -> usize {
        self.ground.requires.len()
    }

    fn facts(&self, place: usize) -> &'a PackageFacts {
        match place.checked_sub(self.first_own()) {
            Some(own) => self.spec.own[own],
            None => self.ground.gathering.packages()[place],
        }
    }

    fn leads_to(&self, dependency: &Dependency) -> BTreeSet<usize> {
        let own = chain::leads_to(&self.own, dependency);
        let own = own.into_iter().map(|place| self.first_own() + place);
        let mut all = chain::leads_to(&self.ground.gathering, dependency);
        all.extend(own);
        all
    }

    /// What a BuildRequires brings by itself.
    fn brought(&self, requirement: &str) -> BTreeSet<usize> {
        let wanted = Wanted::dependency(requirement, self.spec.name);
        let own = chain::brought(&self.own, &wanted);
        let own = own.into_iter().map(|place| self.first_own() + place);
        let mut all = chain::brought(&self.ground.gathering, &wanted);
        all.extend(own);
        all
    }

    fn owners(&self, path: &str) -> Vec<usize> {
        let installed = self.ground.owners.get(path).into_iter().flatten();
        let own = self.owners.get(path).into_iter().flatten();
        installed.chain(own).copied().collect()
    }

    /// Files that were used, by the packages that own them.
    fn used(&self, trace: &Trace) -> Used {
        let mut used = Used::new();
        for (path, seen) in &trace.files {
            let owners = self.owners(path);
            if owners.is_empty() {
                continue;
            }
            let (how, process) = how(trace, path, seen);
            for owner in owners {
                used.entry(owner).or_default().push(UsedFile {
                    path: path.clone(),
                    how,
                    process: process.clone(),
                });
            }
        }
        for files in used.values_mut() {
            files.sort_by(|one, other| (other.how, &one.path).cmp(&(one.how, &other.path)));
        }
        used
    }

    /// What is reachable from the template and all BuildRequires; of these, without the one at `except`.
    fn declared(&self, except: Option<usize>) -> BTreeSet<usize> {
        let mut from = self.ground.base.clone();
        for (number, (requirement, _)) in self.spec.asks.iter().enumerate() {
            if Some(number) != except {
                from.extend(self.brought(requirement));
            }
        }
        reach(&self.requires, from)
    }

    fn undeclared(&self, used: &Used, trace: &Trace, settings: &Settings) -> Vec<Undeclared> {
        let declared = self.declared(None);
        let mut strange: Used = BTreeMap::new();
        for (place, files) in used.iter().filter(|(place, _)| !declared.contains(place)) {
            // A file that something declared owns too is declared.
            let alone = |file: &&UsedFile| {
                let owners = self.owners(&file.path);
                let declared = owners.iter().any(|owner| declared.contains(owner));
                !declared && !tells_nothing(trace, file)
            };
            let files: Vec<UsedFile> = files.iter().filter(alone).cloned().collect();
            if !files.is_empty() {
                strange.insert(*place, files);
            }
        }
        let bringers = self.bringers(&strange, settings);
        let mut found: Vec<Undeclared> = strange
            .into_iter()
            .map(|(place, files)| self.one(place, files, bringers.get(&place), settings))
            .collect();
        found.sort_by(|one, other| {
            (other.how, &one.package.name).cmp(&(one.how, &other.package.name))
        });
        found
    }

    fn one(
        &self,
        place: usize,
        mut files: Vec<UsedFile>,
        bringer: Option<&usize>,
        settings: &Settings,
    ) -> Undeclared {
        let facts = self.facts(place);
        let how = files[0].how;
        let telling: Vec<&UsedFile> = files
            .iter()
            .filter(|file| how == How::LookedFor || file.how > How::LookedFor)
            .collect();
        let add = line::to_add(facts, &telling);
        files.truncate(NAMED);
        let allowed = settings.undeclared(self.spec.name, &facts.nevra.name);
        Undeclared {
            package: facts.nevra.clone(),
            how,
            files,
            add,
            with: bringer.map(|place| self.facts(*place).nevra.name.clone()),
            allowed: allowed.map(str::to_owned),
        }
    }

    /// For undeclared packages that others of them require: one of those, which is declared in their stead. What is
    /// allowed to stay undeclared brings nothing.
    fn bringers(&self, strange: &Used, settings: &Settings) -> BTreeMap<usize, usize> {
        let allowed = |place: usize| {
            let name = &self.facts(place).nevra.name;
            settings.undeclared(self.spec.name, name).is_some()
        };
        let opened: Vec<usize> = strange
            .iter()
            .filter(|(place, files)| files[0].how > How::LookedFor && !allowed(**place))
            .map(|(place, _)| *place)
            .collect();
        let reached: BTreeMap<usize, BTreeSet<usize>> = opened
            .iter()
            .map(|place| (*place, reach(&self.requires, BTreeSet::from([*place]))))
            .collect();
        let brings = |one: usize, other: usize| reached[&one].contains(&other);
        let mut bringers = BTreeMap::new();
        for place in strange.keys() {
            let stands_for = opened.iter().copied().find(|&other| {
                let mutual = reached.contains_key(place) && brings(*place, other);
                // Of those that require each other, the first stands for all.
                other != *place && brings(other, *place) && (!mutual || other < *place)
            });
            if let Some(mut stands_for) = stands_for {
                while let Some(further) = bringers.get(&stands_for) {
                    stands_for = *further;
                }
                bringers.insert(*place, stands_for);
            }
        }
        bringers
    }

    fn unused(&self, used: &Used, settings: &Settings) -> Vec<Unused> {
        let mut unused = Vec::new();
        for (number, (requirement, place)) in self.spec.asks.iter().enumerate() {
            let direct = self.brought(requirement);
            let unseen = |place: &usize| {
                let files = self.facts(*place).files.iter();
                files
                    .into_iter()
                    .any(|path| WORKS_UNSEEN.iter().any(|start| path.starts_with(start)))
            };
            if direct.is_empty() || direct.iter().any(unseen) {
                continue;
            }
            let others = self.declared(Some(number));
            let mut only = reach(&self.requires, direct.clone());
            only.retain(|place| direct.contains(place) || !others.contains(place));
            if only.iter().any(|place| used.contains_key(place)) {
                continue;
            }
            let dependency: Option<Dependency> = requirement.parse().ok();
            let name = dependency.as_ref().map_or("", Dependency::name);
            let allowed = settings.unused(self.spec.name, requirement, name);
            unused.push(Unused {
                requirement: requirement.clone(),
                place: place.clone(),
                allowed: allowed.map(str::to_owned),
            });
        }
        unused
    }
}

/// What was done with a file, and by which program: a link through which another file was used counts as that.
fn how(trace: &Trace, path: &str, seen: &Touched) -> (How, Option<String>) {
    let without_wanting = !trace.processes && is_library(path) && wrote_loader_cache(trace);
    let how = match seen.touch {
        _ if without_wanting => How::LookedFor,
        Touch::Executed => How::Executed,
        Touch::Opened => How::Opened,
        Touch::LookedUp => {
            let behind = seen
                .target
                .as_ref()
                .and_then(|target| behind(trace, target));
            return match behind {
                Some(used) => (How::Followed, used.process.clone()),
                None => (How::LookedFor, None),
            };
        }
    };
    (how, seen.process.clone())
}

/// Whether a file tells nothing of what a build needs: it was read or looked for with all others of its kind.
fn tells_nothing(trace: &Trace, file: &UsedFile) -> bool {
    let mut whole = READ_AS_A_WHOLE.iter();
    whole.any(|folder| file.path.starts_with(folder))
        || (file.how == How::LookedFor && is_library(&file.path) && wrote_loader_cache(trace))
}

/// Whether the loader's cache holds such files.
fn is_library(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.starts_with("lib") && name.contains(".so")
}

/// Whether the program ran that reads every library; where the kernel tells processes, it is known what that read.
fn wrote_loader_cache(trace: &Trace) -> bool {
    let executed = |folder: &str| {
        let seen = trace.files.get(&format!("{folder}/ldconfig"));
        seen.is_some_and(|seen| seen.touch == Touch::Executed)
    };
    ["/usr/sbin", "/sbin", "/usr/bin"].into_iter().any(executed)
}

/// What was used of what a link leads to: the file, or a file below the folder.
fn behind<'a>(trace: &'a Trace, target: &str) -> Option<&'a Touched> {
    let used = |seen: &&Touched| seen.touch > Touch::LookedUp;
    if let Some(seen) = trace.files.get(target) {
        return Some(seen).filter(used);
    }
    let folder = format!("{target}/");
    let below = trace.files.range(folder.clone()..);
    below
        .take_while(|(path, _)| path.starts_with(&folder))
        .map(|(_, seen)| seen)
        .find(used)
}
