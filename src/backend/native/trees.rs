//! The tree operations that workers do, with their errors made fit to travel.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use super::wire::Failure;
use crate::digest::Digest;
use crate::tree::{self, Mark, Normalise, TreeError};

/// Unpacks the payloads of packages.
pub(in crate::backend) fn unpack(
    root: BorrowedFd<'_>,
    packages: &[PathBuf],
    threads: usize,
) -> Result<(), Failure> {
    tree::payload::unpack_all(root, packages, threads).map_err(travel)
}

/// Applies a layer's archive.
pub(in crate::backend) fn apply(root: BorrowedFd<'_>, tar: &mut dyn Read) -> Result<(), Failure> {
    tree::extract::apply(root, tar).map_err(travel)
}

/// Applies a layer's archive above layers that were applied before.
pub(in crate::backend) fn apply_over(
    root: BorrowedFd<'_>,
    tar: &mut dyn Read,
) -> Result<(), Failure> {
    tree::extract::apply_over(root, tar).map_err(travel)
}

/// Makes a tree the same as others made from the same packages, where there are rules, and writes it as canonical archive.
pub(super) fn write_normalised(
    root: BorrowedFd<'_>,
    rules: Option<&Normalise>,
    tar: &mut dyn Write,
) -> Result<(), Failure> {
    match rules {
        Some(rules) => tree::canonical::write_normalised(root, rules, tar),
        None => tree::canonical::write(root, tar),
    }
    .map_err(travel)
}

/// Digests the archive where it is made, so that its bytes need not go through a pipe.
pub(super) fn digest(
    root: BorrowedFd<'_>,
    rules: Option<&Normalise>,
    marks: &[Mark],
) -> Result<(Digest, Vec<Mark>), Failure> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    tree::digest(root, rules, marks, threads).map_err(travel)
}

/// A digest of what `stat` tells of a tree.
pub(super) fn fingerprint(root: BorrowedFd<'_>) -> Result<Digest, Failure> {
    tree::fingerprint(root).map_err(travel)
}

/// Writes a tree as canonical archive.
pub(in crate::backend) fn write(root: BorrowedFd<'_>, tar: &mut dyn Write) -> Result<(), Failure> {
    tree::canonical::write(root, tar).map_err(travel)
}

/// Makes a tree the same as others made from the same packages.
pub(in crate::backend) fn normalise(
    root: BorrowedFd<'_>,
    rules: &Normalise,
) -> Result<(), Failure> {
    tree::normalise::run(root, rules).map_err(travel)
}

/// Removes a tree.
pub(in crate::backend) fn remove(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Failure> {
    tree::remove::remove(parent, name).map_err(travel)
}

/// The archive of nothing: the two blocks that end every archive.
pub(in crate::backend) fn write_empty(tar: &mut dyn Write) -> Result<(), Failure> {
    tar.write_all(&[0; 1024])
        .map_err(|error| Failure::step("write the archive", error))
}

/// Bytes that a tree takes on its disk; it may change meanwhile.
pub(in crate::backend) fn size(root: BorrowedFd<'_>) -> Result<u64, Failure> {
    tree::size::size(root).map_err(travel)
}

fn travel(error: TreeError) -> Failure {
    match error {
        TreeError::Refused { entry, why } => Failure::Refused { what: entry, why },
        TreeError::Package { package, why } => Failure::Refused {
            what: format!("package `{}`", package.display()),
            why,
        },
        other => {
            let mut text = other.to_string();
            let mut source = std::error::Error::source(&other);
            while let Some(error) = source {
                text = format!("{text}: {error}");
                source = error.source();
            }
            Failure::Step {
                doing: "work on the tree".to_owned(),
                errno: None,
                text,
            }
        }
    }
}
