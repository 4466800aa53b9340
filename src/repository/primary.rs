//! `primary` and `filelists`: what packages a repository has, read one package at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rpmrepo_metadata::visitor::{
    FilelistsVisitor, PrimaryVisitor, RequirementData, parse_filelists, parse_primary,
};
use rpmrepo_metadata::{FileType, RequirementType};

use super::RepositoryError;
use super::pieces::{self, Piece};
use super::repomd::{Checksum, check_location};
use super::stream::{damaged, events, guarded, open};
use crate::rpm::{Comparison, Dependency, Nevra, PackageFacts, Requirement};

/// More packages than any repository has.
const MAX_PACKAGES: usize = 2_000_000;

/// One package of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageEntry {
    /// What the package says of itself; its files are those of `primary` alone.
    pub facts: PackageFacts,
    /// Path of the package file below the repository's root.
    pub location: String,
    /// Size of the package file in bytes.
    pub size: u64,
    /// Checksum of the package file.
    pub checksum: Checksum,
    /// How the repository's other metadata names the package: the checksum's hex digits.
    pub id: String,
}

impl AsRef<PackageFacts> for PackageEntry {
    fn as_ref(&self) -> &PackageFacts {
        &self.facts
    }
}

/// Reads the `primary` metadata at `path` (plain, gzip, xz, bzip2 or zstd), giving `visit` one package after the other.
///
/// `name` is what errors call the file. Source packages are left out. Gives the number of packages visited;
/// packages visited before an error must not be used.
pub fn read_primary(
    path: &Path,
    name: &str,
    mut visit: impl FnMut(PackageEntry),
) -> Result<usize, RepositoryError> {
    let document = open(path, name, "</metadata>")?.into_inner();
    let mut count = 0;
    pieces::read(
        document,
        |error| damaged(name, &error),
        |piece| parse(piece, name),
        |entries| {
            count += entries.len();
            if count > MAX_PACKAGES {
                return Err(damaged(name, &"it has too many packages"));
            }
            entries.into_iter().for_each(&mut visit);
            Ok(())
        },
    )?;
    Ok(count)
}

fn parse(piece: &Piece, name: &str) -> Result<Vec<PackageEntry>, RepositoryError> {
    let mut reader = events(piece.document());
    let mut collector = Collector {
        name,
        entries: Vec::new(),
        entry: None,
        error: None,
    };
    guarded(name, || parse_primary(&mut reader, &mut collector))?;
    match (collector.error, collector.entry) {
        (Some(error), _) => Err(error),
        (None, Some(_)) => Err(damaged(name, &"it ends inside a package")),
        (None, None) => Ok(collector.entries),
    }
}

/// A package that is being read.
struct Draft {
    facts: PackageFacts,
    epoch: String,
    location: Option<String>,
    size: Option<u64>,
    checksum: (String, String),
}

struct Collector<'a> {
    name: &'a str,
    entries: Vec<PackageEntry>,
    entry: Option<Draft>,
    error: Option<RepositoryError>,
}

impl Collector<'_> {
    fn finish(&self, draft: Draft) -> Result<PackageEntry, RepositoryError> {
        let mut facts = draft.facts;
        let shown = facts.nevra.to_string();
        let missing = |what: &str| {
            damaged(
                self.name,
                &format_args!("the package `{shown}` has no {what}"),
            )
        };
        let epoch = if draft.epoch.is_empty() {
            Ok(0)
        } else {
            draft.epoch.parse()
        };
        facts.nevra.epoch = epoch.map_err(|_| missing("usable epoch"))?;
        check_nevra(&facts.nevra).map_err(|reason| {
            damaged(self.name, &format_args!("the package `{shown}` {reason}"))
        })?;
        let (kind, hex) = draft.checksum;
        let checksum =
            Checksum::parse(&kind, &hex).ok_or_else(|| RepositoryError::WeakChecksum {
                name: self.name.to_owned(),
                what: shown.clone(),
                kind,
            })?;
        let location = draft.location.ok_or_else(|| missing("location"))?;
        check_location(&location, self.name)?;
        shrink(&mut facts);
        Ok(PackageEntry {
            facts,
            location,
            size: draft.size.ok_or_else(|| missing("size"))?,
            checksum,
            id: hex,
        })
    }

    fn fail(&mut self, error: RepositoryError) {
        self.error.get_or_insert(error);
    }

    fn change(&mut self, change: impl FnOnce(&mut PackageFacts)) {
        if let Some(draft) = &mut self.entry {
            change(&mut draft.facts);
        }
    }
}

/// A repository has a million dependencies: spare room in every list would be a third of the memory.
fn shrink(facts: &mut PackageFacts) {
    facts.requires.shrink_to_fit();
    facts.files.shrink_to_fit();
    for list in [
        &mut facts.provides,
        &mut facts.conflicts,
        &mut facts.obsoletes,
        &mut facts.recommends,
        &mut facts.suggests,
        &mut facts.supplements,
        &mut facts.enhances,
    ] {
        list.shrink_to_fit();
    }
}

/// The parts become file names and lines of the lock: they must not hold what could lead elsewhere.
fn check_nevra(nevra: &Nevra) -> Result<(), &'static str> {
    let parts = [&nevra.name, &nevra.version, &nevra.release, &nevra.arch];
    if parts.iter().any(|part| part.is_empty()) {
        return Err("lacks a name, version, release or architecture");
    }
    let unfit =
        |character: char| character.is_whitespace() || character.is_control() || character == '/';
    if parts.iter().any(|part| part.contains(unfit)) || nevra.name.starts_with('.') {
        return Err("has a name that no package can have");
    }
    if nevra.version.contains('-') || nevra.release.contains('-') || nevra.arch.contains('.') {
        return Err("has a `-` in its version or a `.` in its architecture");
    }
    Ok(())
}

impl PrimaryVisitor for Collector<'_> {
    fn begin_package(&mut self, name: &str, arch: &str, checksum_type: &str, pkgid: &str) {
        if self.entry.is_some() {
            self.fail(damaged(
                self.name,
                &format_args!("the package `{name}` has two checksums"),
            ));
        }
        self.entry = Some(Draft {
            facts: PackageFacts::new(Nevra {
                name: name.to_owned(),
                epoch: 0,
                version: String::new(),
                release: String::new(),
                arch: arch.to_owned(),
            }),
            epoch: String::new(),
            location: None,
            size: None,
            checksum: (checksum_type.to_owned(), pkgid.to_owned()),
        });
    }

    fn set_evr(&mut self, epoch: &str, version: &str, release: &str) {
        if let Some(draft) = &mut self.entry {
            epoch.clone_into(&mut draft.epoch);
            version.clone_into(&mut draft.facts.nevra.version);
            release.clone_into(&mut draft.facts.nevra.release);
        }
    }

    fn set_summary(&mut self, summary: &str) {
        self.change(|facts| summary.clone_into(&mut facts.summary));
    }

    fn set_time(&mut self, _file: u64, build: u64) {
        self.change(|facts| facts.build_time = build);
    }

    fn set_size(&mut self, package: u64, installed: u64, _archive: u64) {
        if let Some(draft) = &mut self.entry {
            draft.size = Some(package);
            draft.facts.installed_size = installed;
        }
    }

    fn set_location(&mut self, href: &str, base: Option<&str>) {
        if base.is_some() {
            self.fail(damaged(
                self.name,
                &format_args!("`{href}` has a base address of its own, which is not supported"),
            ));
        }
        if let Some(draft) = &mut self.entry {
            draft.location = Some(href.to_owned());
        }
    }

    fn set_rpm_vendor(&mut self, vendor: &str) {
        self.change(|facts| vendor.clone_into(&mut facts.vendor));
    }

    fn set_rpm_sourcerpm(&mut self, sourcerpm: &str) {
        self.change(|facts| {
            facts.source_rpm =
                Some(sourcerpm.to_owned()).filter(|name| !matches!(name.as_str(), "" | "(none)"));
        });
    }

    fn add_provide(&mut self, given: RequirementData<'_>) {
        self.change(|facts| facts.provides.push(dependency(&given)));
    }

    fn add_require(&mut self, given: RequirementData<'_>) {
        self.change(|facts| {
            facts.requires.push(Requirement {
                dependency: dependency(&given),
                pre: given.preinstall,
            });
        });
    }

    fn add_conflict(&mut self, given: RequirementData<'_>) {
        self.change(|facts| facts.conflicts.push(dependency(&given)));
    }

    fn add_obsolete(&mut self, given: RequirementData<'_>) {
        self.change(|facts| facts.obsoletes.push(dependency(&given)));
    }

    fn add_suggest(&mut self, given: RequirementData<'_>) {
        self.change(|facts| facts.suggests.push(dependency(&given)));
    }

    fn add_enhance(&mut self, given: RequirementData<'_>) {
        self.change(|facts| facts.enhances.push(dependency(&given)));
    }

    fn add_recommend(&mut self, given: RequirementData<'_>) {
        self.change(|facts| facts.recommends.push(dependency(&given)));
    }

    fn add_supplement(&mut self, given: RequirementData<'_>) {
        self.change(|facts| facts.supplements.push(dependency(&given)));
    }

    fn add_file(&mut self, _kind: FileType, path: &str) {
        self.change(|facts| facts.files.push(path.to_owned()));
    }

    fn end_package(&mut self) {
        match self.entry.take() {
            None => self.fail(damaged(self.name, &"it has a package without a checksum")),
            Some(_) if self.error.is_some() => {}
            Some(draft) if draft.facts.is_source() => {}
            Some(draft) => match self.finish(draft) {
                Ok(entry) => self.entries.push(entry),
                Err(error) => self.fail(error),
            },
        }
    }
}

fn dependency(given: &RequirementData<'_>) -> Dependency {
    let comparison = given.flags.map(|flags| match flags {
        RequirementType::LT => Comparison::Less,
        RequirementType::LE => Comparison::LessOrEqual,
        RequirementType::EQ => Comparison::Equal,
        RequirementType::GE => Comparison::GreaterOrEqual,
        RequirementType::GT => Comparison::Greater,
    });
    let mut version = String::new();
    if let Some(epoch) = given.epoch.filter(|epoch| !matches!(*epoch, "" | "0")) {
        version.push_str(epoch);
        version.push(':');
    }
    version.push_str(given.version.unwrap_or_default());
    if let Some(release) = given.release.filter(|release| !release.is_empty()) {
        version.push('-');
        version.push_str(release);
    }
    Dependency::new(
        given.name,
        comparison.map(|comparison| (comparison, version.as_str())),
    )
}

/// Reads the `filelists` metadata at `path` and says which packages have one of the `wanted` paths.
///
/// `name` is what errors call the file. Gives the paths by [`PackageEntry::id`].
pub fn find_files(
    path: &Path,
    name: &str,
    wanted: &BTreeSet<String>,
) -> Result<BTreeMap<String, Vec<String>>, RepositoryError> {
    let mut reader = events(open(path, name, "</filelists>")?);
    let mut finder = Finder {
        wanted,
        package: None,
        found: BTreeMap::new(),
    };
    guarded(name, || parse_filelists(&mut reader, &mut finder))?;
    if finder.package.is_some() {
        return Err(damaged(name, &"it ends inside a package"));
    }
    Ok(finder.found)
}

struct Finder<'a> {
    wanted: &'a BTreeSet<String>,
    package: Option<String>,
    found: BTreeMap<String, Vec<String>>,
}

impl FilelistsVisitor for Finder<'_> {
    fn begin_package(&mut self, pkgid: &str, _name: &str, _arch: &str) {
        self.package = Some(pkgid.to_owned());
    }

    fn add_file(&mut self, _kind: FileType, path: &str) {
        if let Some(package) = self.package.as_ref().filter(|_| self.wanted.contains(path)) {
            self.found
                .entry(package.clone())
                .or_default()
                .push(path.to_owned());
        }
    }

    fn end_package(&mut self) {
        self.package = None;
    }
}
