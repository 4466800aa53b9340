//! Building a commit instead of somebody's edited tree.

use std::process::Command;

use super::project::Project;
use crate::conformance::skip;

/// git in the project's folder; `None`, with a word about it, where there is none.
fn git(project: &Project, arguments: &[&str]) -> Option<String> {
    let done = Command::new("git")
        .args([
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@example.org",
            "-c",
            "init.defaultBranch=main",
        ])
        .args(arguments)
        .current_dir(project.path(""))
        .env("HOME", project.path(""))
        .output();
    match done {
        Ok(done) => {
            assert!(done.status.success(), "{arguments:?}: {done:?}");
            Some(String::from_utf8(done.stdout).unwrap().trim().to_owned())
        }
        Err(error) => {
            skip(&format!("the host's git: {error}"));
            None
        }
    }
}

#[test]
fn a_commit_is_built_whatever_was_edited() {
    let Some(project) = Project::hello() else {
        return;
    };
    let mini = format!("\"file://{}\"", project.path("mini").display());
    project.edit("templates/base.toml", "\"./mini\"", &mini);
    let key = format!("\"mini/{}\"", crate::support::distribution::KEY);
    project.edit("templates/base.toml", &key, "\"key\"");
    let name = project.path("mini").join(crate::support::distribution::KEY);
    project.write("key", fs_err::read(name).unwrap());
    project.write(".gitignore", "mini\ncache\n.stream-*\n");
    project.good(&["lock"]);
    if git(&project, &["init", "--quiet"]).is_none() {
        return;
    }
    git(&project, &["add", "."]);
    git(&project, &["commit", "--quiet", "--message=first"]);
    let commit = git(&project, &["rev-parse", "HEAD"]).unwrap();

    // What is edited is built without --checkout, and the record says that it was edited.
    project.edit("packages/hello/hello.spec", "echo hello", "echo edited");
    project.good(&["build"]);
    let edited = project.record();
    let source = edited.source.unwrap();
    assert_eq!(
        (source.commit.as_str(), source.checkout),
        (commit.as_str(), None)
    );
    assert!(source.changes.is_some());

    // A program that the repository names for git is not run.
    project.write(".git/hooks/post-checkout", "#!/bin/sh\ntouch ran");
    project.good(&["build", "--checkout", ".#main"]);
    let clean = project.record();
    let source = clean.source.unwrap();
    assert_eq!(source.commit, commit);
    assert!(source.checkout.unwrap().ends_with("#main") && source.changes.is_none());
    assert_ne!(clean.packages[0].outputs, edited.packages[0].outputs);
    assert!(!project.path("ran").exists());
    assert_eq!(project.rubbish(), Vec::<String>::new());

    git(&project, &["checkout", "--quiet", "."]);
    project.good(&["build"]);
    let same = project.record();
    assert_eq!(same.source.unwrap().changes, None);
    assert_eq!(same.packages[0].outputs, clean.packages[0].outputs);

    insta::assert_snapshot!(project.run(&["build", "--checkout", ".#none"]).failure(), @r"
    exit 2: error: `PROJECT` has no commit `none`
      hint: name a branch, a tag or a commit of it; what was not pushed is not there
    ");
    insta::assert_snapshot!(project.run(&["-C", "../x", "build", "--checkout", "."]).failure(), @r"
    exit 2: error: `../x` is no folder in a checkout
      hint: with --checkout, -C names the project's folder in the repository
    ");
}
