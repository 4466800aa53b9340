//! Ctrl-C and `kill -9` at any point: nothing runs on, and the next build works.

use std::os::unix::process::CommandExt as _;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use pristine::record::Ending;

use super::project::{Project, Ran, spec, spec_with};
use crate::support::http::{Answer, Server};
use crate::support::packages::package;

/// Waits for ever, without a processor's time. Its command line holds `marker`.
pub(super) fn wait_for_ever(marker: &str) -> String {
    format!("mkfifo /tmp/never; sh -c 'read line < /tmp/never' {marker}")
}

/// Runs the verb until `marker` is seen, then presses Ctrl-C as a terminal does: all of its group get it.
pub(super) fn interrupted(project: &Project, arguments: &[&str], marker: &str) -> Ran {
    let mut command = project.command(arguments);
    command.process_group(0);
    let mut running = project.spawn(command);
    running.until(marker);
    let start = Instant::now();
    kill_process_group(Pid::from_child(&running.child), Signal::INT).unwrap();
    let ran = running.wait();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}: {}", ran.all());
    assert_eq!(ran.code, Some(130), "{}", ran.all());
    let errors = ran.err.lines().filter(|line| line.contains("error: "));
    assert_eq!(errors.count(), 1, "{}", ran.all());
    ran
}

#[test]
fn ctrl_c_while_a_repository_does_not_answer() {
    let Some(project) = Project::hello() else {
        return;
    };
    let (asked, hears) = std::sync::mpsc::channel();
    let server = Server::start(move |request| {
        asked.send(request.path.clone()).ok();
        Answer::whole(&[0; 100]).stall(10)
    });
    project.edit(
        "templates/base.toml",
        "\"./mini\"",
        &format!("\"{}\"", server.origin()),
    );
    let running = project.start(&["lock"]);
    hears.recv_timeout(Duration::from_mins(2)).unwrap();
    running.signal(Signal::INT);
    insta::assert_snapshot!(running.wait().failure(), @"exit 130: error: interrupted");
    assert!(!project.path("pristine.lock").exists());
    project.edit("templates/base.toml", &server.origin(), "./mini");
    project.good(&["build"]);
}

#[test]
fn ctrl_c_while_specs_are_read() {
    let Some(project) = Project::hello() else {
        return;
    };
    let never = format!("%global never %({})", wait_for_ever("reads-for-ever"));
    project.write(
        "packages/hello/hello.spec",
        format!("{never}\n{}", spec("hello", "")),
    );
    insta::assert_snapshot!(interrupted(&project, &["lock"], "reads-for-ever").failure(), @"exit 130: error: cannot read `./packages/hello/hello.spec` in a sandbox: interrupted");
    project.write("packages/hello/hello.spec", spec("hello", ""));
    project.good(&["build"]);
}

#[test]
fn ctrl_c_while_the_environment_is_created() {
    let Some(project) = Project::hello() else {
        return;
    };
    let repository = project.repository("extras");
    let mut endless = package("endless", "1");
    endless.post_install_script(wait_for_ever("installs-for-ever"));
    repository.add(&mut endless);
    repository.publish();
    project.wants("endless");
    insta::assert_snapshot!(interrupted(&project, &["build"], "installs-for-ever").failure(), @"exit 130: error: cannot run the distribution's rpm: interrupted");
    project.edit("templates/base.toml", "\"endless\", ", "");
    project.good(&["build"]);
    assert_eq!(project.rubbish(), Vec::<String>::new());
}

#[test]
fn ctrl_c_while_the_recipe_runs() {
    let Some(project) = Project::hello() else {
        return;
    };
    let script = wait_for_ever("cooks-for-ever");
    let project = project.recipe(&format!("[[command]]\nscript = \"{script}\"\n"));
    insta::assert_snapshot!(interrupted(&project, &["build"], "cooks-for-ever").failure(), @"exit 130: error: cannot run the recipe: interrupted");
    project.edit("recipes/own.toml", &script, "true");
    project.good(&["build"]);
    assert_eq!(project.rubbish(), Vec::<String>::new());
}

#[test]
fn ctrl_c_while_a_package_is_built() {
    let Some(project) = Project::new() else {
        return;
    };
    // It does not listen to signals, has children of its own, and keeps a processor busy.
    let script = format!(
        "trap '' INT TERM HUP\n(while :; do :; done) &\n{}",
        wait_for_ever("builds-for-ever")
    );
    let project = project
        .package("a", &spec("a", ""))
        .package("b", &spec_with("b", "BuildRequires: a", "%build", &script))
        .package("c", &spec("c", "BuildRequires: b"))
        .package("d", &spec_with("d", "BuildRequires: a", "%build", &script));
    let arguments = ["build", "--json", "--jobs", "2"];
    let ran = interrupted(&project, &arguments, "builds-for-ever");
    let lines = ran
        .out
        .lines()
        .map(serde_json::from_str::<serde_json::Value>);
    let events: Vec<_> = lines.map(|line| line.unwrap()["event"].clone()).collect();
    assert_eq!(events[events.len() - 2..], ["run_ended", "error"]);
    let run = project.record().run;
    insta::assert_snapshot!(ran.failure().replace(&run, "RUN"), @r"
    exit 130: error: interrupted
      hint: what was built is kept; to go on: pristine build --resume RUN
    ");
    // What was built before is whole, and what was not is told.
    let folder = project.run_folder();
    assert!(folder.join("repository/a-1-1.noarch.rpm").exists());
    assert!(folder.join("repository/repodata/repomd.xml").exists());
    assert_eq!(project.record().ending, Ending::Interrupted);
    assert_eq!(
        project.outcomes(),
        [
            "a: built",
            "b: interrupted",
            "c: interrupted",
            "d: interrupted"
        ]
    );
    assert_eq!(project.rubbish(), Vec::<String>::new());
    // The next run goes on from there.
    project.write("packages/b/b.spec", spec("b", "BuildRequires: a"));
    project.write("packages/d/d.spec", spec("d", "BuildRequires: a"));
    project.good(&["build", "--resume", "latest"]);
    assert_eq!(
        project.outcomes(),
        [
            format!("a: as in run {run}"),
            "b: built".into(),
            "c: built".into(),
            "d: built".into()
        ]
    );
    assert_eq!(project.rubbish(), Vec::<String>::new());
}

#[test]
fn kill_9_leaves_no_process_and_the_next_run_clears_up() {
    let Some(project) = Project::new() else {
        return;
    };
    let script = wait_for_ever("dies-for-ever");
    let project = project
        .package("a", &spec("a", ""))
        .package("b", &spec_with("b", "BuildRequires: a", "%build", &script))
        .package("c", &spec("c", "BuildRequires: b"));
    let mut running = project.start(&["build"]);
    running.until("dies-for-ever");
    let during = project.command(&["runs"]).output().unwrap().stdout;
    let during = String::from_utf8(during).unwrap();
    assert!(
        during.contains("no record: ended early, or still going on"),
        "{during}"
    );
    running.signal(Signal::KILL);
    assert_eq!(running.wait().code, None);
    assert_ne!(project.rubbish(), Vec::<String>::new(), "it was at work");
    project.good(&["clean"]);
    assert_eq!(project.rubbish(), Vec::<String>::new());
    // What it had done is known, and the next run goes on from there.
    let run = project.record().run;
    assert_eq!(project.record().ending, Ending::Interrupted);
    assert_eq!(
        project.outcomes(),
        ["a: built", "b: interrupted", "c: interrupted"]
    );
    assert!(project.good(&["show"]).out.contains("interrupted"));
    assert!(
        project
            .good(&["log", "b"])
            .out
            .contains("+ mkfifo /tmp/never")
    );
    project.write("packages/b/b.spec", spec("b", "BuildRequires: a"));
    project.good(&["build", "--resume", "latest"]);
    assert_eq!(
        project.outcomes(),
        [
            format!("a: as in run {run}"),
            "b: built".into(),
            "c: built".into()
        ]
    );
    assert_eq!(project.rubbish(), Vec::<String>::new());
}

#[test]
fn kill_9_while_the_environment_is_created_leaves_no_half_of_it() {
    let Some(project) = Project::hello() else {
        return;
    };
    let repository = project.repository("extras");
    let mut endless = package("endless", "1");
    endless.post_install_script(wait_for_ever("stops-for-ever"));
    repository.add(&mut endless);
    repository.publish();
    project.wants("endless");
    let mut running = project.start(&["build"]);
    running.until("stops-for-ever");
    running.signal(Signal::KILL);
    running.wait();
    project.edit("templates/base.toml", "\"endless\", ", "");
    // A build sweeps as well as `clean` does.
    project.good(&["build"]);
    assert_eq!(project.rubbish(), Vec::<String>::new());
}
