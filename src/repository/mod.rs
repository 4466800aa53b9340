//! rpm-md repositories: `repomd.xml`, `primary`, `filelists` read as streams; whole repositories written.
//!
//! What is read comes from outside: an error names the file, no location leads out of the repository,
//! and a package or a file without a strong checksum is refused.

mod error;
mod index;
mod primary;
mod repomd;
mod stream;
mod writer;

pub use error::RepositoryError;
pub use index::{
    Builder as IndexBuilder, Damage, Index, Offered, Reach, TooLarge, VERSION as INDEX_VERSION,
};
pub use primary::{PackageEntry, find_files, read_primary};
pub use repomd::{Checksum, Record, Repomd};
pub use writer::{Writer, write};

#[cfg(test)]
mod tests;
