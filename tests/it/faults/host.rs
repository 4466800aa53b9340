//! A host that is not as it should be: a store that cannot be written, a clock that jumps, many at work at once.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::kills::Trial;
use crate::conformance::skip;
use crate::e2e::project::{Project, Ran, Running};

/// Runs the program where the project's store cannot be written: in a mount namespace of its own.
fn on_a_read_only_store(project: &Project, arguments: &[&str]) -> Ran {
    let script = "mount --bind cache cache && mount -o remount,ro,bind cache && exec \"$@\"";
    let inside = project.command(arguments);
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(inside.get_program())
        .args(inside.get_args())
        .current_dir(project.path(""));
    project.spawn(command).wait()
}

#[test]
fn a_read_only_store_is_read_and_never_half_written() {
    let Some(trial) = Trial::new() else {
        return;
    };
    let project = &trial.project;
    for reading in [
        &["runs"][..],
        &["show"],
        &["log", "hello"],
        &["snapshot", "list"],
        &["snapshot", "export", "image.tar"],
    ] {
        let ran = on_a_read_only_store(project, reading);
        assert_eq!(ran.code, Some(0), "{reading:?}: {}", ran.all());
    }
    for writing in [&["build"][..], &["enter", "--", "true"], &["gc"], &["lock"]] {
        let ran = on_a_read_only_store(project, writing);
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.failure(), @"
            exit 4: error: cannot prepare the store's folders in `PROJECT/cache`: failed to open file `PROJECT/cache/clones/.lock`: Read-only file system (os error 30)
              hint: a store is written even by what only uses it: make it writable, or name another with `--store DIR`; `runs`, `show`, `log`, `diff`, `snapshot list` and `snapshot export` only read
            ");
        }
    }
    trial.recovers("a store that was read-only");
}

/// The library that shows programs another time, from Debian's `faketime`.
fn faketime() -> Option<PathBuf> {
    let folders = [
        "/usr/lib/x86_64-linux-gnu/faketime",
        "/usr/lib/faketime",
        "/usr/lib64/faketime",
    ];
    let mut found = folders
        .iter()
        .map(|folder| Path::new(folder).join("libfaketime.so.1"));
    let library = found.find(|path| path.exists());
    if library.is_none() {
        skip("libfaketime is not installed (Debian: apt-get install libfaketime)");
    }
    library
}

#[test]
fn a_clock_that_jumps_changes_no_byte_and_loses_no_run() {
    let Some(library) = faketime() else {
        return;
    };
    let Some(trial) = Trial::new() else {
        return;
    };
    let project = &trial.project;
    project.write("clock", "+0");
    let skewed = |arguments: &[&str]| {
        let mut command = project.command(arguments);
        command
            .env("LD_PRELOAD", &library)
            .env("FAKETIME_TIMESTAMP_FILE", project.path("clock"))
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        project.spawn(command)
    };
    // Back by years, ahead by years, and back by days while it builds.
    for (before, meanwhile) in [("-20y", None), ("+15y", None), ("+0", Some("-3d"))] {
        project.write("clock", before);
        let mut running = skewed(&["build"]);
        if let Some(meanwhile) = meanwhile {
            running.says("creating the environment");
            project.write("clock", meanwhile);
        }
        let ran = running.wait();
        assert_eq!(ran.code, Some(0), "{before}: {}", ran.all());
        trial.recovers(before);
    }
    let runs = project.good(&["runs"]).out;
    let listed = runs.lines().filter(|line| line.contains("1 built")).count();
    assert_eq!(
        listed,
        fs_err::read_dir(project.path("cache/runs"))
            .unwrap()
            .count(),
        "{runs}"
    );
    for record in trial.records() {
        assert!(
            record.started <= record.ended,
            "{}: {}",
            record.started,
            record.ended
        );
    }
    project.good(&["gc"]);
    trial.recovers("a collection");
}

#[test]
fn eight_on_one_store_at_once() {
    let Some(trial) = Trial::new() else {
        return;
    };
    let project = &trial.project;
    let all: Vec<Running<'_>> = [
        &["build"][..],
        &["build", "--only", "hello"],
        &["enter", "--", "true"],
        &["enter", "--", "sh", "-c", "echo new > /tmp/new"],
        &["lock"],
        &["gc"],
        &["store", "verify"],
        &["snapshot", "export", "image.tar"],
    ]
    .iter()
    .map(|arguments| project.start(arguments))
    .collect();
    for ran in Running::wait_for_all(all) {
        assert_eq!(ran.code, Some(0), "{}", ran.all());
    }
    trial.recovers("eight at once");
}
