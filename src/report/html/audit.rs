//! `audit.html`: how much is reproducible, what is not and why, what is not declared, how the nights before went.

use maud::{Markup, html};

use super::{address, cut, declared, document, moment, percent, place, t, time};
use crate::compare::{Comparison, Difference, Evidence, Excerpt};
use crate::record::Ending;
use crate::record::audit::{
    ArtefactAudit, AuditOutcome, AuditRecord, Bisection, DeepRecord, FILE_NAME, PackageAudit,
};
use crate::report::audit::{Audit, Counts, comparisons};

/// Differences that are shown of one package file, names in a list, and lines of a list.
const SHOWN: usize = 100;
const NAMED: usize = 24;

/// The page of an audit.
pub(in crate::report) fn page(audit: &Audit<'_>) -> String {
    let title = format!("{}: {}", audit.record.project, audit.counts.headline());
    let body = html! {
        (header(audit))
        (causes(audit))
        (packages(audit))
        (declared::section(audit.record.packages.iter().map(|package| (package.name.as_str(), package.usage.as_ref()))))
        (environment(audit.record))
        (nights(audit))
        (conditions(audit.record))
        (table(audit.record))
        (footer(audit.record))
    };
    document(&title, &body)
}

fn header(audit: &Audit<'_>) -> Markup {
    let record = audit.record;
    let counts = audit.counts;
    let tone = match record.ending {
        _ if counts.differs + counts.failed > 0 => "failed",
        Ending::Interrupted => "interrupted",
        Ending::Complete => "built",
    };
    html! {
        header {
            p.eyebrow { (t(&record.project)) " · audit of the run " (t(&record.run)) }
            h1.(tone) { (counts.headline()) }
            (ribbon(counts))
            dl.meta {
                (fact("started", &moment(&record.started)))
                (fact("ended", &moment(&record.ended)))
                @if record.ending == Ending::Interrupted { (fact("ending", "interrupted")) }
                (fact("lock", &record.lock.short()))
                (fact("audit", &t(&record.audit)))
            }
        }
    }
}

fn fact(what: &str, value: &str) -> Markup {
    html! { div { dt { (what) } dd { (value) } } }
}

fn parts(counts: Counts) -> [(&'static str, &'static str, &'static str, usize); 4] {
    [
        ("failed", "#c0453d", "differ", counts.differs),
        (
            "interrupted",
            "#b98a33",
            "did not build again",
            counts.failed,
        ),
        ("built", "#3f8a6c", "identical", counts.identical),
        ("skipped", "#a9a59c", "not compared", counts.rest),
    ]
}

fn ribbon(counts: Counts) -> Markup {
    let parts = parts(counts);
    let share = |count: usize| percent(whole(count), whole(counts.total()));
    let before = |number: usize| share(parts[..number].iter().map(|part| part.3).sum());
    html! {
        svg.ribbon width="100%" height="10" role="img" aria-label=(counts.headline()) {
            @for (number, (class, colour, _, count)) in parts.into_iter().enumerate() {
                @if count > 0 {
                    rect.(class) fill=(colour) x=(format!("{}%", place(before(number)))) y="0"
                        width=(format!("{}%", place(share(count)))) height="10" {}
                }
            }
        }
        ul.legend {
            @for (class, _, words, count) in parts.into_iter().filter(|part| part.3 > 0) {
                li.(class) { b { (count) } " " (words) }
            }
        }
    }
}

fn whole(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn causes(audit: &Audit<'_>) -> Markup {
    html! {
        @if !audit.causes.is_empty() {
            section #causes {
                h2 { "Causes" }
                table.changes {
                    tbody {
                        @for (cause, names) in &audit.causes {
                            tr {
                                td { b { (cause.words()) } }
                                td { (names.len()) @if names.len() == 1 { " package: " } @else { " packages: " } (list(names)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn list(names: &[&str]) -> Markup {
    html! {
        @for (number, name) in names.iter().take(NAMED).enumerate() {
            @if number > 0 { ", " }
            (cut(name, 60))
        }
        @if names.len() > NAMED { ", …" }
    }
}

fn packages(audit: &Audit<'_>) -> Markup {
    let troubled: Vec<_> = audit.troubled().collect();
    html! {
        @if !troubled.is_empty() {
            section #differences {
                h2 { "What differs" }
                @for package in troubled { (card(package)) }
            }
        }
    }
}

fn card(package: &PackageAudit) -> Markup {
    html! {
        article.failure {
            h3 {
                (t(&package.name))
                @if let Some(version) = &package.version { " " small { (t(version)) } }
                @for cause in package.causes() { " " span.badge { (cause.words()) } }
            }
            @if let AuditOutcome::Failed { reason } = &package.outcome { p.reason { "It did not build again: " (t(reason)) } }
            @for reason in &package.allowed { p.reason { "It may differ so: " (t(reason)) } }
            @if let Some(bisection) = &package.bisection { (bisected(bisection)) }
            @for artefact in package.artefacts.iter().filter(|artefact| !artefact.is_identical() && artefact.comparison.is_none()) {
                p { (t(&artefact.path.to_string_lossy())) @if artefact.first.is_none() { " came out of the rebuild only" } @else if artefact.second.is_none() { " did not come out of the rebuild" } @else { " differs, and could not be compared" } }
            }
            @for (path, comparison) in comparisons(package) { (file(&t(&path.to_string_lossy()), comparison)) }
            @for artefact in &package.artefacts { (deep(artefact)) }
            @if let Some(log) = package.log.as_deref().and_then(address) {
                p.next { a href=(log) { "The log of the rebuild" } }
            }
        }
    }
}

fn deep(artefact: &ArtefactAudit) -> Markup {
    let name = t(&artefact.path.to_string_lossy());
    html! {
        @match &artefact.deep {
            Some(DeepRecord::Page { path }) => @if let Some(page) = address(path) {
                p.next { a href=(page) { "diffoscope on " (name) } }
            },
            Some(DeepRecord::Nothing { because }) => p.key { "No deep view of " (name) ": " (t(because)) },
            None => {}
        }
    }
}

fn bisected(bisection: &Bisection) -> Markup {
    html! {
        p.reason {
            @if bisection.unvaried { "It differs with nothing varied but the time. " }
            @if !bisection.alone.is_empty() {
                "Varied alone, this makes it differ: "
                @for (number, variation) in bisection.alone.iter().enumerate() { @if number > 0 { ", " } b { (variation) } }
                ". "
            }
            @for set in &bisection.together {
                "Together only: "
                @for (number, variation) in set.iter().enumerate() { @if number > 0 { ", " } b { (variation) } }
                ". "
            }
        }
    }
}

/// The differences of one pair of files, each to be folded out.
fn file(name: &str, comparison: &Comparison) -> Markup {
    let differences = &comparison.differences;
    let more = differences.len().saturating_sub(SHOWN) as u64 + comparison.left_out;
    html! {
        p.pair { b { (name) } @if differences.is_empty() { " differs in signatures and digests alone" } }
        @for difference in differences.iter().take(SHOWN) { (difference_of(difference)) }
        @if more > 0 { p.key { (more) " more are not shown here; " (FILE_NAME) " has up to " (differences.len()) "." } }
        @if !comparison.by_nature.is_empty() {
            details {
                summary { (comparison.by_nature.len()) " differ by nature" }
                ul { @for difference in &comparison.by_nature { li { (chain(difference)) ": " (t(&difference.because)) } } }
            }
        }
    }
}

fn chain(difference: &Difference) -> Markup {
    html! {
        @for (number, name) in difference.place.iter().enumerate() {
            @if number > 0 { span.arrow { " → " } }
            (cut(name, 160))
        }
    }
}

fn difference_of(difference: &Difference) -> Markup {
    html! {
        details.difference {
            summary { span.mono { (chain(difference)) } " " (difference.kind.words()) ": " b { (difference.cause.words()) } }
            p { (t(&difference.because)) "." }
            @if !difference.origin.is_empty() { p { "From " (t(&difference.origin)) "." } }
            @if let Some(evidence) = &difference.evidence { (shown(evidence)) }
            @if !difference.remedy.is_empty() { p.suggestion { "Usual remedy: " (t(&difference.remedy)) } }
        }
    }
}

fn shown(evidence: &Evidence) -> Markup {
    let side = |name: &str, excerpt: &Excerpt| {
        html! {
            dt { (name) }
            dd.mono {
                (t(&excerpt.text))
                @if !excerpt.hex.is_empty() { br; small { (t(&excerpt.hex)) } }
            }
        }
    };
    html! {
        dl.facts {
            @if !evidence.first.hex.is_empty() || evidence.offset > 0 {
                dt { "first differing byte" }
                dd { (evidence.offset) }
            }
            (side("in the run", &evidence.first))
            (side("in the rebuild", &evidence.second))
        }
        @if !evidence.lines.is_empty() { pre { (crate::words::clean(&evidence.lines, true)) } }
    }
}

fn environment(record: &AuditRecord) -> Markup {
    let environment = &record.environment;
    html! {
        section #environment {
            h2 { "The environment, made a second time" }
            @if environment.is_same() {
                p { "It is the same, byte for byte: " span.mono { (environment.second.short()) } "." }
            } @else {
                p { "It is not the same: " span.mono { (environment.first.short()) } " in the run, " span.mono { (environment.second.short()) } " in the audit." }
                @for (number, comparison) in environment.comparisons.iter().filter(|comparison| !comparison.is_identical()).enumerate() {
                    (file(&format!("Layer {}", number + 1), comparison))
                }
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "places in a picture")]
fn nights(audit: &Audit<'_>) -> Markup {
    const HEIGHT: f64 = 100.0;
    let step = 100.0 / audit.nights.len().max(8) as f64;
    html! {
        @if audit.nights.len() > 1 {
            section #nights {
                h2 { "The nights before" }
                svg.durations width="100%" height="122" role="img" aria-label="Share of reproducible packages in each audited run" {
                    @for (number, past) in audit.nights.iter().enumerate() {
                        @let good = percent(whole(past.counts.identical), whole(past.counts.tried()));
                        @let x = format!("{}%", place(step * number as f64 + step * 0.12));
                        @let width = format!("{}%", place(step * 0.76));
                        title { (t(&past.run)) ": " (past.counts.headline()) }
                        rect.failed fill="#c0453d" rx="2" x=(x) width=(width) y="0" height=(place(HEIGHT - good)) {}
                        rect.built fill="#3f8a6c" rx="2" x=(x) width=(width) y=(place(HEIGHT - good)) height=(place(good)) {}
                    }
                    text.tick x="0" y="116" { (day(audit.nights.first().map(|past| past.started.as_str()))) }
                    @if audit.nights.len() > 3 {
                        text.tick x=(format!("{}%", place(step * audit.nights.len() as f64))) y="116" text-anchor="end" {
                            (day(audit.nights.last().map(|past| past.started.as_str())))
                        }
                    }
                }
                p.key { "For each audited run, how much of what was built again came out the same." }
            }
        }
    }
}

fn day(started: Option<&str>) -> String {
    t(started
        .and_then(|started| started.get(..10))
        .unwrap_or_default())
}

fn conditions(record: &AuditRecord) -> Markup {
    let varied = record
        .packages
        .iter()
        .find(|package| !package.varied.is_empty());
    html! {
        section #conditions {
            h2 { "What was different on purpose" }
            @if let Some(package) = varied {
                p.key { "Of the package " (t(&package.name)) "; the others alike." }
                table.changes {
                    tbody {
                        @for varied in &package.varied {
                            tr { td { (t(&varied.what)) } td { (cut(&varied.first, 200)) span.arrow { " → " } (cut(&varied.second, 200)) } }
                        }
                    }
                }
            }
            @for (variation, why) in &record.not_varied { p.key { "Not varied: " (variation) ": " (t(why)) } }
        }
    }
}

fn table(record: &AuditRecord) -> Markup {
    html! {
        section #packages {
            h2 { "All packages" }
            table.packages {
                thead { tr { th { "package" } th { "outcome" } th.figure { "rebuild" } } }
                tbody {
                    @for package in &record.packages {
                        tr {
                            td.name { (t(&package.name)) @if let Some(version) = &package.version { " " small { (t(version)) } } }
                            td { span.outcome.(tone(&package.outcome)) { (package.outcome.word()) } (reason(&package.outcome)) }
                            td.figure { @if package.milliseconds > 0 { (time(package.milliseconds)) } }
                        }
                    }
                }
            }
        }
    }
}

fn tone(outcome: &AuditOutcome) -> &'static str {
    match outcome {
        AuditOutcome::Identical {} => "built",
        AuditOutcome::Differs {} | AuditOutcome::Failed { .. } => "failed",
        AuditOutcome::Skipped { .. } => "skipped",
        AuditOutcome::Interrupted {} => "interrupted",
    }
}

fn reason(outcome: &AuditOutcome) -> String {
    match outcome {
        AuditOutcome::Failed { reason } => format!(": {}", t(reason)),
        AuditOutcome::Skipped { because } => format!(": {}", t(because)),
        _ => String::new(),
    }
}

fn footer(record: &AuditRecord) -> Markup {
    html! {
        footer { p { "Made by " (t(&record.tool)) " from " a href=(format!("./{FILE_NAME}")) { (FILE_NAME) } ", which has all of it for machines." } }
    }
}
