//! How each side was made, as far as it is known: what bytes are held against to name a cause.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What is known of how both sides were made. What is not known explains nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conditions {
    /// The first side's.
    pub first: Side,
    /// The second side's.
    pub second: Side,
}

/// Facts of how one side was made. Everything may be unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Side {
    /// What the machine's clock said while it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Span>,
    /// Seconds that what it built was told to be later; times of files are those of `time` all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ahead: Option<i64>,
    /// The value of `TZ`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Seconds that local time is ahead of UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utc_offset: Option<i32>,
    /// Its host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Folders it was built in, the home folder included.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// The user that built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Account>,
    /// Its group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Account>,
    /// The value of `LANG` or `LC_ALL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// Processors that the build saw.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processors: Option<u32>,
    /// Its umask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// The kernel's release and version, as `uname` gave them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kernel: Vec<String>,
    /// Environment variables that were varied.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    /// The order in which folders were listed, by a name (`sorted`, `reversed`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory_order: Option<String>,
    /// The order in which jobs ran, by a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_order: Option<String>,
    /// The digest of the environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The toolchain, by name and version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toolchain: Option<String>,
}

/// A time from its first to its last second, since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// The first second.
    pub from: i64,
    /// The last second.
    pub to: i64,
}

/// A user or a group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: u32,
}

impl Span {
    /// Whether `time` lies in it; local times of any zone count.
    pub(super) fn has(self, time: i64) -> bool {
        const SLACK: i64 = 2;
        (self.from - SLACK..=self.to + SLACK).contains(&time)
    }
}

/// One of the conditions that can be varied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Varied {
    Time,
    TimeZone,
    Host,
    Path,
    User,
    Locale,
    Processors,
    JobOrder,
    Umask,
    Kernel,
    Variable,
    DirectoryOrder,
    Toolchain,
    Environment,
}

impl Side {
    /// Whether that was a time while it was made, as its clock or its files said.
    pub(super) fn had(&self, time: i64) -> bool {
        let told = self.ahead.map(|ahead| time - ahead);
        let times = [Some(time), told];
        self.time
            .is_some_and(|span| times.into_iter().flatten().any(|time| span.has(time)))
    }
}

impl Conditions {
    /// The same with the sides exchanged.
    #[must_use]
    pub fn flipped(&self) -> Self {
        Self {
            first: self.second.clone(),
            second: self.first.clone(),
        }
    }

    /// What is known to differ between the sides.
    pub(super) fn varied(&self) -> Vec<Varied> {
        let (a, b) = (&self.first, &self.second);
        let times = |side: &Side| side.time;
        let apart =
            matches!((times(a), times(b)), (Some(a), Some(b)) if a.to < b.from || b.to < a.from);
        let known = [
            (apart, Varied::Time),
            (
                differ(a.time_zone.as_ref(), b.time_zone.as_ref())
                    || differ(a.utc_offset, b.utc_offset),
                Varied::TimeZone,
            ),
            (differ(a.host.as_ref(), b.host.as_ref()), Varied::Host),
            (
                !a.paths.is_empty() && !b.paths.is_empty() && a.paths != b.paths,
                Varied::Path,
            ),
            (
                differ(a.user.as_ref(), b.user.as_ref())
                    || differ(a.group.as_ref(), b.group.as_ref()),
                Varied::User,
            ),
            (differ(a.locale.as_ref(), b.locale.as_ref()), Varied::Locale),
            (differ(a.processors, b.processors), Varied::Processors),
            (
                differ(a.job_order.as_ref(), b.job_order.as_ref()),
                Varied::JobOrder,
            ),
            (differ(a.umask, b.umask), Varied::Umask),
            (
                !a.kernel.is_empty() && !b.kernel.is_empty() && a.kernel != b.kernel,
                Varied::Kernel,
            ),
            (a.variables != b.variables, Varied::Variable),
            (
                differ(a.directory_order.as_ref(), b.directory_order.as_ref()),
                Varied::DirectoryOrder,
            ),
            (
                differ(a.toolchain.as_ref(), b.toolchain.as_ref()),
                Varied::Toolchain,
            ),
            (
                differ(a.environment.as_ref(), b.environment.as_ref()),
                Varied::Environment,
            ),
        ];
        known
            .into_iter()
            .filter_map(|(differs, what)| differs.then_some(what))
            .collect()
    }

    pub(super) fn varies(&self, what: Varied) -> bool {
        self.varied().contains(&what)
    }
}

fn differ<T: PartialEq>(first: Option<T>, second: Option<T>) -> bool {
    matches!((first, second), (Some(first), Some(second)) if first != second)
}
