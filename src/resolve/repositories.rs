//! What the template's repositories offer: repomd verified, primary read.

use crate::documents::lock::{LockedKey, LockedMetadata, LockedRepository};
use crate::documents::template::{KeySource, Repository, RepositorySource};
use crate::documents::values::Url;
use crate::keyring::{self, Keyring};
use crate::repository::{PackageEntry, Repomd, find_files, read_primary};
use crate::resolve::{ResolveError, Supply};
use crate::store::fetch::{Download, Fetched};

/// Largest `repomd.xml`, its signature or key file that is read, bytes.
const SMALL: u64 = 16 << 20;

/// One state of a repository, read.
#[derive(Debug)]
pub struct Published {
    /// What the template says of it.
    pub repository: Repository,
    /// What the lock says of it.
    pub locked: LockedRepository,
    /// The keys that are trusted for it.
    pub keyring: Keyring,
    /// Where they came from.
    pub keys: Vec<LockedKey>,
    /// Its packages, as far as the template lets them be seen.
    pub entries: Vec<PackageEntry>,
    bases: Vec<String>,
    repomd: Repomd,
}

/// Reads one repository of the template.
pub async fn read(supply: Supply<'_>, repository: &Repository) -> Result<Published, ResolveError> {
    let bases = base_urls(supply, repository)?;
    let (keyring, keys) = keys(supply, repository.name.as_str(), &repository.keys).await?;
    let repomd_file = small(supply, repository, &bases, "repodata/repomd.xml").await?;
    let name = || repository.name.to_string();
    let bytes = read_file(supply, &repomd_file)?;
    let mut key = None;
    if repository.check.metadata && repository.trusted.is_none() {
        let signature = small(supply, repository, &bases, "repodata/repomd.xml.asc").await?;
        let signed = keyring
            .verify_detached(&bytes, &read_file(supply, &signature)?)
            .map_err(|source| ResolveError::Signature {
                subject: format!("repomd.xml of the repository {}", name()),
                source,
            })?;
        key = Some(value(&signed.fingerprint.to_string())?);
    }
    let repomd = Repomd::parse(&bytes, &format!("repomd.xml of {}", name())).map_err(in_repository(repository))?;
    let mut published = Published {
        repository: repository.clone(),
        locked: LockedRepository {
            name: repository.name.clone(),
            urls: written_urls(repository)?,
            revision: repomd.revision.clone().unwrap_or_default(),
            repomd: repomd_file.digest,
            key,
            metadata: Vec::new(),
        },
        keyring,
        keys,
        entries: Vec::new(),
        bases,
        repomd,
    };
    let primary = published.fetch_metadata(supply, "primary").await?;
    let mut entries = Vec::new();
    let label = format!("primary of {}", name());
    read_primary(&primary.path, &label, |entry| {
        if visible(repository, &entry) {
            entries.push(entry);
        }
    })
    .map_err(in_repository(repository))?;
    published.entries = entries;
    Ok(published)
}

impl Published {
    /// Adds to the packages' file lists those of `paths` that only `filelists` knows.
    pub async fn add_files(&mut self, supply: Supply<'_>, paths: &[String]) -> Result<(), ResolveError> {
        let filelists = self.fetch_metadata(supply, "filelists").await?;
        let label = format!("filelists of {}", self.repository.name);
        let wanted = paths.iter().cloned().collect();
        let found = find_files(&filelists.path, &label, &wanted).map_err(in_repository(&self.repository))?;
        for entry in &mut self.entries {
            for path in found.get(&entry.id).into_iter().flatten() {
                if !entry.facts.files.contains(path) {
                    entry.facts.files.push(path.clone());
                }
            }
        }
        Ok(())
    }

    async fn fetch_metadata(&mut self, supply: Supply<'_>, kind: &'static str) -> Result<Fetched, ResolveError> {
        let missing = || ResolveError::NoMetadata {
            name: self.repository.name.to_string(),
            kind,
        };
        let record = self.repomd.records.get(kind).ok_or_else(missing)?;
        let digest = record.checksum.sha256().ok_or_else(missing)?;
        let urls = self.bases.iter().map(|base| join(base, &record.location)).collect();
        let download = Download {
            name: format!("{kind} of {}", self.repository.name),
            urls,
            digest: Some(digest),
            size: record.size,
            max_size: None,
        };
        let fetched = one(supply, download).await?;
        supply.store.verified(&digest)?;
        let locked = LockedMetadata {
            kind: value(kind)?,
            location: record.location.clone(),
            size: fetched.size,
            digest,
        };
        if !self.locked.metadata.contains(&locked) {
            self.locked.metadata.push(locked);
        }
        Ok(fetched)
    }
}

/// Fetches key files and keeps of them what is pinned.
pub async fn keys(
    supply: Supply<'_>,
    owner: &str,
    sources: &[KeySource],
) -> Result<(Keyring, Vec<LockedKey>), ResolveError> {
    let mut found = Vec::new();
    let mut locked = Vec::new();
    for source in sources {
        let urls = supply.project.mirrored(&source.url.resolve(&supply.project.directory));
        let file = one(
            supply,
            Download {
                name: format!("key of {owner}"),
                urls,
                digest: None,
                size: None,
                max_size: Some(SMALL),
            },
        )
        .await?;
        let key_error = |source| ResolveError::Key {
            owner: owner.to_owned(),
            source,
        };
        found.push(keyring::KeySource {
            bytes: read_file(supply, &file)?,
            name: source.url.to_string(),
            fingerprint: Some(source.fingerprint.as_str().parse().map_err(key_error)?),
        });
        locked.push(LockedKey {
            fingerprint: source.fingerprint.clone(),
            url: source.url.clone(),
            digest: file.digest,
        });
    }
    let keyring = Keyring::load(&found).map_err(|source| ResolveError::Key {
        owner: owner.to_owned(),
        source,
    })?;
    Ok((keyring, locked))
}

/// Where the files are fetched from: what the template says, made absolute, through the project's mirrors.
fn base_urls(supply: Supply<'_>, repository: &Repository) -> Result<Vec<String>, ResolveError> {
    let urls = written_urls(repository)?;
    Ok(urls
        .iter()
        .flat_map(|url| supply.project.mirrored(&url.resolve(&supply.project.directory)))
        .collect())
}

/// The base URLs as the template writes them: what the lock says must not depend on the machine.
fn written_urls(repository: &Repository) -> Result<Vec<Url>, ResolveError> {
    let not_yet = |what| ResolveError::NotYet {
        name: repository.name.to_string(),
        what,
    };
    match &repository.source {
        RepositorySource::BaseUrls(urls) => Ok(urls.clone()),
        RepositorySource::Metalink(_) => Err(not_yet("a metalink")),
        RepositorySource::MirrorList(_) => Err(not_yet("a mirror list")),
    }
}

async fn small(
    supply: Supply<'_>,
    repository: &Repository,
    bases: &[String],
    path: &str,
) -> Result<Fetched, ResolveError> {
    let download = Download {
        name: format!("{path} of {}", repository.name),
        urls: bases.iter().map(|base| join(base, path)).collect(),
        digest: None,
        size: None,
        max_size: Some(SMALL),
    };
    one(supply, download).await
}

/// Fetches one file.
pub(super) async fn one(supply: Supply<'_>, download: Download) -> Result<Fetched, ResolveError> {
    let name = download.name.clone();
    let mut fetched = supply.fetcher.fetch(vec![download], supply.sink, supply.cancel).await?;
    fetched.pop().ok_or(ResolveError::Value {
        text: name,
        why: "nothing was fetched".to_owned(),
    })
}

fn read_file(supply: Supply<'_>, file: &Fetched) -> Result<Vec<u8>, ResolveError> {
    let path = supply.store.verified(&file.digest)?;
    fs_err::read(path).map_err(|error| ResolveError::Value {
        text: file.digest.to_string(),
        why: error.to_string(),
    })
}

/// `base/path`, with one slash between.
pub(super) fn join(base: &str, path: &str) -> String {
    format!("{}/{path}", base.trim_end_matches('/'))
}

fn visible(repository: &Repository, entry: &PackageEntry) -> bool {
    let nevra = &entry.facts.nevra;
    let forms = [nevra.name.clone(), format!("{}.{}", nevra.name, nevra.arch), nevra.to_string()];
    let fits = |globs: &[crate::documents::values::Glob]| {
        globs.iter().any(|glob| forms.iter().any(|form| glob.matches(form)))
    };
    (repository.include.is_empty() || fits(&repository.include)) && !fits(&repository.exclude)
}

fn in_repository(repository: &Repository) -> impl FnOnce(crate::repository::RepositoryError) -> ResolveError {
    let name = repository.name.to_string();
    move |source| ResolveError::Repository { name, source }
}

/// A text as one of the documents' value types.
pub(super) fn value<T>(text: &str) -> Result<T, ResolveError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| ResolveError::Value {
        text: text.to_owned(),
        why: error.to_string(),
    })
}

