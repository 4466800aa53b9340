//! `pristine clean`: what interrupted runs left; with `--all`, everything that the store has.

use crate::backend::Backend;
use crate::commands::choosing;
use crate::commands::context::Context;
use crate::documents::config::{BackendChoice, Project};
use crate::error::{Failure, Kind};
use crate::events::{Event, Sink as _};

/// The verb.
pub(super) fn run(context: &Context<'_>, all: bool) -> Result<u8, Failure> {
    let project = Project::load(&context.folder)?;
    if all {
        return empty(context, &project);
    }
    let workshop = context.workshop(&project)?;
    for line in &workshop.swept {
        context.ui.result(&format!("removed {line}"));
    }
    let count = workshop.swept.len();
    context.ui.note(&format!(
        "{count} removed; what no run, tag or lock wants: pristine gc"
    ));
    Ok(0)
}

/// Empties the store. Its trees belong to subordinate ids, so that not even their user can delete them by hand.
fn empty(context: &Context<'_>, project: &Project) -> Result<u8, Failure> {
    let store = context.store(project)?;
    let collection = store.collection(context.ui, &context.cancel)?;
    if let Some(holder) = collection.others().first() {
        let text = format!("the store is in use by {holder}");
        return Err(Failure::new(Kind::CannotRun, text).hint("wait for its end, or end it"));
    }
    for choice in BackendChoice::ALL {
        if choosing::has_roots(&store, choice)? {
            match choosing::open_one(choice, store.root()) {
                Ok(backend) => remove_roots(&*backend)?,
                Err(error) if choice == BackendChoice::Native => return Err(error.into()),
                Err(error) => context.ui.emit(Event::Warning {
                    text: format!(
                        "what {} has of the store's snapshots stays there: {error}",
                        choice.name()
                    ),
                }),
            }
        }
    }
    store.empty()?;
    context
        .ui
        .result(&format!("emptied {}", store.root().display()));
    Ok(0)
}

fn remove_roots(backend: &dyn Backend) -> Result<(), Failure> {
    backend.sweep()?;
    for root in backend.roots()? {
        backend.remove(&root)?;
    }
    Ok(())
}
