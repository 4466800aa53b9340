//! Programs, libraries and objects: section by section.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read as _;

use elf::ElfBytes;
use elf::abi::{SHF_COMPRESSED, SHF_EXECINSTR, SHT_NOBITS, STT_FILE};
use elf::endian::AnyEndian;

use super::bytes;
use crate::compare::cause::{self, Cause, Finding, Format};
use crate::compare::difference::{Evidence, Kind, named};
use crate::compare::found::{Found, Place};

const MOST_SECTIONS: usize = 10_000;
/// Sections that are computed from the rest of the file.
const COMPUTED: [&str; 2] = [".note.gnu.build-id", ".gnu_debuglink"];

/// A section: its data, and whether it is code.
struct Section<'a> {
    data: Cow<'a, [u8]>,
    code: bool,
}

/// Sections by name and number of that name, in the file's order of names.
type Sections<'a> = BTreeMap<(String, usize), Section<'a>>;

/// Compares two ELF files; finds nothing where one of them cannot be read as such.
pub(super) fn compare(place: &Place, first: &[u8], second: &[u8], found: &mut Found<'_>) {
    let parsed = |bytes| ElfBytes::<AnyEndian>::minimal_parse(bytes).ok();
    let (Some(a), Some(b)) = (parsed(first), parsed(second)) else {
        return;
    };
    let mark = found.count();
    let reordered = objects(place, &a, &b, found);
    let (Some(own), Some(other)) = (sections(&a, found), sections(&b, found)) else {
        return;
    };
    for (name, section) in &own {
        match other.get(name) {
            Some(counterpart) if section.data == counterpart.data => {}
            Some(counterpart) => one(
                &place.inside(named(name.0.as_bytes())),
                &name.0,
                (section, counterpart),
                found,
            ),
            None => found.add(
                &place.inside(named(name.0.as_bytes())),
                Kind::OnlyInFirst,
                Format::Elf,
                cause::unexplained(found.conditions),
                None,
            ),
        }
    }
    for (name, _) in other.keys().filter(|name| !own.contains_key(name)) {
        found.add(
            &place.inside(named(name.as_bytes())),
            Kind::OnlyInSecond,
            Format::Elf,
            cause::unexplained(found.conditions),
            None,
        );
    }
    let is_known = |cause| !matches!(cause, Cause::Unknown | Cause::Consequence);
    if reordered || found.causes_since(mark).any(is_known) {
        found.unknown_since(
            mark,
            "offsets, addresses and code move with what else differs in this file",
        );
    }
}

fn one(place: &Place, name: &str, (a, b): (&Section<'_>, &Section<'_>), found: &mut Found<'_>) {
    if COMPUTED.contains(&name) {
        let at = a
            .data
            .iter()
            .zip(b.data.iter())
            .take_while(|(a, b)| a == b)
            .count();
        found.add(
            place,
            Kind::Value,
            Format::Elf,
            Finding::consequence(),
            Some(Evidence::bytes(at, &a.data, &b.data)),
        );
        return;
    }
    let format = if a.code { Format::Code } else { Format::Elf };
    bytes::compare(place, &a.data, &b.data, format, found);
}

/// Whether the same objects were linked in another order: their names stand in the table of symbols.
fn objects(
    place: &Place,
    a: &ElfBytes<'_, AnyEndian>,
    b: &ElfBytes<'_, AnyEndian>,
    found: &mut Found<'_>,
) -> bool {
    let (Some(a), Some(b)) = (sources(a), sources(b)) else {
        return false;
    };
    let (x, y): (Vec<&[u8]>, Vec<&[u8]>) = (
        a.iter().map(String::as_bytes).collect(),
        b.iter().map(String::as_bytes).collect(),
    );
    if x == y || !cause::same_entries(&x, &y) {
        return false;
    }
    let finding = cause::order(&x, &y, found.conditions);
    found.add(
        &place.inside("objects, as they were linked"),
        Kind::Order,
        Format::Elf,
        finding,
        Some(Evidence::values(a.join(" "), b.join(" "))),
    );
    true
}

/// Names of the sources that were linked, in their order.
fn sources(file: &ElfBytes<'_, AnyEndian>) -> Option<Vec<String>> {
    let (symbols, names) = file.symbol_table().ok()??;
    let own = symbols
        .iter()
        .filter(|symbol| symbol.st_symtype() == STT_FILE);
    Some(
        own.filter_map(|symbol| names.get_raw(usize::try_from(symbol.st_name).ok()?).ok())
            .map(named)
            .collect(),
    )
}

fn sections<'a>(file: &ElfBytes<'a, AnyEndian>, found: &mut Found<'_>) -> Option<Sections<'a>> {
    let (headers, names) = file.section_headers_with_strtab().ok()?;
    let (headers, names) = (headers?, names?);
    let mut sections = Sections::new();
    for header in headers
        .iter()
        .take(MOST_SECTIONS)
        .filter(|header| header.sh_type != SHT_NOBITS)
    {
        let name =
            String::from_utf8_lossy(names.get_raw(usize::try_from(header.sh_name).ok()?).ok()?)
                .into_owned();
        let (data, compression) = file.section_data(&header).ok()?;
        let data = match compression {
            Some(_) if header.sh_flags & u64::from(SHF_COMPRESSED) != 0 => {
                decompressed(data, found).map_or(Cow::Borrowed(data), Cow::Owned)
            }
            _ => Cow::Borrowed(data),
        };
        let number = sections
            .range((name.clone(), 0)..)
            .take_while(|((own, _), _)| *own == name)
            .count();
        sections.insert(
            (name, number),
            Section {
                data,
                code: header.sh_flags & u64::from(SHF_EXECINSTR) != 0,
            },
        );
    }
    Some(sections)
}

/// A compressed section's data: zlib or zstd.
fn decompressed(data: &[u8], found: &mut Found<'_>) -> Option<Vec<u8>> {
    let mut input: Box<dyn std::io::Read + '_> = if data.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Box::new(zstd::Decoder::new(data).ok()?)
    } else {
        Box::new(flate2::read::ZlibDecoder::new(data))
    };
    let mut bytes = Vec::new();
    input
        .by_ref()
        .take(found.budget())
        .read_to_end(&mut bytes)
        .ok()?;
    found.spend(bytes.len());
    Some(bytes)
}
