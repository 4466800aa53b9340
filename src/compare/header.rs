//! Two headers, tag by tag, but for what they say of single files.

use super::cause::{self, Cause, Finding, Format, Site};
use super::difference::{Evidence, Kind, named};
use super::found::{Found, Place};
use crate::rpm::{PackageTags, Tags, Value};

/// What differs in a tag's value because something else does, or because of a key.
const COMPUTED: [u32; 14] = [
    1009, 5009, 1046, 5092, 5097, 5112, 5113, 5123, 5124, 1141, 1142, 1146, 1044, 261,
];
/// Lists with an entry for every file, which `files` compares, and the names that they are made of.
const OF_FILES: [u32; 24] = [
    1027,
    1028,
    1029,
    1030,
    1031,
    1032,
    1033,
    1034,
    1035,
    1036,
    1037,
    1039,
    1040,
    1045,
    1095,
    1096,
    1097,
    1116,
    1117,
    1118,
    1140,
    5008,
    5010,
    1047 + 4000,
];
/// `HEADERIMAGE`, `HEADERSIGNATURES`, `HEADERIMMUTABLE`: where the header itself lies.
const REGIONS: [u32; 3] = [61, 62, 63];
/// Names of the tags that the `rpm` crate would take for others.
const NAMES: [(u32, &str); 9] = [
    (1000, "NAME"),
    (1001, "VERSION"),
    (1002, "RELEASE"),
    (1003, "EPOCH"),
    (1004, "SUMMARY"),
    (1005, "DESCRIPTION"),
    (1006, "BUILDTIME"),
    (1007, "BUILDHOST"),
    (1008, "INSTALLTIME"),
];
const SIGNATURES: [u32; 8] = [267, 268, 274, 275, 276, 277, 278, 1005];

/// Compares both headers of two packages.
pub(super) fn compare(first: &PackageTags, second: &PackageTags, found: &mut Found<'_>) {
    each(&first.signature, &second.signature, |tag, a, b| {
        let place = Place::of("signature header").inside(signature_name(tag));
        let because = if SIGNATURES.contains(&tag) || tag == 1002 {
            "a signature comes from whoever signed, not from the build"
        } else {
            "it is computed from the rest of the package"
        };
        found.by_nature(&place, kind(a, b), because, evidence(a, b));
    });
    each(&first.main, &second.main, |tag, a, b| {
        let place = Place::of("header").inside(name(tag));
        if COMPUTED.contains(&tag) {
            found.by_nature(
                &place,
                kind(a, b),
                "it is computed from the package's files",
                evidence(a, b),
            );
        } else if !OF_FILES.contains(&tag) {
            one(&place, tag, (a, b), found);
        }
    });
}

/// Calls `with` for every tag whose values differ.
fn each(first: &Tags, second: &Tags, mut with: impl FnMut(u32, Option<&Value>, Option<&Value>)) {
    let mut tags: Vec<u32> = first.0.keys().chain(second.0.keys()).copied().collect();
    tags.sort_unstable();
    tags.dedup();
    for tag in tags.into_iter().filter(|tag| !REGIONS.contains(tag)) {
        let (a, b) = (first.0.get(&tag), second.0.get(&tag));
        if a != b {
            with(tag, a, b);
        }
    }
}

fn one(place: &Place, tag: u32, (a, b): (Option<&Value>, Option<&Value>), found: &mut Found<'_>) {
    let conditions = found.conditions;
    if let (Some(Value::Texts(x)), Some(Value::Texts(y))) = (a, b) {
        let (x, y): (Vec<&[u8]>, Vec<&[u8]>) = (
            x.iter().map(Vec::as_slice).collect(),
            y.iter().map(Vec::as_slice).collect(),
        );
        if x.len() > 1 && cause::same_entries(&x, &y) {
            let finding = cause::order(&x, &y, conditions);
            found.add(place, Kind::Order, Format::Header, finding, evidence(a, b));
            return;
        }
    }
    let (x, y) = (shown(a), shown(b));
    let finding = match tag {
        1006 => Some(Finding::new(
            Cause::EmbeddedTime,
            "it is the time at which the package was built",
        )),
        1007 => Some(Finding::new(
            Cause::HostName,
            "it is the name of the host that built",
        )),
        1064 | 1122 | 1125 | 1126 | 1132 => Some(Finding::new(
            Cause::Toolchain,
            "rpm writes its own version and settings there",
        )),
        1094 => Some(Finding::new(
            Cause::Consequence,
            "rpm writes BUILDHOST and BUILDTIME there once more",
        )),
        _ => cause::explain(
            &Site::whole(x.as_bytes(), y.as_bytes()),
            Format::Header,
            conditions,
        ),
    };
    let finding = finding.unwrap_or_else(|| cause::unexplained(conditions));
    found.add(place, kind(a, b), Format::Header, finding, evidence(a, b));
}

fn kind(a: Option<&Value>, b: Option<&Value>) -> Kind {
    match (a, b) {
        (Some(_), None) => Kind::OnlyInFirst,
        (None, Some(_)) => Kind::OnlyInSecond,
        _ => Kind::Value,
    }
}

/// The values as text, from a little before the first difference.
fn evidence(a: Option<&Value>, b: Option<&Value>) -> Option<Evidence> {
    const BEFORE: usize = 40;
    let (a, b) = (shown(a), shown(b));
    let differs = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    let from = |text: &str| {
        let start = (differs.saturating_sub(BEFORE)..=differs)
            .find(|at| text.is_char_boundary(*at))
            .filter(|start| *start > 0);
        start.map_or_else(
            || text.to_owned(),
            |start| format!("…{}", text.get(start..).unwrap_or_default()),
        )
    };
    let mut evidence = Evidence::values(from(&a), from(&b));
    evidence.offset = differs as u64;
    Some(evidence)
}

/// A value as text; lists with a newline between entries.
fn shown(value: Option<&Value>) -> String {
    const LONGEST: usize = 64 << 10;
    match value {
        None => String::new(),
        Some(Value::Numbers(numbers)) => numbers
            .iter()
            .take(LONGEST / 8)
            .map(u64::to_string)
            .collect::<Vec<_>>()
            .join(" "),
        Some(Value::Texts(texts)) => {
            let mut text = texts.join(&b'\n');
            text.truncate(LONGEST);
            crate::words::clean(&String::from_utf8_lossy(&text), true)
        }
        Some(Value::Bytes(bytes)) => bytes
            .iter()
            .take(LONGEST / 2)
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    }
}

fn name(tag: u32) -> String {
    let known = NAMES.iter().find(|(number, _)| *number == tag);
    known.map_or_else(|| crate_name(tag), |(_, name)| (*name).to_owned())
}

fn signature_name(tag: u32) -> String {
    crate_name(tag)
}

/// The name of a tag without its prefix; its number where the `rpm` crate has no name.
fn crate_name(tag: u32) -> String {
    let text = crate::rpm::tag_name(tag);
    named(text.as_bytes())
}
