use std::io::Write as _;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

/// A package with a few files, as the `rpm` crate makes it.
struct Made {
    folder: tempfile::TempDir,
}

/// A file of a package: path, content, mode, owner, time.
type File<'a> = (&'a str, &'a [u8], u16, &'a str, u32);

impl Made {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn package(
        &self,
        name: &str,
        files: &[File<'_>],
        change: impl FnOnce(&mut rpm::PackageBuilder),
    ) -> PathBuf {
        let mut builder =
            rpm::PackageBuilder::new("sample", "1", "MIT", "noarch", "a package for tests");
        builder.using_config(rpm::BuildConfig::v4().source_date(1_600_000_000_u32));
        builder.build_host("builder");
        for (number, (path, content, mode, owner, _)) in files.iter().enumerate() {
            let options = rpm::FileOptions::new(*path)
                .permissions(*mode)
                .user(*owner)
                .group(*owner);
            let source = self.folder.path().join(format!("source-{number}"));
            fs_err::write(&source, content).unwrap();
            builder.with_file_contents(*content, options).unwrap();
        }
        change(&mut builder);
        let path = self.folder.path().join(format!("{name}.rpm"));
        builder.build().unwrap().write_file(&path).unwrap();
        path
    }

    fn compare(
        &self,
        first: &[File<'_>],
        second: &[File<'_>],
        conditions: &Conditions,
    ) -> Comparison {
        let (a, b) = (
            self.package("first", first, |_| {}),
            self.package("second", second, |_| {}),
        );
        let forward = packages(&a, &b, conditions).unwrap();
        let backward = packages(&b, &a, &conditions.flipped()).unwrap();
        assert_eq!(forward.verdict, backward.verdict);
        assert_eq!(
            brief(&forward).len(),
            brief(&backward).len(),
            "{:#?}\n{:#?}",
            brief(&forward),
            brief(&backward)
        );
        forward
    }
}

/// Place, kind and cause of every difference.
fn brief(comparison: &Comparison) -> Vec<String> {
    comparison
        .differences
        .iter()
        .map(|difference| {
            format!(
                "{} {}: {}",
                difference.place.join(" > "),
                difference.kind.words(),
                difference.cause.words()
            )
        })
        .collect()
}

fn file<'a>(path: &'a str, content: &'a [u8]) -> File<'a> {
    (path, content, 0o644, "root", 0)
}

fn conditions() -> Conditions {
    let side = |from: i64, host: &str| Side {
        time: Some(Span {
            from,
            to: from + 60,
        }),
        utc_offset: Some(0),
        host: Some(host.to_owned()),
        paths: vec![format!("/build/{host}")],
        umask: Some(if host == "alpha" { 0o022 } else { 0o002 }),
        directory_order: Some(
            if host == "alpha" {
                "sorted"
            } else {
                "reversed"
            }
            .to_owned(),
        ),
        ..Side::default()
    };
    Conditions {
        first: side(1_764_011_600, "alpha"),
        second: side(1_798_000_000, "omega"),
    }
}

/// The causes of two contents at one path.
fn contents(path: &str, first: &[u8], second: &[u8]) -> Vec<String> {
    let comparison =
        Made::new().compare(&[file(path, first)], &[file(path, second)], &conditions());
    assert_eq!(comparison.verdict, Verdict::Different);
    assert!(comparison.by_nature.iter().any(|difference| {
        difference.place.contains(&"PAYLOADSHA256".to_owned())
            || difference.place[0] == "signature header"
    }));
    brief(&comparison)
}

#[test]
fn a_package_is_identical_to_itself_and_to_its_twin() {
    let made = Made::new();
    let files = [
        file("/usr/bin/a", b"#!/bin/sh\n"),
        file("/usr/share/b", b"text\n"),
    ];
    let (a, b) = (
        made.package("first", &files, |_| {}),
        made.package("second", &files, |_| {}),
    );
    assert_eq!(
        packages(&a, &a, &conditions()).unwrap(),
        Comparison::identical()
    );
    assert!(packages(&a, &b, &conditions()).unwrap().is_identical());
}

#[test]
fn headers_are_compared_tag_by_tag() {
    let made = Made::new();
    let files = [file("/usr/bin/a", b"#!/bin/sh\n")];
    let a = made.package("first", &files, |builder| {
        builder
            .build_host("alpha")
            .description("made at 2025-11-24 19:13:20")
            .provides(rpm::Dependency::any("x"))
            .provides(rpm::Dependency::any("y"));
    });
    let b = made.package("second", &files, |builder| {
        builder
            .build_host("omega")
            .description("made at 2026-12-23 05:06:40")
            .provides(rpm::Dependency::any("y"))
            .provides(rpm::Dependency::any("x"));
    });
    let comparison = packages(&a, &b, &conditions()).unwrap();
    insta::assert_snapshot!(brief(&comparison).join("\n"), @r"
    header > BUILDHOST has another value: host name
    header > DESCRIPTION has another value: embedded time
    ");
    let natural: Vec<_> = comparison
        .by_nature
        .iter()
        .map(|difference| difference.place.join(" > "))
        .collect();
    insta::assert_snapshot!(natural.join("\n"), @r"
    signature header > SHA1
    signature header > SHA256
    ");
}

#[test]
fn facts_of_files_are_compared() {
    let first: [File<'_>; 3] = [
        ("/etc/a", b"x", 0o644, "root", 0),
        ("/etc/b-alpha", b"x", 0o644, "root", 0),
        ("/etc/c", b"x", 0o644, "root", 0),
    ];
    let second: [File<'_>; 3] = [
        ("/etc/a", b"x", 0o664, "daemon", 0),
        ("/etc/b-omega", b"x", 0o644, "root", 0),
        ("/etc/d", b"x", 0o644, "root", 0),
    ];
    let comparison = Made::new().compare(&first, &second, &conditions());
    insta::assert_snapshot!(brief(&comparison).join("\n"), @r"
    etc/a has other permissions: umask
    etc/a has another owner: user
    etc/b-alpha is only in the first: host name
    etc/b-omega is only in the second: host name
    etc/c is only in the first: unknown
    etc/d is only in the second: unknown
    header > RECOMMENDFLAGS is only in the second: unknown
    header > RECOMMENDNAME is only in the second: unknown
    ");
}

#[test]
fn text_is_compared_by_lines() {
    let first = b"one\nbuilt on alpha\nsame\nin /build/alpha/src\nend\n";
    let second = b"one\nbuilt on omega\nsame\nin /build/omega/src/long\nend\n";
    let comparison = Made::new().compare(
        &[file("/usr/share/t", first)],
        &[file("/usr/share/t", second)],
        &conditions(),
    );
    insta::assert_snapshot!(brief(&comparison).join("\n"), @r"
    usr/share/t has other content: host name
    usr/share/t has other content: build path
    ");
    insta::assert_json_snapshot!(comparison.differences[0], @r#"
    {
      "place": [
        "usr/share/t"
      ],
      "kind": "content",
      "evidence": {
        "offset": 13,
        "first": {
          "hex": "6f 6e 65 0a 62 75 69 6c 74 20 6f 6e 20 61 6c 70 68 61 0a 73 61 6d 65 0a 69 6e 20 2f 62 75 69 6c 64 2f 61 6c 70 68 61 2f 73 72 63 0a 65",
          "text": "one.built on alpha.same.in /build/alpha/src.e"
        },
        "second": {
          "hex": "6f 6e 65 0a 62 75 69 6c 74 20 6f 6e 20 6f 6d 65 67 61 0a 73 61 6d 65 0a 69 6e 20 2f 62 75 69 6c 64 2f 6f 6d 65 67 61 2f 73 72 63 2f 6c",
          "text": "one.built on omega.same.in /build/omega/src/l"
        },
        "lines": "@@ -1,5 +1,5 @@\n one\n-built on alpha\n+built on omega\n same\n-in /build/alpha/src\n+in /build/omega/src/long\n end\n"
      },
      "cause": "host-name",
      "because": "the first has its host name `alpha`, the second `omega`",
      "remedy": "do not write `hostname` or `uname -n` into files; set the program's own variable for it to a fixed name"
    }
    "#);
    assert_eq!(
        contents("/usr/share/list", b"a\nb\nc\nd\n", b"d\nc\nb\na\n"),
        ["usr/share/list has its entries in another order: directory order"]
    );
}

#[test]
fn compressed_files_are_looked_into() {
    let gzip = |time: u32, content: &[u8]| {
        let mut encoder = flate2::GzBuilder::new()
            .mtime(time)
            .write(Vec::new(), flate2::Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    };
    insta::assert_snapshot!(contents("/a.gz", &gzip(1_764_011_600, b"same"), &gzip(1_798_000_000, b"same")).join("\n"), @"a.gz > gzip header: time has another value: embedded time");
    insta::assert_snapshot!(contents("/a.gz", &gzip(0, b"on alpha\n"), &gzip(0, b"on omega\n")).join("\n"), @"a.gz > (decompressed) has other content: host name");
    let zstd = |content: &[u8]| zstd::encode_all(content, 3).unwrap();
    insta::assert_snapshot!(contents("/a.zst", &zstd(b"on alpha\n"), &zstd(b"on omega\n")).join("\n"), @"a.zst > (decompressed) has other content: host name");
    let xz = |content: &[u8]| {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    };
    insta::assert_snapshot!(contents("/a.xz", &xz(b"on alpha\n"), &xz(b"on omega\n")).join("\n"), @"a.xz > (decompressed) has other content: host name");
    let bz2 = |content: &[u8]| {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    };
    insta::assert_snapshot!(contents("/a.bz2", &bz2(b"on alpha\n"), &bz2(b"on omega\n")).join("\n"), @"a.bz2 > (decompressed) has other content: host name");
}

fn tar(members: &[(&str, &[u8], u64, u32)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content, mtime, mode) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mtime(*mtime);
        header.set_mode(*mode);
        header.set_uid(0);
        header.set_gid(0);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn archives_are_compared_member_by_member() {
    let first = tar(&[
        ("a", b"x", 1_764_011_600, 0o644),
        ("b", b"on alpha", 0, 0o644),
        ("c", b"z", 0, 0o644),
    ]);
    let second = tar(&[
        ("c", b"z", 0, 0o664),
        ("b", b"on omega", 0, 0o644),
        ("a", b"x", 1_798_000_000, 0o644),
    ]);
    insta::assert_snapshot!(contents("/x.tar", &first, &second).join("\n"), @r"
    x.tar has its entries in another order: directory order
    x.tar > a has another modification time: embedded time
    x.tar > b has other content: host name
    x.tar > c has other permissions: umask
    ");
    let ar = |time: u64, uid: u32| {
        let mut builder = ar::Builder::new(Vec::new());
        let mut header = ar::Header::new(b"x.o".to_vec(), 4);
        header.set_mtime(time);
        header.set_uid(uid);
        header.set_mode(0o644);
        builder.append(&header, &b"data"[..]).unwrap();
        builder.into_inner().unwrap()
    };
    insta::assert_snapshot!(contents("/x.a", &ar(1_764_011_600, 0), &ar(1_798_000_000, 0)).join("\n"), @"x.a > x.o has another modification time: embedded time");
    insta::assert_snapshot!(contents("/x.a", &ar(0, 0), &ar(0, 7)).join("\n"), @"x.a > x.o has another owner: user");
    let zip = |hour: u8, names: [&str; 2]| {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let time = zip::DateTime::from_date_and_time(2025, 11, 24, hour, 13, 20).unwrap();
        for name in names {
            writer
                .start_file(
                    name,
                    zip::write::SimpleFileOptions::default().last_modified_time(time),
                )
                .unwrap();
            writer.write_all(b"class").unwrap();
        }
        writer.finish().unwrap().into_inner()
    };
    insta::assert_snapshot!(contents("/x.jar", &zip(19, ["a", "b"]), &zip(20, ["a", "b"])).join("\n"), @r"
    x.jar > a has another modification time: embedded time
    x.jar > b has another modification time: embedded time
    ");
    insta::assert_snapshot!(contents("/x.jar", &zip(19, ["a", "b"]), &zip(19, ["b", "a"])).join("\n"), @"x.jar has its entries in another order: directory order");
}

#[test]
fn bytecode_and_pictures_are_known() {
    let code = |time: u32| {
        [
            &[0xf3, 0x0d, b'\r', b'\n', 0, 0, 0, 0][..],
            &time.to_le_bytes(),
            &[9, 0, 0, 0],
            b"marshalled",
        ]
        .concat()
    };
    insta::assert_snapshot!(contents("/usr/lib/x.pyc", &code(1_764_011_600), &code(1_798_000_000)).join("\n"), @"usr/lib/x.pyc > source's time has another value: embedded time");
    let chunk = |name: &[u8], data: &[u8]| {
        [
            &u32::try_from(data.len()).unwrap().to_be_bytes()[..],
            name,
            data,
            &crc32fast::hash(&[name, data].concat()).to_be_bytes(),
        ]
        .concat()
    };
    let png = |second: u8, text: &[u8]| {
        [
            &b"\x89PNG\r\n\x1a\n"[..],
            &chunk(b"IHDR", &[0; 13]),
            &chunk(b"tIME", &[7, 233, 11, 24, 19, 13, second]),
            &chunk(b"tEXt", text),
            &chunk(b"IEND", b""),
        ]
        .concat()
    };
    insta::assert_snapshot!(contents("/x.png", &png(1, b"host\0alpha"), &png(2, b"host\0omega")).join("\n"), @r"
    x.png > tEXt has other content: host name
    x.png > tIME has another value: embedded time
    ");
}

#[test]
fn programs_are_compared_section_by_section() {
    let program = fs_err::read(std::env::current_exe().unwrap()).unwrap();
    let file = elf::ElfBytes::<elf::endian::AnyEndian>::minimal_parse(&program).unwrap();
    let place = |name: &str| {
        usize::try_from(
            file.section_header_by_name(name)
                .unwrap()
                .unwrap()
                .sh_offset,
        )
        .unwrap()
    };
    let (comment, data) = (place(".comment"), place(".rodata"));
    let mut small = program.clone();
    small[comment..comment + 6].copy_from_slice(b"alpha\0");
    small[data..data + 13].copy_from_slice(b"/build/alpha\0");
    let mut other = small.clone();
    other[comment..comment + 6].copy_from_slice(b"omega\0");
    other[data..data + 13].copy_from_slice(b"/build/omega\0");
    let conditions = conditions();
    let mut found = found::Found::new(&conditions);
    content::compare(&found::Place::of("program"), &small, &other, &mut found);
    insta::assert_snapshot!(brief(&found.finish()).join("\n"), @r"
    program > .comment has other content: host name
    program > .rodata has other content: build path
    ");
}

#[test]
fn bombs_are_not_unpacked() {
    let bomb = |last: u8| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        for _ in 0..600 {
            encoder.write_all(&vec![0; 1 << 20]).unwrap();
        }
        encoder.write_all(&[last]).unwrap();
        encoder.finish().unwrap()
    };
    let causes = contents("/bomb.zst", &bomb(1), &bomb(2));
    assert!(
        causes[0].starts_with("bomb.zst has other content"),
        "{causes:?}"
    );
}

#[test]
fn trees_are_compared_entry_by_entry() {
    let made = Made::new();
    let package = made.package("owner", &[file("/etc/owned", b"x")], |builder| {
        builder.post_install_script("date > /etc/made-by-script\n");
    });
    let origins = Origins::read([package.as_path()]).unwrap();
    let first = tar(&[
        ("./etc/made-by-script", b"1764011600\n", 5, 0o644),
        ("./etc/owned", b"x", 5, 0o644),
        ("./etc/zz", b"", 5, 0o644),
    ]);
    let second = tar(&[
        ("./etc/made-by-script", b"1798000000\n", 5, 0o644),
        ("./etc/owned", b"y", 5, 0o600),
    ]);
    let compared = |first: &[u8], second: &[u8]| {
        trees(&mut &first[..], &mut &second[..], &origins, &conditions())
    };
    assert!(compared(&first, &first).unwrap().is_identical());
    let comparison = compared(&first, &second).unwrap();
    let lines: Vec<_> = brief(&comparison)
        .into_iter()
        .zip(&comparison.differences)
        .map(|(line, difference)| format!("{line} [{}]", difference.origin))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    /etc/made-by-script has other content: embedded time [%post of sample-1-1.noarch names it or makes it]
    /etc/owned has other permissions: unknown [the package sample-1-1.noarch]
    /etc/owned has other content: unknown [the package sample-1-1.noarch]
    /etc/zz is only in the first: unknown []
    ");
    let unsorted = tar(&[("./etc/zz", b"", 5, 0o644), ("./etc/a", b"", 5, 0o644)]);
    insta::assert_snapshot!(compared(&unsorted, &first).unwrap_err(), @"the first tree is not a canonical archive: `etc/a` comes after `etc/zz`");
}

#[test]
fn damage_is_named() {
    let made = Made::new();
    let package = made.package("first", &[file("/a", b"x")], |_| {});
    let nothing = made.folder.path().join("nothing.rpm");
    fs_err::write(&nothing, "nothing").unwrap();
    let text = |error: CompareError| {
        error
            .to_string()
            .replace(made.folder.path().to_str().unwrap(), "FOLDER")
    };
    insta::assert_snapshot!(text(packages(&package, &nothing, &conditions()).unwrap_err()), @"`FOLDER/nothing.rpm` is damaged or not an RPM package");
    let cut = made.folder.path().join("cut.rpm");
    let bytes = fs_err::read(&package).unwrap();
    fs_err::write(&cut, &bytes[..bytes.len() - 3]).unwrap();
    insta::assert_snapshot!(text(packages(&package, &cut, &conditions()).unwrap_err()), @"the payload of `FOLDER/cut.rpm` is damaged");
    insta::assert_snapshot!(text(packages(&package, &made.folder.path().join("none"), &conditions()).unwrap_err()), @"cannot read `FOLDER/none`");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn changed_bytes_never_panic(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let made = Made::new();
        let inner = tar(&[("a", b"\x7fELF\x02\x01\x01", 1, 0o644), ("b.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\0", 2, 0o600)]);
        let package = made.package("first", &[file("/a.tar", &inner), file("/b", b"text\n")], |_| {});
        let mut bytes = fs_err::read(&package).unwrap();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let other = made.folder.path().join("other.rpm");
        fs_err::write(&other, bytes).unwrap();
        if let (Ok(forward), Ok(backward)) = (packages(&package, &other, &conditions()), packages(&other, &package, &conditions().flipped())) {
            prop_assert_eq!(forward.verdict, backward.verdict);
        }
    }

    #[test]
    fn changed_contents_never_panic(which in 0..6_usize, changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let zip = {
            let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
            writer.start_file("a", zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(b"content").unwrap();
            writer.finish().unwrap().into_inner()
        };
        let samples: [Vec<u8>; 6] = [
            tar(&[("a", b"x", 1, 0o644)]),
            zip,
            zstd::encode_all(&b"some text\n"[..], 1).unwrap(),
            b"\x89PNG\r\n\x1a\n\0\0\0\x02tEXtab\0\0\0\0".to_vec(),
            b"!<arch>\nx.o/            0           0     0     644     4         `\ndata".to_vec(),
            b"\xff\xd8\xff\xe0\0\x04ab\xff\xda".to_vec(),
        ];
        let first = &samples[which];
        let mut second = first.clone();
        for (at, value) in changes {
            let at = at.index(second.len());
            second[at] = value;
        }
        let conditions = conditions();
        let mut found = found::Found::new(&conditions);
        if *first != second {
            content::compare(&found::Place::of("sample"), first, &second, &mut found);
            prop_assert!(!found.finish().differences.is_empty());
        }
    }
}
