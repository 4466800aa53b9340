//! The pages: one file each, without scripts and without anything from the network.
//!
//! Every text of strangers goes through [`t`]; maud escapes it. Shapes have colours of their own beside those of the
//! style sheet, so that a server that forbids styles (Jenkins, as it comes) shows a plain page, not a black one.

mod changes;
mod declared;
mod failures;
mod gantt;
mod picture;
mod tables;

pub(super) mod audit;
pub(super) mod index;
pub(super) mod run;

use std::path::Path;
use std::time::Duration;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::night::inside;
use crate::record::{Outcome, Record, Scope};
use crate::words::{clean, seconds};

const STYLE: &str = include_str!("style.css");

/// Nothing may be loaded and nothing may run.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// A whole page.
fn document(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (t(title)) }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (body) } }
        }
    };
    page.into_string()
}

/// Text of strangers, cleaned.
fn t(text: &str) -> String {
    clean(text, false)
}

/// A duration of a record.
fn time(milliseconds: u64) -> String {
    seconds(Duration::from_millis(milliseconds))
}

/// A moment of a record, for people.
fn moment(rfc3339: &str) -> String {
    t(&rfc3339.replace('T', " ").replace('Z', " UTC"))
}

/// A relative address of a file in the run's folder; none for a path that leads out of it.
fn address(path: &Path) -> Option<String> {
    let text = path.to_str().filter(|_| inside(path))?;
    Some(format!("./{}", encoded(text)))
}

/// A path with all but the plainest characters encoded.
fn encoded(path: &str) -> String {
    path.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// A class of the style sheet and a colour for where there is none.
fn tone(outcome: &Outcome) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Built {} => ("built", "#3f8a6c"),
        Outcome::Reused { .. } => ("reused", "#6d87ab"),
        Outcome::Failed { .. } => ("failed", "#c0453d"),
        Outcome::Skipped { .. } => ("skipped", "#a9a59c"),
        Outcome::Interrupted {} => ("interrupted", "#b98a33"),
    }
}

/// The outcome in a word.
fn word(outcome: &Outcome) -> &'static str {
    outcome.word()
}

/// The commit, as far as people compare them.
fn commit(record: &Record) -> Option<String> {
    let source = record.source.as_ref()?;
    Some(t(&source.commit).chars().take(12).collect())
}

/// What was asked for, where it is not everything.
fn scope(scope: &Scope) -> Option<String> {
    match scope {
        Scope::All => None,
        Scope::Only { packages } => Some(format!("only {}", t(&packages.join(", ")))),
        Scope::Since { run } => Some(format!("what changed since {}", t(run))),
        Scope::Resume { run } => Some(format!("resumed from {}", t(run))),
    }
}

/// A label that fits, with an ellipsis where it was cut.
fn cut(text: &str, most: usize) -> String {
    let text = t(text);
    if text.chars().count() <= most {
        return text;
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// A place in a picture, with no more digits than a screen can tell.
fn place(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A share of a whole in per cent.
#[expect(clippy::cast_precision_loss, reason = "places in a picture")]
fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_stay_in_the_folder() {
        let of = |path: &str| address(Path::new(path));
        assert_eq!(of("logs/a b#?%.log").unwrap(), "./logs/a%20b%23%3F%25.log");
        assert_eq!(
            of("javascript:alert(1)").unwrap(),
            "./javascript%3Aalert%281%29"
        );
        for outside in ["../x", "/etc/passwd", "a/../../x"] {
            assert_eq!(of(outside), None, "{outside}");
        }
    }
}
