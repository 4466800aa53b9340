//! Image archives of others, and hostile ones.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;

use pristine::digest::Digest;
use pristine::oci::{Compression, ImageRef, Layer};

use super::{config, image, open, write_layer};
use crate::tree::hostile::Raw;
use crate::tree::{host_has, message, tool};

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
