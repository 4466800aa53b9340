//! An index, made from packages one after the other.

use ahash::AHashMap;

use super::blocks::MAX_LENGTH;
use super::strings::Strings;
use super::{
    DEPENDENCY, DEPENDENCY_LISTS, FILE, Made, OBSOLETES, PACKAGE, PRE, PROVIDES, REQUIRES, RICH,
    RPMLIB, SUPPLEMENTS, WORD,
};
use crate::digest::Digest;
use crate::repository::{Checksum, PackageEntry};
use crate::rpm::{Dependency, DependencyParts, Requirement};

/// What an index has of a package but for its lists.
#[derive(Debug, Clone, Copy)]
pub(in crate::repository) struct Head<'a> {
    pub(in crate::repository) name: &'a str,
    pub(in crate::repository) epoch: u32,
    pub(in crate::repository) version: &'a str,
    pub(in crate::repository) release: &'a str,
    pub(in crate::repository) arch: &'a str,
    pub(in crate::repository) vendor: &'a str,
    pub(in crate::repository) location: &'a str,
    /// The hex digits of its checksum.
    pub(in crate::repository) id: &'a str,
    /// Whether that is SHA-512, not SHA-256.
    pub(in crate::repository) long: bool,
    pub(in crate::repository) size: u64,
    pub(in crate::repository) build_time: u64,
}

/// A dependency by its number, and whether scriptlets need it.
#[derive(Debug, Clone, Copy)]
pub(in crate::repository) struct Required {
    number: u32,
    pre: bool,
}

/// Makes the index of a repository, or of a part of it.
///
/// Strings get their numbers as they come; where there are several builders, those of the first replace the others'
/// at the end.
#[derive(Debug, Default)]
pub struct Builder {
    pub(super) strings: Strings,
    known: AHashMap<[u32; DEPENDENCY], u32>,
    /// The rich ones among the dependencies.
    rich: AHashMap<u32, Dependency>,
    pub(super) dependencies: Vec<[u32; DEPENDENCY]>,
    pub(super) packages: Vec<[u32; PACKAGE]>,
    /// Numbers of dependencies, and of strings where a list of paths is.
    pub(super) lists: Vec<u32>,
    /// Strings and the packages that provide them, no pair twice.
    pub(super) provided: Vec<(u32, u32)>,
    pub(super) obsoleted: Vec<(u32, u32)>,
    pub(super) supplemented: Vec<(u32, u32)>,
    pub(super) details: Vec<u8>,
    /// The names of one package; the memory is used again.
    names: Vec<u32>,
    /// The pieces that it had of the repository, and how many packages there were at the end of each.
    pub(super) pieces: Vec<(usize, usize)>,
}

/// So many bytes of a compressed file come to one string, about.
const BYTES_OF_STRING: usize = 32;

/// A repository that is larger than any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

pub(super) fn small(value: usize) -> u32 {
    // Lengths are below `MAX_LENGTH`, which `add` keeps.
    u32::try_from(value).unwrap_or(u32::MAX)
}

impl Builder {
    /// An index without packages.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same for its share of a file of metadata, in bytes: what it grows to need not be moved meanwhile. Room that is
    /// not used takes no memory.
    pub(in crate::repository) fn with_room(bytes: usize) -> Self {
        let numbers = bytes / WORD;
        Self {
            strings: Strings::with_room(bytes / BYTES_OF_STRING, bytes),
            dependencies: Vec::with_capacity(numbers / DEPENDENCY),
            packages: Vec::with_capacity(numbers / PACKAGE),
            lists: Vec::with_capacity(numbers),
            provided: Vec::with_capacity(numbers / 2),
            details: Vec::with_capacity(2 * bytes),
            ..Self::default()
        }
    }

    /// Adds a package; refuses one with which the index would be larger than any repository's.
    pub fn add(&mut self, entry: &PackageEntry) -> Result<(), TooLarge> {
        let facts = &entry.facts;
        let mut numbers = |list: &[Dependency]| -> Vec<Required> {
            let number = |dependency| Required {
                number: self.dependency(dependency),
                pre: false,
            };
            list.iter().map(number).collect()
        };
        let provides = numbers(&facts.provides);
        let rest = [
            &facts.conflicts,
            &facts.obsoletes,
            &facts.recommends,
            &facts.suggests,
            &facts.supplements,
            &facts.enhances,
        ]
        .map(|list| numbers(list));
        let requires: Vec<Required> = facts
            .requires
            .iter()
            .map(|requirement| self.requirement(requirement))
            .collect();
        let [
            conflicts,
            obsoletes,
            recommends,
            suggests,
            supplements,
            enhances,
        ] = &rest;
        let lists = [
            &provides,
            &requires,
            conflicts,
            obsoletes,
            recommends,
            suggests,
            supplements,
            enhances,
        ];
        let paths: Vec<u32> = facts.files.iter().map(|path| self.string(path)).collect();
        self.package(&head(entry), &lists.map(Vec::as_slice), &paths)
    }

    /// The same of a package whose dependencies and paths have their numbers.
    pub(in crate::repository) fn package(
        &mut self,
        head: &Head<'_>,
        lists: &[&[Required]; DEPENDENCY_LISTS],
        paths: &[u32],
    ) -> Result<(), TooLarge> {
        let package = small(self.packages.len());
        let [name, version, release, arch, vendor] = self.head(head);
        let place = small(self.lists.len());
        self.lists(lists, paths);
        self.names(name, lists, paths, package);
        let start = self.details.len();
        self.detail(head);
        let length = small(self.details.len() - start);
        self.packages.push([
            name,
            head.epoch,
            version,
            release,
            arch,
            vendor,
            place,
            small(start),
            length,
        ]);
        if self.size() < MAX_LENGTH {
            Ok(())
        } else {
            Err(TooLarge)
        }
    }

    /// The strings of a package's head. Neighbours have most of them in common.
    fn head(&mut self, head: &Head<'_>) -> [u32; 5] {
        let texts = [
            head.name,
            head.version,
            head.release,
            head.arch,
            head.vendor,
        ];
        let before = self.packages.last();
        let before = before.map(|[name, _, version, release, arch, vendor, ..]| {
            [*name, *version, *release, *arch, *vendor]
        });
        std::array::from_fn(|place| match before {
            Some(before) if self.strings.get(before[place]) == texts[place] => before[place],
            _ => self.string(texts[place]),
        })
    }

    /// Ends the piece with this number of a repository whose pieces go to several builders; gives how many packages it had.
    pub(in crate::repository) fn end_piece(&mut self, number: usize) -> usize {
        let before = self.pieces.last().map_or(0, |(_, before)| *before);
        self.pieces.push((number, self.packages.len()));
        self.packages.len() - before
    }

    /// At least as much as the index will have, bytes.
    pub(super) fn size(&self) -> usize {
        let numbers = self.lists.len()
            + self.dependencies.len() * DEPENDENCY
            + self.strings.len() * 2
            + self.packages.len() * PACKAGE
            + self.provided.len()
            + self.obsoleted.len() * 2
            + self.supplemented.len() * 2;
        self.strings.bytes() + numbers * WORD + self.details.len() + (1 << 16)
    }

    /// What the package says of itself, and its paths.
    fn lists(&mut self, lists: &[&[Required]; DEPENDENCY_LISTS], paths: &[u32]) {
        let start = self.lists.len();
        self.lists.push(0);
        for (place, list) in lists
            .iter()
            .enumerate()
            .filter(|(_, list)| !list.is_empty())
        {
            self.lists[start] |= 1 << place;
            self.lists.push(small(list.len()));
            let mark = |one: &Required| match one {
                Required { number, pre: true } if place == REQUIRES => number | PRE,
                Required { number, .. } => *number,
            };
            self.lists.extend(list.iter().map(mark));
        }
        if !paths.is_empty() {
            self.lists[start] |= 1 << DEPENDENCY_LISTS;
            self.lists.push(small(paths.len()));
            self.lists.extend_from_slice(paths);
        }
    }

    /// By which names the package is found.
    fn names(
        &mut self,
        own: u32,
        lists: &[&[Required]; DEPENDENCY_LISTS],
        paths: &[u32],
        package: u32,
    ) {
        let stored = |one: &Required| self.dependencies[one.number as usize];
        let provided = lists[PROVIDES].iter().map(stored);
        let plain = provided.filter(|[_, comparison, _]| comparison & RICH == 0);
        self.names.clear();
        self.names.push(own);
        self.names.extend(plain.map(|[name, ..]| name));
        self.names.extend_from_slice(paths);
        self.names.sort_unstable();
        self.names.dedup();
        let names = self.names.iter();
        self.provided.extend(names.map(|name| (*name, package)));
        let obsoleted = lists[OBSOLETES].iter().map(stored);
        self.obsoleted
            .extend(obsoleted.map(|[name, ..]| (name, package)));
        for one in lists[SUPPLEMENTS] {
            let names = match self.rich.get(&one.number).map(Dependency::leaf_names) {
                Some(leaves) => leaves.iter().map(|leaf| self.string(leaf)).collect(),
                None => vec![self.dependencies[one.number as usize][0]],
            };
            let pairs = names.into_iter().map(|name| (name, package));
            self.supplemented.extend(pairs);
        }
    }

    /// The number of a dependency.
    pub(in crate::repository) fn requirement(&mut self, requirement: &Requirement) -> Required {
        let number = self.dependency(&requirement.dependency);
        Required {
            number,
            pre: requirement.pre,
        }
    }

    /// The same of one that was not seen before, or need not be remembered.
    pub(in crate::repository) fn new_requirement(
        &mut self,
        dependency: DependencyParts<'_>,
        pre: bool,
    ) -> Required {
        let row = self.row(dependency);
        let number = self.push(row, dependency);
        Required { number, pre }
    }

    /// The number of a string, for now.
    pub(in crate::repository) fn string(&mut self, text: &str) -> u32 {
        self.strings.number(text)
    }

    fn dependency(&mut self, dependency: &Dependency) -> u32 {
        let dependency = dependency.parts();
        let row = self.row(dependency);
        if let Some(known) = self.known.get(&row) {
            return *known;
        }
        let number = self.push(row, dependency);
        self.known.insert(row, number);
        number
    }

    fn push(&mut self, row: [u32; DEPENDENCY], dependency: DependencyParts<'_>) -> u32 {
        let number = small(self.dependencies.len());
        self.dependencies.push(row);
        if dependency.is_rich() {
            self.rich.insert(number, dependency.to_dependency());
        }
        number
    }

    /// A dependency as the index has it.
    fn row(&mut self, dependency: DependencyParts<'_>) -> [u32; DEPENDENCY] {
        let name = self.string(dependency.name());
        let (comparison, version) = match dependency.comparison() {
            Some((comparison, version)) => (comparison as u32 + 1, self.string(version)),
            None => (0, name),
        };
        let marks = [
            (dependency.is_rich(), RICH),
            (dependency.is_file(), FILE),
            (dependency.is_rpmlib(), RPMLIB),
        ];
        let marks = marks.iter().filter(|(set, _)| *set);
        let comparison = marks.fold(comparison, |all, (_, mark)| all | mark);
        [name, comparison, version]
    }

    /// Size and time, which checksum, then texts, each after its length.
    fn detail(&mut self, head: &Head<'_>) {
        for number in [head.size, head.build_time] {
            self.details.extend_from_slice(&number.to_le_bytes());
        }
        self.details.push(u8::from(head.long));
        for text in [head.id, head.location] {
            self.details
                .extend_from_slice(&small(text.len()).to_le_bytes());
            self.details.extend_from_slice(text.as_bytes());
        }
    }

    /// What the packages come to, which are those of the `primary` with this digest.
    pub fn finish(mut self, primary: &Digest) -> Result<Made, TooLarge> {
        self.end_piece(0);
        Self::join(vec![self], primary)
    }
}

fn head(entry: &PackageEntry) -> Head<'_> {
    let facts = &entry.facts;
    let nevra = &facts.nevra;
    Head {
        name: &nevra.name,
        epoch: nevra.epoch,
        version: &nevra.version,
        release: &nevra.release,
        arch: &nevra.arch,
        vendor: &facts.vendor,
        location: &entry.location,
        id: &entry.id,
        long: matches!(entry.checksum, Checksum::Sha512(_)),
        size: entry.size,
        build_time: facts.build_time,
    }
}
