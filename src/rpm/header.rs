//! The raw structure of an RPM header: an index of tags and the data they point into.
//!
//! Nothing here trusts a count or an offset: each is checked against the bytes that are there.

use std::io::{self, Read};

use thiserror::Error;

use super::tags::Value;

/// `headerMagic` of rpm, the four reserved bytes included.
const MAGIC: [u8; 8] = [0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0];
/// The magic, the number of index entries and the size of the data.
const INTRODUCTION: usize = 16;
const INDEX_ENTRY: usize = 16;
/// As in rpm: the largest header it reads.
const MAX_SIZE: u64 = 256 * 1024 * 1024;

/// Size of the obsolete lead before the signature header, and what it begins with.
pub(super) const LEAD: usize = 96;
const LEAD_MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];

/// Bytes that are not an RPM header.
#[derive(Debug, Error)]
pub enum HeaderError {
    /// The first bytes are not those of a package file.
    #[error("it does not begin as an RPM package does")]
    Lead,
    /// The first bytes are not those of a header.
    #[error("byte {offset} does not begin an RPM header")]
    Magic {
        /// Where in the stream.
        offset: u64,
    },
    /// The bytes end inside the header.
    #[error("the header at byte {offset} is cut off")]
    Truncated {
        /// Where in the stream the header begins.
        offset: u64,
    },
    /// It says it is larger than rpm itself would read.
    #[error("the header at byte {offset} says it has {size} bytes; at most {MAX_SIZE} are read")]
    TooLarge {
        /// Where in the stream the header begins.
        offset: u64,
        /// The size it claims.
        size: u64,
    },
    /// An index entry points outside of the data, or has an impossible type.
    #[error("tag {tag} of the header at byte {offset} is damaged")]
    Entry {
        /// The number of the tag.
        tag: u32,
        /// Where in the stream the header begins.
        offset: u64,
    },
    /// The stream could not be read.
    #[error("cannot read the header at byte {offset}")]
    Read {
        /// Where in the stream the header begins.
        offset: u64,
        /// Why.
        source: io::Error,
    },
}

/// Reads lead, signature header and header of a package file; what follows in `input` is the payload.
///
/// Every entry is checked: the `rpm` crate (0.30) slices with the offsets of a file and reserves memory
/// for its counts as they are.
pub fn read_headers(input: &mut impl Read) -> Result<Vec<u8>, HeaderError> {
    let mut bytes = read_up_to(input, LEAD as u64, 0)?;
    if !bytes.starts_with(&LEAD_MAGIC) {
        return Err(HeaderError::Lead);
    }
    if bytes.len() != LEAD {
        return Err(HeaderError::Truncated { offset: 0 });
    }
    for _signature_then_main in 0..2 {
        // The signature header is padded to eight bytes.
        let at = bytes.len() as u64;
        let padding = read_up_to(input, at.next_multiple_of(8) - at, at)?;
        bytes.extend_from_slice(&padding);
        let offset = bytes.len() as u64;
        let header = Header::read(input, offset)?.ok_or(HeaderError::Truncated { offset })?;
        header.check()?;
        bytes.extend_from_slice(header.bytes());
    }
    Ok(bytes)
}

/// One header, as bytes with its index checked for size only.
#[derive(Debug)]
pub(super) struct Header {
    bytes: Vec<u8>,
    index: usize,
    offset: u64,
}

/// One entry of the index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) tag: u32,
    pub(super) kind: u32,
    offset: i32,
    count: u32,
}

impl Header {
    /// Reads the header that begins at `offset` of a stream; `None` where the stream ends there.
    pub(super) fn read(input: &mut impl Read, offset: u64) -> Result<Option<Self>, HeaderError> {
        let bytes = read_up_to(input, INTRODUCTION as u64, offset)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if !bytes.starts_with(&MAGIC[..bytes.len().min(MAGIC.len())]) {
            return Err(HeaderError::Magic { offset });
        }
        let [Some(entries), Some(data)] = [8, 12].map(|at| word(&bytes, at)) else {
            return Err(HeaderError::Truncated { offset });
        };
        let index = u64::from(entries) * INDEX_ENTRY as u64;
        let size = index + u64::from(data);
        if size > MAX_SIZE {
            return Err(HeaderError::TooLarge { offset, size });
        }
        let mut header = Self {
            bytes,
            index: usize::try_from(index).map_err(|_| HeaderError::TooLarge { offset, size })?,
            offset,
        };
        let rest = read_up_to(input, size, offset)?;
        if rest.len() as u64 != size {
            return Err(HeaderError::Truncated { offset });
        }
        header.bytes.extend_from_slice(&rest);
        Ok(Some(header))
    }

    /// All of it, magic included.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        let index = &self.bytes[INTRODUCTION..INTRODUCTION + self.index];
        let words = |entry: &[u8]| [0, 4, 8, 12].map(|at| word(entry, at).unwrap_or_default());
        let entries = index.chunks_exact(INDEX_ENTRY).map(words);
        entries
            .map(|[tag, kind, offset, count]| Entry {
                tag,
                kind,
                offset: offset.cast_signed(),
                count,
            })
            .collect()
    }

    fn data(&self) -> &[u8] {
        &self.bytes[INTRODUCTION + self.index..]
    }

    /// The bytes of a fixed-size `entry`.
    pub(super) fn value_mut(&mut self, entry: Entry) -> Result<&mut [u8], HeaderError> {
        let damaged = self.damaged(entry);
        let Some((start, size)) = entry.start().zip(entry.fixed_size()) else {
            return Err(damaged);
        };
        let data = &mut self.bytes[INTRODUCTION + self.index..];
        start
            .checked_add(size)
            .and_then(|end| data.get_mut(start..end))
            .ok_or(damaged)
    }

    /// The text of a tag, where the header has it as one string; after `check`.
    pub(super) fn text(&self, tag: u32) -> Option<String> {
        let entry = self
            .entries()
            .into_iter()
            .find(|entry| entry.tag == tag && entry.kind == 6)?;
        let rest = self.data().get(entry.start()?..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        Some(String::from_utf8_lossy(&rest[..end]).into_owned())
    }

    /// What an entry holds; after `check`. A type that holds nothing is no value.
    pub(super) fn value(&self, entry: Entry) -> Option<Value> {
        let rest = self.data().get(entry.start()?..)?;
        let count = usize::try_from(entry.count).ok()?;
        let fixed = |width: usize| -> Option<Vec<u64>> {
            Some(
                rest.get(..entry.fixed_size()?)?
                    .chunks_exact(width)
                    .map(number)
                    .collect(),
            )
        };
        match entry.kind {
            2 => fixed(1).map(Value::Numbers),
            3 => fixed(2).map(Value::Numbers),
            4 => fixed(4).map(Value::Numbers),
            5 => fixed(8).map(Value::Numbers),
            1 | 7 => Some(Value::Bytes(rest.get(..entry.fixed_size()?)?.to_vec())),
            6 | 8 | 9 => Some(Value::Texts(
                rest.split(|byte| *byte == 0)
                    .take(count)
                    .map(<[u8]>::to_vec)
                    .collect(),
            )),
            _ => None,
        }
    }

    /// Checks that every entry's data is where the index says, so that other code may rely on it.
    pub(super) fn check(&self) -> Result<(), HeaderError> {
        self.entries().into_iter().try_for_each(|entry| {
            if entry.fits(self.data()) {
                Ok(())
            } else {
                Err(self.damaged(entry))
            }
        })
    }

    /// The error that names `entry`.
    pub(super) fn damaged(&self, entry: Entry) -> HeaderError {
        HeaderError::Entry {
            tag: entry.tag,
            offset: self.offset,
        }
    }
}

impl Entry {
    fn start(self) -> Option<usize> {
        usize::try_from(self.offset).ok()
    }

    /// The size of its data where the type has one: char, integers of 1, 2, 4, 8 bytes, binary.
    fn fixed_size(self) -> Option<usize> {
        let width = match self.kind {
            0 => 0,
            1 | 2 | 7 => 1,
            3 => 2,
            4 => 4,
            5 => 8,
            _ => return None,
        };
        usize::try_from(self.count).ok()?.checked_mul(width)
    }

    fn fits(self, data: &[u8]) -> bool {
        let Some(rest) = self.start().and_then(|start| data.get(start..)) else {
            return false;
        };
        let strings = |count: u32| {
            rest.iter()
                .filter(|byte| **byte == 0)
                .take(count as usize)
                .count()
                == count as usize
        };
        match (self.fixed_size(), self.kind) {
            (Some(size), _) => size <= rest.len(),
            (None, 6) => self.count == 1 && strings(1),
            (None, 8 | 9) => strings(self.count),
            _ => false,
        }
    }
}

/// A big-endian number of up to eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// Memory grows with what arrives, not with what a header claims.
fn read_up_to(input: &mut impl Read, size: u64, offset: u64) -> Result<Vec<u8>, HeaderError> {
    let mut bytes = Vec::new();
    let mut limited = Read::by_ref(input).take(size);
    limited
        .read_to_end(&mut bytes)
        .map_err(|source| HeaderError::Read { offset, source })?;
    Ok(bytes)
}
