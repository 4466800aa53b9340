//! What the template's repositories offer: repomd verified, primary read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::documents::lock::{LockedKey, LockedMetadata, LockedRepository};
use crate::documents::template::{Access, Repository, RepositorySource, Template};
use crate::documents::{Fingerprint, Name};
use crate::events::Event;
use crate::keyring::Keyring;
use crate::repository::{Checksum, Comps, Damage, Index, Modules, PackageEntry, Repomd};
use crate::resolve::keys;
use crate::resolve::metadata::{self, Keeping, Kept};
use crate::resolve::mirrors::{self, Places};
use crate::resolve::modules::Filter;
use crate::resolve::{ResolveError, Supply};
use crate::solve::Hiding;
use crate::store::Arrived;
use crate::store::fetch::{Download, Fetched};

/// Largest `repomd.xml`, its signature or key file that is read, bytes.
pub(super) const SMALL: u64 = 16 << 20;

/// The kinds of metadata that hold groups, the smallest first.
const GROUP_KINDS: [&str; 4] = ["group_zst", "group_xz", "group_gz", "group"];
/// Older versions of `repomd.xml` that are looked for where no mirror has the current one.
const LAGGING: usize = 4;

/// One state of a repository, read.
#[derive(Debug)]
pub struct Published {
    /// What the template says of it.
    pub repository: Repository,
    /// Where the keys came from that are trusted for it.
    pub keys: Vec<LockedKey>,
    /// Its packages; which of them may be seen, [`Published::sees`] says.
    pub index: Index,
    /// The same on its way into the store, where it was made just now.
    keeping: Keeping,
    hidden: Arc<Filter>,
    primary: Kept,
    source: Source,
}

/// Where a repository's metadata are, and what the lock says of them.
#[derive(Debug)]
struct Source {
    name: Name,
    bases: Vec<String>,
    access: Access,
    repomd: Repomd,
    locked: LockedRepository,
}

/// Reads one repository of the template. `None`, with a warning, where it cannot be reached and may be left out.
pub fn read(
    supply: Supply<'_>,
    template: &Template,
    repository: &Repository,
) -> Result<Option<Published>, ResolveError> {
    let name = &repository.name;
    let access = repository.access.below(&supply.project.directory);
    let reached = mirrors::places(supply, template, (name, &repository.source), &access);
    let reached = reached.and_then(|places| fetch_repomd(supply, name, places, &access));
    let (repomd_file, places) = match reached {
        Err(error) if repository.skip_if_unavailable && error.is_unavailable() => {
            let text = format!("the repository `{name}` is left out: {error}");
            supply.sink.emit(Event::Warning { text });
            return Ok(None);
        }
        reached => reached?,
    };
    let (keyring, keys) = keys::trusted(supply, repository, &access)?;
    let bytes = read_file(supply, &repomd_file)?;
    let key = if repository.check.metadata && repository.trusted.is_none() {
        let signature = small(name, &places.bases, "repodata/repomd.xml.asc", &access);
        Some(signer(supply, name, &keyring, (&bytes, signature))?)
    } else {
        None
    };
    let repomd =
        Repomd::parse(&bytes, &format!("repomd.xml of {name}")).map_err(in_repository(name))?;
    let locked = LockedRepository {
        name: name.clone(),
        source: repository.source.clone(),
        revision: repomd.revision.clone().unwrap_or_default(),
        repomd: repomd_file.digest,
        key,
        metadata: Vec::new(),
    };
    let source = Source {
        name: name.clone(),
        bases: places.bases,
        access,
        repomd,
        locked,
    };
    Published::open(supply, repository, source, keys).map(Some)
}

/// The state of a repository that a lock names: from the store, or fetched by its digest.
pub fn read_locked(
    supply: Supply<'_>,
    template: &Template,
    repository: &Repository,
    locked: &LockedRepository,
) -> Result<Published, ResolveError> {
    let name = &repository.name;
    let access = repository.access.below(&supply.project.directory);
    let mut used = locked.metadata.iter().map(|metadata| &metadata.digest);
    let kept = supply.store.blob(&locked.repomd).is_some()
        && used.all(|digest| supply.store.blob(digest).is_some());
    let places = match &locked.source {
        // Nothing is fetched, so no list of mirrors need be.
        RepositorySource::Metalink(_) | RepositorySource::MirrorList(_) if kept => {
            Places::default()
        }
        source => mirrors::places(supply, template, (name, source), &access)?,
    };
    let download = Download {
        digest: Some(locked.repomd),
        ..small(name, &places.bases, "repodata/repomd.xml", &access)
    };
    let bytes = read_file(supply, &one(supply, download)?)?;
    let repomd =
        Repomd::parse(&bytes, &format!("repomd.xml of {name}")).map_err(in_repository(name))?;
    let source = Source {
        name: name.clone(),
        bases: places.bases,
        access,
        repomd,
        locked: locked.clone(),
    };
    Published::open(supply, repository, source, Vec::new())
}

/// The key that signed `repomd.xml`, of which the bytes are given and where its signature is.
fn signer(
    supply: Supply<'_>,
    name: &Name,
    keyring: &Keyring,
    (bytes, signature): (&[u8], Download),
) -> Result<Fingerprint, ResolveError> {
    let signature = one(supply, signature)?;
    let signed = keyring
        .verify_detached(bytes, &read_file(supply, &signature)?)
        .map_err(|source| ResolveError::Signature {
            subject: format!("repomd.xml of the repository {name}"),
            source,
        })?;
    value(&signed.fingerprint.to_string())
}

/// Fetches `repomd.xml`, the one that a metalink promises where there is one; the mirror that had it is the
/// first from then on, since it has what belongs to it.
fn fetch_repomd(
    supply: Supply<'_>,
    name: &Name,
    mut places: Places,
    access: &Access,
) -> Result<(Fetched, Places), ResolveError> {
    let any = small(name, &places.bases, "repodata/repomd.xml", access);
    let promised = places
        .versions
        .iter()
        .take(LAGGING)
        .map(|version| Download {
            digest: Some(version.digest),
            size: version.size.filter(|size| *size <= SMALL),
            ..any.clone()
        });
    let mut downloads: Vec<Download> = promised.collect();
    if downloads.is_empty() {
        downloads.push(any);
    }
    let mut first = None;
    for download in downloads {
        match one(supply, download) {
            Ok(file) => {
                if let Some(url) = &file.url_used {
                    places.bases.sort_by_key(|base| !url.starts_with(base));
                }
                return Ok((file, places));
            }
            Err(error) if error.is_unavailable() => first = first.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    Err(first.unwrap_or_else(|| ResolveError::NoMetadata {
        name: name.to_string(),
        kind: "repomd",
    }))
}

impl Published {
    fn open(
        supply: Supply<'_>,
        repository: &Repository,
        mut source: Source,
        keys: Vec<LockedKey>,
    ) -> Result<Self, ResolveError> {
        let (primary, arrived) = source.metadata_ahead(supply, "primary")?;
        let (index, keeping) = match metadata::kept_index(supply.store, &primary.digest) {
            Some(index) => {
                arrived.map_or(Ok(()), Arrived::sync)?;
                (index, Keeping::default())
            }
            None => metadata::make_index(supply.store, &primary, arrived)?,
        };
        Ok(Self {
            repository: repository.clone(),
            keys,
            index,
            keeping,
            hidden: Arc::default(),
            primary,
            source,
        })
    }

    /// What the lock says of it.
    pub fn locked(&self) -> &LockedRepository {
        &self.source.locked
    }

    /// Whether template and modules let a package of it be seen.
    pub fn sees(&self, entry: &PackageEntry) -> bool {
        self.hides(entry).is_none()
    }

    /// What of template and modules hides a package of it.
    pub fn hides(&self, entry: &PackageEntry) -> Option<Hiding> {
        hiding(&self.repository, entry).or_else(|| self.hidden.hides(&entry.facts))
    }

    /// Takes away what modules hide.
    pub fn hide(&mut self, filter: &Arc<Filter>) {
        if !self.repository.module_hotfixes {
            self.hidden = Arc::clone(filter);
        }
    }

    /// Its packages that may be seen and are called `name` or provide it.
    pub fn seen(&self, name: &str) -> Result<Vec<PackageEntry>, Damage> {
        let numbers = self.index.packages_of(name)?.into_iter();
        let mut entries = numbers
            .map(|number| self.index.entry(number))
            .collect::<Result<Vec<_>, _>>()?;
        entries.retain(|entry| self.sees(entry));
        Ok(entries)
    }

    /// Makes the index anew: the kept one is damaged.
    pub fn mend(&mut self, supply: Supply<'_>) -> Result<(), ResolveError> {
        (self.index, self.keeping) = metadata::make_index(supply.store, &self.primary, None)?;
        Ok(())
    }

    /// Which packages, by their numbers in the index, have which of `paths`, as `filelists` says.
    pub fn owners(
        &self,
        supply: Supply<'_>,
        paths: &BTreeSet<String>,
    ) -> Result<BTreeMap<u32, Vec<String>>, ResolveError> {
        let (filelists, download) = self.source.file(supply, "filelists")?;
        let metadata = (&self.primary, &filelists);
        metadata::owners(supply.store, &self.index, metadata, paths, || {
            one(supply, download).map(|_fetched| ())
        })
    }

    /// Says in the lock that `filelists` was used.
    pub fn note_filelists(&mut self, supply: Supply<'_>) -> Result<(), ResolveError> {
        let (kept, mut download) = self.source.file(supply, "filelists")?;
        if download.size.is_none() {
            download.size = Some(one(supply, download.clone())?.size);
        }
        self.source.note("filelists", &kept, &download)
    }

    /// Its groups; none where it has no comps.
    pub fn comps(&mut self, supply: Supply<'_>) -> Result<Comps, ResolveError> {
        let records = &self.source.repomd.records;
        let listed = |kind: &&&str| records.contains_key(**kind);
        let Some(kind) = GROUP_KINDS.iter().find(listed) else {
            return Ok(Comps::default());
        };
        let path = supply
            .store
            .verified(&self.source.metadata(supply, kind)?.digest)?;
        let label = format!("comps of {}", self.repository.name);
        Comps::read(&path, &label).map_err(in_repository(&self.repository.name))
    }

    /// Its modules; none where it has none.
    pub fn modules(&mut self, supply: Supply<'_>) -> Result<Modules, ResolveError> {
        if !self.source.repomd.records.contains_key("modules") {
            return Ok(Modules::default());
        }
        let kept = self.source.metadata(supply, "modules")?;
        let path = supply.store.verified(&kept.digest)?;
        let label = format!("modules of {}", self.repository.name);
        Modules::read(&path, &label).map_err(in_repository(&self.repository.name))
    }

    /// A download of one of its files, by its place below the repository's root.
    pub(super) fn download(&self, name: String, location: &str) -> Download {
        self.source.download(name, location)
    }
}

impl Source {
    fn download(&self, name: String, location: &str) -> Download {
        Download {
            name,
            urls: self.bases.iter().map(|base| join(base, location)).collect(),
            access: self.access.clone(),
            ..Download::default()
        }
    }

    /// Where a metadata file is, and what it is called. One of which the repository names no SHA-256 is
    /// fetched to know its own, unless the lock does.
    fn file(
        &self,
        supply: Supply<'_>,
        kind: &'static str,
    ) -> Result<(Kept, Download), ResolveError> {
        let missing = || ResolveError::NoMetadata {
            name: self.name.to_string(),
            kind,
        };
        let record = self.repomd.records.get(kind).ok_or_else(missing)?;
        let label = format!("{kind} of {}", self.name);
        let mut noted = self.locked.metadata.iter();
        let noted = noted.find(|noted| noted.location == record.location);
        let mut download = Download {
            digest: record
                .checksum
                .sha256()
                .or_else(|| noted.map(|noted| noted.digest)),
            size: record.size,
            ..self.download(label.clone(), &record.location)
        };
        let digest = if let Some(digest) = download.digest {
            digest
        } else {
            let fetched = one(supply, download.clone())?;
            let path = supply.store.verified(&fetched.digest)?;
            check(&path, &record.checksum, (&self.name, kind))?;
            (download.digest, download.size) = (Some(fetched.digest), Some(fetched.size));
            fetched.digest
        };
        Ok((Kept { digest, label }, download))
    }

    /// Brings a metadata file into the store.
    fn metadata(&mut self, supply: Supply<'_>, kind: &'static str) -> Result<Kept, ResolveError> {
        let (kept, arrived) = self.metadata_ahead(supply, kind)?;
        arrived.map_or(Ok(()), Arrived::sync)?;
        Ok(kept)
    }

    /// The same, to be used before it is on the disk, where it came just now.
    fn metadata_ahead(
        &mut self,
        supply: Supply<'_>,
        kind: &'static str,
    ) -> Result<(Kept, Option<Arrived>), ResolveError> {
        let (kept, mut download) = self.file(supply, kind)?;
        let (fetched, arrived) = supply.fetch_ahead(&download)?;
        download.size = Some(fetched.size);
        self.note(kind, &kept, &download)?;
        Ok((kept, arrived))
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

/// Holds a file against a checksum by which the store does not name it.
pub(super) fn check(
    path: &Path,
    expected: &Checksum,
    (name, what): (&Name, &str),
) -> Result<(), ResolveError> {
    if expected.sha256().is_some() {
        return Ok(());
    }
    let found = fs_err::File::open(path)
        .and_then(|mut file| Checksum::sha512_of(&mut file))
        .map_err(|error| ResolveError::Value {
            text: path.display().to_string(),
            why: error.to_string(),
        })?;
    if found == *expected {
        return Ok(());
    }
    Err(ResolveError::Checksum {
        name: name.to_string(),
        what: what.to_owned(),
        expected: expected.to_string(),
        found: found.to_string(),
    })
}

fn small(name: &Name, bases: &[String], path: &str, access: &Access) -> Download {
    Download {
        name: format!("{path} of {name}"),
        urls: bases.iter().map(|base| join(base, path)).collect(),
        max_size: Some(SMALL),
        access: access.clone(),
        ..Download::default()
    }
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

/// Which of `include` and `exclude` hides a package: dnf's forms of a name, with and without epoch.
fn hiding(repository: &Repository, entry: &PackageEntry) -> Option<Hiding> {
    if repository.include.is_empty() && repository.exclude.is_empty() {
        return None;
    }
    let nevra = &entry.facts.nevra;
    let (name, arch) = (&nevra.name, &nevra.arch);
    let (version, epoch) = (&nevra.version, nevra.epoch);
    let short = format!("{version}-{}", nevra.release);
    let forms = [
        name.clone(),
        format!("{name}.{arch}"),
        format!("{name}-{version}"),
        format!("{name}-{epoch}:{version}"),
        format!("{name}-{short}"),
        format!("{name}-{epoch}:{short}"),
        format!("{name}-{short}.{arch}"),
        format!("{name}-{epoch}:{short}.{arch}"),
    ];
    let fits = |globs: &[crate::documents::Glob]| {
        globs
            .iter()
            .any(|glob| forms.iter().any(|form| glob.matches(form)))
    };
    if fits(&repository.exclude) {
        return Some(Hiding::Exclude);
    }
    let included = repository.include.is_empty() || fits(&repository.include);
    (!included).then_some(Hiding::Include)
}

pub(super) fn in_repository(
    name: &Name,
) -> impl FnOnce(crate::repository::RepositoryError) -> ResolveError + Copy {
    let name = name.as_str();
    move |source| ResolveError::Repository {
        name: name.to_owned(),
        source,
    }
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
