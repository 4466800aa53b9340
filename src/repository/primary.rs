//! `primary` and `filelists`: what packages a repository has, read one package at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use quick_xml::events::BytesStart;
use rpmrepo_metadata::FileType;
use rpmrepo_metadata::visitor::{FilelistsVisitor, parse_filelists};

use super::RepositoryError;
use super::draft::{self, Draft, DraftOf, Sink};
use super::index::{Builder, Head, Made, PROVIDES, Required, Texts, TooLarge};
use super::pieces;
use super::repomd::{Checksum, check_location, plain_bytes};
use super::stream::{compressed, damaged, events, guarded, open, whole_file};
use crate::digest::Digest;
use crate::rpm::{Dependency, Nevra, PackageFacts, Requirement};

/// More packages than any repository has.
const MAX_PACKAGES: usize = 2_000_000;
/// More than a list that is read plainly unpacks to, bytes.
const MOST_PLAIN: u64 = 1 << 30;
/// The elements of dependencies that each processor remembers have at most so many bytes together.
const MOST_KNOWN: usize = 32 << 20;
/// More room is not made before it is needed than for a file of so many bytes.
const MOST_ROOM: usize = 32 << 20;
/// So many bytes of a compressed file come to one element that is remembered, about.
const BYTES_OF_ELEMENT: usize = 64;

/// One package of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageEntry {
    /// What the package says of itself, but for what only its file is asked for: summary, source package, installed size. Its
    /// files are those of `primary` alone.
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
    let mut count = 0;
    pieces::read(
        compressed(path, name)?,
        |error| damaged(name, &error),
        |_| Entries {
            name,
            read: Vec::new(),
        },
        |entries, _number, piece| {
            draft::read(piece, entries)?;
            Ok(std::mem::take(&mut entries.read))
        },
        |entries| {
            count += entries.len();
            check_count(count, name)?;
            entries.into_iter().for_each(&mut visit);
            Ok(())
        },
    )?;
    Ok(count)
}

/// The same in one piece by the XML parser alone, which is slow: what [`read_primary`] gives is held against it.
pub fn read_primary_plainly(
    path: &Path,
    name: &str,
    visit: impl FnMut(PackageEntry),
) -> Result<usize, RepositoryError> {
    let document = whole_file(path, name, MOST_PLAIN)?;
    let mut entries = Entries {
        name,
        read: Vec::new(),
    };
    draft::read_plainly(&document, &mut entries)?;
    let count = entries.read.len();
    entries.read.into_iter().for_each(visit);
    Ok(count)
}

/// Makes the index of the `primary` metadata at `path`, whose digest is given, as [`read_primary`] reads them.
pub fn index_primary(path: &Path, digest: &Digest, name: &str) -> Result<Made, RepositoryError> {
    let mut count = 0;
    let document = compressed(path, name)?;
    let length = path.metadata().map_or(0, |facts| facts.len());
    let length = usize::try_from(length).map_or(MOST_ROOM, |length| length.min(MOST_ROOM));
    let lanes = pieces::read(
        document,
        |error| damaged(name, &error),
        |lanes| Indexing {
            name,
            builder: Builder::with_room(length / lanes),
            known: Texts::with_room(length / lanes / BYTES_OF_ELEMENT, length / lanes),
        },
        |indexing, number, piece| {
            draft::read(piece, indexing)?;
            Ok(indexing.builder.end_piece(number))
        },
        |packages| {
            count += packages;
            check_count(count, name)
        },
    )?;
    let builders = lanes.into_iter().map(|lane| lane.builder).collect();
    Builder::join(builders, digest).map_err(|TooLarge| too_large(name))
}

fn check_count(count: usize, name: &str) -> Result<(), RepositoryError> {
    if count > MAX_PACKAGES {
        return Err(damaged(name, &"it has too many packages"));
    }
    Ok(())
}

fn too_large(name: &str) -> RepositoryError {
    damaged(name, &"it has more than any repository")
}

/// Collects packages with all that they say.
struct Entries<'a> {
    name: &'a str,
    read: Vec<PackageEntry>,
}

impl Sink for Entries<'_> {
    type Dependency = Requirement;
    type Path = String;
    type Error = RepositoryError;

    fn damaged(&self, reason: String) -> RepositoryError {
        damaged(self.name, &reason)
    }

    fn dependency(
        &mut self,
        _list: usize,
        element: &BytesStart<'_>,
    ) -> Result<Requirement, RepositoryError> {
        let entry = draft::entry(element).map_err(|reason| self.damaged(reason))?;
        Ok(entry.to_requirement())
    }

    fn path(&mut self, path: &str) -> String {
        path.to_owned()
    }

    fn package(&mut self, draft: &mut DraftOf<Self>) -> Result<(), RepositoryError> {
        if is_source(draft) {
            return Ok(());
        }
        let head = head(draft, self.name)?;
        let mut facts = PackageFacts::new(Nevra {
            name: head.name.to_owned(),
            epoch: head.epoch,
            version: head.version.to_owned(),
            release: head.release.to_owned(),
            arch: head.arch.to_owned(),
        });
        head.vendor.clone_into(&mut facts.vendor);
        facts.build_time = head.build_time;
        let (location, size) = (head.location.to_owned(), head.size);
        let (checksum, id) = (checksum(draft, self.name)?, draft.checksum.1.clone());
        let plain = |list: &mut Vec<Requirement>| -> Vec<Dependency> {
            list.drain(..).map(|one| one.dependency).collect()
        };
        let [provides, requires, others @ ..] = &mut draft.lists;
        facts.provides = plain(provides);
        facts.requires = std::mem::take(requires);
        [
            facts.conflicts,
            facts.obsoletes,
            facts.recommends,
            facts.suggests,
            facts.supplements,
            facts.enhances,
        ] = others.each_mut().map(plain);
        facts.files = draft.paths.drain(..).collect();
        self.read.push(PackageEntry {
            facts,
            location,
            size,
            checksum,
            id,
        });
        Ok(())
    }
}

/// Puts packages into an index.
struct Indexing<'a> {
    name: &'a str,
    builder: Builder,
    /// Dependencies by their elements: many occur again and again, and are read once.
    known: Texts<Required>,
}

impl Sink for Indexing<'_> {
    type Dependency = Required;
    type Path = u32;
    type Error = RepositoryError;

    fn damaged(&self, reason: String) -> RepositoryError {
        damaged(self.name, &reason)
    }

    fn dependency(
        &mut self,
        list: usize,
        element: &BytesStart<'_>,
    ) -> Result<Required, RepositoryError> {
        // Hardly two packages provide the same.
        let absent = if list == PROVIDES {
            None
        } else {
            match self.known.find(element) {
                Ok(known) => return Ok(known),
                Err(absent) => Some(absent),
            }
        };
        let entry = draft::entry(element).map_err(|reason| self.damaged(reason))?;
        let required = self.builder.new_requirement(entry.parts(), entry.pre);
        if let Some(absent) = absent
            && self.known.bytes() + element.len() < MOST_KNOWN
        {
            self.known.add(absent, element, required);
        }
        Ok(required)
    }

    fn path(&mut self, path: &str) -> u32 {
        self.builder.string(path)
    }

    fn package(&mut self, draft: &mut DraftOf<Self>) -> Result<(), RepositoryError> {
        if is_source(draft) {
            return Ok(());
        }
        if !Checksum::is_strong(&draft.checksum.0, &draft.checksum.1) {
            checksum(draft, self.name)?;
        }
        let head = head(draft, self.name)?;
        let lists = draft.lists.each_ref().map(Vec::as_slice);
        let added = self.builder.package(&head, &lists, &draft.paths);
        added.map_err(|TooLarge| too_large(self.name))
    }
}

fn is_source<D, P>(draft: &Draft<D, P>) -> bool {
    matches!(draft.arch.as_str(), "src" | "nosrc")
}

/// How messages name a package before its parts are known to be good.
fn shown<D, P>(draft: &Draft<D, P>) -> String {
    let Draft {
        name,
        version,
        release,
        arch,
        ..
    } = draft;
    format!("{name}-{version}-{release}.{arch}")
}

/// What every package has, checked; but for its checksum.
fn head<'a, D, P>(draft: &'a Draft<D, P>, name: &str) -> Result<Head<'a>, RepositoryError> {
    let wrong = |what: &str| damaged(name, &format_args!("the package `{}` {what}", shown(draft)));
    let epoch = match draft.epoch.as_str() {
        "" | "0" => 0,
        epoch => epoch.parse().map_err(|_| wrong("has no usable epoch"))?,
    };
    check_nevra([&draft.name, &draft.version, &draft.release, &draft.arch]).map_err(wrong)?;
    if draft.location.is_empty() {
        return Err(wrong("has no location"));
    }
    check_location(&draft.location, name)?;
    Ok(Head {
        name: &draft.name,
        epoch,
        version: &draft.version,
        release: &draft.release,
        arch: &draft.arch,
        vendor: &draft.vendor,
        location: &draft.location,
        id: &draft.checksum.1,
        long: draft.checksum.0 == "sha512",
        size: draft.size.ok_or_else(|| wrong("has no size"))?,
        build_time: draft.build_time,
    })
}

fn checksum<D, P>(draft: &Draft<D, P>, name: &str) -> Result<Checksum, RepositoryError> {
    let (kind, hex) = &draft.checksum;
    if kind.is_empty() && hex.is_empty() {
        return Err(damaged(name, &"it has a package without a checksum"));
    }
    Checksum::parse(kind, hex).ok_or_else(|| RepositoryError::WeakChecksum {
        name: name.to_owned(),
        what: shown(draft),
        kind: kind.clone(),
    })
}

/// The parts become file names and lines of the lock: they must not hold what could lead elsewhere.
fn check_nevra(parts: [&str; 4]) -> Result<(), &'static str> {
    const PLAIN: [bool; 256] = plain_bytes(b"+_~^.");
    let [name, version, release, arch] = parts;
    if parts.iter().any(|part| part.is_empty()) {
        return Err("lacks a name, version, release or architecture");
    }
    let is_plain = |byte: u8| PLAIN[usize::from(byte)];
    let is_name = |byte: u8| is_plain(byte) || byte == b'-';
    if name.bytes().all(is_name)
        && !name.starts_with('.')
        && [version, release]
            .iter()
            .all(|part| part.bytes().all(is_plain))
        && arch.bytes().all(|byte| is_plain(byte) && byte != b'.')
    {
        return Ok(());
    }
    let unfit =
        |character: char| character.is_whitespace() || character.is_control() || character == '/';
    if parts.iter().any(|part| part.contains(unfit)) || name.starts_with('.') {
        return Err("has a name that no package can have");
    }
    if version.contains('-') || release.contains('-') || arch.contains('.') {
        return Err("has a `-` in its version or a `.` in its architecture");
    }
    Ok(())
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
