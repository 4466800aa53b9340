//! `junit.xml`: the packages as test cases, for CI servers.
//!
//! What is written here fits the schema of Jenkins' xUnit plugin, the strictest reader, and that of Ant, of
//! which the others are descendants: no attribute but those that both know, in the order that both ask for.

use std::path::Path;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

use super::counts::{Counts, took};
use super::night::{class_name, excerpt, limit_figure};
use crate::record::{Class, LimitRecord, Outcome, PackageRecord, Record};
use crate::words::clean;

type Xml = Writer<Vec<u8>>;

/// The suite of a run; excerpts of logs are read from its folder where the record has none.
pub(super) fn suite(record: &Record, folder: &Path) -> String {
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    // Nothing can go wrong in memory.
    let _infallible = document(&mut xml, record, folder);
    let mut text = String::from_utf8(xml.into_inner()).unwrap_or_default();
    text.push('\n');
    text
}

fn document(xml: &mut Xml, record: &Record, folder: &Path) -> std::io::Result<()> {
    let counts = Counts::of(record);
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    open(xml, "testsuites", &[])?;
    let name = text(&record.project);
    let errors = record
        .packages
        .iter()
        .filter(|package| is_error(&package.outcome));
    let errors = errors.count();
    let failures = counts.failed + counts.interrupted - errors;
    open(
        xml,
        "testsuite",
        &[
            ("name", &name),
            ("package", &name),
            ("id", "0"),
            // Reports tell nothing of the host.
            ("hostname", "localhost"),
            ("timestamp", record.started.trim_end_matches('Z')),
            ("tests", &counts.total().to_string()),
            ("failures", &failures.to_string()),
            ("errors", &errors.to_string()),
            ("skipped", &counts.skipped.to_string()),
            ("time", &format!("{:.3}", took(record).as_secs_f64())),
        ],
    )?;
    properties(xml, record)?;
    for package in &record.packages {
        case(xml, &name, package, folder)?;
    }
    for name in ["system-out", "system-err"] {
        xml.write_event(Event::Empty(BytesStart::new(name)))?;
    }
    close(xml, "testsuite")?;
    close(xml, "testsuites")
}

fn properties(xml: &mut Xml, record: &Record) -> std::io::Result<()> {
    open(xml, "properties", &[])?;
    let mut property = |name: &str, value: &str| {
        let mut start = BytesStart::new("property");
        start.push_attribute(("name", name));
        start.push_attribute(("value", text(value).as_str()));
        xml.write_event(Event::Empty(start))
    };
    property("run", &record.run)?;
    property("tool", &record.tool)?;
    property("lock", &record.lock.to_string())?;
    property("environment", &record.environment.to_string())?;
    if let Some(source) = &record.source {
        property("commit", &source.commit)?;
    }
    close(xml, "properties")
}

fn case(
    xml: &mut Xml,
    project: &str,
    package: &PackageRecord,
    folder: &Path,
) -> std::io::Result<()> {
    let seconds = std::time::Duration::from_millis(package.milliseconds).as_secs_f64();
    let (name, time) = (text(&package.name), format!("{seconds:.3}"));
    let attributes = [
        ("name", name.as_str()),
        ("classname", project),
        ("time", time.as_str()),
    ];
    let (element, kind, message) = match &package.outcome {
        Outcome::Built {} | Outcome::Reused { .. } => {
            return xml.write_event(Event::Empty(start("testcase", &attributes)));
        }
        Outcome::Skipped { because } => (
            "skipped",
            None,
            format!("needs `{because}`, which was not built"),
        ),
        outcome @ Outcome::Failed { reason, class, .. } => {
            let element = if is_error(outcome) {
                "error"
            } else {
                "failure"
            };
            (element, Some(class_name(*class)), reason.clone())
        }
        Outcome::Interrupted {} => (
            "error",
            Some("interrupted"),
            "the run ended before it did".to_owned(),
        ),
    };
    open(xml, "testcase", &attributes)?;
    let message = text(&message);
    let mut about = vec![("message", message.as_str())];
    about.extend(kind.map(|kind| ("type", kind)));
    if element == "skipped" {
        xml.write_event(Event::Empty(start(element, &about)))?;
    } else {
        open_inline(xml, element, &about, &details(package, folder))?;
    }
    close(xml, "testcase")
}

/// The machine stood in the way, not the package.
fn is_error(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Failed { class, .. } => *class == Class::Infrastructure,
        Outcome::Interrupted {} => true,
        _ => false,
    }
}

/// What a reader of a CI server sees of a failure.
fn details(package: &PackageRecord, folder: &Path) -> String {
    let mut lines = Vec::new();
    if let Outcome::Failed { phase, limit, .. } = &package.outcome {
        lines.extend(phase.iter().map(|phase| format!("in {phase}")));
        lines.extend(limit.iter().map(limit_words));
        lines.extend(limit.iter().filter_map(|limit| limit.suggestion.clone()));
    }
    lines.extend(excerpt(folder, package));
    lines.extend(
        package
            .log
            .iter()
            .map(|log| format!("log: {}", log.display())),
    );
    text(&lines.join("\n"))
}

fn limit_words(limit: &LimitRecord) -> String {
    let peak = limit
        .peak
        .map(|peak| format!(", peak {}", limit_figure(limit, peak)));
    let process = limit
        .process
        .as_ref()
        .map(|process| format!(", by {process}"));
    format!(
        "limit on {}: {}{}{}",
        limit.limit,
        limit_figure(limit, limit.value),
        peak.unwrap_or_default(),
        process.unwrap_or_default()
    )
}

/// Without what XML cannot hold.
fn text(text: &str) -> String {
    clean(text, true)
        .chars()
        .filter(|c| !matches!(c, '\u{fffe}' | '\u{ffff}'))
        .collect()
}

fn start<'a>(name: &'a str, attributes: &[(&str, &str)]) -> BytesStart<'a> {
    let mut start = BytesStart::new(name);
    for attribute in attributes {
        start.push_attribute(*attribute);
    }
    start
}

fn open(xml: &mut Xml, name: &str, attributes: &[(&str, &str)]) -> std::io::Result<()> {
    xml.write_event(Event::Start(start(name, attributes)))
}

fn open_inline(
    xml: &mut Xml,
    name: &str,
    attributes: &[(&str, &str)],
    content: &str,
) -> std::io::Result<()> {
    open(xml, name, attributes)?;
    xml.write_event(Event::Text(BytesText::new(content)))?;
    close(xml, name)
}

fn close(xml: &mut Xml, name: &str) -> std::io::Result<()> {
    xml.write_event(Event::End(BytesEnd::new(name)))
}
