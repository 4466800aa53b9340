//! What is different in the second build, from how the first one was done. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;

use super::probe::Abilities;
use crate::backend::{Pinned, Surroundings, User};
use crate::build::conditions::{Conditions, LOCALE, TIME_ZONE};
use crate::build::package::TOPDIR;
use crate::record::PackageRecord;
use crate::record::audit::{Variation, Varied};

/// Zones in one of which the date is another than it was in UTC.
pub(super) const BEHIND: Zone = Zone {
    name: "AUDIT+12",
    offset: -12 * HOUR,
};
pub(super) const AHEAD: Zone = Zone {
    name: "AUDIT-14",
    offset: 14 * HOUR,
};
const HOUR: i32 = 3600;
const DAY: i64 = 86_400;

/// How far the calendar is ahead: year, month, day, weekday, hour and minute are others then.
pub(super) const LATER: i64 = 398 * DAY + 6 * 3600 + 23 * 60;

const HOST_NAME: &str = "auditor-4217";
const HOME: &str = "/var/lib/auditor/somewhere-else";
const ACCOUNT: &str = "auditor";
/// What ids differ by.
const IDS: u32 = 4217;
/// Below this, ids are sure to be mapped.
const HIGHEST_ID: u32 = 60_000;
const UMASK: u32 = 0o002;
const MAKE_FLAGS: &str = "MAKEFLAGS";
const SHUFFLE: &str = "--shuffle=reverse";
/// Variables that CI servers set, and one that only an audit does.
const VARIABLES: [(&str, &str); 2] = [("BUILD_NUMBER", "4217"), ("PRISTINE_AUDIT", "varied")];
/// A build may need more room in memory than what it held on the disk in the end.
const MORE_ROOM: u64 = 3;
/// The least that a folder in memory may hold.
const LEAST_ROOM: u64 = 64 << 20;

/// A time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone {
    /// The value of `TZ`.
    pub name: &'static str,
    /// Seconds that it is ahead of UTC.
    pub offset: i32,
}

/// How the first build was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct First {
    /// The template's builder.
    pub account: String,
    /// Its ids.
    pub user: Option<User>,
    /// Processors that it was given.
    pub processors: usize,
    /// Release of the kernel.
    pub kernel: String,
    /// Bytes that its clone held on the disk.
    pub disk: Option<u64>,
    /// Its peak of memory.
    pub memory: Option<u64>,
    /// Its limit on memory.
    pub limit: Option<u64>,
    /// When it was built, seconds since 1970.
    pub built: Option<i64>,
}

impl First {
    /// As a record tells it.
    pub fn of(package: &PackageRecord, account: (&str, User), kernel: &str) -> Self {
        let used = package.used.unwrap_or_default();
        let given = package.given.as_ref();
        Self {
            account: account.0.to_owned(),
            user: Some(account.1),
            processors: given.map_or(1, |given| given.processors as usize),
            kernel: kernel.to_owned(),
            disk: used.disk,
            memory: used.memory,
            limit: given.and_then(|given| given.memory),
            built: None,
        }
    }
}

/// What this machine has for the second builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Memory for the folders of one build, bytes.
    pub memory: u64,
    /// The time, seconds since 1970.
    pub now: i64,
    /// A number of the build's own: not all of them are to have the same processor.
    pub number: usize,
}

/// How the second build is done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Second {
    /// Its conditions.
    pub conditions: Conditions,
    /// What is different, with both values.
    pub varied: Vec<Varied>,
    /// What could not be varied for this package, and why.
    pub not_varied: BTreeMap<Variation, String>,
}

/// Variations that cannot be made here, for any package, and why.
pub fn impossible(abilities: &Abilities) -> BTreeMap<Variation, String> {
    let all = [
        (
            Variation::Time,
            abilities.later,
            "programs cannot be told another time here: that needs 64-bit x86, and a kernel and a container that allow ptrace",
        ),
        (
            Variation::JobOrder,
            abilities.shuffles,
            "the environment's make has no --shuffle (GNU Make 4.4 and newer)",
        ),
        (
            Variation::FileOrder,
            abilities.lists_otherwise,
            "folders in memory list their files here as those on the store's disk do",
        ),
        (
            Variation::Kernel,
            abilities.old_kernel,
            "the environment's programs do not start where `uname` tells a kernel 2.6, the only other one that the kernel can tell",
        ),
    ];
    let not = all.into_iter().filter(|(_, possible, _)| !possible);
    not.map(|(variation, _, why)| (variation, why.to_owned()))
        .collect()
}

/// The conditions of a package's second build.
pub fn vary(
    first: &First,
    chosen: &BTreeSet<Variation>,
    abilities: &Abilities,
    room: Room,
) -> Second {
    let mut second = Second {
        conditions: usual(first),
        varied: Vec::new(),
        not_varied: BTreeMap::new(),
    };
    for &variation in chosen {
        second.apply(variation, first, abilities, room);
    }
    second
}

/// As the first build was done.
pub fn usual(first: &First) -> Conditions {
    Conditions {
        processors: NonZero::new(first.processors),
        ..Conditions::default()
    }
}

/// The same second build with only some of its variations.
pub fn only(first: &First, second: &Second, some: &BTreeSet<Variation>) -> Conditions {
    let (mut only, all) = (usual(first), second.conditions.clone());
    for variation in some {
        match variation {
            Variation::Time => only.surroundings.ahead = all.surroundings.ahead,
            Variation::TimeZone => only.time_zone.clone_from(&all.time_zone),
            Variation::HostName => {
                let name = &all.surroundings.host_name;
                only.surroundings.host_name.clone_from(name);
            }
            Variation::BuildPath => only.home.clone_from(&all.home),
            Variation::User => only.account.clone_from(&all.account),
            Variation::Locale => only.locale.clone_from(&all.locale),
            Variation::Processors => {
                only.processors = all.processors;
                only.surroundings.processors = all.surroundings.processors;
            }
            Variation::JobOrder | Variation::Environment => {
                let make = *variation == Variation::JobOrder;
                let mut own = all.variables.clone();
                own.retain(|name, _| (name == MAKE_FLAGS) == make);
                only.variables.extend(own);
            }
            Variation::FileOrder => only.memory = all.memory,
            Variation::Umask => only.surroundings.umask = all.surroundings.umask,
            Variation::Kernel => only.surroundings.old_kernel = all.surroundings.old_kernel,
        }
    }
    only
}

impl Second {
    #[expect(
        clippy::too_many_lines,
        reason = "a table: what each variation was and is"
    )]
    fn apply(&mut self, variation: Variation, first: &First, abilities: &Abilities, room: Room) {
        let conditions = &mut self.conditions;
        let (what, was, is) = match variation {
            Variation::Time => {
                conditions.surroundings.ahead = LATER;
                (
                    "the calendar",
                    "the machine's".to_owned(),
                    "398 days, 6 hours and 23 minutes ahead".to_owned(),
                )
            }
            Variation::TimeZone => {
                let zone = other_date(room.now, first.built);
                zone.name.clone_into(&mut conditions.time_zone);
                ("time zone", TIME_ZONE.to_owned(), zone.name.to_owned())
            }
            Variation::HostName => {
                let was = Surroundings::default().host_name;
                HOST_NAME.clone_into(&mut conditions.surroundings.host_name);
                ("host name", was, HOST_NAME.to_owned())
            }
            Variation::BuildPath => {
                HOME.clone_into(&mut conditions.home);
                ("build path and HOME", TOPDIR.to_owned(), HOME.to_owned())
            }
            Variation::User => {
                let was = first.user.unwrap_or(User::ROOT);
                let is = User {
                    uid: other_id(was.uid),
                    gid: other_id(was.gid),
                };
                conditions.account = Some((ACCOUNT.to_owned(), is));
                let words = |name: &str, user: User| format!("{name} ({}:{})", user.uid, user.gid);
                ("user", words(&first.account, was), words(ACCOUNT, is))
            }
            Variation::Locale => {
                let is = abilities.locale.clone().unwrap_or_else(|| "C".to_owned());
                conditions.locale = Some(is.clone());
                ("locale", LOCALE.to_owned(), is)
            }
            Variation::Processors => return self.processors(first, abilities, room),
            Variation::JobOrder => {
                let name = MAKE_FLAGS.to_owned();
                conditions.variables.insert(name, SHUFFLE.to_owned());
                (
                    "order of make's jobs",
                    "as written".to_owned(),
                    "reversed".to_owned(),
                )
            }
            Variation::FileOrder => return self.file_order(first, room),
            Variation::Umask => {
                let was = conditions.surroundings.umask;
                conditions.surroundings.umask = UMASK;
                ("umask", format!("{was:04o}"), format!("{UMASK:04o}"))
            }
            Variation::Kernel => {
                conditions.surroundings.old_kernel = true;
                let is = abilities.old_release.clone().unwrap_or_default();
                ("kernel", first.kernel.clone(), is)
            }
            Variation::Environment => {
                let all = VARIABLES.map(|(name, value)| (name.to_owned(), value.to_owned()));
                conditions.variables.extend(all);
                let is = VARIABLES.map(|(name, value)| format!("{name}={value}"));
                (
                    "environment variables",
                    "none of them".to_owned(),
                    is.join(" "),
                )
            }
        };
        self.note(variation, what, was, is);
    }

    fn note(&mut self, variation: Variation, what: &str, first: String, second: String) {
        self.varied.push(Varied {
            variation: Some(variation),
            what: what.to_owned(),
            first,
            second,
        });
    }

    fn processors(&mut self, first: &First, abilities: &Abilities, room: Room) {
        let told = NonZero::new(fewer(first.processors));
        let seen = NonZero::new(abilities.processors.saturating_sub(1));
        self.conditions.processors = told;
        self.conditions.surroundings.processors = seen.map(|count| Pinned {
            count,
            from: room.number,
        });
        let words = |told: usize, seen: usize| format!("{told} told, {seen} seen");
        let told = told.map_or(1, NonZero::get);
        let now = seen.map_or(abilities.processors, NonZero::get);
        let (was, is) = (
            words(first.processors, abilities.processors),
            words(told, now),
        );
        self.note(Variation::Processors, "processors", was, is);
    }

    fn file_order(&mut self, first: &First, room: Room) {
        let Some(disk) = first.disk else {
            let why = "the record does not say how much the build holds, and so whether it fits into memory";
            self.not_varied.insert(Variation::FileOrder, why.to_owned());
            return;
        };
        let size = disk.saturating_mul(MORE_ROOM).max(LEAST_ROOM);
        let used = first.memory.unwrap_or(0).saturating_add(size);
        if size > room.memory || first.limit.is_some_and(|limit| used > limit) {
            let why = format!(
                "what the build holds ({} MiB) does not fit into memory",
                disk >> 20
            );
            self.not_varied.insert(Variation::FileOrder, why);
            return;
        }
        self.conditions.memory = Some(size);
        let (was, is) = ("as the store's disk lists them", "as memory lists them");
        self.note(
            Variation::FileOrder,
            "order of files in folders",
            was.to_owned(),
            is.to_owned(),
        );
    }
}

/// One less, or two where there was but one.
fn fewer(processors: usize) -> usize {
    match processors {
        0 | 1 => 2,
        more => more - 1,
    }
}

fn other_id(id: u32) -> u32 {
    match id.checked_add(IDS) {
        Some(other) if other < HIGHEST_ID => other,
        _ => id.saturating_sub(IDS).max(1),
    }
}

/// The zone in which it is another day now than it was in UTC at the first build.
pub fn other_date(now: i64, first: Option<i64>) -> Zone {
    let local = now + i64::from(AHEAD.offset);
    if local.div_euclid(DAY) == first.unwrap_or(now).div_euclid(DAY) {
        BEHIND
    } else {
        AHEAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDNIGHT: i64 = 1_800_057_600;

    fn first() -> First {
        First {
            account: "builder".to_owned(),
            user: Some(User {
                uid: 1000,
                gid: 1000,
            }),
            processors: 4,
            kernel: "6.18.0".to_owned(),
            disk: Some(10 << 20),
            memory: None,
            limit: None,
            built: None,
        }
    }

    fn room() -> Room {
        Room {
            memory: 1 << 30,
            now: MIDNIGHT,
            number: 3,
        }
    }

    fn abilities() -> Abilities {
        Abilities {
            locale: Some("et_EE.utf8".to_owned()),
            old_kernel: true,
            old_release: Some("2.6.78".to_owned()),
            shuffles: true,
            lists_otherwise: true,
            later: true,
            processors: 8,
        }
    }

    #[test]
    fn everything_that_is_varied_is_told_with_both_values() {
        let all = BTreeSet::from(Variation::ALL);
        let second = vary(&first(), &all, &abilities(), room());
        let lines: Vec<String> = second
            .varied
            .iter()
            .map(|one| format!("{}: {} -> {}", one.what, one.first, one.second))
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @"
        the calendar: the machine's -> 398 days, 6 hours and 23 minutes ahead
        time zone: UTC -> AUDIT+12
        host name: pristine -> auditor-4217
        build path and HOME: /builddir -> /var/lib/auditor/somewhere-else
        user: builder (1000:1000) -> auditor (5217:5217)
        locale: C.UTF-8 -> et_EE.utf8
        processors: 4 told, 8 seen -> 3 told, 7 seen
        order of make's jobs: as written -> reversed
        order of files in folders: as the store's disk lists them -> as memory lists them
        umask: 0022 -> 0002
        kernel: 6.18.0 -> 2.6.78
        environment variables: none of them -> BUILD_NUMBER=4217 PRISTINE_AUDIT=varied
        ");
        assert!(impossible(&abilities()).is_empty());
        for one in &second.varied {
            assert_ne!(one.first, one.second, "{}", one.what);
        }
    }

    #[test]
    fn each_variation_changes_the_conditions_and_none_leaves_them_as_they_were() {
        let vary = |set: &[Variation]| {
            let set = set.iter().copied().collect();
            vary(&first(), &set, &abilities(), room())
        };
        assert_eq!(vary(&[]).conditions, usual(&first()));
        for variation in Variation::ALL {
            let second = vary(&[variation]);
            assert_ne!(second.conditions, usual(&first()), "{variation}");
            assert_eq!(second.varied.len(), 1, "{variation}");
            let all = super::vary(&first(), &Variation::ALL.into(), &abilities(), room());
            let one = only(&first(), &all, &[variation].into());
            assert_eq!(one, second.conditions, "{variation}");
        }
    }

    #[test]
    fn what_does_not_fit_into_memory_stays_on_the_disk_and_says_so() {
        let order = BTreeSet::from([Variation::FileOrder]);
        let why = |first: First| {
            let second = vary(&first, &order, &abilities(), room());
            assert_eq!(second.conditions, usual(&first));
            second.not_varied[&Variation::FileOrder].clone()
        };
        let large = First {
            disk: Some(1 << 30),
            ..first()
        };
        assert_eq!(
            why(large),
            "what the build holds (1024 MiB) does not fit into memory"
        );
        let limited = First {
            limit: Some(50 << 20),
            ..first()
        };
        assert_eq!(
            why(limited),
            "what the build holds (10 MiB) does not fit into memory"
        );
        let unknown = First {
            disk: None,
            ..first()
        };
        assert!(why(unknown).starts_with("the record does not say"));
    }

    #[test]
    fn the_date_differs_at_every_time_of_the_day() {
        for hour in 0..72 {
            let (first, now) = (MIDNIGHT + 7200, MIDNIGHT + hour * i64::from(HOUR) + 1800);
            let local = now + i64::from(other_date(now, Some(first)).offset);
            assert_ne!(first.div_euclid(DAY), local.div_euclid(DAY), "{hour}");
        }
    }

    #[test]
    fn ids_stay_where_they_are_mapped() {
        for id in [0, 1, 1000, 59_999, 65_534] {
            let other = other_id(id);
            assert!(
                other != id && (1..=HIGHEST_ID + IDS).contains(&other) && other < 65_536,
                "{id} {other}"
            );
        }
    }

    #[test]
    fn what_cannot_be_varied_is_said_with_its_reason() {
        let none = impossible(&Abilities::default());
        let names: Vec<_> = none.keys().map(|variation| variation.name()).collect();
        assert_eq!(names, ["time", "job-order", "file-order", "kernel"]);
    }
}
