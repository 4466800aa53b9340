//! The file of an index: a header, and blocks that are read and checked when they are first touched.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crc32fast::Hasher;
use zerocopy::IntoBytes as _;

use super::{Damage, SECTIONS, VERSION, WORD};
use crate::digest::Digest;

/// Bytes of a block; a multiple of a number's size, so that no number lies in two blocks.
const BLOCK: usize = 4 << 10;
/// Larger ones are not made.
pub(super) const MAX_LENGTH: usize = 2 << 30;

const MAGIC: [u8; 8] = *b"prstnidx";
/// Magic, version, number of blocks, length of the sections, digest.
const FIXED: usize = 8 + 4 + 4 + 8 + 32;
const TABLE: usize = FIXED + SECTIONS * 16;

/// A section: bytes after the header.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Span {
    /// Its place among the sections.
    place: usize,
    start: usize,
    pub(super) length: usize,
}

/// What the sections of an index have in them.
pub(super) type Sections = [Section; SECTIONS];

/// What one section has in it: parts that follow each other.
#[derive(Debug, Clone, Default)]
pub(super) struct Section(Vec<Part>);

#[derive(Debug, Clone)]
enum Part {
    Bytes(Vec<u8>),
    /// As the file has them.
    Words(Vec<u32>),
}

impl Part {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Words(words) => words.as_bytes(),
        }
    }
}

impl Section {
    /// Bytes.
    pub(super) fn of_bytes(parts: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self(parts.into_iter().map(Part::Bytes).collect())
    }

    /// Numbers.
    pub(super) fn of_words(parts: impl IntoIterator<Item = Vec<u32>>) -> Self {
        let little_endian = |mut words: Vec<u32>| {
            for word in &mut words {
                *word = word.to_le();
            }
            Part::Words(words)
        };
        Self(parts.into_iter().map(little_endian).collect())
    }

    /// Bytes of all parts.
    pub(super) fn len(&self) -> usize {
        self.parts().map(<[u8]>::len).sum()
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Part::bytes)
    }

    /// What stands there, where that is all in one part.
    fn get(&self, mut at: usize, length: usize) -> Option<&[u8]> {
        for part in self.parts() {
            if at < part.len() || length == 0 {
                return part.get(at..at + length);
            }
            at -= part.len();
        }
        None
    }

    /// The checksums of its blocks, the last of which is filled with zeros.
    fn sums(&self, mut take: impl FnMut(u32)) {
        let mut hasher = Hasher::new();
        let mut room = BLOCK;
        for mut part in self.parts() {
            while !part.is_empty() {
                let (here, rest) = part.split_at(part.len().min(room));
                hasher.update(here);
                room -= here.len();
                part = rest;
                if room == 0 {
                    take(std::mem::take(&mut hasher).finalize());
                    room = BLOCK;
                }
            }
        }
        if room < BLOCK {
            hasher.update(&NOTHING[..room]);
            take(hasher.finalize());
        }
    }
}

/// Where blocks are read.
#[derive(Debug)]
enum Source {
    File(File),
    /// All of the file, whose checksums were compared.
    Memory(Vec<u8>),
    /// The sections, made in this process.
    Made(Arc<Sections>),
}

/// The sections' bytes.
#[derive(Debug)]
pub(super) struct Blocks {
    source: Source,
    start: usize,
    length: usize,
    sums: Vec<u32>,
    loaded: Vec<OnceCell<Box<[u8]>>>,
}

/// How many blocks the sections have. Each of them begins with one.
fn blocks(sections: &Sections) -> usize {
    sections.iter().map(|part| part.len().div_ceil(BLOCK)).sum()
}

/// Bytes of the file's header.
pub(super) fn header_length(sections: &Sections) -> usize {
    TABLE + blocks(sections) * 4 + 4
}

/// The file's header, which names the `primary` that the sections were made from.
pub(super) fn header(sections: &Sections, primary: &Digest) -> Vec<u8> {
    let blocks = blocks(sections);
    let mut bytes = Vec::with_capacity(header_length(sections));
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(blocks).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(&((blocks * BLOCK) as u64).to_le_bytes());
    bytes.extend_from_slice(primary.bytes());
    for span in spans(sections) {
        bytes.extend_from_slice(&(span.start as u64).to_le_bytes());
        bytes.extend_from_slice(&(span.length as u64).to_le_bytes());
    }
    for section in sections {
        section.sums(|sum| bytes.extend_from_slice(&sum.to_le_bytes()));
    }
    let sum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

/// What follows the header.
pub(super) fn body(sections: &Sections) -> impl Iterator<Item = &[u8]> {
    sections.iter().flat_map(|section| {
        let padded = section.len().next_multiple_of(BLOCK) - section.len();
        section.parts().chain([&NOTHING[..padded]])
    })
}

/// Fills the last block of a section.
const NOTHING: [u8; BLOCK] = [0; BLOCK];

/// Where the sections are in the file.
fn spans(sections: &Sections) -> [Span; SECTIONS] {
    let mut start = 0;
    std::array::from_fn(|place| {
        let length = sections[place].len();
        let span = Span {
            place,
            start,
            length,
        };
        start += length.next_multiple_of(BLOCK);
        span
    })
}

/// What a header says.
struct Header {
    length: usize,
    blocks: usize,
    sections: [Span; SECTIONS],
}

impl Header {
    fn whole(&self) -> usize {
        TABLE + self.blocks * 4 + 4
    }

    /// Reads the part of fixed length.
    fn parse(bytes: &[u8; TABLE], primary: &Digest) -> Result<Self, Damage> {
        if bytes[..8] != MAGIC {
            return Err(Damage("it is no index"));
        }
        if word(bytes, 8) != Some(VERSION) {
            return Err(Damage("it has another version"));
        }
        if bytes[24..FIXED] != *primary.bytes() {
            return Err(Damage("it is of other metadata"));
        }
        let blocks = number(word(bytes, 12).map(u64::from))?;
        let length = number(long(bytes, 16))?;
        if length > MAX_LENGTH || length.div_ceil(BLOCK) != blocks {
            return Err(Damage("its length is wrong"));
        }
        let mut sections = [Span::default(); SECTIONS];
        for (place, section) in sections.iter_mut().enumerate() {
            let at = FIXED + place * 16;
            let (start, size) = (number(long(bytes, at))?, number(long(bytes, at + 8))?);
            let inside = start.checked_add(size).is_some_and(|end| end <= length);
            if !inside || !start.is_multiple_of(4) {
                return Err(Damage("a section lies outside"));
            }
            *section = Span {
                place,
                start,
                length: size,
            };
        }
        Ok(Self {
            length,
            blocks,
            sections,
        })
    }

    /// The blocks' checksums, from the whole header.
    fn sums(&self, bytes: &[u8]) -> Result<Vec<u32>, Damage> {
        let end = self.whole() - 4;
        let sealed = bytes.get(..end).ok_or(Damage("it is cut off"))?;
        if word(bytes, end) != Some(crc32fast::hash(sealed)) {
            return Err(Damage("its header has a wrong checksum"));
        }
        Ok((TABLE..end)
            .step_by(4)
            .filter_map(|at| word(bytes, at))
            .collect())
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + 8)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

fn number(value: Option<u64>) -> Result<usize, Damage> {
    let value = value.and_then(|value| usize::try_from(value).ok());
    value.ok_or(Damage("a number is too large"))
}

impl Blocks {
    /// Reads the header of the file at `path`.
    pub(super) fn open(path: &Path, primary: &Digest) -> Result<(Self, [Span; SECTIONS]), Damage> {
        let unreadable = |_| Damage("it cannot be read");
        let file = File::open(path).map_err(unreadable)?;
        let mut fixed = [0; TABLE];
        file.read_exact_at(&mut fixed, 0).map_err(unreadable)?;
        let header = Header::parse(&fixed, primary)?;
        let actual = file.metadata().map_err(unreadable)?.len();
        if actual != (header.whole() + header.length) as u64 {
            return Err(Damage("it is cut off"));
        }
        let mut bytes = vec![0; header.whole()];
        file.read_exact_at(&mut bytes, 0).map_err(unreadable)?;
        let sums = header.sums(&bytes)?;
        let blocks = Self {
            source: Source::File(file),
            start: header.whole(),
            length: header.length,
            loaded: vec![OnceCell::new(); sums.len()],
            sums,
        };
        Ok((blocks, header.sections))
    }

    /// The same from memory, all of it checked.
    pub(super) fn from_bytes(
        bytes: Vec<u8>,
        primary: &Digest,
    ) -> Result<(Self, [Span; SECTIONS]), Damage> {
        let fixed = bytes.first_chunk().ok_or(Damage("it is cut off"))?;
        let header = Header::parse(fixed, primary)?;
        let sums = header.sums(&bytes)?;
        let body = bytes.get(header.whole()..).unwrap_or_default();
        if body.len() != header.length {
            return Err(Damage("it is cut off"));
        }
        for (block, sum) in body.chunks(BLOCK).zip(&sums) {
            if crc32fast::hash(block) != *sum {
                return Err(Damage("a block has a wrong checksum"));
            }
        }
        let blocks = Self {
            source: Source::Memory(bytes),
            start: header.whole(),
            length: header.length,
            sums,
            loaded: Vec::new(),
        };
        Ok((blocks, header.sections))
    }

    /// What was made in this process, which is not checked again.
    pub(super) fn made(sections: Arc<Sections>) -> (Self, [Span; SECTIONS]) {
        let spans = spans(&sections);
        let blocks = Self {
            source: Source::Made(sections),
            start: 0,
            length: 0,
            sums: Vec::new(),
            loaded: Vec::new(),
        };
        (blocks, spans)
    }

    fn block(&self, place: usize) -> Result<&[u8], Damage> {
        let outside = Damage("a number points outside");
        let start = self.start + place * BLOCK;
        let length = BLOCK.min(self.length.saturating_sub(place * BLOCK));
        let file = match &self.source {
            Source::File(file) => file,
            Source::Memory(bytes) => return bytes.get(start..start + length).ok_or(outside),
            Source::Made(_) => return Err(outside),
        };
        let cell = self.loaded.get(place).ok_or(outside)?;
        if let Some(block) = cell.get() {
            return Ok(block);
        }
        let mut block = vec![0; length];
        file.read_exact_at(&mut block, start as u64)
            .map_err(|_| Damage("it cannot be read"))?;
        if crc32fast::hash(&block) != self.sums[place] {
            return Err(Damage("a block has a wrong checksum"));
        }
        Ok(cell.get_or_init(|| block.into()))
    }

    /// The number at byte `at` of the section.
    pub(super) fn word(&self, section: Span, at: usize) -> Result<u32, Damage> {
        let outside = Damage("a number points outside");
        if at.checked_add(4).is_none_or(|end| end > section.length) {
            return Err(outside);
        }
        if let Source::Made(sections) = &self.source {
            let bytes = sections[section.place].get(at, WORD);
            return bytes.and_then(|bytes| word(bytes, 0)).ok_or(outside);
        }
        let at = section.start + at;
        word(self.block(at / BLOCK)?, at % BLOCK).ok_or(outside)
    }

    /// `length` bytes of the section.
    pub(super) fn bytes(
        &self,
        section: Span,
        at: usize,
        length: usize,
    ) -> Result<Cow<'_, [u8]>, Damage> {
        let outside = Damage("a number points outside");
        if at
            .checked_add(length)
            .is_none_or(|end| end > section.length)
        {
            return Err(outside);
        }
        if let Source::Made(sections) = &self.source {
            let bytes = sections[section.place].get(at, length);
            return bytes.map(Cow::Borrowed).ok_or(outside);
        }
        let start = section.start + at;
        let (first, last) = (start / BLOCK, (start + length).saturating_sub(1) / BLOCK);
        if first >= last {
            let block = if length == 0 { &[] } else { self.block(first)? };
            let at = if length == 0 { 0 } else { start % BLOCK };
            return block.get(at..at + length).map(Cow::Borrowed).ok_or(outside);
        }
        let mut bytes = Vec::with_capacity(length);
        for place in first..=last {
            let block = self.block(place)?;
            let from = if place == first { start % BLOCK } else { 0 };
            let to = block.len().min(start + length - place * BLOCK);
            bytes.extend_from_slice(block.get(from..to).ok_or(outside)?);
        }
        Ok(Cow::Owned(bytes))
    }
}
