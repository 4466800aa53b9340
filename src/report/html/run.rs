//! `report.html`: what failed and why, then what changed, then how the night went.

use maud::{Markup, html};

use super::{
    changes, commit, declared, document, failures, gantt, moment, picture, scope, t, tables,
};
use crate::record::Ending;
use crate::report::counts::{Counts, verdict};
use crate::report::night::Night;
use crate::report::{INDEX, JUNIT};
use crate::words::seconds;

/// The page of a run.
pub(in crate::report) fn page(night: &Night<'_>) -> String {
    let title = format!("{}: {}", night.record.project, verdict(night.record));
    let body = html! {
        (header(night))
        (failures::section(night))
        (changes::section(night))
        (declared::section(night.record.packages.iter().map(|package| (package.name.as_str(), package.usage.as_ref()))))
        (course(night))
        (chain(night))
        (tables::packages(night))
        (tables::environment(night))
        (footer(night))
    };
    document(&title, &body)
}

fn header(night: &Night<'_>) -> Markup {
    let record = night.record;
    let tone = match (
        night.record.ending,
        night.counts.failed + night.counts.skipped,
    ) {
        (_, 1..) => "failed",
        (Ending::Interrupted, _) => "interrupted",
        _ => "built",
    };
    html! {
        header {
            p.eyebrow {
                (t(&record.project))
                @if let Some(scope) = scope(&record.scope) { " · " (scope) }
                @if night.kept { a.over href=(format!("../../{INDEX}")) { "all runs" } }
            }
            h1.(tone) { (verdict(night.record)) }
            (ribbon(&night.counts))
            dl.meta {
                (fact("started", &moment(&record.started)))
                (fact("took", &seconds(night.took)))
                @if let Some(commit) = commit(record) { (fact("commit", &commit)) }
                @if let Some(source) = &record.source {
                    @if let Some(checkout) = &source.checkout { (fact("checkout", &t(checkout))) }
                    @if let Some(changes) = source.changes {
                        (fact("changes beside it", &changes.short()))
                    }
                }
                (fact("run", &t(&record.run)))
            }
        }
    }
}

fn fact(what: &str, value: &str) -> Markup {
    html! { div { dt { (what) } dd { (value) } } }
}

/// The outcomes as shares of a line, and in words.
pub(super) fn ribbon(counts: &Counts) -> Markup {
    let parts = [
        ("failed", "#c0453d", counts.failed),
        ("skipped", "#a9a59c", counts.skipped),
        ("interrupted", "#b98a33", counts.interrupted),
        ("built", "#3f8a6c", counts.built),
        ("reused", "#6d87ab", counts.reused),
    ];
    let share = |count: usize| super::percent(whole(count), whole(counts.total()));
    let before = |number: usize| share(parts[..number].iter().map(|part| part.2).sum());
    html! {
        svg.ribbon width="100%" height="10" role="img" aria-label=(counts.words()) {
            @for (number, (name, colour, count)) in parts.into_iter().enumerate() {
                @if count > 0 {
                    rect.(name) fill=(colour) x=(format!("{}%", super::place(before(number)))) y="0"
                        width=(format!("{}%", super::place(share(count)))) height="10" {}
                }
            }
        }
        ul.legend {
            @for (name, _, count) in parts.into_iter().filter(|part| part.2 > 0) {
                li.(name) { b { (count) } " " (name) }
            }
        }
    }
}

fn whole(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn course(night: &Night<'_>) -> Markup {
    html! {
        section #night {
            h2 { "The night" }
            (gantt::chart(night))
        }
    }
}

fn chain(night: &Night<'_>) -> Markup {
    let names: Vec<String> = night
        .critical
        .iter()
        .map(|&at| t(&night.record.packages[at].name))
        .collect();
    html! {
        section #graph {
            h2 { "Who needs whom" }
            @if !names.is_empty() {
                p {
                    "The longest chain takes " b { (seconds(night.critical_time())) }
                    " of the run's " (seconds(night.took)) "; all builds one after the other, "
                    (seconds(night.work())) "."
                }
                p.chain {
                    @for (number, name) in names.iter().enumerate() {
                        @if number > 0 { span.arrow { " → " } }
                        span { (name) }
                    }
                }
            }
            (picture::graph(night))
        }
    }
}

fn footer(night: &Night<'_>) -> Markup {
    html! {
        footer {
            p {
                "Made by " (t(&night.record.tool)) " from "
                a href=(format!("./{}", crate::record::FILE_NAME)) { "record.json" }
                "; for machines also " a href=(format!("./{JUNIT}")) { (JUNIT) }
                ", and the lock that was built: "
                a href=(format!("./{}", crate::documents::lock::FILE)) { "pristine.lock" } "."
            }
        }
    }
}
