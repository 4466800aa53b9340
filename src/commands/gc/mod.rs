//! `pristine gc`: removes what neither a kept run, a tag, the lock of a known project nor a running process wants.
//!
//! While the gate of the store is held alone nothing new can be relied on (`store::pins`), so that what is found,
//! judged and taken out belongs together. Taking out is a rename; deleting comes after the gate is open again.

use crate::commands::context::{Context, Workshop};
use crate::documents::config::Project;
use crate::error::Failure;
use crate::events::{Event, Sink as _};
use crate::ui;

mod backends;
mod fates;
mod found;
mod image;
mod judge;
mod sweep;

use backends::Backends;
use found::{Found, Sizes};
pub(super) use image::remove_image;
use judge::{Line, Verdict};

/// The verb.
pub(super) fn run(context: &Context<'_>, dry_run: bool) -> Result<u8, Failure> {
    let project = Project::load(&context.folder)?;
    let workshop = context.workshop(&project)?;
    let verdict = collect(context, &project, &workshop, dry_run)?;
    context.ui.result(&told(&verdict, dry_run));
    Ok(0)
}

/// At the end of a build whose project says which runs stay: the same, in one line.
pub(super) fn after_build(
    context: &Context<'_>,
    project: &Project,
    workshop: &Workshop,
) -> Result<(), Failure> {
    if !project.keep.stated {
        return Ok(());
    }
    let verdict = collect(context, project, workshop, false)?;
    if let Some(text) = in_short(&verdict) {
        context.ui.note(&text);
    }
    Ok(())
}

/// Finds, judges and, unless it is only to be said, removes.
fn collect(
    context: &Context<'_>,
    project: &Project,
    workshop: &Workshop,
    dry_run: bool,
) -> Result<Verdict, Failure> {
    let backends = Backends::open(workshop)?;
    let sizes = Sizes::measure(workshop, &backends)?;
    let collection = workshop.store.collection(context.ui, &context.cancel)?;
    let found = Found::read(project, (workshop, &backends), &sizes)?;
    for text in &found.warnings {
        context.ui.emit(Event::Warning { text: text.clone() });
    }
    let others = !collection.others().is_empty();
    let verdict = judge::judge(&found, collection.pinned(), others);
    if dry_run {
        return Ok(verdict);
    }
    let discarded = sweep::sweep((workshop, &backends), &found, &verdict)?;
    drop(collection);
    drop(discarded);
    Ok(verdict)
}

/// Everything with its size: what goes and why, what stays and why.
fn told(verdict: &Verdict, dry_run: bool) -> String {
    let (goes, stays): (Vec<&Line>, Vec<&Line>) =
        verdict.lines.iter().partition(|line| !line.stays);
    let mut text = Vec::new();
    for (title, lines) in [("goes", &goes), ("stays", &stays)] {
        if !lines.is_empty() {
            text.push(format!("{title}:"));
            text.extend(lines.iter().map(|line| told_line(line)));
        }
    }
    let sum = |lines: &[&Line]| ui::size(lines.iter().map(|line| line.size).sum());
    text.push(match (goes.is_empty(), dry_run) {
        (true, _) => format!("nothing goes, {} stay", sum(&stays)),
        (false, true) => format!("{} would be freed, {} stay", sum(&goes), sum(&stays)),
        (false, false) => format!("{} freed, {} stay", sum(&goes), sum(&stays)),
    });
    text.join("\n")
}

fn told_line(line: &Line) -> String {
    format!("  {:>11}  {}: {}", ui::size(line.size), line.what, line.why)
}

/// What was removed, for the end of a build.
fn in_short(verdict: &Verdict) -> Option<String> {
    let gone = || verdict.lines.iter().filter(|line| !line.stays);
    let runs: Vec<&str> = gone()
        .filter_map(|line| line.what.strip_prefix("run "))
        .collect();
    let size = ui::size(gone().map(|line| line.size).sum());
    let what = match runs.as_slice() {
        [] if gone().next().is_none() => return None,
        [] => "what no kept run wants".to_owned(),
        [one] => format!("the run {one} and what only it wanted"),
        several => format!(
            "{} runs ({}) and what only they wanted",
            several.len(),
            several.join(", ")
        ),
    };
    Some(format!("removed by the rule `keep`: {what}, {size}"))
}
