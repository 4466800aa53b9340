//! Packages that do not build: said in words, and the others are built.

use pristine::record::{Class, Outcome};

use super::project::{Project, spec, spec_with};

#[test]
fn a_package_that_fails_is_told_its_dependents_are_skipped_and_the_others_built() {
    let Some(project) = Project::new() else {
        return;
    };
    let project = project
        .package(
            "broken",
            &spec_with("broken", "", "%build", "echo about to fail >&2\nexit 3"),
        )
        .package("child", &spec("child", "BuildRequires: broken"))
        .package("grandchild", &spec("grandchild", "BuildRequires: child"))
        .package("other", &spec("other", ""));
    // One after the other, so that they are told in this order.
    let ran = project.run(&["build", "--jobs", "1"]);
    assert_eq!(ran.code, Some(1), "{}", ran.all());
    insta::assert_snapshot!(project.outcomes().join("\n"), @"
    broken: failed: %build failed
    child: skipped: needs `broken`, which was not built
    grandchild: skipped: needs `child`, which was not built
    other: built
    ");
    let log = fs_err::read_to_string(project.run_folder().join("logs/broken.log")).unwrap();
    assert!(log.contains("about to fail"), "{log}");
    let built = super::project::files(&project.run_folder().join("repository"));
    let packages: Vec<_> = built
        .keys()
        .filter_map(|path| path.to_str())
        .filter(|name| !name.starts_with("repodata/"))
        .collect();
    assert_eq!(packages, ["other-1-1.noarch.rpm", "other-1-1.src.rpm"]);
    // What the user reads: each package, the end of the log, where all of it is.
    let told = ran.err.lines().skip_while(|line| !line.contains(" FAIL "));
    let (excerpt, told): (Vec<_>, Vec<_>) = told.partition(|line| line.starts_with("       |"));
    assert!(excerpt.contains(&"       | about to fail"), "{excerpt:?}");
    let told = told.join("\n");
    insta::with_settings!({filters => filters()}, { insta::assert_snapshot!(told, @"
      FAIL broken: failed: %build failed (TIME)
           log: PROJECT/cache/runs/RUN/logs/broken.log
           look around in it: pristine enter --failed broken
      skip child: skipped: needs `broken`, which was not built (TIME)
      skip grandchild: skipped: needs `child`, which was not built (TIME)
      run  other (4/4)
      ok   other: built (TIME)
    warning: not every package was built
    "); });
    insta::with_settings!({filters => filters()}, { insta::assert_snapshot!(ran.out, @"
    1 built, 1 failed, 2 skipped in TIME
    PROJECT/cache/runs/RUN
    "); });

    // Mended, everything is built.
    project.edit("packages/broken/broken.spec", "exit 3", "exit 0");
    project.good(&["build"]);
}

/// Times and random names in what the program says.
fn filters() -> Vec<(&'static str, &'static str)> {
    vec![
        (r"\(\d+(\.\d+)? s\)", "(TIME)"),
        (r"(?m)^\d\d:\d\d:\d\d ", ""),
        (r"in \d+(\.\d+)? s", "in TIME"),
        (r"rpm-tmp\.\w+", "rpm-tmp.X"),
        (r"\d{8}-\d{6}-\d+", "RUN"),
    ]
}

#[test]
fn the_first_error_is_shown_however_much_follows() {
    let Some(project) = Project::new() else {
        return;
    };
    let script = "cat <<'END'\ncc -c main.c\nmain.c:3:5: error: 'x' undeclared (first use in this function)\n    3 |     x = 1;\n      |     ^\nEND\n\
        for i in $(seq 1 100); do echo \"cc -c other$i.c\"; done\necho 'make: *** [Makefile:2: main.o] Error 1'\nexit 2";
    let project = project.package("wrong", &spec_with("wrong", "", "%build", script));
    let ran = project.run(&["build"]);
    assert_eq!(ran.code, Some(1), "{}", ran.all());
    let record = project.record();
    let wrong = record
        .packages
        .iter()
        .find(|package| package.name == "wrong");
    let wrong = wrong.unwrap();
    let Outcome::Failed {
        class,
        phase,
        excerpt,
        ..
    } = &wrong.outcome
    else {
        panic!("{wrong:?}")
    };
    assert_eq!(
        (*class, phase.as_deref()),
        (Class::Compiler, Some("%build"))
    );
    insta::assert_snapshot!(excerpt.join("\n"), @"
    cc -c main.c
    main.c:3:5: error: 'x' undeclared (first use in this function)
        3 |     x = 1;
          |     ^
    + seq 1 100
    + echo cc -c other1.c
    cc -c other1.c
    ");
    let phases: Vec<_> = wrong
        .phases
        .iter()
        .map(|phase| phase.phase.as_str())
        .collect();
    assert_eq!(phases, ["prepare", "rpmbuild", "%prep", "%build"]);
    assert!(
        ran.err.contains("| main.c:3:5: error: 'x' undeclared"),
        "{}",
        ran.err
    );
}

#[test]
fn each_way_to_fail_has_its_reason() {
    let Some(project) = Project::new() else {
        return;
    };
    let loose = spec("loose", "").replace("\n%files", "touch %{buildroot}/loose\n\n%files");
    let gone = spec("gone", "").replace("\n%files\n", "\n%files\n/usr/share/nothing\n");
    let slow = spec_with("slow", "", "%build", "while :; do :; done");
    let silent = spec_with("silent", "", "%build", "mkfifo never\nread line < never");
    let project = project
        .package("prepares", &spec_with("prepares", "", "%prep", "false"))
        .package("checks", &spec_with("checks", "", "%check", "test 1 = 2"))
        .package("loose", &loose)
        .package("gone", &gone)
        .package(
            "killed",
            &spec_with("killed", "", "%build", "kill -9 $PPID"),
        )
        .package("slow", &slow)
        .package("silent", &silent);
    let text = project.read("pristine.toml");
    let limits = "[package.slow]\ntimeout = \"2s\"\n[package.silent]\nsilence = \"2s\"\n";
    project.write("pristine.toml", format!("{text}{limits}"));
    let ran = project.run(&["build"]);
    assert_eq!(ran.code, Some(1), "{}", ran.all());
    insta::assert_snapshot!(project.outcomes().join("\n"), @"
    checks: failed: %check failed
    gone: failed: File not found: BUILD/gone-1-build/BUILDROOT/usr/share/nothing
    killed: failed: %build was killed by signal 9
    loose: failed: Installed (but unpackaged) file(s) found: /loose
    prepares: failed: %prep failed
    silent: failed: %build was ended after 2 s without output; the newest process was `sh`; raise `silence` to 4s, unless it waits for something that never comes
    slow: failed: %build was ended by the time limit of 2 s; the newest process was `sh`; raise `timeout` to 4s
    ");
    for package in project.record().packages {
        let log = project.run_folder().join(package.log.unwrap());
        assert!(fs_err::metadata(log).unwrap().len() > 0);
    }
    assert_eq!(project.rubbish(), Vec::<String>::new());
}
