//! What failed, and why: first of all on the page.

use maud::{Markup, html};

use super::{address, cut, t, time};
use crate::record::{LimitRecord, Outcome, PackageRecord};
use crate::report::night::{Night, class_name, excerpt, limit_figure};

/// How many names of packages that were not tried are listed for each failure.
const NAMED: usize = 24;

pub(super) fn section(night: &Night<'_>) -> Markup {
    let failed: Vec<&PackageRecord> = night.failed().collect();
    html! {
        @if !failed.is_empty() {
            section #failures {
                h2 { "What failed" }
                @for package in failed { (card(night, package)) }
            }
        }
    }
}

fn card(night: &Night<'_>, package: &PackageRecord) -> Markup {
    let Outcome::Failed {
        reason,
        class,
        phase,
        limit,
        kept,
        ..
    } = &package.outcome
    else {
        return html! {};
    };
    let lines = excerpt(night.folder, package);
    let stopped = night.stopped_by(&package.name);
    html! {
        article.failure {
            h3 {
                (t(&package.name))
                @if let Some(version) = &package.version { " " small { (t(version)) } }
                " " span.badge { (class_name(*class)) }
            }
            p.reason {
                (t(reason))
                span.muted {
                    @if let Some(phase) = phase { ", in " (t(phase)) }
                    ", after " (time(package.milliseconds))
                }
            }
            @if let Some(limit) = limit { (met(limit)) }
            @if !lines.is_empty() { pre { (lines.join("\n")) } }
            p.next {
                @if let Some(log) = package.log.as_deref().and_then(address) {
                    a href=(log) { "The whole log" }
                }
                @if kept.is_some() {
                    span { "Look around in it: " code { "pristine enter --failed " (t(&package.name)) } }
                }
            }
            @if !stopped.is_empty() {
                p.stopped {
                    b { (stopped.len()) } " not tried because of it: "
                    @for (number, name) in stopped.iter().take(NAMED).enumerate() {
                        @if number > 0 { ", " }
                        (cut(name, 60))
                    }
                    @if stopped.len() > NAMED { ", …" }
                }
            }
        }
    }
}

/// A limit with its figures.
fn met(limit: &LimitRecord) -> Markup {
    let figure = |figure| limit_figure(limit, figure);
    html! {
        dl.limit {
            div { dt { "limit on " (t(&limit.limit)) } dd { (figure(limit.value)) } }
            @if let Some(peak) = limit.peak { div { dt { "peak" } dd { (figure(peak)) } } }
            @if let Some(process) = &limit.process { div { dt { "process" } dd { (t(process)) } } }
            @for (name, value) in &limit.counters { div { dt { (t(name)) } dd { (value) } } }
        }
        @if let Some(suggestion) = &limit.suggestion { p.suggestion { (t(suggestion)) } }
    }
}
