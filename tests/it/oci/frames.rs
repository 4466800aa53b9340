//! A layer that is mostly what a kept one is: its frames are taken from there, and nobody can tell from its bytes.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use pristine::oci::{Layer, Layout};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::{open, write_layer};
use crate::conformance::skip;
use crate::tree::{host_has, tool};

/// A tar of many files, the `odd` ones of which have another content.
fn tar(odd: &[u32]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for name in 0_u32..1500 {
        let mut header = tar::Header::new_ustar();
        let seed = if odd.contains(&name) { !name } else { name };
        // Hardly compressed: as many bytes in the blob.
        let content: Vec<u8> = (0..4000_u32)
            .flat_map(|at| {
                (seed ^ at)
                    .wrapping_mul(0x9e37_79b1)
                    .rotate_left(at % 31)
                    .to_le_bytes()
            })
            .collect();
        header.set_size(content.len() as u64);
        let path = format!("folder/file-{name}");
        tar.append_data(&mut header, path, Cursor::new(content))
            .unwrap();
    }
    tar.into_inner().unwrap()
}

fn note(layout: &Layout, layer: &Layer) -> PathBuf {
    layout.path().join("frames").join(layer.diff_id.hex())
}

fn noted(layout: &Layout, layer: &Layer) -> serde_json::Value {
    serde_json::from_slice(&fs_err::read(note(layout, layer)).unwrap()).unwrap()
}

fn blob(layout: &Layout, layer: &Layer) -> PathBuf {
    layout.path().join("blobs/sha256").join(layer.digest.hex())
}

#[test]
fn a_layer_has_the_same_bytes_whatever_is_kept() {
    let (_first_folder, first) = open();
    let (_second_folder, second) = open();
    let (before, after) = (tar(&[]), tar(&[700, 1200]));
    let expected = write_layer(&second, &after);
    let old = write_layer(&first, &before);
    assert_eq!(write_layer(&first, &after), expected);
    let contents = |layer: &Layer| -> Vec<String> {
        let note = noted(&first, layer);
        let frames = note["frames"].as_array().unwrap().iter();
        frames.map(|frame| frame["content"].to_string()).collect()
    };
    let (old, new) = (contents(&old), contents(&expected));
    let same = new.iter().filter(|content| old.contains(content));
    assert!(
        new.len() > 8 && same.count() + 4 >= new.len(),
        "{old:?} {new:?}"
    );
    first.open_layer(&expected).unwrap().verify().unwrap();
}

/// Appends the first frame's content to the blob, compressed in another way, and has the note say that this is the frame.
fn another_first_frame(layout: &Layout, layer: &Layer) {
    let path = blob(layout, layer);
    let mut bytes = fs_err::read(&path).unwrap();
    let mut whole = noted(layout, layer);
    let frame = &mut whole["frames"][0];
    let length = usize::try_from(frame["length"].as_u64().unwrap()).unwrap();
    let plain = zstd::decode_all(&bytes[..length]).unwrap();
    let other = zstd::encode_all(&plain[..], 19).unwrap();
    frame["offset"] = bytes.len().into();
    frame["length"] = other.len().into();
    frame["packed"] = blake3::hash(&other).to_hex().to_string().into();
    bytes.extend_from_slice(&other);
    fs_err::write(path, bytes).unwrap();
    fs_err::write(note(layout, layer), whole.to_string()).unwrap();
}

#[test]
fn frames_are_taken_where_they_are_whole_and_of_the_same_compressor() {
    let (before, after) = (tar(&[]), tar(&[1200]));
    let write_after = |change: &dyn Fn(&Layout, &Layer)| {
        let (_folder, layout) = open();
        let old = write_layer(&layout, &before);
        change(&layout, &old);
        let new = write_layer(&layout, &after);
        layout.open_layer(&new).unwrap().verify().unwrap();
        new
    };
    let expected = write_after(&|_, _| {});
    let taken = write_after(&another_first_frame);
    assert_ne!(
        taken.digest, expected.digest,
        "what the note names was taken"
    );
    assert_eq!(taken.diff_id, expected.diff_id);
    let damaged = write_after(&|layout, old| {
        another_first_frame(layout, old);
        let path = blob(layout, old);
        let mut bytes = fs_err::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs_err::write(path, bytes).unwrap();
    });
    assert_eq!(damaged, expected);
    let by_others = write_after(&|layout, old| {
        another_first_frame(layout, old);
        let mut whole = noted(layout, old);
        whole["by"] = "zstd 10400 level 2".into();
        fs_err::write(note(layout, old), whole.to_string()).unwrap();
    });
    assert_eq!(by_others, expected);
    for text in ["", "{}", "[1]", "\0"] {
        let unreadable =
            write_after(&|layout, old| fs_err::write(note(layout, old), text).unwrap());
        assert_eq!(unreadable, expected, "{text:?}");
    }
    let gone = write_after(&|layout, old| fs_err::remove_file(blob(layout, old)).unwrap());
    assert_eq!(gone, expected);
}

/// Mounts a new btrfs of `image` at `folder`, for this thread and those that it starts.
fn mount_btrfs(image: &Path, folder: &Path) {
    fs_err::File::create(image)
        .unwrap()
        .set_len(256 << 20)
        .unwrap();
    let [image, folder] = [image, folder].map(|path| path.to_str().unwrap());
    tool("mkfs.btrfs", &["-q", image], Path::new("/"));
    // SAFETY: a thread's own view of the mounts says nothing of memory.
    #[expect(
        unsafe_code,
        reason = "rustix calls every change of a namespace unsafe"
    )]
    unsafe {
        unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS).unwrap();
    }
    tool("mount", &["--make-rprivate", "/"], Path::new("/"));
    tool("mount", &["-o", "loop", image, folder], Path::new("/"));
}

#[test]
fn file_systems_that_can_share_blocks_have_common_frames_once() {
    if !rustix::process::geteuid().is_root() || !host_has("mkfs.btrfs") {
        return skip("a btrfs to share blocks on needs root and mkfs.btrfs");
    }
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("mounted");
    fs_err::create_dir(&place).unwrap();
    mount_btrfs(&folder.path().join("image"), &place);
    let layout = Layout::open(&place.join("oci")).unwrap();
    let layers = [tar(&[]), tar(&[1200])].map(|tar| write_layer(&layout, &tar));
    let blobs = layers.map(|layer| blob(&layout, &layer));
    let [first, second] = blobs.map(|path| path.display().to_string());
    tool("sync", &["-f", &first], Path::new("/"));
    let told = tool(
        "btrfs",
        &["filesystem", "du", "--raw", &second],
        Path::new("/"),
    );
    let told = String::from_utf8(told).unwrap();
    // Total, what it has alone, and the name.
    let numbers: Vec<u64> = told
        .lines()
        .last()
        .unwrap()
        .split_whitespace()
        .flat_map(str::parse)
        .collect();
    assert!(
        numbers[0] > 10 << 20 && numbers[1] * 3 < numbers[0],
        "{told}"
    );
    tool("umount", &[place.to_str().unwrap()], Path::new("/"));
}
