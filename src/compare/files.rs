//! What the headers say of the files: types, modes, owners, times, link targets, attributes.

use std::collections::{BTreeMap, HashMap};

use super::cause::{self, Cause, Finding, Format, Site, common_ends};
use super::difference::{Evidence, Kind, named};
use super::found::{Found, Place};
use crate::rpm::Tags;

const FILE_TYPE: u64 = 0o170_000;
const REGULAR: u64 = 0o100_000;
const LINK: u64 = 0o120_000;
const GHOST: u64 = 1 << 6;

/// A file as its header has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FileFacts {
    /// Without the slash or the `./` that it begins with.
    pub(super) path: Vec<u8>,
    mode: u64,
    owner: String,
    mtime: u64,
    flags: u64,
    verify: u64,
    link: Vec<u8>,
    attributes: Vec<u8>,
    pub(super) digest: Vec<u8>,
    /// Bytes that the payload has for it.
    pub(super) content: u64,
}

impl FileFacts {
    /// The files of a header, in its order.
    pub(super) fn all(tags: &Tags) -> Vec<Self> {
        let (folders, indexes) = (tags.texts(1118), tags.numbers(1116));
        let text = |tag, at: usize| tags.texts(tag).get(at).cloned().unwrap_or_default();
        let number = |tag, at: usize| tags.numbers(tag).get(at).copied().unwrap_or_default();
        let last = last_links(tags);
        let file = |(at, name): (usize, &Vec<u8>)| {
            let folder = indexes
                .get(at)
                .and_then(|index| folders.get(usize::try_from(*index).ok()?));
            let path = [folder.map_or(&[][..], Vec::as_slice), name].concat();
            let mode = number(1030, at);
            let size = number(1028, at).max(number(5008, at));
            let has_content = matches!(mode & FILE_TYPE, REGULAR | LINK)
                && last
                    .get(&(number(1095, at), number(1096, at)))
                    .is_none_or(|last| *last == at || number(1096, at) == 0);
            Self {
                path: relative(&path).to_vec(),
                mode,
                owner: format!("{}:{}", named(&text(1039, at)), named(&text(1040, at))),
                mtime: number(1034, at),
                flags: number(1037, at),
                verify: number(1045, at),
                link: text(1036, at),
                attributes: text(5010, at),
                digest: text(1035, at),
                content: if has_content { size } else { 0 },
            }
        };
        tags.texts(1117).iter().enumerate().map(file).collect()
    }

    pub(super) fn is_file(&self) -> bool {
        self.mode & FILE_TYPE == REGULAR && self.flags & GHOST == 0
    }
}

/// The last of every set of hard links, which has the content: by device and inode.
fn last_links(tags: &Tags) -> HashMap<(u64, u64), usize> {
    let pairs = tags.numbers(1095).iter().zip(tags.numbers(1096));
    pairs
        .enumerate()
        .map(|(at, (device, inode))| ((*device, *inode), at))
        .collect()
}

/// A path without the slash or the `./` that it begins with.
pub(super) fn relative(path: &[u8]) -> &[u8] {
    let path = path.strip_prefix(b"./").unwrap_or(path);
    path.strip_prefix(b"/").unwrap_or(path)
}

/// Compares two lists of files, but for their content.
pub(super) fn compare(first: &[FileFacts], second: &[FileFacts], found: &mut Found<'_>) {
    let by_path = |files: &'_ [FileFacts]| -> BTreeMap<Vec<u8>, usize> {
        files
            .iter()
            .enumerate()
            .map(|(at, file)| (file.path.clone(), at))
            .collect()
    };
    let (a, b) = (by_path(first), by_path(second));
    for (path, &at) in &a {
        if let Some(&other) = b.get(path) {
            one(&first[at], &second[other], found);
        }
    }
    let missing = |own: &BTreeMap<Vec<u8>, usize>, other: &BTreeMap<Vec<u8>, usize>| {
        own.keys()
            .filter(|path| !other.contains_key(*path))
            .cloned()
            .collect::<Vec<_>>()
    };
    alone(&Place::default(), &missing(&a, &b), &missing(&b, &a), found);
}

fn one(a: &FileFacts, b: &FileFacts, found: &mut Found<'_>) {
    let place = Place::of(named(&a.path));
    let conditions = found.conditions;
    if a.mode & FILE_TYPE != b.mode & FILE_TYPE {
        let values = (format!("{:06o}", a.mode), format!("{:06o}", b.mode));
        found.values(
            &place,
            Kind::Type,
            Format::File,
            cause::unexplained(conditions),
            values,
        );
        return;
    }
    if a.mode != b.mode {
        let [x, y] = [a.mode, b.mode].map(|mode| u32::try_from(mode & 0o7777).unwrap_or_default());
        found.values(
            &place,
            Kind::Mode,
            Format::File,
            cause::mode(x, y, conditions),
            (format!("{x:04o}"), format!("{y:04o}")),
        );
    }
    if a.owner != b.owner {
        found.values(
            &place,
            Kind::Owner,
            Format::File,
            cause::owner(&a.owner, &b.owner, conditions),
            (a.owner.clone(), b.owner.clone()),
        );
    }
    if a.mtime != b.mtime {
        let [x, y] = [a.mtime, b.mtime].map(|time| i64::try_from(time).unwrap_or_default());
        found.values(
            &place,
            Kind::Mtime,
            Format::File,
            cause::mtime(x, y, conditions),
            (x.to_string(), y.to_string()),
        );
    }
    let texts = |a: &FileFacts| {
        format!(
            "flags {:#x}, verify {:#x} {}",
            a.flags,
            a.verify,
            named(&a.attributes)
        )
        .into_bytes()
    };
    text(&place, Kind::Target, &a.link, &b.link, found);
    text(&place, Kind::Attributes, &texts(a), &texts(b), found);
}

fn text(place: &Place, kind: Kind, a: &[u8], b: &[u8], found: &mut Found<'_>) {
    if a != b {
        let finding = explained(a, b, found);
        found.values(place, kind, Format::Text, finding, (named(a), named(b)));
    }
}

fn explained(a: &[u8], b: &[u8], found: &Found<'_>) -> Finding {
    cause::explain(&Site::whole(a, b), Format::Text, found.conditions)
        .unwrap_or_else(|| cause::unexplained(found.conditions))
}

/// Names that only one side has: those that are alike are one name with something in it that differs.
pub(super) fn alone(parent: &Place, first: &[Vec<u8>], second: &[Vec<u8>], found: &mut Found<'_>) {
    const MOST_PAIRS: usize = 1000;
    let mut left: Vec<&Vec<u8>> = second.iter().collect();
    for name in first {
        let place = parent.inside(named(name));
        if is_build_id(name) {
            found.add(
                &place,
                Kind::OnlyInFirst,
                Format::File,
                Finding::consequence(),
                None,
            );
            continue;
        }
        let alike = left
            .iter()
            .take(MOST_PAIRS)
            .enumerate()
            .filter_map(|(at, other)| Some((likeness(name, other)?, at)))
            .max();
        let finding = alike.and_then(|(_, at)| {
            let finding =
                cause::explain(&Site::whole(name, left[at]), Format::Text, found.conditions)?;
            let other = left.remove(at);
            found.add(
                &parent.inside(named(other)),
                Kind::OnlyInSecond,
                Format::Text,
                finding.clone(),
                Some(Evidence::values(named(name), named(other))),
            );
            Some((finding, Evidence::values(named(name), named(other))))
        });
        let (finding, evidence) = match finding {
            Some((finding, evidence)) => (finding, Some(evidence)),
            None => (cause::unexplained(found.conditions), None),
        };
        found.add(&place, Kind::OnlyInFirst, Format::Text, finding, evidence);
    }
    for name in left {
        let finding = if is_build_id(name) {
            Finding::consequence()
        } else {
            cause::unexplained(found.conditions)
        };
        found.add(
            &parent.inside(named(name)),
            Kind::OnlyInSecond,
            Format::File,
            finding,
            None,
        );
    }
}

/// Links that are named by the build-ids of programs.
fn is_build_id(path: &[u8]) -> bool {
    path.starts_with(b"usr/lib/.build-id/") || path.starts_with(b"usr/lib/debug/.build-id/")
}

/// How many bytes two names begin and end with together, where that is most of them.
fn likeness(first: &[u8], second: &[u8]) -> Option<usize> {
    let (before, after) = common_ends(first, second);
    (before + after > 0 && (before + after) * 3 >= first.len().min(second.len()))
        .then_some(before + after)
}

/// A file whose header names another digest than its content has.
pub(super) fn false_digest(path: &[u8], found: &mut Found<'_>) {
    let finding = Finding::new(
        Cause::Unknown,
        "the digest in a header is not that of the content in the payload",
    );
    found.add(
        &Place::of(named(path)),
        Kind::Value,
        Format::Bytes,
        finding,
        None,
    );
}
