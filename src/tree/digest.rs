//! The digest of a tree's canonical archive, on several processors where the archive is expected to be a known one.
//!
//! SHA-256 goes through an archive from its beginning to its end. Where it is known how the hashing of an earlier archive
//! stood at some of its members, it can begin at several of them at once: each part ends where the next began, and
//! where it stands there is compared. Whatever the marks say, the digest is that of the archive.

use std::cmp::Ordering;
use std::io::{self, Sink, Write as _};
use std::os::fd::BorrowedFd;
use std::thread;

use serde::{Deserialize, Serialize};

use super::canonical::{self, Part, Piece};
use super::{Normalise, TreeError, normalise};
use crate::digest::{Digest, HashingWriter, Standing};
use crate::threads::ended;

/// A member of an archive, and how the hashing stood where it began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    path: Vec<u8>,
    standing: Standing,
}

/// A part's members hashed.
struct Hashed {
    hasher: HashingWriter<Sink>,
    marks: Vec<Mark>,
}

/// The digest of what `canonical::write` would write of a tree, after `rules` where there are any, on as many as `threads` threads
/// and marks for the next time. The `marks` of another archive cost time, and change nothing.
pub fn digest(
    root: BorrowedFd<'_>,
    rules: Option<&Normalise>,
    marks: &[Mark],
    threads: usize,
) -> Result<(Digest, Vec<Mark>), TreeError> {
    if let Some(rules) = rules {
        normalise::apply(root, rules)?;
    }
    let epoch = rules.map(|rules| rules.epoch);
    let begins = spread(marks, threads);
    let mut parts = at_once(root, epoch, &begins).into_iter();
    let beginning = HashingWriter::new(io::sink());
    let mut whole = match parts.next() {
        Some(first) => first?,
        None => hash(root, epoch, Part::default(), beginning)?,
    };
    for (begin, next) in begins.iter().zip(parts) {
        if whole.hasher.standing() != begin.standing {
            // Another archive: the rest, from where this one stands.
            let rest = Part {
                from: Some(&begin.path),
                to: None,
            };
            let next = hash(root, epoch, rest, whole.hasher)?;
            whole.hasher = next.hasher;
            whole.marks.extend(next.marks);
            break;
        }
        let next = next?;
        whole.hasher = next.hasher;
        whole.marks.push((*begin).clone());
        whole.marks.extend(next.marks);
    }
    Ok((whole.hasher.finish().1, whole.marks))
}

/// Where the parts after the first begin: at most one less than `threads`, evenly.
fn spread(marks: &[Mark], threads: usize) -> Vec<&Mark> {
    let ordered = marks.is_sorted_by(|one, other| {
        canonical::order(&one.path, &other.path) == Ordering::Less
            && one.standing.length() < other.standing.length()
    });
    let length = marks.last().map_or(0, |mark| mark.standing.length());
    if !ordered || length == 0 {
        return Vec::new();
    }
    let threads = threads as u64;
    let mut begins: Vec<&Mark> = Vec::new();
    for part in 1..threads {
        let wanted = length / threads * part;
        let nearest = marks
            .iter()
            .min_by_key(|mark| mark.standing.length().abs_diff(wanted));
        if let Some(nearest) = nearest
            && begins.last() != Some(&nearest)
        {
            begins.push(nearest);
        }
    }
    begins
}

/// Hashes all parts, each on threads of its own.
fn at_once(
    root: BorrowedFd<'_>,
    epoch: Option<i64>,
    begins: &[&Mark],
) -> Vec<Result<Hashed, TreeError>> {
    let hashers: Option<Vec<_>> = begins
        .iter()
        .map(|mark| HashingWriter::resume(io::sink(), &mark.standing))
        .collect();
    // Marks that cannot be understood: all is one part.
    let Some(hashers) = hashers.filter(|hashers| !hashers.is_empty()) else {
        return Vec::new();
    };
    let hashers = std::iter::once(HashingWriter::new(io::sink())).chain(hashers);
    thread::scope(|scope| {
        let running: Vec<_> = hashers
            .enumerate()
            .map(|(at, hasher)| {
                let path = |at: usize| begins.get(at).map(|mark| mark.path.as_slice());
                let part = Part {
                    from: at.checked_sub(1).and_then(path),
                    to: path(at),
                };
                scope.spawn(move || hash(root, epoch, part, hasher))
            })
            .collect();
        running.into_iter().map(|part| ended(part.join())).collect()
    })
}

fn hash(
    root: BorrowedFd<'_>,
    epoch: Option<i64>,
    part: Part<'_>,
    mut hasher: HashingWriter<Sink>,
) -> Result<Hashed, TreeError> {
    let mut marks = Vec::new();
    canonical::stream(root, epoch, part, &mut |piece| match piece {
        Piece::Bytes(bytes) => hasher.write_all(bytes),
        Piece::Member(path) => {
            marks.push(Mark {
                path: path.to_vec(),
                standing: hasher.standing(),
            });
            Ok(())
        }
    })?;
    Ok(Hashed { hasher, marks })
}
