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
    strings: Numbers,
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
        let (builders, details) = split_details(builders);
        let lengths: Vec<usize> = details.iter().map(Vec::len).collect();
        let mut sections = Sections::default();
        // What has no numbers in it, beside what numbers the rest.
        let (details, numbers) = beside(
            || joined(details),
            || number_strings(&builders, &mut sections),
        );
        let (packages, order) = number_packages(&builders);
        let mut parts = parts(builders, &lengths, numbers, packages);
        thread::scope(|scope| {
            for part in &mut parts {
                scope.spawn(|| part.renumber());
            }
        });
        let count = sections[ENDS].len() / WORD;
        let ([packages, dependencies, lists], ()) = beside(
            || packages_and_lists(&parts, &order),
            || names(&parts, count, &mut sections),
        );
        sections[PACKAGES] = packages;
        sections[DEPENDENCIES] = dependencies;
        sections[LISTS] = lists;
        sections[DETAILS] = details;
        Ok(Made(Arc::new(sections)))
    }
}

/// Does two things at once, the first in a thread of its own.
fn beside<A: Send, B>(other: impl FnOnce() -> A + Send, own: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let other = scope.spawn(other);
        let own = own();
        (ended(other), own)
    })
}

fn ended<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The builders, and the details that each has.
fn split_details(mut builders: Vec<Builder>) -> (Vec<Builder>, Vec<Vec<u8>>) {
    let details = builders
        .iter_mut()
        .map(|builder| std::mem::take(&mut builder.details))
        .collect();
    (builders, details)
}

/// All in one, in the memory of the first.
fn joined(parts: Vec<Vec<u8>>) -> Vec<u8> {
    let mut parts = parts.into_iter();
    let mut all = parts.next().unwrap_or_default();
    for part in parts {
        all.extend_from_slice(&part);
    }
    all
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
        workers.into_iter().map(ended).collect()
    })
}

fn placed(place: usize, builder: &Builder) -> Vec<Placed<'_>> {
    let sorted = builder.strings.sorted().into_iter();
    sorted.map(|(key, number)| (key, place, number)).collect()
}

/// The final numbers of a builder's strings, each beside its own.
type Numbers = Vec<(u32, u32)>;

/// Strings that follow each other in byte order, each once.
#[derive(Default)]
struct Merged {
    text: Vec<u8>,
    ends: Vec<u32>,
    /// Of each builder.
    numbers: Vec<Numbers>,
}

/// Writes the strings, and gives the final numbers of each builder's.
fn number_strings(builders: &[Builder], sections: &mut Sections) -> Vec<Numbers> {
    let sorted = sorted(builders);
    // Two halves at once, cut where the middle of one builder's strings is.
    let middle = sorted.first().and_then(|one| one.get(one.len() / 2));
    let cut = |one: &Vec<Placed<'_>>| match middle {
        Some((middle, ..)) => one.partition_point(|(key, ..)| key < middle),
        None => 0,
    };
    let (lower, upper): (Vec<_>, Vec<_>) = sorted.iter().map(|one| one.split_at(cut(one))).unzip();
    let (mut lower, upper) = beside(|| merged_strings(&lower), || merged_strings(&upper));
    let (text, count) = (small(lower.text.len()), small(lower.ends.len()));
    lower.text.extend_from_slice(&upper.text);
    lower.ends.extend(upper.ends.iter().map(|end| end + text));
    for (all, upper) in lower.numbers.iter_mut().zip(upper.numbers) {
        all.extend(upper.into_iter().map(|(own, number)| (own, number + count)));
    }
    sections[TEXT] = lower.text;
    sections[ENDS] = words(&[&lower.ends]);
    lower.numbers
}

fn merged_strings(sorted: &[&[Placed<'_>]]) -> Merged {
    let mut merged = Merged {
        numbers: sorted
            .iter()
            .map(|one| Vec::with_capacity(one.len()))
            .collect(),
        ..Merged::default()
    };
    let mut before: Option<&str> = None;
    for (key, place, number) in itertools::kmerge(sorted.iter().copied()) {
        if before != Some(key.string) {
            merged.text.extend_from_slice(key.string.as_bytes());
            merged.ends.push(small(merged.text.len()));
            before = Some(key.string);
        }
        merged.numbers[*place].push((*number, small(merged.ends.len() - 1)));
    }
    merged
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

fn parts(
    builders: Vec<Builder>,
    lengths: &[usize],
    strings: Vec<Numbers>,
    packages: Vec<Vec<u32>>,
) -> Vec<Part> {
    let (mut dependencies, mut lists, mut details) = (0, 0, 0);
    let numbers = strings.into_iter().zip(packages).zip(lengths);
    let part = |(builder, ((strings, packages), length)): (Builder, (_, &usize))| {
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
        details += small(*length);
        part
    };
    builders.into_iter().zip(numbers).map(part).collect()
}

impl Part {
    /// Replaces all numbers by the final ones.
    fn renumber(&mut self) {
        let Self {
            builder,
            strings: numbers,
            packages,
            ..
        } = self;
        let mut strings = vec![0; numbers.len()];
        for (own, number) in numbers {
            strings[*own as usize] = *number;
        }
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

/// The sections of packages, dependencies and lists.
fn packages_and_lists(parts: &[Part], order: &[(usize, usize)]) -> [Vec<u8>; 3] {
    let builders = || parts.iter().map(|part| &part.builder);
    let packages = order.iter();
    let packages: Vec<[u32; PACKAGE]> = packages
        .map(|(place, package)| parts[*place].builder.packages[*package])
        .collect();
    [
        words(&[packages.as_flattened()]),
        words(
            &builders()
                .map(|one| one.dependencies.as_flattened())
                .collect::<Vec<_>>(),
        ),
        words(
            &builders()
                .map(|one| one.lists.as_slice())
                .collect::<Vec<_>>(),
        ),
    ]
}

/// Writes who is found by which of the `count` strings.
fn names(parts: &[Part], count: usize, sections: &mut Sections) {
    let builders = || parts.iter().map(|part| &part.builder);
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
    sections[PROVIDER_ENDS] = words(&[&ends]);
    let providers: Vec<u32> = provided.into_iter().map(|(_, package)| package).collect();
    sections[PROVIDERS] = words(&[&providers]);
    let both = |pairs: Vec<(u32, u32)>| {
        let pairs: Vec<[u32; 2]> = pairs.into_iter().map(<[u32; 2]>::from).collect();
        words(&[pairs.as_flattened()])
    };
    sections[OBSOLETERS] = both(merged(builders().map(|one| one.obsoleted.as_slice())));
    sections[SUPPLEMENTERS] = both(merged(builders().map(|one| one.supplemented.as_slice())));
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

/// Numbers as the file has them.
fn words(parts: &[&[u32]]) -> Vec<u8> {
    let count: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = vec![0; count * WORD];
    let mut rest = bytes.as_mut_slice();
    for part in parts {
        let (words, after) = rest.split_at_mut(part.len() * WORD);
        let (words, _) = words.as_chunks_mut::<WORD>();
        for (word, number) in words.iter_mut().zip(*part) {
            *word = number.to_le_bytes();
        }
        rest = after;
    }
    bytes
}
