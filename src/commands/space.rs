//! Whether the store's disk has room for a run, before it begins: by the lock's sizes and the figures of earlier runs.

use std::collections::BTreeMap;
use std::path::Path;

use crate::commands::context::Workshop;
use crate::commands::earlier::Known;
use crate::documents::Lock;
use crate::environment::snapshot::root_id;
use crate::error::{Failure, Kind};
use crate::plan::Plan;
use crate::ui::size;

/// An unpacked package takes so many times what its file takes: rather too little than too much.
const UNPACKED: u64 = 2;
/// What is kept free for what nobody has counted: logs, metadata, notes.
const SPARE: u64 = 8 << 20;

/// What a run will put there, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Needed {
    /// Packages and sources that the store does not have.
    downloads: u64,
    /// The environment's tree, made anew.
    environment: u64,
    /// The largest clones that there may be at once.
    builds: u64,
    /// The packages that come out.
    results: u64,
}

/// Refuses a run for which there is no room; `anew` where the environment is made anew.
pub(super) fn check(
    workshop: &Workshop,
    (lock, anew): (&Lock, bool),
    plan: &Plan,
    known: &BTreeMap<String, Known>,
    jobs: usize,
) -> Result<(), Failure> {
    let place = workshop.store.root();
    let Ok(facts) = rustix::fs::statvfs(place) else {
        // Whoever writes there says why it cannot be.
        return Ok(());
    };
    let free = facts.f_bavail.saturating_mul(facts.f_frsize);
    let packages = plan.steps.iter().map(|step| step.name.as_str());
    let packages: Vec<Known> = packages
        .filter_map(|name| known.get(name).copied())
        .collect();
    let (mut builds, results) = of_builds(&packages, jobs);
    if !workshop.backend.capabilities().on_store_disk {
        // An engine keeps its clones where it likes.
        builds = 0;
    }
    let needed = Needed {
        downloads: downloads(workshop, lock),
        environment: if anew { environment(workshop, lock) } else { 0 },
        builds,
        results,
    };
    if needed.all() <= free {
        return Ok(());
    }
    Err(needed.missing(place, free, jobs))
}

/// The largest clones of so many builds at once, and all that comes out, as earlier runs had them.
fn of_builds(packages: &[Known], jobs: usize) -> (u64, u64) {
    let mut clones: Vec<u64> = packages.iter().filter_map(|known| known.disk).collect();
    clones.sort_unstable();
    let largest = clones.iter().rev().take(jobs).sum();
    (largest, packages.iter().map(|known| known.results).sum())
}

fn downloads(workshop: &Workshop, lock: &Lock) -> u64 {
    let sources = lock.packages.iter().flat_map(|package| &package.sources);
    let sources = sources.filter_map(|source| source.remote.as_ref());
    let sources = sources.map(|remote| (remote.digest, remote.size));
    let mut wanted: Vec<_> = lock.rpms().map(|rpm| (rpm.digest, rpm.size)).collect();
    wanted.extend(sources);
    wanted.sort_unstable();
    wanted.dedup();
    let missing = |(digest, _): &&(_, u64)| workshop.store.blob(digest).is_none();
    wanted.iter().filter(missing).map(|(_, size)| size).sum()
}

/// As large as the one that is kept, where there is one.
fn environment(workshop: &Workshop, lock: &Lock) -> u64 {
    let unpacked = lock
        .environment
        .rpms
        .iter()
        .map(|rpm| rpm.size)
        .sum::<u64>()
        * UNPACKED;
    let kept = lock.environment.tree.filter(|_| lock.base.is_none());
    let kept = kept.and_then(|tree| workshop.backend.size(&root_id(&tree)).ok());
    kept.unwrap_or(unpacked)
}

impl Needed {
    fn all(&self) -> u64 {
        let parts = [self.downloads, self.environment, self.builds, self.results];
        parts.into_iter().fold(SPARE, u64::saturating_add)
    }

    fn missing(&self, place: &Path, free: u64, jobs: usize) -> Failure {
        let needed = self.all();
        let text = format!(
            "the disk is too small for this run: it needs about {}, and {} are free where `{}` is",
            size(needed),
            size(free),
            place.display()
        );
        let parts = [
            (self.downloads, "what is to be fetched".to_owned()),
            (self.environment, "the environment".to_owned()),
            (
                self.builds,
                format!("{jobs} builds at once, as large as they were"),
            ),
            (self.results, "the packages that come out".to_owned()),
        ];
        let parts = parts.into_iter().filter(|(bytes, _)| *bytes > 0);
        let parts: Vec<String> = parts
            .map(|(bytes, what)| format!("{} for {what}", size(bytes)))
            .collect();
        let failure = Failure::new(Kind::CannotRun, text)
            .hint(format!(
                "{} are missing: it needs {}",
                size(needed - free),
                parts.join(", ")
            ))
            .hint("see what can go, and let it go: pristine gc --dry-run; pristine gc");
        if jobs > 1 && self.builds / 2 > needed - free {
            return failure.hint("fewer builds at once take less: --jobs 1");
        }
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_with_what_frees_it() {
        let needed = Needed {
            downloads: 300 << 20,
            environment: 400 << 20,
            builds: 5 << 30,
            results: 100 << 20,
        };
        let failure = needed.missing(Path::new("/srv/store"), 4 << 30, 2);
        let told = format!("{failure}\n{}", failure.hints.join("\n"));
        insta::assert_snapshot!(told, @"
        the disk is too small for this run: it needs about 5.79 GiB, and 4.00 GiB are free where `/srv/store` is
        1.79 GiB are missing: it needs 300.00 MiB for what is to be fetched, 400.00 MiB for the environment, 5.00 GiB for 2 builds at once, as large as they were, 100.00 MiB for the packages that come out
        see what can go, and let it go: pristine gc --dry-run; pristine gc
        fewer builds at once take less: --jobs 1
        ");
        let alone = Needed {
            environment: 3 << 30,
            ..Needed::default()
        };
        assert_eq!(alone.missing(Path::new("s"), 0, 2).hints.len(), 2);
    }

    #[test]
    fn as_many_clones_count_as_there_are_builds_at_once() {
        let known = |disk, results| Known {
            disk,
            results,
            ..Known::default()
        };
        let packages = [
            known(Some(5), 1),
            known(None, 2),
            known(Some(9), 3),
            known(Some(7), 0),
        ];
        assert_eq!(of_builds(&packages, 2), (16, 6));
        assert_eq!(of_builds(&[], 8), (0, 0));
    }
}
