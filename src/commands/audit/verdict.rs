//! Each package file beside its twin.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Ground;
use super::rebuild::Subject;
use crate::audit::sides::compared;
use crate::audit::variations::Second;
use crate::build::run::REPOSITORY;
use crate::commands::context::{now, timestamp};
use crate::compare::{self, Conditions, Span};
use crate::digest::Digest;
use crate::error::Failure;
use crate::record::audit::{ArtefactAudit, AuditOutcome, PackageAudit, Varied};
use crate::record::{Outcome, PackageRecord};

/// A package of which nothing is known yet.
pub(super) fn blank(package: &PackageRecord, second: &Second) -> PackageAudit {
    PackageAudit {
        name: package.name.clone(),
        version: package.version.clone(),
        outcome: AuditOutcome::Interrupted {},
        varied: second.varied.clone(),
        not_varied: second.not_varied.clone(),
        artefacts: Vec::new(),
        allowed: Vec::new(),
        bisection: None,
        at: 0,
        milliseconds: 0,
        log: None,
        usage: package.usage.clone(),
    }
}

/// How the second build of a package ended, and what differs.
pub(super) fn package(
    ground: Ground<'_>,
    folder: &Path,
    subject: &Subject<'_>,
    rebuilt: &PackageRecord,
) -> Result<PackageAudit, Failure> {
    let mut package = PackageAudit {
        at: rebuilt.at,
        milliseconds: rebuilt.milliseconds,
        log: rebuilt.log.clone(),
        ..blank(subject.package, &subject.second)
    };
    let sides = sides(ground, subject, &subject.second, rebuilt);
    if let (Some(first), Some(second)) = (sides.first.time, sides.second.time) {
        package.varied.insert(0, times(first, second));
    }
    match &rebuilt.outcome {
        Outcome::Built {} => {
            package.artefacts = artefacts(ground, folder, (subject.package, rebuilt), &sides)?;
            let same = package.artefacts.iter().all(ArtefactAudit::is_identical);
            package.outcome = if same {
                AuditOutcome::Identical {}
            } else {
                AuditOutcome::Differs {}
            };
            package.allowed = allowed(ground, &package);
        }
        Outcome::Failed { reason, .. } => {
            package.outcome = AuditOutcome::Failed {
                reason: reason.clone(),
            };
        }
        Outcome::Reused { .. } | Outcome::Skipped { .. } | Outcome::Interrupted {} => {}
    }
    Ok(package)
}

/// Why it may differ as it does, where the project file says so.
fn allowed(ground: Ground<'_>, package: &PackageAudit) -> Vec<String> {
    let causes = package.all_causes().unwrap_or_default();
    let settings = &ground.documents.project.audit;
    let reasons = settings.reasons(&package.name, &causes);
    reasons.into_iter().flatten().map(str::to_owned).collect()
}

/// Whether a rebuild made the same files.
pub(super) fn same(first: &PackageRecord, second: &PackageRecord) -> bool {
    let digests = |package: &PackageRecord| {
        let files = package.outputs.iter();
        files
            .map(|file| (file.path.clone(), file.sha256))
            .collect::<BTreeMap<_, _>>()
    };
    digests(first) == digests(second)
}

fn times(first: Span, second: Span) -> Varied {
    let text = |span: Span| {
        let since_1970 = u64::try_from(span.from).unwrap_or(0);
        timestamp(std::time::Duration::from_secs(since_1970))
    };
    Varied {
        variation: None,
        what: "time".to_owned(),
        first: text(first),
        second: text(second),
    }
}

/// What is known of how both were built.
pub(in crate::commands) fn sides(
    ground: Ground<'_>,
    subject: &Subject<'_>,
    second: &Second,
    rebuilt: &PackageRecord,
) -> Conditions {
    let Subject { first, origin, .. } = subject;
    let started = ground.context.started.time.as_secs() + rebuilt.at / 1000;
    let from = i64::try_from(started).unwrap_or(0);
    let to = i64::try_from(now().as_secs()).unwrap_or(from);
    let span = |(from, to)| Span { from, to };
    let times = (origin.time.map(span), Some(span((from, to))));
    let mut sides = compared(first, second, times);
    sides.first.environment = Some(ground.audited.record.environment.to_string());
    sides.second.environment = Some(ground.second.environment.to_string());
    sides
}

/// Every package file that the run or the rebuild made.
pub(super) fn artefacts(
    ground: Ground<'_>,
    folder: &Path,
    (first, second): (&PackageRecord, &PackageRecord),
    sides: &Conditions,
) -> Result<Vec<ArtefactAudit>, Failure> {
    let by_name = |package: &PackageRecord| -> BTreeMap<_, Digest> {
        let files = package.outputs.iter();
        files.map(|file| (file.path.clone(), file.sha256)).collect()
    };
    let (one, other) = (by_name(first), by_name(second));
    let names: BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let mut artefacts = Vec::new();
    for name in names {
        let mut artefact = ArtefactAudit {
            path: name.clone(),
            first: one.get(name).copied(),
            second: other.get(name).copied(),
            comparison: None,
            deep: None,
        };
        let kept = first.outputs.iter().find(|file| file.path == *name);
        if !artefact.is_identical()
            && artefact.second.is_some()
            && let Some(kept) = kept
            && let Some(path) = ground.artefact(kept)?
        {
            let rebuilt = folder.join(REPOSITORY).join(name);
            artefact.comparison = Some(compare::packages(&path, &rebuilt, sides)?);
        }
        artefacts.push(artefact);
    }
    Ok(artefacts)
}
