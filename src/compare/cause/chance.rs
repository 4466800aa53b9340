//! Bytes that look as if chance had made them.

use std::sync::LazyLock;

use regex::Regex;

use super::facts::touches;
use super::site::{Site, Window};
use super::{Cause, Finding};
use crate::compare::difference::printable;

/// Forms of text that chance makes, and what they are.
const FORMS: [(&str, &str); 5] = [
    (
        r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}",
        "UUIDs",
    ),
    (
        r"\b(?:tmp[._-]?|cc|pip-|Rtmp)[0-9A-Za-z_]{6,12}\b",
        "names of temporary files",
    ),
    (r"\b0x(?:7f|5[56])[0-9a-f]{10}\b", "addresses of memory"),
    (
        r"\b[0-9A-Fa-f]{16,128}\b",
        "hexadecimal numbers of one length: random, or digests of something that differs",
    ),
    (
        r"\b[0-9]{4,20}\b",
        "numbers that fit no condition: random, or the number of a process",
    ),
];

static COMPILED: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    FORMS
        .iter()
        .filter_map(|(form, what)| Some((Regex::new(form).ok()?, *what)))
        .collect()
});

/// Text that chance made, on both sides.
pub(super) fn text(site: &Site<'_>) -> Option<Finding> {
    let (first, second) = site.windows();
    COMPILED
        .iter()
        .find_map(|(regex, what)| {
            let find = |window: &Window<'_>| {
                let text = printable(window.bytes);
                regex
                    .find_iter(&text)
                    .find(|found| touches(&found.range(), &window.core))
                    .map(|found| found.as_str().to_owned())
            };
            let (a, b) = (find(&first)?, find(&second)?);
            let alike = a.len().abs_diff(b.len()) <= 2;
            (a != b && alike)
                .then(|| Finding::new(Cause::Random, format!("`{a}` and `{b}` are {what}")))
        })
        .or_else(|| base64(&first, &second))
}

/// Long words of one length out of the letters of base64, with no word in common.
fn base64(first: &Window<'_>, second: &Window<'_>) -> Option<Finding> {
    const SHORTEST: usize = 12;
    let word = |window: &Window<'_>| {
        let is_letter = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+/=_-".contains(byte);
        let before = window.bytes[..window.core.start]
            .iter()
            .rev()
            .take_while(is_letter)
            .count();
        let word: Vec<u8> = window.bytes[window.core.start - before..]
            .iter()
            .take_while(is_letter)
            .copied()
            .collect();
        let mixed = word.iter().any(u8::is_ascii_digit)
            && word.iter().any(u8::is_ascii_uppercase)
            && word.iter().any(u8::is_ascii_lowercase);
        (word.len() >= SHORTEST && mixed && is_varied(&word)).then(|| printable(&word))
    };
    let (a, b) = (word(first)?, word(second)?);
    (a.len() == b.len() && a != b)
        .then(|| Finding::new(Cause::Random, format!("`{a}` and `{b}` look random")))
}

/// Binary data that chance made, on both sides.
pub(super) fn binary(site: &Site<'_>) -> Option<Finding> {
    const SHORTEST: usize = 8;
    let (first, second) = site.windows();
    if let Some(found) = addresses(&first, &second) {
        return Some(found);
    }
    let (a, b) = (
        &first.bytes[first.core.clone()],
        &second.bytes[second.core.clone()],
    );
    let same_length = site.first_core.len() == site.second_core.len();
    (same_length
        && a.len() >= SHORTEST
        && is_varied(a)
        && is_varied(b)
        && !is_text(a)
        && !is_text(b))
    .then(|| {
        Finding::new(
            Cause::Random,
            format!(
                "{} bytes at one place look random in both, or like memory that was never written",
                site.first_core.len()
            ),
        )
    })
}

/// Words of eight bytes that point into a program or its libraries.
fn addresses(first: &Window<'_>, second: &Window<'_>) -> Option<Finding> {
    let address = |window: &Window<'_>| {
        (0..8).find_map(|back| {
            let at = window.core.start.checked_sub(back)?;
            let word: [u8; 8] = window.bytes.get(at..at + 8)?.try_into().ok()?;
            let points = word[6..] == [0, 0]
                && matches!(word[5], 0x7f | 0x55 | 0x56)
                && (window.start + at).is_multiple_of(4);
            points.then(|| u64::from_le_bytes(word))
        })
    };
    let (a, b) = (address(first)?, address(second)?);
    Some(Finding::new(
        Cause::Random,
        format!("{a:#x} and {b:#x} are addresses of memory, which differ each time a program runs"),
    ))
}

/// Whether hardly a byte is there more often than chance would have it.
fn is_varied(bytes: &[u8]) -> bool {
    let bytes = &bytes[..bytes.len().min(super::site::AROUND)];
    let mut counts = [0_usize; 256];
    for byte in bytes {
        counts[usize::from(*byte)] += 1;
    }
    let distinct = counts.iter().filter(|count| **count > 0).count();
    // Of 256 random bytes about 162 are distinct, of 16 about 15.5.
    let expected = match bytes.len() {
        0..=32 => bytes.len() * 3 / 4,
        length => 24 + (length - 32) * 2 / 5,
    };
    distinct >= expected.min(110)
}

fn is_text(bytes: &[u8]) -> bool {
    let plain = |byte: &&u8| matches!(**byte, b' '..=b'~' | b'\n' | b'\t');
    bytes.iter().filter(plain).count() * 10 >= bytes.len() * 9
}
