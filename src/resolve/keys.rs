//! The keys of repositories and third-party packages: fetched, and of them what is pinned.

use crate::documents::lock::LockedKey;
use crate::documents::template::{Access, KeySource, Repository};
use crate::documents::{Fingerprint, Url};
use crate::keyring::{self, Keyring};
use crate::resolve::repositories::{SMALL, one, read_file, value};
use crate::resolve::{ResolveError, Supply};
use crate::store::fetch::Download;

/// The keys of a repository: those that the template names, and those of its `.repo` file that the template pins.
pub(super) fn trusted(
    supply: Supply<'_>,
    repository: &Repository,
    access: &Access,
) -> Result<(Keyring, Vec<LockedKey>), ResolveError> {
    let name = repository.name.as_str();
    let mut sources = repository.keys.clone();
    let mut found = Vec::new();
    let files = repository.key_files.iter().flat_map(|keys| &keys.files);
    for url in files {
        let file = one(supply, key_download(supply, name, url, access))?;
        let listed = Keyring::list(&read_file(supply, &file)?, url.as_str());
        let listed = listed.map_err(|source| ResolveError::Key {
            owner: name.to_owned(),
            source,
        })?;
        for (fingerprint, user) in listed {
            let fingerprint: Fingerprint = value(&fingerprint.to_string())?;
            let mut pins = repository
                .key_files
                .iter()
                .flat_map(|keys| &keys.fingerprints);
            if pins.any(|pin| *pin == fingerprint) {
                sources.push(KeySource {
                    url: url.clone(),
                    fingerprint,
                });
            } else {
                found.push((fingerprint.to_string(), user, url.to_string()));
            }
        }
    }
    if sources.is_empty() && repository.trusted.is_none() {
        return Err(ResolveError::NotPinned {
            name: name.to_owned(),
            found,
        });
    }
    fetch(supply, name, &sources, access)
}

fn key_download(supply: Supply<'_>, owner: &str, url: &Url, access: &Access) -> Download {
    let project = supply.project;
    Download {
        name: format!("key of {owner}"),
        urls: project.mirrored(&url.resolve(&project.directory)),
        max_size: Some(SMALL),
        access: access.clone(),
        ..Download::default()
    }
}

/// Fetches key files and keeps of them what is pinned.
pub(super) fn fetch(
    supply: Supply<'_>,
    owner: &str,
    sources: &[KeySource],
    access: &Access,
) -> Result<(Keyring, Vec<LockedKey>), ResolveError> {
    let mut found = Vec::new();
    let mut locked = Vec::new();
    for source in sources {
        let file = one(supply, key_download(supply, owner, &source.url, access))?;
        found.push((
            source.url.to_string(),
            read_file(supply, &file)?,
            &source.fingerprint,
        ));
        locked.push(LockedKey {
            fingerprint: source.fingerprint.clone(),
            url: source.url.clone(),
            digest: file.digest,
        });
    }
    Ok((load(owner, found)?, locked))
}

/// A keyring of key files (name, content, the one key of it that is trusted).
pub(super) fn load(
    owner: &str,
    files: Vec<(String, Vec<u8>, &Fingerprint)>,
) -> Result<Keyring, ResolveError> {
    let key_error = |source| ResolveError::Key {
        owner: owner.to_owned(),
        source,
    };
    let mut sources = Vec::new();
    for (name, bytes, fingerprint) in files {
        sources.push(keyring::KeySource {
            bytes,
            name,
            fingerprints: vec![value(fingerprint.as_str())?],
        });
    }
    Keyring::load(&sources).map_err(key_error)
}
