//! Images: written, read, exported, imported; skopeo and GNU tar agree; damage is seen.
//!
//! These tests unpack trees with owners and whiteouts, so that they need root, as in CI.
#![expect(clippy::too_many_lines, reason = "tables of cases")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;

use pristine::digest::Digest;
use pristine::oci::{ImageConfig, ImageRef, Layer, Layout};
use pristine::tree;

use crate::tree::{archive, handle, host_has, listing, tool};

mod archives;
mod damage;
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
