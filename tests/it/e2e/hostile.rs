//! Packages that want to write where they must not: refused, and nothing outside changes.

use pristine::digest::Digest;

use super::project::{Project, replace};
use crate::support::packages::{Repository, forge, package};

/// A package in `folder` whose file `/aa/evil` is forged in header and payload.
fn hostile(folder: &std::path::Path, forged: &[(&str, &str)]) -> std::path::PathBuf {
    let repository = Repository::new(folder, 9);
    let mut evil = package("evil", "1");
    evil.with_file_contents("new", rpm::FileOptions::new("/aa/evil"))
        .unwrap();
    let path = repository.add_unsigned(&mut evil);
    repository.publish();
    repository.change(&path, |path| {
        for (from, to) in forged {
            forge(path, from, to);
        }
    });
    path
}

/// What is forged: what stands in the header, in the payload, or in both.
const CASES: &[(&str, &[(&str, &str)])] = &[
    ("parent in the payload", &[("./aa/evil", "../..//ev")]),
    ("parent in the header", &[("/aa/\0", "/../\0")]),
    (
        "parent in both",
        &[("./aa/evil", "./../evil"), ("/aa/\0", "/../\0")],
    ),
    (
        "absolute",
        &[("./aa/evil", "/tmp/evil"), ("/aa/\0", "/tmp\0")],
    ),
];

/// What must not change: beside the project, in it, and where an absolute path leads.
fn outside(project: &Project) -> Vec<Option<String>> {
    let places = [
        "evil",
        "cache/evil",
        "cache/roots/evil",
        "../evil",
        "/tmp/evil",
        "/evil",
    ];
    let read = |place: &str| fs_err::read_to_string(project.path(place)).ok();
    places.iter().map(|place| read(place)).collect()
}

#[test]
fn a_hostile_package_among_the_tools_is_refused() {
    let Some(project) = Project::hello() else {
        return;
    };
    project.write("evil", "old");
    let template = project.read("templates/base.toml");
    let trusted = "[[repository]]\nname = \"extras\"\nbaseurl = [\"./extras\"]\ntrusted = true\nreason = \"a trial\"\n";
    project.write("templates/base.toml", format!("{template}{trusted}"));
    project.edit("templates/base.toml", "tools = [", "tools = [\"evil\", ");
    let before = outside(&project);
    let mut said = Vec::new();
    for (name, forged) in CASES {
        fs_err::remove_dir_all(project.path("extras")).ok();
        hostile(&project.path("extras"), forged);
        let ran = project.run(&["lock"]);
        said.push(format!("{name}: {}", ran.failure()));
        assert_eq!(outside(&project), before, "{name}");
        assert!(!project.path("pristine.lock").exists());
    }
    insta::with_settings!({filters => vec![(r"sha256/[0-9a-f]{2}/[0-9a-f]{64}", "BLOB")]}, {
        insta::assert_snapshot!(said.join("\n"), @"
        parent in the payload: exit 4: error: cannot unpack the tools root: refused entry `../..//ev` of package `./blobs/BLOB`: its name leads outside through `..`
        parent in the header: exit 4: error: cannot unpack the tools root: refused entry `/../evil` of package `./blobs/BLOB`: its name leads outside through `..`
        parent in both: exit 4: error: cannot unpack the tools root: refused entry `/../evil` of package `./blobs/BLOB`: its name leads outside through `..`
        absolute: exit 4: error: cannot unpack the tools root: refused entry `/tmp/evil` of package `./blobs/BLOB`: the package's header does not list it
        ");
    });
    project.edit("templates/base.toml", "\"evil\", ", "");
    project.good(&["build"]);
    assert_eq!(project.rubbish(), Vec::<String>::new());
}

#[test]
fn a_hostile_package_of_the_recipe_is_refused() {
    let Some(project) = Project::hello() else {
        return;
    };
    let project = project.recipe("");
    project.write("outside", "old");
    let before = outside(&project);
    let mut said = Vec::new();
    for (name, forged) in CASES {
        fs_err::remove_dir_all(project.path("extras")).ok();
        let path = hostile(&project.path("extras"), forged);
        let digest = Digest::of(&fs_err::read(&path).unwrap()).hex();
        project.write(
            "recipes/own.toml",
            format!(
                "format = 1\n[[rpm]]\nurl = \"./extras/evil-1-1.noarch.rpm\"\nsha256 = \"{digest}\"\n\
                 trusted = true\nreason = \"a trial\"\n"
            ),
        );
        let ran = project.run(&["build"]);
        said.push(format!("{name}: {}", ran.failure()));
        assert_ne!(ran.code, Some(0), "{name}");
        assert_eq!(outside(&project), before, "{name}");
    }
    insta::with_settings!({filters => vec![(r"sha256/[0-9a-f]{2}/[0-9a-f]{64}", "BLOB")]}, {
        insta::assert_snapshot!(said.join("\n"), @"
        parent in the payload: exit 4: error: the distribution's rpm could not install the packages (exit code 64):
        error: unpacking of archive failed: cpio: Archive file not in header
        error: evil-1-1.noarch: install failed
        parent in the header: exit 4: error: `PROJECT/cache/blobs/BLOB` is not a usable RPM package: it has the file `/../evil`, whose path leads outside
        parent in both: exit 4: error: `PROJECT/cache/blobs/BLOB` is not a usable RPM package: it has the file `/../evil`, whose path leads outside
        absolute: exit 4: error: the distribution's rpm could not install the packages (exit code 64):
        error: unpacking of archive failed: cpio: Archive file not in header
        error: evil-1-1.noarch: install failed
        ");
    });
    project.write("recipes/own.toml", "format = 1\n");
    project.good(&["build"]);
    assert_eq!(project.rubbish(), Vec::<String>::new());
}

#[test]
fn a_third_party_package_that_is_not_the_one_pinned_is_refused() {
    let Some(project) = Project::hello() else {
        return;
    };
    let repository = Repository::new(&project.path("extras"), 9);
    let path = repository.add(&mut package("friendly", "1"));
    let good = fs_err::read(&path).unwrap();
    let table = format!(
        "[[rpm]]\nurl = \"./extras/friendly-1-1.noarch.rpm\"\nsha256 = \"{}\"\n\
         keys = [{{ file = \"extras/KEY\", fingerprint = \"{}\" }}]\n",
        Digest::of(&good).hex(),
        repository.key.fingerprint()
    );
    let project = project.recipe(&table);
    let mut bad = good.clone();
    let at = bad.len() - 10;
    bad[at] ^= 1;
    replace(&path, &bad);
    insta::with_settings!({filters => vec![(r"[0-9a-f]{64}", "DIGEST")]}, {
        insta::assert_snapshot!(project.run(&["build"]).failure(), @"
        exit 4: error: cannot fetch ./extras/friendly-1-1.noarch.rpm
          file://PROJECT/extras/friendly-1-1.noarch.rpm: its content has sha256:DIGEST, expected sha256:DIGEST
        ");
    });
    replace(&path, &good);
    project.good(&["build"]);
    assert!(
        project
            .record()
            .installed
            .iter()
            .any(|nevra| nevra.name == "friendly")
    );
}
