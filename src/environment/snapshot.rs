//! Frozen environments: canonical layers, kept as OCI images.

use crate::backend::{Backend, RootId};
use crate::digest::{Digest, HashingWriter};
use crate::environment::create::EnvironmentError;
use crate::tree::Normalise;

/// The id of the kept root of a layer.
pub fn root_id(diff_id: &Digest) -> RootId {
    RootId(format!("tree-{}", diff_id.hex()))
}

/// A layer that was archived.
#[derive(Debug, Clone, Copy)]
pub struct Frozen {
    /// SHA-256 of its canonical tar.
    pub diff_id: Digest,
}

/// Normalises a root and archives it.
pub fn freeze(
    backend: &dyn Backend,
    root: &RootId,
    normalise: &Normalise,
) -> Result<Frozen, EnvironmentError> {
    let mut hashing = HashingWriter::new(std::io::sink());
    backend
        .export(root, Some(normalise), &mut hashing)
        .map_err(EnvironmentError::backend("archive the environment"))?;
    Ok(Frozen {
        diff_id: hashing.finish().1,
    })
}
