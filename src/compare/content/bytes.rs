//! Contents of no known format: the places where they differ, with the cause of each.

use std::io::{self, Read};

use similar::TextDiff;

use crate::compare::cause::{self, Cause, Finding, Format, Site};
use crate::compare::difference::{Evidence, Kind};
use crate::compare::found::{Found, Place};
use crate::files::fill;

/// Text above this is not shown as lines.
const LARGEST_TEXT: usize = 1 << 20;
const MOST_LINES: usize = 24;
const LONGEST_LINE: usize = 200;

/// Compares two contents byte by byte; one difference for each cause.
pub(super) fn compare(
    place: &Place,
    first: &[u8],
    second: &[u8],
    format: Format,
    found: &mut Found<'_>,
) {
    if first == second {
        return;
    }
    if let Some(finding) = reordered(first, second, found) {
        let mut evidence = evidence(first, second, &Site::whole(first, second));
        evidence.lines = lines(first, second);
        found.add(place, Kind::Order, format, finding, Some(evidence));
        return;
    }
    let mut groups: Vec<(Finding, Site<'_>, usize)> = Vec::new();
    for site in cause::sites(first, second) {
        let finding = cause::explain(&site, format, found.conditions)
            .unwrap_or_else(|| cause::unexplained(found.conditions));
        match groups
            .iter_mut()
            .find(|(other, ..)| other.cause == finding.cause)
        {
            Some((_, _, more)) => *more += 1,
            None => groups.push((finding, site, 0)),
        }
    }
    let text = lines(first, second);
    for (mut finding, site, more) in groups {
        if more > 0 {
            finding.because = format!("{} (the first of {} places)", finding.because, more + 1);
        }
        let mut evidence = evidence(first, second, &site);
        evidence.lines.clone_from(&text);
        found.add(place, Kind::Content, format, finding, Some(evidence));
    }
}

fn evidence(first: &[u8], second: &[u8], site: &Site<'_>) -> Evidence {
    let mut evidence = Evidence::bytes(site.offset(), first, second);
    if site.offset() != site.second_offset() {
        evidence.second = Evidence::bytes(site.second_offset(), second, &[]).first;
    }
    evidence
}

/// Whether both have the same lines, or the same words in one line, in another order.
fn reordered(first: &[u8], second: &[u8], found: &Found<'_>) -> Option<Finding> {
    const LONGEST: usize = 8 << 20;
    if first.len() > LONGEST
        || first.len().abs_diff(second.len()) > 2
        || !(is_text(first) && is_text(second) || is_table(first))
    {
        return None;
    }
    [b'\n', 0].into_iter().find_map(|separator| {
        let pieces = |bytes: &'_ [u8]| {
            bytes
                .strip_suffix(&[separator])
                .unwrap_or(bytes)
                .split(|byte| *byte == separator)
                .map(<[u8]>::to_vec)
                .collect::<Vec<_>>()
        };
        let (a, b) = (pieces(first), pieces(second));
        let (a, b): (Vec<&[u8]>, Vec<&[u8]>) = (
            a.iter().map(Vec::as_slice).collect(),
            b.iter().map(Vec::as_slice).collect(),
        );
        if a.len() > 1 && cause::same_entries(&a, &b) {
            return Some(cause::order(&a, &b, found.conditions));
        }
        words_of_one_line(&a, &b, found)
    })
}

/// One line alone differs, and has the same words in another order.
fn words_of_one_line(first: &[&[u8]], second: &[&[u8]], found: &Found<'_>) -> Option<Finding> {
    if first.len() != second.len() {
        return None;
    }
    let mut differing = first.iter().zip(second).filter(|(a, b)| a != b);
    let (a, b) = differing.next()?;
    if differing.next().is_some() {
        return None;
    }
    let words = |line: &&'_ [u8]| {
        line.split(|byte| {
            matches!(
                byte,
                b' ' | b',' | b';' | b'\t' | b':' | b'[' | b']' | b'{' | b'}'
            )
        })
        .filter(|word| !word.is_empty())
        .map(<[u8]>::to_vec)
        .collect::<Vec<_>>()
    };
    let (a, b) = (words(a), words(b));
    let (a, b): (Vec<&[u8]>, Vec<&[u8]>) = (
        a.iter().map(Vec::as_slice).collect(),
        b.iter().map(Vec::as_slice).collect(),
    );
    (a.len() > 2 && cause::same_entries(&a, &b)).then(|| cause::order(&a, &b, found.conditions))
}

/// Text in UTF-8 or a superset of ASCII, to be read by lines.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    const SAMPLE: usize = 8192;
    let sample = &bytes[..bytes.len().min(SAMPLE)];
    !sample
        .iter()
        .any(|byte| *byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b | 0x08))
}

/// A table of texts that end with NUL.
fn is_table(bytes: &[u8]) -> bool {
    const SAMPLE: usize = 8192;
    let sample = &bytes[..bytes.len().min(SAMPLE)];
    sample.contains(&0)
        && !sample
            .iter()
            .any(|byte| *byte < b' ' && !matches!(byte, 0 | b'\t' | b'\n' | b'\r'))
}

/// The lines that differ, as a unified diff of bounded length; nothing for what is no text.
fn lines(first: &[u8], second: &[u8]) -> String {
    if !is_text(first) || !is_text(second) || first.len().max(second.len()) > LARGEST_TEXT {
        return String::new();
    }
    let (a, b) = (
        String::from_utf8_lossy(first),
        String::from_utf8_lossy(second),
    );
    let diff = TextDiff::configure()
        .timeout(std::time::Duration::from_secs(2))
        .diff_lines(&*a, &*b);
    let unified = diff.unified_diff().context_radius(1).to_string();
    let mut text = String::new();
    for (number, line) in unified.lines().enumerate() {
        if number == MOST_LINES {
            text.push_str("…\n");
            break;
        }
        let line = crate::words::clean(line, false);
        match line.char_indices().nth(LONGEST_LINE) {
            Some((at, _)) => text.extend([&line[..at], "…\n"]),
            None => text.extend([&line, "\n"]),
        }
    }
    text
}

/// Compares two contents as they stream, for files too large to be kept: the bytes around the first difference.
pub(in crate::compare) fn stream(
    place: &Place,
    first: &mut dyn Read,
    second: &mut dyn Read,
    found: &mut Found<'_>,
) -> io::Result<()> {
    const PIECE: usize = 1 << 20;
    let (mut a, mut b) = (vec![0; PIECE], vec![0; PIECE]);
    let mut before = 0;
    loop {
        let (own, other) = (
            fill(&mut &mut *first, &mut a)?,
            fill(&mut &mut *second, &mut b)?,
        );
        if a[..own] != b[..other] {
            let site = Site::whole(&a[..own], &b[..other]);
            let mut evidence = evidence(&a[..own], &b[..other], &site);
            evidence.offset += before;
            let finding = cause::sites(&a[..own], &b[..other])
                .iter()
                .find_map(|site| cause::explain(site, Format::Bytes, found.conditions))
                .unwrap_or_else(|| match cause::unexplained(found.conditions) {
                    Finding {
                        cause: Cause::Unknown,
                        ..
                    } => Finding::new(Cause::Unknown, "it is too large to be looked into"),
                    other => other,
                });
            found.add(place, Kind::Content, Format::Bytes, finding, Some(evidence));
            return Ok(());
        }
        if own == 0 {
            return Ok(());
        }
        before += own as u64;
    }
}
