//! `repomd.xml`: which metadata files a repository has, and their checksums.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::{self, BufReader, Read};

use rpmrepo_metadata::{RepomdRecord, RepomdXml};
use sha2::{Digest as _, Sha512};

use super::RepositoryError;
use super::stream::{Whole, damaged, events, guarded};
use crate::digest::Digest;

/// A checksum strong enough to name content by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Checksum {
    /// SHA-256, by which the store names everything.
    Sha256(Digest),
    /// SHA-512, as 128 lower-case hex digits.
    Sha512(String),
}

impl Checksum {
    /// Reads a checksum of the type `kind` as metadata writes it; `None` for a weaker or unknown type or a wrong length.
    pub fn parse(kind: &str, hex: &str) -> Option<Self> {
        if !Self::is_strong(kind, hex) {
            return None;
        }
        match kind {
            "sha256" => hex.parse().ok().map(Self::Sha256),
            _ => Some(Self::Sha512(hex.to_ascii_lowercase())),
        }
    }

    /// Whether [`Checksum::parse`] takes it.
    pub(super) fn is_strong(kind: &str, hex: &str) -> bool {
        let length = match kind {
            "sha256" => 64,
            "sha512" => 128,
            _ => return false,
        };
        // All of it is looked at: that way it is done many bytes at once.
        let are_digits = |all: bool, digit: u8| all & digit.is_ascii_hexdigit();
        hex.len() == length && hex.bytes().fold(true, are_digits)
    }

    /// The SHA-512 checksum of what `reader` gives.
    pub fn sha512_of(reader: &mut impl Read) -> io::Result<Self> {
        let mut hasher = Sha512::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match reader.read(&mut buffer)? {
                0 => break,
                count => hasher.update(&buffer[..count]),
            }
        }
        let mut hex = String::new();
        for byte in hasher.finalize() {
            let _infallible = write!(hex, "{byte:02x}");
        }
        Ok(Self::Sha512(hex))
    }

    /// The SHA-256 digest, where it is one.
    pub fn sha256(&self) -> Option<Digest> {
        match self {
            Self::Sha256(digest) => Some(*digest),
            Self::Sha512(_) => None,
        }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(digest) => digest.fmt(f),
            Self::Sha512(hex) => write!(f, "sha512:{hex}"),
        }
    }
}

/// One metadata file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Path below the repository's root.
    pub location: String,
    /// Checksum of the file as it is downloaded.
    pub checksum: Checksum,
    /// Its size in bytes, where the repository says it.
    pub size: Option<u64>,
    /// Checksum of the content once decompressed, where the repository gives a strong one.
    pub open_checksum: Option<Checksum>,
    /// Size of the content once decompressed, where the repository says it.
    pub open_size: Option<u64>,
}

/// The content of a `repomd.xml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repomd {
    /// The repository's own name for its state, often a time.
    pub revision: Option<String>,
    /// The metadata files by type: `primary`, `filelists`, `group` …
    pub records: BTreeMap<String, Record>,
}

impl Repomd {
    /// Reads the bytes of a `repomd.xml`; `name` is what errors call it.
    ///
    /// Records that are not used later may have weak checksums in the wild; so a record
    /// is refused only where its type is one that is read: `primary`, `filelists`, `group` and `modules`.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Self, RepositoryError> {
        let reader = BufReader::new(Whole::new(bytes, "</repomd>"));
        let data = guarded(name, || RepomdXml::read_data(events(reader)))?;
        let mut records = BTreeMap::new();
        for record in data.records() {
            match convert(record, name) {
                Ok(converted) => {
                    records
                        .entry(record.metadata_name.clone())
                        .or_insert(converted);
                }
                Err(error)
                    if matches!(
                        record.metadata_name.as_str(),
                        "primary" | "filelists" | "group" | "modules"
                    ) =>
                {
                    return Err(error);
                }
                Err(error) => tracing::debug!(%error, "a record that is not used is left out"),
            }
        }
        if !records.contains_key("primary") {
            return Err(damaged(name, &"it lists no `primary` metadata"));
        }
        Ok(Self {
            revision: data.revision().map(str::to_owned),
            records,
        })
    }

    /// The record of the type `kind`, with an error that names what is missing.
    pub fn record(&self, kind: &str, name: &str) -> Result<&Record, RepositoryError> {
        self.records
            .get(kind)
            .ok_or_else(|| damaged(name, &format_args!("it lists no `{kind}` metadata")))
    }
}

fn convert(record: &RepomdRecord, name: &str) -> Result<Record, RepositoryError> {
    use rpmrepo_metadata::Checksum as Given;
    let kind = &record.metadata_name;
    let strong = |given: &Given| match given {
        Given::Sha256(hex) => Ok(Checksum::parse("sha256", hex)),
        Given::Sha512(hex) => Ok(Checksum::parse("sha512", hex)),
        Given::Md5(_) => Err("md5"),
        Given::Sha1(_) => Err("sha1"),
        Given::Sha224(_) => Err("sha224"),
        Given::Sha384(_) => Err("sha384"),
        Given::Unknown(_) | Given::Empty => Err("unknown"),
    };
    let checksum = strong(&record.checksum).map_err(|weak| RepositoryError::WeakChecksum {
        name: name.to_owned(),
        what: kind.clone(),
        kind: weak.to_owned(),
    })?;
    let location = record.location_href.to_str().unwrap_or_default();
    if record.location_base.is_some() {
        return Err(damaged(
            name,
            &format_args!("`{kind}` has a base address of its own, which is not supported"),
        ));
    }
    Ok(Record {
        location: check_location(location, name)?.to_owned(),
        checksum: checksum.ok_or_else(|| {
            damaged(
                name,
                &format_args!("the checksum of `{kind}` is not hexadecimal"),
            )
        })?,
        size: record.size,
        open_checksum: record
            .open_checksum
            .as_ref()
            .and_then(|given| strong(given).ok().flatten()),
        open_size: record.open_size,
    })
}

/// Refuses a location that could lead out of the repository or to another server.
pub(super) fn check_location<'a>(
    location: &'a str,
    name: &str,
) -> Result<&'a str, RepositoryError> {
    if is_plain(location) {
        return Ok(location);
    }
    let parts_are_plain = location
        .split('/')
        .all(|part| !matches!(part, "" | "." | ".."));
    let characters_are_plain =
        !location.contains(|character: char| character.is_control() || "\\?#".contains(character));
    let first = location.split('/').next().unwrap_or_default();
    if parts_are_plain && characters_are_plain && !hides_dots(location) && !has_scheme(first) {
        return Ok(location);
    }
    Err(RepositoryError::Location {
        name: name.to_owned(),
        location: location.to_owned(),
    })
}

/// Whether a location has nothing that could lead elsewhere, and none of what only few have.
fn is_plain(location: &str) -> bool {
    const FIRST: [bool; 256] = plain_bytes(b"");
    const OTHERS: [bool; 256] = plain_bytes(b"+_~^.-/");
    // Only a plain character begins a part. All of it is looked at: that is faster than to ask whether to go on.
    let (plain, begins) = location
        .bytes()
        .fold((true, true), |(plain, begins), byte| {
            let (first, other) = (FIRST[usize::from(byte)], OTHERS[usize::from(byte)]);
            let fits = if begins { first } else { other };
            (plain & fits, byte == b'/')
        });
    plain && !begins
}

/// ASCII's letters and digits, and these, as a table: it is looked at for each byte of a long list.
pub(super) const fn plain_bytes(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut place = 0;
    while place < others.len() {
        table[others[place] as usize] = true;
        place += 1;
    }
    table
}

/// `%2e%2e` is `..` for a server, `%2f` a separator.
fn hides_dots(location: &str) -> bool {
    if !location.contains('%') {
        return false;
    }
    let lower = location.to_ascii_lowercase();
    ["%2e", "%2f", "%5c", "%00"]
        .iter()
        .any(|hidden| lower.contains(hidden))
}

/// `name:` at the start is a scheme for a URL parser, whatever follows.
fn has_scheme(first: &str) -> bool {
    first.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|character: char| character.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repomd(records: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?>\n<repomd xmlns=\"http://linux.duke.edu/metadata/repo\"><revision>7</revision>{records}</repomd>\n"
        )
    }

    fn record(kind: &str, checksum: &str, location: &str) -> String {
        let digits = match checksum {
            "md5" => 32,
            "sha" | "sha1" => 40,
            "sha512" => 128,
            _ => 64,
        };
        let hex = "ab".repeat(digits / 2);
        format!(
            "<data type=\"{kind}\"><checksum type=\"{checksum}\">{hex}</checksum><open-checksum type=\"sha256\">{}</open-checksum>\
             <location href=\"{location}\"/><timestamp>1</timestamp><size>12</size><open-size>34</open-size></data>",
            "cd".repeat(32)
        )
    }

    #[test]
    fn records_are_read() {
        let text = repomd(
            &[
                record("primary", "sha256", "repodata/p.xml.zst"),
                record("filelists", "sha512", "repodata/f.xml.gz"),
            ]
            .concat(),
        );
        let repomd = Repomd::parse(text.as_bytes(), "repomd.xml").unwrap();
        assert_eq!(repomd.revision.as_deref(), Some("7"));
        let primary = &repomd.records["primary"];
        assert_eq!(primary.location, "repodata/p.xml.zst");
        assert_eq!((primary.size, primary.open_size), (Some(12), Some(34)));
        assert_eq!(
            primary.checksum.to_string(),
            format!("sha256:{}", "ab".repeat(32))
        );
        assert_eq!(
            primary
                .open_checksum
                .as_ref()
                .unwrap()
                .sha256()
                .unwrap()
                .hex(),
            "cd".repeat(32)
        );
        assert_eq!(
            repomd.records["filelists"].checksum.to_string(),
            format!("sha512:{}", "ab".repeat(64))
        );
    }

    #[test]
    fn weak_checksums_and_wrong_locations_are_refused() {
        let error = |text: &str| {
            Repomd::parse(text.as_bytes(), "fedora/repomd.xml")
                .unwrap_err()
                .to_string()
        };
        insta::assert_snapshot!(error(&repomd(&record("primary", "md5", "p"))), @"`fedora/repomd.xml` gives for `primary` only the checksum type `md5`: sha256 or sha512 is needed");
        insta::assert_snapshot!(error(&repomd(&record("primary", "sha", "p"))), @"`fedora/repomd.xml` gives for `primary` only the checksum type `sha1`: sha256 or sha512 is needed");
        insta::assert_snapshot!(error(&repomd(&record("primary", "sha256", "../p"))), @"`fedora/repomd.xml` names the location `../p`: only a relative path below the repository is used");
        insta::assert_snapshot!(error(&repomd(&record("other", "sha256", "o"))), @"`fedora/repomd.xml` is damaged or not repository metadata: it lists no `primary` metadata");
        let unused = [
            record("primary", "sha256", "p"),
            record("prestodelta", "md5", "d"),
        ]
        .concat();
        assert_eq!(
            Repomd::parse(repomd(&unused).as_bytes(), "r")
                .unwrap()
                .records
                .len(),
            1
        );
    }

    #[test]
    fn locations_stay_inside() {
        for good in [
            "a.rpm",
            "Packages/a/a-1:2-3.rpm",
            "repodata/x..y.xml",
            "a%2B.rpm",
            "0:1/x",
        ] {
            assert!(check_location(good, "r").is_ok(), "{good}");
        }
        for bad in [
            "",
            "/a",
            "../a",
            "a/../../b",
            "./a",
            "a//b",
            "http://x/a",
            "file:a",
            "a\\b",
            "a?b",
            "a#b",
            "%2e%2E/a",
            "a%2fb",
            "a\nb",
        ] {
            assert!(check_location(bad, "r").is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cut_file_is_an_error_wherever_it_was_cut() {
        let text = repomd(
            &[
                record("primary", "sha256", "p"),
                record("filelists", "sha256", "f"),
            ]
            .concat(),
        );
        let whole = text.trim_end().len();
        for cut in 0..whole {
            assert!(
                Repomd::parse(&text.as_bytes()[..cut], "r").is_err(),
                "cut at {cut}"
            );
        }
        assert!(Repomd::parse(text.as_bytes(), "r").is_ok());
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "[<>/a-z =\"]{0,60}") {
            let _whatever = Repomd::parse(repomd(&text).as_bytes(), "r");
        }
    }
}
