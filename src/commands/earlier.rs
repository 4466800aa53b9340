//! What earlier runs tell a build: how long packages take, how much memory, and what need not be built again.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::build::reuse::Earlier;
use crate::cli::BuildArgs;
use crate::commands::context::Workshop;
use crate::error::{Failure, Kind};
use crate::record::{Ending, Outcome, PackageRecord, Record, Scope, runs};
use crate::store::Pin;

/// Runs that are asked how long packages take.
const ASKED: usize = 5;

/// The run from which packages are taken over, and what this run's scope is.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) earlier: Option<Earlier>,
    pub(super) scope: Scope,
    /// The packages to build, where not all of them.
    pub(super) only: Option<Vec<String>>,
}

/// What `--only`, `--since` and `--resume` ask for.
pub(super) fn choose(workshop: &Workshop, args: &BuildArgs) -> Result<Choice, Failure> {
    let only = (!args.only.is_empty()).then(|| {
        let mut names = args.only.clone();
        names.sort();
        names.dedup();
        names
    });
    let find = |wanted: &str| -> Result<_, Failure> {
        let folder = workshop.store.runs_folder();
        let name = runs::find(&folder, wanted)?.name;
        // From now on no collection removes it; before, one may have.
        workshop.store.pin(&[Pin::Run(name.clone())])?;
        Ok(runs::find(&folder, &name)?.recorded()?)
    };
    if let Some(wanted) = &args.resume {
        let (folder, record) = find(wanted)?;
        return Ok(Choice {
            only: unfinished(&record)?,
            scope: Scope::Resume {
                run: record.run.clone(),
            },
            earlier: Some(Earlier::new(folder, record)),
        });
    }
    let earlier = args.since.as_deref().map(find).transpose()?;
    let scope = match (&only, &earlier) {
        (Some(packages), _) => Scope::Only {
            packages: packages.clone(),
        },
        (None, Some((_, record))) => Scope::Since {
            run: record.run.clone(),
        },
        (None, None) => Scope::All,
    };
    Ok(Choice {
        earlier: earlier.map(|(folder, record)| Earlier::new(folder, record)),
        scope,
        only,
    })
}

/// The packages that an interrupted run was to build, where they were not all.
fn unfinished(record: &Record) -> Result<Option<Vec<String>>, Failure> {
    if record.ending == Ending::Complete {
        let run = &record.run;
        let failure = Failure::new(
            Kind::Input,
            format!("the run `{run}` came to its end: there is nothing to go on with"),
        );
        return Err(failure.hint(format!(
            "to build what has changed since then: pristine build --since {run}"
        )));
    }
    Ok(match &record.scope {
        Scope::Only { .. } | Scope::Resume { .. } => {
            let names = record.packages.iter().map(|package| package.name.clone());
            Some(names.collect())
        }
        Scope::All | Scope::Since { .. } => None,
    })
}

/// What is known of a package.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) time: Option<Duration>,
    pub(super) memory: Option<u64>,
    /// Bytes that its clone held.
    pub(super) disk: Option<u64>,
    /// Bytes of the packages that came out.
    pub(super) results: u64,
}

/// What each package took when it was built last, as far as kept runs tell.
pub(super) fn known(workshop: &Workshop) -> BTreeMap<String, Known> {
    let mut known = BTreeMap::new();
    for record in runs::newest(&workshop.store.runs_folder()).take(ASKED) {
        for package in record.packages.into_iter().filter(was_built) {
            known.entry(package.name).or_insert(Known {
                time: Some(Duration::from_millis(package.milliseconds)),
                memory: package.used.and_then(|used| used.memory),
                disk: package.used.and_then(|used| used.disk),
                results: package.outputs.iter().map(|file| file.size).sum(),
            });
        }
    }
    known
}

/// Others say nothing about how long a build takes.
fn was_built(package: &PackageRecord) -> bool {
    package.outcome == Outcome::Built {}
}
