//! An index, made from packages one after the other.

use ahash::AHashMap;

use super::blocks::{MAX_LENGTH, seal};
use super::{
    DEPENDENCIES, DEPENDENCY, DETAILS, ENDS, FILE, LISTS, OBSOLETERS, PACKAGE, PACKAGES, PRE,
    PROVIDER_ENDS, PROVIDERS, RICH, RPMLIB, SECTIONS, SUPPLEMENTERS, TEXT, WORD,
};
use crate::digest::Digest;
use crate::repository::{Checksum, PackageEntry};
use crate::rpm::{Dependency, PackageFacts};

/// Makes the index of a repository.
///
/// Strings get their numbers as they come; the final ones, which are in byte order, replace them at the end.
#[derive(Debug, Default)]
pub struct Builder {
    strings: AHashMap<Box<str>, u32>,
    bytes: usize,
    known: AHashMap<(u32, u32, u32), u32>,
    dependencies: Vec<[u32; DEPENDENCY]>,
    packages: Vec<[u32; PACKAGE]>,
    /// Numbers of dependencies, and of strings where a list of paths is.
    lists: Vec<u32>,
    /// Strings and the packages that provide them.
    provided: Vec<(u32, u32)>,
    obsoleted: Vec<(u32, u32)>,
    supplemented: Vec<(u32, u32)>,
    details: Vec<u8>,
}

/// A repository that is larger than any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

fn small(value: usize) -> u32 {
    // Lengths are below `MAX_LENGTH`, which `add` keeps.
    u32::try_from(value).unwrap_or(u32::MAX)
}

impl Builder {
    /// An index without packages.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a package; refuses one with which the index would be larger than any repository's.
    pub fn add(&mut self, entry: &PackageEntry) -> Result<(), TooLarge> {
        let facts = &entry.facts;
        let nevra = &facts.nevra;
        let package = small(self.packages.len());
        let name = self.string(&nevra.name);
        self.provided.push((name, package));
        let lists = small(self.lists.len());
        self.lists(facts, package);
        self.names(facts, package);
        let start = self.details.len();
        self.detail(entry);
        let [version, release, arch, vendor] =
            [&nevra.version, &nevra.release, &nevra.arch, &facts.vendor]
                .map(|text| self.string(text));
        let length = small(self.details.len() - start);
        let start = small(start);
        let epoch = nevra.epoch;
        self.packages.push([
            name, epoch, version, release, arch, vendor, lists, start, length,
        ]);
        let size = self.bytes
            + (self.lists.len() + self.dependencies.len() * DEPENDENCY + self.strings.len() * 2)
                * WORD
            + self.packages.len() * PACKAGE * WORD
            + (self.provided.len() + self.obsoleted.len() * 2 + self.supplemented.len() * 2) * WORD
            + self.details.len();
        if size + (1 << 16) < MAX_LENGTH {
            Ok(())
        } else {
            Err(TooLarge)
        }
    }

    /// What the package says of itself, and its paths.
    fn lists(&mut self, facts: &PackageFacts, package: u32) {
        self.list(&facts.provides);
        self.lists.push(small(facts.requires.len()));
        for requirement in &facts.requires {
            let dependency = self.dependency(&requirement.dependency);
            self.lists
                .push(dependency | if requirement.pre { PRE } else { 0 });
        }
        for list in [
            &facts.conflicts,
            &facts.obsoletes,
            &facts.recommends,
            &facts.suggests,
            &facts.supplements,
            &facts.enhances,
        ] {
            self.list(list);
        }
        self.lists.push(small(facts.files.len()));
        for path in &facts.files {
            let path = self.string(path);
            self.lists.push(path);
            self.provided.push((path, package));
        }
    }

    /// By which names the package is found.
    fn names(&mut self, facts: &PackageFacts, package: u32) {
        for dependency in facts.provides.iter().filter(|given| !given.is_rich()) {
            let name = self.string(dependency.name());
            self.provided.push((name, package));
        }
        for dependency in &facts.obsoletes {
            let name = self.string(dependency.name());
            self.obsoleted.push((name, package));
        }
        for dependency in &facts.supplements {
            for leaf in dependency.leaf_names() {
                let name = self.string(&leaf);
                self.supplemented.push((name, package));
            }
        }
    }

    fn string(&mut self, text: &str) -> u32 {
        if let Some(known) = self.strings.get(text) {
            return *known;
        }
        let number = small(self.strings.len());
        self.bytes += text.len();
        self.strings.insert(text.into(), number);
        number
    }

    fn list(&mut self, dependencies: &[Dependency]) {
        self.lists.push(small(dependencies.len()));
        for dependency in dependencies {
            let number = self.dependency(dependency);
            self.lists.push(number);
        }
    }

    fn dependency(&mut self, dependency: &Dependency) -> u32 {
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
        let next = small(self.dependencies.len());
        let number = *self
            .known
            .entry((name, comparison, version))
            .or_insert(next);
        if number == next {
            self.dependencies.push([name, comparison, version]);
        }
        number
    }

    /// Sizes and time, then texts, each after its length.
    fn detail(&mut self, entry: &PackageEntry) {
        let facts = &entry.facts;
        for number in [entry.size, facts.installed_size, facts.build_time] {
            self.details.extend_from_slice(&number.to_le_bytes());
        }
        self.details.push(match entry.checksum {
            Checksum::Sha256(_) => 0,
            Checksum::Sha512(_) => 1,
        });
        self.details.push(u8::from(facts.source_rpm.is_some()));
        let source = facts.source_rpm.as_deref().unwrap_or_default();
        for text in [
            entry.id.as_str(),
            entry.location.as_str(),
            facts.summary.as_str(),
            source,
        ] {
            self.details
                .extend_from_slice(&small(text.len()).to_le_bytes());
            self.details.extend_from_slice(text.as_bytes());
        }
    }

    /// The whole file, which names the `primary` that it was made from.
    pub fn finish(mut self, primary: &Digest) -> Vec<u8> {
        self.known = AHashMap::new();
        let mut order: Vec<(Box<str>, u32)> =
            std::mem::take(&mut self.strings).into_iter().collect();
        order.sort_unstable();
        let mut ranks = vec![0; order.len()];
        let mut text = Vec::with_capacity(self.bytes);
        let mut ends = Vec::with_capacity(order.len());
        for (rank, (string, number)) in order.into_iter().enumerate() {
            ranks[number as usize] = small(rank);
            text.extend_from_slice(string.as_bytes());
            ends.push(small(text.len()));
        }
        self.rank(&ranks);
        let mut sections: [Vec<u8>; SECTIONS] = Default::default();
        sections[TEXT] = text;
        sections[ENDS] = words(ends);
        sections[DEPENDENCIES] = words(self.dependencies.into_iter().flatten());
        sections[PACKAGES] = words(self.packages.into_iter().flatten());
        sections[LISTS] = words(self.lists);
        let (provider_ends, providers) = grouped(self.provided, ranks.len());
        sections[PROVIDER_ENDS] = words(provider_ends);
        sections[PROVIDERS] = words(providers);
        for (section, mut pairs) in [
            (OBSOLETERS, self.obsoleted),
            (SUPPLEMENTERS, self.supplemented),
        ] {
            pairs.sort_unstable();
            pairs.dedup();
            sections[section] = words(
                pairs
                    .into_iter()
                    .flat_map(|(name, package)| [name, package]),
            );
        }
        sections[DETAILS] = self.details;
        seal(sections, primary)
    }

    /// Replaces the numbers of strings by their final ones.
    fn rank(&mut self, ranks: &[u32]) {
        let replace = |number: &mut u32| *number = ranks[*number as usize];
        for [name, _, version] in &mut self.dependencies {
            replace(name);
            replace(version);
        }
        for [name, _, version, release, arch, vendor, lists, _, _] in &mut self.packages {
            [name, version, release, arch, vendor]
                .into_iter()
                .for_each(replace);
            let mut at = *lists as usize;
            for _list in 0..super::DEPENDENCY_LISTS {
                at += 1 + self.lists[at] as usize;
            }
            let paths = self.lists[at] as usize;
            self.lists[at + 1..=at + paths].iter_mut().for_each(replace);
        }
        for pairs in [
            &mut self.provided,
            &mut self.obsoleted,
            &mut self.supplemented,
        ] {
            for (name, _) in pairs {
                replace(name);
            }
        }
    }
}

/// Pairs of string and package as the end of each string's packages, and the packages.
fn grouped(mut pairs: Vec<(u32, u32)>, strings: usize) -> (Vec<u32>, Vec<u32>) {
    pairs.sort_unstable();
    pairs.dedup();
    let mut ends = vec![0_u32; strings];
    for (name, _) in &pairs {
        ends[*name as usize] += 1;
    }
    let mut sum = 0;
    for end in &mut ends {
        sum += *end;
        *end = sum;
    }
    (
        ends,
        pairs.into_iter().map(|(_, package)| package).collect(),
    )
}

fn words(numbers: impl IntoIterator<Item = u32>) -> Vec<u8> {
    numbers.into_iter().flat_map(u32::to_le_bytes).collect()
}
