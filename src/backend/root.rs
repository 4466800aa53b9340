//! The names of the trees that a backend keeps.

use serde::{Deserialize, Serialize};

/// Begins the ids of what changed in clones that people keep by name.
const KEPT: &str = "kept-";
/// Begins the ids of what failed builds left.
const FAILED: &str = "failed-";

/// An immutable file tree that a backend keeps: one layer of a root file system.
///
/// Its id is chosen by the caller: `tree-<diff-id hex>` for what was verified, a
/// temporary name (from `Backend::scratch_id`) for what is being made. Most are caches of what the
/// store has verified, and are made again when the machine has started anew.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RootId(pub String);

impl RootId {
    /// What changed in the clone that is kept by that name, by its visits' numbers.
    pub fn kept(name: &str, visit: usize) -> Self {
        Self(format!("{KEPT}{name}.{visit}"))
    }

    /// What a package's failed build left.
    pub fn failed(run: &str, package: &str) -> Self {
        Self(format!("{FAILED}{run}-{package}"))
    }

    /// Whether it is what a kept clone changed.
    pub fn is_kept(&self) -> bool {
        self.0.starts_with(KEPT)
    }

    /// Whether it is what a failed build left.
    pub fn is_failed(&self) -> bool {
        self.0.starts_with(FAILED)
    }

    /// Whether nothing could make it again: it is on the disk before it has its name, and outlasts the machine's start.
    pub fn lasts(&self) -> bool {
        self.is_kept() || self.is_failed()
    }
}
