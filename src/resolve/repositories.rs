//! What the template's repositories offer: repomd verified, primary read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::documents::lock::{LockedKey, LockedMetadata, LockedRepository};
use crate::documents::template::{Access, Repository, Template};
use crate::documents::{Fingerprint, Name};
use crate::events::Event;
use crate::keyring::Keyring;
use crate::repository::{Checksum, Comps, Modules, PackageEntry, Repomd, find_files, read_primary};
use crate::resolve::keys;
use crate::resolve::mirrors::{self, Places};
use crate::resolve::modules::Filter;
use crate::resolve::{ResolveError, Supply};
use crate::rpm::Nevra;
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
    /// What the lock says of it.
    pub locked: LockedRepository,
    /// The keys that are trusted for it.
    pub keyring: Keyring,
    /// Where they came from.
    pub keys: Vec<LockedKey>,
    /// Its packages, as far as the template lets them be seen.
    pub entries: Vec<PackageEntry>,
    /// Of packages that it has and that are not looked at: one of each name, and why.
    pub hidden: BTreeMap<String, (Nevra, &'static str)>,
    bases: Vec<String>,
    access: Access,
    repomd: Repomd,
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
    let mut published = Published {
        repository: repository.clone(),
        locked: LockedRepository {
            name: name.clone(),
            source: repository.source.clone(),
            revision: repomd.revision.clone().unwrap_or_default(),
            repomd: repomd_file.digest,
            key,
            metadata: Vec::new(),
        },
        keyring,
        keys,
        entries: Vec::new(),
        hidden: BTreeMap::new(),
        bases: places.bases,
        access,
        repomd,
    };
    let primary = published.fetch_metadata(supply, "primary")?;
    let (mut entries, mut hidden) = (Vec::new(), BTreeMap::new());
    read_primary(&primary.path, &format!("primary of {name}"), |entry| {
        if visible(repository, &entry) {
            entries.push(entry);
        } else {
            hide(
                &mut hidden,
                entry.facts.nevra,
                "`include` or `exclude` of the template says so",
            );
        }
    })
    .map_err(in_repository(name))?;
    published.entries = entries;
    published.hidden = hidden;
    Ok(Some(published))
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

fn hide(hidden: &mut BTreeMap<String, (Nevra, &'static str)>, nevra: Nevra, why: &'static str) {
    hidden.insert(nevra.name.clone(), (nevra, why));
}

impl Published {
    /// Takes away what modules hide, unless that must not be.
    pub(super) fn apply(&mut self, filter: &Filter) {
        if self.repository.module_hotfixes {
            return;
        }
        let entries = std::mem::take(&mut self.entries);
        for entry in entries {
            if filter.hides(&entry.facts) {
                hide(
                    &mut self.hidden,
                    entry.facts.nevra,
                    "its module's stream is not active, or another one has its name: see `modules` of the template",
                );
            } else {
                self.entries.push(entry);
            }
        }
    }

    /// Which packages (by their place in `entries`) have which of `paths`, as `filelists` says.
    pub fn owners(
        &mut self,
        supply: Supply<'_>,
        paths: &BTreeSet<String>,
    ) -> Result<Vec<(usize, Vec<String>)>, ResolveError> {
        let filelists = self.fetch_metadata(supply, "filelists")?;
        let label = format!("filelists of {}", self.repository.name);
        let mut found = find_files(&filelists.path, &label, paths)
            .map_err(in_repository(&self.repository.name))?;
        let places = self.entries.iter().enumerate();
        Ok(places
            .filter_map(|(place, entry)| Some((place, found.remove(&entry.id)?)))
            .collect())
    }

    /// Its groups; none where it has no comps.
    pub fn comps(&mut self, supply: Supply<'_>) -> Result<Comps, ResolveError> {
        let listed = |kind: &&&str| self.repomd.records.contains_key(**kind);
        let Some(kind) = GROUP_KINDS.iter().find(listed) else {
            return Ok(Comps::default());
        };
        let file = self.fetch_metadata(supply, kind)?;
        let label = format!("comps of {}", self.repository.name);
        Comps::read(&file.path, &label).map_err(in_repository(&self.repository.name))
    }

    /// Its modules; none where it has none.
    pub fn modules(&mut self, supply: Supply<'_>) -> Result<Modules, ResolveError> {
        if !self.repomd.records.contains_key("modules") {
            return Ok(Modules::default());
        }
        let file = self.fetch_metadata(supply, "modules")?;
        let label = format!("modules of {}", self.repository.name);
        Modules::read(&file.path, &label).map_err(in_repository(&self.repository.name))
    }

    /// Downloads of one of its files, by its place below the repository's root.
    pub(super) fn download(&self, name: String, location: &str) -> Download {
        Download {
            name,
            urls: self.bases.iter().map(|base| join(base, location)).collect(),
            access: self.access.clone(),
            ..Download::default()
        }
    }

    fn fetch_metadata(
        &mut self,
        supply: Supply<'_>,
        kind: &'static str,
    ) -> Result<Fetched, ResolveError> {
        let record = self
            .repomd
            .records
            .get(kind)
            .ok_or_else(|| ResolveError::NoMetadata {
                name: self.repository.name.to_string(),
                kind,
            })?;
        let download = Download {
            digest: record.checksum.sha256(),
            size: record.size,
            ..self.download(
                format!("{kind} of {}", self.repository.name),
                &record.location,
            )
        };
        let fetched = one(supply, download)?;
        let path = supply.store.verified(&fetched.digest)?;
        check(&path, &record.checksum, (&self.repository.name, kind))?;
        let locked = LockedMetadata {
            kind: value(kind)?,
            location: record.location.clone(),
            size: fetched.size,
            digest: fetched.digest,
        };
        if !self.locked.metadata.contains(&locked) {
            self.locked.metadata.push(locked);
        }
        Ok(fetched)
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

/// Whether `include` and `exclude` let a package be seen: dnf's forms of a name, with and without epoch.
fn visible(repository: &Repository, entry: &PackageEntry) -> bool {
    if repository.include.is_empty() && repository.exclude.is_empty() {
        return true;
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
    (repository.include.is_empty() || fits(&repository.include)) && !fits(&repository.exclude)
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
