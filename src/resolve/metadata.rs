//! Repository metadata that load without parsing: kept in the store, made anew where they are missing or damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::{self, JoinHandle};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::repository::{INDEX_VERSION, Index, Made, RepositoryError, find_files, index_primary};
use crate::resolve::ResolveError;
use crate::store::{Arrived, Store};
use crate::threads::beside;

/// The version of the files that say who has which path.
const OWNERS_VERSION: u32 = 1;

/// A metadata file in the store.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Its digest.
    pub digest: Digest,
    /// What messages call it.
    pub label: String,
}

/// The name of the index of the `primary` with this digest, among the store's derived files.
pub fn index_name(primary: &Digest) -> String {
    format!("primary-{}.v{INDEX_VERSION}", primary.hex())
}

/// The name of the file that says who has which path, of the `filelists` with this digest,
/// beside that `primary`.
pub fn owners_name(primary: &Digest, filelists: &Digest) -> String {
    let (primary, filelists) = (primary.hex(), filelists.hex());
    format!("filelists-{filelists}-{primary}.v{OWNERS_VERSION}")
}

/// The index of a `primary` that the store has, where it is kept and its header is whole.
pub fn kept_index(store: &Store, primary: &Digest) -> Option<Index> {
    let path = store.derived(&index_name(primary));
    match Index::open(&path, primary) {
        Ok(index) => Some(index),
        Err(damage) => {
            tracing::debug!(%damage, path = %path.display(), "an index is made anew");
            None
        }
    }
}

/// Makes the index of a `primary` that the store has, and begins to keep it. One that has `arrived` was hashed on its way,
/// and is synced when this returns.
pub fn make_index(
    store: &Store,
    primary: &Kept,
    arrived: Option<Arrived>,
) -> Result<(Index, Keeping), ResolveError> {
    let path = match store.blob(&primary.digest) {
        Some(path) => path,
        None => store.verified(&primary.digest)?,
    };
    let damaged = |reason: String| RepositoryError::Damaged {
        name: primary.label.clone(),
        reason,
    };
    let in_repository = |source| ResolveError::Repository {
        name: primary.label.clone(),
        source,
    };
    // It is hashed, or waits for the disk, while it is read: what came of it is used once it is known to be right.
    let (verified, made) = beside(
        || match arrived {
            Some(arrived) if *arrived.digest() == primary.digest => arrived.sync(),
            _ => store.verified(&primary.digest).map(drop),
        },
        || index_primary(&path, &primary.digest, &primary.label),
    );
    verified?;
    let made = made.map_err(in_repository)?;
    let index = made.index();
    let index = index.map_err(|damage| in_repository(damaged(damage.to_string())))?;
    Ok((index, Keeping::begin(store.clone(), primary.digest, made)))
}

/// An index that is written into the store while it is used already. Dropping this waits for the end of it.
#[derive(Debug, Default)]
pub struct Keeping(Option<JoinHandle<()>>);

impl Keeping {
    fn begin(store: Store, primary: Digest, made: Made) -> Self {
        let keep = move || {
            let name = index_name(&primary);
            let kept = store.keep_derived_by(&name, made.length(), |file| made.write(file));
            if let Err(error) = kept {
                tracing::warn!(%error, "the index of a repository is not kept");
            }
        };
        let begun = thread::Builder::new().spawn(keep);
        if let Err(error) = &begun {
            tracing::warn!(%error, "the index of a repository is not kept");
        }
        Self(begun.ok())
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        if let Some(Err(panic)) = self.0.take().map(JoinHandle::join) {
            tracing::warn!(?panic, "the index of a repository is not kept");
        }
    }
}

/// Which packages, by their numbers in the index, have which paths; as far as it was asked.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Owners {
    paths: BTreeMap<String, BTreeSet<u32>>,
}

/// Who has these paths, by number in the index of `primary`. `filelists` is read where it was not asked
/// for all of them before; `fetch` must bring it into the store.
pub fn owners(
    store: &Store,
    index: &Index,
    (primary, filelists): (&Kept, &Kept),
    paths: &BTreeSet<String>,
    fetch: impl FnOnce() -> Result<(), ResolveError>,
) -> Result<BTreeMap<u32, Vec<String>>, ResolveError> {
    let name = owners_name(&primary.digest, &filelists.digest);
    let mut known = kept_owners(store, &name).unwrap_or_default();
    if paths.iter().any(|path| !known.paths.contains_key(path)) {
        let asked: BTreeSet<String> = known.paths.keys().chain(paths).cloned().collect();
        fetch()?;
        let file = store.verified(&filelists.digest)?;
        let found = find_files(&file, &filelists.label, &asked).map_err(|source| {
            ResolveError::Repository {
                name: filelists.label.clone(),
                source,
            }
        })?;
        known.paths = asked
            .into_iter()
            .map(|path| (path, BTreeSet::new()))
            .collect();
        for package in index.numbers() {
            for path in found.get(&index.id(package)?).into_iter().flatten() {
                known.paths.entry(path.clone()).or_default().insert(package);
            }
        }
        keep_owners(store, &name, &known);
    }
    let mut found: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for path in paths {
        for package in known.paths.get(path).into_iter().flatten() {
            found.entry(*package).or_default().push(path.clone());
        }
    }
    Ok(found)
}

/// The first line is the digest of the rest.
fn kept_owners(store: &Store, name: &str) -> Option<Owners> {
    let text = fs_err::read_to_string(store.derived(name)).ok()?;
    let (digest, rest) = text.split_once('\n')?;
    (digest.parse() == Ok(Digest::of(rest.as_bytes()))).then_some(())?;
    serde_json::from_str(rest).ok()
}

fn keep_owners(store: &Store, name: &str, owners: &Owners) {
    let Ok(rest) = serde_json::to_string(owners) else {
        return;
    };
    let text = format!("{}\n{rest}", Digest::of(rest.as_bytes()));
    if let Err(error) = store.keep_derived(name, text.as_bytes()) {
        tracing::warn!(%error, "who has which files is not kept");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIMARY: &str = r#"<metadata packages="1"><package type="rpm"><name>NAME</name><arch>noarch</arch>
<version epoch="0" ver="1" rel="1"/><checksum type="sha256" pkgid="YES">SUM</checksum><summary>a</summary><time file="1" build="1"/>
<size package="1" installed="1" archive="1"/><location href="a.rpm"/><format><rpm:provides><rpm:entry name="a"/></rpm:provides>
</format></package></metadata>"#;

    fn primary(name: &str) -> String {
        let text = PRIMARY.replace("SUM", &"a".repeat(64));
        text.replace("NAME", name)
    }

    #[test]
    fn what_is_not_the_metadata_that_were_asked_for_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let right = primary("right");
        let arrived = store.insert_ahead(right.as_bytes(), None, None).unwrap();
        let digest = *arrived.digest();
        let label = "primary".to_owned();
        let kept = Kept { digest, label };
        let (index, keeping) = make_index(&store, &kept, Some(arrived)).unwrap();
        assert_eq!(index.packages_of("right").unwrap(), [0]);
        drop(keeping);
        assert!(kept_index(&store, &digest).is_some());
        fs_err::remove_file(store.derived(&index_name(&digest))).unwrap();
        // As good as the other to whoever only reads it.
        fs_err::write(store.blob(&digest).unwrap(), primary("wrong")).unwrap();
        let other = store.insert_ahead(&b"another"[..], None, None).unwrap();
        let refused = make_index(&store, &kept, Some(other)).unwrap_err();
        assert!(refused.to_string().contains("was damaged"), "{refused}");
        assert!(kept_index(&store, &digest).is_none() && store.blob(&digest).is_none());
        let missing = make_index(&store, &kept, None).unwrap_err();
        assert!(
            missing.to_string().contains("is not in the store"),
            "{missing}"
        );
    }
}
