//! `why` and `why-not`: which request brings a package, and what keeps one out.

use rpm::Dependency;

use super::project::{Project, spec};
use crate::support::packages::package;

/// A project with packages of its own making:
/// `app` needs `middle`, that `library`, which two packages provide; `old` is replaced by `new`.
fn project() -> Option<Project> {
    let project = Project::hello()?;
    let repository = project.repository("extras");
    let mut app = package("app", "1");
    repository.add(app.requires(Dependency::any("middle")));
    let mut middle = package("middle", "1");
    repository.add(middle.requires(Dependency::greater_eq("library", "2")));
    for (name, version) in [("library-a", "2"), ("library-b", "3")] {
        let mut builder = package(name, version);
        repository.add(builder.provides(Dependency::eq("library", version)));
    }
    let mut new = package("new", "1");
    repository.add(new.obsoletes(Dependency::any("old")));
    repository.add(&mut package("old", "1"));
    let mut enemy = package("enemy", "1");
    repository.add(enemy.conflicts(Dependency::any("middle")));
    let mut broken = package("broken", "1");
    repository.add(broken.requires(Dependency::any("nowhere")));
    for name in ["single", "hidden"] {
        repository.add(&mut package(name, "1"));
        repository.add(&mut package(name, "2"));
    }
    repository.publish();
    project.edit(
        "templates/base.toml",
        "name = \"extras\"",
        "name = \"extras\"\nexclude = [\"hidden-2*\"]",
    );
    for name in ["new", "single", "hidden"] {
        project.wants(name);
    }
    let spec = spec("hello", "BuildRequires: app >= 1");
    project.write("packages/hello/hello.spec", spec);
    Some(project)
}

#[test]
fn why_tells_the_shortest_chain_from_a_request() {
    let Some(project) = project() else {
        return;
    };
    insta::assert_snapshot!(project.run(&["why", "app"]).failure(), @"
    exit 2: error: ./pristine.lock: no such file
      = write it: pristine lock
    ");
    project.good(&["lock"]);
    insta::assert_snapshot!(project.good(&["why", "library-b"]).out, @"
    library-b-3-1.noarch is in the environment:
      packages/hello/hello.spec:7 (BuildRequires) asks for `app >= 1`
      app-1-1.noarch requires `middle`
      middle-1-1.noarch requires `library >= 2`
      which is library-b-3-1.noarch
    ");
    insta::assert_snapshot!(project.good(&["why", "new"]).out, @"
    new-1-1.noarch is in the environment:
      templates/base.toml:3 asks for `new`
      which is new-1-1.noarch
    ");
    insta::assert_snapshot!(project.run(&["why", "librery-b"]).failure(), @"
    exit 2: error: `librery-b` is not in pristine.lock
      hint: did you mean `library-b`?
    ");
    insta::assert_snapshot!(project.run(&["why", "enemy"]).failure(), @"
    exit 2: error: `enemy` is not in pristine.lock
      hint: what keeps it out: pristine why-not enemy
    ");
    // What the distribution's own packages bring, by a file.
    let said = project.good(&["why", "/usr/bin/rpmspec"]).out;
    assert!(
        said.contains("templates/base.toml:3 asks for `rpm`"),
        "{said}"
    );
    // The lock and the store are enough.
    fs_err::rename(project.path("extras"), project.path("elsewhere")).unwrap();
    project.good(&["why", "--offline", "middle"]);
}

#[test]
fn why_not_tells_what_keeps_a_package_out() {
    let Some(project) = project() else {
        return;
    };
    project.good(&["lock"]);
    let said = [
        "app",
        "library-a",
        "old",
        "enemy",
        "broken",
        "single-1",
        "hidden-2",
        "library",
    ]
    .map(|name| {
        format!(
            "{name}: {}",
            project.good(&["why-not", name]).out.trim_end()
        )
    });
    insta::assert_snapshot!(said.join("\n"), @"
    app: app-1-1.noarch is in the lock; what brings it: pristine why app
    library-a: library-a-2-1.noarch of extras: nothing forbids it; middle-1-1.noarch requires `library >= 2`, for which library-b-3-1.noarch was chosen
    old: old-1-1.noarch of extras: it is forbidden:
      templates/base.toml:3 asks for `new` and this question asks for `old-1-1.noarch`, but new-1-1.noarch takes the place of old-1-1.noarch
    enemy: enemy-1-1.noarch of extras: it is forbidden:
      packages/hello/hello.spec:7 (BuildRequires) asks for `app >= 1` and this question asks for `enemy-1-1.noarch`, but app-1-1.noarch requires `middle`, and enemy-1-1.noarch conflicts with `middle`, which is middle-1-1.noarch
    broken: broken-1-1.noarch of extras: it is forbidden:
      this question asks for `broken-1-1.noarch`, but broken-1-1.noarch requires `nowhere`, which no package provides
    single-1: single-1-1.noarch of extras: single-2-1.noarch was chosen, which is newer
    hidden-2: hidden-2-1.noarch of extras: the repository's `exclude` in the template hides it
    library: library-b-3-1.noarch of extras: it is in the lock; what brings it: pristine why library-b
    library-a-2-1.noarch of extras: nothing forbids it; middle-1-1.noarch requires `library >= 2`, for which library-b-3-1.noarch was chosen
    ");
    insta::assert_snapshot!(project.run(&["why-not", "midle"]).failure(), @"
    exit 2: error: no repository has `midle`
      hint: did you mean `middle`?
    ");
    // What came later is only kept out by the lock.
    project.edit(
        "templates/base.toml",
        "exclude = [\"hidden-2*\"]",
        "exclude = []",
    );
    insta::assert_snapshot!(project.good(&["why-not", "hidden-2"]).out, @"hidden-2-1.noarch of extras: the lock stays with hidden-1-1.noarch; to take it: pristine update hidden");
}
