//! The lock in the formats of neighbours (`docs/statements.md`): what an environment is made of, for tools that
//! fetch, install or list packages by such a file.

mod buildroot;
mod manifest;
mod rpms_lock;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::provenance::join;
use crate::digest::Digest;
use crate::documents::lock::{LockedRpm, Origin};
use crate::documents::template::RepositorySource;
use crate::documents::{Lock, Name};
use crate::rpm::{PackageDetails, RpmError, read_details};

/// A format of a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `rpms.lock.yaml` of rpm-lockfile-prototype, `lockfileVersion` 1, which hermeto reads.
    RpmsLock,
    /// The manifest of libpkgmanifest, version 0.2.0, which `dnf manifest` reads.
    DnfManifest,
    /// `buildroot_lock.json` of mock, version 1.1.0.
    MockLock,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::RpmsLock, Self::DnfManifest, Self::MockLock];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::RpmsLock => "rpms-lock",
            Self::DnfManifest => "dnf-manifest",
            Self::MockLock => "mock-lock",
        }
    }

    /// The name that its readers look for.
    pub fn file(self) -> &'static str {
        match self {
            Self::RpmsLock => "rpms.lock.yaml",
            Self::DnfManifest => "packages.manifest.yaml",
            Self::MockLock => "buildroot_lock.json",
        }
    }
}

/// Why a lock cannot be written in a format.
#[derive(Debug, Error)]
pub enum ExportError {
    /// Its packages come from a list of mirrors.
    #[error(
        "the lock does not say where the packages of the repository `{repository}` are: it has a list of mirrors"
    )]
    NoAddress {
        /// The repository.
        repository: Name,
    },
    /// Its packages come from a folder.
    #[error("{place} is in the project's folder, and the format wants addresses that others reach")]
    Path {
        /// The repository, or the package's URL.
        place: String,
        /// The repository, where it is one.
        repository: Option<Name>,
    },
    /// Only the package itself says what the format wants.
    #[error("`{package}` is not in the store, and its header has what the format wants")]
    NotThere {
        /// The package.
        package: String,
    },
    /// The package cannot be read.
    #[error(transparent)]
    Rpm(#[from] RpmError),
    /// The environment begins with something that the format has no place for.
    #[error(
        "the environment begins with an image or a root archive, whose packages the format has no place for"
    )]
    Base,
    /// It cannot be written.
    #[error("cannot write the format: {0}")]
    Write(String),
}

/// What the lock is written with.
pub struct Sources<'a> {
    /// Base URLs by repository, in the place of the lock's.
    pub base_urls: &'a BTreeMap<Name, String>,
    /// Finds a package's file by its digest.
    pub blob: &'a dyn Fn(&Digest) -> Option<PathBuf>,
}

impl std::fmt::Debug for Sources<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources")
            .field("base_urls", self.base_urls)
            .finish_non_exhaustive()
    }
}

/// The lock's environment in a format.
pub fn export(format: Format, lock: &Lock, sources: &Sources<'_>) -> Result<String, ExportError> {
    match format {
        Format::RpmsLock => rpms_lock::write(lock, sources),
        Format::DnfManifest => manifest::write(lock, sources),
        Format::MockLock => buildroot::write(lock, sources),
    }
}

impl Sources<'_> {
    /// What the package says of itself; `None` where the store does not have it.
    fn details(&self, rpm: &LockedRpm) -> Result<Option<PackageDetails>, ExportError> {
        let path = (self.blob)(&rpm.digest);
        Ok(path.map(|path: PathBuf| read_details(&path)).transpose()?)
    }

    /// The same where the format cannot do without.
    fn needed(&self, rpm: &LockedRpm) -> Result<PackageDetails, ExportError> {
        let details = self.details(rpm)?;
        details.ok_or_else(|| ExportError::NotThere {
            package: rpm.nevra.to_string(),
        })
    }

    /// The base URL of a repository.
    fn base_url(&self, lock: &Lock, name: &Name) -> Result<String, ExportError> {
        if let Some(url) = self.base_urls.get(name) {
            return Ok(url.clone());
        }
        let source = lock.repository(name).map(|repository| &repository.source);
        let url = match source {
            Some(RepositorySource::BaseUrls(urls)) => urls.first(),
            _ => None,
        };
        let url = url.ok_or_else(|| ExportError::NoAddress {
            repository: name.clone(),
        })?;
        reached(url.as_str(), Some(name))
    }

    /// The URL of a package.
    fn url(&self, lock: &Lock, rpm: &LockedRpm) -> Result<String, ExportError> {
        match &rpm.origin {
            Origin::Url(url) => reached(url.as_str(), None),
            Origin::Repository { location, .. } if location.contains("://") => Ok(location.clone()),
            Origin::Repository { name, location } => {
                Ok(join(&self.base_url(lock, name)?, location))
            }
        }
    }
}

/// A URL that others reach.
fn reached(url: &str, repository: Option<&Name>) -> Result<String, ExportError> {
    if url.contains("://") {
        return Ok(url.to_owned());
    }
    let place = match repository {
        Some(name) => format!("the repository `{name}`"),
        None => format!("`{url}`"),
    };
    Err(ExportError::Path {
        place,
        repository: repository.cloned(),
    })
}

/// A URL without its last part.
fn folder(url: &str) -> &str {
    Path::new(url)
        .parent()
        .and_then(Path::to_str)
        .unwrap_or(url)
}

fn yaml(document: &impl serde::Serialize) -> Result<String, ExportError> {
    serde_saphyr::to_string(document).map_err(|error| ExportError::Write(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::lock::sample;
    use crate::rpm::testing::build_package;

    /// The sample's lock with packages that have addresses, and one that is in the store.
    fn lock(folder: &Path) -> (Lock, PathBuf) {
        let path = build_package(folder, "first");
        let bytes = fs_err::read(&path).unwrap();
        let mut lock = sample::lock();
        let mut first = sample::rpm("first-1:1.2~rc1-3.x86_64", "first");
        first.digest = Digest::of(&bytes);
        lock.environment.rpms = vec![first, lock.environment.rpms[1].clone()];
        lock.environment.rpms[1].origin =
            Origin::Url("https://vendor.example/pub/tool.rpm".parse().unwrap());
        (lock, path)
    }

    fn told(format: Format, lock: &Lock, path: &Path, all: bool) -> String {
        let digest = Digest::of(&fs_err::read(path).unwrap());
        let blob = |wanted: &Digest| (all || *wanted == digest).then(|| path.to_owned());
        let sources = Sources {
            base_urls: &BTreeMap::new(),
            blob: &blob,
        };
        match export(format, lock, &sources) {
            Ok(text) => text.replace(&digest.hex(), "FIRST"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn each_format_has_what_its_readers_look_for() {
        let folder = tempfile::tempdir().unwrap();
        let (lock, path) = lock(folder.path());
        insta::assert_snapshot!(told(Format::RpmsLock, &lock, &path, false), @"
        lockfileVersion: 1
        lockfileVendor: redhat
        arches:
        - arch: x86_64
          packages:
          - url: https://mirror.example/main/Packages/first-1:1.2~rc1-3.x86_64.rpm
            repoid: main
            size: 1000
            checksum: sha256:FIRST
            name: first
            evr: 1:1.2~rc1-3
          - url: https://vendor.example/pub/tool.rpm
            size: 1000
            checksum: sha256:7c9bbe5ec9b3fb774e8fa0f54247e93c34ddf8e5d16fe3073420de0ae81a262d
            name: tool
            evr: 1-1
          source: []
          module_metadata: []
        ");
        insta::assert_snapshot!(told(Format::DnfManifest, &lock, &path, false), @r#"
        document: rpm-package-manifest
        version: "0.2.0"
        data:
          repositories:
          - id: main
            baseurl: https://mirror.example/main
          - id: recipe-1
            baseurl: https://vendor.example/pub
          packages:
            x86_64:
            - name: first
              repo_id: main
              location: Packages/first-1:1.2~rc1-3.x86_64.rpm
              checksum: sha256:FIRST
              size: 1000
              evr: 1:1.2~rc1-3
            - name: tool
              repo_id: recipe-1
              location: tool.rpm
              checksum: sha256:7c9bbe5ec9b3fb774e8fa0f54247e93c34ddf8e5d16fe3073420de0ae81a262d
              size: 1000
              evr: 1-1
        "#);
        insta::assert_snapshot!(told(Format::MockLock, &lock, &path, true), @r#"
        {
          "version": "1.1.0",
          "buildroot": {
            "rpms": [
              {
                "arch": "x86_64",
                "epoch": "1",
                "license": "MIT",
                "name": "first",
                "release": "3",
                "sigmd5": "(none)",
                "signature": null,
                "url": "https://mirror.example/main/Packages/first-1:1.2~rc1-3.x86_64.rpm",
                "version": "1.2~rc1"
              },
              {
                "arch": "x86_64",
                "epoch": null,
                "license": "MIT",
                "name": "tool",
                "release": "1",
                "sigmd5": "(none)",
                "signature": null,
                "url": "https://vendor.example/pub/tool.rpm",
                "version": "1"
              }
            ]
          },
          "config": {
            "target_arch": "x86_64",
            "legal_host_arches": [
              "x86_64"
            ]
          }
        }
        "#);
    }

    #[test]
    fn what_a_format_cannot_say_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (good, path) = lock(folder.path());
        let mut mirrors = good.clone();
        mirrors.repositories[0].source =
            RepositorySource::Metalink("https://mirrors.example/list".parse().unwrap());
        let mut local = good.clone();
        local.repositories[0].source = RepositorySource::BaseUrls(vec!["./mini".parse().unwrap()]);
        let mut based = good.clone();
        based.base = Some(sample::image());
        let texts = [
            told(Format::RpmsLock, &mirrors, &path, false),
            told(Format::RpmsLock, &local, &path, false),
            told(Format::DnfManifest, &local, &path, false),
            told(Format::MockLock, &good, &path, false),
            told(Format::MockLock, &based, &path, true),
        ];
        insta::assert_snapshot!(texts.join("\n"), @"
        the lock does not say where the packages of the repository `main` are: it has a list of mirrors
        the repository `main` is in the project's folder, and the format wants addresses that others reach
        the repository `main` is in the project's folder, and the format wants addresses that others reach
        `tool-1-1.x86_64` is not in the store, and its header has what the format wants
        the environment begins with an image or a root archive, whose packages the format has no place for
        ");
        // A list of mirrors is what the manifest has a place for.
        assert!(told(Format::DnfManifest, &mirrors, &path, false).contains("metalink:"));
    }
}
