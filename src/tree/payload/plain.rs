//! Packages that take no time to decompress.

use std::io::{self, Read, Write};

use super::cpio;
use crate::rpm::read_headers;

/// The level at which zstd keeps nearly everything as it is.
const PLAIN: i32 = -131_072;
/// What a zstd frame begins with.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

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
    let mut plain = zstd::Encoder::new(to, PLAIN)?;
    io::copy(&mut content, &mut plain)?;
    plain.finish()?;
    Ok(true)
}
