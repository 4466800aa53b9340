//! Compiled Python: the header (PEP 552), then the marshalled code as bytes.

use super::bytes;
use crate::compare::cause::{self, Cause, Finding, Format};
use crate::compare::difference::{Evidence, Kind};
use crate::compare::found::{Found, Place};

const HEADER: usize = 16;

/// Whether it is named as bytecode, and begins as one.
pub(super) fn is_bytecode(place: &Place, content: &[u8]) -> bool {
    let named = std::path::Path::new(place.name())
        .extension()
        .is_some_and(|extension| extension == "pyc" || extension == "pyo");
    named && content.len() >= HEADER && content[2..4] == *b"\r\n"
}

pub(super) fn compare(place: &Place, first: &[u8], second: &[u8], found: &mut Found<'_>) {
    let word = |bytes: &[u8], at: usize| {
        bytes
            .get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok())
            .map(u32::from_le_bytes)
            .unwrap_or_default()
    };
    let field = |name: &str, at: usize, finding: Finding, found: &mut Found<'_>| {
        let (a, b) = (word(first, at), word(second, at));
        if a != b {
            found.values(
                &place.inside(name),
                Kind::Value,
                Format::Python,
                finding,
                (a.to_string(), b.to_string()),
            );
        }
    };
    field(
        "magic number",
        0,
        Finding::new(Cause::Toolchain, "another version of Python compiled it"),
        found,
    );
    field("flags", 4, cause::unexplained(found.conditions), found);
    if word(first, 4) == 0 && word(second, 4) == 0 {
        field(
            "source's time",
            8,
            Finding::new(
                Cause::EmbeddedTime,
                "Python writes the modification time of the source there",
            ),
            found,
        );
        field("source's size", 12, Finding::consequence(), found);
    } else if first[8..HEADER] != second[8..HEADER] {
        let evidence = Evidence::bytes(8, first, second);
        found.add(
            &place.inside("source's hash"),
            Kind::Value,
            Format::Python,
            Finding::consequence(),
            Some(evidence),
        );
    }
    let code = place.inside("code");
    bytes::compare(
        &code,
        &first[HEADER..],
        &second[HEADER..],
        Format::Python,
        found,
    );
}
