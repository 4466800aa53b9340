//! `pristine build`: the environment from nothing, every package in a clone of it, the record.

use std::path::Path;

use crate::build::run::End;
use crate::cli::BuildArgs;
use crate::commands::building::{self, Parts};
use crate::commands::context::Context;
use crate::commands::recording::{self, Facts};
use crate::commands::{PACKAGE_FAILED, creating, current, earlier, gc};
use crate::error::{Failure, Kind};
use crate::events::{Event, Sink as _};
use crate::record::{Outcome, Record};
use crate::resolve::sources;
use crate::ui;

/// The verb.
pub(super) fn run(context: &Context<'_>, args: &BuildArgs) -> Result<u8, Failure> {
    let documents = context.documents()?;
    let workshop = context.workshop(&documents.project)?;
    let choice = earlier::choose(&workshop, args)?;
    let lock = current::lock(context, &documents, &workshop, args.locked)?;
    let plan = building::plan(&lock, choice.only.as_deref())?;
    let stock = creating::stock(context, &documents, &workshop, &lock)?;
    sources::fetch(
        context.supply(&documents.project, &workshop),
        &lock.packages,
    )?;
    let kept = if args.reuse_snapshot {
        creating::kept_snapshot(&workshop, &lock)?
    } else {
        None
    };
    let snapshot = match kept {
        Some(snapshot) => snapshot,
        None => creating::fresh_snapshot(context, &documents, &workshop, &lock, &stock)?,
    };
    let folder = recording::folder(context, &workshop, args.output.as_deref())?;
    let machine = building::machine(args);
    let parts = Parts {
        documents: &documents,
        workshop: &workshop,
        lock: &lock,
        stock: &stock,
        snapshot: &snapshot,
        plan: &plan,
        earlier: choice.earlier.as_ref(),
        machine,
        folder: &folder,
    };
    let ran = building::build(context, parts, args.fail_fast)?;
    let facts = Facts {
        documents: &documents,
        workshop: &workshop,
        lock: &lock,
        snapshot: &snapshot,
        folder: &folder,
        scope: choice.scope,
        machine,
    };
    let record = recording::record(context, facts, &ran);
    record.save(&folder)?;
    snapshot.publish()?;
    let code = ending(context, args, ran.end, (&record, &folder))?;
    gc::after_build(context, &documents.project, &workshop)?;
    Ok(code)
}

/// What the user is told, and the exit code.
fn ending(
    context: &Context<'_>,
    args: &BuildArgs,
    end: End,
    (record, folder): (&Record, &Path),
) -> Result<u8, Failure> {
    let resume = match &args.output {
        // Only runs in the store are found by name.
        Some(_) => format!("what was built is kept in {}", folder.display()),
        None => format!(
            "what was built is kept; to go on: pristine build --resume {}",
            record.run
        ),
    };
    match end {
        End::Cancelled => return Err(Failure::new(Kind::Interrupted, "interrupted").hint(resume)),
        End::Broken(error) => return Err(Failure::from(error).hint(resume)),
        End::Complete | End::Failed => {}
    }
    let took = ui::seconds(context.started.instant.elapsed());
    context.ui.result(&format!(
        "{} in {took}\n{}",
        counts(record),
        folder.display()
    ));
    if record.packages.iter().all(|package| package.outcome.good()) {
        return Ok(0);
    }
    context.ui.emit(Event::Warning {
        text: "not every package was built".to_owned(),
    });
    Ok(PACKAGE_FAILED)
}

/// `58 built, 1 failed, 1 skipped`; what happens seldom is only named where it did.
fn counts(record: &Record) -> String {
    let count = |wanted: fn(&Outcome) -> bool| {
        let outcomes = record.packages.iter().map(|package| &package.outcome);
        outcomes.filter(|outcome| wanted(outcome)).count()
    };
    let all = [
        (
            count(|outcome| matches!(outcome, Outcome::Built {})),
            "built",
            true,
        ),
        (
            count(|outcome| matches!(outcome, Outcome::Reused { .. })),
            "as before",
            false,
        ),
        (
            count(|outcome| matches!(outcome, Outcome::Failed { .. })),
            "failed",
            true,
        ),
        (
            count(|outcome| matches!(outcome, Outcome::Skipped { .. })),
            "skipped",
            true,
        ),
        (
            count(|outcome| matches!(outcome, Outcome::Interrupted {})),
            "not begun or ended",
            false,
        ),
    ];
    let told = all
        .into_iter()
        .filter(|(number, _, always)| *always || *number > 0);
    told.map(|(number, word, _)| format!("{number} {word}"))
        .collect::<Vec<_>>()
        .join(", ")
}
