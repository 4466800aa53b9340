//! Builds at once, parts of a project, and what earlier runs have built.

use pristine::record::{Ending, Outcome, Scope};

use super::project::{Project, files, spec, spec_with};

/// Six packages, of which `d` needs `b` and `c`, and those need `a`.
fn diamond() -> Option<Project> {
    let needs = |names: &str| {
        let lines = names.split_whitespace();
        lines
            .map(|name| format!("BuildRequires: {name}\nRequires: {name}\n"))
            .collect::<Vec<_>>()
            .concat()
    };
    let project = Project::new()?
        .package(
            "a",
            &spec_with(
                "a",
                "",
                "%build",
                "make_flags=%{?_smp_mflags}\ntest \"$make_flags\" = -j$RPM_BUILD_NCPUS",
            ),
        )
        .package(
            "b",
            &spec_with("b", &needs("a"), "%check", "test -e /usr/share/a/text"),
        )
        .package("c", &spec("c", &needs("a")))
        .package(
            "d",
            &spec_with("d", &needs("b c"), "%check", "rpm -q a b c"),
        )
        .package("e", &spec("e", ""))
        .package("f", &spec("f", ""));
    Some(project)
}

#[test]
fn packages_are_the_same_bytes_one_by_one_and_at_once() {
    let Some(project) = diamond() else {
        return;
    };
    project.good(&["build", "--jobs", "1", "--output", "one-by-one"]);
    project.good(&["build", "--jobs", "4", "--output", "at-once"]);
    let one_by_one = files(&project.path("one-by-one/repository"));
    assert_eq!(one_by_one.len(), 6 * 2 + 4, "{:?}", one_by_one.keys());
    assert!(one_by_one == files(&project.path("at-once/repository")));
    let record = pristine::record::Record::load(&project.path("at-once")).unwrap();
    let host = record.host.unwrap();
    assert_eq!((host.jobs, record.ending), (4, Ending::Complete));
    let d = record
        .packages
        .iter()
        .find(|package| package.name == "d")
        .unwrap();
    assert_eq!(d.needs, ["a", "b", "c"]);
    assert_eq!(d.version.as_deref(), Some("1-1"));
    assert!(d.given.is_some() && d.made_from.is_some());
    let last = record
        .packages
        .iter()
        .filter(|package| d.needs.contains(&package.name));
    assert!(last.clone().all(|need| need.at + need.milliseconds <= d.at));
    assert!(!record.steps.is_empty());
    assert_eq!(project.rubbish(), Vec::<String>::new());
}

#[test]
fn only_some_packages_are_built_with_what_they_need() {
    let Some(project) = diamond() else {
        return;
    };
    project.good(&["build", "--only", "b,e"]);
    assert_eq!(project.outcomes(), ["a: built", "b: built", "e: built"]);
    let packages = vec!["b".to_owned(), "e".to_owned()];
    assert_eq!(project.record().scope, Scope::Only { packages });
    insta::assert_snapshot!(project.run(&["build", "--only", "bb"]).failure(), @r"
    exit 2: error: the project has no package `bb`
      hint: its packages: a, b, c, d, e, f
    ");
}

#[test]
fn what_has_not_changed_is_taken_from_an_earlier_run() {
    let Some(project) = diamond() else {
        return;
    };
    project.good(&["build"]);
    let first = project.record();
    let before = files(&project.run_folder().join("repository"));
    project.good(&["build", "--since", "latest"]);
    let as_before = |name: &str| format!("{name}: as in run {}", first.run);
    assert_eq!(
        project.outcomes(),
        ["a", "b", "c", "d", "e", "f"].map(as_before)
    );
    assert!(before == files(&project.run_folder().join("repository")));
    assert!(project.run_folder().join("logs/a.log").exists());

    // `c` changes, and with it what is installed for `d`; a run that took over is as good as one that built.
    project.edit("packages/c/c.spec", "echo c", "echo changed");
    project.good(&["build", "--since", "latest"]);
    assert_eq!(
        project.outcomes(),
        [
            as_before("a"),
            as_before("b"),
            "c: built".into(),
            "d: built".into(),
            as_before("e"),
            as_before("f")
        ]
    );
    let since = project.record();
    let incremental = files(&project.run_folder().join("repository"));
    project.good(&["build"]);
    assert!(
        incremental == files(&project.run_folder().join("repository")),
        "as a whole build makes it"
    );

    // What is not any more what its record says is built anew.
    let damaged = project
        .path("cache/runs")
        .join(&since.run)
        .join("repository/e-1-1.noarch.rpm");
    super::project::replace(&damaged, b"something else");
    let ran = project.good(&["build", "--since", &since.run]);
    assert!(
        ran.err
            .contains("warning: `e` is built anew, since it cannot be taken from run"),
        "{}",
        ran.all()
    );
    assert_eq!(project.outcomes()[4], "e: built");

    // Another macro makes all of them other packages.
    let text = project.read("pristine.toml");
    project.write(
        "pristine.toml",
        format!("{text}\n[build]\nvendor = \"Example\"\n"),
    );
    project.good(&["build", "--since", "latest"]);
    let built = |package: &pristine::record::PackageRecord| package.outcome == Outcome::Built {};
    assert!(project.record().packages.iter().all(built));
}

#[test]
fn the_first_failure_ends_the_run_where_that_is_wanted() {
    let Some(project) = Project::new() else {
        return;
    };
    let project = project
        .package("a", &spec_with("a", "", "%build", "exit 3"))
        .package("b", &spec("b", "BuildRequires: a"))
        .package("c", &spec("c", ""));
    let ran = project.run(&["build", "--jobs", "1", "--fail-fast"]);
    assert_eq!(ran.code, Some(1), "{}", ran.all());
    assert_eq!(
        project.outcomes(),
        [
            "a: failed: %build failed",
            "b: skipped: needs `a`, which was not built",
            "c: interrupted"
        ]
    );
    assert_eq!(project.record().ending, Ending::Interrupted);
    // Mended, it goes on from there.
    project.edit("packages/a/a.spec", "exit 3", "exit 0");
    let run = project.record().run;
    project.good(&["build", "--resume", &run]);
    assert_eq!(project.outcomes(), ["a: built", "b: built", "c: built"]);
    assert_eq!(project.record().scope, Scope::Resume { run });
    let ran = project.run(&["build", "--resume", "latest"]);
    let told = ran.failure().replace(&project.record().run, "RUN");
    insta::assert_snapshot!(told, @r"
    exit 2: error: the run `RUN` came to its end: there is nothing to go on with
      hint: to build what has changed since then: pristine build --since RUN
    ");
}

#[test]
fn programs_can_follow_a_run() {
    let Some(project) = diamond() else {
        return;
    };
    project.write("packages/f/f.spec", spec_with("f", "", "%build", "exit 3"));
    let ran = project.run(&["build", "--json", "--jobs", "2"]);
    assert_eq!(ran.code, Some(1), "{}", ran.all());
    let events: Vec<serde_json::Value> = ran
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |event: &'static str| events.iter().filter(move |line| line["event"] == event);
    assert_eq!(events[0]["format"], 1);
    assert_eq!(of("package_started").count(), 6);
    let ended: std::collections::BTreeMap<_, _> = of("package_ended")
        .map(|line| {
            (
                line["package"].as_str().unwrap(),
                line["result"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        (ended.len(), ended["a"], ended["f"]),
        (6, "built", "failed")
    );
    let times: Vec<u64> = events
        .iter()
        .map(|line| line["at"].as_u64().unwrap())
        .collect();
    assert!(times.iter().all(|at| at <= times.last().unwrap()));
    let last = of("run_ended").next_back().unwrap();
    assert_eq!(
        last["counts"],
        serde_json::json!({ "built": 5, "failed": 1 })
    );
    // People read the other stream, where each line has its time.
    let line = ran
        .err
        .lines()
        .find(|line| line.contains("FAIL f: failed"))
        .unwrap();
    assert!(
        line.as_bytes()[..8]
            .iter()
            .all(|byte| byte.is_ascii_digit() || *byte == b':'),
        "{line}"
    );
    let quiet = project.run(&[
        "build",
        "--quiet",
        "--json",
        "--only",
        "e",
        "--reuse-snapshot",
    ]);
    assert_eq!(quiet.err, "");
}
