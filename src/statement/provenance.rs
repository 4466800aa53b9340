//! The statement itself: SLSA build provenance of the packages that one build made, from record and lock.

use serde::{Deserialize, Serialize};

use super::Descriptor;
use crate::digest::Digest;
use crate::documents::lock::{BaseOrigin, LockedRpm, Origin};
use crate::documents::template::RepositorySource;
use crate::documents::{Lock, Name};
use crate::record::{FILE_NAME, PackageRecord, Record, Scope, SourceRecord};

/// The type of an in-toto statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The type of what it says.
pub const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";
/// How the packages were built: what the parameters mean, `docs/statements.md` says.
pub const BUILD_TYPE: &str = "urn:pristine:rpm-build:1";
/// Who built them, where the user names nobody.
pub const BUILDER: &str = "urn:pristine:builder";

/// What was built, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// `STATEMENT_TYPE`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// The packages that the build made.
    pub subject: Vec<Descriptor>,
    /// `PREDICATE_TYPE`.
    pub predicate_type: String,
    /// How they were made.
    pub predicate: Provenance,
}

/// How something was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// What was to be built, of what.
    pub build_definition: BuildDefinition,
    /// Which run did it.
    pub run_details: RunDetails,
}

/// What was to be built, of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildDefinition {
    /// `BUILD_TYPE`.
    pub build_type: String,
    /// What the user asked for.
    pub external_parameters: ExternalParameters,
    /// What the tool set.
    pub internal_parameters: InternalParameters,
    /// All that was at hand: what the lock names, the package's own sources, own packages.
    pub resolved_dependencies: Vec<Descriptor>,
}

/// What the user asked for. A parameter that is not one of these is refused, as SLSA asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExternalParameters {
    /// The project.
    pub project: String,
    /// The package in the project.
    pub package: String,
    /// The commit, where the project is in git.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Descriptor>,
    /// Which packages the run was asked for.
    pub scope: Scope,
}

/// What the tool set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InternalParameters {
    /// Digest of the environment's tree, which the lock has too.
    pub environment: Digest,
    /// Manifest digest of the snapshot.
    pub snapshot: Digest,
    /// `SOURCE_DATE_EPOCH`, where the spec has no change log.
    pub source_date_epoch: i64,
    /// Digest of all that shows in the packages' bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_from: Option<Digest>,
    /// Name of the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// Processors that the build was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processors: Option<u32>,
}

/// Which run did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunDetails {
    /// Who built.
    pub builder: Builder,
    /// Which run, and when.
    pub metadata: Metadata,
    /// What else came out: the log, the record.
    pub byproducts: Vec<Descriptor>,
}

/// Who built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Builder {
    /// Who answers for the build.
    pub id: String,
    /// Versions of the programs that did it.
    #[serde(default)]
    pub version: std::collections::BTreeMap<String, String>,
}

/// Which run, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The run's name.
    pub invocation_id: String,
    /// Start of the run, RFC 3339.
    pub started_on: String,
    /// End of the run, RFC 3339.
    pub finished_on: String,
}

/// Digests of what lies beside the packages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beside {
    /// The record's file.
    pub(super) record: Digest,
    /// The build's log.
    pub(super) log: Option<Digest>,
}

impl Statement {
    /// What `record` and `lock` say of `package`.
    pub(super) fn new(
        record: &Record,
        lock: &Lock,
        package: &PackageRecord,
        beside: Beside,
        builder: &str,
    ) -> Self {
        let log = beside.log.zip(package.log.as_ref());
        let log = log.map(|(digest, path)| Descriptor::new(path.to_string_lossy(), digest));
        let record_file = Descriptor::new(FILE_NAME, beside.record);
        let (program, version) = record.tool.split_once(' ').unwrap_or((&record.tool, ""));
        let mut resolved_dependencies = of_lock(lock, &package.name);
        resolved_dependencies.extend(of_record(record, lock, package));
        Self {
            kind: STATEMENT_TYPE.to_owned(),
            subject: subjects(package),
            predicate_type: PREDICATE_TYPE.to_owned(),
            predicate: Provenance {
                build_definition: BuildDefinition {
                    build_type: BUILD_TYPE.to_owned(),
                    external_parameters: external(record, package),
                    internal_parameters: internal(record, package),
                    resolved_dependencies,
                },
                run_details: RunDetails {
                    builder: Builder {
                        id: builder.to_owned(),
                        version: [(program.to_owned(), version.to_owned())].into(),
                    },
                    metadata: Metadata {
                        invocation_id: record.run.clone(),
                        started_on: record.started.clone(),
                        finished_on: record.ended.clone(),
                    },
                    byproducts: log.into_iter().chain([record_file]).collect(),
                },
            },
        }
    }

    /// The package of the project that it is about.
    pub fn package(&self) -> &str {
        &self.predicate.build_definition.external_parameters.package
    }
}

fn external(record: &Record, package: &PackageRecord) -> ExternalParameters {
    ExternalParameters {
        project: record.project.clone(),
        package: package.name.clone(),
        source: record.source.as_ref().map(commit),
        scope: record.scope.clone(),
    }
}

fn internal(record: &Record, package: &PackageRecord) -> InternalParameters {
    InternalParameters {
        environment: record.environment,
        snapshot: record.snapshot,
        source_date_epoch: package.source_date_epoch,
        made_from: package.made_from,
        backend: record.host.as_ref().map(|host| host.backend.clone()),
        processors: package.given.as_ref().map(|given| given.processors),
    }
}

/// What a build made: the packages by file name and digest.
pub(super) fn subjects(package: &PackageRecord) -> Vec<Descriptor> {
    let outputs = package.outputs.iter();
    outputs
        .map(|output| Descriptor::new(file_name(&output.path), output.sha256))
        .collect()
}

/// The commit, with its address in the form that SPDX and SLSA use.
fn commit(source: &SourceRecord) -> Descriptor {
    let checkout = source.checkout.as_deref().unwrap_or_default();
    let (place, reference) = checkout.split_once('#').unwrap_or((checkout, ""));
    let uri = place.contains("://").then(|| match reference {
        "" => format!("git+{place}"),
        reference => format!("git+{place}@{reference}"),
    });
    let commit = Descriptor::commit(uri, &source.commit);
    match source.changes {
        Some(changes) => commit.annotate("changes", changes.to_string()),
        None => commit,
    }
}

/// What the lock says that a build of the package `name` has at hand.
pub(super) fn of_lock(lock: &Lock, name: &str) -> Vec<Descriptor> {
    let file = |kind: &str, name: &str, digest| Descriptor::new(name, digest).kind(kind);
    let mut all = vec![file("lock", crate::documents::lock::FILE, lock.digest())];
    let inputs = &lock.inputs;
    let template = &inputs.template;
    all.push(file("template", template.name.as_str(), template.digest));
    let recipe = inputs.recipe.iter();
    all.extend(recipe.map(|recipe| file("recipe", recipe.name.as_str(), recipe.digest)));
    all.extend(lock.base.iter().map(|base| match &base.origin {
        BaseOrigin::Image { name, manifest } => file("base", &name.to_string(), *manifest),
        BaseOrigin::Rootfs { url, sha256 } => {
            file("base", last(url.as_str()), *sha256).from(url.as_str())
        }
    }));
    all.extend(lock.repositories.iter().map(|repository| {
        let metadata = file("repository", repository.name.as_str(), repository.repomd);
        match &repository.source {
            RepositorySource::BaseUrls(urls) => match urls.first() {
                Some(url) => metadata.from(&join(url.as_str(), "repodata/repomd.xml")),
                None => metadata,
            },
            RepositorySource::Metalink(url) | RepositorySource::MirrorList(url) => {
                metadata.annotate("mirrors", url.as_str())
            }
        }
    }));
    all.extend(
        lock.keys
            .iter()
            .map(|key| file("key", key.fingerprint.as_str(), key.digest).from(key.url.as_str())),
    );
    all.extend(
        lock.environment
            .rpms
            .iter()
            .map(|one| rpm(lock, one, "rpm")),
    );
    all.extend(lock.tools.only.iter().map(|one| rpm(lock, one, "tool")));
    let package = lock
        .packages
        .iter()
        .find(|package| package.name.as_str() == name);
    let sources = package.iter().flat_map(|package| &package.sources);
    all.extend(sources.filter_map(|source| {
        let remote = source.remote.as_ref()?;
        Some(file("source", &source.file, remote.digest).from(remote.url.as_str()))
    }));
    all
}

/// What is in the record alone: the spec, sources that lie beside it, own packages, the commit.
pub(super) fn of_record(record: &Record, lock: &Lock, package: &PackageRecord) -> Vec<Descriptor> {
    let locked = lock.packages.iter();
    let locked = locked.filter(|locked| locked.name.as_str() == package.name);
    let fetched: Vec<Digest> = locked
        .flat_map(|locked| &locked.sources)
        .filter_map(|source| source.remote.as_ref().map(|remote| remote.digest))
        .collect();
    let inputs = package.inputs.iter();
    let inputs = inputs.filter(|input| !fetched.contains(&input.sha256));
    let inputs = inputs
        .map(|input| Descriptor::new(input.path.to_string_lossy(), input.sha256).kind("input"));
    let own = package.own_packages.iter();
    let own = own.map(|own| Descriptor::new(file_name(&own.path), own.sha256).kind("own-package"));
    let commit = record
        .source
        .iter()
        .map(|source| commit(source).kind("commit"));
    inputs.chain(own).chain(commit).collect()
}

/// The parts of a build that only the record knows.
pub(super) const OF_RECORD: [&str; 3] = ["input", "own-package", "commit"];

fn rpm(lock: &Lock, rpm: &LockedRpm, kind: &str) -> Descriptor {
    let found = Descriptor::new(rpm.nevra.to_string(), rpm.digest).kind(kind);
    let (name, location) = match &rpm.origin {
        Origin::Url(url) => return found.from(url.as_str()),
        Origin::Repository { name, location } => (name, location),
    };
    let found = found.annotate("repository", name.as_str());
    match url(lock, name, location) {
        Some(url) => found.from(&url),
        None => found.from(location),
    }
}

/// Where a package of a repository is, by the repository's first base URL; `None` where it has none.
pub fn url(lock: &Lock, repository: &Name, location: &str) -> Option<String> {
    match &lock.repository(repository)?.source {
        RepositorySource::BaseUrls(urls) => Some(join(urls.first()?.as_str(), location)),
        _ => None,
    }
}

/// A location below a base URL; one that is a URL stays as it is.
pub(super) fn join(base: &str, location: &str) -> String {
    if location.contains("://") {
        return location.to_owned();
    }
    format!("{}/{location}", base.trim_end_matches('/'))
}

fn last(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

pub(super) fn file_name(path: &std::path::Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
