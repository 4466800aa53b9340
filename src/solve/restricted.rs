//! What a request can reach gives the same answer as everything there is: the same packages in the same order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::differential::{Random, Read, jobs, read, request, write_repository};
use super::{Preference, RepositoryId, Request, Universe};
use crate::digest::Digest;
use crate::repository::{Index, IndexBuilder, Offered, PackageEntry, Reach, find_files};
use crate::rpm::{Gathering, PackageFacts};

/// Repositories as they were read, and the index of each.
struct Repositories {
    read: Vec<Read>,
    indexes: Vec<Index>,
    preferences: Vec<Preference>,
}

impl Repositories {
    fn new(read: Vec<Read>, priorities: &[u16]) -> Self {
        let indexes = read.iter().map(|one| index(&one.entries)).collect();
        let preferences = priorities.iter().map(|priority| Preference {
            priority: *priority,
            ..Preference::default()
        });
        Self {
            read,
            indexes,
            preferences: preferences.collect(),
        }
    }

    fn universe(&self, entries: &[Vec<&PackageEntry>]) -> (Universe, Vec<RepositoryId>) {
        let mut universe = Universe::new("x86_64").unwrap();
        let names = entries.iter().flatten();
        universe.introduce(names.map(|entry| entry.facts.nevra.name.as_str()));
        let ids = entries
            .iter()
            .zip(&self.preferences)
            .map(|(entries, preference)| {
                let facts: Vec<&PackageFacts> = entries.iter().map(|entry| &entry.facts).collect();
                universe.add_repository("lab", *preference, &facts)
            });
        let ids = ids.collect();
        (universe, ids)
    }

    /// The universe of everything.
    fn whole(&self) -> (Universe, Vec<RepositoryId>) {
        let all = self.read.iter().map(|one| one.entries.iter().collect());
        self.universe(&all.collect::<Vec<_>>())
    }

    /// Looks up files until nothing is missing, then solves.
    fn answer(
        &self,
        (universe, ids): &mut (Universe, Vec<RepositoryId>),
        shown: &[Vec<&PackageEntry>],
        request: &Request,
    ) -> String {
        loop {
            let paths = universe.needs_filelists(request);
            if paths.is_empty() {
                break;
            }
            let mut owners = Vec::new();
            for (part, one) in self.read.iter().enumerate() {
                let found = find_files(&one.filelists, "filelists", &paths).unwrap();
                for (place, entry) in shown[part].iter().enumerate() {
                    if let Some(owned) = found.get(&entry.id) {
                        owners.push((ids[part], place, owned.clone()));
                    }
                }
            }
            universe.add_files(&paths, owners);
        }
        match universe.solve(request) {
            Ok(solution) => {
                let packages = solution.packages.iter();
                let lines = packages.map(|one| {
                    let part = ids.iter().position(|id| *id == one.repository);
                    format!("{} of {part:?}\n", one.nevra)
                });
                lines.collect()
            }
            Err(_) => "FAIL".to_owned(),
        }
    }

    fn reached(&self, request: &Request) -> Vec<BTreeMap<u32, PackageEntry>> {
        let all = |_: &PackageEntry| true;
        let offered = self
            .indexes
            .iter()
            .map(|index| Offered { index, sees: &all });
        let mut reach = Reach::new(offered, request.allow_weak);
        for wanted in &request.install {
            reach.request(&wanted.capability).unwrap();
        }
        loop {
            let paths = reach.take_paths();
            if paths.is_empty() {
                return reach.into_packages();
            }
            for (part, one) in self.read.iter().enumerate() {
                let found = find_files(&one.filelists, "filelists", &paths).unwrap();
                for (place, entry) in (0..).zip(&one.entries) {
                    if found.contains_key(&entry.id) {
                        reach.owner(part, place).unwrap();
                    }
                }
            }
        }
    }

    /// Both answers, and how many packages the request reaches.
    fn both(
        &self,
        whole: &mut (Universe, Vec<RepositoryId>),
        request: &Request,
    ) -> (String, String, usize) {
        let all: Vec<Vec<&PackageEntry>> = self
            .read
            .iter()
            .map(|one| one.entries.iter().collect())
            .collect();
        let reached = self.reached(request);
        let some: Vec<Vec<&PackageEntry>> =
            reached.iter().map(|part| part.values().collect()).collect();
        let mut restricted = self.universe(&some);
        let count = some.iter().map(Vec::len).sum();
        let expected = self.answer(whole, &all, request);
        (
            expected,
            self.answer(&mut restricted, &some, request),
            count,
        )
    }
}

fn index(entries: &[PackageEntry]) -> Index {
    let mut builder = IndexBuilder::new();
    for entry in entries {
        builder.add(entry).unwrap();
    }
    let primary = Digest::of(b"primary");
    builder.finish(&primary).unwrap().index().unwrap()
}

fn synthetic(seeds: &[u64]) -> Vec<Read> {
    let read = seeds.iter().map(|seed| {
        let folder = tempfile::tempdir().unwrap();
        write_repository(folder.path(), *seed);
        let mut read = read(folder.path());
        read.folder = Some(folder);
        read
    });
    read.collect()
}

#[test]
fn what_can_be_reached_gives_the_same_answer_as_everything() {
    let (mut asked, mut solved, mut smaller) = (0, 0, 0);
    for (seeds, priorities, weak) in [
        (vec![1], vec![99], false),
        (vec![2], vec![99], true),
        (vec![3, 4], vec![99, 99], false),
        (vec![5, 6], vec![99, 10], true),
    ] {
        let seed = seeds[0];
        let repositories = Repositories::new(synthetic(&seeds), &priorities);
        let everything: usize = repositories.read.iter().map(|one| one.entries.len()).sum();
        let mut whole = repositories.whole();
        for job in (0..2).flat_map(|more| jobs(seed * 10 + more)) {
            let request = Request {
                allow_weak: weak,
                ..request(&job)
            };
            let (expected, found, reached) = repositories.both(&mut whole, &request);
            assert_eq!(found, expected, "seeds {seeds:?}, {job:?}");
            asked += 1;
            solved += usize::from(expected != "FAIL");
            smaller += usize::from(reached < everything);
        }
    }
    assert!(
        asked == 320 && solved > asked / 2 && smaller > 0,
        "{solved} of {asked}, {smaller}"
    );
}

/// The folder of a large universe (`minidistro --universe`).
fn universe_folder() -> std::path::PathBuf {
    std::env::var_os("PRISTINE_UNIVERSE")
        .expect("PRISTINE_UNIVERSE names the folder of a repository")
        .into()
}

fn large_jobs(entries: &[PackageEntry], count: usize) -> Vec<Vec<String>> {
    let mut random = Random(11);
    let mut name = || {
        entries[random.below(entries.len())]
            .facts
            .nevra
            .name
            .clone()
    };
    let mut sizes = Random(12);
    (0..count)
        .map(|_| (0..=sizes.below(12)).map(|_| name()).collect())
        .collect()
}

#[test]
#[ignore = "needs the folder of a large universe in PRISTINE_UNIVERSE"]
#[expect(clippy::print_stderr, reason = "what was compared is the result")]
fn the_large_universe_gives_the_same_answers() {
    let repositories = Repositories::new(vec![read(&universe_folder())], &[99]);
    let entries = &repositories.read[0].entries;
    let mut whole = repositories.whole();
    let (mut failed, mut most) = (0, 0);
    let jobs = large_jobs(entries, 300);
    for job in &jobs {
        let (expected, found, reached) = repositories.both(&mut whole, &request(job));
        assert_eq!(found, expected, "{job:?}");
        failed += usize::from(expected == "FAIL");
        most = most.max(reached);
    }
    eprintln!(
        "{} requests in {} packages, {failed} refused, at most {most} packages reached",
        jobs.len(),
        entries.len()
    );
}

#[test]
#[ignore = "needs the folder of a large universe in PRISTINE_UNIVERSE, and dnf; minutes"]
fn the_large_universe_is_answered_as_dnf_does() {
    super::differential::compare_jobs(&universe_folder(), |entries| large_jobs(entries, 300));
}

/// Every package of the answer, as the independent checker wants it.
fn faults(read: &Read, universe: &mut Universe, request: &Request) -> Option<Vec<String>> {
    let solution = universe.solve(request).ok()?;
    let mut facts: Vec<PackageFacts> = Vec::new();
    for selected in &solution.packages {
        facts.push(read.entries[selected.package].facts.clone());
    }
    // What `filelists` knows: each package has its data beside its program.
    for facts in &mut facts {
        facts
            .files
            .push(format!("/usr/share/{}/data", facts.nevra.name));
    }
    let gathering = Gathering::new(facts.iter().collect());
    let mut faults = gathering.faults(|_| false);
    for wanted in &request.install {
        let dependency = wanted.capability.parse::<crate::rpm::Dependency>().unwrap();
        let met = dependency.rich().is_ok_and(|rich| gathering.meets(&rich));
        // A name may have been taken as `name-version`, and its package may be replaced.
        let by_name = wanted.meaning == super::Meaning::Package;
        if !met && !by_name {
            faults.push(format!("{} is not met", wanted.capability));
        }
    }
    Some(faults)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn answers_are_right_by_an_independent_checker_and_do_not_depend_on_order(seed in 100..10_000_u64) {
        let read = &synthetic(&[seed])[0];
        let mut shuffled: Vec<&PackageFacts> = read.entries.iter().map(|entry| &entry.facts).collect();
        let mut random = Random(seed);
        for place in (1..shuffled.len()).rev() {
            shuffled.swap(place, random.below(place + 1));
        }
        let mut solved = 0;
        let preference = Preference::default();
        let mut universe = Universe::new("x86_64").unwrap();
        let id = universe.add_repository("lab", preference, &read.entries);
        let mut other = Universe::new("x86_64").unwrap();
        let other_id = other.add_repository("lab", preference, &shuffled);
        for job in jobs(seed) {
            let request = request(&job);
            loop {
                let paths = universe.needs_filelists(&request);
                if paths.is_empty() {
                    break;
                }
                let found = find_files(&read.filelists, "filelists", &paths).unwrap();
                let owned = |entry: &PackageEntry| found.get(&entry.id).cloned();
                let owners = (0..).zip(&read.entries).filter_map(|(place, entry)| Some((id, place, owned(entry)?)));
                universe.add_files(&paths, owners.collect::<Vec<_>>());
                let owners = shuffled.iter().enumerate().filter_map(|(place, facts)| {
                    let entry = read.entries.iter().find(|entry| std::ptr::eq(&raw const entry.facts, *facts))?;
                    Some((other_id, place, owned(entry)?))
                });
                other.add_files(&paths, owners.collect::<Vec<_>>());
            }
            if let Some(faults) = faults(read, &mut universe, &request) {
                prop_assert!(faults.is_empty(), "{job:?}: {faults:?}");
                solved += 1;
            }
            let names = |universe: &mut Universe| universe.solve(&request).map(|solution| {
                solution.packages.into_iter().map(|selected| selected.nevra).collect::<Vec<_>>()
            });
            prop_assert_eq!(names(&mut other), names(&mut universe));
        }
        prop_assert!(solved > 0);
    }
}
