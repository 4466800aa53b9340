//! Damage in a layout is named.

use std::fmt::Write as _;
use std::path::Path;

use pristine::digest::Digest;
use pristine::oci::{Layout, OciError};

use super::{image, open, write_layer};
use crate::tree::hostile::Raw;
use crate::tree::message;

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
