//! The lock that a build uses: the project's own where it fits, else a new one, or a refusal.

use crate::commands::context::{Context, Documents, Workshop};
use crate::commands::failure::stale;
use crate::commands::{base, creating, lock as locking, tables};
use crate::documents::Lock;
use crate::documents::lock::{Drift, SpecFacts, SpecReading};
use crate::environment::specs;
use crate::error::{Failure, Kind};
use crate::resolve::sources;

/// The project's lock; written anew where it does not fit, unless that is refused (`locked`).
pub(super) fn lock(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &Workshop,
    locked: bool,
) -> Result<Lock, Failure> {
    let old = locking::old_lock(documents)?;
    let drift = match &old {
        Some(old) => drift(context, documents, workshop, old)?,
        None if locked => {
            return Err(Failure::new(Kind::Lock, "there is no pristine.lock")
                .hint("write it: pristine lock"));
        }
        None => Vec::new(),
    };
    match old {
        Some(old) if drift.is_empty() => Ok(old),
        Some(_) if locked => Err(stale(&drift)),
        old => {
            for change in &drift {
                context.ui.note(&format!("  {change}"));
            }
            base::refuse_tag(documents, old.as_ref())?;
            let moves = locking::Moves::Nothing;
            let new = locking::make(context, documents, workshop, &moves, old.as_ref())?;
            new.save(&documents.project.directory)?;
            context.ui.note(&tables::changes(old.as_ref(), &new));
            Ok(new)
        }
    }
}

/// What changed since the lock was made. Changed specs are read in the locked environment, where it is kept,
/// so that what does not matter (a line of `%build`, a comment) is no drift, and what does is named.
fn drift(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &Workshop,
    old: &Lock,
) -> Result<Vec<Drift>, Failure> {
    let mut inputs = documents.inputs()?;
    let drift = old.check(&inputs);
    if drift.is_empty() {
        return Ok(drift);
    }
    let Some(kept) = creating::kept_snapshot(workshop, old)? else {
        return Ok(drift);
    };
    for package in &documents.packages {
        let was = old
            .packages
            .iter()
            .find(|locked| locked.name == package.name);
        let now = inputs.packages.get_mut(&package.name);
        let (Some(was), Some(now)) = (was, now) else {
            continue;
        };
        if was.digest == now.digest {
            continue;
        }
        let spec = documents.project.directory.join(&package.spec);
        let request = specs::Request {
            spec: &spec,
            macros: &documents.macros(),
            options: &locking::options(package),
            spool: &workshop.store.temporary_folder(),
        };
        let facts = specs::read(&*workshop.backend, &kept.roots, &request, &context.cancel)?;
        now.reading = Some(SpecReading {
            facts: SpecFacts::from(&facts),
            sources: sources::named(&spec, &facts)?,
        });
    }
    Ok(old.check(&inputs))
}
