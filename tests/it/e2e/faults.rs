//! What comes from outside is damaged or not what it says: one clear message, and the store stays good.

use pristine::documents::lock::Lock;

use super::project::{Project, files, replace};
use crate::support::http::{Answer, Server};
use crate::support::packages::{Key, package};

/// A message with everything that depends on today's distribution left out.
fn filters() -> Vec<(&'static str, &'static str)> {
    vec![
        (r"sha256/[0-9a-f]{2}/[0-9a-f]{64}", "BLOB"),
        (r"[0-9a-f]{64}", "DIGEST"),
        (r"(?i)\b[0-9a-f]{40}\b", "FINGERPRINT"),
        (r"\b[0-9A-F]{16}\b", "KEYID"),
        (r"bash-\d[^\s/`]*\.rpm", "bash-VERSION.rpm"),
        (r"bash-\d[^\s/`]*", "bash-VERSION"),
        (r"\d+ bytes, expected \d+", "N bytes, expected M"),
        (r"http://127\.0\.0\.1:\d+", "SERVER"),
    ]
}

macro_rules! assert_message {
    ($message:expr, @$snapshot:literal) => {
        insta::with_settings!({filters => filters()}, {
            insta::assert_snapshot!($message, @$snapshot);
        })
    };
}

/// The relative path of a file of the distribution, found by a part of its name.
fn file(project: &Project, part: &str) -> String {
    let found = files(&project.path("mini"));
    let mut named = found.keys().map(|path| path.display().to_string());
    format!("mini/{}", named.find(|path| path.contains(part)).unwrap())
}

/// Changes one file of the distribution, sees what the program says, and mends it.
fn damaged(project: &Project, part: &str, damage: impl Fn(&mut Vec<u8>)) -> String {
    let path = project.path(&file(project, part));
    let good = fs_err::read(&path).unwrap();
    let mut bad = good.clone();
    damage(&mut bad);
    assert_ne!(good, bad);
    replace(&path, &bad);
    let said = project.run(&["build"]).failure();
    replace(&path, &good);
    said
}

#[test]
fn a_repository_that_is_not_what_was_signed_is_refused() {
    let Some(project) = Project::hello() else {
        return;
    };
    let pinned = minidistro::FINGERPRINT.to_uppercase();
    let wrong = pinned.replace('7', "8");
    project.edit("templates/base.toml", &pinned, &wrong);
    assert_message!(project.run(&["build"]).failure(), @"exit 2: error: the key of `mini` cannot be used: ./mini/RPM-GPG-KEY-minidistro holds the key FINGERPRINT, which is not the one expected: FINGERPRINT");
    project.edit("templates/base.toml", &wrong, &pinned);

    let changed = |bytes: &mut Vec<u8>| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        *bytes = text.replacen("<size>", "<size> ", 1).into_bytes();
    };
    assert_message!(damaged(&project, "repomd.xml", changed), @"exit 4: error: `repomd.xml of the repository mini` is not trusted: it has a wrong signature of the key FINGERPRINT: it does not fit the content");
    assert_message!(damaged(&project, "repomd.xml.asc", |bytes| bytes.truncate(100)), @"exit 4: error: `repomd.xml of the repository mini` is not trusted: it has a signature that cannot be read: IO error: not enough bytes in buffer: armor footer");
    assert_message!(damaged(&project, "-primary.xml", |bytes| bytes.truncate(1000)), @"
    exit 4: error: cannot fetch primary of mini
      file://PROJECT/mini/repodata/DIGEST-primary.xml.zst: it has N bytes, expected M
    ");
    assert_message!(damaged(&project, "-primary.xml", |bytes| bytes[500] ^= 1), @"
    exit 4: error: cannot fetch primary of mini
      file://PROJECT/mini/repodata/DIGEST-primary.xml.zst: its content has sha256:DIGEST, expected sha256:DIGEST
    ");
    assert_message!(damaged(&project, "/bash-", |bytes| bytes[50_000] ^= 1), @"
    exit 4: error: cannot fetch bash-VERSION
      file://PROJECT/mini/packages/b/bash-VERSION.rpm: its content has sha256:DIGEST, expected sha256:DIGEST
    ");
    assert_message!(damaged(&project, "/bash-", |bytes| bytes.truncate(50_000)), @"
    exit 4: error: cannot fetch bash-VERSION
      file://PROJECT/mini/packages/b/bash-VERSION.rpm: it has N bytes, expected M
    ");
    let missing = project.path(&file(&project, "/bash-"));
    let good = fs_err::read(&missing).unwrap();
    fs_err::remove_file(&missing).unwrap();
    assert_message!(project.run(&["build"]).failure(), @"
    exit 4: error: cannot fetch bash-VERSION
      file://PROJECT/mini/packages/b/bash-VERSION.rpm: cannot read it: No such file or directory (os error 2)
    ");
    fs_err::write(&missing, good).unwrap();
    assert!(!project.path("pristine.lock").exists());
    assert_eq!(project.rubbish(), Vec::<String>::new());
    project.good(&["build"]);
}

#[test]
fn signed_metadata_that_cannot_be_read_is_named() {
    let Some(project) = Project::hello() else {
        return;
    };
    let repository = project.repository("extras");
    let repomd = project.path("extras/repodata/repomd.xml");
    let good = fs_err::read(&repomd).unwrap();
    let said = ["", "<repomd", "<repomd></repomd>", "<html>Hello</html>"].map(|text| {
        fs_err::write(&repomd, text).unwrap();
        repository.sign();
        project.run(&["lock"]).failure()
    });
    insta::assert_snapshot!(said.join("\n"), @"
    exit 4: error: the repository `extras` cannot be read: `repomd.xml of extras` is damaged or not repository metadata: I/O error: it ends before `</repomd>`
    exit 4: error: the repository `extras` cannot be read: `repomd.xml of extras` is damaged or not repository metadata: I/O error: it ends before `</repomd>`
    exit 4: error: the repository `extras` cannot be read: `repomd.xml of extras` is damaged or not repository metadata: it lists no `primary` metadata
    exit 4: error: the repository `extras` cannot be read: `repomd.xml of extras` is damaged or not repository metadata: I/O error: it ends before `</repomd>`
    ");
    fs_err::write(&repomd, good).unwrap();
    repository.sign();
    project.good(&["build"]);
}

#[test]
fn packages_signed_by_others_or_by_nobody_are_refused() {
    let Some(project) = Project::hello() else {
        return;
    };
    let repository = project.repository("extras");
    project.wants("apple");
    repository.add_signed_by(&mut package("apple", "1"), &Key::new(8));
    repository.publish();
    assert_message!(project.run(&["build"]).failure(), @"exit 4: error: `apple-1-1.noarch` is not trusted: the package `PROJECT/cache/blobs/BLOB` is signed by the key FINGERPRINT, which is not trusted here (trusted: FINGERPRINT)");
    repository.add_unsigned(&mut package("apple", "1"));
    repository.publish();
    assert_message!(project.run(&["build"]).failure(), @"exit 4: error: `apple-1-1.noarch` is not trusted: the package `PROJECT/cache/blobs/BLOB` is not signed");
    assert!(!project.path("pristine.lock").exists());
    repository.add(&mut package("apple", "1"));
    repository.publish();
    project.good(&["build"]);
}

#[test]
fn a_package_damaged_in_the_store_is_never_used() {
    let Some(project) = Project::hello() else {
        return;
    };
    project.good(&["build"]);
    let built = files(&project.run_folder().join("repository"));
    let lock = Lock::load(&project.path("")).unwrap();
    let bash = lock.rpms().find(|rpm| rpm.nevra.name == "bash").unwrap();
    let blob = project.blob(&bash.digest.hex());
    let good = fs_err::read(&blob).unwrap();
    let mut flipped = good.clone();
    flipped[100_000] ^= 1;
    replace(&blob, &flipped);
    for bad in [Some(&flipped[..]), None, Some(&good[..good.len() / 2])] {
        match bad {
            Some(bad) => replace(&blob, bad),
            None => fs_err::remove_file(&blob).unwrap(),
        }
        // It is fetched again, and a word is lost about it where the length did not tell at once.
        let said = project.good(&["build", "--locked"]).err;
        let warning = said.lines().find(|line| line.starts_with("warning: "));
        assert_eq!(warning.is_some(), bad == Some(&flipped[..]), "{said}");
        if let Some(warning) = warning {
            assert_message!(warning.to_owned(), @"warning: `PROJECT/cache/blobs/BLOB` was damaged: its content has sha256:DIGEST; it was removed, and is fetched or made again");
        }
        assert!(fs_err::read(&blob).unwrap() == good);
        assert!(built == files(&project.run_folder().join("repository")));
    }
}

#[test]
fn a_build_needs_no_network_once_everything_is_in_the_store() {
    let Some(project) = Project::hello() else {
        return;
    };
    project.good(&["build"]);
    fs_err::rename(project.path("mini/packages"), project.path("mini/gone")).unwrap();
    fs_err::rename(project.path("mini/repodata"), project.path("mini/none")).unwrap();
    project.good(&["build", "--locked"]);
}

#[test]
fn a_mirror_with_wrong_content_is_left_for_the_next() {
    let Some(project) = Project::hello() else {
        return;
    };
    let folder = project.path("mini");
    let serve = move |wrong: bool| {
        let folder = folder.clone();
        Server::start(
            move |request| match fs_err::read(folder.join(&request.path)) {
                Ok(bytes) if wrong && request.path.starts_with("packages/") => {
                    Answer::whole(&vec![0; bytes.len()])
                }
                Ok(bytes) => Answer::whole(&bytes),
                Err(_) => Answer::status(404),
            },
        )
    };
    let (bad, good) = (serve(true), serve(false));
    project.edit(
        "templates/base.toml",
        "\"./mini\"",
        "\"http://dist.example.org/mini\"",
    );
    let text = project.read("pristine.toml");
    let mirrors =
        |urls: &str| format!("{text}\n[mirrors]\n\"http://dist.example.org/mini/\" = [{urls}]\n");
    project.write("pristine.toml", mirrors(&format!("\"{}/\"", bad.origin())));
    let said = project.run(&["build"]).failure();
    let bash = said
        .lines()
        .skip_while(|line| !line.contains("bash-"))
        .take(2);
    assert!(said.starts_with("exit 4: error: cannot fetch "), "{said}");
    assert_message!(bash.collect::<Vec<_>>().join("\n"), @"");
    project.write(
        "pristine.toml",
        mirrors(&format!("\"{}/\", \"{}/\"", bad.origin(), good.origin())),
    );
    project.good(&["build"]);
    assert!(
        bad.requests()
            .iter()
            .any(|request| request.path.starts_with("packages/"))
    );
    // The mirrors are nobody's business but this machine's.
    assert!(!project.read("pristine.lock").contains("127.0.0.1"));
}
