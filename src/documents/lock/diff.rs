//! What differs between the packages of two locks, for people.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::{Lock, LockedRpm};
use crate::rpm::Nevra;

/// One package that differs between two locks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The package's name.
    pub name: String,
    /// Which part of the lock has it.
    pub part: Part,
    /// What changed.
    pub kind: ChangeKind,
}

/// Which part of a lock has a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The environment.
    Environment,
    /// The tools root alone.
    Tools,
}

/// How a package differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Added {
        /// The new package.
        to: Nevra,
    },
    /// It is gone.
    Removed {
        /// The old package.
        from: Nevra,
    },
    /// It has a higher version now.
    Upgraded {
        /// The old package.
        from: Nevra,
        /// The new package.
        to: Nevra,
    },
    /// It has a lower version now.
    Downgraded {
        /// The old package.
        from: Nevra,
        /// The new package.
        to: Nevra,
    },
    /// The version is the same, its content or architecture is not.
    Replaced {
        /// The old package.
        from: Nevra,
        /// The new package.
        to: Nevra,
    },
}

/// What differs between the RPMs of `old` and `new`, by part and name.
pub fn diff(old: &Lock, new: &Lock) -> Vec<Change> {
    let mut changes = part(
        Part::Environment,
        &old.environment.rpms,
        &new.environment.rpms,
    );
    changes.extend(part(Part::Tools, &old.tools.only, &new.tools.only));
    changes
}

/// The RPMs of one name, before and after.
#[derive(Default)]
struct Pair<'a> {
    old: Vec<&'a LockedRpm>,
    new: Vec<&'a LockedRpm>,
}

fn part(part: Part, old: &[LockedRpm], new: &[LockedRpm]) -> Vec<Change> {
    let mut names: BTreeMap<&str, Pair<'_>> = BTreeMap::new();
    for rpm in old {
        names.entry(&rpm.nevra.name).or_default().old.push(rpm);
    }
    for rpm in new {
        names.entry(&rpm.nevra.name).or_default().new.push(rpm);
    }
    let change = |name: &str, kind| Change {
        name: name.to_owned(),
        part,
        kind,
    };
    names
        .into_iter()
        .flat_map(|(name, pair)| pair.kinds().into_iter().map(move |kind| change(name, kind)))
        .collect()
}

impl Pair<'_> {
    fn kinds(mut self) -> Vec<ChangeKind> {
        let same = |one: &LockedRpm, other: &LockedRpm| {
            one.nevra == other.nevra && one.digest == other.digest
        };
        let (old, new) = (self.old.clone(), self.new.clone());
        self.old
            .retain(|rpm| !new.iter().any(|other| same(rpm, other)));
        self.new
            .retain(|rpm| !old.iter().any(|other| same(rpm, other)));
        let mut kinds = Vec::new();
        // Several versions of one name (kernels) are told apart by identity first, then by architecture.
        self.take_pairs(&mut kinds, |from, to| from.nevra == to.nevra);
        self.take_pairs(&mut kinds, |from, to| from.nevra.arch == to.nevra.arch);
        if self.old.len() == 1 && self.new.len() == 1 {
            self.take_pairs(&mut kinds, |_, _| true);
        }
        kinds.extend(self.old.iter().map(|rpm| ChangeKind::Removed {
            from: rpm.nevra.clone(),
        }));
        kinds.extend(self.new.iter().map(|rpm| ChangeKind::Added {
            to: rpm.nevra.clone(),
        }));
        kinds
    }

    fn take_pairs(
        &mut self,
        kinds: &mut Vec<ChangeKind>,
        fits: impl Fn(&LockedRpm, &LockedRpm) -> bool,
    ) {
        let new = &mut self.new;
        self.old.retain(|from| {
            let Some(place) = new.iter().position(|to| fits(from, to)) else {
                return true;
            };
            kinds.push(compared(&from.nevra, &new.remove(place).nevra));
            false
        });
    }
}

/// How the same package differs between two versions or builds of it.
pub(crate) fn compared(from: &Nevra, to: &Nevra) -> ChangeKind {
    let (order, from, to) = (from.compare_evr(to), from.clone(), to.clone());
    match order {
        Ordering::Less => ChangeKind::Upgraded { from, to },
        Ordering::Greater => ChangeKind::Downgraded { from, to },
        Ordering::Equal => ChangeKind::Replaced { from, to },
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    /// The changes from `old` to `new`, each `NEVRA` or `NEVRA content`.
    fn changes(old: &[&str], new: &[&str]) -> Vec<String> {
        let rpms = |texts: &[&str]| {
            let split = texts
                .iter()
                .map(|text| text.split_once(' ').unwrap_or((text, text)));
            split
                .map(|(nevra, content)| sample::rpm(nevra, content))
                .collect::<Vec<_>>()
        };
        let text = |change: Change| match change.kind {
            ChangeKind::Added { to } => format!("+ {to}"),
            ChangeKind::Removed { from } => format!("- {from}"),
            ChangeKind::Upgraded { from, to } => format!("{from} < {to}"),
            ChangeKind::Downgraded { from, to } => format!("{from} > {to}"),
            ChangeKind::Replaced { from, to } => format!("{from} = {to}"),
        };
        part(Part::Environment, &rpms(old), &rpms(new))
            .into_iter()
            .map(text)
            .collect()
    }

    #[test]
    fn changes_are_told_by_rpm_order() {
        let none: [&str; 0] = [];
        assert_eq!(
            changes(
                &["a-1-1.noarch", "b-1-1.noarch"],
                &["b-1-1.noarch", "a-1-1.noarch"]
            ),
            none
        );
        for (old, new, expected) in [
            (
                "a-1.9-1.x86_64",
                "a-1.10-1.x86_64",
                "a-1.9-1.x86_64 < a-1.10-1.x86_64",
            ),
            (
                "a-1:1-1.x86_64",
                "a-2-1.x86_64",
                "a-1:1-1.x86_64 > a-2-1.x86_64",
            ),
            (
                "a-1~rc1-1.x86_64",
                "a-1-1.noarch",
                "a-1~rc1-1.x86_64 < a-1-1.noarch",
            ),
            (
                "a-1-1.x86_64",
                "a-1-1.x86_64 rebuilt",
                "a-1-1.x86_64 = a-1-1.x86_64",
            ),
        ] {
            assert_eq!(changes(&[old], &[new]), [expected]);
        }
        assert_eq!(
            changes(&["a-1-1.noarch"], &["b-1-1.noarch"]),
            ["- a-1-1.noarch", "+ b-1-1.noarch"]
        );
    }

    #[test]
    fn several_of_one_name_are_told_apart() {
        assert_eq!(
            changes(
                &["k-1-1.x86_64", "k-2-1.x86_64"],
                &["k-2-1.x86_64", "k-3-1.x86_64"]
            ),
            ["k-1-1.x86_64 < k-3-1.x86_64"]
        );
        assert_eq!(
            changes(
                &["l-1-1.x86_64", "l-1-1.i686"],
                &["l-2-1.i686", "l-1-1.x86_64"]
            ),
            ["l-1-1.i686 < l-2-1.i686"]
        );
        assert_eq!(
            changes(&["l-1-1.x86_64", "l-1-1.i686"], &["l-1-1.x86_64"]),
            ["- l-1-1.i686"]
        );
    }

    #[test]
    fn tools_are_told_apart_from_the_environment() {
        let old = sample::lock();
        let mut new = old.clone();
        new.tools.only[0] = sample::rpm("rpm-build-6.0-1.x86_64", "new");
        new.environment.rpms.pop();
        let parts: Vec<_> = diff(&old, &new)
            .into_iter()
            .map(|change| (change.part, change.name))
            .collect();
        assert_eq!(
            parts,
            [
                (Part::Environment, "tool".to_owned()),
                (Part::Tools, "rpm-build".to_owned())
            ]
        );
    }
}
