//! The digest of a tree whose parts are hashed at once.

use std::os::fd::AsFd as _;
use std::path::Path;

use pristine::digest::Digest;
use pristine::tree::{self, Mark};

use super::{archive, handle};

/// Numbers of threads: one part, more parts, more than there are marks.
const THREADS: [usize; 5] = [1, 2, 3, 8, 1000];

/// Forty files of a megabyte in eight folders, and in the last folder other names of files of the first.
fn make(root: &Path) {
    for folder in 0..8_u8 {
        let place = root.join(format!("folder-{folder}/usr"));
        fs_err::create_dir_all(&place).unwrap();
        for file in 0..5_u8 {
            let content = vec![folder * 16 + file; 1 << 20];
            fs_err::write(place.join(format!("file-{file}")), content).unwrap();
        }
        fs_err::os::unix::fs::symlink("../x", place.join("link")).unwrap();
    }
    for file in 0..5 {
        let name = format!("usr/file-{file}");
        let (first, last) = (root.join("folder-0"), root.join("folder-7"));
        fs_err::hard_link(first.join(&name), last.join(format!("{name}-again"))).unwrap();
    }
}

fn digest(root: &Path, marks: &[Mark], threads: usize) -> (Digest, Vec<Mark>) {
    tree::digest(handle(root).as_fd(), None, marks, threads).unwrap()
}

/// Compares the digests by marks with that of the archive; gives that.
fn compared(root: &Path, marks: &[Mark], what: &str) -> Digest {
    let whole = Digest::of(&archive(root));
    for threads in THREADS {
        let (digest, own) = digest(root, marks, threads);
        assert_eq!(digest, whole, "{what}, {threads} threads");
        assert!(own.len() > 4, "{what}: {} marks", own.len());
    }
    whole
}

#[test]
fn parts_that_are_hashed_at_once_give_the_digest_of_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    make(root);
    let (whole, marks) = digest(root, &[], 1);
    assert_eq!(compared(root, &marks, "the same"), whole);
    // Marks that were made of parts are as good.
    let (_, marks) = digest(root, &marks, 3);
    assert_eq!(compared(root, &marks, "the same again"), whole);
}

#[test]
fn marks_of_another_tree_do_not_change_the_digest() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    make(root);
    let (mut before, marks) = digest(root, &[], 1);
    let write = |path: &str, text: &str| fs_err::write(root.join(path), text).unwrap();
    let changes: [(&str, &dyn Fn()); 7] = [
        ("in the middle", &|| write("folder-4/usr/file-0", "x")),
        ("at the end", &|| write("folder-7/usr/file-4", "x")),
        ("at the beginning", &|| write("folder-0/usr/file-0", "x")),
        ("a file more", &|| write("folder-3/new", "x")),
        ("as long as before", &|| write("folder-3/new", "y")),
        ("names that marks have", &|| {
            fs_err::remove_dir_all(root.join("folder-5")).unwrap();
        }),
        ("nothing in front of the last mark", &|| {
            for folder in 0..7 {
                let _gone = fs_err::remove_dir_all(root.join(format!("folder-{folder}")));
            }
            fs_err::write(root.join("folder-7/usr/file-9"), vec![1; 40 << 20]).unwrap();
            for file in 0..9 {
                fs_err::write(
                    root.join(format!("folder-7/usr/z-{file}")),
                    vec![2; 5 << 20],
                )
                .unwrap();
            }
        }),
    ];
    for (what, change) in changes {
        change();
        let after = compared(root, &marks, what);
        assert_ne!(after, before, "{what}");
        before = after;
    }
}

/// What makes a mark say something that is not so.
type Lie<'a> = &'a dyn Fn(&mut serde_json::Value);

#[test]
fn marks_that_lie_do_not_change_the_digest() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    make(root);
    let (whole, marks) = digest(root, &[], 1);
    let mut reversed = marks.clone();
    reversed.reverse();
    assert_eq!(compared(root, &reversed, "reversed"), whole);
    let text = serde_json::to_value(&marks).unwrap();
    let lies: [(&str, Lie<'_>); 4] = [
        ("another state", &|mark| {
            let byte = &mut mark["standing"]["state"][3];
            *byte = (byte.as_u64().unwrap() ^ 1).into();
        }),
        ("no state", &|mark| {
            mark["standing"]["state"] = serde_json::json!([1, 2]);
        }),
        ("another length", &|mark| {
            let length = &mut mark["standing"]["length"];
            *length = (length.as_u64().unwrap() + 512).into();
        }),
        ("another path", &|mark| {
            mark["path"] = serde_json::json!(b"folder-2/usr");
        }),
    ];
    for (what, lie) in lies {
        for at in 0..marks.len() {
            let mut text = text.clone();
            lie(&mut text[at]);
            let marks: Vec<Mark> = serde_json::from_value(text).unwrap();
            let (found, _) = digest(root, &marks, 1 + marks.len());
            assert_eq!(found, whole, "{what} of mark {at}");
        }
    }
}
