//! Packages that take no time to decompress.

use std::io::{self, Read, Write};

use super::cpio;
use crate::files::fill;
use crate::rpm::read_headers;

/// What a zstd frame begins with.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// A frame's descriptor without content size, checksum and dictionary, and a window of 128 KiB (RFC 8878, 3.1.1.1).
const FRAME: [u8; 2] = [0x00, 0x38];
/// The largest block that such a window allows.
const BLOCK: usize = 128 << 10;

/// Copies a package with a payload compressed by zstd, and writes that payload's content in zstd
/// blocks that need no decompression. Headers are copied byte for byte: the same package to
/// rpm, which must not be asked to check its digests again. Other packages: false, nothing written.
pub fn write_plain(mut package: impl Read, to: &mut impl Write) -> io::Result<bool> {
    let headers = read_headers(&mut package).map_err(io::Error::other)?;
    let mut magic = [0; ZSTD.len()];
    package.read_exact(&mut magic)?;
    if magic != ZSTD {
        return Ok(false);
    }
    to.write_all(&headers)?;
    let mut content = cpio::decompress(io::Cursor::new(magic).chain(package))?;
    to.write_all(&ZSTD)?;
    to.write_all(&FRAME)?;
    let mut block = vec![0; BLOCK];
    loop {
        let length = fill(&mut content, &mut block)?;
        let last = length < BLOCK;
        to.write_all(&raw_block(length, last))?;
        to.write_all(&block[..length])?;
        if last {
            return Ok(true);
        }
    }
}

/// The header of a block whose content follows as it is (RFC 8878, 3.1.1.2).
fn raw_block(length: usize, last: bool) -> [u8; 3] {
    let [low, middle, high, ..] = (length << 3 | usize::from(last)).to_le_bytes();
    [low, middle, high]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any decoder reads what is written: here the reference implementation.
    #[test]
    fn raw_blocks_are_read_by_zstd() {
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK] {
            let content: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0]).collect();
            let mut frame = [&ZSTD[..], &FRAME].concat();
            for (at, piece) in content.chunks(BLOCK).enumerate() {
                let last = (at + 1) * BLOCK >= length && piece.len() < BLOCK;
                frame.extend(raw_block(piece.len(), last));
                frame.extend(piece);
            }
            if length % BLOCK == 0 {
                frame.extend(raw_block(0, true));
            }
            assert!(zstd::decode_all(&frame[..]).unwrap() == content, "{length}");
        }
    }
}
