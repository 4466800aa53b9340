//! `pristine store verify`: everything that the store has, hashed again; with `--repair`, mended as far as can be.

use crate::cli::StoreVerb;
use crate::commands::context::{Context, Workshop};
use crate::commands::{creating, lock};
use crate::documents::Project;
use crate::error::{Failure, Kind};
use crate::oci::Image;
use crate::resolve::sources;
use crate::store::Stamps;
use crate::ui;

mod examine;
mod items;
mod repair;

use items::{Damage, Item};

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

/// Hashes the layers of one snapshot, and the trees that they were unpacked to: what is damaged, each in a line. With
/// `quick`, only what looks different from when it was found whole last.
pub(super) fn snapshot(
    context: &Context<'_>,
    workshop: &Workshop,
    image: &Image,
    quick: bool,
) -> Result<Vec<String>, Failure> {
    let items = items::of_image(workshop, image)?;
    let mut stamps = Stamps::load(&workshop.store);
    let known = quick.then_some(&stamps);
    let (damages, found) = examine((context, workshop), &items, known, ("snapshot", ""))?;
    if stamps.take(found) {
        stamps.save(&workshop.store)?;
    }
    Ok(damages.iter().map(ToString::to_string).collect())
}

/// Hashes all, and notes what whole files look like.
fn verify(
    context: &Context<'_>,
    project: &Project,
    workshop: &Workshop,
    quick: bool,
) -> Result<Vec<Damage>, Failure> {
    let items = items::all(project, workshop)?;
    let bytes = items.iter().map(|item| item.size).sum();
    let told = format!("{} and its trees", ui::size(bytes));
    let known = quick.then(|| Stamps::load(&workshop.store));
    let (damages, stamps) = examine(
        (context, workshop),
        &items,
        known.as_ref(),
        ("store", &told),
    )?;
    stamps.save(&workshop.store)?;
    Ok(damages)
}

/// What of the items is damaged, and what the rest looks like now; what looks as `known` is taken as whole. `whole` is what
/// they are together, and `told` at the end.
fn examine(
    (context, workshop): (&Context<'_>, &Workshop),
    items: &[Item],
    known: Option<&Stamps>,
    (whole, told): (&str, &str),
) -> Result<(Vec<Damage>, Stamps), Failure> {
    let doing = match known {
        Some(_) => "looking at",
        None => "hashing",
    };
    let nothing = Stamps::default();
    let known = known.unwrap_or(&nothing);
    let examined = context.step(
        &format!("{doing} the {whole}"),
        || examine::all(workshop, items, known, &context.cancel),
        |_| told.to_owned(),
    )?;
    context.go_on()?;
    Ok(examined)
}

/// Removes what is damaged, and fetches again what the project's lock names.
fn mend(context: &Context<'_>, workshop: &Workshop, damages: Vec<Damage>) -> Result<u8, Failure> {
    let count = damages.len();
    let left = repair::remove(context, workshop, damages)?;
    let documents = context.documents()?;
    if let Some(lock) = lock::old_lock(&documents)? {
        creating::stock(context, &documents, workshop, &lock)?;
        let supply = context.supply(&documents.project, workshop)?;
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
