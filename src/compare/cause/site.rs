//! The places where two contents differ, each with what is around it.

use std::ops::Range;

use similar::{Algorithm, DiffOp, capture_diff_slices};

/// Places that are looked at in one pair of contents.
const MOST: usize = 64;
/// Equal bytes between two differences that make them one place.
const GAP: usize = 8;
/// What around a place the rules see.
pub(super) const AROUND: usize = 256;
/// Contents with more lines are not compared by lines.
const MOST_LINES: usize = 20_000;
const MOST_BYTES: usize = 4 << 20;

/// One place where contents differ: the whole contents, and in each the range that has no equal on the other side.
#[derive(Debug, Clone)]
pub(in crate::compare) struct Site<'a> {
    pub(super) first: &'a [u8],
    pub(super) second: &'a [u8],
    pub(super) first_core: Range<usize>,
    pub(super) second_core: Range<usize>,
}

/// One side of a site: what is around the difference, and where in it the difference is.
#[derive(Debug)]
pub(super) struct Window<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) core: Range<usize>,
    /// Where in the content the window begins.
    pub(super) start: usize,
}

impl<'a> Site<'a> {
    /// Two whole values, as one place.
    pub(in crate::compare) fn whole(first: &'a [u8], second: &'a [u8]) -> Self {
        trimmed(first, second, 0..first.len(), 0..second.len())
    }

    /// The first byte that differs, in the first side and in the second.
    pub(in crate::compare) fn offset(&self) -> usize {
        self.first_core.start
    }

    pub(in crate::compare) fn second_offset(&self) -> usize {
        self.second_core.start
    }

    pub(super) fn windows(&self) -> (Window<'a>, Window<'a>) {
        (
            window(self.first, &self.first_core),
            window(self.second, &self.second_core),
        )
    }
}

fn window<'a>(bytes: &'a [u8], core: &Range<usize>) -> Window<'a> {
    let start = core.start.saturating_sub(AROUND);
    let end = core
        .end
        .min(core.start + AROUND)
        .saturating_add(AROUND)
        .min(bytes.len());
    let core_end = core.end.min(core.start + AROUND) - start;
    Window {
        bytes: &bytes[start..end],
        core: core.start - start..core_end,
        start,
    }
}

/// Where `first` and `second` differ, at most `MOST` places.
pub(in crate::compare) fn sites<'a>(first: &'a [u8], second: &'a [u8]) -> Vec<Site<'a>> {
    if first.len() == second.len() {
        return runs(first, second);
    }
    match separator(first).filter(|own| separator(second) == Some(*own)) {
        Some(separator) if first.len().max(second.len()) <= MOST_BYTES => {
            by_lines(first, second, separator).unwrap_or_else(|| vec![Site::whole(first, second)])
        }
        _ => vec![Site::whole(first, second)],
    }
}

/// What ends the pieces of a text: newlines, or NULs in tables of strings.
fn separator(bytes: &[u8]) -> Option<u8> {
    const SAMPLE: usize = 64 << 10;
    let sample = &bytes[..bytes.len().min(SAMPLE)];
    let odd =
        |byte: &&u8| **byte < b' ' && !matches!(**byte, 0 | b'\t' | b'\n' | b'\r' | 0x0c | 0x1b);
    if sample.iter().filter(odd).count() * 20 > sample.len() {
        return None;
    }
    let count = |wanted: u8| sample.iter().filter(|byte| **byte == wanted).count();
    let (lines, ends) = (count(b'\n'), count(0));
    if ends == 0 {
        Some(b'\n')
    } else {
        (ends > lines).then_some(0)
    }
}

/// Runs of differing bytes in contents of one length.
fn runs<'a>(first: &'a [u8], second: &'a [u8]) -> Vec<Site<'a>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while let Some(start) = differs_from(first, second, at) {
        let end = (start..first.len())
            .find(|&end| first[end] == second[end])
            .unwrap_or(first.len());
        let full = ranges.len() == MOST;
        match ranges.last_mut() {
            Some(last) if start - last.end < GAP => last.end = end,
            _ if full => break,
            _ => ranges.push(start..end),
        }
        at = end;
    }
    let site = |range: Range<usize>| Site {
        first,
        second,
        first_core: range.clone(),
        second_core: range,
    };
    ranges.into_iter().map(site).collect()
}

/// The first byte at or after `at` that differs, found in large steps.
pub(super) fn differs_from(first: &[u8], second: &[u8], at: usize) -> Option<usize> {
    const STEP: usize = 4096;
    let length = first.len().min(second.len());
    let mut start = at;
    while start < length {
        let end = length.min(start + STEP);
        if first[start..end] != second[start..end] {
            return (start..end).find(|&at| first[at] != second[at]);
        }
        start = end;
    }
    (first.len() != second.len() && at <= length).then_some(length)
}

/// The lines that were replaced, each with its counterpart.
fn by_lines<'a>(first: &'a [u8], second: &'a [u8], separator: u8) -> Option<Vec<Site<'a>>> {
    let (a, b) = (lines(first, separator), lines(second, separator));
    if a.len().max(b.len()) > MOST_LINES {
        return None;
    }
    let text = |bytes: &'a [u8], ranges: &[Range<usize>]| {
        ranges
            .iter()
            .map(|range| &bytes[range.clone()])
            .collect::<Vec<_>>()
    };
    let operations = capture_diff_slices(Algorithm::Myers, &text(first, &a), &text(second, &b));
    let mut found = Vec::new();
    let whole = |ranges: &[Range<usize>], at: usize, length: usize, end: usize| {
        let start = ranges.get(at).map_or(end, |range| range.start);
        start
            ..ranges
                .get((at + length).saturating_sub(1))
                .filter(|_| length > 0)
                .map_or(start, |range| range.end)
    };
    for operation in operations {
        if found.len() >= MOST {
            break;
        }
        match operation {
            DiffOp::Equal { .. } => {}
            DiffOp::Replace {
                old_index,
                old_len,
                new_index,
                new_len,
            } if old_len == new_len => {
                for at in 0..old_len.min(MOST - found.len()) {
                    found.push(trimmed(
                        first,
                        second,
                        a[old_index + at].clone(),
                        b[new_index + at].clone(),
                    ));
                }
            }
            other => {
                let (old, new) = (other.old_range(), other.new_range());
                let old = whole(&a, old.start, old.len(), first.len());
                let new = whole(&b, new.start, new.len(), second.len());
                found.push(trimmed(first, second, old, new));
            }
        }
    }
    Some(found)
}

fn lines(bytes: &[u8], separator: u8) -> Vec<Range<usize>> {
    let mut lines = Vec::new();
    let mut start = 0;
    for end in memchr::memchr_iter(separator, bytes) {
        lines.push(start..end + 1);
        start = end + 1;
    }
    if start < bytes.len() {
        lines.push(start..bytes.len());
    }
    lines
}

/// Two ranges without what they begin and end with together.
fn trimmed<'a>(first: &'a [u8], second: &'a [u8], a: Range<usize>, b: Range<usize>) -> Site<'a> {
    let (old, new) = (&first[a.clone()], &second[b.clone()]);
    let before = differs_from(old, new, 0).unwrap_or(old.len());
    let rest = old.len().min(new.len()) - before;
    let after = (0..rest)
        .take_while(|&at| old[old.len() - 1 - at] == new[new.len() - 1 - at])
        .count();
    Site {
        first,
        second,
        first_core: a.start + before..a.end - after,
        second_core: b.start + before..b.end - after,
    }
}
