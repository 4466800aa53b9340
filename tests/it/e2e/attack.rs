//! Builds that attack those who take their results and read their words.

use super::project::{Project, spec, spec_with};

/// A package whose `%build` runs this script; what it leaves in `RPMS` stays there.
fn hostile(name: &str, script: &str) -> String {
    spec_with(
        name,
        "",
        "%build",
        &format!("cd %{{_topdir}}/RPMS\n{script}"),
    )
}

#[test]
fn results_that_are_no_packages_fail_their_build_alone() {
    let Some(project) = Project::new() else {
        return;
    };
    let project = project
        // Not files: passed over, and nothing is read through them.
        .package(
            "links",
            &hostile(
                "links",
                "ln -s /etc/shadow link-1-1.noarch.rpm; mkfifo pipe-1-1.noarch.rpm\n\
                 ln -s / all; mkdir folder-1-1.noarch.rpm; ln -s ../../../../.. up",
            ),
        )
        .package("junk", &hostile("junk", "echo junk > junk-9-9.noarch.rpm"))
        .package(
            "huge",
            &hostile("huge", "truncate -s 4T huge-9-9.noarch.rpm"),
        )
        .package(
            "names",
            &hostile(
                "names",
                "touch \"$(printf 'x\\033]0;owned\\007-1-1.noarch.rpm')\" \"$(printf 'y\\nz-1-1.noarch.rpm')\" .hidden.rpm",
            ),
        )
        .package("other", &spec("other", ""));
    let ran = project.run(&["build", "--jobs", "1"]);
    assert_eq!(ran.code, Some(1), "{}", ran.all());
    insta::with_settings!({filters => vec![(r"\d+ MiB", "SIZE"), (r"is no package: .*", "is no package: WHY")]}, {
        insta::assert_snapshot!(project.outcomes().join("\n"), @"
        huge: failed: what it left in RPMS is larger than the SIZE that there is room for
        junk: failed: its result `junk-9-9.noarch.rpm` is no package: WHY
        links: built
        names: built
        other: built
        ");
    });
    let made = super::project::files(&project.run_folder().join("repository"));
    let packages: Vec<_> = made
        .keys()
        .filter_map(|path| path.to_str())
        .filter(|name| !name.starts_with("repodata/"))
        .collect();
    insta::assert_snapshot!(packages.join("\n"), @"
    links-1-1.noarch.rpm
    links-1-1.src.rpm
    names-1-1.noarch.rpm
    names-1-1.src.rpm
    other-1-1.noarch.rpm
    other-1-1.src.rpm
    ");
    assert_eq!(project.rubbish(), Vec::<String>::new());
}

#[test]
fn a_build_cannot_replace_the_packages_of_another() {
    let Some(project) = Project::new() else {
        return;
    };
    // A package of the other's name, made inside of the build.
    let thief = "printf 'Name: victim\\nVersion: 1\\nRelease: 1\\nSummary: No\\nLicense: MIT\\nBuildArch: noarch\\n%%%%description\\nNo.\\n%%%%files\\n' > victim.spec\n\
                 rpmbuild -bb --define '_topdir /tmp/own' victim.spec\n\
                 find /tmp/own -name 'victim-*.rpm' -exec cp {} . ';'; ls";
    let project = project.package("victim", &spec("victim", "")).package(
        "thief",
        &hostile("thief", thief).replace(
            "BuildArch: noarch\n",
            "BuildArch: noarch\nBuildRequires: victim\n",
        ),
    );
    let ran = project.run(&["build"]);
    assert_eq!(
        ran.code,
        Some(1),
        "{}",
        fs_err::read_to_string(project.run_folder().join("logs/thief.log")).unwrap()
    );
    insta::assert_snapshot!(project.outcomes().join("\n"), @"
    victim: built
    thief: failed: another build has made `victim-1-1.noarch.rpm` already
    ");
    let made = project
        .run_folder()
        .join("repository/victim-1-1.noarch.rpm");
    let record = project.record();
    let output = record.packages[0]
        .outputs
        .iter()
        .find(|file| file.path.ends_with("victim-1-1.noarch.rpm"));
    let digest = pristine::digest::Digest::of(&fs_err::read(made).unwrap());
    assert_eq!(output.map(|file| file.sha256), Some(digest));
}

#[test]
fn a_log_cannot_drive_the_terminal() {
    let Some(project) = Project::new() else {
        return;
    };
    let script =
        "printf '\\033]0;owned\\007\\033[2J\\033[31merror: \\x9b5n \\r\\b\\b here\\n'; exit 1";
    let project = project.package("loud", &spec_with("loud", "", "%build", script));
    let ran = project.run(&["build"]);
    assert_eq!(ran.code, Some(1), "{}", ran.all());
    let said = format!("{}{}", ran.out, ran.err);
    assert!(said.contains("owned"), "what was printed is shown: {said}");
    let driving = said.chars().filter(|c| c.is_control() && *c != '\n');
    assert_eq!(driving.collect::<String>(), "");
}
