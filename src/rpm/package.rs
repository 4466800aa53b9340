//! What the solver and the lock need to know of a package, from metadata or from its own header.

use std::io;
use std::path::{Path, PathBuf};

use rpm::{DependencyFlags, PackageMetadata};
use thiserror::Error;

use super::dependency::{Comparison, Dependency, Requirement};
use super::header::{HeaderError, read_headers};
use super::nevra::Nevra;

/// A package's own words about itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackageFacts {
    /// What names it.
    pub nevra: Nevra,
    /// One line on what it is; empty where it has none.
    pub summary: String,
    /// Who made it; empty where it does not say.
    pub vendor: String,
    /// Bytes its files take once installed.
    pub installed_size: u64,
    /// When it was built, in seconds since 1970; 0 where it does not say.
    pub build_time: u64,
    /// The capabilities that it provides, itself included.
    pub provides: Vec<Dependency>,
    /// What it requires; `rpmlib(…)` features are left in.
    pub requires: Vec<Requirement>,
    /// What it cannot be installed beside.
    pub conflicts: Vec<Dependency>,
    /// The packages that it replaces.
    pub obsoletes: Vec<Dependency>,
    /// Weak: what it would have installed with it.
    pub recommends: Vec<Dependency>,
    /// Weak: what goes well with it.
    pub suggests: Vec<Dependency>,
    /// Weak: beside what it would be installed.
    pub supplements: Vec<Dependency>,
    /// Weak: what it goes well with.
    pub enhances: Vec<Dependency>,
    /// Absolute paths of its files: all from a header, those of `primary` from a repository.
    pub files: Vec<String>,
    /// The file name of the source package it was built from; `None` for a source package.
    pub source_rpm: Option<String>,
}

impl AsRef<Self> for PackageFacts {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl PackageFacts {
    /// A package that says nothing but its name.
    pub fn new(nevra: Nevra) -> Self {
        Self {
            nevra,
            summary: String::new(),
            vendor: String::new(),
            installed_size: 0,
            build_time: 0,
            provides: Vec::new(),
            requires: Vec::new(),
            conflicts: Vec::new(),
            obsoletes: Vec::new(),
            recommends: Vec::new(),
            suggests: Vec::new(),
            supplements: Vec::new(),
            enhances: Vec::new(),
            files: Vec::new(),
            source_rpm: None,
        }
    }

    /// Whether it is a source package, which is never installed.
    pub fn is_source(&self) -> bool {
        matches!(self.nevra.arch.as_str(), "src" | "nosrc")
    }
}

/// Why RPM data could not be used.
#[derive(Debug, Error)]
pub enum RpmError {
    /// The file cannot be opened or read.
    #[error("cannot read the package `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its header is not one.
    #[error("`{}` is damaged or not an RPM package", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// Where it goes wrong.
        source: HeaderError,
    },
    /// Its header lacks what every package has, or says it wrongly.
    #[error("`{}` is not a usable RPM package: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A header of an exported database lacks what every package has, or says it wrongly.
    #[error("the exported rpm database has an unusable package: {reason}")]
    Installed {
        /// What is wrong.
        reason: String,
    },
    /// An exported database is not a stream of headers.
    #[error("the exported rpm database is damaged")]
    Database {
        /// Where it goes wrong.
        source: HeaderError,
    },
    /// The changed database could not be written.
    #[error("cannot write the rpm database")]
    WriteDatabase {
        /// Why.
        source: io::Error,
    },
}

/// Reads what the package file at `path` says of itself: its headers alone, never the payload.
///
/// Neither digests nor signatures are checked here.
pub fn read_package(path: &Path) -> Result<PackageFacts, RpmError> {
    facts(&read_metadata(path)?).map_err(content(path))
}

/// The headers of a package file, with its signatures.
pub(super) fn read_metadata(path: &Path) -> Result<PackageMetadata, RpmError> {
    let file = std::fs::File::open(path).map_err(|source| RpmError::Read {
        path: path.to_owned(),
        source,
    })?;
    let bytes = read_headers(&mut io::BufReader::new(file)).map_err(|source| RpmError::Header {
        path: path.to_owned(),
        source,
    })?;
    PackageMetadata::parse(&mut bytes.as_slice()).map_err(|error| content(path)(error.to_string()))
}

/// The error of a package at `path` for a reason.
pub(super) fn content(path: &Path) -> impl Fn(String) -> RpmError {
    move |reason| RpmError::Content {
        path: path.to_owned(),
        reason,
    }
}

/// What one header of a database says; its entries were checked.
pub(super) fn header_facts(header: &[u8]) -> Result<PackageFacts, RpmError> {
    let content = |reason: String| RpmError::Installed { reason };
    // As in a package's file: a lead, a signature header without entries, the header.
    let mut bytes = vec![0; 96];
    bytes[..10].copy_from_slice(&[0xed, 0xab, 0xee, 0xdb, 3, 0, 0, 0, 0, 1]);
    bytes[76..80].copy_from_slice(&[0, 1, 0, 5]);
    bytes.extend([0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(header);
    let metadata = PackageMetadata::parse(&mut bytes.as_slice())
        .map_err(|error| content(error.to_string()))?;
    facts(&metadata).map_err(content)
}

pub(super) fn facts(metadata: &PackageMetadata) -> Result<PackageFacts, String> {
    let text = |value: Result<&str, rpm::Error>, what: &str| {
        value
            .map(str::to_owned)
            .map_err(|error| format!("{what}: {error}"))
    };
    let optional = |value: Result<&str, rpm::Error>| value.map(str::to_owned).unwrap_or_default();
    let list = |value: Result<Vec<rpm::Dependency>, rpm::Error>| match value {
        Ok(dependencies) => Ok(dependencies.iter().map(dependency).collect::<Vec<_>>()),
        Err(error) => Err(error.to_string()),
    };
    let source = metadata.is_source_package();
    let arch = if source {
        "src".to_owned()
    } else {
        text(metadata.get_arch(), "architecture")?
    };
    let nevra = Nevra {
        name: text(metadata.get_name(), "name")?,
        epoch: metadata.get_epoch().unwrap_or(0),
        version: text(metadata.get_version(), "version")?,
        release: text(metadata.get_release(), "release")?,
        arch,
    };
    let nevra = nevra
        .to_string()
        .parse()
        .map_err(|error: super::NevraError| error.to_string())?;
    let requires = metadata.get_requires().map_err(|error| error.to_string())?;
    let files = metadata
        .get_file_paths_split()
        .map_err(|error| error.to_string())?;
    Ok(PackageFacts {
        summary: optional(metadata.get_summary()),
        vendor: optional(metadata.get_vendor()),
        installed_size: metadata.get_installed_size().unwrap_or(0),
        build_time: metadata.get_build_time().unwrap_or(0),
        provides: list(metadata.get_provides())?,
        requires: requires.iter().map(requirement).collect(),
        conflicts: list(metadata.get_conflicts())?,
        obsoletes: list(metadata.get_obsoletes())?,
        recommends: list(metadata.get_recommends())?,
        suggests: list(metadata.get_suggests())?,
        supplements: list(metadata.get_supplements())?,
        enhances: list(metadata.get_enhances())?,
        files: files
            .into_iter()
            .map(|(folder, name)| file_path(source, folder, name))
            .collect::<Result<_, _>>()?,
        source_rpm: metadata
            .get_source_rpm()
            .ok()
            .filter(|name| !source && *name != "(none)")
            .map(str::to_owned),
        ..PackageFacts::new(nevra)
    })
}

/// A file's path, which must stay below the root that it is installed in.
fn file_path(source: bool, folder: &str, name: &str) -> Result<String, String> {
    let path = format!("{folder}{name}");
    let absolute = source || path.starts_with('/');
    if !absolute || path.split('/').any(|component| component == "..") {
        return Err(format!(
            "it has the file `{path}`, whose path leads outside"
        ));
    }
    Ok(path)
}

fn dependency(dependency: &rpm::Dependency) -> Dependency {
    let comparison = Comparison::parse(dependency.flags.comparator_str());
    Dependency::new(
        &dependency.name,
        comparison.map(|comparison| (comparison, dependency.version.as_str())),
    )
}

/// Marks what repository metadata marks with `pre`: the needs of scriptlets that run while packages are installed,
/// their interpreters included (they carry the flag of the scriptlet).
fn requirement(from: &rpm::Dependency) -> Requirement {
    let before = DependencyFlags::PREREQ
        | DependencyFlags::SCRIPT_PRE
        | DependencyFlags::SCRIPT_POST
        | DependencyFlags::PRETRANS;
    Requirement {
        dependency: dependency(from),
        pre: from.flags.intersects(before | DependencyFlags::POSTTRANS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpm::testing::build_package;

    #[test]
    fn facts_come_from_the_header() {
        let folder = tempfile::tempdir().unwrap();
        let facts = read_package(&build_package(folder.path(), "first")).unwrap();
        assert_eq!(facts.nevra.to_string(), "first-1:1.2~rc1-3.x86_64");
        assert_eq!(
            (facts.vendor.as_str(), facts.build_time),
            ("pristine tests", 1_600_000_000)
        );
        let requires: Vec<_> = facts
            .requires
            .iter()
            .filter(|requirement| !requirement.dependency.is_rpmlib())
            .map(|requirement| (requirement.to_string(), requirement.pre))
            .collect();
        let expected = [
            ("(a if b else c)", false),
            ("needed >= 1:1-1", false),
            ("shadow", true),
        ];
        assert_eq!(requires, expected.map(|(text, pre)| (text.to_owned(), pre)));
        let texts = |list: &[Dependency]| {
            list.iter()
                .map(Dependency::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        };
        insta::assert_snapshot!(texts(&facts.provides), @"first = 1:1.2~rc1-3, first(x86-64) = 1:1.2~rc1-3, versioned = 2, virtual");
        insta::assert_snapshot!(texts(&[facts.conflicts, facts.obsoletes, facts.recommends].concat()), @"enemy < 2, former, friend");
        assert_eq!(facts.files, ["/usr/bin/first.sh"]);
        assert_eq!(facts.source_rpm, None);
    }

    #[test]
    fn damage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let good = fs_err::read(build_package(folder.path(), "first")).unwrap();
        let path = folder.path().join("bad.rpm");
        for cut in (0..good.len().min(4000)).step_by(37) {
            fs_err::write(&path, &good[..cut]).unwrap();
            let error = read_package(&path).map(|facts| facts.nevra.to_string());
            match error {
                Ok(nevra) => assert_eq!(
                    nevra, "first-1:1.2~rc1-3.x86_64",
                    "the headers were whole at {cut}"
                ),
                Err(error) => assert!(error.to_string().contains("bad.rpm"), "{error}"),
            }
        }
        for at in 96..good.len().min(3000) {
            let mut bytes = good.clone();
            bytes[at] ^= 0x80;
            fs_err::write(&path, &bytes).unwrap();
            let _any_result_without_panic = read_package(&path);
        }
    }
}
