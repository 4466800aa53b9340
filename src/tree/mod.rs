//! File trees: canonical archives out of them, safe unpacking into them.
//!
//! Everything here works on folder handles and never leaves them (`openat2` with
//! `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`). It runs where the tree's owners can be
//! set: in a backend's user namespace, or as a test's root. No process may change a tree
//! while it is worked on here.
//!
//! What a tree is: folders, regular files, symbolic links, hard links between regular
//! files, fifos, and overlayfs whiteouts (character device 0:0) and opaque folders
//! (`user.overlay.opaque`). Sockets and device nodes are no part of a tree: they are left
//! out of archives and never made (a sandbox brings its own `/dev`).

use serde::{Deserialize, Serialize};

pub mod canonical;
mod digest;
pub mod encode;
mod error;
pub mod extract;
mod facts;
mod handle;
pub mod member;
pub mod normalise;
pub mod payload;
pub mod remove;
pub mod size;
mod walk;
mod xattr;

pub use digest::{Mark, digest};
pub use error::TreeError;
pub use facts::fingerprint;

/// What is made the same in every tree before it is archived (`docs/environment-digest.md`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Normalise {
    /// Seconds since 1970: every modification time above it is set to it.
    pub epoch: i64,
    /// Paths (absolute inside, `*` matches within one component) that are removed.
    pub remove: Vec<String>,
    /// Paths that become empty files, where they exist.
    pub truncate: Vec<String>,
    /// `SQLite` databases that are taken out of write-ahead mode, where they exist: a reader without
    /// write access then needs no files beside them, which hold random bytes.
    pub plain_sqlite: Vec<String>,
}
