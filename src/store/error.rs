//! `StoreError`: what stands between a caller and a blob.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::digest::Digest;

/// Why the store could not do what was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A later version of the program made the store.
    #[error(
        "the store `{root}` has layout {found}, and this version of pristine knows layouts up to {known}: \
         use a newer pristine or another store",
        root = root.display(),
        known = super::FORMAT
    )]
    Newer {
        /// The store.
        root: PathBuf,
        /// Its layout.
        found: u32,
    },
    /// `store.json` does not say which layout it is.
    #[error("`{}` does not say which layout the store has", path.display())]
    Version {
        /// The version file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A folder with other things in it was given as store.
    #[error("`{}` is no store, and not empty (it holds `{entry}`): choose an empty or new folder", root.display())]
    Foreign {
        /// The folder.
        root: PathBuf,
        /// One thing in it.
        entry: String,
    },
    /// The store has no such blob.
    #[error("{digest} is not in the store `{}`", root.display())]
    Missing {
        /// The blob.
        digest: Digest,
        /// The store.
        root: PathBuf,
    },
    /// The blob's content is not what its name says.
    #[error("`{}` was damaged: its content has {actual}; {}", path.display(), removal(*removed))]
    Damaged {
        /// The blob.
        digest: Digest,
        /// Its file.
        path: PathBuf,
        /// What the content has.
        actual: Digest,
        /// Whether the file could be removed.
        removed: bool,
    },
    /// Several blobs are missing or damaged; each is `Missing`, `Damaged` or `Io`.
    #[error("{} blobs cannot be used{}", faults.len(), List(faults))]
    Unusable {
        /// One error per blob, in the order of the question.
        faults: Vec<Self>,
    },
    /// What was to be stored is not what was promised.
    #[error("the content has {actual}, expected {expected}")]
    Mismatch {
        /// What was promised.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// What was to be stored has another length than was promised.
    #[error("{}", length(*expected, *actual))]
    Length {
        /// Bytes promised.
        expected: u64,
        /// Bytes that came; where there were more than expected, reading stopped there.
        actual: u64,
    },
    /// The disk, or the user's share of it, is full.
    #[error("no space left in `{}`{}", folder.display(), space(*needed, *free))]
    Full {
        /// Where it was to be written.
        folder: PathBuf,
        /// Bytes that were to be written in all, where known.
        needed: Option<u64>,
        /// Bytes that are free there now, where known.
        free: Option<u64>,
    },
    /// The file system of the store cannot be written.
    #[error("the store `{}` is read-only: cannot write `{}`", root.display(), path.display())]
    ReadOnly {
        /// The store.
        root: PathBuf,
        /// What was to be written.
        path: PathBuf,
    },
    /// The operating system refused something else.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// To read between "cannot" and the path.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What was to be stored could not be read.
    #[error("cannot read what is to be stored")]
    Source(#[source] io::Error),
    /// The caller's token was set.
    #[error("interrupted")]
    Interrupted,
}

impl StoreError {
    /// Whether all that is wrong are blobs that are not in the store, or not any more: fetching mends it.
    pub fn fetching_mends(&self) -> bool {
        match self {
            Self::Missing { .. } | Self::Damaged { removed: true, .. } => true,
            Self::Unusable { faults } => faults.iter().all(Self::fetching_mends),
            _ => false,
        }
    }

    /// Names the cause of a failed write: a full disk, a read-only file system, or another.
    pub(super) fn from_write(
        root: &Path,
        path: &Path,
        needed: Option<u64>,
        source: io::Error,
    ) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                let folder = path.parent().unwrap_or(root).to_owned();
                let free = rustix::fs::statvfs(&folder)
                    .ok()
                    .map(|stat| stat.f_bavail * stat.f_frsize);
                Self::Full {
                    folder,
                    needed,
                    free,
                }
            }
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly {
                root: root.to_owned(),
                path: path.to_owned(),
            },
            _ => doing("write", path)(source),
        }
    }
}

/// For `map_err`: what was being done, to which file.
pub(super) fn doing(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io {
        action,
        path,
        source,
    }
}

/// How many of many faults a message shows.
const SHOWN: usize = 20;

struct List<'a>(&'a [StoreError]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in self.0.iter().take(SHOWN) {
            write!(f, "\n  {fault}")?;
            if let StoreError::Io { source, .. } = fault {
                write!(f, ": {source}")?;
            }
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

fn removal(removed: bool) -> &'static str {
    if removed {
        "it was removed, and is fetched or made again"
    } else {
        "it could not be removed"
    }
}

fn length(expected: u64, actual: u64) -> String {
    if actual > expected {
        format!("the content is longer than the {expected} bytes expected")
    } else {
        format!("the content ends after {actual} bytes, expected {expected}")
    }
}

fn space(needed: Option<u64>, free: Option<u64>) -> String {
    let needed = needed.map(|bytes| format!("{} needed", size(bytes)));
    let free = free.map(|bytes| format!("{} free", size(bytes)));
    let parts: Vec<String> = needed.into_iter().chain(free).collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!(": {}", parts.join(", "))
    }
}

/// Bytes as people read them, with one decimal from KiB on.
pub(super) fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = "B";
    for next in units {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = next;
    }
    if unit == "B" {
        format!("{bytes} B")
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_500_000, "1.4 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
    }
}
