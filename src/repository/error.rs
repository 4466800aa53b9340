//! Why a repository could not be read or written.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a repository could not be read or written.
#[derive(Debug, Error)]
pub enum RepositoryError {
    /// A metadata file is cut off, damaged or not what it should be.
    #[error("`{name}` is damaged or not repository metadata: {reason}")]
    Damaged {
        /// The file, as the user knows it.
        name: String,
        /// Where it goes wrong.
        reason: String,
    },
    /// A location that would lead out of the repository.
    #[error(
        "`{name}` names the location `{location}`: only a relative path below the repository is used"
    )]
    Location {
        /// The file, as the user knows it.
        name: String,
        /// The location.
        location: String,
    },
    /// A checksum that no longer proves anything.
    #[error(
        "`{name}` gives for `{what}` only the checksum type `{kind}`: sha256 or sha512 is needed"
    )]
    WeakChecksum {
        /// The file, as the user knows it.
        name: String,
        /// The metadata file or package it stands for.
        what: String,
        /// The checksum's type.
        kind: String,
    },
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A repository's file cannot be written.
    #[error("cannot write the repository metadata `{}`", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A package cannot be put into a repository.
    #[error("cannot put `{}` into the repository: {reason}", path.display())]
    Package {
        /// The package file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}
