//! Full and read-only disks, several processes.

use std::path::Path;

use pristine::digest::Digest;
use pristine::store::{Mode, Store, StoreError};

use super::{content, given_root, shown, start, unfinished};

/// Mounts `options` at the store's folder and runs the test in there; nothing is mounted on the host.
/// `None`, with the reason printed, where this machine allows no such mounts.
fn in_own_mounts(mount: &str, name: &str, root: &Path) -> Option<()> {
    let script = format!("{mount} || exit 77; exec \"$@\"");
    let root_text = root.to_str().unwrap();
    let wrapper = [
        "unshare",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        &script,
        root_text,
    ];
    let output = start(&wrapper, name, root, "").wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    // unshare itself ends with 1 where it may not, and then no test has begun.
    if output.status.code() == Some(77) || !text.contains("running 1 test") {
        assert!(
            std::env::var_os("PRISTINE_REQUIRE_ALL").is_none(),
            "cannot mount here: {text}"
        );
        #[expect(
            clippy::print_stderr,
            reason = "the one who reads the test's output must see it"
        )]
        {
            eprintln!("skipped, because this machine allows no mounts in namespaces: {text}");
        }
        return None;
    }
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
    Some(())
}

#[test]
fn a_full_disk_is_named_and_leaves_the_store_usable() {
    let folder = tempfile::tempdir().unwrap();
    in_own_mounts(
        "mount -t tmpfs -o size=4m,mode=755 tmpfs \"$0\"",
        "store::disk::on_a_small_disk",
        folder.path(),
    );
}

#[test]
#[ignore = "run by a_full_disk_is_named_and_leaves_the_store_usable"]
fn on_a_small_disk() {
    let root = given_root();
    let store = Store::open(&root).unwrap();
    let known = store
        .insert(&content(1 << 20)[..], None, Some(8 << 20))
        .unwrap_err();
    assert!(matches!(known, StoreError::Length { .. }));
    let error = store
        .insert(&content(8 << 20)[..], None, Some(8 << 20))
        .unwrap_err();
    let StoreError::Full {
        free: Some(free), ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert!(free < 4 << 20);
    let text = shown(&error, &root);
    assert!(
        text.starts_with("no space left in `STORE/tmp`: 8.0 MiB needed, "),
        "{text}"
    );
    assert!(text.ends_with(" free"), "{text}");
    assert_eq!(unfinished(&store), Vec::<String>::new());
    let digest = store.insert(&content(2 << 20)[..], None, None).unwrap();
    store.verified(&digest).unwrap();
    super::fetch::on_a_small_disk(&store);
    store.verified(&digest).unwrap();
    assert_eq!(unfinished(&store), Vec::<String>::new());
}

#[test]
fn a_read_only_store_is_read_and_says_why_it_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    store.insert(&b"abc"[..], None, None).unwrap();
    let mount = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\"";
    in_own_mounts(mount, "store::disk::on_a_read_only_disk", folder.path());
}

#[test]
#[ignore = "run by a_read_only_store_is_read_and_says_why_it_is_not_written"]
fn on_a_read_only_disk() {
    let root = given_root();
    let store = Store::open(&root).unwrap();
    store.verified(&Digest::of(b"abc")).unwrap();
    let inserted = store.insert(&b"abd"[..], None, None).unwrap_err();
    let text = shown(&inserted, &root);
    assert!(
        text.starts_with("the store `STORE` is read-only: cannot write `STORE/tmp/new-"),
        "{text}"
    );
    let locked = store.try_lock("build", Mode::Exclusive).unwrap_err();
    insta::assert_snapshot!(shown(&locked, &root), @"the store `STORE` is read-only: cannot write `STORE/locks/build`");
    let inside = root.join("runs/store");
    insta::assert_snapshot!(shown(&Store::open(&inside).unwrap_err(), &root), @"the store `STORE/runs/store` is read-only: cannot write `STORE/runs/store`");
}

#[test]
fn many_processes_may_store_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let held = store.try_lock("start", Mode::Exclusive).unwrap().unwrap();
    let children: Vec<_> = (0..4)
        .map(|_| start(&[], "store::disk::storing_the_same", folder.path(), ""))
        .collect();
    drop(held);
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
    store.verified(&Digest::of(&content(1 << 20))).unwrap();
    assert_eq!(unfinished(&store), Vec::<String>::new());
}

#[test]
#[ignore = "run by many_processes_may_store_the_same"]
fn storing_the_same() {
    let store = Store::open(&given_root()).unwrap();
    let cancel = pristine::cancel::Cancel::new().unwrap();
    let _go = store
        .lock("start", Mode::Shared, &pristine::events::Silent, &cancel)
        .unwrap();
    for _ in 0..8 {
        store.insert(&content(1 << 20)[..], None, None).unwrap();
    }
}
