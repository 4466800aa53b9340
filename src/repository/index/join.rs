//! The file of an index out of what one or several builders have.

use std::sync::Arc;
use std::thread;

use super::Made;
use super::blocks::{MAX_LENGTH, Sections};
use super::make::{Builder, TooLarge, small};
use super::strings::Key;
use super::{
    DEPENDENCIES, DEPENDENCY_LISTS, DETAILS, ENDS, LISTS, OBSOLETERS, PACKAGE, PACKAGES, PRE,
    PROVIDER_ENDS, PROVIDERS, SUPPLEMENTERS, TEXT, WORD,
};

/// A builder whose numbers become those of the whole.
struct Part {
    builder: Builder,
    /// The final numbers of its strings, and of its packages.
    strings: Vec<u32>,
    packages: Vec<u32>,
    /// How many dependencies, numbers of lists, bytes of details stand before its own.
    dependencies: u32,
    lists: u32,
    details: u32,
}

impl Builder {
    /// What a repository has whose pieces went to these builders.
    pub(in crate::repository) fn join(builders: Vec<Self>) -> Result<Made, TooLarge> {
        if builders.iter().map(Self::size).sum::<usize>() > MAX_LENGTH {
            return Err(TooLarge);
        }
        let mut sections = Sections::default();
        let numbers = number_strings(sorted(&builders), &builders, &mut sections);
        let (packages, order) = number_packages(&builders);
        let mut parts = parts(builders, numbers, packages);
        thread::scope(|scope| {
            for part in &mut parts {
                scope.spawn(|| part.renumber());
            }
        });
        let count = sections[ENDS].len() / WORD;
        tables(&parts, &order, count, &mut sections);
        Ok(Made(Arc::new(sections)))
    }
}

/// A string with its builder and its number there.
type Placed<'a> = (Key<'a>, usize, u32);

/// The strings of each builder in byte order.
fn sorted(builders: &[Builder]) -> Vec<Vec<Placed<'_>>> {
    thread::scope(|scope| {
        let workers: Vec<_> = builders
            .iter()
            .enumerate()
            .map(|(place, builder)| scope.spawn(move || placed(place, builder)))
            .collect();
        let joined = workers.into_iter().map(|worker| {
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        joined.collect()
    })
}

fn placed(place: usize, builder: &Builder) -> Vec<Placed<'_>> {
    let sorted = builder.strings.sorted().into_iter();
    sorted.map(|(key, number)| (key, place, number)).collect()
}

/// Writes the strings, and gives the final numbers of each builder's.
fn number_strings(
    strings: Vec<Vec<Placed<'_>>>,
    builders: &[Builder],
    sections: &mut Sections,
) -> Vec<Vec<u32>> {
    let counts = builders.iter().map(|builder| builder.strings.len());
    let mut numbers: Vec<Vec<u32>> = counts.map(|count| vec![0; count]).collect();
    let (mut text, mut ends) = (Vec::new(), Vec::new());
    let mut before: Option<Key<'_>> = None;
    for (key, place, number) in itertools::kmerge(strings) {
        if before != Some(key) {
            text.extend_from_slice(key.string.as_bytes());
            ends.push(small(text.len()));
            before = Some(key);
        }
        numbers[place][number as usize] = small(ends.len() - 1);
    }
    sections[TEXT] = text;
    sections[ENDS] = words(ends);
    numbers
}

/// The final numbers of each builder's packages, and the packages in that order: the builder, its number there.
fn number_packages(builders: &[Builder]) -> (Vec<Vec<u32>>, Vec<(usize, usize)>) {
    let mut pieces = Vec::new();
    for (place, builder) in builders.iter().enumerate() {
        let mut start = 0;
        for (number, end) in &builder.pieces {
            pieces.push((*number, place, start..*end));
            start = *end;
        }
    }
    pieces.sort_unstable_by_key(|(number, ..)| *number);
    let counts = builders.iter().map(|builder| builder.packages.len());
    let mut numbers: Vec<Vec<u32>> = counts.map(|count| vec![0; count]).collect();
    let mut order = Vec::new();
    for (_, place, packages) in pieces {
        for package in packages {
            numbers[place][package] = small(order.len());
            order.push((place, package));
        }
    }
    (numbers, order)
}

fn parts(builders: Vec<Builder>, strings: Vec<Vec<u32>>, packages: Vec<Vec<u32>>) -> Vec<Part> {
    let (mut dependencies, mut lists, mut details) = (0, 0, 0);
    let numbers = strings.into_iter().zip(packages);
    let part = |(builder, (strings, packages)): (Builder, (Vec<u32>, Vec<u32>))| {
        let part = Part {
            builder,
            strings,
            packages,
            dependencies,
            lists,
            details,
        };
        dependencies += small(part.builder.dependencies.len());
        lists += small(part.builder.lists.len());
        details += small(part.builder.details.len());
        part
    };
    builders.into_iter().zip(numbers).map(part).collect()
}

impl Part {
    /// Replaces all numbers by the final ones.
    fn renumber(&mut self) {
        let Self {
            builder,
            strings,
            packages,
            ..
        } = self;
        let replace = |number: &mut u32| *number = strings[*number as usize];
        for [name, _, version] in &mut builder.dependencies {
            replace(name);
            replace(version);
        }
        for package in &mut builder.packages {
            let [name, _, version, release, arch, vendor, lists, details, _] = package;
            [name, version, release, arch, vendor]
                .into_iter()
                .for_each(replace);
            let mut at = *lists as usize;
            for _list in 0..DEPENDENCY_LISTS {
                let end = at + 1 + builder.lists[at] as usize;
                for number in &mut builder.lists[at + 1..end] {
                    *number = ((*number & !PRE) + self.dependencies) | (*number & PRE);
                }
                at = end;
            }
            let paths = builder.lists[at] as usize;
            builder.lists[at + 1..=at + paths]
                .iter_mut()
                .for_each(replace);
            *lists += self.lists;
            *details += self.details;
        }
        for pairs in [
            &mut builder.provided,
            &mut builder.obsoleted,
            &mut builder.supplemented,
        ] {
            for (name, package) in pairs.iter_mut() {
                replace(name);
                *package = packages[*package as usize];
            }
            pairs.sort_unstable();
            pairs.dedup();
        }
    }
}

/// Writes all sections but the strings, of which there are `count`.
fn tables(parts: &[Part], order: &[(usize, usize)], count: usize, sections: &mut Sections) {
    let builders = || parts.iter().map(|part| &part.builder);
    let packages = order.iter().flat_map(|(place, package)| -> [u32; PACKAGE] {
        parts[*place].builder.packages[*package]
    });
    sections[PACKAGES] = words(packages);
    sections[DEPENDENCIES] =
        words(builders().flat_map(|one| one.dependencies.iter().flatten().copied()));
    sections[LISTS] = words(builders().flat_map(|one| one.lists.iter().copied()));
    let provided = merged(builders().map(|one| one.provided.as_slice()));
    let mut ends = vec![0_u32; count];
    for (name, _) in &provided {
        ends[*name as usize] += 1;
    }
    let mut sum = 0;
    for end in &mut ends {
        sum += *end;
        *end = sum;
    }
    sections[PROVIDER_ENDS] = words(ends);
    sections[PROVIDERS] = words(provided.into_iter().map(|(_, package)| package));
    let both = |pairs: Vec<(u32, u32)>| {
        words(
            pairs
                .into_iter()
                .flat_map(|(name, package)| [name, package]),
        )
    };
    sections[OBSOLETERS] = both(merged(builders().map(|one| one.obsoleted.as_slice())));
    sections[SUPPLEMENTERS] = both(merged(builders().map(|one| one.supplemented.as_slice())));
    for builder in builders() {
        sections[DETAILS].extend_from_slice(&builder.details);
    }
}

/// Sorted pairs of several builders; no pair is in two of them.
#[expect(
    clippy::stable_sort_primitive,
    reason = "the stable sort finds what is in order already, and merges it"
)]
fn merged<'a>(pairs: impl Iterator<Item = &'a [(u32, u32)]>) -> Vec<(u32, u32)> {
    let mut all: Vec<(u32, u32)> = pairs.flatten().copied().collect();
    all.sort();
    all
}

fn words(numbers: impl IntoIterator<Item = u32>) -> Vec<u8> {
    let numbers = numbers.into_iter();
    let mut bytes = Vec::with_capacity(numbers.size_hint().0 * WORD);
    for number in numbers {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes
}
