//! Clones that are kept by name: found, gone on with, left, forgotten.

use crate::backend::{self, RootId};
use crate::cli::EnterArgs;
use crate::commands::context::{Context, Workshop, now, timestamp};
use crate::commands::enter::place::Place;
use crate::commands::enter::shell::Start;
use crate::error::{Failure, Kind};
use crate::record::kept::{FORMAT, Kept};
use crate::store::{Guard, Mode};

/// So many visits are stacked on each other, at most: what a visit changed is one more layer.
const VISITS: usize = 60;

/// A name, held against others, and the clone that has it, if there is one.
#[derive(Debug)]
pub(super) struct Holding {
    name: String,
    pub(super) before: Option<Kept>,
    _guard: Guard,
}

fn hold(workshop: &Workshop, name: &str) -> Result<Guard, Failure> {
    let lock = format!("kept-{name}");
    workshop
        .store
        .try_lock(&lock, Mode::Exclusive)?
        .ok_or_else(|| {
            let text = format!("the kept clone `{name}` is entered by another pristine");
            let failure = Failure::new(Kind::CannotRun, text);
            match workshop.store.holder(&lock) {
                Some(holder) => failure.hint(format!(
                    "wait for process {}, or take another name",
                    holder.pid
                )),
                None => failure.hint("take another name"),
            }
        })
}

/// The clone that the command line names with `--keep`.
pub(super) fn find(workshop: &Workshop, args: &EnterArgs) -> Result<Option<Holding>, Failure> {
    let Some(name) = &args.keep else {
        return Ok(None);
    };
    let guard = hold(workshop, name)?;
    let before = Kept::load(workshop.store.root(), name)?;
    if let Some(kept) = &before {
        let again = format!("go on with it: pristine enter --keep={name}");
        let forget = format!("or begin anew: pristine enter --forget {name}");
        let named = args.run.is_some()
            || args.snapshot.is_some()
            || args.package.is_some()
            || args.failed.is_some();
        if named {
            let text = format!("the kept clone `{name}` exists already, of {}", kept.label);
            return Err(Failure::new(Kind::Input, text).hint(again).hint(forget));
        }
        if kept.writable != args.rw {
            let (was, hint) = if kept.writable {
                ("with --rw", format!("pristine enter --rw --keep={name}"))
            } else {
                ("without --rw", format!("pristine enter --keep={name}"))
            };
            let text = format!(
                "the kept clone `{name}` was made {was}, which gives the builder other ids"
            );
            return Err(Failure::new(Kind::Input, text).hint(hint).hint(forget));
        }
        if kept.roots.len() >= VISITS {
            let text = format!(
                "the kept clone `{name}` has been entered {VISITS} times, which is as often as one can be"
            );
            return Err(Failure::new(Kind::Input, text).hint(forget));
        }
    }
    Ok(Some(Holding {
        name: name.clone(),
        before,
        _guard: guard,
    }))
}

/// Keeps what a visit changed.
pub(super) fn keep(
    workshop: &Workshop,
    holding: &Holding,
    clone: Box<dyn backend::Clone>,
    (place, start, writable): (&Place<'_>, &Start, bool),
) -> Result<(), Failure> {
    let name = &holding.name;
    let mut roots: Vec<String> = place.above.iter().map(|root| root.0.clone()).collect();
    // A name that is left over from a visit whose end was not written down is not used again.
    let mut number = roots.len() + 1;
    let mut root = RootId::kept(name, number);
    while workshop.backend.has(&root)? {
        number += 1;
        root = RootId::kept(name, number);
    }
    clone.freeze(&root)?;
    roots.push(root.0);
    let kept = Kept {
        format: FORMAT,
        name: name.clone(),
        label: place.label.clone(),
        snapshot: place.snapshot.image,
        roots,
        writable,
        folder: start.folder.clone(),
        environment: start.environment.clone(),
        left: timestamp(now()),
    };
    Ok(kept.save(workshop.store.root())?)
}

/// `--list`.
pub(super) fn list(context: &Context<'_>, workshop: &Workshop) -> Result<(), Failure> {
    for kept in Kept::list(workshop.store.root())? {
        let writable = if kept.writable { ", --rw" } else { "" };
        context.ui.result(&format!(
            "{}: {}, left {}{writable}",
            kept.name, kept.label, kept.left
        ));
    }
    Ok(())
}

/// `--forget`.
pub(super) fn forget(
    context: &Context<'_>,
    workshop: &Workshop,
    name: &str,
) -> Result<(), Failure> {
    let _guard = hold(workshop, name)?;
    let Some(kept) = Kept::load(workshop.store.root(), name)? else {
        let text = format!("there is no kept clone `{name}`");
        return Err(
            Failure::new(Kind::Input, text).hint("see which there are: pristine enter --list")
        );
    };
    kept.forget(workshop.store.root())?;
    // Those of a failed build are the run's.
    let own = kept.roots.into_iter().map(RootId).filter(RootId::is_kept);
    for root in own {
        if workshop.backend.has(&root)? {
            workshop.backend.remove(&root)?;
        }
    }
    context.ui.note(&format!("`{name}` is forgotten"));
    Ok(())
}
