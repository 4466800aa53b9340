//! Values of the conditions that stand in the bytes.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem;
use regex::Regex;

use super::site::{Site, Window};
use super::{Cause, Finding};
use crate::compare::conditions::{Conditions, Side};
use crate::compare::difference::{named, printable};

/// How a value must stand to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Anywhere, not followed by more of a name.
    Path,
    /// As a word of its own.
    Word,
}

struct Fact<'a> {
    cause: Cause,
    what: &'static str,
    standing: Standing,
    first: Vec<&'a str>,
    second: Vec<&'a str>,
}

/// A value of the conditions that each side has at the place where they differ.
pub(super) fn literal(site: &Site<'_>, conditions: &Conditions) -> Option<Finding> {
    let (first, second) = site.windows();
    let numbers = numbers(conditions);
    facts(conditions, &numbers).into_iter().find_map(|fact| {
        let a = longest(&first, &fact.first, fact.standing);
        let b = longest(&second, &fact.second, fact.standing);
        let one_is_unknown = fact.first.is_empty() || fact.second.is_empty();
        let found = match (a, b) {
            (Some(a), Some(b)) if a != b => format!(
                "the first has {} `{}`, the second `{}`",
                fact.what,
                named(a.as_bytes()),
                named(b.as_bytes())
            ),
            (Some(a), None) if one_is_unknown => {
                format!("the first has {} `{}`", fact.what, named(a.as_bytes()))
            }
            (None, Some(b)) if one_is_unknown => {
                format!("the second has {} `{}`", fact.what, named(b.as_bytes()))
            }
            _ => return None,
        };
        Some(Finding::new(fact.cause, found))
    })
}

/// Processors, user, group, and the umask in both usual forms.
type Numbers = [Option<String>; 5];

/// Numbers of the conditions as text: the fields of a fact borrow from them.
fn numbers(conditions: &Conditions) -> [Numbers; 2] {
    [&conditions.first, &conditions.second].map(|side| {
        let text = |value: Option<u32>| value.map(|value| value.to_string());
        [
            text(side.processors),
            text(side.user.as_ref().map(|user| user.id)),
            text(side.group.as_ref().map(|group| group.id)),
            side.umask.map(|umask| format!("{umask:04o}")),
            side.umask.map(|umask| format!("{umask:03o}")),
        ]
    })
}

#[expect(
    clippy::too_many_lines,
    reason = "one entry for each thing that is known of both sides"
)]
fn facts<'a>(conditions: &'a Conditions, numbers: &'a [Numbers; 2]) -> Vec<Fact<'a>> {
    let (a, b) = (&conditions.first, &conditions.second);
    let mut facts = Vec::new();
    let mut add = |cause, what, standing, first: Vec<&'a str>, second: Vec<&'a str>| {
        let usable = |values: Vec<&'a str>| -> Vec<&'a str> {
            values
                .into_iter()
                .filter(|value| !value.is_empty() && *value != "/")
                .collect()
        };
        let (first, second) = (usable(first), usable(second));
        if first != second {
            facts.push(Fact {
                cause,
                what,
                standing,
                first,
                second,
            });
        }
    };
    let names = |value: fn(&Side) -> Option<&String>| {
        (
            value(a).map(String::as_str).into_iter().collect(),
            value(b).map(String::as_str).into_iter().collect(),
        )
    };
    add(
        Cause::BuildPath,
        "its build path",
        Standing::Path,
        a.paths.iter().map(String::as_str).collect(),
        b.paths.iter().map(String::as_str).collect(),
    );
    let (first, second) = names(|side| side.host.as_ref());
    add(
        Cause::HostName,
        "its host name",
        Standing::Word,
        first,
        second,
    );
    let (first, second) = names(|side| side.user.as_ref().map(|user| &user.name));
    add(Cause::User, "its user", Standing::Word, first, second);
    let (first, second) = names(|side| side.group.as_ref().map(|group| &group.name));
    add(Cause::User, "its group", Standing::Word, first, second);
    add(
        Cause::Kernel,
        "its kernel",
        Standing::Word,
        a.kernel.iter().map(String::as_str).collect(),
        b.kernel.iter().map(String::as_str).collect(),
    );
    let (first, second) = names(|side| side.locale.as_ref());
    add(Cause::Locale, "its locale", Standing::Word, first, second);
    let zones = |side: &'a Side| {
        side.time_zone
            .iter()
            .flat_map(|zone| [zone.as_str(), abbreviation(zone)])
            .collect()
    };
    add(
        Cause::TimeZone,
        "its time zone",
        Standing::Word,
        zones(a),
        zones(b),
    );
    let values = |side: &'a Side| {
        side.variables
            .values()
            .map(String::as_str)
            .filter(|value| value.len() > 1)
            .collect::<Vec<_>>()
    };
    add(
        Cause::Variable,
        "the value of its environment variable",
        Standing::Word,
        values(a),
        values(b),
    );
    let number = |at: usize| {
        (
            numbers[0][at].as_deref().into_iter().collect(),
            numbers[1][at].as_deref().into_iter().collect(),
        )
    };
    for (at, cause, what) in [
        (1, Cause::User, "its user's number"),
        (2, Cause::User, "its group's number"),
        (0, Cause::Parallelism, "its number of processors"),
        (3, Cause::Umask, "its umask"),
        (4, Cause::Umask, "its umask"),
    ] {
        let (first, second) = number(at);
        add(cause, what, Standing::Word, first, second);
    }
    facts
}

/// The name by which times show a zone that is given as POSIX has it: `EST` of `EST5EDT`.
fn abbreviation(zone: &str) -> &str {
    let end = zone.find(|c: char| !c.is_ascii_alphabetic());
    match end {
        Some(end) if end >= 3 && !zone.contains('/') => &zone[..end],
        _ => zone,
    }
}

/// The longest of `values` that stands across the difference.
fn longest<'a>(window: &Window<'_>, values: &[&'a str], standing: Standing) -> Option<&'a str> {
    let stands = |value: &&&str| {
        let found = |start: usize| start..start + value.len();
        memmem::find_iter(window.bytes, value.as_bytes())
            .map(found)
            .any(|at| touches(&at, &window.core) && bounded(window.bytes, &at, standing))
    };
    values
        .iter()
        .filter(stands)
        .max_by_key(|value| value.len())
        .copied()
}

/// Whether a range has a byte of the difference, or lies where bytes were put in.
pub(super) fn touches(range: &Range<usize>, core: &Range<usize>) -> bool {
    if core.is_empty() {
        range.start <= core.start && core.start <= range.end
    } else {
        range.start < core.end && core.start < range.end
    }
}

fn bounded(bytes: &[u8], range: &Range<usize>, standing: Standing) -> bool {
    let part_of_a_name =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let after = part_of_a_name(bytes.get(range.end));
    let before = range.start > 0 && part_of_a_name(bytes.get(range.start - 1));
    // `-j4`: an option's letter is no part of the number.
    let option =
        range.start > 1 && bytes[range.start - 1] == b'j' && bytes[range.start - 2] == b'-';
    !after && (standing == Standing::Path || !before || option)
}

/// Versions of compilers and other tools that name themselves.
pub(super) fn toolchain(site: &Site<'_>) -> Option<Finding> {
    static NAMES: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"(?:GCC: \([^)]{0,80}\)|GNU (?:C|C\+\+|Fortran|AS)[0-9]*|clang version|rustc version|Linker: LLD|mold|go1\.|ghc-|Created-By: |Build-Jdk)[ -~]{0,80}").ok()
    });
    let regex = NAMES.as_ref()?;
    let find = |window: &Window<'_>| {
        let text = printable(window.bytes);
        regex
            .find_iter(&text)
            .find(|found| touches(&found.range(), &window.core))
            .map(|found| found.as_str().to_owned())
    };
    let (first, second) = site.windows();
    let (a, b) = (find(&first)?, find(&second)?);
    (a != b).then(|| {
        Finding::new(
            Cause::Toolchain,
            format!("the first was made by `{a}`, the second by `{b}`"),
        )
    })
}

/// Why permissions differ.
pub(in crate::compare) fn mode(first: u32, second: u32, conditions: &Conditions) -> Finding {
    if let (Some(a), Some(b)) = (conditions.first.umask, conditions.second.umask)
        && a != b
        && (first ^ second) & 0o7777 & !(a ^ b) == 0
    {
        return Finding::new(
            Cause::Umask,
            format!("they differ in bits in which the umasks {a:04o} and {b:04o} differ"),
        );
    }
    match super::unexplained(conditions) {
        other
            if conditions.first.umask.is_none()
                && other.cause == Cause::Unknown
                && (first ^ second) & 0o7777 & !0o077 == 0 =>
        {
            Finding::new(
                Cause::Umask,
                "they differ in bits for the group and others alone, as umasks do",
            )
        }
        other => other,
    }
}

/// Why owners differ: names and numbers as text.
pub(in crate::compare) fn owner(first: &str, second: &str, conditions: &Conditions) -> Finding {
    let is = |side: &Side, text: &str| {
        [&side.user, &side.group]
            .into_iter()
            .flatten()
            .any(|account| {
                text.split(['/', ':', ' '])
                    .any(|part| part == account.name || part == account.id.to_string())
            })
    };
    let (a, b) = (is(&conditions.first, first), is(&conditions.second, second));
    if a || b {
        let whose = match (a, b) {
            (true, true) => "both are the owners of their builds",
            (true, false) => "the first is the owner of its build",
            _ => "the second is the owner of its build",
        };
        return Finding::new(Cause::User, whose);
    }
    match super::unexplained(conditions) {
        Finding {
            cause: Cause::Unknown,
            ..
        } => Finding::new(Cause::User, "the owners come from who built"),
        other => other,
    }
}

/// Why modification times differ.
pub(in crate::compare) fn mtime(first: i64, second: i64, conditions: &Conditions) -> Finding {
    let inside = Side::had;
    let which = match (
        inside(&conditions.first, first),
        inside(&conditions.second, second),
    ) {
        (true, true) => "both lie in the time of their builds",
        (true, false) => "the first lies in the time of its build",
        (false, true) => "the second lies in the time of its build",
        (false, false) => {
            return match super::unexplained(conditions) {
                Finding {
                    cause: Cause::Unknown,
                    ..
                } => Finding::new(
                    Cause::EmbeddedTime,
                    "times of files are the times at which they were written",
                ),
                other => other,
            };
        }
    };
    Finding::new(Cause::EmbeddedTime, which)
}
