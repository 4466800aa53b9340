//! What users get wrong: the file, the line, what is allowed, exit code 2.

use super::project::{Project, spec};

#[test]
fn a_typo_in_the_project_file_is_shown_with_what_was_meant() {
    let Some(project) = Project::hello() else {
        return;
    };
    project.edit("pristine.toml", "template", "tempalte");
    insta::assert_snapshot!(project.run(&["build"]).failure(), @r#"
    exit 2: error: ./pristine.toml:5:1: unknown key `tempalte`
      |
    5 | tempalte = "base"
      | ^^^^^^^^
      = did you mean `template`?
      = keys allowed here: name, template, recipe
    "#);
    project.edit("pristine.toml", "tempalte = \"base\"", "template = \"bas\"");
    insta::assert_snapshot!(project.run(&["build"]).failure(), @"
    exit 2: error: ./templates/bas.toml: there is no template `bas`
      = did you mean `base`?
      = templates: base
    ");
    project.write("pristine.toml", "format = 1\n[project\n");
    insta::assert_snapshot!(project.run(&["build"]).failure(), @"
    exit 2: error: ./pristine.toml:2:9: unclosed table, expected `]`
      |
    2 | [project
      |         ^
    ");
    fs_err::remove_file(project.path("pristine.toml")).unwrap();
    insta::assert_snapshot!(project.run(&["lock"]).failure(), @"
    exit 2: error: ./pristine.toml: no such file
      = a project is a directory with this file; `pristine demo` writes one to try
    ");
    assert_eq!(project.run(&["biuld"]).code, Some(2));
}

#[test]
fn a_cycle_is_named() {
    let Some(project) = Project::new() else {
        return;
    };
    let project = project
        .package("egg", &spec("egg", "BuildRequires: hen"))
        .package("hen", &spec("hen", "BuildRequires: chick"))
        .package("chick", &spec("chick", "BuildRequires: egg"))
        .package("other", &spec("other", ""));
    insta::assert_snapshot!(project.run(&["build"]).failure(), @"exit 2: error: the packages need each other to build: chick needs egg, egg needs hen, hen needs chick");
    assert!(!project.path("pristine.lock").exists());
}

#[test]
fn what_cannot_be_had_is_told_with_who_asks_for_it() {
    let Some(project) = Project::hello() else {
        return;
    };
    project.write(
        "packages/hello/hello.spec",
        spec("hello", "BuildRequires: unobtainium-devel >= 3"),
    );
    insta::assert_snapshot!(project.run(&["build"]).failure(), @"
    exit 2: error: what the project needs cannot be installed together:
    packages/hello/hello.spec:7 (BuildRequires) asks for `unobtainium-devel >= 3`, but no package provides it
    ");
    // One that is there and needs something that is not.
    let repository = project.repository("extras");
    let mut outer = crate::support::packages::package("outer", "1");
    repository.add(outer.requires(rpm::Dependency::any("inner")));
    let mut inner = crate::support::packages::package("inner", "1");
    repository.add(inner.requires(rpm::Dependency::greater_eq("core-of-it", "2")));
    repository.publish();
    project.write(
        "packages/hello/hello.spec",
        spec("hello", "BuildRequires: outer"),
    );
    insta::assert_snapshot!(project.run(&["build"]).failure(), @"
    exit 2: error: what the project needs cannot be installed together:
    packages/hello/hello.spec:7 (BuildRequires) asks for `outer`, but outer-1-1.noarch requires `inner`, and inner-1-1.noarch requires `core-of-it >= 2`, which no package provides
    ");
    project.write(
        "packages/hello/hello.spec",
        spec("hello", "BuildRequires: coreutils < 1"),
    );
    let said = project.run(&["build"]).failure();
    insta::with_settings!({filters => vec![(r"coreutils-\d[^ )]*", "coreutils-VERSION")]}, {
        insta::assert_snapshot!(said, @"
        exit 2: error: what the project needs cannot be installed together:
        packages/hello/hello.spec:7 (BuildRequires) asks for `coreutils < 1`, but no package provides it (there is only coreutils-VERSION)
        ");
    });
    // A name that is nearly right, and one that the template hides.
    let wanted = "BuildRequires: coreutlis, outer";
    project.write("packages/hello/hello.spec", spec("hello", wanted));
    project.edit(
        "templates/base.toml",
        "name = \"extras\"",
        "name = \"extras\"\nexclude = [\"outer\"]",
    );
    insta::assert_snapshot!(project.run(&["lock"]).failure(), @"
    exit 2: error: what the project needs cannot be installed together:
    packages/hello/hello.spec:7 (BuildRequires) asks for `coreutlis`, but no package provides it (the nearest name is `coreutils`)
    packages/hello/hello.spec:7 (BuildRequires) asks for `outer`, but no package provides it (extras has outer-1-1.noarch, but the repository's `exclude` in the template hides it)
    ");
    project.write("packages/hello/hello.spec", spec("hello", ""));
    project.good(&["build"]);
}

#[test]
fn a_spec_that_does_not_parse_is_shown_with_its_line() {
    let Some(project) = Project::hello() else {
        return;
    };
    project.edit("packages/hello/hello.spec", "License: MIT", "Licence: MIT");
    insta::assert_snapshot!(project.run(&["build"]).failure(), @"exit 2: error: `./packages/hello/hello.spec` does not parse: line 5: Unknown tag: Licence: MIT");
    project.write("packages/hello/hello.spec", "\u{0}\u{1}not a spec");
    insta::assert_snapshot!(project.run(&["build"]).failure(), @"exit 2: error: `./packages/hello/hello.spec` does not parse: Name field must be present before build in package: (null); Version field must be present before build in package: (null); Release field must be present before build in package: (null)");
    project.write(
        "packages/hello/hello.spec",
        spec("hello", "Source0: missing.tar.gz"),
    );
    insta::assert_snapshot!(project.run(&["build"]).failure(), @"
    exit 2: error: `./packages/hello/hello.spec` names the source `missing.tar.gz`, which lies neither beside the spec nor at a URL
      hint: put the file beside the spec, or name its URL in the Source tag
    ");
    project.write("packages/hello/hello.spec", spec("hello", "%if 1"));
    insta::assert_snapshot!(project.run(&["build"]).failure(), @"exit 2: error: `./packages/hello/hello.spec` does not parse: line 7: Unclosed %if");
    project.write("packages/hello/hello.spec", spec("hello", ""));
    project.good(&["build"]);
}

#[test]
fn an_output_folder_in_use_is_refused() {
    let Some(project) = Project::hello() else {
        return;
    };
    project.write("out/mine", "mine");
    insta::assert_snapshot!(project.run(&["build", "--output", "out"]).failure(), @"
    exit 2: error: the output folder `out` is not empty
      hint: name a new or empty folder
    ");
    assert_eq!(project.read("out/mine"), "mine");
    project.good(&["build", "--output", "fresh"]);
    assert!(
        project
            .path("fresh/repository/hello-1-1.noarch.rpm")
            .exists()
    );
}
