//! Roots that a verb makes.

use crate::backend::{Backend, RootId};
use crate::digest::Digest;
use crate::environment::snapshot;
use crate::error::Failure;

/// A root of this run alone: removed again, unless it is left to later runs.
#[derive(Debug)]
pub(super) struct Scratch<'a> {
    backend: &'a dyn Backend,
    pub(super) root: RootId,
    published: bool,
}

impl<'a> Scratch<'a> {
    pub(super) fn new(backend: &'a dyn Backend, root: RootId) -> Self {
        Self {
            backend,
            root,
            published: false,
        }
    }

    /// Leaves it in the store under its digest; one that is there already stays.
    pub(super) fn publish(&mut self, diff_id: &Digest) -> Result<(), Failure> {
        self.backend
            .rename(&self.root, &snapshot::root_id(diff_id))?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        if !self.published
            && let Err(error) = self.backend.remove(&self.root)
        {
            tracing::warn!(%error, root = self.root.0, "a root was not removed; the next run will");
        }
    }
}
