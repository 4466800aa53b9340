//! What packages use and do not declare, and what they declare and do not use.

use maud::{Markup, html};

use super::t;
use crate::record::UsageRecord;

/// Of the packages of a run or of an audit, by name, those for which there is something to say.
pub(super) fn section<'a>(
    packages: impl Iterator<Item = (&'a str, Option<&'a UsageRecord>)>,
) -> Markup {
    let told: Vec<(&str, &UsageRecord)> = packages
        .filter_map(|(name, usage)| Some((name, usage?)))
        .filter(|(_, usage)| !usage.undeclared.is_empty() || !usage.unused.is_empty())
        .collect();
    html! {
        @if !told.is_empty() {
            section #declared {
                h2 { "Declared and used" }
                @for (name, usage) in told { (card(name, usage)) }
            }
        }
    }
}

fn card(name: &str, usage: &UsageRecord) -> Markup {
    html! {
        details open[usage.to_declare().next().is_some()] {
            summary {
                b { (t(name)) } " "
                span.muted { (words(usage)) }
            }
            ul {
                @for one in &usage.undeclared {
                    li {
                        "uses " (t(&one.package.to_string()))
                        @if let Some(file) = one.files.first() {
                            ": " code { (t(&file.path)) } " " (file.how.words())
                            @if let Some(process) = &file.process { " by " code { (t(process)) } }
                        }
                        "; " code { (t(&one.add)) }
                        @if let Some(with) = &one.with { ", or " (t(with)) ", which requires it" }
                        @if let Some(why) = &one.allowed { span.muted { ", allowed: " (t(why)) } }
                    }
                }
                @for one in &usage.unused {
                    li {
                        "uses nothing of " code { (t(&one.requirement)) } ", " (t(&one.place))
                        @if let Some(why) = &one.allowed { span.muted { ", allowed: " (t(why)) } }
                    }
                }
            }
        }
    }
}

fn words(usage: &UsageRecord) -> String {
    let parts = [
        (usage.to_declare().count(), "undeclared"),
        (usage.looked_for().count(), "only looked for"),
        (usage.to_remove().count(), "unused"),
    ];
    let parts = parts.into_iter().filter(|(number, _)| *number > 0);
    let parts: Vec<String> = parts
        .map(|(number, word)| format!("{number} {word}"))
        .collect();
    if parts.is_empty() {
        return "all allowed".to_owned();
    }
    parts.join(", ")
}
