//! `pristine build`: the environment from nothing, every package in a clone of it, the record.

use std::collections::BTreeMap;
use std::path::Path;

use crate::build::run::End;
use crate::cli::BuildArgs;
use crate::commands::building::{self, Parts};
use crate::commands::context::{Context, Documents, Workshop};
use crate::commands::creating::Snapshot;
use crate::commands::recording::{self, Facts};
use crate::commands::{
    PACKAGE_FAILED, attest, creating, current, earlier, gc, kept, source, space, usage,
};
use crate::documents::Lock;
use crate::error::{Failure, Kind};
use crate::events::{Event, Sink as _};
use crate::record::Record;
use crate::record::journal::Journal;
use crate::report;
use crate::resolve::packages::Stock;
use crate::resolve::sources;
use crate::ui;

/// The verb.
pub(super) fn run(context: &mut Context<'_>, args: &BuildArgs) -> Result<u8, Failure> {
    let enter = kept::enter_failed(context);
    attest::before_build(args.attest_key.as_deref())?;
    let checkout = source::checkout(context, args)?;
    let context = &*context;
    let documents = context.documents()?;
    let workshop = context.workshop(&documents.project)?;
    let source = source::record(context, &documents, &workshop, checkout.as_ref());
    let choice = earlier::choose(&workshop, args)?;
    let locked = args.locked || checkout.is_some();
    let lock = current::lock(context, &documents, &workshop, locked)?;
    let plan = building::plan(&lock, choice.only.as_deref())?;
    let machine = building::machine(args.jobs);
    let known = earlier::known(&workshop);
    space::check(
        &workshop,
        (&lock, !args.reuse_snapshot),
        &plan,
        &known,
        machine.jobs.get(),
    )?;
    let stock = creating::stock(context, &documents, &workshop, &lock)?;
    let supply = context.supply(&documents.project, &workshop)?;
    sources::fetch(supply, &lock.packages)?;
    let snapshot = snapshot(context, args, (&documents, &workshop), &lock, &stock)?;
    let folder = recording::folder(context, &workshop, args.output.as_deref())?;
    let parts = Parts {
        documents: &documents,
        workshop: &workshop,
        lock: &lock,
        stock: &stock,
        snapshot: &snapshot,
        plan: &plan,
        earlier: choice.earlier.as_ref(),
        known: &known,
        machine,
        folder: &folder,
        enter: &enter,
    };
    let facts = Facts {
        documents: &documents,
        workshop: &workshop,
        lock: &lock,
        snapshot: &snapshot,
        folder: &folder,
        scope: choice.scope,
        source,
        machine,
    };
    let journal = Journal::begin(&folder, &recording::begun(context, &facts))?;
    let ran = building::build(context, parts, &journal, args)?;
    let record = recording::record(context, &facts, &ran);
    record.save(&folder)?;
    journal.end()?;
    report::write(&workshop.store.runs_folder(), &folder, &record, &lock)?;
    let attest = (args.attest_key.as_deref(), &args.attesting);
    attest::after_build(context, attest, (&folder, &record, &lock))?;
    let published = snapshot.publish();
    // Where both went wrong, what ended the builds says more.
    let code = ending(context, args, ran.end, (&record, &folder))?;
    published?;
    gc::after_build(context, &documents.project, &workshop).map(|()| code)
}

/// The snapshot that the packages are built in: a fresh one, unless the kept one is asked for and there.
fn snapshot<'a>(
    context: &Context<'_>,
    args: &BuildArgs,
    (documents, workshop): (&Documents, &'a Workshop),
    lock: &Lock,
    stock: &Stock,
) -> Result<Snapshot<'a>, Failure> {
    let kept = if args.reuse_snapshot {
        creating::kept_snapshot(workshop, lock)?
    } else {
        None
    };
    match kept {
        Some(snapshot) => Ok(snapshot),
        None => creating::fresh_snapshot(context, documents, workshop, lock, stock),
    }
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
    context.ui.emit(Event::RunEnded {
        run: record.run.clone(),
        folder: folder.to_owned(),
        counts: by_result(record),
        took: context.started.instant.elapsed(),
    });
    match end {
        End::Cancelled => return Err(Failure::new(Kind::Interrupted, "interrupted").hint(resume)),
        End::Broken(error) => return Err(Failure::from(error).hint(resume)),
        End::Complete | End::Failed => {}
    }
    let took = context.started.instant.elapsed();
    let deps = usage::summary(record).map_or(String::new(), |text| format!("{text}\n"));
    context.ui.result(&format!(
        "{} in {}\n{deps}{}",
        counts(record),
        ui::seconds(took),
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

/// Packages by the word of their outcome.
fn by_result(record: &Record) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for package in &record.packages {
        *counts.entry(package.outcome.word()).or_default() += 1;
    }
    counts
}

/// `58 built, 1 failed, 1 skipped`; what happens seldom is only named where it did.
fn counts(record: &Record) -> String {
    let counts = by_result(record);
    let told = [
        ("built", "built", true),
        ("reused", "as before", false),
        ("failed", "failed", true),
        ("skipped", "skipped", true),
        ("interrupted", "interrupted", false),
    ];
    let told = told.into_iter().filter_map(|(result, word, always)| {
        let number = counts.get(result).copied().unwrap_or_default();
        (always || number > 0).then(|| format!("{number} {word}"))
    });
    told.collect::<Vec<_>>().join(", ")
}
