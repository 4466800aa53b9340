//! The lock, `pristine.lock`: everything exact (`docs/lock.md`).
//!
//! Made for git: one line per package, stable order, no absolute paths, no times, nothing of the
//! machine that wrote it. A lock that was parsed is consistent: what it names is in it.

mod base;
mod check;
mod diff;
mod read;
#[cfg(test)]
pub(crate) mod sample;
mod write;

use std::path::Path;

use super::error::{DocumentError, Problem};
use super::source;
use super::template::RepositorySource;
use super::values::{Architecture, Fingerprint, Name, RelativePath, Url};
use crate::digest::Digest;
use crate::files;
use crate::rpm::Nevra;

pub use base::{BaseOrigin, InstalledRpm, LockedBase, LockedLayer};
pub use check::{Drift, Inputs, SourceFile, SpecInput, SpecReading};
pub(crate) use diff::compared;
pub use diff::{Change, ChangeKind, Part, diff};

/// The name of the lock's file.
pub const FILE: &str = "pristine.lock";

/// The largest lock that is read, bytes.
const LOCK_LIMIT: u64 = 64 << 20;

/// Everything exact about an environment and the packages that are built in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// The environment's architecture.
    pub architecture: Architecture,
    /// Seconds since 1970 to which file times of the environment are clamped.
    pub epoch: i64,
    /// What the lock was made from.
    pub inputs: LockedInputs,
    /// What the environment begins with, where the template says it does.
    pub base: Option<LockedBase>,
    /// Snapshots of the repositories, in the template's order.
    pub repositories: Vec<LockedRepository>,
    /// Keys that signed something in this lock, by fingerprint.
    pub keys: Vec<LockedKey>,
    /// The project's packages, by name.
    pub packages: Vec<LockedPackage>,
    /// What the tools root is made of.
    pub tools: LockedTools,
    /// What the environment is made of.
    pub environment: LockedEnvironment,
}

/// What a lock was made from, beside the specs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedInputs {
    /// The template.
    pub template: LockedDocument,
    /// The recipe, where the project has one.
    pub recipe: Option<LockedDocument>,
    /// What the project file asks (`Project::requests`).
    pub requests: Vec<String>,
    /// Repositories of the template that could not be reached, and that it lets be left out.
    pub left_out: Vec<Name>,
}

/// A document by name and digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedDocument {
    /// Its name.
    pub name: Name,
    /// `Template::digest` or `Recipe::digest`.
    pub digest: Digest,
}

/// One state of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedRepository {
    /// Its name in the template.
    pub name: Name,
    /// Where it is, as the template says it. Mirrors out of lists are not kept: they change every day, and
    /// what comes from them is held against digests.
    pub source: RepositorySource,
    /// The revision that `repomd.xml` states; may be empty.
    pub revision: String,
    /// Digest of `repomd.xml`.
    pub repomd: Digest,
    /// The key that signed `repomd.xml`, where its signature was checked.
    pub key: Option<Fingerprint>,
    /// The metadata files that were used: `primary`, and `filelists` or `group` where needed.
    pub metadata: Vec<LockedMetadata>,
}

/// A metadata file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedMetadata {
    /// Its type in `repomd.xml`.
    pub kind: Name,
    /// Its location, relative to the base URL.
    pub location: String,
    /// Bytes.
    pub size: u64,
    /// Its content as downloaded.
    pub digest: Digest,
}

/// A key that signed something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedKey {
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// Where its material was fetched from.
    pub url: Url,
    /// Digest of that file.
    pub digest: Digest,
}

/// An RPM that is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedRpm {
    /// Name, epoch, version, release, architecture.
    pub nevra: Nevra,
    /// Where it comes from.
    pub origin: Origin,
    /// Bytes.
    pub size: u64,
    /// Its content.
    pub digest: Digest,
    /// The key that signed it, where its signature was checked.
    pub key: Option<Fingerprint>,
}

/// Where an RPM comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A repository of the lock.
    Repository {
        /// The repository's name.
        name: Name,
        /// The location there, as its metadata states it: relative to the base URL, or a URL.
        location: String,
    },
    /// The recipe: a third-party RPM.
    Url(Url),
}

/// What the tools root is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockedTools {
    /// All its packages, by name. Each is in `LockedEnvironment::rpms` or in `only`.
    pub packages: Vec<Nevra>,
    /// The RPMs that the environment itself does not have.
    pub only: Vec<LockedRpm>,
}

/// What the environment is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockedEnvironment {
    /// Digest of the environment's tree (the chain-id of its layers); `None` until it was created once.
    pub tree: Option<Digest>,
    /// Its RPMs in transaction order; those that are added where there is a base.
    pub rpms: Vec<LockedRpm>,
    /// Packages of the base in whose place these come.
    pub replaced: Vec<Nevra>,
}

/// A package of the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedPackage {
    /// Its name in the project.
    pub name: Name,
    /// The spec file.
    pub spec: RelativePath,
    /// Digest of the spec file.
    pub digest: Digest,
    /// What the spec says.
    pub facts: SpecFacts,
    /// Its sources and patches in the order of the spec.
    pub sources: Vec<LockedSource>,
}

/// What a spec says, as the environment's own rpm reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecFacts {
    /// The SRPM.
    pub nevra: Nevra,
    /// Whether it has a change log, whose newest entry then dates what is built.
    pub changelog: bool,
    /// BuildRequires; sorted and each once when they come from a lock.
    pub build_requires: Vec<String>,
    /// The packages that it makes, in the order of the spec.
    pub binaries: Vec<BinaryFacts>,
}

/// A package that a spec makes, as far as the spec tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinaryFacts {
    /// Name, epoch, version, release, architecture.
    pub nevra: Nevra,
    /// What it provides, its own name included.
    pub provides: Vec<String>,
    /// What it requires.
    pub requires: Vec<String>,
}

/// A source or patch of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedSource {
    /// The file's name, as rpmbuild looks for it.
    pub file: String,
    /// Where it was fetched from; `None` where it lies beside the spec.
    pub remote: Option<RemoteSource>,
}

/// A source that is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteSource {
    /// Its URL.
    pub url: Url,
    /// Bytes.
    pub size: u64,
    /// Its content.
    pub digest: Digest,
}

impl Lock {
    /// The lock of which `text` is the file `pristine.lock`.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        Self::parse_at(text, Path::new(FILE))
    }

    /// Reads the lock of the project in `directory`.
    pub fn load(directory: &Path) -> Result<Self, DocumentError> {
        Self::load_file(&directory.join(FILE)).map_err(|error| match error.problem() {
            Problem::Missing => error.note("write it: pristine lock"),
            _ => error,
        })
    }

    /// Reads a lock in a file of any name.
    pub fn load_file(path: &Path) -> Result<Self, DocumentError> {
        Self::parse_at(&source::read(path, LOCK_LIMIT)?, path)
    }

    /// Writes the lock of the project in `directory`.
    pub fn save(&self, directory: &Path) -> Result<(), DocumentError> {
        let path = directory.join(FILE);
        files::write_atomic(&path, self.to_text().as_bytes()).map_err(|error| {
            DocumentError::of(
                Problem::Unreadable,
                &path,
                format!("cannot write it: {error}"),
            )
        })
    }

    /// The file's text: the same for equal locks. What has no order of its own (requests, keys,
    /// packages of the project, BuildRequires, tools) is sorted.
    pub fn to_text(&self) -> String {
        write::text(self)
    }

    /// Digest of the file's text; what names this lock in records and in snapshots.
    pub fn digest(&self) -> Digest {
        Digest::of(self.to_text().as_bytes())
    }

    /// What differs between `inputs` and what the lock was made from; empty where the lock is up to date.
    pub fn check(&self, inputs: &Inputs) -> Vec<Drift> {
        check::check(self, inputs)
    }

    /// The packages of the environment, those of its base included.
    pub fn installed(&self) -> Vec<Nevra> {
        let base = self.base.iter().flat_map(|base| &base.installed);
        base.map(|rpm| &rpm.nevra)
            .filter(|nevra| !self.environment.replaced.contains(nevra))
            .chain(self.environment.rpms.iter().map(|rpm| &rpm.nevra))
            .cloned()
            .collect()
    }

    /// How many layers the environment has: the base's, and one of what is installed.
    pub fn environment_layers(&self) -> usize {
        match &self.base {
            None => 1,
            Some(base) => base.layers.len() + usize::from(!self.environment.rpms.is_empty()),
        }
    }

    /// The RPMs of the tools root, by name.
    pub fn tools(&self) -> impl Iterator<Item = &LockedRpm> {
        self.tools
            .packages
            .iter()
            .filter_map(|nevra| self.rpm(nevra))
    }

    /// The RPM of that name, in the environment or in the tools.
    pub fn rpm(&self, nevra: &Nevra) -> Option<&LockedRpm> {
        self.rpms().find(|rpm| rpm.nevra == *nevra)
    }

    /// All RPMs: the environment's in transaction order, then those that only tools have.
    pub fn rpms(&self) -> impl Iterator<Item = &LockedRpm> {
        self.environment.rpms.iter().chain(&self.tools.only)
    }

    /// The repository of that name.
    pub fn repository(&self, name: &Name) -> Option<&LockedRepository> {
        self.repositories
            .iter()
            .find(|repository| repository.name == *name)
    }

    fn parse_at(text: &str, path: &Path) -> Result<Self, DocumentError> {
        read::parse(&source::Source { path, text }).map_err(|error| match error.problem() {
            Problem::MergeConflict => error.note("take either side and write it anew: git checkout --ours pristine.lock && pristine lock"),
            Problem::Newer => error.note("use the version of pristine that wrote it, or write it anew: pristine lock"),
            Problem::Invalid => error.note("locks are not written by hand: restore it from git, or write it anew: pristine lock"),
            Problem::Missing | Problem::Unreadable => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for base in [sample::image(), sample::rootfs()] {
            let mut lock = sample::lock();
            lock.base = Some(base);
            lock.environment.replaced = vec!["bash-5.1-1.x86_64".parse().unwrap()];
            assert_eq!(Lock::parse(&lock.to_text()).unwrap(), lock);
            assert_eq!(
                lock.environment_layers(),
                lock.base.unwrap().layers.len() + 1
            );
        }
        let lock = sample::lock();
        assert_eq!(Lock::parse(&lock.to_text()).unwrap(), lock);
        let folder = tempfile::tempdir().unwrap();
        lock.save(folder.path()).unwrap();
        assert_eq!(Lock::load(folder.path()).unwrap(), lock);
        assert_eq!(
            Digest::of(&fs_err::read(folder.path().join(FILE)).unwrap()),
            lock.digest()
        );
    }

    #[test]
    fn lists_of_mirrors_stand_for_the_mirrors() {
        let mut lock = sample::lock();
        let url: Url = "https://mirrors.example/list?repo=main".parse().unwrap();
        for source in [
            RepositorySource::Metalink(url.clone()),
            RepositorySource::MirrorList(url),
        ] {
            lock.repositories[0].source = source;
            lock.inputs.left_out = vec!["extras".parse().unwrap()];
            assert_eq!(Lock::parse(&lock.to_text()).unwrap(), lock);
        }
        let text = lock.to_text();
        assert!(text.contains("mirrorlist = \"https://mirrors.example/list?repo=main\"\n"));
        assert!(text.contains("left_out = [\n  \"extras\",\n]\n"));
        let both = text.replace("mirrorlist =", "urls = []\nmirrorlist =");
        assert!(Lock::parse(&both).is_err());
    }

    #[test]
    fn order_that_means_nothing_does_not_reach_the_file() {
        let lock = sample::lock();
        let mut other = lock.clone();
        other.packages.reverse();
        other.keys.reverse();
        other.tools.packages.reverse();
        for package in &mut other.packages {
            package.facts.build_requires.reverse();
            let again = package.facts.build_requires.clone();
            package.facts.build_requires.extend(again);
        }
        assert_eq!(other.to_text(), lock.to_text());
        other.environment.rpms.reverse();
        assert_ne!(
            other.to_text(),
            lock.to_text(),
            "the order of the transaction does mean something"
        );
    }

    #[test]
    fn a_package_update_changes_one_line() {
        let lock = sample::lock();
        let mut other = lock.clone();
        other.environment.rpms[0] = sample::rpm("bash-5.3-1.x86_64", "new");
        let (old, new) = (lock.to_text(), other.to_text());
        let changed = old
            .lines()
            .zip(new.lines())
            .filter(|(old, new)| old != new)
            .count();
        assert_eq!((changed, old.lines().count()), (1, new.lines().count()));
    }

    #[test]
    fn tools_are_found_in_the_environment_and_beside_it() {
        let names: Vec<String> = sample::lock()
            .tools()
            .map(|rpm| rpm.nevra.name.clone())
            .collect();
        assert_eq!(names, ["bash", "rpm-build"]);
    }

    proptest! {
        #[test]
        fn any_text_survives(texts in proptest::collection::btree_set(".*", 0..5), revision in ".*") {
            let mut lock = sample::lock();
            lock.inputs.requests = texts.iter().cloned().collect();
            lock.repositories[0].revision = revision;
            lock.packages[0].facts.build_requires = texts.iter().cloned().collect();
            lock.packages[0].facts.binaries[0].provides = texts.into_iter().collect();
            prop_assert_eq!(Lock::parse(&lock.to_text()).unwrap(), lock);
        }

        #[test]
        fn damage_is_an_error_or_a_lock_and_never_a_panic(at in 0_usize..4000, with in ".{0,3}") {
            let mut text = sample::lock().to_text();
            let at = text.floor_char_boundary(at.min(text.len()));
            text.replace_range(at..text.floor_char_boundary((at + 3).min(text.len())), &with);
            drop(Lock::parse(&text));
            text.truncate(at);
            drop(Lock::parse(&text));
        }
    }
}
