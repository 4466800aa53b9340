//! What differs between two runs, or two locks, or one of each. Pure.

mod environment;
mod facts;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::digest::Digest;
use crate::documents::Lock;
use crate::documents::lock::LockedPackage;
use crate::record::{Outcome, PackageRecord, Record, SourceRecord};

use facts::Facts;

/// One of the two that are compared.
#[derive(Debug, Clone)]
pub struct Side {
    /// What it is called: a run's name, a path, a revision.
    pub name: String,
    /// The record, for a run.
    pub record: Option<Record>,
    /// The lock, where it is kept.
    pub lock: Option<Lock>,
}

impl Side {
    /// A run, with the copy of the lock in its folder where it kept a sound one.
    pub fn of_run(folder: &Path, record: Record) -> Self {
        let lock = Lock::load(folder).ok();
        Self {
            name: record.run.clone(),
            // A lock that was changed afterwards says nothing of the run.
            lock: lock.filter(|lock| lock.digest() == record.lock),
            record: Some(record),
        }
    }

    /// A lock.
    pub fn of_lock(name: String, lock: Lock) -> Self {
        Self {
            name,
            record: None,
            lock: Some(lock),
        }
    }

    fn source(&self) -> Option<&SourceRecord> {
        self.record.as_ref()?.source.as_ref()
    }
}

/// What differs.
#[derive(Debug, Default, Serialize)]
pub struct Comparison {
    /// Version of this form, for `--json`.
    pub format: u32,
    /// What was before.
    pub from: String,
    /// What is now.
    pub to: String,
    /// Packages of the project that end in another way.
    pub outcomes: Vec<OutcomeChange>,
    /// Packages of the project that came, went, or have another version.
    pub packages: Vec<VersionChange>,
    /// Specs and sources.
    pub sources: Vec<SourceChange>,
    /// Packages of the environment and of the tools.
    pub environment: Vec<RpmChange>,
    /// The recipe.
    pub recipe: Vec<Difference>,
    /// Commit, template, repositories, base, host and the tool itself.
    pub configuration: Vec<Difference>,
}

/// A package of the project that ends in another way.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct OutcomeChange {
    /// Its name in the project.
    pub package: String,
    /// How it ended before, in words.
    pub from: String,
    /// How it ended now.
    pub to: String,
    /// Whether it is good now.
    pub good: bool,
}

/// A package of the project with another version.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct VersionChange {
    /// Its name in the project.
    pub package: String,
    /// Version and release before; none where it is new or was not known.
    pub from: Option<String>,
    /// Version and release now; none where it is gone or is not known.
    pub to: Option<String>,
    /// `added`, `removed` or `changed`.
    pub change: &'static str,
}

/// A spec or source with another content.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct SourceChange {
    /// The package of the project.
    pub package: String,
    /// The file.
    pub file: String,
    /// `added`, `removed` or `changed`.
    pub change: &'static str,
}

/// A package of the environment that differs.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct RpmChange {
    /// `added`, `removed`, `up`, `down` or `replaced`.
    pub change: &'static str,
    /// Its name.
    pub name: String,
    /// Epoch, version and release before (with the name and architecture where only those differ).
    pub from: Option<String>,
    /// The same now.
    pub to: Option<String>,
    /// Whether only the tools root has it.
    pub tools: bool,
}

/// Something else that differs.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What it is.
    pub what: String,
    /// What it was; none where it is new.
    pub from: Option<String>,
    /// What it is now; none where it is gone.
    pub to: Option<String>,
}

/// The version of the form that `diff --json` prints.
const FORMAT: u32 = 1;

impl Comparison {
    /// What differs from `old` to `new`.
    pub fn new(old: &Side, new: &Side) -> Self {
        let mut comparison = Self {
            format: FORMAT,
            from: old.name.clone(),
            to: new.name.clone(),
            packages: versions(old, new),
            sources: sources(old, new),
            environment: environment::changes(old, new),
            ..Self::default()
        };
        if let (Some(old), Some(new)) = (&old.record, &new.record) {
            comparison.outcomes = outcomes(&old.packages, &new.packages);
        }
        let mut facts = Facts::default();
        facts.sources(old.source(), new.source());
        if let (Some(old), Some(new)) = (&old.lock, &new.lock) {
            facts.locks(old, new);
            comparison.recipe = facts::recipe(old, new);
        }
        if let (Some(old), Some(new)) = (&old.record, &new.record) {
            facts.records(old, new);
        }
        comparison.configuration = facts.0;
        comparison
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.outcomes.is_empty() && self.inputs_are_the_same()
    }

    /// Whether both were made from the same, whatever came of it.
    pub fn inputs_are_the_same(&self) -> bool {
        self.packages.is_empty()
            && self.sources.is_empty()
            && self.environment.is_empty()
            && self.recipe.is_empty()
            && self.configuration.is_empty()
    }
}

/// How something changed that may be on both sides.
fn change<T: PartialEq>(old: Option<&T>, new: Option<&T>) -> Option<&'static str> {
    match (old, new) {
        (Some(old), Some(new)) if old != new => Some("changed"),
        (None, Some(_)) => Some("added"),
        (Some(_), None) => Some("removed"),
        _ => None,
    }
}

/// Names of both, each once, sorted, with what each side has.
fn both<'a, K: Ord, V>(
    old: &'a BTreeMap<K, V>,
    new: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, Option<&'a V>, Option<&'a V>)> {
    let mut keys: Vec<&K> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter()
        .map(|key| (key, old.get(key), new.get(key)))
}

fn outcomes(old: &[PackageRecord], new: &[PackageRecord]) -> Vec<OutcomeChange> {
    let by_name = |packages: &[PackageRecord]| -> BTreeMap<String, Outcome> {
        let pairs = packages.iter();
        pairs
            .map(|package| (package.name.clone(), package.outcome.clone()))
            .collect()
    };
    let (old, new) = (by_name(old), by_name(new));
    both(&old, &new)
        .filter_map(|(package, from, to)| {
            let (from, to) = (from?, to?);
            let same = match (from, to) {
                (Outcome::Failed { reason, .. }, Outcome::Failed { reason: other, .. }) => {
                    reason == other
                }
                _ => {
                    from.good() && to.good()
                        || std::mem::discriminant(from) == std::mem::discriminant(to)
                }
            };
            (!same).then(|| OutcomeChange {
                package: package.clone(),
                from: from.to_string(),
                to: to.to_string(),
                good: to.good(),
            })
        })
        .collect()
}

/// Versions of the project's packages: as built, else as locked.
fn own_versions(side: &Side) -> BTreeMap<String, Option<String>> {
    let locked = side.lock.iter().flat_map(|lock| &lock.packages);
    let mut versions: BTreeMap<_, _> = locked
        .map(|package| (package.name.to_string(), Some(package.facts.nevra.evr())))
        .collect();
    if let Some(record) = &side.record {
        // A run over a part of the project has no more than that part.
        let locked = std::mem::take(&mut versions);
        for package in &record.packages {
            let known = package.version.clone();
            let version = known.or_else(|| locked.get(&package.name).cloned().flatten());
            versions.insert(package.name.clone(), version);
        }
    }
    versions
}

fn versions(old: &Side, new: &Side) -> Vec<VersionChange> {
    let (old, new) = (own_versions(old), own_versions(new));
    both(&old, &new)
        .filter_map(|(package, from, to)| {
            let change = change(from, to)?;
            let (from, to) = (from.cloned().flatten(), to.cloned().flatten());
            // What only one side knows is no change.
            let unknown = change == "changed" && (from.is_none() || to.is_none());
            (!unknown).then(|| VersionChange {
                package: package.clone(),
                from,
                to,
                change,
            })
        })
        .collect()
}

/// Files of the project's packages by digest: as used, else what the lock has of them.
fn own_files(side: &Side, records: bool) -> BTreeMap<(String, String), Digest> {
    let mut files = BTreeMap::new();
    if records {
        let packages = side.record.iter().flat_map(|record| &record.packages);
        for package in packages {
            for file in &package.inputs {
                let path = file.path.display().to_string();
                files.insert((package.name.clone(), path), file.sha256);
            }
        }
        return files;
    }
    for package in side.lock.iter().flat_map(|lock| &lock.packages) {
        files.extend(locked_files(package));
    }
    files
}

fn locked_files(package: &LockedPackage) -> Vec<((String, String), Digest)> {
    let name = package.name.to_string();
    let spec = ((name.clone(), package.spec.to_string()), package.digest);
    let sources = package.sources.iter().filter_map(|source| {
        let remote = source.remote.as_ref()?;
        Some(((name.clone(), source.file.clone()), remote.digest))
    });
    std::iter::once(spec).chain(sources).collect()
}

/// Of packages that are on both sides: those that came or went are told by their version.
fn sources(old: &Side, new: &Side) -> Vec<SourceChange> {
    let records = old.record.is_some() && new.record.is_some();
    let (before, now) = (own_versions(old), own_versions(new));
    let (old, new) = (own_files(old, records), own_files(new, records));
    both(&old, &new)
        .filter(|((package, _), ..)| before.contains_key(package) && now.contains_key(package))
        .filter_map(|((package, file), from, to)| {
            Some(SourceChange {
                package: package.clone(),
                file: file.clone(),
                change: change(from, to)?,
            })
        })
        .collect()
}
