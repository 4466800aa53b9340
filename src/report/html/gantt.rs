//! When what was built: a row for each step and package, as wide as the page is.

use maud::{Markup, html};

use super::{cut, percent, place, t, time, tone, word};
use crate::record::{Outcome, PackageRecord};
use crate::report::night::Night;

/// Steps of the axis, milliseconds; the first that gives few enough marks is taken.
const TICKS: [u64; 22] = [
    10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000,
    600_000, 900_000, 1_800_000, 3_600_000, 7_200_000, 14_400_000, 43_200_000,
];
const MARKS: u64 = 5;

/// A bar of the chart.
struct Bar<'a> {
    label: String,
    about: String,
    class: &'static str,
    colour: &'static str,
    at: u64,
    milliseconds: u64,
    critical: bool,
    package: Option<&'a PackageRecord>,
}

pub(super) fn chart(night: &Night<'_>) -> Markup {
    let bars = bars(night);
    let whole = u64::try_from(night.took.as_millis())
        .unwrap_or(u64::MAX)
        .max(1);
    let marks = marks(whole);
    html! {
        @if bars.is_empty() {
            p.muted { "Nothing was tried." }
        } @else {
            div.gantt role="group" aria-label="When each package was built" {
                (axis(&marks, whole))
                @for bar in &bars { (row(bar, &marks, whole)) }
            }
            p.key {
                "Bars are as long as the builds took; shades within them are their phases. "
                span.outlined { "Outlined" } ": the longest chain."
            }
        }
    }
}

fn bars<'a>(night: &Night<'a>) -> Vec<Bar<'a>> {
    let steps = night.record.steps.iter().map(|step| Bar {
        label: cut(&step.step, 40),
        about: format!("{}: {}", t(&step.step), time(step.milliseconds)),
        class: "step",
        colour: "#a9a59c",
        at: step.at,
        milliseconds: step.milliseconds,
        critical: false,
        package: None,
    });
    let mut bars: Vec<Bar<'a>> = steps.collect();
    let tried = night
        .record
        .packages
        .iter()
        .enumerate()
        .filter(|(_, package)| {
            let taken = matches!(
                package.outcome,
                Outcome::Skipped { .. } | Outcome::Reused { .. }
            );
            package.milliseconds > 0 || !taken && package.log.is_some()
        });
    let mut builds: Vec<Bar<'a>> = tried
        .map(|(at, package)| of_package(night, at, package))
        .collect();
    builds.sort_by_key(|bar| bar.at);
    bars.extend(builds);
    bars
}

fn of_package<'a>(night: &Night<'_>, at: usize, package: &'a PackageRecord) -> Bar<'a> {
    let (class, colour) = tone(&package.outcome);
    let phases: Vec<String> = package
        .phases
        .iter()
        .map(|phase| format!("{} {}", t(&phase.phase), time(phase.milliseconds)))
        .collect();
    let outcome = word(&package.outcome);
    Bar {
        label: cut(&package.name, 40),
        about: format!(
            "{}: {outcome}, {}{}{}",
            t(&package.name),
            time(package.milliseconds),
            if phases.is_empty() { "" } else { "; " },
            phases.join(", ")
        ),
        class,
        colour,
        at: package.at,
        milliseconds: package.milliseconds,
        critical: night.critical.len() > 1 && night.critical.contains(&at),
        package: Some(package),
    }
}

/// Where the axis has its marks, milliseconds.
fn marks(whole: u64) -> Vec<u64> {
    let step = TICKS.into_iter().find(|step| whole / step <= MARKS);
    let step = step.unwrap_or(whole);
    (0..=whole / step).map(|number| number * step).collect()
}

fn axis(marks: &[u64], whole: u64) -> Markup {
    html! {
        div.row.axis {
            span.label {}
            svg.track width="100%" height="16" {
                @for &mark in marks {
                    @let x = percent(mark, whole);
                    text.tick x=(share(x)) y="11" text-anchor=(if x < 6.0 { "start" } else if x > 94.0 { "end" } else { "middle" }) {
                        (mark_text(mark))
                    }
                }
            }
        }
    }
}

/// Short, for the axis.
fn mark_text(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match milliseconds {
        0 => "0".to_owned(),
        1..1000 => format!("{milliseconds} ms"),
        1000..60_000 => format!("{seconds} s"),
        60_000..3_600_000 if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        60_000..3_600_000 => format!("{}:{:02}", seconds / 60, seconds % 60),
        _ => format!("{}:{:02} h", seconds / 3600, seconds / 60 % 60),
    }
}

fn share(x: f64) -> String {
    format!("{}%", place(x))
}

fn row(bar: &Bar<'_>, marks: &[u64], whole: u64) -> Markup {
    let start = percent(bar.at.min(whole), whole);
    let width = percent(bar.milliseconds, whole).min(100.0 - start).max(0.2);
    html! {
        div.row {
            span.label.muted[bar.package.is_none()] title=(bar.about) { (bar.label) }
            svg.track width="100%" height="18" role="img" aria-label=(bar.about) {
                title { (bar.about) }
                @for &mark in marks {
                    @let x = share(percent(mark, whole));
                    line.grid stroke="#d9d5cd" x1=(x) x2=(x) y1="0" y2="18" {}
                }
                rect.(bar.class).critical[bar.critical] fill=(bar.colour) rx="3" height="12"
                    x=(share(start)) y="3" width=(share(width)) {}
                @if let Some(package) = bar.package { (shades(package, whole)) }
            }
        }
    }
}

/// Every other phase, a shade darker.
fn shades(package: &PackageRecord, whole: u64) -> Markup {
    let mut at = package.at;
    let end = package.at.saturating_add(package.milliseconds).min(whole);
    let mut shaded = Vec::new();
    for (number, phase) in package.phases.iter().enumerate() {
        let next = at.saturating_add(phase.milliseconds).min(end);
        if number % 2 == 1 && next > at {
            shaded.push((percent(at, whole), percent(next - at, whole)));
        }
        at = next;
    }
    html! {
        @for (x, width) in shaded {
            rect.shade fill="#000" fill-opacity="0.16" height="12" y="3" x=(share(x)) width=(share(width)) {}
        }
    }
}
