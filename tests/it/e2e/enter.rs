//! `pristine enter`: a command in a throw-away clone of the snapshot.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::project::{Project, Ran, spec_with};
use crate::support::engine::{engine, podman};
use crate::support::packages::package;

#[test]
fn a_command_sees_the_snapshot_gives_its_exit_code_and_leaves_nothing() {
    let Some(project) = Project::hello() else {
        return;
    };
    let project = project.recipe("[[file]]\npath = \"/etc/own\"\ncontent = \"own\\n\"\n");
    insta::assert_snapshot!(project.run(&["enter", "--", "true"]).failure(), @"
    exit 3: error: there is no pristine.lock, and so no environment
      hint: make both: pristine build
    ");
    project.good(&["lock"]);
    let ran = project.run(&[
        "enter",
        "--",
        "sh",
        "-c",
        "cat /etc/own; id -un; pwd; exit 7",
    ]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(7), "own\nbuilder\n/builddir\n"),
        "{}",
        ran.all()
    );
    let ran = project.run(&[
        "enter",
        "--root",
        "--",
        "sh",
        "-c",
        "id -u; echo changed > /etc/own; cat /etc/own; touch /builddir/x",
    ]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "0\nchanged\n"),
        "{}",
        ran.all()
    );
    let ran = project.run(&["enter", "--", "sh", "-c", "cat /etc/own; ls -A /builddir"]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "own\n"),
        "{}",
        ran.all()
    );
    // A signal is told as shells tell it; what cannot be run is an error of the command.
    assert_eq!(
        project
            .run(&["enter", "--", "sh", "-c", "kill -TERM $$"])
            .code,
        Some(143)
    );
    let missing = project.run(&["enter", "--", "no-such-program"]);
    assert!(matches!(missing.code, Some(4 | 127)), "{}", missing.all());
    assert_eq!(project.rubbish(), Vec::<String>::new());
    project.good(&["build", "--locked"]);
}

/// `hello`, which `greeter` needs, and whose sources have to be unpacked.
fn two() -> Option<Project> {
    let hello = spec_with("hello", "Source0: words.txt", "%prep", "mkdir -p hello-1; cp %{SOURCE0} hello-1/")
        .replace("%install\n", "%build\ncd hello-1; cat words.txt > made; echo %{?_with_loud} %flavour >> made\n\n%install\n");
    let greeter = spec_with(
        "greeter",
        "BuildRequires: hello",
        "%build",
        "cat /usr/share/hello/text; echo gone wrong; exit 9",
    );
    let project = Project::new()?
        .package("hello", &hello)
        .package("greeter", &greeter);
    project.write("packages/hello/words.txt", "words\n");
    project.edit(
        "pristine.toml",
        "template = \"base\"",
        "template = \"base\"\n\n[build]\nmacros = { flavour = \"vanilla\" }\n\n[package.hello]\nwith = [\"loud\"]",
    );
    Some(project)
}

fn enter(project: &Project, arguments: &[&str], script: &str) -> Ran {
    let mut all = vec!["enter"];
    all.extend(arguments);
    all.extend(["--", "sh", "-c", script]);
    project.run(&all)
}

/// Each way to name an environment leads to it, and the prompt says which it is.
fn environments_are_named(project: &Project, run: &str, date: &str, lock: &Path) {
    let say = "echo $PRISTINE";
    for (arguments, label) in [
        (vec![], format!("trial {date}\n")),
        (vec!["--run", "latest"], format!("trial {run}\n")),
        (vec!["--snapshot", date], format!("trial {run}\n")),
        (
            vec!["--snapshot", lock.to_str().unwrap()],
            format!("trial {date}\n"),
        ),
        (
            vec!["--snapshot", &project.record().snapshot.hex()[..9]],
            format!("trial {}\n", project.record().snapshot.short()),
        ),
    ] {
        assert_eq!(enter(project, &arguments, say).out, label, "{arguments:?}");
    }
}

fn what_is_not_there_is_told(project: &Project, run: &str) {
    let message = |arguments: &[&str]| {
        enter(project, arguments, "true")
            .failure()
            .replace(run, "RUN")
    };
    insta::assert_snapshot!(
        [
            message(&["--package", "hallo"]),
            message(&["--failed", "hello"]),
            message(&["--snapshot", "zzz"]),
            message(&["--run", "1999"]),
            message(&["--with", "nosuch"]),
        ].join("\n"), @"
    exit 2: error: the project has no package `hallo`
      hint: did you mean `hello`?
    exit 2: error: `hello` has failed in no kept run
      hint: to stand in its sources: pristine enter --package hello
    exit 2: error: `zzz` is no lock file, no run is of that date, and no snapshot begins with it
      hint: see what there is: pristine snapshot list
    exit 2: error: there is no run `1999`
      hint: the newest are RUN
    exit 2: error: what is added cannot be installed together:
    --with asks for `nosuch`, but no package provides it
    ");
}

#[test]
fn nights_snapshots_packages_and_failures_are_entered() {
    let Some(project) = two() else {
        return;
    };
    assert_eq!(project.run(&["build"]).code, Some(1));
    let run = project.record().run;
    let (date, lock) = (&run[..8], project.path("pristine.lock"));
    environments_are_named(&project, &run, date, &lock);
    // A package's sources, macros and conditionals are as in its build, and rpmbuild goes on from there.
    let ran = enter(
        &project,
        &["--package", "hello"],
        "ls; rpmbuild -bc --short-circuit ~/SPECS/hello.spec >/dev/null 2>&1 || exit; cat made; echo $RPM_BUILD_NCPUS $PRISTINE",
    );
    let processors = std::thread::available_parallelism().unwrap();
    assert_eq!(
        ran.out,
        format!("words.txt\nwords\n--with-loud vanilla\n{processors} trial {date} hello\n"),
        "{}",
        ran.all()
    );
    // What it needs of the project comes from the newest run that built it.
    let ran = enter(&project, &["--package", "greeter"], "rpm -q hello; pwd");
    assert!(
        ran.out.starts_with("hello-1-1.noarch\n/builddir/BUILD"),
        "{}",
        ran.all()
    );
    // A failed build is as it was when it failed.
    let ran = enter(
        &project,
        &["--failed", "greeter"],
        "rpm -q hello; ls ~/SPECS; id -un; echo $PRISTINE",
    );
    assert_eq!(
        ran.out,
        format!("hello-1-1.noarch\ngreeter.spec\nbuilder\ntrial {date} greeter failed\n"),
        "{}",
        ran.all()
    );
    assert_eq!(project.rubbish(), Vec::<String>::new());
    what_is_not_there_is_told(&project, &run);
}

#[test]
fn the_project_is_seen_read_only_and_with_rw_its_files_stay_its_owner_s() {
    let Some(project) = Project::hello() else {
        return;
    };
    project.good(&["lock"]);
    let ran = enter(
        &project,
        &[],
        "cat /work/pristine.toml | head -1; ls /work/cache; touch /work/x; pwd",
    );
    assert_eq!(ran.out, "format = 1\n/builddir\n", "{}", ran.all());
    assert!(ran.err.contains("Read-only file system"), "{}", ran.all());
    std::os::unix::fs::symlink("/etc/shadow", project.path("link")).unwrap();
    let script = "pwd; mkdir made && echo mine > made/file; echo more >> pristine.toml; ls -A cache; touch cache/x; head -c 1 link";
    let ran = enter(&project, &["--rw"], script);
    assert_eq!(ran.out, "/work\n", "{}", ran.all());
    assert_eq!(project.read("made/file"), "mine\n");
    assert!(project.read("pristine.toml").ends_with("more\n"));
    let me = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    for file in ["made", "made/file", "pristine.toml"] {
        let facts = fs_err::metadata(project.path(file)).unwrap();
        assert_eq!((facts.uid(), facts.gid()), me, "{file}");
    }
    assert!(!project.path("cache/x").exists());
}

#[test]
fn a_clone_can_be_kept_by_name_and_gone_on_with() {
    let Some(project) = Project::hello() else {
        return;
    };
    project.good(&["lock"]);
    enter(&project, &["--keep=a"], "echo one > ~/one");
    enter(
        &project,
        &["--keep=a"],
        "cat ~/one; echo two > ~/two; rm ~/one",
    );
    let ran = enter(&project, &["--keep=a"], "cat ~/two; ls ~");
    assert_eq!(ran.out, "two\ntwo\n", "{}", ran.all());
    assert_eq!(enter(&project, &[], "ls ~").out, "");
    let listed = project.good(&["enter", "--list"]).out;
    assert!(listed.starts_with("a: trial "), "{listed}");
    let message = |arguments: &[&str]| enter(&project, arguments, "true").failure();
    let snapshot = [
        message(&["--keep=a", "--run", "latest"]),
        message(&["--keep=a", "--rw"]),
    ]
    .join("\n");
    let label = listed.split([':', ',']).nth(1).unwrap().trim().to_owned();
    insta::assert_snapshot!(snapshot.replace(&label, "LABEL"), @"
    exit 2: error: the kept clone `a` exists already, of LABEL
      hint: go on with it: pristine enter --keep=a
      hint: or begin anew: pristine enter --forget a
    exit 2: error: the kept clone `a` was made without --rw, which gives the builder other ids
      hint: pristine enter --keep=a
      hint: or begin anew: pristine enter --forget a
    ");
    project.good(&["enter", "--forget", "a"]);
    assert_eq!(project.good(&["enter", "--list"]).out, "");
    insta::assert_snapshot!(project.run(&["enter", "--forget", "a"]).failure(), @"
    exit 2: error: there is no kept clone `a`
      hint: see which there are: pristine enter --list
    ");
    let roots = fs_err::read_dir(project.path("cache/roots")).unwrap();
    let kept = |name: &String| name.starts_with("kept-");
    let names = roots.map(|root| root.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(kept).count(), 0);
}

#[test]
fn packages_are_added_from_the_lock_s_repositories() {
    let Some(project) = Project::hello() else {
        return;
    };
    let repository = project.repository("extras");
    repository.add(package("pear", "1").requires(rpm::Dependency::any("apple")));
    repository.add(&mut package("apple", "1"));
    repository.publish();
    project.good(&["lock"]);
    // A newer one that the lock has not seen is not taken.
    repository.add(&mut package("apple", "2"));
    repository.publish();
    let ran = enter(
        &project,
        &["--with", "pear"],
        "rpm -q pear apple | sed 's/-[0-9]*[.].*//'",
    );
    assert_eq!(ran.out, "pear-1\napple-1\n", "{}", ran.all());
    let ran = enter(&project, &[], "rpm -q pear");
    assert_eq!(ran.code, Some(1), "{}", ran.all());
}

#[test]
fn streams_are_the_caller_s_own_and_a_killed_tool_leaves_nothing() {
    let Some(project) = Project::hello() else {
        return;
    };
    project.good(&["lock"]);
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let mut command = project.command(&["enter", "--", "cat"]);
    command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let sent = bytes.clone();
    let writer = std::thread::spawn(move || input.write_all(&sent).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.stdout == bytes && output.status.success());
    // Without a command a shell reads what is piped.
    let mut command = project.command(&["enter"]);
    command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"echo piped\nexit 3\n")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (&output.stdout[..], output.status.code()),
        (&b"piped\n"[..], Some(3))
    );
    // Background processes end with the command, and all ends with the tool.
    let ran = enter(&project, &[], "sleep 1011 & echo begun");
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "begun\n"));
    let mut running = project.start(&["enter", "--", "sleep", "1012"]);
    running.until("1012");
    running.signal(rustix::process::Signal::KILL);
    assert_eq!(running.wait().code, None);
    project.good(&["enter", "--", "true"]);
    assert_eq!(project.rubbish(), Vec::<String>::new());
}

#[test]
fn engines_give_the_same_place() {
    let Some(project) = two() else {
        return;
    };
    assert_eq!(project.run(&["build"]).code, Some(1));
    let me = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    for (backend, started) in [("docker", engine()), ("podman", podman())] {
        let Some(engine) = started else { continue };
        let variable = if backend == "docker" {
            "DOCKER_HOST"
        } else {
            "CONTAINER_HOST"
        };
        let run = |arguments: &[&str]| {
            let mut command =
                project.command(&[&["--backend", backend, "enter"], arguments].concat());
            command.env(variable, engine.host());
            project.spawn(command).wait()
        };
        let script = "ls; rpmbuild -bc --short-circuit ~/SPECS/hello.spec >/dev/null 2>&1; cat made; touch /work/x";
        let ran = run(&["--package", "hello", "--", "sh", "-c", script]);
        assert_eq!(
            ran.out,
            "words.txt\nwords\n--with-loud vanilla\n",
            "{}",
            ran.all()
        );
        let script = "pwd; echo mine > file; ls -A cache";
        let ran = run(&["--rw", "--", "sh", "-c", script]);
        assert_eq!(ran.out, "/work\n", "{}", ran.all());
        let facts = fs_err::metadata(project.path("file")).unwrap();
        assert_eq!((facts.uid(), facts.gid()), me);
        fs_err::remove_file(project.path("file")).unwrap();
        run(&["--keep=a", "--", "sh", "-c", "echo kept > ~/x"]);
        let ran = run(&["--keep=a", "--", "sh", "-c", "cat ~/x; exit 4"]);
        assert_eq!(
            (ran.code, ran.out.as_str()),
            (Some(4), "kept\n"),
            "{}",
            ran.all()
        );
        run(&["--forget", "a"]);
    }
}
