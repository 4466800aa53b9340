//! Repository metadata that load without parsing: kept in the store, made anew where they are missing or damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::thread::{self, JoinHandle};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::repository::{INDEX_VERSION, Index, Made, RepositoryError, find_files, index_primary};
use crate::resolve::ResolveError;
use crate::store::Store;

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

/// Makes the index of a `primary` that the store has, and begins to keep it.
pub fn make_index(store: &Store, primary: &Kept) -> Result<(Index, Keeping), ResolveError> {
    let path = store.verified(&primary.digest)?;
    let damaged = |reason: String| RepositoryError::Damaged {
        name: primary.label.clone(),
        reason,
    };
    let in_repository = |source| ResolveError::Repository {
        name: primary.label.clone(),
        source,
    };
    let made = index_primary(&path, &primary.label).map_err(in_repository)?;
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
            let header = made.header(&primary);
            let parts: Vec<&[u8]> = iter::once(header.as_slice()).chain(made.body()).collect();
            if let Err(error) = store.keep_derived_parts(&index_name(&primary), &parts) {
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
