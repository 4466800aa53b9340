//! Repositories written, read again, and read by dnf.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::*;
use crate::rpm::testing::{build_package, tool};

/// A repository of two packages in `packages/`.
fn repository(folder: &Path) -> Vec<PathBuf> {
    std::fs::create_dir_all(folder.join("packages")).unwrap();
    let names = ["first", "second"];
    names
        .iter()
        .map(|name| {
            build_package(&folder.join("packages"), name);
            Path::new("packages").join(format!("{name}.rpm"))
        })
        .collect()
}

fn record(folder: &Path, kind: &str) -> PathBuf {
    let repomd = Repomd::parse(
        &fs_err::read(folder.join("repodata/repomd.xml")).unwrap(),
        "repomd.xml",
    )
    .unwrap();
    folder.join(&repomd.records[kind].location)
}

fn entries(primary: &Path) -> Result<Vec<PackageEntry>, RepositoryError> {
    let mut entries = Vec::new();
    read_primary(primary, "base/primary.xml", |entry| entries.push(entry))?;
    Ok(entries)
}

#[test]
fn what_is_written_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let packages = repository(folder.path());
    write(folder.path(), &packages, 1_600_000_000).unwrap();
    let entries = entries(&record(folder.path(), "primary")).unwrap();
    assert_eq!(entries.len(), 2);
    let entry = &entries[0];
    let file = fs_err::read(folder.path().join("packages/first.rpm")).unwrap();
    assert_eq!(entry.location, "packages/first.rpm");
    assert_eq!(entry.size, file.len() as u64);
    assert_eq!(
        entry.checksum.sha256(),
        Some(crate::digest::Digest::of(&file))
    );
    let mut from_header =
        crate::rpm::read_package(&folder.path().join("packages/first.rpm")).unwrap();
    // Repository metadata leaves out what only rpm itself can answer, and keeps its own order.
    from_header
        .requires
        .retain(|requirement| !requirement.dependency.is_rpmlib());
    // And these are not asked of it.
    (from_header.summary, from_header.installed_size) = (String::new(), 0);
    assert_eq!(entry.facts, from_header);
}

#[test]
fn the_same_packages_give_the_same_bytes_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut packages = repository(folder.path());
    let first = write(folder.path(), &packages, 1_600_000_000).unwrap();
    assert_eq!(
        first,
        crate::digest::Digest::of(
            &fs_err::read(folder.path().join("repodata/repomd.xml")).unwrap()
        )
    );
    packages.reverse();
    assert_eq!(
        write(folder.path(), &packages, 1_600_000_000).unwrap(),
        first
    );
    assert_ne!(
        write(folder.path(), &packages, 1_600_000_001).unwrap(),
        first
    );
    let mut left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["packages", "repodata"], "nothing old stays behind");
}

#[test]
fn packages_are_added_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let packages = repository(folder.path());
    let mut writer = Writer::new(folder.path(), 7);
    writer.write().unwrap();
    assert_eq!(entries(&record(folder.path(), "primary")).unwrap().len(), 0);
    for (count, package) in packages.iter().enumerate() {
        writer.add(package).unwrap();
        writer.add(package).unwrap();
        writer.update().unwrap();
        assert_eq!(
            entries(&record(folder.path(), "primary")).unwrap().len(),
            count + 1
        );
    }
    // What grew piece by piece says the same, to the byte, as what is written in one go.
    let grown = ["primary", "filelists", "other"].map(|kind| plain(folder.path(), kind));
    let at_once = write(folder.path(), &packages, 7).unwrap();
    assert_eq!(writer.write().unwrap(), at_once);
    let whole = ["primary", "filelists", "other"].map(|kind| plain(folder.path(), kind));
    assert_eq!(grown, whole);
}

#[test]
fn what_is_no_package_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("x")).unwrap();
    std::fs::File::create(folder.path().join("x/empty.rpm")).unwrap();
    let error = |path: &str| {
        write(folder.path(), &[path.into()], 0)
            .unwrap_err()
            .to_string()
            .replace(folder.path().to_str().unwrap(), "REPO")
    };
    insta::assert_snapshot!(error("x/empty.rpm"), @"cannot put `REPO/x/empty.rpm` into the repository: `REPO/x/empty.rpm` is damaged or not an RPM package: it does not begin as an RPM package does");
    insta::assert_snapshot!(error("x/none.rpm"), @"cannot put `REPO/x/none.rpm` into the repository: cannot read the package `REPO/x/none.rpm`: No such file or directory (os error 2)");
    insta::assert_snapshot!(error("../x.rpm"), @"`the repository` names the location `../x.rpm`: only a relative path below the repository is used");
}

#[test]
fn files_are_found_by_path() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &repository(folder.path()), 7).unwrap();
    let wanted = ["/usr/bin/first.sh", "/usr/bin/none"]
        .map(str::to_owned)
        .into();
    let found = find_files(&record(folder.path(), "filelists"), "filelists", &wanted).unwrap();
    let first = &entries(&record(folder.path(), "primary")).unwrap()[0];
    assert_eq!(
        found.into_iter().collect::<Vec<_>>(),
        [(first.id.clone(), vec!["/usr/bin/first.sh".to_owned()])]
    );
}

/// The metadata `kind` of a repository, decompressed.
fn plain(folder: &Path, kind: &str) -> Vec<u8> {
    zstd::decode_all(fs_err::read(record(folder, kind)).unwrap().as_slice()).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a damaged file for a test")]
fn damaged_file(folder: &Path, bytes: &[u8]) -> PathBuf {
    let path = folder.join("damaged");
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn metadata_is_read_however_it_is_compressed() {
    use std::io::Write as _;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &repository(folder.path()), 7).unwrap();
    let text = plain(folder.path(), "primary");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&text).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&text).unwrap();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&text).unwrap();
    let zstd = zstd::encode_all(text.as_slice(), 1).unwrap();
    let [gzip, xz, bzip2] = [gzip.finish(), xz.finish(), bzip2.finish()].map(Result::unwrap);
    for bytes in [text, gzip, xz, bzip2, zstd] {
        assert_eq!(
            entries(&damaged_file(folder.path(), &bytes)).unwrap().len(),
            2
        );
        // Cut anywhere, it is an error that names the file.
        for cut in (0..bytes.len() - 12).step_by(bytes.len() / 97 + 1) {
            let error = entries(&damaged_file(folder.path(), &bytes[..cut]))
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with("`base/primary.xml` is damaged"),
                "{error}"
            );
        }
    }
    let text = plain(folder.path(), "filelists");
    for cut in (0..text.len() - 12).step_by(7) {
        let path = damaged_file(folder.path(), &text[..cut]);
        assert!(
            find_files(&path, "filelists", &BTreeSet::new()).is_err(),
            "cut at {cut}"
        );
    }
}

#[test]
fn damaged_and_dangerous_metadata_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &repository(folder.path()), 7).unwrap();
    let text = String::from_utf8(plain(folder.path(), "primary")).unwrap();
    let error = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        entries(&damaged_file(
            folder.path(),
            text.replacen(from, to, 1).as_bytes(),
        ))
        .unwrap_err()
        .to_string()
    };
    insta::assert_snapshot!(error("<checksum type=\"sha256\"", "<checksum type=\"sha1\""), @"`base/primary.xml` gives for `first-1.2~rc1-3.x86_64` only the checksum type `sha1`: sha256 or sha512 is needed");
    insta::assert_snapshot!(error("href=\"packages/first.rpm\"", "href=\"../../first.rpm\""), @"`base/primary.xml` names the location `../../first.rpm`: only a relative path below the repository is used");
    insta::assert_snapshot!(error("href=\"packages/first.rpm\"", "xml:base=\"http://x/\" href=\"first.rpm\""), @"`base/primary.xml` is damaged or not repository metadata: `first.rpm` has a base address of its own, which is not supported");
    insta::assert_snapshot!(error("<name>first</name>", "<name>../first</name>"), @"`base/primary.xml` is damaged or not repository metadata: the package `../first-1.2~rc1-3.x86_64` has a name that no package can have");
    insta::assert_snapshot!(error("epoch=\"1\"", "epoch=\"one\""), @"`base/primary.xml` is damaged or not repository metadata: the package `first-1.2~rc1-3.x86_64` has no usable epoch");
    insta::assert_snapshot!(error("<size ", "<sise "), @"`base/primary.xml` is damaged or not repository metadata: the package `first-1.2~rc1-3.x86_64` has no size");
    insta::assert_snapshot!(error("</name>", "</nome>"), @"`base/primary.xml` is damaged or not repository metadata: ill-formed document: expected `</name>`, but `</nome>` was found");
    insta::assert_snapshot!(error(" packages=\"2\"", ""), @"`base/primary.xml` is damaged or not repository metadata: it does not say how many packages it has");
    insta::assert_snapshot!(error("flags=\"EQ\"", "flags=\"NE\""), @"`base/primary.xml` is damaged or not repository metadata: `NE` is not a comparison");
    insta::assert_snapshot!(entries(&folder.path().join("none")).unwrap_err().to_string().replace(folder.path().to_str().unwrap(), "REPO"), @"cannot read `REPO/none`");
}

#[test]
fn an_element_that_never_ends_is_an_error() {
    // Their parsers would wait for the end for ever.
    let corpus = Path::new("tests/it/fixtures/corpus");
    let read = |name: &str| fs_err::read(corpus.join(name)).unwrap();
    let primary = read_primary(&corpus.join("primary-no-end.xml"), "primary", drop);
    let repomd = Repomd::parse(&read("repomd-no-end.xml"), "repomd");
    let comps = crate::repository::Comps::parse(&read("comps-no-end.xml"), "comps");
    assert!(read_primary(&corpus.join("primary-open-tag.xml"), "primary", drop).is_err());
    assert!(crate::repository::Comps::parse(&read("comps-open-tag.xml"), "comps").is_err());
    insta::assert_snapshot!(primary.unwrap_err(), @"`primary` is damaged or not repository metadata: it ends before `</metadata>`");
    insta::assert_snapshot!(repomd.unwrap_err(), @"`repomd` is damaged or not repository metadata: ill-formed document: expected `</x</repomd>`, but `</the-end-of-the-file>` was found");
    insta::assert_snapshot!(comps.unwrap_err(), @"`comps` is damaged or not repository metadata: ill-formed document: expected `</x</comps>`, but `</the-end-of-the-file>` was found");
}

#[test]
fn dnf_reads_it() {
    if !tool("dnf") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let packages = repository(folder.path());
    write(folder.path(), &packages, 1_600_000_000).unwrap();
    assert_eq!(
        required_by_first(folder.path()),
        ["(a if b else c)", "needed >= 1:1-1", "shadow"]
    );
    // It is read the same while it grows.
    let mut writer = Writer::new(folder.path(), 1_600_000_000);
    for package in &packages {
        writer.add(package).unwrap();
    }
    writer.update().unwrap();
    assert_eq!(
        required_by_first(folder.path()),
        ["(a if b else c)", "needed >= 1:1-1", "shadow"]
    );
}

/// What dnf reads in a repository of what `first` requires, sorted.
#[expect(
    clippy::disallowed_methods,
    reason = "dnf is one of those who read the repository"
)]
fn required_by_first(folder: &Path) -> Vec<String> {
    let root = tempfile::tempdir().unwrap();
    let output = std::process::Command::new("dnf")
        .args([
            "-q",
            "--installroot",
            root.path().to_str().unwrap(),
            "--releasever",
            "1",
            "--setopt=cachedir=/cache",
            "--setopt=reposdir=/none",
        ])
        .arg(format!("--repofrompath=own,file://{}", folder.display()))
        .args([
            "--repo",
            "own",
            "repoquery",
            "--requires",
            "--qf",
            "%{nevra}",
            "first",
        ])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines: BTreeSet<_> = std::str::from_utf8(&output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    lines.into_iter().collect()
}
