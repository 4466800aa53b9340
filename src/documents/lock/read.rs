//! From text to a consistent lock.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use toml::Spanned;

use super::base::{self, RawBase};
use super::{
    BinaryFacts, Lock, LockedDocument, LockedEnvironment, LockedInputs, LockedKey, LockedMetadata,
    LockedPackage, LockedRepository, LockedRpm, LockedSource, LockedTools, Origin, RemoteSource,
    SpecFacts,
};
use crate::digest::Digest;
use crate::documents::error::DocumentError;
use crate::documents::source::Source;
use crate::documents::template::RepositorySource;
use crate::documents::values::{Architecture, Fingerprint, Name, RelativePath, Url};
use crate::rpm::Nevra;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawLock {
    #[serde(rename = "format")]
    _format: u64,
    architecture: Architecture,
    epoch: i64,
    inputs: RawInputs,
    base: Option<Spanned<RawBase>>,
    #[serde(default)]
    repository: Vec<RawRepository>,
    #[serde(default)]
    key: Vec<RawKey>,
    #[serde(default)]
    package: Vec<RawPackage>,
    tools: RawTools,
    environment: RawEnvironment,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawInputs {
    template: RawDocument,
    recipe: Option<RawDocument>,
    requests: Vec<String>,
    #[serde(default)]
    left_out: Vec<Name>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawDocument {
    name: Name,
    sha256: Digest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawRepository {
    name: Spanned<Name>,
    urls: Option<Vec<Url>>,
    metalink: Option<Url>,
    mirrorlist: Option<Url>,
    revision: String,
    repomd: Digest,
    key: Option<Spanned<Fingerprint>>,
    metadata: Vec<RawMetadata>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawMetadata {
    kind: Name,
    location: Spanned<String>,
    size: u64,
    sha256: Digest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawKey {
    fingerprint: Spanned<Fingerprint>,
    url: Url,
    sha256: Digest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawPackage {
    name: Spanned<Name>,
    spec: RelativePath,
    sha256: Digest,
    nevra: Nevra,
    changelog: bool,
    build_requires: Vec<String>,
    sources: Vec<Spanned<RawSource>>,
    binaries: Vec<RawBinary>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawSource {
    file: String,
    url: Option<Url>,
    size: Option<u64>,
    sha256: Option<Digest>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawBinary {
    nevra: Nevra,
    provides: Vec<String>,
    requires: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawTools {
    packages: Vec<Spanned<Nevra>>,
    only: Vec<Spanned<RawRpm>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawEnvironment {
    tree: Option<Digest>,
    rpms: Vec<Spanned<RawRpm>>,
    #[serde(default)]
    replaced: Vec<Nevra>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawRpm {
    nevra: Nevra,
    repository: Option<Name>,
    location: Option<Spanned<String>>,
    url: Option<Url>,
    size: u64,
    sha256: Digest,
    key: Option<Spanned<Fingerprint>>,
}

/// The lock in `source`.
pub(super) fn parse(source: &Source<'_>) -> Result<Lock, DocumentError> {
    let raw: RawLock = source.parse()?;
    let mut reader = Reader {
        source: *source,
        keys: BTreeSet::new(),
        repositories: BTreeSet::new(),
        rpms: BTreeSet::new(),
    };
    let keys = raw
        .key
        .into_iter()
        .map(|key| reader.key(key))
        .collect::<Result<_, _>>()?;
    let repositories = raw
        .repository
        .into_iter()
        .map(|one| reader.repository(one))
        .collect::<Result<_, _>>()?;
    let rpms = raw
        .environment
        .rpms
        .into_iter()
        .map(|rpm| reader.rpm(rpm))
        .collect::<Result<_, _>>()?;
    let only = raw
        .tools
        .only
        .into_iter()
        .map(|rpm| reader.rpm(rpm))
        .collect::<Result<_, _>>()?;
    let tools = raw
        .tools
        .packages
        .into_iter()
        .map(|nevra| reader.tool(nevra))
        .collect::<Result<_, _>>()?;
    Ok(Lock {
        architecture: raw.architecture,
        epoch: raw.epoch,
        inputs: LockedInputs {
            template: raw.inputs.template.into(),
            recipe: raw.inputs.recipe.map(Into::into),
            requests: raw.inputs.requests,
            left_out: raw.inputs.left_out,
        },
        base: raw.base.map(|base| base::read(source, base)).transpose()?,
        repositories,
        keys,
        packages: reader.packages(raw.package)?,
        tools: LockedTools {
            packages: tools,
            only,
        },
        environment: LockedEnvironment {
            tree: raw.environment.tree,
            rpms,
            replaced: raw.environment.replaced,
        },
    })
}

impl From<RawDocument> for LockedDocument {
    fn from(raw: RawDocument) -> Self {
        Self {
            name: raw.name,
            digest: raw.sha256,
        }
    }
}

/// What was read so far, to hold the rest against.
struct Reader<'a> {
    source: Source<'a>,
    keys: BTreeSet<Fingerprint>,
    repositories: BTreeSet<Name>,
    rpms: BTreeSet<String>,
}

impl Reader<'_> {
    fn key(&mut self, raw: RawKey) -> Result<LockedKey, DocumentError> {
        let span = raw.fingerprint.span();
        let fingerprint = raw.fingerprint.into_inner();
        if !self.keys.insert(fingerprint.clone()) {
            return Err(self
                .source
                .error(span, format!("the key {fingerprint} is named twice")));
        }
        Ok(LockedKey {
            fingerprint,
            url: raw.url,
            digest: raw.sha256,
        })
    }

    fn known_key(
        &self,
        key: Option<Spanned<Fingerprint>>,
    ) -> Result<Option<Fingerprint>, DocumentError> {
        match key {
            Some(key) if !self.keys.contains(key.get_ref()) => {
                Err(self.source.error(key.span(), "the lock has no such key"))
            }
            key => Ok(key.map(Spanned::into_inner)),
        }
    }

    fn location(&self, location: Spanned<String>) -> Result<String, DocumentError> {
        let text = location.get_ref();
        if text.is_empty()
            || text.starts_with('/')
            || text.contains(|c: char| c.is_control() || c == '\\')
        {
            return Err(self.source.error(
                location.span(),
                "expected a location relative to the repository",
            ));
        }
        Ok(location.into_inner())
    }

    fn repository(&mut self, raw: RawRepository) -> Result<LockedRepository, DocumentError> {
        let span = raw.name.span();
        let name = raw.name.into_inner();
        if !self.repositories.insert(name.clone()) {
            return Err(self
                .source
                .error(span, format!("the repository `{name}` is named twice")));
        }
        let source = match (raw.urls, raw.metalink, raw.mirrorlist) {
            (Some(urls), None, None) => RepositorySource::BaseUrls(urls),
            (None, Some(url), None) => RepositorySource::Metalink(url),
            (None, None, Some(url)) => RepositorySource::MirrorList(url),
            _ => {
                return Err(self.source.error(
                    span,
                    "a repository has one of `urls`, `metalink` and `mirrorlist`",
                ));
            }
        };
        let metadata = raw.metadata.into_iter().map(|file| {
            Ok(LockedMetadata {
                kind: file.kind,
                location: self.location(file.location)?,
                size: file.size,
                digest: file.sha256,
            })
        });
        Ok(LockedRepository {
            name,
            metadata: metadata.collect::<Result<_, DocumentError>>()?,
            source,
            revision: raw.revision,
            repomd: raw.repomd,
            key: self.known_key(raw.key)?,
        })
    }

    fn rpm(&mut self, raw: Spanned<RawRpm>) -> Result<LockedRpm, DocumentError> {
        let span = raw.span();
        let raw = raw.into_inner();
        if !self.rpms.insert(raw.nevra.to_string()) {
            return Err(self
                .source
                .error(span, format!("{} is named twice", raw.nevra)));
        }
        let origin = match (raw.repository, raw.location, raw.url) {
            (Some(name), Some(location), None) if self.repositories.contains(&name) => {
                Origin::Repository {
                    name,
                    location: self.location(location)?,
                }
            }
            (Some(name), Some(_), None) => {
                return Err(self
                    .source
                    .error(span, format!("the lock has no repository `{name}`")));
            }
            (None, None, Some(url)) => Origin::Url(url),
            _ => {
                return Err(self.source.error(
                    span,
                    "an RPM has either `repository` and `location`, or `url`",
                ));
            }
        };
        Ok(LockedRpm {
            nevra: raw.nevra,
            origin,
            size: raw.size,
            digest: raw.sha256,
            key: self.known_key(raw.key)?,
        })
    }

    fn tool(&self, nevra: Spanned<Nevra>) -> Result<Nevra, DocumentError> {
        if self.rpms.contains(&nevra.get_ref().to_string()) {
            return Ok(nevra.into_inner());
        }
        let message = format!(
            "{} is neither in the environment nor in `only`",
            nevra.get_ref()
        );
        Err(self.source.error(nevra.span(), message))
    }

    fn packages(&self, raw: Vec<RawPackage>) -> Result<Vec<LockedPackage>, DocumentError> {
        let mut packages = BTreeMap::new();
        for raw in raw {
            let (span, name) = (raw.name.span(), raw.name.get_ref().clone());
            if packages.insert(name.clone(), self.package(raw)?).is_some() {
                return Err(self
                    .source
                    .error(span, format!("the package `{name}` is named twice")));
            }
        }
        Ok(packages.into_values().collect())
    }

    fn package(&self, raw: RawPackage) -> Result<LockedPackage, DocumentError> {
        let binaries = raw.binaries.into_iter().map(|binary| BinaryFacts {
            nevra: binary.nevra,
            provides: binary.provides,
            requires: binary.requires,
        });
        Ok(LockedPackage {
            name: raw.name.into_inner(),
            spec: raw.spec,
            digest: raw.sha256,
            facts: SpecFacts {
                nevra: raw.nevra,
                changelog: raw.changelog,
                build_requires: raw.build_requires,
                binaries: binaries.collect(),
            },
            sources: raw
                .sources
                .into_iter()
                .map(|source| self.package_source(source))
                .collect::<Result<_, _>>()?,
        })
    }

    fn package_source(&self, raw: Spanned<RawSource>) -> Result<LockedSource, DocumentError> {
        let span = raw.span();
        let raw = raw.into_inner();
        let plain = raw
            .file
            .parse::<RelativePath>()
            .is_ok_and(|path| !path.as_str().contains('/'));
        if !plain {
            return Err(self
                .source
                .error(span, format!("`{}` is not a file name", raw.file)));
        }
        let remote = match (raw.url, raw.size, raw.sha256) {
            (Some(url), Some(size), Some(digest)) => Some(RemoteSource { url, size, digest }),
            (None, None, None) => None,
            _ => {
                return Err(self.source.error(
                    span,
                    "a source has all of `url`, `size` and `sha256`, or none of them",
                ));
            }
        };
        Ok(LockedSource {
            file: raw.file,
            remote,
        })
    }
}
