//! Sources and patches: beside the spec, or fetched by URL and locked by SHA-256.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::documents::config::Project;
use crate::documents::lock::{LockedPackage, LockedSource, RemoteSource, SourceFile};
use crate::environment::specs::SpecFacts;
use crate::record::FileRecord;
use crate::resolve::repositories::value;
use crate::resolve::{ResolveError, Supply};
use crate::store::Store;
use crate::store::fetch::Download;

/// What an older lock says of downloads: URL → source. What is locked stays, unless it is to be looked at anew.
pub type Known = BTreeMap<String, RemoteSource>;

/// The downloads that a package of an older lock knows.
pub fn known<'a>(packages: impl IntoIterator<Item = &'a LockedPackage>) -> Known {
    packages
        .into_iter()
        .flat_map(|package| &package.sources)
        .filter_map(|source| source.remote.clone())
        .map(|remote| (remote.url.to_string(), remote))
        .collect()
}

/// Finds all sources of a spec; downloads that no older lock knows are fetched now.
pub fn lock(
    supply: Supply<'_>,
    spec: &Path,
    facts: &SpecFacts,
    known: &Known,
) -> Result<Vec<LockedSource>, ResolveError> {
    let mut sources = Vec::new();
    for named in named(spec, facts)? {
        let remote = match named.url {
            Some(url) => Some(match known.get(url.as_str()) {
                Some(remote) => remote.clone(),
                None => first_fetch(supply, &named.file, url.as_str())?,
            }),
            None => None,
        };
        sources.push(LockedSource {
            file: named.file,
            remote,
        });
    }
    Ok(sources)
}

/// The sources and patches that a spec names, and where those come from that do not lie beside it.
pub fn named(spec: &Path, facts: &SpecFacts) -> Result<Vec<SourceFile>, ResolveError> {
    let folder = spec.parent().unwrap_or(Path::new("."));
    let name = |file: &String| {
        // A file beside the spec goes before its URL, as rpmbuild itself would take it.
        let url = match facts.urls.get(file) {
            _ if folder.join(file).is_file() => None,
            Some(url) => Some(value(url)?),
            None => {
                return Err(ResolveError::NoSource {
                    spec: spec.display().to_string(),
                    file: file.clone(),
                });
            }
        };
        Ok(SourceFile {
            file: file.clone(),
            url,
        })
    };
    facts.sources.iter().map(name).collect()
}

fn first_fetch(supply: Supply<'_>, file: &str, url: &str) -> Result<RemoteSource, ResolveError> {
    let download = Download {
        name: file.to_owned(),
        urls: supply.project.mirrored(url),
        ..Download::default()
    };
    let fetched = super::repositories::one(supply, download)?;
    Ok(RemoteSource {
        url: value(url)?,
        size: fetched.size,
        digest: fetched.digest,
    })
}

/// Fetches the locked downloads that the store does not have.
pub fn fetch(supply: Supply<'_>, packages: &[LockedPackage]) -> Result<(), ResolveError> {
    let remotes = packages.iter().flat_map(|package| &package.sources);
    let downloads = remotes
        .filter_map(|source| source.remote.as_ref().map(|remote| (source, remote)))
        .map(|(source, remote)| Download {
            name: source.file.clone(),
            urls: supply.project.mirrored(remote.url.as_str()),
            digest: Some(remote.digest),
            size: Some(remote.size),
            ..Download::default()
        })
        .collect();
    supply.fetch(downloads)?;
    Ok(())
}

/// A package's files for its build (name in rpmbuild's folders, path on the host), and the same for the record.
pub type Files = (Vec<(String, PathBuf)>, Vec<FileRecord>);

/// The spec, its sources and patches: local ones hashed now, downloads hashed again.
pub fn collect(
    store: &Store,
    project: &Project,
    package: &LockedPackage,
) -> Result<Files, ResolveError> {
    let spec = project.directory.join(&package.spec);
    let folder = spec.parent().unwrap_or(Path::new(".")).to_owned();
    let name = spec
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let relative = Path::new(package.spec.as_str())
        .parent()
        .unwrap_or(Path::new(""));
    let mut files = Vec::new();
    let mut inputs = Vec::new();
    let local = package
        .sources
        .iter()
        .filter(|source| source.remote.is_none());
    for file in std::iter::once(&name).chain(local.map(|source| &source.file)) {
        let path = folder.join(file);
        let mut open =
            fs_err::File::open(&path).map_err(|error| unreadable(&package.spec, error))?;
        let (sha256, size) =
            Digest::of_reader(&mut open).map_err(|error| unreadable(&package.spec, error))?;
        inputs.push(FileRecord {
            path: relative.join(file),
            sha256,
            size,
        });
        files.push((file.clone(), path));
    }
    for source in &package.sources {
        if let Some(remote) = &source.remote {
            files.push((source.file.clone(), store.verified(&remote.digest)?));
            inputs.push(FileRecord {
                path: source.file.clone().into(),
                sha256: remote.digest,
                size: remote.size,
            });
        }
    }
    Ok((files, inputs))
}

fn unreadable(spec: &crate::documents::RelativePath, source: std::io::Error) -> ResolveError {
    ResolveError::Source {
        spec: spec.to_string(),
        source,
    }
}
