//! `pristine store verify`: everything that the store has, hashed again; with `--repair`, mended as far as can be.

use crate::cli::StoreVerb;
use crate::commands::context::{Context, Workshop};
use crate::commands::{creating, lock};
use crate::documents::Project;
use crate::error::{Failure, Kind};
use crate::resolve::sources;
use crate::store::Stamps;
use crate::ui;

mod examine;
mod items;
mod repair;

use items::Damage;

/// The verb.
pub(super) fn run(context: &Context<'_>, verb: &StoreVerb) -> Result<u8, Failure> {
    let StoreVerb::Verify { repair, quick, .. } = verb;
    let project = Project::load(&context.folder)?;
    let workshop = context.workshop(&project)?;
    let damages = verify(context, &project, &workshop, *quick)?;
    for damage in &damages {
        context.ui.result(&damage.to_string());
    }
    match (damages.len(), repair) {
        (0, _) => {
            context.ui.result("the store is whole");
            Ok(0)
        }
        (_, true) => mend(context, &workshop, damages),
        (count, false) => {
            let text = format!("{} damaged", things(count));
            Err(Failure::new(Kind::CannotRun, text).hint(
                "remove it, and fetch again what the lock names: pristine store verify --repair",
            ))
        }
    }
}

fn things(count: usize) -> String {
    match count {
        1 => "1 thing in the store is".to_owned(),
        _ => format!("{count} things in the store are"),
    }
}

/// Hashes all, and notes what whole files look like.
fn verify(
    context: &Context<'_>,
    project: &Project,
    workshop: &Workshop,
    quick: bool,
) -> Result<Vec<Damage>, Failure> {
    let items = items::all(project, workshop)?;
    let known = if quick {
        Stamps::load(&workshop.store)
    } else {
        Stamps::default()
    };
    let bytes = items.iter().map(|item| item.size).sum();
    let (damages, stamps) = context.step(
        if quick {
            "looking at the store"
        } else {
            "hashing the store"
        },
        || examine::all(workshop, &items, &known, &context.cancel),
        |_| format!("{} and its trees", ui::size(bytes)),
    )?;
    context.go_on()?;
    stamps.save(&workshop.store)?;
    Ok(damages)
}

/// Removes what is damaged, and fetches again what the project's lock names.
fn mend(context: &Context<'_>, workshop: &Workshop, damages: Vec<Damage>) -> Result<u8, Failure> {
    let count = damages.len();
    let left = repair::remove(context, workshop, damages)?;
    let documents = context.documents()?;
    if let Some(lock) = lock::old_lock(&documents)? {
        creating::stock(context, &documents, workshop, &lock)?;
        let supply = context.supply(&documents.project, workshop);
        sources::fetch(supply, &lock.packages)?;
    }
    if left.is_empty() {
        let text = format!(
            "mended {count}: what the lock names is in the store again, the rest is made again when it is needed"
        );
        context.ui.result(&text);
        return Ok(0);
    }
    let lines: Vec<String> = left
        .iter()
        .map(|(what, why)| format!("\n  {what}: {why}"))
        .collect();
    let text = format!("{} damaged still:{}", things(left.len()), lines.concat());
    Err(Failure::new(Kind::CannotRun, text))
}
