//! Under which conditions a package is built: what it should not show, since it is no part of what it is made from.

use std::collections::BTreeMap;
use std::num::NonZero;

use super::package::{Builder, TOPDIR};
use crate::backend::{Command, Mount, Surroundings, User};

/// The time zone of all builds.
pub const TIME_ZONE: &str = "UTC";
/// The locale of all builds.
pub const LOCALE: &str = "C.UTF-8";
/// The folders below the builder's home in which rpmbuild works.
const WORK: [&str; 2] = ["BUILD", "BUILDROOT"];

/// The conditions of one build. All builds have the same, except those of an audit (`docs/audit.md`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conditions {
    /// The builder's home and rpmbuild's `_topdir`: sources are unpacked below it.
    pub home: String,
    /// Name and ids of who builds, where that is not the template's builder.
    pub account: Option<(String, User)>,
    /// What is seen of the machine.
    pub surroundings: Surroundings,
    /// `TZ`.
    pub time_zone: String,
    /// `LC_ALL`, beside `LANG` as always.
    pub locale: Option<String>,
    /// What `%_smp_mflags` says, where that is not what the schedule gives.
    pub processors: Option<NonZero<usize>>,
    /// The folders in which rpmbuild works are in memory, of so many bytes at most, and list their files in another order.
    pub memory: Option<u64>,
    /// More environment variables.
    pub variables: BTreeMap<String, String>,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            home: TOPDIR.to_owned(),
            account: None,
            surroundings: Surroundings::default(),
            time_zone: TIME_ZONE.to_owned(),
            locale: None,
            processors: None,
            memory: None,
            variables: BTreeMap::new(),
        }
    }
}

impl Conditions {
    /// The account that builds, where `usual` does without these conditions.
    pub(super) fn builder(&self, usual: &Builder) -> Builder {
        let (name, user) = match &self.account {
            Some((name, user)) => (name.clone(), *user),
            None => (usual.name.clone(), usual.user),
        };
        Builder {
            name,
            user,
            home: self.home.clone(),
        }
    }

    /// Gives them to the command that builds.
    pub(super) fn apply(&self, command: &mut Command) {
        let mut set = |name: &str, value: &str| {
            command.env.insert(name.to_owned(), value.to_owned());
        };
        set("TZ", &self.time_zone);
        if let Some(locale) = &self.locale {
            set("LC_ALL", locale);
        }
        for (name, value) in &self.variables {
            set(name, value);
        }
        command.surroundings.clone_from(&self.surroundings);
        if let Some(size) = self.memory {
            let folders = WORK.map(|folder| Mount::Memory {
                target: format!("{}/{folder}", self.home),
                size,
            });
            command.mounts.extend(folders);
        }
    }
}
