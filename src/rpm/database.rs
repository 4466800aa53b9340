//! The rpm database as a stream of headers (`rpmdb --exportdb`), made independent of when it was written.

use std::io::{self, Read, Write};

use super::header::{Header, HeaderError};
use super::package::{PackageFacts, RpmError, header_facts};
use crate::digest::Digest;

/// `RPMTAG_INSTALLTIME`: when the package was installed, in seconds since 1970.
const INSTALL_TIME: u32 = 1008;
/// `RPMTAG_INSTALLTID`: the transaction that installed it, a time as well.
const INSTALL_TRANSACTION: u32 = 1128;
/// `RPMTAG_SHA256HEADER`: the digest of the header as it was in the package's file.
const HEADER_DIGEST: u32 = 273;
/// The name under which rpm keeps keys among the packages.
const KEYS: &str = "gpg-pubkey";
/// `RPM_INT32_TYPE` and `RPM_INT64_TYPE`.
const INTEGERS: [u32; 2] = [4, 5];

/// Copies the headers of `input` to `output` with every install time and install transaction set to `epoch`.
///
/// The values are replaced in place, wherever the index has them; every other byte and the order
/// of the headers stay. One header is in memory at a time. Gives the number of headers.
pub fn normalise_header_stream(
    input: &mut impl Read,
    output: &mut impl Write,
    epoch: u32,
) -> Result<usize, RpmError> {
    let failed = |source| RpmError::Database { source };
    let (mut count, mut offset) = (0, 0);
    while let Some(mut header) = Header::read(input, offset).map_err(failed)? {
        set_times(&mut header, epoch).map_err(failed)?;
        output.write_all(header.bytes()).map_err(write_failed)?;
        offset += header.bytes().len() as u64;
        count += 1;
    }
    output.flush().map_err(write_failed)?;
    Ok(count)
}

/// A package of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledPackage {
    /// What its header says.
    pub facts: PackageFacts,
    /// SHA-256 of its header as it was in the package's file; of the header in the database, without the times of its
    /// installation, where that is too old to know.
    pub header: Digest,
}

/// Reads the packages of an exported database; the keys that rpm keeps among them are left out.
pub fn read_database(input: &mut impl Read) -> Result<Vec<InstalledPackage>, RpmError> {
    let failed = |source| RpmError::Database { source };
    let (mut packages, mut offset) = (Vec::new(), 0);
    while let Some(mut header) = Header::read(input, offset).map_err(failed)? {
        header.check().map_err(failed)?;
        if header.text(1000).as_deref() != Some(KEYS) {
            let facts = header_facts(header.bytes())?;
            let stated = header
                .text(HEADER_DIGEST)
                .and_then(|text| text.parse().ok());
            set_times(&mut header, 0).map_err(failed)?;
            packages.push(InstalledPackage {
                facts,
                header: stated.unwrap_or_else(|| Digest::of(header.bytes())),
            });
        }
        offset += header.bytes().len() as u64;
    }
    Ok(packages)
}

fn write_failed(source: io::Error) -> RpmError {
    RpmError::WriteDatabase { source }
}

fn set_times(header: &mut Header, epoch: u32) -> Result<(), HeaderError> {
    let times = header
        .entries()
        .into_iter()
        .filter(|entry| [INSTALL_TIME, INSTALL_TRANSACTION].contains(&entry.tag));
    for entry in times.collect::<Vec<_>>() {
        if !INTEGERS.contains(&entry.kind) {
            return Err(header.damaged(entry));
        }
        let width = if entry.kind == INTEGERS[0] { 4 } else { 8 };
        let wide = u64::from(epoch).to_be_bytes();
        for item in header.value_mut(entry)?.chunks_exact_mut(width) {
            item.copy_from_slice(&wide[wide.len() - width..]);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    /// A header as rpm writes it; `values` are 32-bit integers unless 8 bytes long.
    fn header(values: &[(u32, &[u8])]) -> Vec<u8> {
        let mut index = Vec::new();
        let mut data = Vec::new();
        for (tag, value) in values {
            let kind = if value.len() == 8 { 5 } else { 4 };
            let offset = u32::try_from(data.len()).unwrap();
            for word in [*tag, kind, offset, 1] {
                index.extend_from_slice(&word.to_be_bytes());
            }
            data.extend_from_slice(value);
        }
        let mut bytes = vec![0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0];
        bytes.extend_from_slice(&u32::try_from(values.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(&u32::try_from(data.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(&index);
        bytes.extend_from_slice(&data);
        bytes
    }

    fn normalise(bytes: &[u8]) -> Result<(usize, Vec<u8>), RpmError> {
        let mut output = Vec::new();
        let count = normalise_header_stream(&mut &bytes[..], &mut output, 0x0102_0304)?;
        Ok((count, output))
    }

    #[test]
    fn both_times_are_set_and_nothing_else() {
        let stream = |time: &[u8], wide: &[u8]| {
            let first = header(&[
                (1007, &[9; 4]),
                (INSTALL_TIME, time),
                (INSTALL_TRANSACTION, time),
            ]);
            [first, header(&[(INSTALL_TIME, wide), (1029, &[7; 4])])].concat()
        };
        let (count, output) = normalise(&stream(&[0xff; 4], &[0xee; 8])).unwrap();
        assert_eq!(count, 2);
        assert_eq!(output, stream(&[1, 2, 3, 4], &[0, 0, 0, 0, 1, 2, 3, 4]));
        assert_eq!(
            normalise(&output).unwrap().1,
            output,
            "a second time changes nothing"
        );
    }

    #[test]
    fn damage_is_named() {
        let good = header(&[(INSTALL_TIME, &[0; 4])]);
        let text = |bytes: &[u8]| {
            let error = normalise(bytes).unwrap_err();
            format!("{error}: {}", std::error::Error::source(&error).unwrap())
        };
        insta::assert_snapshot!(text(&good[..good.len() - 1]), @"the exported rpm database is damaged: the header at byte 0 is cut off");
        insta::assert_snapshot!(text(&[good.as_slice(), b"junk"].concat()), @"the exported rpm database is damaged: byte 36 does not begin an RPM header");
        let mut large = good.clone();
        large[12..16].copy_from_slice(&u32::MAX.to_be_bytes());
        insta::assert_snapshot!(text(&large), @"the exported rpm database is damaged: the header at byte 0 says it has 4294967311 bytes; at most 268435456 are read");
        let mut outside = good.clone();
        outside[24..28].copy_from_slice(&1_u32.to_be_bytes());
        insta::assert_snapshot!(text(&outside), @"the exported rpm database is damaged: tag 1008 of the header at byte 0 is damaged");
        let mut string = good;
        string[20..24].copy_from_slice(&6_u32.to_be_bytes());
        insta::assert_snapshot!(text(&string), @"the exported rpm database is damaged: tag 1008 of the header at byte 0 is damaged");
    }

    #[test]
    fn an_empty_database_is_an_empty_stream() {
        assert_eq!(normalise(b"").unwrap(), (0, Vec::new()));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _whatever = normalise(&bytes);
        }

        #[test]
        fn random_changes_never_panic(at in 8..80_usize, value: u8) {
            let mut bytes = header(&[(1007, &[9; 4]), (INSTALL_TIME, &[1; 4]), (INSTALL_TRANSACTION, &[2; 8])]);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            if let Ok((_, output)) = normalise(&bytes) {
                prop_assert_eq!(output.len(), bytes.len());
            }
        }
    }

    /// A root with a database of two packages, which the real rpm has made.
    struct RealDatabase(tempfile::TempDir);

    impl RealDatabase {
        fn new() -> Option<Self> {
            if !crate::rpm::testing::tool("rpmdb") {
                return None;
            }
            let database = Self(tempfile::tempdir().unwrap());
            fs::create_dir(database.root()).unwrap();
            database.run("rpmdb", &["--initdb"]);
            for name in ["first", "second"] {
                let options = ["-i", "--nodeps", "--noscripts", "--nosignature", "--justdb"];
                let file = crate::rpm::testing::build_package(database.0.path(), name);
                database.run("rpm", &[&options[..], &[file.to_str().unwrap()]].concat());
            }
            Some(database)
        }

        fn root(&self) -> std::path::PathBuf {
            self.0.path().join("root")
        }

        #[expect(clippy::disallowed_methods, reason = "rpm itself is asked")]
        fn run(&self, program: &str, arguments: &[&str]) -> Vec<u8> {
            let output = std::process::Command::new(program)
                .args(["--root", self.root().to_str().unwrap()])
                .args(arguments)
                .output()
                .unwrap();
            assert!(
                output.status.success(),
                "{program}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            output.stdout
        }
    }

    #[test]
    fn a_database_of_the_real_rpm_keeps_all_but_the_times() {
        let Some(database) = RealDatabase::new() else {
            return;
        };
        let exported = database.run("rpmdb", &["--exportdb"]);
        let (count, normalised) = normalise(&exported).unwrap();
        assert_eq!((count, normalised.len()), (2, exported.len()));
        let changed = exported
            .iter()
            .zip(&normalised)
            .filter(|(before, after)| before != after)
            .count();
        assert!(
            (1..=16).contains(&changed),
            "two times of four bytes in each of two headers: {changed}"
        );
        import(&database.root(), &normalised);
        let queried = database.run(
            "rpm",
            &["-qa", "--qf", "%{NAME} %{INSTALLTIME} %{INSTALLTID}\\n"],
        );
        let mut lines: Vec<_> = std::str::from_utf8(&queried).unwrap().lines().collect();
        lines.sort_unstable();
        assert_eq!(
            lines,
            ["first 16909060 16909060", "second 16909060 16909060"]
        );
        database.run("rpm", &["-V", "--nofiles", "--nodeps", "first", "second"]);
    }

    #[test]
    fn packages_of_a_real_database_are_those_that_were_installed() {
        let Some(database) = RealDatabase::new() else {
            return;
        };
        let exported = database.run("rpmdb", &["--exportdb"]);
        let packages = read_database(&mut exported.as_slice()).unwrap();
        assert_eq!(packages.len(), 2);
        for package in packages {
            let name = package.facts.nevra.name.as_str();
            let query = ["-q", "--qf", "%{SHA256HEADER}", name];
            assert_eq!(
                database.run("rpm", &query),
                package.header.hex().into_bytes()
            );
            let file = crate::rpm::testing::build_package(database.0.path(), name);
            assert_eq!(package.facts, crate::rpm::read_package(&file).unwrap());
        }
        for cut in (1..exported.len()).step_by(101) {
            let _any_result_without_panic = read_database(&mut &exported[..cut]);
        }
    }

    /// `rpmdb --importdb` into a database made anew.
    #[expect(
        clippy::disallowed_methods,
        reason = "rpm itself reads what was written"
    )]
    fn import(root: &Path, stream: &[u8]) {
        let database = std::process::Command::new("rpm")
            .args(["--eval", "%{_dbpath}"])
            .output()
            .unwrap()
            .stdout;
        let database = std::str::from_utf8(&database)
            .unwrap()
            .trim()
            .trim_start_matches('/');
        fs::remove_dir_all(root.join(database)).unwrap();
        let mut child = std::process::Command::new("rpmdb");
        child
            .args(["--root", root.to_str().unwrap(), "--importdb"])
            .stdin(std::process::Stdio::piped());
        let mut child = child.spawn().unwrap();
        child.stdin.take().unwrap().write_all(stream).unwrap();
        assert!(child.wait().unwrap().success());
    }
}
