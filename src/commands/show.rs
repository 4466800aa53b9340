//! `pristine show`: how a run went.

use std::fmt::Write as _;
use std::path::Path;

use crate::commands::context::Context;
use crate::commands::runs::to_json;
use crate::commands::{kept, tables, usage};
use crate::error::Failure;
use crate::record::{LimitRecord, Outcome, PackageRecord, Record};
use crate::report;
use crate::ui::{seconds, size};
use crate::words::clean;

pub(super) fn run(context: &Context<'_>, wanted: &str, json: bool) -> Result<u8, Failure> {
    let (folder, record) = kept::run(context, wanted)?;
    if json {
        context.ui.result(&to_json(&record)?);
        return Ok(0);
    }
    context.ui.result(&text(&folder, &record));
    Ok(0)
}

/// The run for a terminal: what failed and why, each package, where more is.
fn text(folder: &Path, record: &Record) -> String {
    let mut out = heading(record);
    for package in &record.packages {
        if let Outcome::Failed { .. } = package.outcome {
            failure(&mut out, folder, package);
        }
    }
    for package in &record.packages {
        uses(&mut out, package);
    }
    for gap in usage::gaps(&record.packages) {
        let _infallible = writeln!(out, "\n{}", clean(&gap, false));
    }
    if !record.packages.is_empty() {
        let _infallible = write!(out, "\n{}\n", packages(record));
    }
    let page = folder.join(report::REPORT);
    let more = if page.is_file() {
        page
    } else {
        folder.to_owned()
    };
    let _infallible = write!(out, "\n{}", more.display());
    out
}

fn heading(record: &Record) -> String {
    let mut out = format!(
        "{}: {}\nrun {}, started {}, took {}\n",
        clean(&record.project, false),
        report::verdict(record),
        clean(&record.run, false),
        clean(
            &record.started.replace('T', " ").replace('Z', " UTC"),
            false
        ),
        seconds(report::took(record)),
    );
    if let Some(source) = &record.source {
        let commit: String = clean(&source.commit, false).chars().take(12).collect();
        let checkout = source
            .checkout
            .as_ref()
            .map(|from| format!(" of {}", clean(from, false)));
        let changes = source
            .changes
            .map(|changes| format!(" with changes {}", changes.short()));
        let (checkout, changes) = (checkout.unwrap_or_default(), changes.unwrap_or_default());
        let _infallible = writeln!(out, "commit {commit}{checkout}{changes}");
    }
    out
}

fn failure(out: &mut String, folder: &Path, package: &PackageRecord) {
    let Outcome::Failed {
        reason,
        class,
        phase,
        limit,
        kept,
        ..
    } = &package.outcome
    else {
        return;
    };
    let phase = phase
        .as_ref()
        .map(|phase| format!(", in {}", clean(phase, false)));
    let mut line = |text: String| {
        let _infallible = writeln!(out, "{text}");
    };
    line(format!(
        "\nFAIL {}: {} ({}{})",
        clean(&package.name, false),
        clean(reason, false),
        report::class_name(*class),
        phase.unwrap_or_default()
    ));
    for text in limit.iter().flat_map(met) {
        line(format!("     {}", clean(&text, false)));
    }
    for text in report::excerpt(folder, package) {
        line(format!("     | {}", clean(&text, false)));
    }
    if let Some(log) = &package.log {
        line(format!(
            "     log: {}",
            clean(&folder.join(log).display().to_string(), false)
        ));
    }
    if kept.is_some() {
        line(format!(
            "     look around in it: pristine enter --failed {}",
            clean(&package.name, false)
        ));
    }
}

/// What it uses and does not declare, and the reverse.
fn uses(out: &mut String, package: &PackageRecord) {
    let lines = usage::lines(package);
    if lines.is_empty() {
        return;
    }
    let _infallible = writeln!(out, "\nDEPS {}:", clean(&package.name, false));
    for line in lines {
        let _infallible = writeln!(out, "     {line}");
    }
}

/// A limit with its figures, a line each.
fn met(limit: &LimitRecord) -> Vec<String> {
    let figure = |figure| report::limit_figure(limit, figure);
    let peak = limit.peak.map(|peak| format!(", peak {}", figure(peak)));
    let process = limit
        .process
        .as_ref()
        .map(|process| format!(", by {process}"));
    let (peak, process) = (peak.unwrap_or_default(), process.unwrap_or_default());
    let mut lines = vec![format!(
        "limit on {}: {}{peak}{process}",
        limit.limit,
        figure(limit.value)
    )];
    lines.extend(
        limit
            .counters
            .iter()
            .map(|(name, value)| format!("{name}: {value}")),
    );
    lines.extend(limit.suggestion.clone());
    lines
}

fn packages(record: &Record) -> String {
    let mut table = tables::plain([
        "package",
        "version",
        "outcome",
        "time",
        "processor",
        "memory",
    ]);
    for package in &record.packages {
        let used = package.used.unwrap_or_default();
        let time = |milliseconds| seconds(std::time::Duration::from_millis(milliseconds));
        let tried = package.milliseconds > 0;
        table.add_row([
            clean(&package.name, false),
            clean(package.version.as_deref().unwrap_or_default(), false),
            outcome(&package.outcome),
            if tried {
                time(package.milliseconds)
            } else {
                String::new()
            },
            report::processor_time(&used).map(time).unwrap_or_default(),
            used.memory.map(size).unwrap_or_default(),
        ]);
    }
    tables::text(&mut table)
}

/// In a word or two; reasons of failures stand above.
fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Failed { .. } => "failed".to_owned(),
        Outcome::Skipped { because } => format!("skipped, needs {}", clean(because, false)),
        other => clean(&other.to_string(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_run_is_told_with_what_failed_and_why() {
        insta::assert_snapshot!(text(Path::new("RUN"), &sample::every_class()), @"
        tools: 8 of 12 packages failed
        run 20260102-030405-1, started 2026-01-02 03:04:05 UTC, took 3 min 01 s
        commit 0123456789ab of https://git.example/tools#main

        FAIL needs-more: a BuildRequires is missing: pkgconfig(zlib) (dependency, in %build)
             | error: Failed build dependencies:
             |  pkgconfig(zlib) is needed by needs-more-1.4-2
             log: RUN/logs/needs-more.log
             look around in it: pristine enter --failed needs-more

        FAIL patched: %prep failed (sources, in %build)
             | Hunk #1 FAILED at 12.
             log: RUN/logs/patched.log
             look around in it: pristine enter --failed patched

        FAIL compiles: %build failed (compiler, in %build)
             | main.c:12:5: error: expected ';' before 'return'
             |    12 |     x = 1
             | make: *** [main.o] Error 1
             log: RUN/logs/compiles.log
             look around in it: pristine enter --failed compiles

        FAIL tested: %check failed (test, in %build)
             | FAIL: test_parse (2 of 81)
             log: RUN/logs/tested.log
             look around in it: pristine enter --failed tested

        FAIL packs: Installed (but unpackaged) file(s) found: /loose (packaging, in %build)
             log: RUN/logs/packs.log
             look around in it: pristine enter --failed packs

        FAIL hungry: out of memory at 2 GiB (limit, in %build)
             limit on memory: 2.00 GiB, peak 2.00 GiB, by cc1plus
             oom_kill: 3
             raise `memory` to 3 GiB, or `jobs = 1` would have fitted
             | cc1plus invoked oom-killer
             log: RUN/logs/hungry.log
             look around in it: pristine enter --failed hungry

        FAIL unlucky: no space left on the store's disk (infrastructure, in %build)
             log: RUN/logs/unlucky.log
             look around in it: pristine enter --failed unlucky

        FAIL odd: exit code 3 (other, in %build)
             log: RUN/logs/odd.log
             look around in it: pristine enter --failed odd

        package     version  outcome                  time        processor   memory
        libbase     1.4-2    built                    42.0 s      1 min 07 s  300.00 MiB
        needs-more  1.4-2    failed                   31.0 s      49.6 s      300.00 MiB
        patched     1.4-2    failed                   31.0 s      49.6 s      300.00 MiB
        compiles    1.4-2    failed                   31.0 s      49.6 s      300.00 MiB
        tested      1.4-2    failed                   31.0 s      49.6 s      300.00 MiB
        packs       1.4-2    failed                   31.0 s      49.6 s      300.00 MiB
        hungry      1.4-2    failed                   31.0 s      49.6 s      300.00 MiB
        unlucky     1.4-2    failed                   31.0 s      49.6 s      300.00 MiB
        odd         1.4-2    failed                   31.0 s      49.6 s      300.00 MiB
        child       1.4-2    skipped, needs compiles
        grandchild  1.4-2    skipped, needs child
        app         1.4-2    built                    1 min 35 s  2 min 32 s  300.00 MiB

        RUN
        ");
    }

    #[test]
    fn strangers_do_not_drive_the_terminal() {
        let text = text(Path::new("RUN"), &sample::hostile());
        let bad = |c: &char| c.is_control() && *c != '\n' || *c == '\u{202e}';
        assert_eq!(text.chars().find(bad), None);
    }
}
