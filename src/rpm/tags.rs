//! Every tag of a package file with its value, as it stands in the headers: what a comparison needs.

use std::collections::BTreeMap;
use std::io::Read;

use super::header::{Header, HeaderError, LEAD, read_headers};

/// The value of a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Integers of 8 to 64 bits.
    Numbers(Vec<u64>),
    /// One text or many.
    Texts(Vec<Vec<u8>>),
    /// Binary data.
    Bytes(Vec<u8>),
}

/// The tags of one header, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags(pub BTreeMap<u32, Value>);

/// Both headers of a package file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageTags {
    /// The signature header: digests, sizes, signatures.
    pub signature: Tags,
    /// The header proper.
    pub main: Tags,
    /// Where the payload begins.
    pub payload: u64,
}

impl Tags {
    /// The integers of a tag; none where it has other values or is not there.
    pub fn numbers(&self, tag: u32) -> &[u64] {
        match self.0.get(&tag) {
            Some(Value::Numbers(numbers)) => numbers,
            _ => &[],
        }
    }

    /// The texts of a tag; none where it has other values or is not there.
    pub fn texts(&self, tag: u32) -> &[Vec<u8>] {
        match self.0.get(&tag) {
            Some(Value::Texts(texts)) => texts,
            _ => &[],
        }
    }

    fn of(header: &Header) -> Self {
        let value = |entry: super::header::Entry| Some((entry.tag, header.value(entry)?));
        Self(header.entries().into_iter().filter_map(value).collect())
    }
}

/// Reads both headers of a package file; what follows in `input` is the payload.
pub fn read_tags(input: &mut impl Read) -> Result<PackageTags, HeaderError> {
    let bytes = read_headers(input)?;
    let header = |at: usize| {
        let offset = at as u64;
        let mut rest = bytes.get(at..).unwrap_or_default();
        Header::read(&mut rest, offset)?.ok_or(HeaderError::Truncated { offset })
    };
    let signature = header(LEAD)?;
    let main = header((LEAD + signature.bytes().len()).next_multiple_of(8))?;
    Ok(PackageTags {
        signature: Tags::of(&signature),
        main: Tags::of(&main),
        payload: bytes.len() as u64,
    })
}

/// The name of a tag as rpm has it, without the prefix; the number of one that has none.
pub fn tag_name(tag: u32) -> String {
    let text = rpm::format_tag_id(tag);
    if text.starts_with("Unknown") {
        return format!("tag {tag}");
    }
    let name = text.split(' ').next().unwrap_or_default();
    let short = ["RPMSIGTAG_", "RPMTAG_"]
        .into_iter()
        .find_map(|prefix| name.strip_prefix(prefix));
    short.unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_those_of_the_package() {
        let folder = tempfile::tempdir().unwrap();
        let file = crate::rpm::testing::build_package(folder.path(), "first");
        let bytes = fs_err::read(file).unwrap();
        let tags = read_tags(&mut bytes.as_slice()).unwrap();
        assert_eq!(tags.main.texts(1000), [b"first"]);
        assert_eq!(tags.main.numbers(1006), [1_600_000_000]);
        assert_eq!(tags.main.texts(1117), [b"first.sh"]);
        assert_eq!(tags.main.numbers(1117), [0; 0]);
        assert!(matches!(&tags.signature.0[&273], Value::Texts(texts) if texts[0].len() == 64));
        assert_eq!(
            bytes[usize::try_from(tags.payload).unwrap()..][..2],
            [0x28, 0xb5]
        );
    }
}
