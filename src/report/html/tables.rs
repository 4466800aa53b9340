//! Each package in a line; what they were built in.

use maud::{Markup, html};

use super::{address, t, time, tone};
use crate::record::{Outcome, PackageRecord};
use crate::report::night::{Night, processor_time};
use crate::words::size;

pub(super) fn packages(night: &Night<'_>) -> Markup {
    let mut rows: Vec<(usize, &PackageRecord)> = night.record.packages.iter().enumerate().collect();
    rows.sort_by_key(|(_, package)| urgency(&package.outcome));
    html! {
        section #packages {
            h2 { "Packages" }
            div.scroll tabindex="0" role="group" aria-label="Packages" {
                table.packages {
                    thead {
                        tr {
                            th { "package" } th { "outcome" } th.figure { "time" } th.figure { "processor" }
                            th.figure { "memory" } th.figure { "disk" } th { "log" }
                        }
                    }
                    tbody { @for (at, package) in rows { (line(at, package)) } }
                }
            }
        }
    }
}

fn urgency(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Failed { .. } => 0,
        Outcome::Interrupted {} => 1,
        Outcome::Skipped { .. } => 2,
        Outcome::Built {} | Outcome::Reused { .. } => 3,
    }
}

fn line(at: usize, package: &PackageRecord) -> Markup {
    let used = package.used.unwrap_or_default();
    let tried = package.milliseconds > 0;
    html! {
        tr id=(format!("p{at}")) {
            td.name data-label="package" {
                (t(&package.name))
                @if let Some(version) = &package.version { " " small { (t(version)) } }
            }
            td.outcome.(tone(&package.outcome).0) data-label="outcome" { (outcome(&package.outcome)) }
            td.figure data-label="time" { @if tried { (time(package.milliseconds)) } }
            td.figure data-label="processor" { @if let Some(processor) = processor_time(&used) { (time(processor)) } }
            td.figure data-label="memory" { @if let Some(memory) = used.memory { (size(memory)) } }
            td.figure data-label="disk" { @if let Some(disk) = used.disk { (size(disk)) } }
            td data-label="log" {
                @if let Some(log) = package.log.as_deref().and_then(address) { a href=(log) { "log" } }
            }
        }
    }
}

/// The outcome; reasons of failures stand above.
fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Failed { .. } => "failed".to_owned(),
        Outcome::Skipped { because } => format!("not tried: needs {}", t(because)),
        Outcome::Reused { run } => format!("as in {}", t(run)),
        Outcome::Built {} | Outcome::Interrupted {} => super::word(outcome).to_owned(),
    }
}

pub(super) fn environment(night: &Night<'_>) -> Markup {
    let record = night.record;
    html! {
        section #environment {
            h2 { "Environment" }
            dl.facts {
                @if let Some(base) = &record.base { (fact("base", &format!("{} {}", base.name, base.digest))) }
                (fact("tree", &record.environment.to_string()))
                (fact("snapshot", &record.snapshot.to_string()))
                (fact("lock", &record.lock.to_string()))
                @if let Some(host) = &record.host {
                    (fact("backend", &host.backend))
                    (fact("kernel", &host.kernel))
                    (fact("machine", &format!("{} processors, {}", host.processors, size(host.memory))))
                    (fact("builds at once", &host.jobs.to_string()))
                }
            }
            @if !record.steps.is_empty() {
                details open {
                    summary { h3 { "Before the first package" } }
                    table.changes { tbody {
                        @for step in &record.steps {
                            tr { td { (t(&step.step)) } td { (t(&step.result)) } td.figure { (time(step.milliseconds)) } }
                        }
                    } }
                }
            }
            details {
                summary { h3 { "Installed packages " small { (record.installed.len()) } } }
                ul.installed { @for nevra in &record.installed { li { (t(&nevra.to_string())) } } }
            }
        }
    }
}

fn fact(what: &str, value: &str) -> Markup {
    html! { dt { (what) } dd.mono { (t(value)) } }
}
