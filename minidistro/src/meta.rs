//! Packages without files that gather others, as RPM distributions have them.

use std::collections::BTreeSet;

use crate::index::Binary;
use crate::packages::ESSENTIAL;
use crate::relation::{Atom, Operator, Relation};

/// A package that only requires others.
#[derive(Debug, Clone)]
pub(crate) struct Meta {
    /// Its name.
    pub(crate) name: &'static str,
    /// One line about it.
    pub(crate) summary: &'static str,
    /// The package whose version it has, of which it requires this very version.
    pub(crate) of: Binary,
    /// What else it requires.
    pub(crate) requires: Vec<&'static str>,
}

/// What rpmbuild and the scripts around it call.
const FOR_RPMBUILD: &[&str] = &[
    "basesystem",
    "binutils",
    "bzip2",
    "cpio",
    "debugedit",
    "diffutils",
    "elfutils",
    "file",
    "findutils",
    "gawk",
    "grep",
    "gzip",
    "patch",
    "pkgconf",
    "sed",
    "tar",
    "unzip",
    "xz-utils",
    "zstd",
];

/// Those that `plan` can carry. What a small plan does not have they do not require.
pub(crate) fn packages(plan: &[Binary]) -> Vec<Meta> {
    let names: BTreeSet<&str> = plan
        .iter()
        .map(|binary| binary.name.as_str())
        .chain(["basesystem"])
        .collect();
    [
        (
            "basesystem",
            "What every system has",
            "base-files",
            ESSENTIAL,
        ),
        (
            "rpm-build",
            "rpmbuild with all that it calls",
            "rpm",
            FOR_RPMBUILD,
        ),
    ]
    .into_iter()
    .filter_map(|(name, summary, of, requires)| {
        let of = plan.iter().find(|binary| binary.name == of)?.clone();
        let requires = requires
            .iter()
            .copied()
            .filter(|name| names.contains(name) && *name != of.name)
            .collect();
        Some(Meta {
            name,
            summary,
            of,
            requires,
        })
    })
    .collect()
}

impl Meta {
    /// What it requires.
    pub(crate) fn relations(&self) -> Vec<Relation> {
        let exact = Atom {
            name: self.of.name.clone(),
            version: Some((Operator::Equal, self.of.version.clone())),
        };
        let others = self.requires.iter().map(|name| Atom {
            name: (*name).to_owned(),
            version: None,
        });
        std::iter::once(exact)
            .chain(others)
            .map(|atom| Relation(vec![atom]))
            .collect()
    }
}
