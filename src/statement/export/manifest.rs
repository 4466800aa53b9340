//! The manifest of libpkgmanifest, as `dnf manifest` reads it: version 0.2.0.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{ExportError, Sources, folder, yaml};
use crate::documents::Lock;
use crate::documents::lock::{LockedRepository, LockedRpm, Origin};
use crate::documents::template::RepositorySource;

/// The format's version that is written.
const VERSION: &str = "0.2.0";

#[derive(Serialize)]
struct Document {
    document: &'static str,
    version: &'static str,
    data: Data,
}

#[derive(Serialize)]
struct Data {
    repositories: Vec<Repository>,
    packages: BTreeMap<String, Vec<Package>>,
}

#[derive(Serialize)]
struct Repository {
    id: String,
    #[serde(flatten)]
    place: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
struct Package {
    name: String,
    repo_id: String,
    location: String,
    checksum: String,
    size: u64,
    evr: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    srpm: Option<String>,
}

pub(super) fn write(lock: &Lock, sources: &Sources<'_>) -> Result<String, ExportError> {
    let mut repositories = Vec::new();
    for repository in &lock.repositories {
        repositories.push(place(lock, repository, sources)?);
    }
    // Packages of the recipe lie in no repository: the folder of each stands for one.
    let mut others: BTreeMap<String, String> = BTreeMap::new();
    let mut packages: BTreeMap<String, Vec<Package>> = BTreeMap::new();
    for rpm in &lock.environment.rpms {
        let package = package(lock, rpm, sources, &mut others)?;
        let same = packages.entry(rpm.nevra.arch.clone()).or_default();
        same.push(package);
    }
    for same in packages.values_mut() {
        same.sort_by(|a, b| (&a.name, &a.evr).cmp(&(&b.name, &b.evr)));
    }
    repositories.extend(others.into_iter().map(|(url, id)| Repository {
        id,
        place: BTreeMap::from([("baseurl", url)]),
    }));
    yaml(&Document {
        document: "rpm-package-manifest",
        version: VERSION,
        data: Data {
            repositories,
            packages,
        },
    })
}

fn place(
    lock: &Lock,
    repository: &LockedRepository,
    sources: &Sources<'_>,
) -> Result<Repository, ExportError> {
    let named = sources.base_urls.contains_key(&repository.name);
    let (key, url) = match &repository.source {
        RepositorySource::Metalink(url) if !named => ("metalink", url.to_string()),
        RepositorySource::MirrorList(url) if !named => ("mirrorlist", url.to_string()),
        _ => ("baseurl", sources.base_url(lock, &repository.name)?),
    };
    Ok(Repository {
        id: repository.name.to_string(),
        place: BTreeMap::from([(key, url)]),
    })
}

fn package(
    lock: &Lock,
    rpm: &LockedRpm,
    sources: &Sources<'_>,
    others: &mut BTreeMap<String, String>,
) -> Result<Package, ExportError> {
    let (repo_id, location) = match &rpm.origin {
        Origin::Repository { name, location } => (name.to_string(), location.clone()),
        Origin::Url(_) => {
            let url = sources.url(lock, rpm)?;
            let base = folder(&url).to_owned();
            let id = format!("recipe-{}", others.len() + 1);
            let id = others.entry(base.clone()).or_insert(id).clone();
            let location = url[base.len()..].trim_start_matches('/').to_owned();
            (id, location)
        }
    };
    let source = sources.details(rpm)?;
    let source = source.and_then(|details| details.facts.source_rpm);
    Ok(Package {
        name: rpm.nevra.name.clone(),
        repo_id,
        location,
        checksum: rpm.digest.to_string(),
        size: rpm.size,
        evr: rpm.nevra.evr(),
        // A NEVRA there, not a file name.
        srpm: source.map(|name| name.trim_end_matches(".rpm").to_owned()),
    })
}
