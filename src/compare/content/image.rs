//! Pictures: the chunks of PNG and the segments of JPEG.

use super::bytes;
use crate::compare::cause::{Cause, Finding, Format};
use crate::compare::difference::{Evidence, Kind, printable};
use crate::compare::found::{Found, Place};

/// Compares two pictures piece by piece, each with its counterpart of the same kind.
pub(super) fn compare(place: &Place, first: &[u8], second: &[u8], found: &mut Found<'_>) {
    let pieces = if first.starts_with(b"\x89PNG") {
        chunks
    } else {
        segments
    };
    let (a, b) = (pieces(first), pieces(second));
    let names = |pieces: &[(String, &[u8])]| {
        pieces
            .iter()
            .map(|(name, _)| name.clone())
            .collect::<Vec<_>>()
    };
    if names(&a) != names(&b) {
        return;
    }
    for ((name, own), (_, other)) in a
        .iter()
        .zip(&b)
        .filter(|((_, own), (_, other))| own != other)
    {
        let inside = place.inside(name.as_str());
        if name == "tIME" {
            let finding = Finding::new(
                Cause::EmbeddedTime,
                "the chunk tIME has the time of the last change",
            );
            found.add(
                &inside,
                Kind::Value,
                Format::Image,
                finding,
                Some(Evidence::bytes(0, own, other)),
            );
        } else {
            bytes::compare(&inside, own, other, Format::Image, found);
        }
    }
}

/// Name and data of every PNG chunk; checksums follow from them.
fn chunks(bytes: &[u8]) -> Vec<(String, &[u8])> {
    let mut found = Vec::new();
    let mut rest = bytes.get(8..).unwrap_or_default();
    while let Some((head, after)) = rest.split_at_checked(8) {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let Some((data, after)) = usize::try_from(length)
            .ok()
            .and_then(|length| after.split_at_checked(length))
        else {
            break;
        };
        found.push((printable(&head[4..]), data));
        rest = after.get(4..).unwrap_or_default();
    }
    found
}

/// Marker and data of every JPEG segment; the last has the picture.
fn segments(bytes: &[u8]) -> Vec<(String, &[u8])> {
    let mut found = Vec::new();
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let [0xff, marker, high, low, ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])) + 2;
        if *marker == 0xda || length > rest.len() || length < 4 {
            break;
        }
        found.push((format!("segment {marker:02x}"), &rest[4..length]));
        rest = &rest[length..];
    }
    found.push(("picture".to_owned(), rest));
    found
}
