//! `pristine run`: one build by hand.

use super::project::{Project, spec, spec_with};

/// Names in a folder, sorted.
fn names(project: &Project, folder: &str) -> Vec<String> {
    let entries = fs_err::read_dir(project.path(folder)).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn what_is_no_source_is_refused(project: &Project) {
    project.write("elsewhere/broken.src.rpm", "not a package");
    let message = |arguments: &[&str]| project.run(arguments).failure();
    insta::assert_snapshot!(message(&["run", "pristine.toml"]), @"
    exit 2: error: `pristine.toml` is neither a spec nor a source package
      hint: name a file that ends in .spec or .src.rpm
    ");
    let broken = message(&["run", "elsewhere/broken.src.rpm"]);
    assert!(
        broken.starts_with(
            "exit 2: error: `PROJECT/elsewhere/broken.src.rpm` is damaged or not an RPM package"
        ),
        "{broken}"
    );
}

#[test]
fn a_spec_and_a_source_package_are_built_as_the_nightly_build_would() {
    let Some(project) = Project::hello() else {
        return;
    };
    let project = project.package(
        "user",
        &spec("user", "BuildRequires: hello\nSource0: words.txt"),
    );
    project.write("packages/user/words.txt", "words\n");
    project.good(&["build"]);
    let nightly = project.run_folder().join("repository");
    let same = |folder: &str| {
        for name in ["user-1-1.noarch.rpm", "user-1-1.src.rpm"] {
            let made = fs_err::read(project.path(folder).join(name)).unwrap();
            assert!(
                made == fs_err::read(nightly.join(name)).unwrap(),
                "{folder}/{name}"
            );
        }
    };
    // A spec of the project.
    let ran = project.good(&["run", "packages/user/user.spec"]);
    assert_eq!(
        ran.out,
        "results/user-1-1.noarch.rpm\nresults/user-1-1.src.rpm\n",
        "{}",
        ran.all()
    );
    assert_eq!(
        names(&project, "results"),
        ["user-1-1.noarch.rpm", "user-1-1.src.rpm", "user.log"]
    );
    same("results");
    // A source package, which anybody may have made.
    let package = nightly.join("user-1-1.src.rpm");
    project.good(&["run", package.to_str().unwrap(), "--output", "again"]);
    same("again");
    // A spec that is no part of the project, with its source beside it, that does not build.
    let failing = spec_with(
        "other",
        "Source0: own.txt",
        "%build",
        "cat %{SOURCE0}; exit 3",
    );
    project.write("elsewhere/other.spec", failing);
    project.write("elsewhere/own.txt", "own source\n");
    let ran = project.run(&["run", "elsewhere/other.spec", "--output", "third"]);
    assert_eq!(ran.code, Some(1), "{}", ran.all());
    assert!(ran.err.contains("%build failed"), "{}", ran.all());
    assert!(project.read("third/other.log").contains("own source"));
    // A build by hand is no run.
    assert_eq!(names(&project, "cache/runs").len(), 1);
    assert_eq!(project.rubbish(), Vec::<String>::new());
    what_is_no_source_is_refused(&project);
}

#[test]
fn what_the_snapshot_lacks_comes_from_the_lock_s_repositories() {
    let Some(project) = Project::hello() else {
        return;
    };
    let repository = project.repository("extras");
    repository.add(&mut crate::support::packages::package("apple", "1"));
    repository.publish();
    project.good(&["lock"]);
    let wanting = spec_with("wanting", "BuildRequires: apple", "%build", "rpm -q apple");
    project.write("elsewhere/wanting.spec", wanting);
    project.good(&["run", "elsewhere/wanting.spec"]);
    project.edit(
        "elsewhere/wanting.spec",
        "BuildRequires: apple",
        "BuildRequires: nosuch",
    );
    insta::assert_snapshot!(project.run(&["run", "elsewhere/wanting.spec"]).failure(), @"
    exit 2: error: what is added cannot be installed together:
    wanting (BuildRequires) asks for `nosuch`, but no package provides it
    ");
}
