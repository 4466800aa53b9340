//! Times in bytes: as text in the usual forms, and as binary numbers.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::facts::touches;
use super::site::{Site, Window};
use super::{Cause, Finding};
use crate::compare::conditions::{Conditions, Side, Varied};
use crate::compare::difference::printable;

const DAY: i64 = 86_400;
/// The farthest that a zone is from UTC, and what zones are apart from each other at least.
const FARTHEST: i64 = 14 * 3600;
const QUARTER: i64 = 900;

/// How a form of text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Unix,
    Milliseconds,
    /// Year, month, day, and perhaps hour, minute, second.
    Full,
    /// Day, month's name, year, and perhaps a time of day.
    DayFirst,
    /// Month's name, day, year, and perhaps a time of day.
    MonthFirst,
    /// `Tue Nov 24 19:13:40 UTC 2026`.
    Date,
    Clock,
}

const FORMS: [(Form, &str); 7] = [
    (
        Form::Date,
        r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]* +(\d{1,2}) (\d\d):(\d\d):(\d\d)(?: [AP]M)? (?:[A-Z+-][A-Z0-9:+-]{1,6} )?(\d{4})",
    ),
    (
        Form::Full,
        r"((?:19|20)\d\d)([-/. ]?)(0[1-9]|1[0-2])[-/. ]?(0[1-9]|[12]\d|3[01])(?:[-T _.]*([01]\d|2[0-3]):?([0-5]\d)(?::?([0-5]\d))?)?",
    ),
    (
        Form::DayFirst,
        r"(\d{1,2})(?:st|nd|rd|th)?[- ](Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*[- ,.]+(\d{4})(?:[ ,T]+(\d\d):(\d\d)(?::(\d\d))?)?",
    ),
    (
        Form::MonthFirst,
        r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.? +(?:(\d{1,2})(?:st|nd|rd|th)?,? +)?(\d{4})(?:[ ,T]+(\d\d):(\d\d)(?::(\d\d))?)?",
    ),
    (Form::Milliseconds, r"[12]\d{12}"),
    (Form::Unix, r"[12]\d{9}"),
    (Form::Clock, r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?"),
];

static COMPILED: LazyLock<Vec<(Form, Regex)>> = LazyLock::new(|| {
    let compiled = |(form, text): &(Form, &str)| Regex::new(text).ok().map(|regex| (*form, regex));
    FORMS.iter().filter_map(compiled).collect()
});

/// A time that was found: local to wherever it was written, except the counted ones.
#[derive(Debug, PartialEq, Eq)]
struct Moment {
    text: String,
    seconds: i64,
    /// It says no time of day.
    day_only: bool,
}

/// A time as text on both sides.
pub(super) fn text(site: &Site<'_>, conditions: &Conditions) -> Option<Finding> {
    let (first, second) = site.windows();
    COMPILED.iter().find_map(|(form, regex)| {
        let a = find(&first, *form, regex)?;
        let b = find(&second, *form, regex)?;
        judge(&a, &b, *form, conditions)
    })
}

fn find(window: &Window<'_>, form: Form, regex: &Regex) -> Option<Moment> {
    let text = printable(window.bytes);
    let digits = matches!(form, Form::Unix | Form::Milliseconds);
    let is_digit = |at: Option<usize>| {
        at.and_then(|at| text.as_bytes().get(at))
            .is_some_and(u8::is_ascii_digit)
    };
    regex
        .captures_iter(&text)
        .filter(|captures| {
            captures.get(0).is_some_and(|all| {
                // A zone that follows belongs to the time.
                let range = all.start()..(all.end() + if digits { 0 } else { 7 }).min(text.len());
                let alone = !is_digit(all.start().checked_sub(1)) && !is_digit(Some(all.end()));
                alone && touches(&range, &window.core)
            })
        })
        .find_map(|captures| read(&captures, form))
}

fn read(captures: &Captures<'_>, form: Form) -> Option<Moment> {
    let number = |at: usize| {
        captures
            .get(at)
            .and_then(|found| found.as_str().parse::<i64>().ok())
    };
    let month = |at: usize| captures.get(at).and_then(|found| month(found.as_str()));
    let clock = |at: usize| {
        number(at).unwrap_or(0) * 3600
            + number(at + 1).unwrap_or(0) * 60
            + number(at + 2).unwrap_or(0)
    };
    let text = captures.get(0)?.as_str().to_owned();
    let (seconds, day_only) = match form {
        Form::Unix => (text.parse().ok()?, false),
        Form::Milliseconds => (text.parse::<i64>().ok()? / 1000, false),
        Form::Full => (
            civil(number(1)?, number(3)?, number(4)?) + clock(5),
            captures.get(5).is_none(),
        ),
        Form::DayFirst => (
            civil(number(3)?, month(2)?, number(1)?) + clock(4),
            captures.get(4).is_none(),
        ),
        Form::MonthFirst => (
            civil(number(3)?, month(1)?, number(2).unwrap_or(1)) + clock(4),
            captures.get(4).is_none(),
        ),
        Form::Date => (civil(number(6)?, month(1)?, number(2)?) + clock(3), false),
        Form::Clock => (clock(1), false),
    };
    Some(Moment {
        text,
        seconds,
        day_only,
    })
}

fn month(name: &str) -> Option<i64> {
    const NAMES: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let at = NAMES.iter().position(|known| *known == name)?;
    i64::try_from(at + 1).ok()
}

/// Seconds from 1970 to the midnight of a day of the Gregorian calendar.
pub(in crate::compare) fn civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    days * DAY
}

fn judge(a: &Moment, b: &Moment, form: Form, conditions: &Conditions) -> Option<Finding> {
    let both = format!("`{}` and `{}`", a.text, b.text);
    if matches!(form, Form::Unix | Form::Milliseconds) {
        return counted(a.seconds, b.seconds, conditions).then(|| {
            Finding::new(
                Cause::EmbeddedTime,
                format!("{both} are times, counted from 1970"),
            )
        });
    }
    if form != Form::Clock && !a.day_only && !b.day_only {
        return Some(local_times(a.seconds, b.seconds, &both, conditions));
    }
    let zone_only = conditions.varies(Varied::TimeZone) && !conditions.varies(Varied::Time);
    let apart = (a.seconds - b.seconds).abs();
    if zone_only && apart != 0 && (apart <= DAY || form == Form::Clock) {
        return Some(Finding::new(
            Cause::TimeZone,
            format!("{both} can be one time in two zones, and the time was not varied"),
        ));
    }
    Some(if apart == 0 {
        Finding::new(
            Cause::TimeZone,
            format!("the zone beside `{}` differs", a.text),
        )
    } else {
        Finding::new(
            Cause::EmbeddedTime,
            format!("{both} are dates or times of day"),
        )
    })
}

/// Whether counted seconds can be times: of the builds, where those are known; else any of our age.
fn counted(a: i64, b: i64, conditions: &Conditions) -> bool {
    let side = |side: &Side, time: i64| side.time.is_none() || side.had(time);
    let (first, second) = (&conditions.first, &conditions.second);
    if first.time.is_none() && second.time.is_none() {
        let ours = civil(2000, 1, 1)..civil(2060, 1, 1);
        return ours.contains(&a) && ours.contains(&b);
    }
    // One of them is enough: the other may come from elsewhere.
    side(first, a) || side(second, b)
}

/// Two dates with a time of day, each in the zone of its side.
pub(in crate::compare) fn local_times(
    a: i64,
    b: i64,
    both: &str,
    conditions: &Conditions,
) -> Finding {
    let (first, second) = (&conditions.first, &conditions.second);
    let offsets = first.utc_offset.zip(second.utc_offset);
    let one_time = if let Some((own, other)) = offsets {
        own != other && a - i64::from(own) == b - i64::from(other)
    } else {
        let apart = (a - b).abs();
        let times_apart = matches!((first.time, second.time), (Some(first), Some(second)) if first.to < second.from || second.to < first.from);
        apart != 0
            && apart <= FARTHEST
            && apart % QUARTER == 0
            && !times_apart
            && first.time.is_some()
    };
    if a == b {
        Finding::new(Cause::TimeZone, format!("{both} differ in the zone alone"))
    } else if one_time {
        Finding::new(Cause::TimeZone, format!("{both} are one time in two zones"))
    } else {
        Finding::new(
            Cause::EmbeddedTime,
            format!("{both} are dates with a time of day"),
        )
    }
}

/// A time as a binary number, in the time of each side's build.
pub(super) fn binary(site: &Site<'_>, conditions: &Conditions) -> Option<Finding> {
    let (a, b) = (&conditions.first, &conditions.second);
    a.time.and(b.time)?;
    let (first, second) = site.windows();
    // The number ends at the difference at the earliest, and begins there at the latest.
    (0..8_usize).find_map(|back| {
        let number = |window: &Window<'_>, kind: Number| {
            let at = window.core.start.checked_sub(back)?;
            kind.read(window.bytes, at)
        };
        Number::ALL.into_iter().filter(|kind| kind.width() > back).find_map(|kind| {
            let (x, y) = (number(&first, kind)?, number(&second, kind)?);
            (x != y && a.had(x) && b.had(y)).then(|| {
                let at = first.start + first.core.start - back;
                Finding::new(
                    Cause::EmbeddedTime,
                    format!("at byte {at} both sides have the time of their builds as a {}: {x} and {y}", kind.words()),
                )
            })
        })
    })
}

#[derive(Debug, Clone, Copy)]
enum Number {
    Little32,
    Big32,
    Little64Milliseconds,
    Little64Nanoseconds,
    Big64Milliseconds,
}

impl Number {
    const ALL: [Self; 5] = [
        Self::Little32,
        Self::Big32,
        Self::Little64Milliseconds,
        Self::Little64Nanoseconds,
        Self::Big64Milliseconds,
    ];

    fn width(self) -> usize {
        match self {
            Self::Little32 | Self::Big32 => 4,
            _ => 8,
        }
    }

    fn read(self, bytes: &[u8], at: usize) -> Option<i64> {
        let four = || bytes.get(at..at + 4)?.try_into().ok();
        let eight = || bytes.get(at..at + 8)?.try_into().ok();
        match self {
            Self::Little32 => Some(i64::from(u32::from_le_bytes(four()?))),
            Self::Big32 => Some(i64::from(u32::from_be_bytes(four()?))),
            Self::Little64Milliseconds => Some(i64::from_le_bytes(eight()?) / 1000),
            Self::Little64Nanoseconds => Some(i64::from_le_bytes(eight()?) / 1_000_000_000),
            Self::Big64Milliseconds => Some(i64::from_be_bytes(eight()?) / 1000),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Little32 => "little-endian number of seconds",
            Self::Big32 => "big-endian number of seconds",
            Self::Little64Milliseconds => "little-endian number of milliseconds",
            Self::Little64Nanoseconds => "little-endian number of nanoseconds",
            Self::Big64Milliseconds => "big-endian number of milliseconds",
        }
    }
}
