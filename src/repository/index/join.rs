//! The file of an index out of what one or several builders have.

use std::iter;
use std::ops::Range;
use std::sync::Arc;
use std::thread;

use super::Made;
use super::blocks::{MAX_LENGTH, Section, Sections};
use super::make::{Builder, TooLarge, small};
use super::slots::{self, Keyed};
use super::strings::Strings;
use super::{
    DEPENDENCIES, DEPENDENCY_LISTS, DETAILS, ENDS, LISTS, OBSOLETERS, PACKAGE, PACKAGES, PRE,
    PROVIDER_ENDS, PROVIDERS, SLOTS, SUPPLEMENTERS, TEXT,
};
use crate::digest::Digest;
use crate::threads::{beside, ended};

/// A builder whose numbers become those of the whole.
struct Part {
    builder: Builder,
    /// The final numbers of its strings; none where they are its own.
    strings: Option<Vec<u32>>,
    /// The final numbers of its packages.
    packages: Vec<u32>,
    /// How many dependencies, numbers of lists, bytes of details stand before its own.
    dependencies: u32,
    lists: u32,
    details: u32,
}

impl Builder {
    /// What a repository has whose pieces went to these builders, read from the `primary` with this digest.
    pub(in crate::repository) fn join(
        mut builders: Vec<Self>,
        primary: &Digest,
    ) -> Result<Made, TooLarge> {
        if builders.iter().map(Self::size).sum::<usize>() > MAX_LENGTH {
            return Err(TooLarge);
        }
        let Numbered {
            text,
            ends,
            numbers,
        } = number_strings(&mut builders);
        let (packages, order) = number_packages(&builders);
        let mut parts = parts(builders, numbers, packages);
        let (slots, ()) = beside(
            || slots_of(&text, &ends, Keyed::by(primary)),
            || parts.iter_mut().for_each(Part::renumber),
        );
        let (packages, names) = beside(
            || in_order(&parts, &order),
            || Names::of(&parts, ends.len()),
        );
        let (mut dependencies, mut lists, mut details) = (Vec::new(), Vec::new(), Vec::new());
        for part in parts {
            dependencies.push(part.builder.dependencies.into_flattened());
            lists.push(part.builder.lists);
            details.push(part.builder.details);
        }
        let sections = [
            (TEXT, Section::of_bytes([text])),
            (ENDS, Section::of_words([ends])),
            (SLOTS, Section::of_words([slots])),
            (PACKAGES, Section::of_words([packages.into_flattened()])),
            (PROVIDER_ENDS, Section::of_words([names.ends])),
            (PROVIDERS, Section::of_words([names.providers])),
            (OBSOLETERS, Section::of_words([names.obsoleters])),
            (SUPPLEMENTERS, Section::of_words([names.supplementers])),
            (DEPENDENCIES, Section::of_words(dependencies)),
            (LISTS, Section::of_words(lists)),
            (DETAILS, Section::of_bytes(details)),
        ];
        let mut all = Sections::default();
        for (place, section) in sections {
            all[place] = section;
        }
        Ok(Made {
            sections: Arc::new(all),
            primary: *primary,
        })
    }
}

/// All strings by their final numbers, and what became of each builder's numbers.
struct Numbered {
    text: Vec<u8>,
    ends: Vec<u32>,
    /// None where they are the builder's own.
    numbers: Vec<Option<Vec<u32>>>,
}

/// The strings of all builders: the first one's keep their numbers, others' follow where no builder before has them.
fn number_strings(builders: &mut [Builder]) -> Numbered {
    let each = builders.iter_mut();
    let strings: Vec<Strings> = each
        .map(|builder| std::mem::take(&mut builder.strings))
        .collect();
    let owners = owners(&strings);
    let mut strings = strings.into_iter();
    let (mut text, mut ends) = strings.next().unwrap_or_default().into_text();
    let mut numbers: Vec<Option<Vec<u32>>> = vec![None];
    for (strings, owners) in strings.zip(owners) {
        let mut number = |(string, owner): (&str, Option<Owner>)| {
            let Some((before, number)) = owner else {
                text.extend_from_slice(string.as_bytes());
                ends.push(small(text.len()));
                return small(ends.len() - 1);
            };
            let numbers = numbers[before as usize].as_ref();
            numbers.map_or(number, |numbers| numbers[number as usize])
        };
        let all = strings.iter().zip(owners).map(&mut number).collect();
        numbers.push(Some(all));
    }
    Numbered {
        text,
        ends,
        numbers,
    }
}

/// A builder, and a string's number there.
type Owner = (u32, u32);

/// Of each builder but the first, who before it has each of its strings.
fn owners(all: &[Strings]) -> Vec<Vec<Option<Owner>>> {
    thread::scope(|scope| {
        let search = |place: usize| {
            let count = all[place].len();
            // Where there are two builders, both processors look for one's strings.
            let halves = [0..count / 2, count / 2..count];
            halves.map(|half| scope.spawn(move || owners_of(all, place, half)))
        };
        let begun: Vec<_> = (1..all.len()).map(search).collect();
        let found = begun.into_iter().map(|halves| {
            let halves = halves.into_iter();
            halves.flat_map(|half| ended(half.join())).collect()
        });
        found.collect()
    })
}

fn owners_of(all: &[Strings], place: usize, range: Range<usize>) -> Vec<Option<Owner>> {
    let owner = |string: &str| {
        let mut before = (0..).zip(&all[..place]);
        before.find_map(|(before, strings)| Some((before, strings.find(string)?)))
    };
    let strings = all[place].iter().skip(range.start).take(range.len());
    strings.map(owner).collect()
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
    strings: Vec<Option<Vec<u32>>>,
    packages: Vec<Vec<u32>>,
) -> Vec<Part> {
    let (mut dependencies, mut lists, mut details) = (0, 0, 0);
    let numbers = strings.into_iter().zip(packages);
    let part = |(builder, (strings, packages))| {
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
    /// Replaces the numbers of strings, dependencies and places by the final ones.
    fn renumber(&mut self) {
        // The first part has them.
        let Some(strings) = &self.strings else {
            return;
        };
        let builder = &mut self.builder;
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
            let (mut at, there) = (*lists as usize + 1, builder.lists[*lists as usize]);
            for list in (0..=DEPENDENCY_LISTS).filter(|list| there & (1 << list) != 0) {
                let end = at + 1 + builder.lists[at] as usize;
                for number in &mut builder.lists[at + 1..end] {
                    if list == DEPENDENCY_LISTS {
                        replace(number);
                    } else {
                        *number = ((*number & !PRE) + self.dependencies) | (*number & PRE);
                    }
                }
                at = end;
            }
            *lists += self.lists;
            *details += self.details;
        }
    }

    /// Pairs of a string and a package, by their final numbers.
    fn numbered<'a>(
        &'a self,
        pairs: &'a [(u32, u32)],
    ) -> impl Iterator<Item = (u32, u32)> + use<'a> {
        let string = |number: u32| match &self.strings {
            Some(strings) => strings[number as usize],
            None => number,
        };
        pairs
            .iter()
            .map(move |(name, package)| (string(*name), self.packages[*package as usize]))
    }
}

/// Where each string is found.
fn slots_of(text: &[u8], ends: &[u32], keyed: Keyed) -> Vec<u32> {
    let hashes = |range: Range<usize>| -> Vec<u32> {
        let start = range.start.checked_sub(1).map_or(0, |before| ends[before]);
        let starts = iter::once(&start).chain(&ends[range.clone()]);
        let each = starts.zip(&ends[range]);
        each.map(|(start, end)| keyed.hash(&text[*start as usize..*end as usize]))
            .collect()
    };
    let half = ends.len() / 2;
    let (mut all, rest) = beside(|| hashes(0..half), || hashes(half..ends.len()));
    all.extend(rest);
    slots::table(&all)
}

/// The packages in their order.
fn in_order(parts: &[Part], order: &[(usize, usize)]) -> Vec<[u32; PACKAGE]> {
    let package = |(place, number): &(usize, usize)| parts[*place].builder.packages[*number];
    order.iter().map(package).collect()
}

/// Who is found by which string.
struct Names {
    /// Where the providers of each string end.
    ends: Vec<u32>,
    providers: Vec<u32>,
    /// Strings and packages.
    obsoleters: Vec<u32>,
    supplementers: Vec<u32>,
}

impl Names {
    /// By the `count` strings.
    fn of(parts: &[Part], count: usize) -> Self {
        let (ends, providers) = by_string(parts, count);
        let sorted = |pairs: fn(&Builder) -> &Vec<(u32, u32)>| {
            let each = parts.iter();
            let all = each.flat_map(|part| part.numbered(pairs(&part.builder)));
            let mut all: Vec<[u32; 2]> = all.map(<[u32; 2]>::from).collect();
            all.sort_unstable();
            all.dedup();
            all.into_flattened()
        };
        Self {
            ends,
            providers,
            obsoleters: sorted(|builder| &builder.obsoleted),
            supplementers: sorted(|builder| &builder.supplemented),
        }
    }
}

/// Who provides what: where the packages of each string end, and the packages, those of one string sorted.
fn by_string(parts: &[Part], count: usize) -> (Vec<u32>, Vec<u32>) {
    let provided = || {
        let each = parts.iter();
        each.flat_map(|part| part.numbered(&part.builder.provided))
    };
    let mut places = vec![0_u32; count];
    for (name, _) in provided() {
        places[name as usize] += 1;
    }
    let mut sum = 0;
    for place in &mut places {
        sum += std::mem::replace(place, sum);
    }
    let mut providers = vec![0; sum as usize];
    for (name, package) in provided() {
        let place = &mut places[name as usize];
        providers[*place as usize] = package;
        *place += 1;
    }
    // Each place has become the end. Packages come in their order from each part alone.
    let mut start = 0;
    for end in &places {
        let of_one = &mut providers[start..*end as usize];
        if !of_one.is_sorted() {
            of_one.sort_unstable();
        }
        start = *end as usize;
    }
    (places, providers)
}
