//! Images: written, read, exported, imported; skopeo and GNU tar agree; damage is seen.
//!
//! These tests unpack trees with owners and whiteouts, so that they need root, as in CI.
#![expect(clippy::too_many_lines, reason = "tables of cases")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;

use pristine::digest::Digest;
use pristine::oci::{Compression, ImageConfig, ImageRef, Layer, Layout, OciError};
use pristine::tree;

use crate::tree::hostile::Raw;
use crate::tree::{archive, handle, host_has, listing, message, tool};

mod frames;

fn config() -> ImageConfig {
    let map = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|&(key, value)| (key.to_owned(), value.to_owned()))
            .collect::<BTreeMap<_, _>>()
    };
    ImageConfig {
        architecture: "x86_64".to_owned(),
        epoch: 1_700_000_000,
        env: map(&[("PATH", "/usr/bin:/bin"), ("LANG", "C.UTF-8"), ("A", "1=2")]),
        labels: map(&[
            ("io.pristine.lock", "sha256:00"),
            ("z", "1"),
            ("a", "2"),
            ("m", "3"),
            ("b", "4"),
        ]),
        history: vec!["environment".to_owned(), "recipe".to_owned()],
    }
}

fn write_layer(layout: &Layout, tar: &[u8]) -> Layer {
    let mut writer = layout.layer_writer().unwrap();
    // In odd pieces: the bytes must not depend on how they come.
    for piece in tar.chunks(7919) {
        writer.write_all(piece).unwrap();
        writer.flush().unwrap();
    }
    writer.finish().unwrap()
}

/// A lower and an upper layer, the upper in the form in which overlayfs keeps it.
fn layers() -> [Vec<u8>; 2] {
    let (lower, upper) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    tool(
        "sh",
        &[
            "-c",
            "umask 022; chmod 755 .; mkdir -p etc usr/bin opaque/old gone/deep; echo 1 > etc/a; echo 2 > etc/b; echo 3 > opaque/old/x; echo 4 > gone/deep/y
             echo content > usr/bin/first; ln usr/bin/first usr/bin/second; ln usr/bin/first usr/bin/third; echo 5 > become-folder; mkdir become-file; echo 6 > become-file/z
             chown 5:6 etc/a; chmod 4750 usr/bin/first; head -c 3000000 /dev/zero > zeros; find . -exec touch -h -d @1000 {} +",
        ],
        lower.path(),
    );
    tool(
        "sh",
        &[
            "-c",
            "umask 022; chmod 755 .; mkdir -p etc usr/bin opaque become-folder; echo new > etc/b; mknod gone c 0 0; mknod usr/bin/first c 0 0
             mknod etc/never c 0 0; echo x > opaque/new; echo x > become-folder/x; echo file > become-file; find . -exec touch -h -d @2000 {} +",
        ],
        upper.path(),
    );
    let opaque = handle(&upper.path().join("opaque"));
    rustix::fs::fsetxattr(
        &opaque,
        "user.overlay.opaque",
        b"y",
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    [archive(lower.path()), archive(upper.path())]
}

fn image(layout: &Layout) -> ImageRef {
    let layers: Vec<Layer> = layers()
        .iter()
        .map(|tar| write_layer(layout, tar))
        .collect();
    layout.write_image(&layers, &config()).unwrap()
}

fn open() -> (tempfile::TempDir, Layout) {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::open(&folder.path().join("oci")).unwrap();
    (folder, layout)
}

#[test]
fn the_same_image_has_the_same_bytes() {
    let (first_folder, first) = open();
    let (_second_folder, second) = open();
    let (one, two) = (image(&first), image(&second));
    assert_eq!(one, two);
    assert_eq!(image(&first), one);
    assert_eq!(first.images().unwrap(), [one.manifest]);
    let read = |layout: &Layout, name: &str| fs_err::read(layout.path().join(name)).unwrap();
    assert_eq!(read(&first, "index.json"), read(&second, "index.json"));
    let archives = [&first, &second].map(|layout| {
        let mut bytes = Vec::new();
        layout
            .export_archive(&layout.image(&one.manifest).unwrap(), &mut bytes)
            .unwrap();
        bytes
    });
    assert!(archives[0] == archives[1]);
    let text =
        String::from_utf8(read(&first, &format!("blobs/sha256/{}", one.config.hex()))).unwrap();
    insta::assert_snapshot!(text.replace(&one.layers[0].diff_id.hex(), "LOWER").replace(&one.layers[1].diff_id.hex(), "UPPER"), @r#"{"architecture":"amd64","config":{"Cmd":["/bin/sh"],"Env":["A=1=2","LANG=C.UTF-8","PATH=/usr/bin:/bin"],"Labels":{"a":"2","b":"4","io.pristine.lock":"sha256:00","m":"3","z":"1"},"WorkingDir":"/"},"created":"2023-11-14T22:13:20Z","history":[{"created":"2023-11-14T22:13:20Z","created_by":"environment"},{"created":"2023-11-14T22:13:20Z","created_by":"recipe"}],"os":"linux","rootfs":{"diff_ids":["sha256:LOWER","sha256:UPPER"],"type":"layers"}}"#);
    let left: Vec<_> = fs_err::read_dir(first_folder.path().join("oci/tmp"))
        .unwrap()
        .collect();
    assert!(left.is_empty());
}

#[test]
fn layers_are_read_as_they_were_written() {
    let (_folder, layout) = open();
    for tar in [&layers()[0][..], b"", b"not even a tar"] {
        let layer = write_layer(&layout, tar);
        assert_eq!(layer.diff_id, Digest::of(tar));
        assert_eq!(layout.known_layer(&layer.diff_id).unwrap().unwrap(), layer);
        let mut read = Vec::new();
        layout
            .open_layer(&layer)
            .unwrap()
            .read_to_end(&mut read)
            .unwrap();
        assert!(read == tar);
    }
    assert_eq!(layout.known_layer(&Digest::of(b"unknown")).unwrap(), None);
}

#[test]
fn what_an_image_says_is_read_back() {
    let (_folder, layout) = open();
    let reference = image(&layout);
    let read = layout.image(&reference.manifest).unwrap();
    assert_eq!(read.reference, reference);
    let expected = ImageConfig {
        architecture: "amd64".to_owned(),
        ..config()
    };
    assert_eq!(read.config, expected);
}

#[test]
fn the_merged_tree_is_what_overlayfs_shows() {
    let (_folder, layout) = open();
    let reference = image(&layout);
    let image = layout.image(&reference.manifest).unwrap();
    let mut tar = Vec::new();
    layout.export_tar(&image, &mut tar).unwrap();
    let root = tempfile::tempdir().unwrap();
    tree::extract::apply(handle(root.path()).as_fd(), &mut tar.as_slice()).unwrap();
    insta::assert_snapshot!(listing(&archive(root.path())).join("\n"), @r"
    Folder 755 0:0 @2000 0B ./ ->  []
    File 644 0:0 @2000 5B become-file ->  []
    Folder 755 0:0 @2000 0B become-folder/ ->  []
    File 644 0:0 @2000 2B become-folder/x ->  []
    Folder 755 0:0 @2000 0B etc/ ->  []
    File 644 5:6 @1000 2B etc/a ->  []
    File 644 0:0 @2000 4B etc/b ->  []
    Folder 755 0:0 @2000 0B opaque/ ->  []
    File 644 0:0 @2000 2B opaque/new ->  []
    Folder 755 0:0 @2000 0B usr/ ->  []
    Folder 755 0:0 @2000 0B usr/bin/ ->  []
    File 4750 0:0 @1000 8B usr/bin/second ->  []
    HardLink 4750 0:0 @1000 0B usr/bin/third -> usr/bin/second []
    File 644 0:0 @1000 3000000B zeros ->  []
    ");
    assert_eq!(
        fs_err::read_to_string(root.path().join("usr/bin/third")).unwrap(),
        "content\n"
    );
    let other = tempfile::tempdir().unwrap();
    fs_err::write(other.path().join("x.tar"), &tar).unwrap();
    fs_err::create_dir(other.path().join("root")).unwrap();
    tool(
        "tar",
        &[
            "-x",
            "-p",
            "--numeric-owner",
            "--delay-directory-restore",
            "-C",
            "root",
            "-f",
            "x.tar",
        ],
        other.path(),
    );
    assert_eq!(
        listing(&archive(&other.path().join("root"))),
        listing(&archive(root.path()))
    );
}

#[test]
fn skopeo_takes_it_and_gives_it_back() {
    if !host_has("skopeo") {
        return;
    }
    let (folder, layout) = open();
    let reference = image(&layout);
    let manifest = tool("skopeo", &["inspect", "--raw", "oci:oci"], folder.path());
    assert_eq!(Digest::of(&manifest), reference.manifest);
    let named = format!("oci:oci:{}", reference.manifest.short());
    let inspected: serde_json::Value =
        serde_json::from_slice(&tool("skopeo", &["inspect", &named], folder.path())).unwrap();
    assert_eq!(inspected["Labels"]["io.pristine.lock"], "sha256:00");
    assert_eq!(inspected["Created"], "2023-11-14T22:13:20Z");
    assert_eq!(inspected["Architecture"], "amd64");

    let mut file = fs_err::File::create(folder.path().join("ours.tar")).unwrap();
    layout
        .export_archive(&layout.image(&reference.manifest).unwrap(), &mut file)
        .unwrap();
    tool(
        "skopeo",
        &["copy", "oci-archive:ours.tar", "oci:copy:x"],
        folder.path(),
    );
    tool(
        "skopeo",
        &["copy", "oci:copy:x", "oci-archive:theirs.tar"],
        folder.path(),
    );
    let (_other_folder, other) = open();
    let mut theirs = fs_err::File::open(folder.path().join("theirs.tar")).unwrap();
    assert_eq!(other.import_archive(&mut theirs).unwrap(), reference);
    assert_eq!(
        other.image(&reference.manifest).unwrap().reference,
        reference
    );
    // Whose compressor it was is not known: it must not end up in images that are written here.
    assert_eq!(
        other.known_layer(&reference.layers[0].diff_id).unwrap(),
        None
    );
}

#[test]
fn gzip_layers_of_others_are_read() {
    if !host_has("skopeo") {
        return;
    }
    let (folder, layout) = open();
    let reference = image(&layout);
    tool(
        "skopeo",
        &["copy", "--dest-decompress", "oci:oci", "dir:plain"],
        folder.path(),
    );
    tool("skopeo", &["copy", "dir:plain", "oci:gzip"], folder.path());
    tool(
        "skopeo",
        &["copy", "oci:gzip", "oci-archive:gzip.tar"],
        folder.path(),
    );
    let (_other_folder, other) = open();
    let mut input = fs_err::File::open(folder.path().join("gzip.tar")).unwrap();
    let imported = other.import_archive(&mut input).unwrap();
    let ids = |reference: &ImageRef| {
        reference
            .layers
            .iter()
            .map(|layer| layer.diff_id)
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&imported), ids(&reference));
    assert_eq!(imported.layers[0].compression, Compression::Gzip);
}

#[test]
fn plain_layers_of_others_are_read() {
    let (_folder, layout) = open();
    let tar = Raw::default().file("a").end();
    let layer = write_layer(&layout, &tar);
    let reference = layout
        .write_image(std::slice::from_ref(&layer), &config())
        .unwrap();
    let read = |digest: &Digest| {
        fs_err::read_to_string(layout.path().join("blobs/sha256").join(digest.hex())).unwrap()
    };
    let described = |layer: &Layer| format!("\"digest\":\"{}\",\"mediaType\":", layer.digest);
    let manifest = read(&reference.manifest)
        .replace("layer.v1.tar+zstd", "layer.v1.tar")
        .replace(
            &described(&layer),
            &format!("\"digest\":\"{}\",\"mediaType\":", layer.diff_id),
        )
        .replace(
            &format!("\"size\":{}", layer.size),
            &format!("\"size\":{}", tar.len()),
        );
    let digest = Digest::of(manifest.as_bytes());
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":{}}}]}}"#,
        manifest.len()
    );
    let blob = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
    let files = BTreeMap::from([
        (
            "oci-layout".to_owned(),
            br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
        ),
        ("index.json".to_owned(), index.into_bytes()),
        (blob(&digest), manifest.into_bytes()),
        (
            blob(&reference.config),
            read(&reference.config).into_bytes(),
        ),
        (blob(&layer.diff_id), tar.clone()),
    ]);
    let (_other_folder, other) = open();
    let imported = other
        .import_archive(&mut packed(&files).as_slice())
        .unwrap();
    assert_eq!(imported.layers[0].compression, Compression::Plain);
    let mut read = Vec::new();
    other
        .open_layer(&imported.layers[0])
        .unwrap()
        .read_to_end(&mut read)
        .unwrap();
    assert!(read == tar);
}

/// Changes one byte in the middle of a file.
fn damage(path: &Path) {
    let mut bytes = fs_err::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x20;
    fs_err::write(path, bytes).unwrap();
}

#[test]
fn damage_is_named() {
    let (folder, layout) = open();
    let reference = image(&layout);
    let blob = |digest: &Digest| layout.path().join("blobs/sha256").join(digest.hex());
    let intact = |digest: &Digest| fs_err::read(blob(digest)).unwrap();
    let mut outcomes = String::new();
    let hidden = |text: String| {
        let layers = reference.layers.iter().enumerate();
        let text = layers.fold(text, |text, (number, layer)| {
            text.replace(&layer.digest.hex(), &format!("LAYER{number}"))
                .replace(&layer.diff_id.hex(), &format!("DIFF{number}"))
        });
        let text = text
            .replace(&reference.manifest.hex(), "MANIFEST")
            .replace(&reference.config.hex(), "CONFIG");
        let text = text.replace(&folder.path().display().to_string(), "TOP");
        text.split(' ')
            .map(|word| {
                if word.starts_with("sha256:") && word.len() > 70 {
                    "OTHER"
                } else {
                    word
                }
            })
            .collect::<Vec<_>>()
            .join(" ")
    };
    for (name, digest) in [
        ("manifest", reference.manifest),
        ("configuration", reference.config),
        ("layer", reference.layers[1].digest),
    ] {
        let before = intact(&digest);
        damage(&blob(&digest));
        let image = layout.image(&reference.manifest).unwrap_err();
        writeln!(outcomes, "{name} changed: {}", hidden(message(&image))).unwrap();
        if name == "layer" {
            let mut reader = layout.open_layer(&reference.layers[1]).unwrap();
            let read = std::io::copy(&mut reader, &mut std::io::sink()).unwrap_err();
            writeln!(outcomes, "layer read: {}", hidden(message(&read))).unwrap();
            fs_err::write(blob(&digest), &before[..before.len() - 1]).unwrap();
            writeln!(
                outcomes,
                "layer shorter: {}",
                hidden(message(
                    &layout.open_layer(&reference.layers[1]).unwrap_err()
                ))
            )
            .unwrap();
        }
        fs_err::remove_file(blob(&digest)).unwrap();
        writeln!(
            outcomes,
            "{name} missing: {}",
            hidden(message(&layout.image(&reference.manifest).unwrap_err()))
        )
        .unwrap();
        fs_err::write(blob(&digest), before).unwrap();
    }
    // Whole, but not the tar that the image names.
    let mut wrong = reference.layers[0].clone();
    wrong.diff_id = reference.layers[1].diff_id;
    let error = layout.open_layer(&wrong).unwrap().verify().unwrap_err();
    let found = hidden(message(&error));
    writeln!(outcomes, "another tar: {found}").unwrap();
    // A layer whose blob is damaged or gone is made again, not believed; a list does not read layers.
    let (layer, path) = (&reference.layers[0], blob(&reference.layers[0].digest));
    let before = fs_err::read(&path).unwrap();
    damage(&path);
    assert_eq!(layout.known_layer(&layer.diff_id).unwrap(), None);
    assert_eq!(
        layout.describe(&reference.manifest).unwrap().reference,
        reference
    );
    fs_err::write(&path, before).unwrap();
    assert_eq!(
        layout.known_layer(&layer.diff_id).unwrap().as_ref(),
        Some(layer)
    );
    fs_err::remove_file(blob(&reference.layers[0].digest)).unwrap();
    assert_eq!(
        layout.known_layer(&reference.layers[0].diff_id).unwrap(),
        None
    );
    insta::assert_snapshot!(outcomes, @r"
    manifest changed: blob sha256:MANIFEST is damaged: its content has the digest OTHER
    manifest missing: the image store has no blob sha256:MANIFEST
    configuration changed: blob sha256:CONFIG is damaged: its content has the digest OTHER
    configuration missing: the image store has no blob sha256:CONFIG
    layer changed: blob sha256:LAYER1 is damaged: its content has the digest OTHER
    layer read: blob sha256:LAYER1 is damaged: Restored data doesn't match checksum
    layer shorter: blob sha256:LAYER1 is damaged: it has 370 bytes instead of 371
    layer missing: the image store has no blob sha256:LAYER1
    another tar: blob sha256:LAYER0 is damaged: its tar has the digest sha256:DIFF0 instead of sha256:DIFF1
    ");
}

#[test]
fn every_changed_byte_of_a_layer_is_seen() {
    let (_folder, layout) = open();
    let layer = write_layer(&layout, &Raw::default().file("a").folder("b").end());
    let path = layout.path().join("blobs/sha256").join(layer.digest.hex());
    let intact = fs_err::read(&path).unwrap();
    for at in 0..intact.len() {
        let mut bytes = intact.clone();
        bytes[at] ^= 1;
        fs_err::write(&path, bytes).unwrap();
        let verified = layout
            .open_layer(&layer)
            .and_then(pristine::oci::LayerReader::verify);
        assert!(verified.is_err(), "byte {at}");
    }
}

/// Names and contents of an archive's files.
type Files = BTreeMap<String, Vec<u8>>;

/// An archive of these files.
fn packed(files: &Files) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, name, content.as_slice())
            .unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn hostile_image_archives_are_refused() {
    let (_folder, layout) = open();
    let reference = image(&layout);
    let mut archive = Vec::new();
    layout
        .export_archive(&layout.image(&reference.manifest).unwrap(), &mut archive)
        .unwrap();
    let mut files = BTreeMap::new();
    let mut reader = tar::Archive::new(archive.as_slice());
    for entry in reader.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        if !name.ends_with('/') {
            files.insert(name, content);
        }
    }
    let blob = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
    let changed = |change: &dyn Fn(&mut Files)| {
        let mut files = files.clone();
        change(&mut files);
        packed(&files)
    };
    let replace = |name: &str, from: &str, to: &str| {
        changed(&|files| {
            let text = String::from_utf8(files[name].clone()).unwrap();
            assert!(text.contains(from), "{text}");
            files.insert(name.to_owned(), text.replace(from, to).into_bytes());
        })
    };
    // A manifest with a change has another digest: the index follows it, so that only the change is wrong.
    let other_manifest = |from: &str, to: &str| {
        changed(&|files| {
            let text = String::from_utf8(files[&blob(&reference.manifest)].clone()).unwrap();
            assert!(text.contains(from), "{text}");
            let text = text.replace(from, to);
            let digest = Digest::of(text.as_bytes());
            let index = String::from_utf8(files["index.json"].clone()).unwrap();
            let size = files[&blob(&reference.manifest)].len();
            let index = index
                .replace(&reference.manifest.hex(), &digest.hex())
                .replace(
                    &format!("\"size\":{size}"),
                    &format!("\"size\":{}", text.len()),
                );
            files.insert("index.json".to_owned(), index.into_bytes());
            files.insert(blob(&digest), text.into_bytes());
        })
    };
    let one = "\"manifests\":[";
    let index = String::from_utf8(files["index.json"].clone()).unwrap();
    let entry = index[index.find(one).unwrap() + one.len()..index.rfind(']').unwrap()].to_owned();
    let mut cut = archive.clone();
    cut.truncate(archive.len() / 2);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("as it is", packed(&files)),
        (
            "with more files",
            changed(&|files| drop(files.insert("manifest.json".to_owned(), b"[]".to_vec()))),
        ),
        (
            "no marker",
            changed(&|files| drop(files.remove("oci-layout"))),
        ),
        ("another version", replace("oci-layout", "1.0.0", "2.0.0")),
        (
            "no index",
            changed(&|files| drop(files.remove("index.json"))),
        ),
        (
            "index is no JSON",
            changed(&|files| drop(files.insert("index.json".to_owned(), b"{".to_vec()))),
        ),
        (
            "two images",
            replace("index.json", one, &format!("{one}{entry},")),
        ),
        ("no image", replace("index.json", &entry, "")),
        (
            "an index in an index",
            replace("index.json", "image.manifest.v1", "image.index.v1"),
        ),
        (
            "manifest missing",
            changed(&|files| drop(files.remove(&blob(&reference.manifest)))),
        ),
        (
            "layer missing",
            changed(&|files| drop(files.remove(&blob(&reference.layers[0].digest)))),
        ),
        (
            "layer changed",
            changed(&|files| files.get_mut(&blob(&reference.layers[0].digest)).unwrap()[99] ^= 1),
        ),
        (
            "unknown layer type",
            other_manifest("layer.v1.tar+zstd", "layer.v1.tar+lzma"),
        ),
        (
            "foreign layer",
            other_manifest("layer.v1.tar+zstd", "layer.nondistributable.v1.tar+zstd"),
        ),
        (
            "wrong compression",
            other_manifest("layer.v1.tar+zstd", "layer.v1.tar+gzip"),
        ),
        (
            "wrong layer size",
            other_manifest(
                &format!("\"size\":{}", reference.layers[1].size),
                "\"size\":1",
            ),
        ),
        (
            "layers swapped",
            other_manifest(
                &reference.layers[0].digest.hex(),
                &reference.layers[1].digest.hex(),
            ),
        ),
        (
            "blob name",
            changed(&|files| drop(files.insert("blobs/sha256/xyz".to_owned(), b"x".to_vec()))),
        ),
        ("absolute name", Raw::default().file("/index.json").end()),
        (
            "name that leads out",
            Raw::default().file("blobs/sha256/../../../x").end(),
        ),
        (
            "index is a link",
            Raw::default().symlink("index.json", "/etc/passwd").end(),
        ),
        (
            "blob is a link",
            Raw::default()
                .symlink(&format!("blobs/sha256/{}", "0".repeat(64)), "/etc/passwd")
                .end(),
        ),
        ("cut short", cut),
        ("nothing", Vec::new()),
    ];
    let mut outcomes = String::new();
    for (name, archive) in cases {
        let (folder, other) = open();
        let outcome = match other.import_archive(&mut archive.as_slice()) {
            Ok(imported) => {
                assert_eq!(imported, reference);
                "accepted".to_owned()
            }
            Err(error) => {
                assert!(other.images().unwrap().is_empty());
                let blobs: Vec<_> = fs_err::read_dir(folder.path().join("oci/blobs/sha256"))
                    .unwrap()
                    .collect();
                assert!(blobs.is_empty(), "{name}");
                message(&error)
            }
        };
        let left: Vec<_> = fs_err::read_dir(folder.path().join("oci/tmp"))
            .unwrap()
            .collect();
        assert!(left.is_empty(), "{name}");
        let words = outcome.split_inclusive([' ', ':', '`', '/']).map(|word| {
            let hex = word.trim_end_matches(['`', ':', ' ']);
            if hex.len() == 64 {
                word.replace(hex, "DIGEST")
            } else {
                word.to_owned()
            }
        });
        writeln!(outcomes, "{name}: {}", words.collect::<String>()).unwrap();
    }
    insta::assert_snapshot!(outcomes, @r"
    as it is: accepted
    with more files: accepted
    no marker: refused the image archive: it has no `oci-layout`
    another version: refused `oci-layout`: its layout version is 2.0.0, known is 1.0.0
    no index: refused the image archive: it has no `index.json`
    index is no JSON: `index.json` is damaged: EOF while parsing an object at line 1 column 1
    two images: refused the image archive: it has 2 images, and one is needed
    no image: refused the image archive: it has 0 images, and one is needed
    an index in an index: refused the image archive: it has a `application/vnd.oci.image.index.v1+json` instead of an OCI image manifest
    manifest missing: refused the image archive: it lacks blob sha256:DIGEST
    layer missing: refused the image archive: it lacks blob sha256:DIGEST
    layer changed: blob sha256:DIGEST is damaged: its content has the digest sha256:DIGEST
    unknown layer type: refused manifest sha256:DIGEST: it has a layer of the unknown type `application/vnd.oci.image.layer.v1.tar+lzma`
    foreign layer: refused manifest sha256:DIGEST: it has a layer of the unknown type `application/vnd.oci.image.layer.nondistributable.v1.tar+zstd`
    wrong compression: blob sha256:DIGEST is damaged: invalid gzip header
    wrong layer size: blob sha256:DIGEST is damaged: it has 371 bytes instead of 1
    layers swapped: blob sha256:DIGEST is damaged: it has 371 bytes instead of 499
    blob name: refused archive entry `blobs/sha256/xyz`: its name is not a SHA-256
    absolute name: refused archive entry `/index.json`: its name is absolute
    name that leads out: refused archive entry `blobs/sha256/../../../x`: its name leads outside through `..`
    index is a link: refused archive entry `index.json`: it must be a regular file of at most 4 MiB
    blob is a link: refused archive entry `blobs/sha256/DIGEST`: a blob must be a regular file
    cut short: cannot read the archive after entry `blobs/sha256/DIGEST`: it is cut short
    nothing: refused the image archive: it has no `oci-layout`
    ");
}

#[test]
fn files_of_dead_processes_are_swept_and_those_of_living_ones_kept() {
    let (_folder, layout) = open();
    fs_err::write(layout.path().join("tmp/left"), b"x").unwrap();
    let mut writer = layout.layer_writer().unwrap();
    writer.write_all(b"some").unwrap();
    assert_eq!(layout.sweep().unwrap(), 1);
    let layer = writer.finish().unwrap();
    assert_eq!(layer.diff_id, Digest::of(b"some"));
    drop(layout.layer_writer().unwrap());
    assert_eq!(layout.sweep().unwrap(), 0);
}

#[test]
fn many_threads_write_images_at_once() {
    let (_folder, layout) = open();
    let references: Vec<ImageRef> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8_u8)
            .map(|number| {
                let layout = layout.clone();
                scope.spawn(move || {
                    let layer = write_layer(&layout, &[number / 2; 3000]);
                    layout.write_image(&[layer], &config()).unwrap()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let mut manifests: Vec<Digest> = references
        .iter()
        .map(|reference| reference.manifest)
        .collect();
    manifests.sort_unstable();
    manifests.dedup();
    assert_eq!(layout.images().unwrap(), manifests);
    assert_eq!(manifests.len(), 4);
}

#[test]
fn a_layout_of_the_future_is_refused() {
    let (folder, layout) = open();
    fs_err::write(
        layout.path().join("oci-layout"),
        br#"{"imageLayoutVersion":"9.0.0"}"#,
    )
    .unwrap();
    let error: OciError = Layout::open(layout.path()).unwrap_err();
    insta::assert_snapshot!(message(&error).replace(&folder.path().display().to_string(), "TOP"), @"refused `TOP/oci/oci-layout`: its layout version is 9.0.0, known is 1.0.0");
}
