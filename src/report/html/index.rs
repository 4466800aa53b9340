//! `index.html`: the kept runs side by side.

use maud::{Markup, html};

use super::{commit, cut, document, encoded, moment, place, scope, t, tone, word};
use crate::record::{Ending, Record};
use crate::report::counts::Counts;
use crate::report::trends::{Past, State, Trends, Troubled};
use crate::words::seconds;

/// Packages in trouble that are shown, and runs beside each other in charts.
const ROWS: usize = 60;
const COLUMNS: usize = 60;
const CHART: f64 = 120.0;

/// The page over all kept runs.
pub(in crate::report) fn page(trends: &Trends) -> String {
    let newest = trends.recorded().next_back();
    let project = newest.map_or("Runs".to_owned(), |(_, record, ..)| record.project.clone());
    let body = html! {
        header {
            p.eyebrow { (t(&project)) }
            h1 { (headline(trends)) }
        }
        (durations(trends))
        (troubles(trends))
        (table(trends))
    };
    document(&format!("{project}: runs"), &body)
}

fn headline(trends: &Trends) -> String {
    let all = trends.recorded().count();
    let green = trends
        .recorded()
        .filter(|(_, _, counts, _)| counts.green)
        .count();
    match all {
        0 => "no run yet".to_owned(),
        1 if green == 1 => "one run, and it is green".to_owned(),
        1 => "one run, and it is not green".to_owned(),
        _ => format!("{green} of {all} runs are green"),
    }
}

/// How a run ended, as a tone.
fn verdict(record: &Record, counts: Counts) -> (&'static str, &'static str) {
    if counts.failed + counts.skipped > 0 {
        ("failed", "#c0453d")
    } else if record.ending == Ending::Interrupted {
        ("interrupted", "#b98a33")
    } else {
        ("built", "#3f8a6c")
    }
}

/// The newest that fit side by side.
fn shown(trends: &Trends) -> Vec<(&Past, &Record, Counts, std::time::Duration)> {
    let all: Vec<_> = trends.recorded().collect();
    all[all.len().saturating_sub(COLUMNS)..].to_vec()
}

#[expect(clippy::cast_precision_loss, reason = "places in a picture")]
fn durations(trends: &Trends) -> Markup {
    let runs = shown(trends);
    let longest = runs.iter().map(|run| run.3).max().unwrap_or_default();
    let step = 100.0 / runs.len().max(8) as f64;
    html! {
        @if runs.len() > 1 {
            section #durations {
                h2 { "How long they took" }
                svg.durations width="100%" height=(place(CHART + 22.0)) role="img" aria-label="Duration of each run" {
                    line.grid stroke="#d9d5cd" x1="0" x2="100%" y1="16.5" y2="16.5" {}
                    text.tick x="0" y="11" { (seconds(longest)) }
                    @for (number, (past, record, counts, took)) in runs.iter().enumerate() {
                        @let (class, colour) = verdict(record, *counts);
                        @let share = took.as_secs_f64() / longest.as_secs_f64().max(0.001);
                        @let height = (share * (CHART - 18.0)).max(2.0);
                        (link(past, &html! {
                            title { (t(&past.name)) ": " (counts.words()) ", " (seconds(*took)) }
                            rect.(class) fill=(colour) rx="2" height=(place(height)) y=(place(CHART - height))
                                x=(format!("{}%", place(step * number as f64 + step * 0.12)))
                                width=(format!("{}%", place(step * 0.76))) {}
                        }))
                    }
                    line.axis stroke="#a9a59c" x1="0" x2="100%" y1=(place(CHART)) y2=(place(CHART)) {}
                    text.tick x="0" y=(place(CHART + 16.0)) { (day(runs.first())) }
                    text.tick x=(format!("{}%", place(step * runs.len() as f64))) y=(place(CHART + 16.0)) text-anchor="end" {
                        (day(runs.last()))
                    }
                }
            }
        }
    }
}

fn day(run: Option<&(&Past, &Record, Counts, std::time::Duration)>) -> String {
    run.map_or_else(String::new, |(_, record, ..)| {
        t(record.started.get(..10).unwrap_or_default())
    })
}

/// To the report of a run, where it has one.
fn link(past: &Past, inner: &Markup) -> Markup {
    html! {
        @match &past.report {
            Some(report) => a href=(format!("./{}", encoded(report))) { (inner) },
            None => (inner),
        }
    }
}

fn troubles(trends: &Trends) -> Markup {
    let runs = shown(trends);
    let hidden = trends.recorded().count() - runs.len();
    html! {
        @if !trends.troubled.is_empty() {
            section #troubles {
                h2 { "Packages in trouble" }
                div.scroll tabindex="0" role="group" aria-label="Packages in trouble" {
                    table.matrix {
                        tbody {
                            @for row in trends.troubled.iter().take(ROWS) { (trouble(row, hidden, &runs)) }
                        }
                    }
                }
                p.key { "A cell for each run, the newest on the right; the number counts the failures." }
                @if trends.troubled.len() > ROWS {
                    p.key { (trends.troubled.len() - ROWS) " more are not shown." }
                }
            }
        }
    }
}

fn trouble(
    row: &Troubled,
    hidden: usize,
    runs: &[(&Past, &Record, Counts, std::time::Duration)],
) -> Markup {
    html! {
        tr {
            th scope="row" { (cut(&row.name, 40)) }
            td.figure { (row.failures) }
            @for (outcome, (past, ..)) in row.outcomes.iter().skip(hidden).zip(runs) {
                td.cell {
                    @if let Some(outcome) = outcome {
                        @let (class, colour) = tone(outcome);
                        (link(past, &html! {
                            svg width="14" height="14" role="img" aria-label=(word(outcome)) {
                                title { (t(&past.name)) ": " (word(outcome)) }
                                rect.(class) fill=(colour) rx="3" width="14" height="14" {}
                            }
                        }))
                    }
                }
            }
        }
    }
}

fn table(trends: &Trends) -> Markup {
    html! {
        section #runs {
            h2 { "Kept runs" }
            div.scroll tabindex="0" role="group" aria-label="Kept runs" {
                table.runs {
                    thead { tr { th { "run" } th { "started" } th { "packages" } th.figure { "took" } th { "commit" } } }
                    tbody { @for past in trends.runs.iter().rev() { (line(past)) } }
                }
            }
            @if trends.runs.is_empty() { p.muted { "None is kept yet." } }
        }
    }
}

fn line(past: &Past) -> Markup {
    let name = html! { (t(&past.name)) };
    html! {
        tr {
            td.name data-label="run" { (link(past, &name)) }
            @match &past.state {
                State::Recorded { counts, took, record } => {
                    td.moment data-label="started" { (moment(&record.started)) }
                    td.outcome.(verdict(record, *counts).0) data-label="packages" {
                        @if record.ending == Ending::Interrupted { "interrupted: " }
                        (counts.words())
                        @if let Some(scope) = scope(&record.scope) { " " span.muted { "(" (cut(&scope, 60)) ")" } }
                    }
                    td.figure data-label="took" { (seconds(*took)) }
                    td.mono data-label="commit" { @if let Some(commit) = commit(record) { (commit) } }
                }
                State::Unrecorded => td.muted colspan="4" {
                    "no record: ended before it could write one, or still going on"
                },
                State::Unreadable(why) => td.muted colspan="4" { (t(why)) },
            }
        }
    }
}
