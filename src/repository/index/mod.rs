//! A repository's packages in a form that loads without parsing, to be kept beside the downloads.
//!
//! Invariants:
//! - it is made from one `primary` file and names that file's digest; it can be thrown away at any time;
//! - it is not trusted when it is read: each block has a checksum, every number is checked against what it counts,
//!   and whatever does not fit is [`Damage`], after which the index is made anew;
//! - opening it reads the header alone, and a question reads only the blocks that it touches;
//! - several builders can make it together: its bytes then depend on how many there are, what it says does not.
//!
//! The file is little-endian: a header with the checksums of the blocks, then these sections, of numbers of 32 bits
//! unless something else is said:
//!
//! | section | what |
//! | --- | --- |
//! | text | all strings in byte order, each once, without separators; bytes |
//! | ends | where each string ends |
//! | dependencies | name, comparison with marks, version |
//! | packages | name, epoch, version, release, architecture, vendor, place of its lists, place and length of its details |
//! | lists | per package eight lists of dependencies and one of paths, each after its length |
//! | provider ends, providers | per string the packages that provide it, are called so, or have that file |
//! | obsoleters, supplementers | string and package, sorted |
//! | details | what only the lock needs; bytes |

mod blocks;
mod join;
mod make;
mod reach;
mod read;
mod strings;

use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

use crate::digest::Digest;

pub use make::{Builder, TooLarge};
pub(in crate::repository) use make::{Head, Required};
pub use reach::{Offered, Reach};
pub(in crate::repository) use strings::Texts;

use blocks::{Blocks, Sections, Span};

/// The version of the file's form. Another one is made anew.
pub const VERSION: u32 = 1;

/// Why a kept index cannot be used: it is made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the kept index is damaged: {0}")]
pub struct Damage(&'static str);

/// The sections by their places in the header.
const SECTIONS: usize = 10;
const TEXT: usize = 0;
const ENDS: usize = 1;
const DEPENDENCIES: usize = 2;
const PACKAGES: usize = 3;
const LISTS: usize = 4;
const PROVIDER_ENDS: usize = 5;
const PROVIDERS: usize = 6;
const OBSOLETERS: usize = 7;
const SUPPLEMENTERS: usize = 8;
const DETAILS: usize = 9;

/// Bytes of a number.
const WORD: usize = 4;
/// Numbers of a dependency.
const DEPENDENCY: usize = 3;
/// Numbers of a package.
const PACKAGE: usize = 9;

/// The lists of a package, in their order; the paths follow.
pub(in crate::repository) const PROVIDES: usize = 0;
const REQUIRES: usize = 1;
const CONFLICTS: usize = 2;
const OBSOLETES: usize = 3;
const RECOMMENDS: usize = 4;
const SUGGESTS: usize = 5;
const SUPPLEMENTS: usize = 6;
const ENHANCES: usize = 7;
/// Lists of dependencies.
const DEPENDENCY_LISTS: usize = 8;

/// Marks a requirement that scriptlets need; the rest is the dependency.
const PRE: u32 = 1 << 31;
/// Marks in a dependency's comparison; the lowest byte is the comparison itself, 0 for none.
const RICH: u32 = 1 << 8;
const FILE: u32 = 1 << 9;
const RPMLIB: u32 = 1 << 10;

/// What an index has in it, made in this process: to be asked at once, and to be kept.
#[derive(Debug, Clone)]
pub struct Made(Arc<Sections>);

impl Made {
    /// To be asked.
    pub fn index(&self) -> Result<Index, Damage> {
        let (blocks, sections) = Blocks::made(Arc::clone(&self.0));
        Index::checked(blocks, sections)
    }

    /// The file's header, which names the `primary` that it was made from.
    pub fn header(&self, primary: &Digest) -> Vec<u8> {
        blocks::header(&self.0, primary)
    }

    /// What follows the header in the file.
    pub fn body(&self) -> impl Iterator<Item = &[u8]> {
        blocks::body(&self.0)
    }
}

/// The packages of a repository, by number.
#[derive(Debug)]
pub struct Index {
    blocks: Blocks,
    sections: [Span; SECTIONS],
    strings: usize,
    packages: usize,
}

impl Index {
    /// Opens the index at `path` of the `primary` file with the digest `primary`.
    pub fn open(path: &Path, primary: &Digest) -> Result<Self, Damage> {
        let (blocks, sections) = Blocks::open(path, primary)?;
        Self::checked(blocks, sections)
    }

    /// An index in memory, as a file has it.
    pub fn from_bytes(bytes: Vec<u8>, primary: &Digest) -> Result<Self, Damage> {
        let (blocks, sections) = Blocks::from_bytes(bytes, primary)?;
        Self::checked(blocks, sections)
    }

    fn checked(blocks: Blocks, sections: [Span; SECTIONS]) -> Result<Self, Damage> {
        let count = |section: usize, size: usize| {
            let length = sections[section].length;
            if length.is_multiple_of(size) {
                Ok(length / size)
            } else {
                Err(Damage("a section has a part of an entry"))
            }
        };
        let strings = count(ENDS, WORD)?;
        let packages = count(PACKAGES, PACKAGE * WORD)?;
        count(DEPENDENCIES, DEPENDENCY * WORD)?;
        count(OBSOLETERS, 2 * WORD)?;
        count(SUPPLEMENTERS, 2 * WORD)?;
        count(LISTS, WORD)?;
        count(PROVIDERS, WORD)?;
        if count(PROVIDER_ENDS, WORD)? != strings {
            return Err(Damage("the sections do not fit each other"));
        }
        Ok(Self {
            blocks,
            sections,
            strings,
            packages,
        })
    }

    /// How many packages it has.
    pub fn len(&self) -> usize {
        self.packages
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.packages == 0
    }
}

#[cfg(test)]
mod tests;
