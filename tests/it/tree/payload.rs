//! Payloads of real packages: of the host's rpmbuild, and of the library that minidistro uses.
#![expect(clippy::too_many_lines, reason = "tables of cases")]

use std::fmt::Write as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use pristine::tree::{self, TreeError};
use proptest::prelude::*;
use rpm::{BuildConfig, CompressionType, FileOptions, PackageBuilder};

use super::{archive, handle, host_has, listing, message, tool};

fn unpack(root: &Path, packages: &[PathBuf], threads: usize) -> Result<(), TreeError> {
    tree::payload::unpack_all(handle(root).as_fd(), packages, threads)
}

const SPEC: &str = r"
Name: NAME
Version: 1
Release: 1
Summary: x
License: x
BuildArch: noarch
%define _binary_payload PAYLOAD
%define __os_install_post %{nil}
%define _build_id_links none
%description
x
%install
cd %{buildroot}
umask 022
mkdir -p etc usr/bin usr/lib/deep/er var/lib/NAME usr/share/doc
printf '%%b' 'PASSWD' > etc/passwd; printf '%%b' 'GROUP' > etc/group
echo NAME > usr/bin/NAME; echo NAME > usr/bin/common
ln -s NAME usr/bin/link; ln -s usr/lib lib; ln -s /nowhere usr/bin/dangling
head -c 300000 /dev/zero | tr '\0' x > usr/lib/deep/er/NAME.big
ln usr/lib/deep/er/NAME.big usr/lib/deep/NAME.a; ln usr/lib/deep/er/NAME.big usr/bin/NAME.hard
: > usr/lib/NAME.empty; ln usr/lib/NAME.empty usr/lib/NAME.empty2
find . -exec touch -h -d @1600000000 {} +
%files
/lib
%attr(4755,root,root) /usr/bin/NAME
/usr/bin/common
/usr/bin/link
/usr/bin/dangling
%attr(2710,daemon,mail) %caps(cap_net_raw=ep) /usr/bin/NAME.hard
%attr(2710,daemon,mail) %caps(cap_net_raw=ep) /usr/lib/deep/NAME.a
%attr(2710,daemon,mail) %caps(cap_net_raw=ep) /usr/lib/deep/er/NAME.big
/usr/lib/NAME.empty
/usr/lib/NAME.empty2
%config(noreplace) /etc/passwd
%config(noreplace) /etc/group
%dir %attr(3770,mail,nosuchgroup) /var/lib/NAME
%ghost /var/lib/NAME/ghost
";

/// The accounts of the test's roots, lines joined by `\n` as printf's `%b` reads it.
const PASSWD: &str = r"root:x:0:0::/root:/bin/sh\ndaemon:x:1:1::/:/bin/sh\nmail:x:8:8::/:/bin/sh\n";
const GROUP: &str = r"root:x:0:\ndaemon:x:1:\nmail:x:8:\n";

/// Builds a package with the host's rpmbuild.
fn build(folder: &Path, name: &str, payload: &str) -> PathBuf {
    let spec = SPEC.replace("NAME", name).replace("PAYLOAD", payload);
    let spec = spec.replace("PASSWD", PASSWD).replace("GROUP", GROUP);
    fs_err::write(folder.join(format!("{name}.spec")), spec).unwrap();
    let top = format!("_topdir {}", folder.display());
    tool(
        "rpmbuild",
        &["--quiet", "-bb", "--define", &top, &format!("{name}.spec")],
        folder,
    );
    folder.join(format!("RPMS/noarch/{name}-1-1.noarch.rpm"))
}

#[test]
fn the_tree_is_rpms_own() {
    if !host_has("rpmbuild") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for payload in ["w19.zstdio", "w9.gzdio", "w2.xzdio", "w.ufdio"] {
        let package = build(folder.path(), "alpha", payload);
        let (theirs, ours) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = theirs.path().to_str().unwrap();
        // rpm looks up owners in the tables that were there before.
        fs_err::create_dir(theirs.path().join("etc")).unwrap();
        for table in ["etc/passwd", "etc/group"] {
            let content = if table == "etc/group" { GROUP } else { PASSWD };
            fs_err::write(theirs.path().join(table), content.replace("\\n", "\n")).unwrap();
        }
        tool(
            "rpm",
            &[
                "--root",
                root,
                "--dbpath",
                "/db",
                "-i",
                "--noscripts",
                "--nodeps",
                package.to_str().unwrap(),
            ],
            folder.path(),
        );
        fs_err::remove_dir_all(theirs.path().join("db")).unwrap();
        unpack(ours.path(), &[package], 2).unwrap();
        // Folders that no package has get the time of the installation from rpm.
        let lines = |root: &Path| {
            let without_time = |line: String| {
                let timed = !line.starts_with("Folder 755 0:0");
                line.split(' ')
                    .filter(|word| timed || !word.starts_with('@'))
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            listing(&archive(root))
                .into_iter()
                .skip(1)
                .map(without_time)
                .collect::<Vec<_>>()
        };
        assert_eq!(lines(ours.path()), lines(theirs.path()), "{payload}");
        let content = |root: &Path| fs_err::read(root.join("usr/bin/alpha.hard")).unwrap();
        assert!(content(ours.path()) == content(theirs.path()));
        if payload == "w9.gzdio" {
            insta::assert_debug_snapshot!(lines(ours.path()), @r#"
    [
        "Folder 755 0:0 0B etc/ ->  []",
        "File 644 0:0 @1600000000 32B etc/group ->  []",
        "File 644 0:0 @1600000000 72B etc/passwd ->  []",
        "Symlink 777 0:0 @1600000000 0B lib -> usr/lib []",
        "Folder 755 0:0 0B usr/ ->  []",
        "Folder 755 0:0 0B usr/bin/ ->  []",
        "File 4755 0:0 @1600000000 6B usr/bin/alpha ->  []",
        "File 2710 1:8 @1600000000 300000B usr/bin/alpha.hard ->  [\"security.capability\"]",
        "File 644 0:0 @1600000000 6B usr/bin/common ->  []",
        "Symlink 777 0:0 @1600000000 0B usr/bin/dangling -> /nowhere []",
        "Symlink 777 0:0 @1600000000 0B usr/bin/link -> alpha []",
        "Folder 755 0:0 0B usr/lib/ ->  []",
        "File 644 0:0 @1600000000 0B usr/lib/alpha.empty ->  []",
        "HardLink 644 0:0 @1600000000 0B usr/lib/alpha.empty2 -> usr/lib/alpha.empty []",
        "Folder 755 0:0 0B usr/lib/deep/ ->  []",
        "HardLink 2710 1:8 @1600000000 0B usr/lib/deep/alpha.a -> usr/bin/alpha.hard []",
        "Folder 755 0:0 0B usr/lib/deep/er/ ->  []",
        "HardLink 2710 1:8 @1600000000 0B usr/lib/deep/er/alpha.big -> usr/bin/alpha.hard []",
        "Folder 755 0:0 0B var/ ->  []",
        "Folder 755 0:0 0B var/lib/ ->  []",
        "Folder 1770 8:0 @1600000000 0B var/lib/alpha/ ->  []",
    ]
    "#);
        }
    }
}

#[test]
fn a_plain_package_is_the_same_package() {
    if !host_has("rpmbuild") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (payload, made) in [
        ("w19.zstdio", true),
        ("w9.gzdio", false),
        ("w.ufdio", false),
    ] {
        let package = build(folder.path(), "alpha", payload);
        let original = fs_err::read(&package).unwrap();
        let mut bytes = Vec::new();
        assert_eq!(
            tree::payload::write_plain(&original[..], &mut bytes).unwrap(),
            made
        );
        if !made {
            assert!(bytes.is_empty(), "{payload}");
            continue;
        }
        assert!(bytes != original, "nothing was changed");
        let plain = folder.path().join("plain.rpm");
        fs_err::write(&plain, &bytes).unwrap();
        let unpacked = |package: &PathBuf| {
            let root = tempfile::tempdir().unwrap();
            unpack(root.path(), std::slice::from_ref(package), 1).unwrap();
            archive(root.path())
        };
        assert!(unpacked(&plain) == unpacked(&package));
        let header = |package: &Path| {
            let words = ["-qp", "--nosignature", "--nodigest", "--xml"];
            let output = std::process::Command::new("rpm")
                .args(words)
                .arg(package)
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(header(&plain), header(&package));
        // Cut short anywhere, it is an error and not a shorter package.
        for length in [50, 1000, original.len() - 1] {
            assert!(
                tree::payload::write_plain(&original[..length], &mut Vec::new()).is_err(),
                "{length}"
            );
        }
    }
}

#[test]
fn the_result_does_not_depend_on_threads_and_the_later_package_wins() {
    if !host_has("rpmbuild") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let packages: Vec<PathBuf> = ["alpha", "beta", "gamma", "delta", "eps"]
        .iter()
        .map(|name| build(folder.path(), name, "w3.zstdio"))
        .collect();
    let mut trees = Vec::new();
    for threads in [1, 2, 5, 16] {
        let root = tempfile::tempdir().unwrap();
        fs_err::set_permissions(
            root.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
        unpack(root.path(), &packages, threads).unwrap();
        assert_eq!(
            fs_err::read_to_string(root.path().join("usr/bin/common")).unwrap(),
            "eps\n"
        );
        trees.push(archive(root.path()));
    }
    assert!(trees.iter().all(|tree| *tree == trees[0]));
}

/// A package made by the library, with whatever names are asked for.
fn package(folder: &Path, name: &str, files: Vec<Made>) -> PathBuf {
    let config = BuildConfig::default()
        .compression(CompressionType::None)
        .source_date(1_600_000_000);
    let mut builder = PackageBuilder::new(name, "1", "x", "noarch", "x");
    builder.using_config(config);
    for file in files {
        match file {
            File(path, content) => builder
                .with_file_contents(content, FileOptions::new(path))
                .unwrap(),
            Link(path, target) => builder
                .with_symlink(FileOptions::symlink(path, target))
                .unwrap(),
            Folder(path) => builder.with_dir_entry(FileOptions::dir(path)).unwrap(),
        };
    }
    let path = folder.join(format!("{name}.rpm"));
    builder.build().unwrap().write_file(&path).unwrap();
    path
}

enum Made {
    File(&'static str, &'static str),
    Link(&'static str, &'static str),
    Folder(&'static str),
}

use Made::{File, Folder, Link};

#[test]
fn links_of_the_tree_lead_to_merged_folders() {
    let folder = tempfile::tempdir().unwrap();
    let first = package(
        folder.path(),
        "first",
        vec![
            File("/lib/early", "1"),
            Folder("/lib/folder"),
            File("/bin/deep/x", "x"),
        ],
    );
    let links = package(
        folder.path(),
        "links",
        vec![
            Link("/lib", "usr/lib"),
            Link("/bin", "/usr/bin"),
            Link("/usr/lib/up", "../share"),
        ],
    );
    let last = package(
        folder.path(),
        "last",
        vec![
            File("/lib/late", "2"),
            File("/usr/lib/folder/y", "y"),
            File("/lib/up/z", "z"),
        ],
    );
    let root = tempfile::tempdir().unwrap();
    unpack(root.path(), &[first, links, last], 2).unwrap();
    let names: Vec<String> = listing(&archive(root.path()))
        .iter()
        .map(|line| {
            line.split(' ')
                .skip(5)
                .take(3)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    insta::assert_debug_snapshot!(names, @r#"
    [
        "./ -> ",
        "bin -> /usr/bin",
        "lib -> usr/lib",
        "usr/ -> ",
        "usr/bin/ -> ",
        "usr/bin/deep/ -> ",
        "usr/bin/deep/x -> ",
        "usr/lib/ -> ",
        "usr/lib/early -> ",
        "usr/lib/folder/ -> ",
        "usr/lib/folder/y -> ",
        "usr/lib/late -> ",
        "usr/lib/up -> ../share",
        "usr/share/ -> ",
        "usr/share/z -> ",
    ]
    "#);
}

/// Replaces every `from` in a package's bytes, which digests of the file would notice.
fn forge(package: &Path, replacements: &[(&str, &str)]) {
    let mut bytes = fs_err::read(package).unwrap();
    for (from, to) in replacements {
        assert_eq!(from.len(), to.len());
        let mut found = false;
        for at in 0..bytes.len() - from.len() {
            if bytes[at..].starts_with(from.as_bytes()) {
                bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
                found = true;
            }
        }
        assert!(found, "{from}");
    }
    fs_err::write(package, bytes).unwrap();
}

/// Makes the packages of a case.
type Make<'a> = Box<dyn Fn() -> Vec<PathBuf> + 'a>;

#[test]
fn hostile_packages_are_refused_and_nothing_outside_changes() {
    let top = tempfile::tempdir().unwrap();
    fs_err::write(top.path().join("evil"), b"old").unwrap();
    let one = |forged: &[(&str, &str)]| {
        let path = package(
            top.path(),
            "p",
            vec![File("/aa/evil", "new"), File("/bb/good", "good")],
        );
        forge(&path, forged);
        vec![path]
    };
    let truncated = |keep: usize| {
        let paths = one(&[]);
        let mut bytes = fs_err::read(&paths[0]).unwrap();
        let length = bytes.len();
        bytes.truncate(if keep == 0 { length - 30 } else { keep });
        fs_err::write(&paths[0], bytes).unwrap();
        paths
    };
    let edit = |at: usize, value: &[u8]| {
        let paths = one(&[]);
        let mut bytes = fs_err::read(&paths[0]).unwrap();
        bytes[at..at + value.len()].copy_from_slice(value);
        fs_err::write(&paths[0], bytes).unwrap();
        paths
    };
    let cases: Vec<(&str, Make<'_>)> = vec![
        (
            "parent in the payload",
            Box::new(|| one(&[("./aa/evil", "../..//ev")])),
        ),
        (
            "parent in the header",
            Box::new(|| one(&[("/aa/\0", "/../\0")])),
        ),
        (
            "not in the header",
            Box::new(|| one(&[("./aa/evil", "./aa/more")])),
        ),
        (
            "twice in the payload",
            Box::new(|| one(&[("./bb/good", "./aa/evil")])),
        ),
        (
            "link outside",
            Box::new(|| {
                vec![package(
                    top.path(),
                    "p",
                    vec![Link("/l", "../../.."), File("/l/evil", "new")],
                )]
            }),
        ),
        (
            "link outside, of another package",
            Box::new(|| {
                vec![
                    package(top.path(), "p", vec![File("/l/evil", "new")]),
                    package(top.path(), "q", vec![Link("/l", "../x")]),
                ]
            }),
        ),
        (
            "links in a circle",
            Box::new(|| {
                vec![package(
                    top.path(),
                    "p",
                    vec![Link("/l", "m"), Link("/m", "l"), File("/l/evil", "new")],
                )]
            }),
        ),
        (
            "file and folder",
            Box::new(|| {
                vec![
                    package(top.path(), "p", vec![File("/l", "new")]),
                    package(top.path(), "q", vec![Folder("/l")]),
                ]
            }),
        ),
        (
            "file and folder below",
            Box::new(|| {
                vec![
                    package(top.path(), "p", vec![File("/l", "new")]),
                    package(top.path(), "q", vec![File("/l/x", "x")]),
                ]
            }),
        ),
        ("cut short in the payload", Box::new(|| truncated(0))),
        ("cut short in the header", Box::new(|| truncated(500))),
        ("empty", Box::new(|| truncated(1))),
        ("not a package", Box::new(|| edit(0, b"PK"))),
        (
            "too many header entries",
            Box::new(|| edit(96 + 8, &u32::MAX.to_be_bytes())),
        ),
        (
            "too large a header",
            Box::new(|| edit(96 + 12, &u32::MAX.to_be_bytes())),
        ),
        (
            "header entry outside",
            Box::new(|| edit(96 + 16 + 8, &0x00ff_ffff_u32.to_be_bytes())),
        ),
        (
            "header entry with too many items",
            Box::new(|| edit(96 + 16 + 12, &0x7fff_ffff_u32.to_be_bytes())),
        ),
        ("missing", Box::new(|| vec![top.path().join("none.rpm")])),
        ("cpio magic", Box::new(|| one(&[("070701", "070799")]))),
    ];
    let mut outcomes = String::new();
    for (name, make) in cases {
        let packages = make();
        let root = tempfile::tempdir_in(top.path()).unwrap();
        let outcome = unpack(root.path(), &packages, 2)
            .map_or_else(|error| message(&error), |()| "accepted".to_owned());
        writeln!(
            outcomes,
            "{name}: {}",
            outcome.replace(&top.path().display().to_string(), "TOP")
        )
        .unwrap();
        assert_eq!(fs_err::read(top.path().join("evil")).unwrap(), b"old");
    }
    insta::assert_snapshot!(outcomes, @r"
    parent in the payload: refused entry `../..//ev` of package `TOP/p.rpm`: its name leads outside through `..`
    parent in the header: refused entry `/../evil` of package `TOP/p.rpm`: its name leads outside through `..`
    not in the header: refused entry `./aa/more` of package `TOP/p.rpm`: the package's header does not list it
    twice in the payload: refused entry `./aa/evil` of package `TOP/p.rpm`: the payload has it twice
    link outside: refused entry `l/evil` of package `TOP/p.rpm`: a link in its name leads outside of the tree
    link outside, of another package: refused entry `l/evil` of package `TOP/p.rpm`: a link in its name leads outside of the tree
    links in a circle: refused entry `l/evil` of package `TOP/p.rpm`: the links in its name lead in a circle
    file and folder: refused entry `l` of package `TOP/p.rpm`: package `TOP/q.rpm` has a folder there
    file and folder below: refused entry `l` of package `TOP/p.rpm`: another package has files below it
    cut short in the payload: damaged package `TOP/p.rpm`: its payload is cut short
    cut short in the header: damaged package `TOP/p.rpm`: the header at byte 96 is cut off
    empty: damaged package `TOP/p.rpm`: it does not begin as an RPM package does
    not a package: damaged package `TOP/p.rpm`: it does not begin as an RPM package does
    too many header entries: damaged package `TOP/p.rpm`: the header at byte 96 says it has 68719480976 bytes; at most 268435456 are read
    too large a header: damaged package `TOP/p.rpm`: the header at byte 96 says it has 4294967375 bytes; at most 268435456 are read
    header entry outside: damaged package `TOP/p.rpm`: tag 62 of the header at byte 96 is damaged
    header entry with too many items: damaged package `TOP/p.rpm`: tag 62 of the header at byte 96 is damaged
    missing: damaged package `TOP/none.rpm`: failed to open file `TOP/none.rpm`: No such file or directory (os error 2)
    cpio magic: damaged package `TOP/p.rpm`: its payload: an entry does not begin as one
    ");
}

/// Writes `bytes` as a package and unpacks it; whatever they are, this must not panic.
fn unpack_bytes(folder: &Path, bytes: &[u8]) -> Result<(), TreeError> {
    let path = folder.join("damaged.rpm");
    fs_err::write(&path, bytes).unwrap();
    let root = tempfile::tempdir_in(folder).unwrap();
    unpack(root.path(), &[path], 1)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_packages_never_panic_nor_change_what_is_outside(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        length in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let top = tempfile::tempdir().unwrap();
        let path = package(top.path(), "p", vec![File("/aa/evil", "new"), Link("/l", "aa"), File("/l/good", "good")]);
        let mut bytes = fs_err::read(path).unwrap();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if cut {
            bytes.truncate(length.index(bytes.len()));
        }
        fs_err::create_dir(top.path().join("trees")).unwrap();
        let _either = unpack_bytes(&top.path().join("trees"), &bytes);
        let mut names: Vec<_> = fs_err::read_dir(top.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        prop_assert_eq!(names, ["p.rpm", "trees"]);
    }
}
