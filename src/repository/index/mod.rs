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
//! | text | all strings, each once, without separators; bytes |
//! | ends | where each string ends |
//! | dependencies | name, comparison with marks, version |
//! | packages | name, epoch, version, release, architecture, vendor, place of its lists, place and length of its details |
//! | lists | per package a number whose bits say which lists it has, of dependencies eight and one of paths; each after its length |
//! | provider ends, providers | per string the packages that provide it, are called so, or have that file |
//! | obsoleters, supplementers | string and package, sorted |
//! | details | what only the lock needs; bytes |
//! | slots | strings by their hashes: each its number and one more, or 0 |

mod blocks;
mod join;
mod make;
mod reach;
mod read;
mod slots;
mod strings;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

use crate::digest::Digest;
use crate::threads::beside;

pub use make::{Builder, TooLarge};
pub(in crate::repository) use make::{Head, Required};
pub use reach::{Offered, Reach};
pub(in crate::repository) use strings::Texts;

use blocks::{Blocks, Sections, Span};
use slots::Keyed;

/// The version of the file's form. Another one is made anew.
pub const VERSION: u32 = 2;

/// Why a kept index cannot be used: it is made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the kept index is damaged: {0}")]
pub struct Damage(&'static str);

/// The sections by their places in the header.
const SECTIONS: usize = 11;
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
const SLOTS: usize = 10;

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
pub struct Made {
    sections: Arc<Sections>,
    primary: Digest,
}

impl Made {
    /// To be asked.
    pub fn index(&self) -> Result<Index, Damage> {
        let (blocks, sections) = Blocks::made(Arc::clone(&self.sections));
        Index::checked(blocks, &sections, &self.primary)
    }

    /// Bytes of the file.
    pub fn length(&self) -> u64 {
        let body: usize = blocks::body(&self.sections).map(<[u8]>::len).sum();
        (blocks::header_length(&self.sections) + body) as u64
    }

    /// Writes the file, which names the `primary` that it was made from.
    pub fn write(&self, file: &File) -> io::Result<()> {
        // The header has the checksums of what follows it.
        let (header, written) = beside(
            || blocks::header(&self.sections, &self.primary),
            || {
                let mut at = blocks::header_length(&self.sections) as u64;
                blocks::body(&self.sections).try_for_each(|part| {
                    file.write_all_at(part, at)?;
                    at += part.len() as u64;
                    Ok(())
                })
            },
        );
        written.and_then(|()| file.write_all_at(&header, 0))
    }
}

/// The packages of a repository, by number.
#[derive(Debug)]
pub struct Index {
    blocks: Blocks,
    sections: [Span; SECTIONS],
    strings: usize,
    slots: usize,
    packages: usize,
    keyed: Keyed,
}

impl Index {
    /// Opens the index at `path` of the `primary` file with the digest `primary`.
    pub fn open(path: &Path, primary: &Digest) -> Result<Self, Damage> {
        let (blocks, sections) = Blocks::open(path, primary)?;
        Self::checked(blocks, &sections, primary)
    }

    /// An index in memory, as a file has it.
    pub fn from_bytes(bytes: Vec<u8>, primary: &Digest) -> Result<Self, Damage> {
        let (blocks, sections) = Blocks::from_bytes(bytes, primary)?;
        Self::checked(blocks, &sections, primary)
    }

    fn checked(
        blocks: Blocks,
        sections: &[Span; SECTIONS],
        primary: &Digest,
    ) -> Result<Self, Damage> {
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
        let slots = count(SLOTS, WORD)?;
        if !slots.is_power_of_two() {
            return Err(Damage("strings cannot be found in it"));
        }
        Ok(Self {
            blocks,
            sections: *sections,
            strings,
            slots,
            packages,
            keyed: Keyed::by(primary),
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
