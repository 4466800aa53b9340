//! Which variation makes a package differ: every package that does is rebuilt with fewer, round by round.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::rebuild::{Subject, rebuild};
use super::{Ground, verdict};
use crate::audit::search::Search;
use crate::error::{Failure, Kind};
use crate::record::Outcome;
use crate::record::audit::{AuditOutcome, PackageAudit, Variation};

/// Searches, and notes what was found.
pub(super) fn bisect(
    ground: Ground<'_>,
    folder: &Path,
    subjects: &[Subject<'_>],
    packages: &mut BTreeMap<&str, PackageAudit>,
) -> Result<(), Failure> {
    let bad = |name: &str| {
        let outcome = packages.get(name).map(|package| &package.outcome);
        matches!(
            outcome,
            Some(AuditOutcome::Differs {} | AuditOutcome::Failed { .. })
        )
    };
    let suspects = subjects.iter().filter(|one| bad(&one.package.name));
    let mut searches: Vec<(&Subject<'_>, Search)> = suspects
        .map(|one| (one, Search::new(&one.variations())))
        .collect();
    for round in 1.. {
        let open: Vec<usize> = (0..searches.len())
            .filter(|&at| searches[at].1.next().is_some())
            .collect();
        if open.is_empty() {
            break;
        }
        ground.context.ui.note(&format!(
            "round {round} of the search for what makes {} packages differ",
            open.len()
        ));
        let place = folder.join(format!("round-{round}"));
        fs_err::create_dir(&place).map_err(failed)?;
        let answers = try_again(ground, &place, &searches, &open)?;
        for (at, differs) in open.into_iter().zip(answers) {
            searches[at].1.heard(differs);
        }
        fs_err::remove_dir_all(&place).map_err(failed)?;
    }
    for (subject, search) in searches {
        if let Some(package) = packages.get_mut(subject.package.name.as_str()) {
            package.bisection = Some(search.finish());
        }
    }
    Ok(())
}

fn failed(error: std::io::Error) -> Failure {
    Failure::new(Kind::CannotRun, error)
}

/// One rebuild of each package that is still searched: whether it differs.
fn try_again(
    ground: Ground<'_>,
    place: &Path,
    searches: &[(&Subject<'_>, Search)],
    open: &[usize],
) -> Result<Vec<bool>, Failure> {
    let tried: Vec<_> = open
        .iter()
        .map(|&at| {
            let (subject, search) = &searches[at];
            let varied: BTreeSet<Variation> =
                search.next().into_iter().flatten().copied().collect();
            (*subject, subject.only(&varied))
        })
        .collect();
    let ran = rebuild(ground, place, &tried)?;
    let same = |(subject, rebuilt): (&Subject<'_>, &crate::record::PackageRecord)| {
        rebuilt.outcome == (Outcome::Built {}) && verdict::same(subject.package, rebuilt)
    };
    let subjects = tried.iter().map(|(subject, _)| *subject);
    Ok(subjects
        .zip(&ran.packages)
        .map(|pair| !same(pair))
        .collect())
}
