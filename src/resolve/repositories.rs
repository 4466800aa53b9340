//! What the template's repositories offer: repomd verified, primary read.

use std::collections::{BTreeMap, BTreeSet};

use crate::documents::lock::{LockedKey, LockedMetadata, LockedRepository};
use crate::documents::template::{KeySource, Repository, RepositorySource};
use crate::documents::{Fingerprint, Url};
use crate::keyring::{self, Keyring};
use crate::repository::{Index, PackageEntry, Repomd};
use crate::resolve::metadata::{self, Kept};
use crate::resolve::{ResolveError, Supply};
use crate::store::fetch::{Download, Fetched};

/// Largest `repomd.xml`, its signature or key file that is read, bytes.
pub(super) const SMALL: u64 = 16 << 20;

/// One state of a repository, read.
#[derive(Debug)]
pub struct Published {
    /// What the template says of it.
    pub repository: Repository,
    /// Where the keys came from that are trusted for it.
    pub keys: Vec<LockedKey>,
    /// Its packages; which of them may be seen, [`Published::sees`] says.
    pub index: Index,
    primary: Kept,
    source: Source,
}

/// Where a repository's metadata are, and what the lock says of them.
#[derive(Debug)]
struct Source {
    name: String,
    bases: Vec<String>,
    repomd: Repomd,
    locked: LockedRepository,
}

/// Reads one repository of the template.
pub fn read(supply: Supply<'_>, repository: &Repository) -> Result<Published, ResolveError> {
    let bases = base_urls(supply, repository)?;
    let (keyring, keys) = keys(supply, repository.name.as_str(), &repository.keys)?;
    let repomd_file = small(supply, repository, &bases, "repodata/repomd.xml")?;
    let name = || repository.name.to_string();
    let bytes = read_file(supply, &repomd_file)?;
    let mut key = None;
    if repository.check.metadata && repository.trusted.is_none() {
        let signature = small(supply, repository, &bases, "repodata/repomd.xml.asc")?;
        let signed = keyring
            .verify_detached(&bytes, &read_file(supply, &signature)?)
            .map_err(|source| ResolveError::Signature {
                subject: format!("repomd.xml of the repository {}", name()),
                source,
            })?;
        key = Some(value(&signed.fingerprint.to_string())?);
    }
    let repomd = Repomd::parse(&bytes, &format!("repomd.xml of {}", name()))
        .map_err(in_repository(repository))?;
    let locked = LockedRepository {
        name: repository.name.clone(),
        urls: written_urls(repository)?,
        revision: repomd.revision.clone().unwrap_or_default(),
        repomd: repomd_file.digest,
        key,
        metadata: Vec::new(),
    };
    Published::open(supply, repository, (bases, repomd), locked, keys)
}

/// The state of a repository that a lock names: from the store, or fetched by its digest.
pub fn read_locked(
    supply: Supply<'_>,
    repository: &Repository,
    locked: &LockedRepository,
) -> Result<Published, ResolveError> {
    let bases: Vec<String> = locked
        .urls
        .iter()
        .flat_map(|url| {
            let url = url.resolve(&supply.project.directory);
            supply.project.mirrored(&url)
        })
        .collect();
    let name = format!("repomd.xml of {}", repository.name);
    let download = Download {
        name: name.clone(),
        urls: bases
            .iter()
            .map(|base| join(base, "repodata/repomd.xml"))
            .collect(),
        digest: Some(locked.repomd),
        size: None,
        max_size: Some(SMALL),
    };
    let bytes = read_file(supply, &one(supply, download)?)?;
    let repomd = Repomd::parse(&bytes, &name).map_err(in_repository(repository))?;
    let locked = locked.clone();
    Published::open(supply, repository, (bases, repomd), locked, Vec::new())
}

impl Published {
    fn open(
        supply: Supply<'_>,
        repository: &Repository,
        (bases, repomd): (Vec<String>, Repomd),
        locked: LockedRepository,
        keys: Vec<LockedKey>,
    ) -> Result<Self, ResolveError> {
        let mut source = Source {
            name: repository.name.to_string(),
            bases,
            repomd,
            locked,
        };
        let primary = source.metadata(supply, "primary")?;
        let index = match metadata::kept_index(supply.store, &primary.digest) {
            Some(index) => index,
            None => metadata::make_index(supply.store, &primary)?,
        };
        Ok(Self {
            repository: repository.clone(),
            keys,
            index,
            primary,
            source,
        })
    }

    /// What the lock says of it.
    pub fn locked(&self) -> &LockedRepository {
        &self.source.locked
    }

    /// Whether the template lets a package of it be seen.
    pub fn sees(&self, entry: &PackageEntry) -> bool {
        visible(&self.repository, entry)
    }

    /// Makes the index anew: the kept one is damaged.
    pub fn mend(&mut self, supply: Supply<'_>) -> Result<(), ResolveError> {
        self.index = metadata::make_index(supply.store, &self.primary)?;
        Ok(())
    }

    /// Which packages, by their numbers in the index, have which of `paths`, as `filelists` says.
    pub fn owners(
        &self,
        supply: Supply<'_>,
        paths: &BTreeSet<String>,
    ) -> Result<BTreeMap<u32, Vec<String>>, ResolveError> {
        let (filelists, download) = self.source.download("filelists")?;
        let metadata = (&self.primary, &filelists);
        metadata::owners(supply.store, &self.index, metadata, paths, || {
            one(supply, download).map(|_fetched| ())
        })
    }

    /// Says in the lock that `filelists` was used.
    pub fn note_filelists(&mut self, supply: Supply<'_>) -> Result<(), ResolveError> {
        let (kept, mut download) = self.source.download("filelists")?;
        if download.size.is_none() {
            download.size = Some(one(supply, download.clone())?.size);
        }
        self.source.note("filelists", &kept, &download)
    }
}

impl Source {
    /// Where a metadata file is, and what it is called.
    fn download(&self, kind: &'static str) -> Result<(Kept, Download), ResolveError> {
        let missing = || ResolveError::NoMetadata {
            name: self.name.clone(),
            kind,
        };
        let record = self.repomd.records.get(kind).ok_or_else(missing)?;
        let digest = record.checksum.sha256().ok_or_else(missing)?;
        let label = format!("{kind} of {}", self.name);
        let download = Download {
            name: label.clone(),
            urls: self
                .bases
                .iter()
                .map(|base| join(base, &record.location))
                .collect(),
            digest: Some(digest),
            size: record.size,
            max_size: None,
        };
        Ok((Kept { digest, label }, download))
    }

    /// Brings a metadata file into the store.
    fn metadata(&mut self, supply: Supply<'_>, kind: &'static str) -> Result<Kept, ResolveError> {
        let (kept, mut download) = self.download(kind)?;
        let fetched = one(supply, download.clone())?;
        download.size = Some(fetched.size);
        self.note(kind, &kept, &download)?;
        Ok(kept)
    }

    /// Says in the lock that a metadata file was used.
    fn note(
        &mut self,
        kind: &'static str,
        kept: &Kept,
        download: &Download,
    ) -> Result<(), ResolveError> {
        let location = self.repomd.records.get(kind).map(|record| &record.location);
        let locked = LockedMetadata {
            kind: value(kind)?,
            location: location.cloned().unwrap_or_default(),
            size: download.size.unwrap_or(0),
            digest: kept.digest,
        };
        if !self.locked.metadata.contains(&locked) {
            self.locked.metadata.push(locked);
        }
        Ok(())
    }
}

/// Fetches key files and keeps of them what is pinned.
pub fn keys(
    supply: Supply<'_>,
    owner: &str,
    sources: &[KeySource],
) -> Result<(Keyring, Vec<LockedKey>), ResolveError> {
    let mut found = Vec::new();
    let mut locked = Vec::new();
    for source in sources {
        let urls = supply
            .project
            .mirrored(&source.url.resolve(&supply.project.directory));
        let file = one(
            supply,
            Download {
                name: format!("key of {owner}"),
                urls,
                digest: None,
                size: None,
                max_size: Some(SMALL),
            },
        )?;
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

/// Where the files are fetched from: what the template says, made absolute, through the project's mirrors.
fn base_urls(supply: Supply<'_>, repository: &Repository) -> Result<Vec<String>, ResolveError> {
    let urls = written_urls(repository)?;
    Ok(urls
        .iter()
        .flat_map(|url| {
            supply
                .project
                .mirrored(&url.resolve(&supply.project.directory))
        })
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

fn small(
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
    one(supply, download)
}

/// Fetches one file.
pub(super) fn one(supply: Supply<'_>, download: Download) -> Result<Fetched, ResolveError> {
    let name = download.name.clone();
    let mut fetched = supply.fetch(vec![download])?;
    fetched.pop().ok_or(ResolveError::Value {
        text: name,
        why: "nothing was fetched".to_owned(),
    })
}

pub(super) fn read_file(supply: Supply<'_>, file: &Fetched) -> Result<Vec<u8>, ResolveError> {
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
    let forms = [
        nevra.name.clone(),
        format!("{}.{}", nevra.name, nevra.arch),
        nevra.to_string(),
    ];
    let fits = |globs: &[crate::documents::Glob]| {
        globs
            .iter()
            .any(|glob| forms.iter().any(|form| glob.matches(form)))
    };
    (repository.include.is_empty() || fits(&repository.include)) && !fits(&repository.exclude)
}

fn in_repository(
    repository: &Repository,
) -> impl FnOnce(crate::repository::RepositoryError) -> ResolveError {
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
