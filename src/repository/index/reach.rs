//! What a request can reach: all packages that could have a part in its answer.
//!
//! A solver starts with what is asked for and goes on by what each candidate requires; a package to which no requirement
//! leads is never installed, and what it conflicts with or obsoletes then means nothing. So these are reached:
//! - what is asked for, and what says that it takes the place of it;
//! - of each requirement all packages that provide its name, in whatever version, and all parts of rich ones;
//! - the parts of rich conflicts, since `unless` can be met by installing something;
//! - all packages with the name of one that is reached: they compete with it;
//! - with weak dependencies, what is recommended, and what supplements something that is reached.
//!
//! More than is needed does no harm. That the answer stays the same is tested (`src/solve/differential.rs`).

use std::collections::{BTreeMap, BTreeSet};

use rpmrepo_metadata::utils;

use super::{
    CONFLICTS, DEPENDENCY_LISTS, Damage, FILE, Index, PRE, PROVIDES, RECOMMENDS, REQUIRES, RICH,
    RPMLIB, SUPPLEMENTERS,
};
use crate::repository::PackageEntry;
use crate::rpm::{Dependency, PackageFacts};

/// A repository to choose from.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "a closure has no debug form")]
pub struct Offered<'a> {
    /// Its packages.
    pub index: &'a Index,
    /// Whether a package of it may be seen.
    pub sees: &'a dyn Fn(&PackageEntry) -> bool,
}

/// What is reached in one repository.
struct Part<'a> {
    offered: Offered<'a>,
    /// Strings whose providers are reached.
    asked: Bits,
    /// Dependencies that were followed.
    followed: Bits,
    /// Packages that were looked at, hidden ones too.
    seen: Bits,
    found: BTreeMap<u32, PackageEntry>,
}

/// The search; see the module.
#[expect(missing_debug_implementations, reason = "a closure has no debug form")]
pub struct Reach<'a> {
    parts: Vec<Part<'a>>,
    queue: Vec<(usize, u32)>,
    /// Required paths that `primary` does not list, not looked up yet.
    paths: BTreeSet<String>,
    known_paths: BTreeSet<String>,
    weak: bool,
}

impl<'a> Reach<'a> {
    /// Nothing is reached yet. `weak`: by weak dependencies too.
    pub fn new(offered: impl IntoIterator<Item = Offered<'a>>, weak: bool) -> Self {
        let part = |offered: Offered<'a>| Part {
            asked: Bits::new(offered.index.strings),
            followed: Bits::new(offered.index.dependencies()),
            seen: Bits::new(offered.index.packages),
            offered,
            found: BTreeMap::new(),
        };
        Self {
            parts: offered.into_iter().map(part).collect(),
            queue: Vec::new(),
            paths: BTreeSet::new(),
            known_paths: BTreeSet::new(),
            weak,
        }
    }

    /// Reaches what a person or a spec asks for: a dependency, or a package as dnf understands its name.
    pub fn request(&mut self, text: &str) -> Result<(), Damage> {
        let dependency = text.parse().unwrap_or_else(|_| Dependency::new(text, None));
        for name in dependency.leaf_names() {
            // `name-version-release.arch` has several names that it may begin with.
            let mut names = vec![name.as_str()];
            names.extend(name.match_indices('-').map(|(at, _)| &name[..at]));
            names.extend(name.rmatch_indices('.').map(|(at, _)| &name[..at]));
            for name in names.into_iter().filter(|name| !name.is_empty()) {
                self.ask(name)?;
                for part in 0..self.parts.len() {
                    let index = self.parts[part].offered.index;
                    for package in index.obsoleters_of(name)? {
                        self.visit(part, package);
                    }
                }
            }
        }
        self.run()
    }

    /// Reaches what a package needs that is in no index.
    pub fn outside(&mut self, facts: &PackageFacts) -> Result<(), Damage> {
        self.ask(&facts.nevra.name)?;
        let requires = facts
            .requires
            .iter()
            .map(|requirement| &requirement.dependency);
        let conflicts = facts.conflicts.iter().filter(|conflict| conflict.is_rich());
        let recommends = facts.recommends.iter().filter(|_| self.weak);
        let all: Vec<_> = requires.chain(conflicts).chain(recommends).collect();
        for dependency in all {
            for name in dependency.leaf_names() {
                self.ask(&name)?;
            }
        }
        self.run()
    }

    /// Reaches a package that turned out to have one of the paths.
    pub fn owner(&mut self, part: usize, package: u32) -> Result<(), Damage> {
        self.visit(part, package);
        self.run()
    }

    /// The required paths that only `filelists` can find, each given once.
    pub fn take_paths(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.paths)
    }

    /// The packages that are reached, by repository, in the order of the index.
    pub fn into_packages(self) -> Vec<BTreeMap<u32, PackageEntry>> {
        self.parts.into_iter().map(|part| part.found).collect()
    }

    /// The providers of a capability in all repositories.
    fn ask(&mut self, name: &str) -> Result<(), Damage> {
        if name.starts_with('/')
            && !utils::is_primary_file(name)
            && self.known_paths.insert(name.to_owned())
        {
            self.paths.insert(name.to_owned());
        }
        for part in 0..self.parts.len() {
            if let Some(string) = self.parts[part].offered.index.find_string(name)? {
                self.ask_in(part, string)?;
            }
        }
        Ok(())
    }

    fn ask_in(&mut self, part: usize, string: u32) -> Result<(), Damage> {
        if !self.parts[part].asked.insert(string) {
            return Ok(());
        }
        for package in self.parts[part].offered.index.providers(string)? {
            self.visit(part, package);
        }
        Ok(())
    }

    fn visit(&mut self, part: usize, package: u32) {
        if self.parts[part].seen.insert(package) {
            self.queue.push((part, package));
        }
    }

    fn run(&mut self) -> Result<(), Damage> {
        while let Some((part, package)) = self.queue.pop() {
            let offered = self.parts[part].offered;
            let entry = offered.index.entry(package)?;
            if (offered.sees)(&entry) {
                self.parts[part].found.insert(package, entry);
                self.expand(part, package)?;
            }
        }
        Ok(())
    }

    fn expand(&mut self, part: usize, package: u32) -> Result<(), Damage> {
        let index = self.parts[part].offered.index;
        let lists = index.lists(package)?;
        let name = index.package_word(package, 0)?;
        self.everywhere(part, name)?;
        for number in index.list(lists[REQUIRES]) {
            self.follow(part, number? & !PRE, true)?;
        }
        for number in index.list(lists[CONFLICTS]) {
            self.follow(part, number?, false)?;
        }
        if self.weak {
            for number in index.list(lists[RECOMMENDS]) {
                self.follow(part, number?, true)?;
            }
            let mut given = vec![name];
            for number in index.list(lists[PROVIDES]) {
                given.push(index.stored(number?)?.name);
            }
            for path in index.list(lists[DEPENDENCY_LISTS]) {
                given.push(path?);
            }
            for string in given {
                self.supplemented(part, string)?;
            }
        }
        Ok(())
    }

    /// What supplements a capability that is there.
    fn supplemented(&mut self, part: usize, string: u32) -> Result<(), Damage> {
        let text = self.parts[part].offered.index.string(string)?;
        for other in 0..self.parts.len() {
            let index = self.parts[other].offered.index;
            if let Some(string) = index.find_string(&text)? {
                for package in index.paired(SUPPLEMENTERS, string)? {
                    self.visit(other, package);
                }
            }
        }
        Ok(())
    }

    /// Goes on by a dependency; of those that need not be met (`plain` is false) by the parts of rich ones alone.
    fn follow(&mut self, part: usize, dependency: u32, plain: bool) -> Result<(), Damage> {
        let index = self.parts[part].offered.index;
        let stored = index.stored(dependency)?;
        let rich = stored.comparison & RICH != 0;
        let skipped = stored.comparison & RPMLIB != 0 || !(plain || rich);
        if skipped || !self.parts[part].followed.insert(dependency) {
            return Ok(());
        }
        if rich {
            for name in index.dependency(dependency)?.leaf_names() {
                self.ask(&name)?;
            }
            Ok(())
        } else if stored.comparison & FILE != 0 {
            let path = index.string(stored.name)?;
            self.ask(&path)
        } else {
            self.everywhere(part, stored.name)
        }
    }

    /// The providers of a string of one repository, in all of them.
    fn everywhere(&mut self, part: usize, string: u32) -> Result<(), Damage> {
        if self.parts[part].asked.has(string) {
            return Ok(());
        }
        self.ask_in(part, string)?;
        if self.parts.len() > 1 {
            let text = self.parts[part].offered.index.string(string)?;
            self.ask(&text)?;
        }
        Ok(())
    }
}

/// A set of small numbers.
struct Bits(Vec<u64>);

impl Bits {
    fn new(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    fn has(&self, number: u32) -> bool {
        let word = self.0.get(number as usize / 64);
        word.is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    /// Whether it was not in it before. Numbers beyond the count never are: what they stand for does not exist.
    fn insert(&mut self, number: u32) -> bool {
        let Some(word) = self.0.get_mut(number as usize / 64) else {
            return false;
        };
        let mask = 1 << (number % 64);
        let new = *word & mask == 0;
        *word |= mask;
        new
    }
}
