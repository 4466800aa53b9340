//! `OciError`: why an image could not be written, read or imported.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::store::StoreError;
use crate::tree::TreeError;

/// What went wrong with an image, its blobs or an archive of it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OciError {
    /// A file of the layout could not be read or written.
    #[error("cannot {doing} `{}`", path.display())]
    File {
        /// The step, to read after "cannot".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Its cause.
        #[source]
        source: io::Error,
    },
    /// A blob, or a file of the layout, is not what its name or its description says.
    #[error("{what} is damaged: {why}")]
    Damaged {
        /// The blob or the file.
        what: String,
        /// How that was seen.
        why: String,
    },
    /// Something is whole, but is nothing that this tool can use.
    #[error("refused {what}: {why}")]
    Refused {
        /// The archive or the part of it.
        what: String,
        /// The rule that it breaks.
        why: String,
    },
    /// The layout has no such image or layer.
    #[error("the image store has no {what}")]
    Missing {
        /// What was asked for.
        what: String,
    },
    /// An archive could not be read or written.
    #[error("cannot {doing}")]
    Stream {
        /// The step, to read after "cannot".
        doing: &'static str,
        /// Its cause.
        #[source]
        source: io::Error,
    },
    /// A tar stream, of a layer or of an archive, is not safe or not readable.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The store that the layout lies in stood in the way.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OciError {
    pub(super) fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File {
            doing,
            path,
            source,
        }
    }

    pub(super) fn damaged(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Damaged {
            what: what.into(),
            why: why.into(),
        }
    }

    pub(super) fn refused(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Refused {
            what: what.into(),
            why: why.into(),
        }
    }

    pub(super) fn stream(doing: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Stream { doing, source }
    }
}
