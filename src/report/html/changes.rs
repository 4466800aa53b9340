//! What differs from the last green run.

use maud::{Markup, html};

use super::t;
use crate::report::REPORT;
use crate::report::comparison::{Comparison, Difference, RpmChange};
use crate::report::night::Night;

/// Longer lists are folded.
const SHOWN: usize = 15;

pub(super) fn section(night: &Night<'_>) -> Markup {
    html! {
        section #changes {
            h2 { "Changed since the last green run" }
            @match night.since {
                None => p.muted { "No earlier green run is kept, so there is nothing to compare with." },
                Some(since) => (differences(since, night.kept)),
            }
        }
    }
}

fn differences(since: &Comparison, kept: bool) -> Markup {
    let run = t(&since.from);
    html! {
        p.muted {
            "That was "
            @if kept { a href=(format!("../{}/{REPORT}", super::encoded(&since.from))) { (run) } } @else { (run) }
            @if since.inputs_are_the_same() {
                ". Nothing that goes into the builds differs. What fails now, if anything, depends on more than its inputs."
            } @else { "." }
        }
        @if !since.packages.is_empty() {
            (group("Packages", since.packages.iter().map(|change| html! {
                td { (t(&change.package)) }
                td { (change.change) " " (arrow(change.from.as_deref(), change.to.as_deref())) }
            }).collect()))
        }
        @if !since.sources.is_empty() {
            (group("Specs and sources", since.sources.iter().map(|change| html! {
                td { (t(&change.package)) } td { (t(&change.file)) " " span.muted { (change.change) } }
            }).collect()))
        }
        @if !since.environment.is_empty() {
            (group("Packages of the environment", since.environment.iter().map(rpm).collect()))
        }
        @if !since.recipe.is_empty() { (group("Recipe", since.recipe.iter().map(other).collect())) }
        @if !since.configuration.is_empty() {
            (group("Configuration", since.configuration.iter().map(other).collect()))
        }
        @if !since.outcomes.is_empty() {
            (group("Outcomes", since.outcomes.iter().map(|change| html! {
                td { (t(&change.package)) } td { (t(&change.from)) " → " b { (t(&change.to)) } }
            }).collect()))
        }
    }
}

fn rpm(change: &RpmChange) -> Markup {
    html! {
        td { (t(&change.name)) @if change.tools { " " span.muted { "(tools)" } } }
        td { (change.change) " " (arrow(change.from.as_deref(), change.to.as_deref())) }
    }
}

fn other(difference: &Difference) -> Markup {
    html! {
        td { (t(&difference.what)) }
        td { (arrow(difference.from.as_deref(), difference.to.as_deref())) }
    }
}

fn arrow(from: Option<&str>, to: Option<&str>) -> Markup {
    html! {
        @match (from, to) {
            (Some(from), Some(to)) => { (t(from)) " → " b { (t(to)) } }
            (None, Some(to)) => b { (t(to)) },
            (Some(from), None) => del { (t(from)) },
            (None, None) => "",
        }
    }
}

fn group(title: &str, rows: Vec<Markup>) -> Markup {
    let count = rows.len();
    let table = html! { table.changes { tbody { @for row in rows { tr { (row) } } } } };
    html! {
        details.group open[count <= SHOWN] {
            summary { h3 { (title) " " small { (count) } } }
            (table)
        }
    }
}
