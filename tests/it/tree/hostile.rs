//! Archives that must not do harm: each is refused with a message, and nothing outside changes.
#![expect(clippy::too_many_lines, reason = "tables of cases")]

use std::fmt::Write as _;
use std::path::Path;

use proptest::prelude::*;
use tar::{EntryType, Header};

use super::{apply, archive, listing, message};

/// A raw archive: what is given, whatever the rules say.
#[derive(Default)]
pub(crate) struct Raw(Vec<u8>);

impl Raw {
    pub(crate) fn entry(
        mut self,
        kind: EntryType,
        name: &[u8],
        link: &[u8],
        content: &[u8],
    ) -> Self {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &str) -> Self {
        self.entry(EntryType::Regular, name.as_bytes(), b"", b"new\n")
    }

    pub(crate) fn folder(self, name: &str) -> Self {
        self.entry(EntryType::Directory, name.as_bytes(), b"", b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, name.as_bytes(), target.as_bytes(), b"")
    }

    fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Link, name.as_bytes(), target.as_bytes(), b"")
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut content = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let digits = (1..9)
                .find(|digits| (rest + digits).to_string().len() == *digits)
                .unwrap();
            content.extend_from_slice(format!("{} {key}=", rest + digits).as_bytes());
            content.extend_from_slice(value);
            content.push(b'\n');
        }
        self.entry(EntryType::XHeader, b"pax", b"", &content)
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// A folder with the tree in it, and beside it things that no archive may change.
struct Place {
    top: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let top = tempfile::tempdir().unwrap();
        fs_err::create_dir(top.path().join("root")).unwrap();
        fs_err::create_dir(top.path().join("outside")).unwrap();
        fs_err::write(top.path().join("outside/file"), b"old\n").unwrap();
        fs_err::write(top.path().join("file"), b"old\n").unwrap();
        Self { top }
    }

    fn root(&self) -> std::path::PathBuf {
        self.top.path().join("root")
    }

    /// Everything beside the tree.
    fn outside(&self) -> Vec<u8> {
        let mut text = String::new();
        let mut beside: Vec<_> = fs_err::read_dir(self.top.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        beside.sort();
        writeln!(text, "{beside:?}").unwrap();
        for line in listing(&archive(&self.top.path().join("outside"))) {
            writeln!(text, "{line}").unwrap();
        }
        for file in ["outside/file", "file"] {
            text.push_str(&fs_err::read_to_string(self.top.path().join(file)).unwrap());
        }
        text.into_bytes()
    }
}

fn attempt(tar: &[u8]) -> String {
    let place = Place::new();
    let before = place.outside();
    let outcome =
        apply(&place.root(), tar).map_or_else(|error| message(&error), |()| "accepted".to_owned());
    assert_eq!(
        String::from_utf8(before).unwrap(),
        String::from_utf8(place.outside()).unwrap()
    );
    outcome.replace(&place.top.path().display().to_string(), "TOP")
}

#[test]
fn hostile_archives_are_refused_and_nothing_outside_changes() {
    let long = "x/".repeat(2100);
    let component = "y".repeat(256);
    let many = vec![b'z'; 2 << 20];
    let mut cut = Raw::default().file("whole").end();
    cut.truncate(700);
    let mut no_end = Raw::default().file("whole").end();
    no_end.truncate(1024);
    let mut sum = Raw::default().file("whole").end();
    sum[0] = b'X';
    let after_end = [
        Raw::default().file("whole").0,
        vec![0; 512],
        Raw::default().file("more").end(),
    ]
    .concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("parent", Raw::default().file("../file").end()),
        ("parent inside", Raw::default().file("a/../../file").end()),
        (
            "absolute",
            Raw::default().file("/tmp/pristine-hostile").end(),
        ),
        (
            "parent by pax",
            Raw::default()
                .pax(&[("path", b"../outside/file")])
                .file("fine")
                .end(),
        ),
        (
            "NUL",
            Raw::default()
                .pax(&[("path", b"fine\0/../../file")])
                .file("fine")
                .end(),
        ),
        ("empty", Raw::default().file("").end()),
        ("the root as a file", Raw::default().file(".").end()),
        (
            "a folder with content",
            Raw::default()
                .entry(EntryType::Directory, b"a", b"", &[b'x'; 512])
                .end(),
        ),
        (
            "the root as a link",
            Raw::default().symlink("./", "../outside").end(),
        ),
        (
            "link then write through",
            Raw::default()
                .symlink("a", "../outside")
                .file("a/file")
                .end(),
        ),
        (
            "absolute link then write through",
            Raw::default()
                .symlink("a", "/tmp")
                .file("a/pristine-hostile")
                .end(),
        ),
        (
            "link inside then write through",
            Raw::default()
                .folder("b")
                .symlink("a", "b")
                .file("a/file")
                .end(),
        ),
        (
            "link then folder",
            Raw::default()
                .symlink("a", "../outside")
                .folder("a/b")
                .end(),
        ),
        (
            "link then whiteout",
            Raw::default()
                .symlink("a", "../outside")
                .entry(EntryType::Regular, b"a/.wh.file", b"", b"")
                .end(),
        ),
        (
            "link then opaque",
            Raw::default()
                .symlink("a", "../outside")
                .entry(EntryType::Regular, b"a/.wh..wh..opq", b"", b"")
                .end(),
        ),
        (
            "hard link outside",
            Raw::default().hard_link("a", "../file").end(),
        ),
        (
            "absolute hard link",
            Raw::default().hard_link("a", "/etc/passwd").end(),
        ),
        (
            "hard link through a link",
            Raw::default()
                .symlink("l", "../outside")
                .hard_link("a", "l/file")
                .end(),
        ),
        (
            "hard link to a link",
            Raw::default()
                .symlink("l", "../file")
                .hard_link("a", "l")
                .end(),
        ),
        (
            "hard link to nothing",
            Raw::default().hard_link("a", "b").end(),
        ),
        (
            "hard link to itself",
            Raw::default().file("a").hard_link("a", "./a").end(),
        ),
        (
            "hard link to a folder",
            Raw::default().folder("b").hard_link("a", "b").end(),
        ),
        ("file as folder", Raw::default().file("a").file("a/b").end()),
        (
            "whiteout of nothing",
            Raw::default()
                .entry(EntryType::Regular, b".wh.", b"", b"")
                .end(),
        ),
        (
            "whiteout of the parent",
            Raw::default()
                .entry(EntryType::Regular, b"a/.wh...", b"", b"")
                .end(),
        ),
        (
            "whiteout of a whiteout",
            Raw::default()
                .entry(EntryType::Regular, b".wh..wh.x", b"", b"")
                .end(),
        ),
        ("whiteout with content", Raw::default().file(".wh.x").end()),
        (
            "overlay attribute",
            Raw::default()
                .pax(&[("SCHILY.xattr.user.overlay.redirect", b"/etc")])
                .folder("a")
                .end(),
        ),
        (
            "trusted overlay attribute",
            Raw::default()
                .pax(&[("SCHILY.xattr.trusted.overlay.opaque", b"y")])
                .folder("a")
                .end(),
        ),
        (
            "two sizes",
            Raw::default()
                .pax(&[("size", b"0"), ("size", b"512")])
                .file("a")
                .end(),
        ),
        (
            "size is no number",
            Raw::default().pax(&[("size", b"-1")]).file("a").end(),
        ),
        (
            "enormous size",
            Raw::default()
                .pax(&[("size", b"9223372036854775807")])
                .file("a")
                .end(),
        ),
        (
            "size beyond the end",
            Raw::default().pax(&[("size", b"1000000")]).file("a").end(),
        ),
        (
            "malformed pax",
            Raw::default()
                .entry(EntryType::XHeader, b"pax", b"", b"99 path=x\n")
                .file("a")
                .end(),
        ),
        (
            "pax without a newline",
            Raw::default()
                .entry(EntryType::XHeader, b"pax", b"", b"8 path=x")
                .file("a")
                .end(),
        ),
        (
            "two extended headers",
            Raw::default()
                .pax(&[("path", b"a")])
                .pax(&[("path", b"b")])
                .file("c")
                .end(),
        ),
        (
            "two long names",
            Raw::default()
                .pax(&[("path", b"a")])
                .entry(EntryType::GNULongName, b"l", b"", b"b\0")
                .file("c")
                .end(),
        ),
        (
            "global header",
            Raw::default()
                .entry(EntryType::XGlobalHeader, b"g", b"", b"10 path=x\n")
                .file("c")
                .end(),
        ),
        (
            "extended header alone",
            Raw::default().pax(&[("path", b"a")]).end(),
        ),
        (
            "extended header bomb",
            Raw::default()
                .entry(EntryType::XHeader, b"pax", b"", &many)
                .file("c")
                .end(),
        ),
        (
            "sparse",
            Raw::default()
                .entry(EntryType::GNUSparse, b"s", b"", b"")
                .end(),
        ),
        (
            "pax sparse",
            Raw::default()
                .pax(&[("GNU.sparse.major", b"1")])
                .file("s")
                .end(),
        ),
        (
            "owner out of range",
            Raw::default()
                .pax(&[("uid", b"4294967296")])
                .file("a")
                .end(),
        ),
        (
            "long name",
            Raw::default()
                .pax(&[("path", long.as_bytes())])
                .file("a")
                .end(),
        ),
        (
            "long component",
            Raw::default()
                .pax(&[("path", component.as_bytes())])
                .file("a")
                .end(),
        ),
        (
            "escape codes in a name",
            Raw::default()
                .pax(&[("path", b"a\x1b[2J\n/../b")])
                .file("a")
                .end(),
        ),
        ("cut short", cut),
        ("no end mark", no_end),
        ("wrong checksum", sum),
        ("after the end", after_end),
        (
            "not an archive",
            b"PK\x03\x04 this is something else entirely".repeat(20),
        ),
    ];
    let mut outcomes = String::new();
    for (name, tar) in cases {
        let outcome = attempt(&tar)
            .replace(&"x/".repeat(150), "x/…")
            .replace(&"y".repeat(256), "y…");
        writeln!(outcomes, "{name}: {outcome}").unwrap();
    }
    insta::assert_snapshot!(outcomes, @r"
    parent: refused archive entry `../file`: its name leads outside through `..`
    parent inside: refused archive entry `a/../../file`: its name leads outside through `..`
    absolute: refused archive entry `/tmp/pristine-hostile`: its name is absolute
    parent by pax: refused archive entry `../outside/file`: its name leads outside through `..`
    NUL: refused archive entry `fine\0/../../file`: its name has a NUL in it
    empty: refused archive entry ``: its name is empty
    the root as a file: refused archive entry `.`: it would replace the root of the tree
    a folder with content: refused archive entry `a`: it has content, and is not a file
    the root as a link: refused archive entry `./`: it would replace the root of the tree
    link then write through: refused archive entry `a/file`: its name leads through the symbolic link `a`
    absolute link then write through: refused archive entry `a/pristine-hostile`: its name leads through the symbolic link `a`
    link inside then write through: refused archive entry `a/file`: its name leads through the symbolic link `a`
    link then folder: refused archive entry `a/b`: its name leads through the symbolic link `a`
    link then whiteout: refused archive entry `a/.wh.file`: its name leads through the symbolic link `a`
    link then opaque: refused archive entry `a/.wh..wh..opq`: its name leads through the symbolic link `a`
    hard link outside: refused archive entry `a`: the target of the hard link is refused: its name leads outside through `..`
    absolute hard link: refused archive entry `a`: the target of the hard link is refused: its name is absolute
    hard link through a link: refused archive entry `a`: the target of the hard link leads through something that is not a folder
    hard link to a link: refused archive entry `a`: it is a hard link to something that is not a regular file
    hard link to nothing: refused archive entry `a`: it is a hard link to something that the tree does not have
    hard link to itself: refused archive entry `a`: it is a hard link to itself
    hard link to a folder: refused archive entry `a`: it is a hard link to something that is not a regular file
    file as folder: refused archive entry `a/b`: its name leads through something that is not a folder, `a`
    whiteout of nothing: refused archive entry `.wh.`: it is not the whiteout of any name
    whiteout of the parent: refused archive entry `a/.wh...`: it is not the whiteout of any name
    whiteout of a whiteout: refused archive entry `.wh..wh.x`: it is not the whiteout of any name
    whiteout with content: refused archive entry `.wh.x`: only an empty file can be a whiteout
    overlay attribute: refused archive entry `a`: the attribute `user.overlay.redirect` belongs to overlayfs
    trusted overlay attribute: refused archive entry `a`: the attribute `trusted.overlay.opaque` belongs to overlayfs
    two sizes: refused the archive: the next extended header has a key twice
    size is no number: refused archive entry `a`: its size is not a number
    enormous size: refused archive entry `a`: its size is larger than any file
    size beyond the end: cannot read the archive after entry `a`: it is cut short
    malformed pax: refused the archive: the next extended header is malformed
    pax without a newline: refused the archive: the next extended header is malformed
    two extended headers: refused the archive: two extended headers of a kind describe the next entry
    two long names: refused the archive: the next entry has two long names
    global header: refused the archive: a global extended header follows that changes later entries
    extended header alone: refused the archive: the archive ends where the entry described by an extended header should be
    extended header bomb: refused the archive: the next extended header is longer than 1 MiB
    sparse: refused archive entry `s`: entries of this type are not supported
    pax sparse: refused archive entry `s`: sparse entries are not supported
    owner out of range: refused archive entry `a`: its owner is not a number of 32 bits
    long name: refused archive entry `x/……`: it has content, and is not a file
    long component: refused archive entry `y…`: a part of its name is longer than 255 bytes
    escape codes in a name: refused archive entry `a\u{1b}[2J\n/../b`: its name leads outside through `..`
    cut short: cannot read the archive after entry `whole`: it is cut short
    no end mark: cannot read the archive after entry `whole`: it is cut short
    wrong checksum: refused the archive: the next header's checksum is wrong
    after the end: refused the archive after entry `whole`: entries follow the archive's end mark
    not an archive: refused the archive: the next header's checksum is wrong
    ");
}

#[test]
fn odd_archives_are_understood_as_others_understand_them() {
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing at all", Vec::new()),
        ("no entries", Raw::default().end()),
        (
            "duplicate",
            Raw::default()
                .folder("a")
                .file("a/x")
                .symlink("a", "b")
                .end(),
        ),
        (
            "a link becomes a file",
            Raw::default().symlink("a", "../file").file("a").end(),
        ),
        (
            "a file becomes a folder",
            Raw::default().file("a").folder("a").file("a/b").end(),
        ),
        (
            "a name given twice by dots",
            Raw::default().file("./a").file(".//./a").end(),
        ),
        (
            "devices are left out",
            Raw::default()
                .entry(EntryType::Char, b"null", b"", b"")
                .entry(EntryType::Block, b"sda", b"", b"")
                .file("a")
                .end(),
        ),
        (
            "other labels are left out",
            Raw::default()
                .pax(&[
                    ("SCHILY.xattr.security.selinux", b"x"),
                    ("SCHILY.xattr.user.a\nb", b"1\n2"),
                ])
                .file("a")
                .end(),
        ),
        (
            "newline in a name",
            Raw::default().pax(&[("path", b"a\nb")]).file("a").end(),
        ),
        (
            "fraction of a second",
            Raw::default().pax(&[("mtime", b"-1.5")]).file("a").end(),
        ),
        (
            "old folder",
            Raw::default()
                .entry(EntryType::Regular, b"a/", b"", b"")
                .end(),
        ),
        (
            "whiteouts",
            Raw::default()
                .entry(EntryType::Regular, b"a/.wh.b", b"", b"")
                .entry(EntryType::Regular, b"c/.wh..wh..opq", b"", b"")
                .end(),
        ),
        (
            "a whiteout speaks of lower layers",
            Raw::default()
                .folder("a")
                .file("a/x")
                .entry(EntryType::Regular, b".wh.a", b"", b"")
                .end(),
        ),
        (
            "a folder over a whiteout",
            Raw::default()
                .entry(EntryType::Regular, b".wh.a", b"", b"")
                .folder("a")
                .end(),
        ),
    ];
    let mut outcomes = String::new();
    for (name, tar) in cases {
        let place = Place::new();
        apply(&place.root(), &tar).unwrap();
        writeln!(outcomes, "{name}:").unwrap();
        for line in listing(&archive(&place.root())).iter().skip(1) {
            // Folders that no entry describes have the time at which they were made.
            writeln!(
                outcomes,
                "  {}",
                line.split(' ')
                    .filter(|word| !word.starts_with("@17") && !word.starts_with("@18"))
                    .collect::<Vec<_>>()
                    .join(" ")
            )
            .unwrap();
        }
    }
    insta::assert_snapshot!(outcomes, @r#"
    nothing at all:
    no entries:
    duplicate:
      Symlink 777 0:0 @1 0B a -> b []
    a link becomes a file:
      File 644 0:0 @1 4B a ->  []
    a file becomes a folder:
      Folder 644 0:0 @1 0B a/ ->  []
      File 644 0:0 @1 4B a/b ->  []
    a name given twice by dots:
      File 644 0:0 @1 4B a ->  []
    devices are left out:
      File 644 0:0 @1 4B a ->  []
    other labels are left out:
      File 644 0:0 @1 4B a ->  ["user.a\nb"]
    newline in a name:
      File 644 0:0 @1 4B a
    b ->  []
    fraction of a second:
      File 644 0:0 @-2 4B a ->  []
    old folder:
      Folder 644 0:0 @1 0B a/ ->  []
    whiteouts:
      Folder 755 0:0 0B a/ ->  []
      File 0 0:0 @0 0B a/.wh.b ->  []
      Folder 755 0:0 0B c/ ->  []
      File 0 0:0 @0 0B c/.wh..wh..opq ->  []
    a whiteout speaks of lower layers:
      Folder 644 0:0 @1 0B a/ ->  []
      File 0 0:0 @0 0B a/.wh..wh..opq ->  []
      File 644 0:0 @1 4B a/x ->  []
    a folder over a whiteout:
      Folder 644 0:0 @1 0B a/ ->  []
      File 0 0:0 @0 0B a/.wh..wh..opq ->  []
    "#);
}

#[test]
fn a_tree_that_no_archive_can_hold_is_refused() {
    let reserved = tempfile::tempdir().unwrap();
    fs_err::create_dir(reserved.path().join("a")).unwrap();
    fs_err::write(reserved.path().join("a/.wh.b"), b"").unwrap();
    let error = |root: &Path| {
        let handle = super::handle(root);
        message(
            &pristine::tree::canonical::write(
                std::os::fd::AsFd::as_fd(&handle),
                &mut std::io::sink(),
            )
            .unwrap_err(),
        )
    };
    insta::assert_snapshot!(error(reserved.path()), @"refused path `a/.wh.b`: names that begin with `.wh.` mean removed files in image layers");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_archives_never_panic_nor_change_what_is_outside(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        sums in any::<bool>(),
    ) {
        let place = Place::new();
        let before = place.outside();
        let mut tar = Raw::default()
            .folder("a")
            .pax(&[("path", b"a/long"), ("mtime", b"5.5"), ("SCHILY.xattr.user.x", b"1")])
            .file("a/short")
            .symlink("a/link", "../../outside")
            .hard_link("b", "a/long")
            .file("c")
            .end();
        for (at, value) in changes {
            let at = at.index(tar.len());
            tar[at] = value;
        }
        if sums {
            // With right checksums, so that what lies behind them is reached.
            for block in tar.chunks_exact_mut(512).filter(|block| &block[257..262] == b"ustar") {
                let mut header = Header::new_old();
                header.as_mut_bytes().copy_from_slice(block);
                header.set_cksum();
                block.copy_from_slice(header.as_bytes());
            }
        }
        let _either = apply(&place.root(), &tar);
        prop_assert_eq!(before, place.outside());
    }
}
