//! Hostile lists of packages and of files: refused with the name of the file, whichever way they are hostile.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::digest::Digest;

const PRIMARY: &str = r#"<metadata packages="1"><package type="rpm"><name>a</name><arch>noarch</arch>
<version epoch="0" ver="1" rel="1"/><checksum type="sha256" pkgid="YES">SUM</checksum><summary>a</summary><time file="1" build="1"/>
<size package="1" installed="1" archive="1"/><location href="a.rpm"/><format><rpm:provides><rpm:entry name="a"/></rpm:provides>
<file>/usr/bin/a</file></format></package></metadata>"#;
const FILELISTS: &str = r#"<filelists packages="1"><package pkgid="SUM" name="a" arch="noarch"><version epoch="0" ver="1" rel="1"/>
<file>/usr/bin/a</file></package></filelists>"#;
const REPOMD: &str = r#"<repomd><revision>1</revision><data type="primary"><checksum type="sha256">SUM</checksum>
<location href="repodata/primary.xml"/><timestamp>1</timestamp><size>1</size></data></repomd>"#;

fn whole(text: &str) -> String {
    text.replace("SUM", &"a".repeat(64))
}

/// What is wrong with a document in which `from` became `to`, beside the name of the file. The document itself is read.
fn refused(
    document: &str,
    (from, to): (&str, &[u8]),
    read: impl Fn(&[u8]) -> Result<(), RepositoryError>,
) -> String {
    let text = whole(document);
    read(text.as_bytes()).unwrap();
    let (before, after) = text.split_once(from).unwrap();
    let bytes = [before.as_bytes(), to, after.as_bytes()].concat();
    let error = read(&bytes).expect_err(from).to_string();
    assert!(error.starts_with("`the file` "), "{error}");
    let shown = error.strip_prefix("`the file` is damaged or not repository metadata: ");
    shown.unwrap_or(&error).to_owned()
}

#[expect(clippy::disallowed_methods, reason = "a hostile file for a test")]
fn from_file(
    bytes: &[u8],
    read: impl Fn(&Path) -> Result<(), RepositoryError>,
) -> Result<(), RepositoryError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, bytes).unwrap();
    read(&path)
}

fn primary(from: &str, to: &[u8]) -> String {
    refused(PRIMARY, (from, to), |bytes| {
        from_file(bytes, |path| {
            let quick = read_primary(path, "the file", drop);
            let plain = read_primary_plainly(path, "the file", drop);
            let index = index_primary(path, &Digest::of(bytes), "the file");
            let words =
                |error: Option<&RepositoryError>| error.map(std::string::ToString::to_string);
            assert_eq!(words(quick.as_ref().err()), words(plain.as_ref().err()));
            assert_eq!(words(quick.as_ref().err()), words(index.as_ref().err()));
            quick.map(drop)
        })
    })
}

fn filelists(from: &str, to: &[u8]) -> String {
    let wanted = BTreeSet::from(["/usr/bin/a".to_owned()]);
    refused(FILELISTS, (from, to), |bytes| {
        from_file(bytes, |path| {
            find_files(path, "the file", &wanted).map(drop)
        })
    })
}

fn repomd(from: &str, to: &[u8]) -> String {
    refused(REPOMD, (from, to), |bytes| {
        Repomd::parse(bytes, "the file").map(drop)
    })
}

/// Elements inside each other.
fn deep() -> Vec<u8> {
    "<x>".repeat(1_000_000).into_bytes()
}

#[test]
fn hostile_lists_of_packages_are_refused() {
    let told = [
        primary("packages=\"1\"", b"packages=\"99999999999999999999\""),
        primary("packages=\"1\"", b"packages=\"-1\""),
        primary("package=\"1\"", b"package=\"-1\""),
        primary("installed=\"1\"", b"installed=\"99999999999999999999\""),
        primary("build=\"1\"", b"build=\"-1\""),
        primary("epoch=\"0\"", b"epoch=\"4294967296\""),
        primary("<name>a", b"<name>\xff"),
        primary("name=\"a\"", b"name=\"\xff\""),
        primary("<name>a", b"<name>&bomb;"),
        primary(
            "<metadata",
            b"<!DOCTYPE x [<!ENTITY bomb \"&bomb;&bomb;\">]><metadata",
        ),
        primary("a.rpm", b"/etc/passwd"),
        primary("a.rpm", b"a/%2e%2e/%2e%2e/b.rpm"),
        primary("<format>", &deep()),
        primary("</package>", b""),
    ];
    insta::assert_snapshot!(told.join("\n"), @"
    `99999999999999999999` is not a number that it can have
    `-1` is not a number that it can have
    `-1` is not a number that it can have
    `99999999999999999999` is not a number that it can have
    `-1` is not a number that it can have
    the package `a-1-1.noarch` has no usable epoch
    cannot decode input using UTF-8: invalid utf-8 sequence of 1 bytes from index 0
    cannot decode input using UTF-8: invalid utf-8 sequence of 1 bytes from index 17
    at 1..5: unrecognized entity `bomb`
    it does not begin as a list of packages does
    `the file` names the location `/etc/passwd`: only a relative path below the repository is used
    `the file` names the location `a/%2e%2e/%2e%2e/b.rpm`: only a relative path below the repository is used
    ill-formed document: expected `</x>`, but `</format>` was found
    ill-formed document: expected `</package>`, but `</metadata>` was found
    ");
    // Nothing is kept of what never ends.
    let long = whole(PRIMARY).replace("</package>", &"x".repeat(20 << 20));
    let read = |path: &Path| read_primary(path, "the file", drop).map(drop);
    let told = from_file(long.as_bytes(), read).unwrap_err();
    insta::assert_snapshot!(told, @"`the file` is damaged or not repository metadata: it has a package that is too long");
}

#[test]
fn hostile_lists_of_files_are_refused() {
    let told = [
        filelists("packages=\"1\"", b"packages=\"99999999999999999999\""),
        filelists("packages=\"1\"", b"packages=\"-1\""),
        filelists("/usr/bin/a", b"/usr/bin/\xff"),
        filelists("/usr/bin/a", b"/usr/bin/&bomb;"),
        filelists("<file>", &deep()),
        filelists("/usr/bin/a", &vec![b'x'; 20 << 20]),
        filelists("</package>", b""),
    ];
    insta::assert_snapshot!(told.join("\n"), @"
    number too large to fit in target type
    invalid digit found in string
    cannot decode input using UTF-8: invalid utf-8 sequence of 1 bytes from index 9
    at 10..14: unrecognized entity `bomb`
    I/O error: its elements are nested too deeply
    I/O error: it has an element with too much text
    ill-formed document: expected `</package>`, but `</filelists>` was found
    ");
}

#[test]
fn hostile_lists_of_metadata_are_refused() {
    let told = [
        repomd("<size>1", b"<size>-1"),
        repomd("<size>1", b"<size>99999999999999999999"),
        repomd("repodata/primary.xml", b"../../etc/passwd"),
        repomd("<revision>1", b"<revision>\xff"),
        repomd("<revision>1", b"<revision>&bomb;"),
        repomd("<revision>", &deep()),
        repomd("<revision>1", &vec![b'x'; 20 << 20]),
    ];
    insta::assert_snapshot!(told.join("\n"), @"
    invalid digit found in string
    number too large to fit in target type
    `the file` names the location `../../etc/passwd`: only a relative path below the repository is used
    cannot decode input using UTF-8: invalid utf-8 sequence of 1 bytes from index 0
    at 1..5: unrecognized entity `bomb`
    I/O error: its elements are nested too deeply
    I/O error: it has an element with too much text
    ");
}
