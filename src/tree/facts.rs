//! What `stat` alone tells of a tree.

use std::io::{self, Write as _};
use std::os::fd::BorrowedFd;

use super::TreeError;
use super::walk;
use crate::digest::{Digest, HashingWriter};

/// A digest of all names, inodes, owners, modes, sizes and times. As long as it stays, no file of the tree was written
/// to, changed or replaced; another one says nothing.
pub fn fingerprint(root: BorrowedFd<'_>) -> Result<Digest, TreeError> {
    let mut hasher = HashingWriter::new(io::sink());
    walk::walk(root, &mut |node| {
        let stat = node.stat;
        let times = (
            stat.st_mtime,
            stat.st_mtime_nsec,
            stat.st_ctime,
            stat.st_ctime_nsec,
        );
        let owner = (stat.st_uid, stat.st_gid, stat.st_mode);
        let facts = format!("{} {} {owner:?} {times:?}", stat.st_ino, stat.st_size);
        let written = hasher
            .write_all(node.path)
            .and_then(|()| writeln!(hasher, "\0{facts}"));
        written.map_err(TreeError::Write)
    })?;
    Ok(hasher.finish().1)
}
