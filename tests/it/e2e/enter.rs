//! `pristine enter`: a command in a throw-away clone of the snapshot.

use super::project::Project;

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
