//! The same entries in another order, and what ordered them.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::{Cause, Finding};
use crate::compare::conditions::{Conditions, Varied};

/// Whether two lists have the same entries, each as often.
pub(in crate::compare) fn same_entries(first: &[&[u8]], second: &[&[u8]]) -> bool {
    if first.len() != second.len() {
        return false;
    }
    let mut counts: HashMap<&[u8], i64> = HashMap::new();
    for entry in first {
        *counts.entry(entry).or_default() += 1;
    }
    for entry in second {
        *counts.entry(entry).or_default() -= 1;
    }
    counts.values().all(|count| *count == 0)
}

/// Why the same entries stand in another order.
pub(in crate::compare) fn order(
    first: &[&[u8]],
    second: &[&[u8]],
    conditions: &Conditions,
) -> Finding {
    let (first, second) = moved(first, second);
    let locale = conditions.varies(Varied::Locale) || !knows_locales(conditions);
    let (plain, second_plain) = (sorted(first, byte_order), sorted(second, byte_order));
    let collated =
        |entries: &[&[u8]]| sorted(entries, letters_alone) || sorted(entries, signs_first);
    if locale && ((plain && collated(second)) || (collated(first) && second_plain)) {
        return Finding::new(
            Cause::Locale,
            "one side is sorted by bytes, the other by letters, as locales have it",
        );
    }
    let directory = conditions.varies(Varied::DirectoryOrder);
    let reversed = first.iter().eq(second.iter().rev());
    if directory
        && (reversed
            || sorted(first, |a, b| byte_order(b, a))
            || sorted(second, |a, b| byte_order(b, a)))
    {
        return Finding::new(
            Cause::DirectoryOrder,
            "one order is that of the folder, listed the other way round",
        );
    }
    let parallel = conditions.varies(Varied::Processors) || conditions.varies(Varied::JobOrder);
    match (directory, parallel) {
        (true, false) => Finding::new(
            Cause::DirectoryOrder,
            "the same entries, and the order of directories was varied",
        ),
        (false, true) => Finding::new(
            Cause::Parallelism,
            "the same entries, and how many jobs ran at once was varied",
        ),
        (true, true) if plain || second_plain => Finding::new(
            Cause::DirectoryOrder,
            "one side is sorted, the other is not: a folder that was listed as it lay",
        ),
        (true, true) => Finding::new(
            Cause::Parallelism,
            "the same entries, neither sorted nor reversed: the order in which jobs ended",
        ),
        (false, false) => match super::unexplained(conditions) {
            Finding {
                cause: Cause::Unknown,
                ..
            } if reversed || plain || second_plain => Finding::new(
                Cause::DirectoryOrder,
                "the same entries, one side sorted: a folder that was listed as it lay",
            ),
            Finding {
                cause: Cause::Unknown,
                ..
            } => Finding::new(
                Cause::Random,
                "the same entries, sorted on neither side: the order of a hash table, of a folder, or of jobs",
            ),
            other => other,
        },
    }
}

fn knows_locales(conditions: &Conditions) -> bool {
    conditions.first.locale.is_some() && conditions.second.locale.is_some()
}

/// Without what both begin and end with.
fn moved<'a, 'b>(
    first: &'b [&'a [u8]],
    second: &'b [&'a [u8]],
) -> (&'b [&'a [u8]], &'b [&'a [u8]]) {
    let (before, after) = common_ends(first, second);
    (
        &first[before..first.len() - after],
        &second[before..second.len() - after],
    )
}

/// How much two slices begin with together, and how much of the rest they end with together.
pub(in crate::compare) fn common_ends<T: PartialEq>(first: &[T], second: &[T]) -> (usize, usize) {
    let before = first.iter().zip(second).take_while(|(a, b)| a == b).count();
    let rest = first.len().min(second.len()) - before;
    let after = first
        .iter()
        .rev()
        .zip(second.iter().rev())
        .take(rest)
        .take_while(|(a, b)| a == b)
        .count();
    (before, after)
}

fn sorted(entries: &[&[u8]], by: impl Fn(&[u8], &[u8]) -> Ordering) -> bool {
    entries
        .windows(2)
        .all(|pair| by(pair[0], pair[1]) != Ordering::Greater)
}

fn byte_order(a: &[u8], b: &[u8]) -> Ordering {
    a.cmp(b)
}

/// As most locales sort since glibc 2.28: signs before digits before letters, whatever their case.
fn signs_first(a: &[u8], b: &[u8]) -> Ordering {
    let ranks = |text: &[u8]| {
        text.iter()
            .map(|byte| match byte {
                b'0'..=b'9' => (1, *byte),
                b'a'..=b'z' | b'A'..=b'Z' | 0x80.. => (2, byte.to_ascii_lowercase()),
                sign => (0, *sign),
            })
            .collect::<Vec<_>>()
    };
    ranks(a).cmp(&ranks(b))
}

/// As most locales sorted before, and other libraries do: letters and digits alone, whatever their case.
fn letters_alone(a: &[u8], b: &[u8]) -> Ordering {
    let letters = |text: &[u8]| {
        text.iter()
            .filter(|byte| byte.is_ascii_alphanumeric() || **byte >= 0x80)
            .map(u8::to_ascii_lowercase)
            .collect::<Vec<_>>()
    };
    letters(a).cmp(&letters(b))
}
