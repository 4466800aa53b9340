//! What would help where a request cannot be met: names that are nearly right, packages that the template hides.

use crate::repository::PackageEntry;
use crate::resolve::ResolveError;
use crate::resolve::solving::Offer;
use crate::rpm::Dependency;
use crate::solve::{Cause, Help, Nearest, Unsolvable};

/// Packages shown of those that would help.
const MAX_SHOWN: usize = 3;

/// Adds to each missing capability what the repositories have that comes near.
pub(super) fn add(offer: &Offer, why: &mut Unsolvable) -> Result<(), ResolveError> {
    let reasons = why
        .problems
        .iter_mut()
        .flat_map(|problem| &mut problem.reasons);
    for reason in reasons {
        let Cause::Missing {
            capability,
            candidates,
            help,
            parts,
            ..
        } = &mut reason.cause
        else {
            continue;
        };
        // Of a rich dependency the first part that is missing.
        let wanted = parts.first().unwrap_or(capability);
        let dependency: Dependency = wanted
            .parse()
            .unwrap_or_else(|_| Dependency::new(wanted, None));
        if let Some(hidden) = hidden(offer, &dependency)? {
            *help = Some(hidden);
        } else if candidates.is_empty() {
            *help = nearest(offer, dependency.name())?.map(Help::Nearest);
        }
    }
    Ok(())
}

/// Packages that would meet it if their repository's settings let them be seen.
fn hidden(offer: &Offer, dependency: &Dependency) -> Result<Option<Help>, ResolveError> {
    for one in &offer.published {
        let mut found = Vec::new();
        for package in one.index.packages_of(dependency.name())? {
            let entry = one.index.entry(package)?;
            if !one.sees(&entry) && meets(&entry, dependency) {
                found.push(entry.facts.nevra);
            }
        }
        if !found.is_empty() {
            found.sort_by(|one, other| other.cmp(one));
            found.truncate(MAX_SHOWN);
            return Ok(Some(Help::Hidden {
                packages: found,
                repository: one.repository.name.to_string(),
            }));
        }
    }
    Ok(None)
}

fn meets(entry: &PackageEntry, dependency: &Dependency) -> bool {
    crate::rpm::Gathering::new(vec![&entry.facts])
        .providers(dependency)
        .len()
        == 1
}

/// The capability of any repository that is most like `name`, where one is like it at all.
pub(super) fn nearest(offer: &Offer, name: &str) -> Result<Option<String>, ResolveError> {
    let mut nearest = Nearest::new(name);
    for one in &offer.published {
        one.index
            .capabilities(|candidate| nearest.consider(candidate))?;
    }
    Ok(nearest.found())
}
