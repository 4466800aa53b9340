//! Compressed files: what the compressor says of itself, and what is inside.

use std::io::{self, Read};

use super::bytes;
use crate::compare::cause::{self, Cause, Finding, Format};
use crate::compare::difference::Kind;
use crate::compare::found::{Found, Place};

/// Memory that an xz stream may ask for.
const XZ_MEMORY: u64 = 128 << 20;
/// The flags of a gzip header: a name follows (RFC 1952, 2.3.1).
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;

/// Compares two compressed files; finds nothing where they are none.
pub(super) fn compare(place: &Place, first: &[u8], second: &[u8], found: &mut Found<'_>) {
    let (Some(a), Some(b)) = (decoder(first), decoder(second)) else {
        return;
    };
    let before = found.count();
    if first.starts_with(b"\x1f\x8b") && second.starts_with(b"\x1f\x8b") {
        gzip_header(place, first, second, found);
    }
    let Ok((a, b)) = a
        .and_then(|mut a| Ok((super::unpack(&mut a, found)?, b?)))
        .and_then(|(a, mut b)| Ok((a, super::unpack(&mut b, found)?)))
    else {
        return;
    };
    if a != b {
        super::compare(&place.inside("(decompressed)"), &a, &b, found);
    } else if found.count() == before {
        let finding = match cause::unexplained(found.conditions) {
            Finding {
                cause: Cause::Unknown,
                ..
            } => Finding::new(
                Cause::Toolchain,
                "the content is the same, its compressed form is not: another compressor, level or number of threads",
            ),
            other => other,
        };
        found.add(place, Kind::Content, Format::Gzip, finding, None);
    }
}

type Decoder<'a> = io::Result<Box<dyn Read + 'a>>;

fn decoder(bytes: &[u8]) -> Option<Decoder<'_>> {
    match bytes {
        [0x1f, 0x8b, ..] => Some(Ok(Box::new(flate2::read::MultiGzDecoder::new(bytes)))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            Some(zstd::Decoder::new(bytes).map(|decoder| Box::new(decoder) as Box<dyn Read + '_>))
        }
        [0xfd, b'7', b'z', b'X', b'Z', ..] | [0x5d, 0, 0, ..] => Some(
            liblzma::stream::Stream::new_auto_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)
                .map_err(io::Error::other)
                .map(|stream| {
                    Box::new(liblzma::read::XzDecoder::new_stream(bytes, stream))
                        as Box<dyn Read + '_>
                }),
        ),
        [b'B', b'Z', b'h', ..] => Some(Ok(Box::new(bzip2::read::MultiBzDecoder::new(bytes)))),
        _ => None,
    }
}

fn gzip_header(place: &Place, first: &[u8], second: &[u8], found: &mut Found<'_>) {
    let time = |bytes: &[u8]| {
        bytes
            .get(4..8)
            .and_then(|bytes| bytes.try_into().ok())
            .map(u32::from_le_bytes)
    };
    let (Some(a), Some(b)) = (time(first), time(second)) else {
        return;
    };
    if a != b {
        let finding = Finding::new(
            Cause::EmbeddedTime,
            "gzip's header has the time of the file that was compressed, or of the compression",
        );
        found.values(
            &place.inside("gzip header: time"),
            Kind::Value,
            Format::Gzip,
            finding,
            (a.to_string(), b.to_string()),
        );
    }
    let (a, b) = (name(first), name(second));
    if a != b {
        bytes::compare(
            &place.inside("gzip header: name"),
            a,
            b,
            Format::Gzip,
            found,
        );
    }
}

/// The name in a gzip header; empty where there is none.
fn name(bytes: &[u8]) -> &[u8] {
    let flags = bytes.get(3).copied().unwrap_or_default();
    if flags & NAME == 0 {
        return &[];
    }
    let extra = match bytes.get(10..12) {
        Some([low, high]) if flags & EXTRA != 0 => {
            2 + usize::from(u16::from_le_bytes([*low, *high]))
        }
        _ => 0,
    };
    bytes
        .get(10 + extra..)
        .and_then(|rest| rest.split(|byte| *byte == 0).next())
        .unwrap_or_default()
}
