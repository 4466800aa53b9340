//! The sizes and offsets in a package's two headers, checked before a parser trusts them.
//!
//! rpm 0.30 slices with offsets and reserves memory for counts as the file gives them, and so
//! panics or runs out of memory on a damaged file. To be removed when the crate checks them itself.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const LEAD: u64 = 96;
const MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 0x01];

/// The same limits as rpm's own (`hdrblobRead`).
const MOST_ENTRIES: u64 = 0xffff;
const MOST_DATA: u64 = 256 << 20;

/// Says what is wrong with the headers of the package, where something is.
pub(super) fn check(file: &File) -> io::Result<Result<(), &'static str>> {
    let length = file.metadata()?.len();
    let signature_end = match check_header(file, LEAD, length)? {
        Ok(end) => end.next_multiple_of(8),
        Err(why) => return Ok(Err(why)),
    };
    Ok(check_header(file, signature_end, length)?.map(drop))
}

/// The end of the header at `start`.
fn check_header(file: &File, start: u64, length: u64) -> io::Result<Result<u64, &'static str>> {
    let mut intro = [0; 16];
    if start.saturating_add(16) > length {
        return Ok(Err("it is cut short"));
    }
    file.read_exact_at(&mut intro, start)?;
    if intro[..4] != MAGIC {
        return Ok(Err("a header does not begin where it should"));
    }
    let entries = u64::from(number(&intro, 8));
    let data = u64::from(number(&intro, 12));
    if entries > MOST_ENTRIES || data > MOST_DATA {
        return Ok(Err("a header is too large"));
    }
    let end = start + 16 + entries * 16 + data;
    if end > length {
        return Ok(Err("it is cut short"));
    }
    let mut index = vec![0; usize::try_from(entries * 16).map_err(io::Error::other)?];
    file.read_exact_at(&mut index, start + 16)?;
    let mut items = 0;
    for entry in index.chunks_exact(16) {
        let (kind, offset, count) = (number(entry, 4), number(entry, 8), number(entry, 12));
        // An item of any type but "null" takes a byte at least.
        items += if kind == 0 { 0 } else { u64::from(count) };
        if u64::from(offset) > data || items > data {
            return Ok(Err("a header points outside of itself"));
        }
    }
    Ok(Ok(end))
}

/// The big-endian number at `offset`.
fn number(bytes: &[u8], offset: usize) -> u32 {
    bytes[offset..offset + 4]
        .iter()
        .fold(0, |number, &byte| number << 8 | u32::from(byte))
}
