//! Packages and strings out of an index, every number checked.

use std::borrow::Cow;

use super::{
    DEPENDENCIES, DEPENDENCY, DEPENDENCY_LISTS, DETAILS, Damage, ENDS, Index, LISTS, OBSOLETERS,
    PACKAGE, PACKAGES, PRE, PROVIDER_ENDS, PROVIDERS, SLOTS, TEXT, WORD, slots,
};
use crate::repository::{Checksum, PackageEntry};
use crate::rpm::{Comparison, Dependency, Nevra, PackageFacts, Requirement};

/// Where the lists of a package are: start and length of each, paths last.
pub(super) type Lists = [(usize, usize); DEPENDENCY_LISTS + 1];

/// A dependency as the index has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    pub(super) name: u32,
    pub(super) comparison: u32,
    pub(super) version: u32,
}

impl Index {
    pub(super) fn word(&self, section: usize, place: usize) -> Result<u32, Damage> {
        self.blocks.word(self.sections[section], place * WORD)
    }

    /// The bytes of a string.
    pub(super) fn string_bytes(&self, string: u32) -> Result<Cow<'_, [u8]>, Damage> {
        let start = match string.checked_sub(1) {
            Some(before) => self.word(ENDS, before as usize)?,
            None => 0,
        };
        let end = self.word(ENDS, string as usize)?;
        let length = end
            .checked_sub(start)
            .ok_or(Damage("a string ends before it begins"))?;
        self.blocks
            .bytes(self.sections[TEXT], start as usize, length as usize)
    }

    pub(super) fn string(&self, string: u32) -> Result<String, Damage> {
        text(self.string_bytes(string)?)
    }

    /// The number of a string.
    pub(super) fn find_string(&self, wanted: &str) -> Result<Option<u32>, Damage> {
        let hash = self.keyed.hash(wanted.as_bytes());
        for place in slots::places(hash, self.slots) {
            let Some(number) = self.word(SLOTS, place)?.checked_sub(1) else {
                break;
            };
            if *self.string_bytes(number)? == *wanted.as_bytes() {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// The packages that provide a string by name, are called so, or have that file.
    pub(super) fn providers(&self, string: u32) -> Result<Vec<u32>, Damage> {
        let start = match string.checked_sub(1) {
            Some(before) => self.word(PROVIDER_ENDS, before as usize)?,
            None => 0,
        };
        let end = self.word(PROVIDER_ENDS, string as usize)?;
        (start..end)
            .map(|place| self.package_number(self.word(PROVIDERS, place as usize)?))
            .collect()
    }

    fn package_number(&self, package: u32) -> Result<u32, Damage> {
        if (package as usize) < self.packages {
            Ok(package)
        } else {
            Err(Damage("a package's number is too large"))
        }
    }

    /// The packages that one of the sorted tables of pairs names with a string.
    pub(super) fn paired(&self, section: usize, string: u32) -> Result<Vec<u32>, Damage> {
        let count = self.sections[section].length / (2 * WORD);
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.word(section, middle * 2)? < string {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let mut found = Vec::new();
        while low < count && self.word(section, low * 2)? == string {
            found.push(self.package_number(self.word(section, low * 2 + 1)?)?);
            low += 1;
        }
        Ok(found)
    }

    pub(super) fn package_word(&self, package: u32, field: usize) -> Result<u32, Damage> {
        self.word(PACKAGES, package as usize * PACKAGE + field)
    }

    pub(super) fn stored(&self, dependency: u32) -> Result<Stored, Damage> {
        let at = dependency as usize * DEPENDENCY;
        Ok(Stored {
            name: self.word(DEPENDENCIES, at)?,
            comparison: self.word(DEPENDENCIES, at + 1)?,
            version: self.word(DEPENDENCIES, at + 2)?,
        })
    }

    pub(super) fn dependencies(&self) -> usize {
        self.sections[DEPENDENCIES].length / (DEPENDENCY * WORD)
    }

    /// Where the lists of a package are.
    pub(super) fn lists(&self, package: u32) -> Result<Lists, Damage> {
        let mut at = self.package_word(package, 6)? as usize;
        let there = self.word(LISTS, at)?;
        at += 1;
        let mut lists = [(0, 0); DEPENDENCY_LISTS + 1];
        let each = lists.iter_mut().enumerate();
        for (_, list) in each.filter(|(place, _)| there & (1 << place) != 0) {
            let length = self.word(LISTS, at)? as usize;
            // What a damaged length would ask for is checked before anything is made for it.
            if length > self.sections[LISTS].length / WORD {
                return Err(Damage("a list is too long"));
            }
            *list = (at + 1, length);
            at += 1 + length;
        }
        Ok(lists)
    }

    pub(super) fn list(
        &self,
        (start, length): (usize, usize),
    ) -> impl Iterator<Item = Result<u32, Damage>> + '_ {
        (start..start + length).map(|place| self.word(LISTS, place))
    }

    pub(super) fn dependency(&self, number: u32) -> Result<Dependency, Damage> {
        let stored = self.stored(number)?;
        let name = self.string(stored.name)?;
        let comparison = match (stored.comparison & 0xff) as usize {
            0 => return Ok(Dependency::exact(&name, None)),
            kind => Comparison::ALL
                .get(kind - 1)
                .ok_or(Damage("there is no such comparison"))?,
        };
        let version = self.string(stored.version)?;
        Ok(Dependency::exact(&name, Some((*comparison, &version))))
    }

    /// What names a package.
    pub fn nevra(&self, package: u32) -> Result<Nevra, Damage> {
        let text = |field| self.string(self.package_word(package, field)?);
        Ok(Nevra {
            name: text(0)?,
            epoch: self.package_word(package, 1)?,
            version: text(2)?,
            release: text(3)?,
            arch: text(4)?,
        })
    }

    /// A package as its `primary` gave it.
    pub fn entry(&self, package: u32) -> Result<PackageEntry, Damage> {
        let lists = self.lists(package)?;
        let list = |place: usize| -> Result<Vec<Dependency>, Damage> {
            self.list(lists[place])
                .map(|number| self.dependency(number?))
                .collect()
        };
        let requires = self.list(lists[super::REQUIRES]).map(|number| {
            let number = number?;
            Ok(Requirement {
                dependency: self.dependency(number & !PRE)?,
                pre: number & PRE != 0,
            })
        });
        let files = self.list(lists[DEPENDENCY_LISTS]);
        let facts = PackageFacts {
            nevra: self.nevra(package)?,
            vendor: self.string(self.package_word(package, 5)?)?,
            provides: list(super::PROVIDES)?,
            requires: requires.collect::<Result<_, Damage>>()?,
            conflicts: list(super::CONFLICTS)?,
            obsoletes: list(super::OBSOLETES)?,
            recommends: list(super::RECOMMENDS)?,
            suggests: list(super::SUGGESTS)?,
            supplements: list(super::SUPPLEMENTS)?,
            enhances: list(super::ENHANCES)?,
            files: files
                .map(|number| self.string(number?))
                .collect::<Result<_, _>>()?,
            ..PackageFacts::new(self.nevra(package)?)
        };
        self.detailed(package, facts)
    }

    fn detailed(&self, package: u32, mut facts: PackageFacts) -> Result<PackageEntry, Damage> {
        let bytes = self.details(package)?;
        let mut rest = Details(&bytes);
        let size = rest.number()?;
        facts.build_time = rest.number()?;
        let [kind] = rest.take()?;
        let id = rest.text()?;
        let location = rest.text()?;
        let kind = if kind == 0 { "sha256" } else { "sha512" };
        Ok(PackageEntry {
            facts,
            location,
            size,
            checksum: Checksum::parse(kind, &id).ok_or(Damage("a checksum is none"))?,
            id,
        })
    }

    /// The numbers of all packages.
    pub fn numbers(&self) -> std::ops::Range<u32> {
        0..u32::try_from(self.packages).unwrap_or(u32::MAX)
    }

    /// How the repository's other metadata name a package.
    pub fn id(&self, package: u32) -> Result<String, Damage> {
        let bytes = self.details(package)?;
        let mut rest = Details(&bytes);
        let _numbers_and_mark: [u8; 2 * 8 + 1] = rest.take()?;
        rest.text()
    }

    fn details(&self, package: u32) -> Result<Cow<'_, [u8]>, Damage> {
        let (start, length) = (
            self.package_word(package, 7)?,
            self.package_word(package, 8)?,
        );
        let section = self.sections[DETAILS];
        self.blocks.bytes(section, start as usize, length as usize)
    }

    /// The packages that are called `name`, provide it in any version, or have it as a file that `primary` names.
    pub fn packages_of(&self, name: &str) -> Result<Vec<u32>, Damage> {
        match self.find_string(name)? {
            Some(string) => self.providers(string),
            None => Ok(Vec::new()),
        }
    }

    /// The packages that say that they take the place of `name`, in any version.
    pub fn obsoleters_of(&self, name: &str) -> Result<Vec<u32>, Damage> {
        match self.find_string(name)? {
            Some(string) => self.paired(OBSOLETERS, string),
            None => Ok(Vec::new()),
        }
    }

    /// Calls `visit` with every capability and every file that some package has, in no order.
    pub fn capabilities(&self, mut visit: impl FnMut(&str)) -> Result<(), Damage> {
        let mut before = 0;
        for string in 0..self.strings {
            let end = self.word(PROVIDER_ENDS, string)?;
            if end > before {
                let number =
                    u32::try_from(string).map_err(|_| Damage("it has too many strings"))?;
                visit(&self.string(number)?);
            }
            before = end;
        }
        Ok(())
    }
}

fn text(bytes: Cow<'_, [u8]>) -> Result<String, Damage> {
    String::from_utf8(bytes.into_owned()).map_err(|_| Damage("a text is not UTF-8"))
}

/// The rest of a package's details.
struct Details<'a>(&'a [u8]);

impl Details<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let (taken, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(Damage("a package's details are cut off"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn number(&mut self) -> Result<u64, Damage> {
        self.take().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<String, Damage> {
        let length = u32::from_le_bytes(self.take()?) as usize;
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(Damage("a package's details are cut off"))?;
        self.0 = rest;
        text(Cow::Borrowed(taken))
    }
}
