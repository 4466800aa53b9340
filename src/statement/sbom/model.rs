//! What a bill of materials is made of: things, what depends on what, and what is met by nothing here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::digest::Digest;
use crate::rpm::{Dependency, Gathering, Nevra, PackageDetails, PackageFacts};

/// A bill of materials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// What it is about, first, and all that is named in it.
    pub items: Vec<Item>,
    /// What depends on what, by places in `items`.
    pub(super) depends: BTreeSet<(usize, usize)>,
    /// What was used to build what, by places in `items`: what is built, what was used.
    pub(super) built_in: BTreeSet<(usize, usize)>,
    /// What something requires and nothing in `items` provides.
    pub(super) unmet: BTreeMap<usize, Vec<String>>,
    /// Whether the first item consists of the others.
    pub(super) contains: bool,
    /// Seconds since 1970: of what it is about.
    pub(super) created: u64,
    /// What gives the document its number.
    pub(super) identity: Digest,
    /// The program that wrote it: name and version.
    pub(super) tool: (String, String),
}

/// A thing in a bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// An RPM.
    Rpm {
        /// Its name.
        nevra: Nevra,
        /// What it says of itself, where it could be read.
        details: Option<Arc<PackageDetails>>,
        /// SHA-256 of its file, where that is known.
        digest: Option<Digest>,
        /// Where it can be had.
        url: Option<String>,
    },
    /// The environment that packages are built in.
    Environment {
        /// The project.
        project: String,
        /// The digest of its tree.
        tree: Digest,
    },
}

impl Item {
    /// Its name.
    pub fn name(&self) -> String {
        match self {
            Self::Rpm { nevra, .. } => nevra.name.clone(),
            Self::Environment { project, .. } => format!("{project}-environment"),
        }
    }

    /// Version and release; an environment has its digest.
    pub(super) fn version(&self) -> String {
        match self {
            Self::Rpm { nevra, .. } => nevra.evr(),
            Self::Environment { tree, .. } => tree.to_string(),
        }
    }

    pub(super) fn details(&self) -> Option<&PackageDetails> {
        match self {
            Self::Rpm { details, .. } => details.as_deref(),
            Self::Environment { .. } => None,
        }
    }

    /// The SHA-256 of what it is.
    pub(super) fn digest(&self) -> Option<Digest> {
        match self {
            Self::Rpm { digest, .. } => *digest,
            Self::Environment { tree, .. } => Some(*tree),
        }
    }

    /// A name that is the same in every bill, and no other item's.
    pub(super) fn id(&self) -> String {
        let text = match self {
            Self::Rpm { nevra, .. } => nevra.to_string(),
            Self::Environment { tree, .. } => format!("environment-{}", tree.short()),
        };
        let safe = |c: char| {
            if c.is_ascii_alphanumeric() || c == '.' {
                c
            } else {
                '-'
            }
        };
        let plain: String = text.chars().map(safe).collect();
        if plain == text {
            plain
        } else {
            // Two names may be the same without what is not allowed in an id.
            format!("{plain}-{}", Digest::of(text.as_bytes()).short())
        }
    }
}

/// The bill of an environment: its packages, and which needs which.
pub fn environment(
    (project, tool): (&str, &str),
    (tree, epoch): (Digest, i64),
    mut rpms: Vec<Item>,
) -> Bill {
    rpms.sort_by_key(|item| (item.name(), item.id()));
    let mut items = vec![Item::Environment {
        project: project.to_owned(),
        tree,
    }];
    items.extend(rpms);
    let mut bill = Bill {
        depends: BTreeSet::new(),
        built_in: BTreeSet::new(),
        unmet: BTreeMap::new(),
        contains: true,
        created: u64::try_from(epoch).unwrap_or(0),
        identity: identity(&items, tool),
        tool: program(tool),
        items,
    };
    relate(&mut bill, None);
    bill
}

/// The bill of one package of a run: what it requires out of `others` and of the environment, what it was built
/// from (`source`) and in (`environment`).
pub fn package(
    tool: &str,
    subject: Item,
    source: Option<Item>,
    environment: Item,
    others: Vec<Item>,
) -> Bill {
    let created = subject
        .details()
        .map_or(0, |details| details.facts.build_time);
    let mut items = vec![subject, environment];
    let mut built_in = BTreeSet::from([(0, 1)]);
    if let Some(source) = source {
        built_in.insert((0, items.len()));
        items.push(source);
    }
    let fixed = items.len();
    items.extend(others);
    let mut bill = Bill {
        depends: BTreeSet::new(),
        built_in,
        unmet: BTreeMap::new(),
        contains: false,
        created,
        identity: Digest::of(b""),
        tool: program(tool),
        items,
    };
    relate(&mut bill, Some(0));
    keep_needed(&mut bill, fixed);
    bill.identity = identity(&bill.items, tool);
    bill
}

/// Takes out what nothing refers to, behind the first `fixed`.
fn keep_needed(bill: &mut Bill, fixed: usize) {
    let needed: BTreeSet<usize> = bill.depends.iter().map(|(_, on)| *on).collect();
    let kept: Vec<usize> = (0..bill.items.len())
        .filter(|place| *place < fixed || needed.contains(place))
        .collect();
    let moved = |old: usize| kept.iter().position(|place| *place == old).unwrap_or(0);
    bill.depends = bill
        .depends
        .iter()
        .map(|(from, on)| (moved(*from), moved(*on)))
        .collect();
    bill.items = kept
        .iter()
        .map(|place| bill.items[*place].clone())
        .collect();
}

/// Finds out which item provides what another requires: of all items, or of one.
fn relate(bill: &mut Bill, only: Option<usize>) {
    let known = bill.items.iter().enumerate();
    let known: Vec<(usize, &PackageFacts)> = known
        .filter_map(|(place, item)| Some((place, &item.details()?.facts)))
        .filter(|(place, facts)| !facts.is_source() || only == Some(*place))
        .collect();
    let gathering = Gathering::new(known.iter().map(|(_, facts)| *facts).collect());
    let mut depends = BTreeSet::new();
    let mut unmet: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (place, facts) in &known {
        if only.is_some_and(|only| only != *place) {
            continue;
        }
        for requirement in &facts.requires {
            let wanted = &requirement.dependency;
            if wanted.is_rpmlib() {
                continue;
            }
            let found = providers(&gathering, wanted);
            if found.is_empty() {
                unmet.entry(*place).or_default().push(wanted.to_string());
            }
            let others = found.into_iter().map(|found| known[found].0);
            depends.extend(others.filter(|on| on != place).map(|on| (*place, on)));
        }
    }
    for texts in unmet.values_mut() {
        texts.sort();
        texts.dedup();
    }
    (bill.depends, bill.unmet) = (depends, unmet);
}

/// Who provides it; of a rich dependency, who provides any part of it.
fn providers(gathering: &Gathering<'_>, wanted: &Dependency) -> BTreeSet<usize> {
    if !wanted.is_rich() {
        return gathering.providers(wanted);
    }
    let Ok(rich) = wanted.rich() else {
        return BTreeSet::new();
    };
    let leaves = rich.leaves().into_iter();
    leaves.flat_map(|leaf| gathering.providers(leaf)).collect()
}

fn program(tool: &str) -> (String, String) {
    let (name, version) = tool.split_once(' ').unwrap_or((tool, ""));
    (name.to_owned(), version.to_owned())
}

/// The same for the same things.
fn identity(items: &[Item], tool: &str) -> Digest {
    let mut text = tool.to_owned();
    for item in items {
        let digest = item.digest().map(|digest| digest.to_string());
        text.push_str(&format!("\n{} {}", item.id(), digest.unwrap_or_default()));
    }
    Digest::of(text.as_bytes())
}

/// A time as both formats write it.
pub(super) fn timestamp(seconds: u64) -> String {
    use time::macros::format_description;
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let moment = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok())
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    moment.format(form).unwrap_or_default()
}

/// An address of the web, where it is one.
pub(super) fn web(url: &str) -> Option<String> {
    let known = ["https://", "http://"]
        .iter()
        .any(|start| url.starts_with(start));
    let clean =
        !url.contains(|c: char| c.is_whitespace() || c.is_control() || "<>\"{}|\\^`".contains(c));
    (known && clean).then(|| url.to_owned())
}
