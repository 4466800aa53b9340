//! What would help where a request cannot be met: names that are nearly right, packages that the template hides.

use crate::documents::Name;
use crate::documents::template::Template;
use crate::repository::PackageEntry;
use crate::resolve::ResolveError;
use crate::resolve::solving::Offer;
use crate::rpm::{Dependency, Nevra};
use crate::solve::{Cause, Help, Hiding, Nearest, Unsolvable};

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
            *help = vec![hidden];
            continue;
        }
        if candidates.is_empty() {
            let nearest = nearest(offer, dependency.name())?;
            *help = nearest.map(Help::Nearest).into_iter().collect();
        }
        if !offer.elsewhere.is_empty() {
            help.push(Help::Elsewhere(offer.elsewhere.clone()));
        }
    }
    Ok(())
}

/// The repositories that have no part in an answer, each with the reason.
pub(super) fn elsewhere(template: &Template, left_out: &[Name]) -> Vec<String> {
    let disabled = template.disabled.iter();
    let disabled = disabled.map(|(name, file)| format!("{name}, which {file} does not enable"));
    let left_out = left_out.iter();
    let left_out = left_out.map(|name| format!("{name}, which could not be reached"));
    disabled.chain(left_out).collect()
}

/// Packages that would meet it if their repository's settings let them be seen.
fn hidden(offer: &Offer, dependency: &Dependency) -> Result<Option<Help>, ResolveError> {
    for one in &offer.published {
        let mut found: Vec<(Nevra, Hiding)> = Vec::new();
        for package in one.index.packages_of(dependency.name())? {
            let entry = one.index.entry(package)?;
            let by = one.hides(&entry).filter(|_| meets(&entry, dependency));
            found.extend(by.map(|by| (entry.facts.nevra, by)));
        }
        // First what a setting of the template shows at once, and of that the newest.
        let can_be_enabled = |by: &Hiding| matches!(by, Hiding::Inactive(_));
        found.sort_by(|(one, by), (other, by_other)| {
            let first = can_be_enabled(by_other).cmp(&can_be_enabled(by));
            first.then_with(|| other.cmp(one))
        });
        if let Some((_, by)) = found.first().cloned() {
            let packages = found.into_iter().filter(|(_, other)| *other == by);
            let packages = packages.map(|(nevra, _)| nevra);
            return Ok(Some(Help::Hidden {
                packages: packages.take(MAX_SHOWN).collect(),
                repository: one.repository.name.to_string(),
                by,
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
