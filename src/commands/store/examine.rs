//! Hashes many things at once.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use fs_err::File;

use super::items::{Damage, Item, Kind};
use crate::cancel::Cancel;
use crate::commands::context::{Workshop, processors};
use crate::digest::Digest;
use crate::error::Failure;
use crate::oci::{LayerReader, OciError};
use crate::repository::Index;
use crate::store::{self, Stamps};

/// What came of one item.
enum Found {
    /// It is what it was.
    Whole(String, String),
    /// It is not.
    Damaged(String),
    /// It was removed meanwhile, by another process.
    Gone,
}

/// Examines all on as many threads as there are processors: what is damaged, in the order of names, and what the rest
/// looks like now. What looks as it did in `known` is not hashed.
pub(super) fn all(
    workshop: &Workshop,
    items: &[Item],
    known: &Stamps,
    cancel: &Cancel,
) -> Result<(Vec<Damage>, Stamps), Failure> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..processors().get().min(items.len()) {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if cancel.is_cancelled() {
                        return;
                    }
                    let found = one(workshop, item, known);
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.push((item.clone(), found));
                }
            });
        }
    });
    let (mut damages, mut stamps) = (Vec::new(), Stamps::default());
    for (item, found) in results.into_inner().unwrap_or_else(PoisonError::into_inner) {
        match found? {
            Found::Whole(name, look) => stamps.note(name, look),
            Found::Damaged(why) => damages.push(Damage { item, why }),
            Found::Gone => {}
        }
    }
    damages.sort_by(|one, other| one.item.what.cmp(&other.item.what));
    Ok((damages, stamps))
}

fn one(workshop: &Workshop, item: &Item, known: &Stamps) -> Result<Found, Failure> {
    match &item.kind {
        Kind::Blob(blob) | Kind::Document(blob) => file(&blob.path, &blob.digest, known),
        Kind::Index(path, digest) => looked_at(path, known, || Ok(index(path, digest))),
        Kind::Output(folder, path, digest) if !path.exists() => {
            // Whoever removes a run takes its folder away whole.
            let gone = !folder.exists();
            let missing = || Found::Damaged(format!("it is missing, and had {digest}"));
            Ok(if gone { Found::Gone } else { missing() })
        }
        Kind::Output(_, path, digest) => file(path, digest, known),
        Kind::Layer(layer, path) => looked_at(path, known, || {
            match workshop
                .layout
                .open_layer(layer)
                .and_then(LayerReader::verify)
            {
                Ok(()) => Ok(None),
                Err(OciError::Damaged { why, .. }) => Ok(Some(why)),
                Err(error) => Err(error.into()),
            }
        }),
        Kind::Root(root, digest) => {
            let name = format!("root {}", root.0);
            if !workshop.backend.has(root)? {
                return Ok(Found::Gone);
            }
            let look = workshop.backend.fingerprint(root)?.to_string();
            if known.has(&name, &look) {
                return Ok(Found::Whole(name, look));
            }
            let actual = workshop.backend.digest(root, None)?;
            Ok(if actual == *digest {
                Found::Whole(name, look)
            } else {
                Found::Damaged(differs(&actual))
            })
        }
    }
}

fn file(path: &Path, digest: &Digest, known: &Stamps) -> Result<Found, Failure> {
    looked_at(path, known, || {
        let mut file = match File::open(path) {
            Err(error) => return Ok(Some(format!("it cannot be read: {error}"))),
            Ok(file) => file,
        };
        Ok(match Digest::of_reader(&mut file) {
            Ok((actual, _)) if actual == *digest => None,
            Ok((actual, _)) => Some(differs(&actual)),
            Err(error) => Some(format!("it cannot be read: {error}")),
        })
    })
}

/// What is wrong with an index: each of its blocks has a checksum, and is read.
fn index(path: &Path, digest: &Digest) -> Option<String> {
    let read = Index::open(path, digest).and_then(|index| {
        for package in index.numbers() {
            index.entry(package)?;
        }
        index.capabilities(|_| {})
    });
    read.err().map(|damage| damage.to_string())
}

fn differs(actual: &Digest) -> String {
    format!("its content has {actual}")
}

/// Examines a file, unless it looks as it did when it was whole. The look is taken before, so that a change meanwhile
/// is seen the next time.
fn looked_at(
    path: &Path,
    known: &Stamps,
    examine: impl FnOnce() -> Result<Option<String>, Failure>,
) -> Result<Found, Failure> {
    let Ok(look) = store::look(path) else {
        return Ok(Found::Gone);
    };
    let name = path.display().to_string();
    if known.has(&name, &look) {
        return Ok(Found::Whole(name, look));
    }
    Ok(match examine()? {
        None => Found::Whole(name, look),
        Some(_) if !path.exists() => Found::Gone,
        Some(why) => Found::Damaged(why),
    })
}
