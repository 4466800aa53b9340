//! `TreeError`: what could not be done with a tree, an archive or a payload, and why.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a tree could not be read, written or changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TreeError {
    /// An archive entry, a payload entry or a path of a tree breaks a rule; nothing was done with it.
    #[error("refused {entry}: {why}")]
    Refused {
        /// What was refused, with its name.
        entry: String,
        /// The rule that it breaks.
        why: String,
    },
    /// A step on one path of the tree failed.
    #[error("cannot {doing} `{path}` in the tree")]
    Path {
        /// The step, to read after "cannot".
        doing: &'static str,
        /// The path inside the tree; `/` is its root.
        path: String,
        /// Its cause.
        #[source]
        source: io::Error,
    },
    /// The archive could not be read to its end.
    #[error("cannot read the archive after entry `{after}`")]
    Read {
        /// The last entry whose header was read; empty before the first.
        after: String,
        /// Its cause.
        #[source]
        source: io::Error,
    },
    /// The archive could not be written.
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
    /// An RPM package is damaged, or is not a package at all.
    #[error("damaged package `{package}`: {why}")]
    Package {
        /// The file.
        package: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl TreeError {
    pub(super) fn path(doing: &'static str, path: &[u8], source: impl Into<io::Error>) -> Self {
        let path = if path.is_empty() {
            "/".to_owned()
        } else {
            shown(path)
        };
        Self::Path {
            doing,
            path,
            source: source.into(),
        }
    }

    pub(crate) fn refused(kind: &str, name: &[u8], why: impl Into<String>) -> Self {
        Self::Refused {
            entry: format!("{kind} `{}`", shown(name)),
            why: why.into(),
        }
    }

    pub(super) fn package(package: &Path, why: impl Into<String>) -> Self {
        Self::Package {
            package: package.to_owned(),
            why: why.into(),
        }
    }
}

/// A name for a message: control characters, which could drive a terminal, are escaped;
/// a name of kilobytes is cut.
pub(super) fn shown(name: &[u8]) -> String {
    const LONGEST: usize = 300;
    let mut text = String::new();
    for c in String::from_utf8_lossy(&name[..name.len().min(LONGEST)]).chars() {
        if c.is_control() {
            text.extend(c.escape_debug());
        } else {
            text.push(c);
        }
    }
    if name.len() > LONGEST {
        text.push('…');
    }
    text
}
