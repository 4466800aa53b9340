//! What a comparison found: places, kinds, evidence, causes. All of it can be written as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cause::Cause;

/// The version of these types in files; a newer one is refused by whoever reads them.
pub const FORMAT: u32 = 1;
/// Most differences that are listed of one comparison; the others are counted.
pub(super) const MOST: usize = 2_000;

/// How two packages or two trees compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// `FORMAT`, when it was written.
    pub format: u32,
    /// In one word.
    pub verdict: Verdict,
    /// What differs, in the order of the places.
    pub differences: Vec<Difference>,
    /// What differs because it must: signatures, and digests and sizes of what else differs (`docs/audit.md`).
    #[serde(default)]
    pub by_nature: Vec<Difference>,
    /// Differences that were found beyond the most that are listed.
    #[serde(default)]
    pub left_out: u64,
}

/// The answer of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every byte is the same.
    Identical,
    /// Only what differs by nature differs.
    SameButByNature,
    /// Something else differs.
    Different,
}

impl Comparison {
    /// Two that are the same, byte for byte.
    pub fn identical() -> Self {
        Self::new(Vec::new(), Vec::new(), 0)
    }

    pub(super) fn new(
        mut differences: Vec<Difference>,
        mut by_nature: Vec<Difference>,
        left_out: u64,
    ) -> Self {
        differences.sort_by(|a, b| (&a.place, a.kind).cmp(&(&b.place, b.kind)));
        by_nature.sort_by(|a, b| (&a.place, a.kind).cmp(&(&b.place, b.kind)));
        let verdict = match (differences.is_empty(), by_nature.is_empty()) {
            (true, true) => Verdict::Identical,
            (true, false) => Verdict::SameButByNature,
            (false, _) => Verdict::Different,
        };
        Self {
            format: FORMAT,
            verdict,
            differences,
            by_nature,
            left_out,
        }
    }

    /// Whether every byte is the same.
    pub fn is_identical(&self) -> bool {
        self.verdict == Verdict::Identical
    }

    /// How many differences each cause has, the most frequent first. What only follows from others is left out,
    /// unless there is nothing else.
    pub fn causes(&self) -> Vec<(Cause, usize)> {
        let mut counts: BTreeMap<Cause, usize> = BTreeMap::new();
        for difference in &self.differences {
            *counts.entry(difference.cause).or_default() += 1;
        }
        if counts.len() > 1 {
            counts.remove(&Cause::Consequence);
        }
        let mut causes: Vec<_> = counts.into_iter().collect();
        causes.sort_by_key(|(cause, count)| {
            (*cause == Cause::Unknown, std::cmp::Reverse(*count), *cause)
        });
        causes
    }
}

/// One thing that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// Where: from the outside to the inside, as `header`, `BUILDTIME` or `usr/lib/a.a`, `x.o`, `.rodata`.
    pub place: Vec<String>,
    /// What differs there.
    pub kind: Kind,
    /// What is there in both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// Why, as far as the bytes tell.
    pub cause: Cause,
    /// What in the bytes shows that cause, in words.
    pub because: String,
    /// What usually mends it, in words; empty where nothing needs to be.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
    /// The package or the scriptlet that the file comes from, in comparisons of environments.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub origin: String,
}

/// What of a place differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Only the first side has it.
    OnlyInFirst,
    /// Only the second side has it.
    OnlyInSecond,
    /// File, folder, link: not the same.
    Type,
    /// Permissions.
    Mode,
    /// User or group.
    Owner,
    /// Modification time.
    Mtime,
    /// The target of a link.
    Target,
    /// Capabilities and other extended attributes.
    Attributes,
    /// The value of a header tag or of a field of a format.
    Value,
    /// The same entries in another order.
    Order,
    /// The bytes.
    Content,
}

impl Kind {
    /// In words, to be read after the place.
    pub fn words(self) -> &'static str {
        match self {
            Self::OnlyInFirst => "is only in the first",
            Self::OnlyInSecond => "is only in the second",
            Self::Type => "is of another type",
            Self::Mode => "has other permissions",
            Self::Owner => "has another owner",
            Self::Mtime => "has another modification time",
            Self::Target => "points elsewhere",
            Self::Attributes => "has other attributes",
            Self::Value => "has another value",
            Self::Order => "has its entries in another order",
            Self::Content => "has other content",
        }
    }
}

/// What both sides have at the first place where they differ; bounded, whatever the sides' sizes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The first byte that differs, from the beginning of the innermost place.
    pub offset: u64,
    /// The first side's bytes from there, a few before and after.
    pub first: Excerpt,
    /// The second side's.
    pub second: Excerpt,
    /// For text: the lines that differ, as a unified diff.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub lines: String,
}

/// A few bytes of one side.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Excerpt {
    /// Hexadecimal, a blank between bytes; empty where the value is no bytes (a mode, an owner).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hex: String,
    /// The same as text, with a dot for what cannot be printed.
    pub text: String,
}

impl Evidence {
    /// Two values that are not bytes of a file: modes, owners, numbers, lists.
    pub(super) fn values(first: impl Into<String>, second: impl Into<String>) -> Self {
        let excerpt = |text: String| Excerpt {
            hex: String::new(),
            text: shortened(&text),
        };
        Self {
            first: excerpt(first.into()),
            second: excerpt(second.into()),
            ..Self::default()
        }
    }

    /// The bytes of both sides around `offset`.
    pub(super) fn bytes(offset: usize, first: &[u8], second: &[u8]) -> Self {
        Self {
            offset: offset as u64,
            first: Excerpt::around(first, offset),
            second: Excerpt::around(second, offset),
            lines: String::new(),
        }
    }
}

/// Bytes shown before and after the first that differs.
const BEFORE: usize = 16;
const AFTER: usize = 32;
const LONGEST_VALUE: usize = 400;

impl Excerpt {
    fn around(bytes: &[u8], offset: usize) -> Self {
        let start = offset.saturating_sub(BEFORE).min(bytes.len());
        let end = offset.saturating_add(AFTER).min(bytes.len());
        let shown = &bytes[start..end];
        let hex: Vec<String> = shown.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            hex: hex.join(" "),
            text: printable(shown),
        }
    }
}

/// Bytes as ASCII text, with a dot for what cannot be printed.
pub(super) fn printable(bytes: &[u8]) -> String {
    let shown = |byte: &u8| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => '.',
    };
    bytes.iter().map(shown).collect()
}

/// A name of a stranger for a place: no control characters, not longer than a path.
pub(super) fn named(bytes: &[u8]) -> String {
    shortened(&crate::words::clean(&String::from_utf8_lossy(bytes), false))
}

pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_VALUE) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
