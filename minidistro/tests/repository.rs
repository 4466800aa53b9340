//! The whole way: a repository from a real mirror, given to a real dnf.
#![expect(
    clippy::unwrap_used,
    reason = "a failed step of a test shall say where"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "dnf is the judge here, and no part of the program"
)]
#![expect(clippy::print_stderr, reason = "says why a part is left out")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use minidistro::{FINGERPRINT, Options, Suite, Summary, generate, signing_key_armored};

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs_err::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(
                    path.strip_prefix(folder).unwrap().to_owned(),
                    fs_err::read(&path).unwrap(),
                );
            }
        }
    }
    found
}

async fn make(suite: Suite, work: &Path, name: &str, packages: &[&str]) -> (PathBuf, Summary) {
    let output = work.join(name);
    let options = Options {
        suite,
        mirror: None,
        packages: packages.iter().map(|&package| package.to_owned()).collect(),
        output: output.clone(),
        downloads: work.join("downloads"),
        sources: vec!["zlib".to_owned()],
    };
    let summary = generate(&options, &|_| {}).await.unwrap();
    (output, summary)
}

fn dnf(repository: &Path, home: &Path, arguments: &[&str]) -> Option<(bool, String)> {
    let key = home.join("key");
    fs_err::write(&key, signing_key_armored().unwrap()).unwrap();
    // Debian's own rpm would write its database below HOME.
    fs_err::write(home.join(".rpmmacros"), "%_dbpath /var/lib/rpm\n").unwrap();
    let output = Command::new("dnf")
        .args([
            "-q",
            "-y",
            "--repo=mini",
            "--releasever=1",
            "--setopt=reposdir=/nonexistent",
            "--setopt=install_weak_deps=0",
        ])
        .arg(format!(
            "--setopt=cachedir={}",
            home.join("cache").display()
        ))
        .arg(format!(
            "--repofrompath=mini,file://{}",
            repository.display()
        ))
        .args(["--setopt=mini.gpgcheck=1", "--setopt=mini.repo_gpgcheck=1"])
        .arg(format!("--setopt=mini.gpgkey=file://{}", key.display()))
        .args(arguments)
        .env("HOME", home)
        .output();
    match output {
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            Some((
                output.status.success(),
                String::from_utf8_lossy(&text).into_owned(),
            ))
        }
        Err(error) => {
            assert!(
                std::env::var_os("PRISTINE_REQUIRE_ALL").is_none(),
                "dnf is required here: {error}"
            );
            eprintln!("left out, dnf cannot be run: {error}");
            None
        }
    }
}

fn accepted_by_dnf(repository: &Path, work: &Path) {
    let home = work.join("home");
    fs_err::create_dir_all(&home).unwrap();
    let Some((closed, text)) = dnf(repository, &home, &["repoclosure", "--check=mini"]) else {
        return;
    };
    if text.contains("No such command") {
        // All of the repository is installed below, which proves the same.
        eprintln!("left out, dnf has no repoclosure");
    } else {
        assert!(closed, "{text}");
    }
    let root = work.join("root");
    let installroot = format!("--installroot={}", root.display());
    let (installed, text) = dnf(repository, &home, &[&installroot, "install", "*"]).unwrap();
    assert!(installed, "{text}");
    assert!(!text.contains("warning:"), "{text}");
    for file in [
        "bin/sh",
        "etc/ld.so.cache",
        "etc/passwd",
        "etc/nsswitch.conf",
        "usr/bin/awk",
        "var/lib/rpm/rpmdb.sqlite",
    ] {
        assert!(
            root.join(file).symlink_metadata().is_ok(),
            "{file} is missing"
        );
    }
    let shells = fs_err::read_to_string(root.join("etc/shells")).unwrap();
    assert!(shells.contains("/usr/bin/bash"), "{shells}");
}

#[tokio::test]
#[ignore = "needs a Debian mirror"]
async fn a_repository_is_the_same_twice_and_dnf_takes_it() {
    let work = tempfile::tempdir().unwrap();
    let wanted = [
        "base-files",
        "base-passwd",
        "bash",
        "coreutils",
        "dash",
        "debianutils",
        "gawk",
        "grep",
        "libc-bin",
        "ncurses-base",
        "ncurses-bin",
        "sed",
    ];
    let (one, summary) = make(Suite::Trixie, work.path(), "one", &wanted).await;
    let (two, again) = make(Suite::Trixie, work.path(), "two", &wanted).await;
    assert_eq!(summary, again);
    assert_eq!(summary.fingerprint, FINGERPRINT);
    assert!(summary.sources[0].file.starts_with("zlib_"));
    let known = files(&one);
    assert!(known == files(&two), "two runs differ");
    // A smaller repository over a larger one leaves nothing behind.
    make(Suite::Trixie, work.path(), "two", &["base-files"]).await;
    assert!(files(&two).len() < known.len());
    make(Suite::Trixie, work.path(), "two", &wanted).await;
    assert!(known == files(&two), "what is made again differs");
    accepted_by_dnf(&one, work.path());
}

#[tokio::test]
#[ignore = "needs a Debian mirror"]
async fn every_suite_converts() {
    let work = tempfile::tempdir().unwrap();
    for suite in Suite::ALL {
        let (output, summary) =
            make(suite, work.path(), suite.codename(), &["rpm", "base-files"]).await;
        assert!(summary.packages > 10, "{summary:?}");
        assert!(output.join("repodata/repomd.xml.asc").exists());
    }
}
