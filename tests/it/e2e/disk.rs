//! A full disk: said once, and the store is good as soon as there is room again.

use std::process::Command;

use pristine::record::{Class, Outcome};

use super::project::{Project, spec_with};
use crate::conformance::skip;
use crate::support::engine::{Engine, Setting, engine};
use crate::support::program;

/// The program in a mount namespace of its own, its store on a file system of so many MiB each time.
fn script(sizes: &[u32]) -> String {
    let mut script =
        String::from("mkdir -p small\nmount -t tmpfs -o size=1m,mode=755 none small || exit 99\n");
    for size in sizes {
        let program = program().display().to_string();
        let run = format!("{program} --store $PWD/small build >&2\necho $?\n");
        script.extend([
            format!("mount -o remount,size={size}m small || exit 99\n"),
            run,
        ]);
    }
    // What is in use then, and a little more.
    let program = program().display().to_string();
    let last = format!(
        "used=$(df -k --output=used small | tail -n 1)\nmount -o remount,size=$((used + 16384))k small || exit 99\n\
         {program} --store $PWD/small build --locked --jobs 2 >&2\necho $?\n"
    );
    script + &last + "ls -A small/tmp | grep -v ^partial-\nls small/roots | grep ^scratch-\ntrue\n"
}

#[test]
fn a_full_disk_is_told_and_afterwards_the_store_is_usable() {
    if !rustix::process::geteuid().is_root() {
        // The file system would belong to another user namespace than the store's trees: root tries this.
        return;
    }
    let Some(project) = Project::hello() else {
        return;
    };
    // Full while packages are fetched, unpacked, installed; then there is room, and then too little for another run.
    let script = script(&[12, 40, 110, 160, 2000]);
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", &script])
        .current_dir(project.path(""))
        .env("HOME", project.path(""));
    let ran = project.spawn(command).wait();
    if ran.out.is_empty() {
        return skip(&format!("a small file system: {}", ran.all()));
    }
    let said: Vec<&str> = ran
        .err
        .lines()
        .filter(|line| line.starts_with("error: ") || line.starts_with("  hint: "))
        .collect();
    assert_eq!(ran.out, "4\n4\n4\n4\n0\n4\n", "{}", ran.all());
    insta::with_settings!({filters => vec![(r"\d+(\.\d+)? [MKi]+B", "SIZE"), (r"write `.*` in", "write FILE in")]}, {
        insta::assert_snapshot!(said.join("\n"), @"
        error: no space left in `PROJECT/small/tmp`: SIZE needed, 0 B free
        error: cannot unpack the tools root: cannot work on the tree: cannot write FILE in the tree: No space left on device (os error 28)
        error: cannot unpack the tools root: cannot work on the tree: cannot write FILE in the tree: No space left on device (os error 28)
        error: cannot unpack the tools root: cannot work on the tree: cannot write FILE in the tree: No space left on device (os error 28)
        error: the disk is too small for this run: it needs about SIZE, and SIZE are free where `PROJECT/small` is
          hint: SIZE are missing: it needs SIZE for the environment, SIZE for 2 builds at once, as large as they were, SIZE for the packages that come out
          hint: see what can go, and let it go: pristine gc --dry-run; pristine gc
        ");
    });
}

#[test]
fn a_full_disk_of_the_engine_is_told_and_afterwards_it_is_usable() {
    let (Some(project), Some(_)) = (Project::hello(), engine()) else {
        return;
    };
    let setting = Setting {
        before: "mkdir data && mount -t tmpfs -o size=16m,mode=755 none data".to_owned(),
        ..Setting::default()
    };
    let engine = Engine::start_with("docker", &setting).unwrap();
    let data = engine.folder().join("data");
    let resize = |size: &str| {
        let resized = Command::new("nsenter")
            .arg(format!("--target={}", engine.pid().as_raw_nonzero()))
            .args(["--mount", "mount", "-o", &format!("remount,size={size}")])
            .arg(&data)
            .status();
        assert!(resized.unwrap().success());
    };
    let build = |size: &str| {
        resize(size);
        project
            .spawn(project.docker(&engine.host(), &["build"]))
            .wait()
    };
    let mut said = String::new();
    // Full when this program is copied there, and when packages are unpacked.
    for size in ["64m", "200m"] {
        let ran = build(size);
        assert_eq!(ran.code, Some(4), "{size}: {}", ran.all());
        let errors = ran.err.lines().filter(|line| line.starts_with("error: "));
        for line in errors {
            said.extend([line, "\n"]);
        }
        let left = engine.docker(&["ps", "-aq"]);
        assert_eq!(left, "", "{size}");
    }
    let said = said.replace(&engine.host(), "ENGINE");
    insta::with_settings!({filters => vec![(r"write `.*` in", "write FILE in")]}, {
        insta::assert_snapshot!(said, @"
        error: cannot unpack the tools root: cannot copy files into the engine: the disk of the engine at `ENGINE` is full: Error processing tar file(exit status 1): write /filled/pristine: no space left on device
        error: cannot unpack the tools root: cannot work on the tree: the disk of the engine at `ENGINE` is full: cannot write FILE in the tree: No space left on device (os error 28)
        ");
    });
    let ran = build("8g");
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    // A little more than is in use: a build that takes much fills it.
    let seen = format!(
        "/proc/{}/root{}",
        engine.pid().as_raw_nonzero(),
        data.display()
    );
    let facts = rustix::fs::statvfs(seen.as_str()).unwrap();
    let used = (facts.f_blocks - facts.f_bfree) * facts.f_frsize;
    let fill = "head -c 900000000 /dev/zero > big";
    project.write(
        "packages/hello/hello.spec",
        spec_with("hello", "", "%build", fill),
    );
    resize(&(used + (300 << 20)).to_string());
    a_build_that_fills_it(&project, &engine);
}

/// The engine's disk is full while a package is built: the package fails for that reason, and the run has its record.
fn a_build_that_fills_it(project: &Project, engine: &Engine) {
    let command = project.docker(&engine.host(), &["build", "--reuse-snapshot"]);
    let ran = project.spawn(command).wait();
    assert_eq!(ran.code, Some(1), "{}", ran.all());
    insta::with_settings!({filters => vec![(r"\d+(\.\d+)?[MKGi]+B", "SIZE")]}, {
        insta::assert_snapshot!(
            project.outcomes().join("\n"),
            @"hello: failed: %build failed: no space was left on the disk: the disk of the engine is full; its clone has SIZE; make room on the engine's disk (`docker system df` tells what takes it)"
        );
    });
    let outcome = project.record().packages.remove(0).outcome;
    let Outcome::Failed { class, .. } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(class, Class::Infrastructure);
    let left = engine.docker(&["ps", "-aq"]);
    assert_eq!(left, "");
}
