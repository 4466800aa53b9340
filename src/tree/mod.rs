//! File trees: canonical archives out of them, safe unpacking into them.
//!
//! Everything here works on folder handles and never leaves them (`openat2` with
//! `RESOLVE_IN_ROOT` or `RESOLVE_BENEATH`). It runs where the tree's owners can be
//! set: in a backend's user namespace, or as a test's root.

use serde::{Deserialize, Serialize};

/// What is made the same in every tree before it is archived (`docs/environment-digest.md`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Normalise {
    /// Seconds since 1970: every modification time above it is set to it.
    pub epoch: i64,
    /// Paths (absolute inside, `*` matches within one component) that are removed.
    pub remove: Vec<String>,
    /// Paths that become empty files, where they exist.
    pub truncate: Vec<String>,
}
