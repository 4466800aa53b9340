//! Two contents of a file: looked into as far as a format is known, else as text or bytes.

mod archive;
mod bytes;
mod compressed;
mod elf;
mod image;
mod python;
mod zip;

use std::io::{self, Read};

use super::cause::Format;
use super::found::{Found, Place};

pub(super) use bytes::stream;

/// What is compared of a member, beside its content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Member {
    name: Vec<u8>,
    mode: u32,
    owner: String,
    mtime: Time,
    /// What else its header says, as text.
    other: String,
    content: Vec<u8>,
}

/// A member's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Time {
    /// Seconds since 1970.
    Counted(i64),
    /// Seconds from 1970 as the clock on the wall had them, in whatever zone.
    Local(i64),
}

impl Default for Time {
    fn default() -> Self {
        Self::Counted(0)
    }
}

/// Compares two contents that differ.
pub(super) fn compare(place: &Place, first: &[u8], second: &[u8], found: &mut Found<'_>) {
    let before = found.count();
    if !place.is_deepest() {
        inside(place, first, second, found);
    }
    // What no format sees (padding, an unused field) differs all the same.
    if found.count() == before {
        bytes::compare(place, first, second, format_of(place, first), found);
    }
}

/// Looks into both as what their first bytes say; nothing is found where that is no known format.
fn inside(place: &Place, first: &[u8], second: &[u8], found: &mut Found<'_>) {
    let both = |magic: &[u8]| first.starts_with(magic) && second.starts_with(magic);
    if both(b"\x7fELF") {
        elf::compare(place, first, second, found);
    } else if both(b"!<arch>\n") {
        archive::compare(place, (first, second), archive::Kind::Ar, found);
    } else if both(b"PK\x03\x04") {
        zip::compare(place, first, second, found);
    } else if both(b"070701") || both(b"070702") {
        archive::compare(place, (first, second), archive::Kind::Cpio, found);
    } else if is_tar(first) && is_tar(second) {
        archive::compare(place, (first, second), archive::Kind::Tar, found);
    } else if both(b"\x89PNG\r\n\x1a\n") || both(b"\xff\xd8\xff") {
        image::compare(place, first, second, found);
    } else if python::is_bytecode(place, first) && python::is_bytecode(place, second) {
        python::compare(place, first, second, found);
    } else {
        compressed::compare(place, first, second, found);
    }
}

fn is_tar(bytes: &[u8]) -> bool {
    bytes.get(257..262) == Some(b"ustar")
}

fn format_of(place: &Place, bytes: &[u8]) -> Format {
    if bytes.starts_with(b"\x7fELF") {
        Format::Elf
    } else if python::is_bytecode(place, bytes) {
        Format::Python
    } else if bytes::is_text(bytes) {
        Format::Text
    } else {
        Format::Bytes
    }
}

/// Reads what is left, but no more than may still be unpacked.
fn unpack(input: &mut dyn Read, found: &mut Found<'_>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let budget = found.budget();
    input.take(budget + 1).read_to_end(&mut bytes)?;
    found.spend(bytes.len());
    if bytes.len() as u64 > budget {
        return Err(io::Error::other("it unpacks to more than is looked into"));
    }
    Ok(bytes)
}
