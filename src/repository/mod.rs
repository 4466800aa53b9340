//! rpm-md repositories: `repomd.xml`, `primary`, `filelists` read as streams, groups, modules and lists of
//! mirrors read whole; repositories written.
//!
//! What is read comes from outside: an error names the file, no location leads out of the repository,
//! and a package or a file without a strong checksum is refused.

mod comps;
mod draft;
mod error;
mod index;
mod metalink;
mod mirrorlist;
mod modules;
mod pieces;
mod primary;
mod quick;
mod repomd;
mod stream;
mod writer;

pub use comps::{Comps, Member, MemberKind};
pub use error::RepositoryError;
pub use index::{
    Builder as IndexBuilder, Damage, Index, Made, Offered, Reach, TooLarge,
    VERSION as INDEX_VERSION,
};
pub use metalink::{Metalink, Version};
pub use mirrorlist::parse_mirrorlist;
pub use modules::{Modules, Stream};
pub use primary::{PackageEntry, find_files, index_primary, read_primary, read_primary_plainly};
pub use repomd::{Checksum, Record, Repomd};
pub use writer::{Described, Writer, write};

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
