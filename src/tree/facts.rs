//! What `stat` alone tells of a tree.

use std::io::{self, BufWriter, Write};
use std::os::fd::BorrowedFd;

use super::TreeError;
use super::walk::{self, Node};
use crate::digest::{Digest, HashingWriter};

/// Bytes that are hashed at once.
const BUFFER: usize = 64 << 10;

/// A digest of all names, inodes, owners, modes, sizes and times. As long as it stays, no file of the tree was written
/// to, changed or replaced; another one says nothing.
pub fn fingerprint(root: BorrowedFd<'_>) -> Result<Digest, TreeError> {
    let mut facts = BufWriter::with_capacity(BUFFER, HashingWriter::new(io::sink()));
    walk::walk(root, &mut |node| {
        add(&mut facts, node).map_err(TreeError::Write)
    })?;
    let hasher = facts.into_inner().map_err(io::IntoInnerError::into_error);
    Ok(hasher.map_err(TreeError::Write)?.finish().1)
}

/// The length of the path, the path, then numbers of 64 bits.
fn add(facts: &mut impl Write, node: &Node<'_>) -> io::Result<()> {
    let stat = node.stat;
    facts.write_all(&(node.path.len() as u64).to_le_bytes())?;
    facts.write_all(node.path)?;
    for number in [
        stat.st_ino,
        stat.st_size.cast_unsigned(),
        u64::from(stat.st_mode),
        u64::from(stat.st_uid),
        u64::from(stat.st_gid),
        stat.st_mtime.cast_unsigned(),
        stat.st_mtime_nsec,
        stat.st_ctime.cast_unsigned(),
        stat.st_ctime_nsec,
    ] {
        facts.write_all(&number.to_le_bytes())?;
    }
    Ok(())
}
