//! What can go wrong.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a repository could not be generated.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MinidistroError {
    /// A file or folder could not be read or written.
    #[error("cannot use `{path}`: {source}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A download failed, after all attempts.
    #[error("cannot download `{url}`: {reason}")]
    Download {
        /// What was asked for.
        url: String,
        /// The last attempt's failure.
        reason: String,
    },
    /// A download is not what the signed index promises.
    #[error("`{url}` has the wrong content: expected sha256 {expected}, got {got}")]
    Digest {
        /// What was asked for.
        url: String,
        /// SHA-256 in the index, hexadecimal.
        expected: String,
        /// SHA-256 of what came, hexadecimal.
        got: String,
    },
    /// The release file is not signed by any of Debian's archive keys.
    #[error("`{url}` is not signed by a known Debian archive key: {reason}")]
    Signature {
        /// The release file.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An index of the mirror cannot be understood.
    #[error("`{what}` cannot be read: {reason}")]
    Index {
        /// Which index.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A wanted package does not exist.
    #[error("no package `{name}` in {suite}{}", needed(.wanted_by))]
    NoPackage {
        /// Package, or dependency as written.
        name: String,
        /// The suite that was searched.
        suite: String,
        /// The package that depends on it; empty for a wanted one.
        wanted_by: String,
    },
    /// A package could not be converted.
    #[error("cannot convert `{package}`: {reason}")]
    Convert {
        /// Debian package.
        package: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The repository's metadata could not be written.
    #[error("cannot write the metadata of `{path}`: {reason}")]
    Metadata {
        /// The repository.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// The signing key could not be used.
    #[error("cannot sign: {0}")]
    Sign(String),
}

fn needed(by: &str) -> String {
    if by.is_empty() {
        String::new()
    } else {
        format!(", needed by `{by}`")
    }
}

impl MinidistroError {
    /// An input or output error with its path.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
