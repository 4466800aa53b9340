//! `CompareError`: what could not be compared, and why.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::rpm::HeaderError;
use crate::tree::TreeError;

/// Why a comparison has no answer. What is inside a file and cannot be read is no such reason: it is compared as bytes.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CompareError {
    /// A file cannot be opened or read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Its cause.
        source: io::Error,
    },
    /// A package's headers are none.
    #[error("`{}` is damaged or not an RPM package", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// Where it goes wrong.
        source: HeaderError,
    },
    /// A package's payload is none.
    #[error("the payload of `{}` is damaged", path.display())]
    Payload {
        /// The file.
        path: PathBuf,
        /// Where it goes wrong.
        source: io::Error,
    },
    /// An archive of a tree is none.
    #[error("the {side} tree cannot be read")]
    Tree {
        /// Which of the two.
        side: &'static str,
        /// Where it goes wrong.
        source: TreeError,
    },
    /// An archive of a tree is not in the canonical order.
    #[error("the {side} tree is not a canonical archive: `{path}` comes after `{before}`")]
    Order {
        /// Which of the two.
        side: &'static str,
        /// The entry that comes too late.
        path: String,
        /// The entry before it.
        before: String,
    },
}

impl CompareError {
    pub(super) fn read(path: &Path) -> impl Fn(io::Error) -> Self {
        |source| Self::Read {
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn payload(path: &Path) -> impl Fn(io::Error) -> Self {
        |source| Self::Payload {
            path: path.to_owned(),
            source,
        }
    }
}
