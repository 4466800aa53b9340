//! The lock: stays until it is told to move, and moves no more than it is told.

use pristine::documents::lock::Lock;
use rpm::{Dependency, PackageBuilder};

use super::project::{Project, spec};
use crate::support::http::{Answer, Server};
use crate::support::packages::package;

/// A project whose environment has `apple` and `pear`, each of version 1, from a repository of its own.
fn orchard() -> Option<(Project, crate::support::packages::Repository)> {
    let project = Project::hello()?;
    let repository = project.repository("extras");
    for name in ["apple", "pear"] {
        repository.add(&mut package(name, "1"));
        project.wants(name);
    }
    repository.publish();
    Some((project, repository))
}

fn versions(project: &Project) -> String {
    let lock = Lock::load(&project.path("")).unwrap();
    let own = lock
        .rpms()
        .filter(|rpm| matches!(rpm.nevra.name.as_str(), "apple" | "pear" | "plum"));
    let mut names: Vec<String> = own.map(|rpm| rpm.nevra.to_string()).collect();
    names.sort();
    names.join(" ")
}

#[test]
fn a_lock_of_what_has_not_changed_stays_byte_for_byte() {
    let Some((project, _repository)) = orchard() else {
        return;
    };
    project.good(&["lock"]);
    let first = project.read("pristine.lock");
    for verb in ["lock", "update"] {
        let ran = project.good(&[verb]);
        assert_eq!(ran.out, "no package changed\n", "{verb}");
        assert_eq!(project.read("pristine.lock"), first, "{verb}");
    }
    project.good(&["build", "--locked"]);
    assert_eq!(project.read("pristine.lock"), first, "build");
}

#[test]
fn newer_packages_come_when_they_are_asked_for_and_one_at_a_time() {
    let Some((project, repository)) = orchard() else {
        return;
    };
    project.good(&["lock"]);
    assert_eq!(versions(&project), "apple-1-1.noarch pear-1-1.noarch");
    for name in ["apple", "pear"] {
        repository.add(&mut package(name, "2"));
    }
    repository.publish();
    project.good(&["lock"]);
    assert_eq!(versions(&project), "apple-1-1.noarch pear-1-1.noarch");
    insta::assert_snapshot!(project.good(&["update", "pear"]).out, @"
     up  pear  1-1  2-1
    0 added, 0 removed, 1 up, 0 down, 0 replaced
    ");
    assert_eq!(versions(&project), "apple-1-1.noarch pear-2-1.noarch");
    // A new dependency, an addition and the other one.
    let mut newest = package("pear", "3");
    repository.add(newest.requires(rpm::Dependency::any("plum")));
    repository.add(&mut package("plum", "1"));
    repository.publish();
    insta::assert_snapshot!(project.good(&["update"]).out, @"
     up     apple  1-1  2-1
     up     pear   2-1  3-1
     added  plum        1-1
    1 added, 0 removed, 2 up, 0 down, 0 replaced
    ");
    assert_eq!(
        versions(&project),
        "apple-2-1.noarch pear-3-1.noarch plum-1-1.noarch"
    );
    insta::assert_snapshot!(project.run(&["update", "bassh", "pear"]).failure(), @"
    exit 2: error: `bassh` is not a package of pristine.lock
      hint: did you mean `bash`?
    ");
    // What is not asked for any more goes.
    project.edit("templates/base.toml", "\"pear\", ", "");
    insta::assert_snapshot!(project.good(&["lock"]).out, @"
     removed  pear  3-1
     removed  plum  1-1
    0 added, 2 removed, 0 up, 0 down, 0 replaced
    ");
    project.good(&["build", "--locked"]);
}

#[test]
fn a_stale_lock_is_refused_and_what_changed_is_named() {
    let Some(project) = Project::hello() else {
        return;
    };
    insta::assert_snapshot!(project.run(&["build", "--locked"]).failure(), @"
    exit 3: error: there is no pristine.lock
      hint: write it: pristine lock
    ");
    project.good(&["lock"]);
    let locked = project.read("pristine.lock");
    project.write("packages/hello/hello.spec", spec("hello", "# Another line"));
    insta::assert_snapshot!(project.run(&["build", "--locked"]).failure(), @"
    exit 3: error: pristine.lock does not fit the project any more:
      packages/hello/hello.spec: changed
      hint: write it anew: pristine lock
    ");
    project.wants("gawk");
    project.write("packages/new/new.spec", spec("new", ""));
    insta::assert_snapshot!(project.run(&["build", "--locked"]).failure(), @"
    exit 3: error: pristine.lock does not fit the project any more:
      template `base`: changed
      packages/hello/hello.spec: changed
      packages/new/new.spec: the package `new` is new
      hint: write it anew: pristine lock
    ");
    fs_err::remove_dir_all(project.path("packages/hello")).unwrap();
    insta::assert_snapshot!(project.run(&["build", "--locked"]).failure(), @"
    exit 3: error: pristine.lock does not fit the project any more:
      template `base`: changed
      packages/new/new.spec: the package `new` is new
      packages/hello/hello.spec: the package `hello` is gone
      hint: write it anew: pristine lock
    ");
    assert_eq!(
        project.read("pristine.lock"),
        locked,
        "a refusal changes nothing"
    );
    // Without the option, the lock is written anew first.
    project.good(&["build"]);
    project.good(&["build", "--locked"]);
}

#[test]
fn a_damaged_lock_is_named_and_never_used() {
    let Some(project) = Project::hello() else {
        return;
    };
    project.good(&["lock"]);
    let good = project.read("pristine.lock");
    let digest_at = good.find("sha256:").unwrap() + 9;
    let flip = |at: usize| {
        let mut bytes = good.clone().into_bytes();
        bytes[at] ^= 1;
        bytes
    };
    let half = good.len() / 2;
    let line = good[..half].rfind('\n').unwrap() + 1;
    let conflict = format!("{}<<<<<<< ours\n{}", &good[..line], &good[line..]);
    let cases = [
        ("flipped", flip(digest_at)),
        ("conflict", conflict.into_bytes()),
        ("truncated", good.as_bytes()[..half].to_vec()),
        ("empty", vec![]),
        (
            "newer",
            good.replacen("format = 1", "format = 2", 1).into_bytes(),
        ),
        ("not text", vec![0xff; 100]),
    ];
    let said = cases.map(|(name, bytes)| {
        project.write("pristine.lock", bytes);
        let ran = project.run(&["build", "--locked"]);
        format!("{name}: {}", ran.failure())
    });
    insta::with_settings!({filters => vec![(r"[0-9a-f]{64}", "DIGEST"), (r"as tree [0-9a-f]{12}", "as tree SHORT"), (r":\d+:\d+", ":LINE:COLUMN"), (r"(?m)^ *\d* \|.*\n?", "")]}, {
        insta::assert_snapshot!(said.join("\n"), @"
        flipped: exit 3: error: the environment differs from the lock: expected sha256:DIGEST, made sha256:DIGEST
          hint: a scriptlet or the tool that installs depends on more than the lock: compare the two trees
          hint: `pristine snapshot export` shows the locked one, the new one is kept as tree SHORT
          hint: if the change is wanted: remove `tree` from pristine.lock and run `pristine lock`
        conflict: exit 2: error: ./pristine.lock:LINE:COLUMN: the file holds an unresolved merge
            = take either side and write it anew: git checkout --ours pristine.lock && pristine lock
        truncated: exit 2: error: ./pristine.lock:LINE:COLUMN: unclosed inline table, expected `}`
            = locks are not written by hand: restore it from git, or write it anew: pristine lock
        empty: exit 2: error: ./pristine.lock: missing key `format`
          = begin the file with `format = 1`
          = locks are not written by hand: restore it from git, or write it anew: pristine lock
        newer: exit 2: error: ./pristine.lock:LINE:COLUMN: format 2 is newer than this pristine understands
          = the newest format it understands is 1
          = use the version of pristine that wrote it, or write it anew: pristine lock
        not text: exit 2: error: ./pristine.lock: line 1 is not UTF-8 text
        ");
    });
    // A digit of a digest is as good as any other: the content tells.
    let at = good.rfind("sha256:").unwrap() + 9;
    project.write("pristine.lock", flip(at));
    let ran = project.run(&["build", "--locked"]);
    assert!(matches!(ran.code, Some(2..=4)), "{}", ran.all());
    project.write("pristine.lock", good);
    project.good(&["build", "--locked"]);
}

#[test]
fn offline_nothing_is_asked_of_the_network_and_what_is_missing_is_named() {
    let Some(project) = Project::hello() else {
        return;
    };
    let folder = project.path("mini");
    let server = Server::start(move |request| {
        match fs_err::read(folder.join(request.path.trim_start_matches('/'))) {
            Ok(bytes) => Answer::whole(&bytes),
            Err(_) => Answer::status(404),
        }
    });
    project.edit(
        "templates/base.toml",
        "baseurl = [\"./mini\"]",
        &format!("baseurl = [\"{}\"]", server.url("")),
    );
    insta::with_settings!({filters => vec![(r"http://127\.0\.0\.1:\d+", "SERVER")]}, {
        insta::assert_snapshot!(project.run(&["lock", "--offline"]).failure(), @"
        exit 4: error: cannot fetch repodata/repomd.xml of mini
          SERVER/repodata/repomd.xml: it is not in the store, and nothing is fetched (--offline)
        ");
    });
    assert_eq!(server.requests().len(), 0);
    project.good(&["lock"]);
    let locked = project.read("pristine.lock");
    let before = server.requests().len();
    project.good(&["lock", "--offline"]);
    project.good(&["update", "--offline"]);
    project.good(&["build", "--offline"]);
    project.good(&["why", "--offline", "bash"]);
    assert_eq!(server.requests().len(), before);
    assert_eq!(project.read("pristine.lock"), locked);
    // A package that was not needed before.
    project.wants("gcc");
    let said = project.run(&["lock", "--offline"]);
    assert_eq!(said.code, Some(4), "{}", said.all());
    assert!(
        said.err
            .contains("it is not in the store, and nothing is fetched (--offline)"),
        "{}",
        said.all()
    );
    assert_eq!(server.requests().len(), before);
}

#[test]
fn kept_metadata_that_are_damaged_are_made_anew() {
    let Some((project, _repository)) = orchard() else {
        return;
    };
    project.good(&["lock"]);
    let locked = project.read("pristine.lock");
    let derived = || {
        let entries = fs_err::read_dir(project.path("cache/derived")).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        // An order that rpm took once is a hint, and is seen again by the next build only.
        paths.retain(|path| !path.to_str().unwrap().contains("/turns-"));
        paths.sort();
        paths
    };
    let good: Vec<_> = derived()
        .iter()
        .map(|path| fs_err::read(path).unwrap())
        .collect();
    assert!(good.len() >= 2, "an index for each repository");
    for damage in [0, 60, 300, 5000, usize::MAX] {
        for (path, good) in derived().iter().zip(&good) {
            let mut bytes = good.clone();
            let at = damage.min(bytes.len() - 1);
            bytes[at] ^= 0x10;
            fs_err::write(path, bytes).unwrap();
        }
        assert_eq!(project.good(&["update"]).out, "no package changed\n");
        project.good(&["why", "apple"]);
    }
    for path in derived() {
        fs_err::write(path, "").unwrap();
    }
    assert_eq!(project.good(&["update"]).out, "no package changed\n");
    let again: Vec<_> = derived()
        .iter()
        .map(|path| fs_err::read(path).unwrap())
        .collect();
    assert_eq!(again, good);
    assert_eq!(project.read("pristine.lock"), locked);
    // What the lock does not name any more is not kept for ever.
    let path = project.path("cache/derived/primary-of-former-times");
    fs_err::write(&path, "").unwrap();
    project.good(&["gc"]);
    assert!(!path.exists());
    assert_eq!(derived().len(), good.len());
}

/// A package whose scriptlet adds its name to a list.
fn listed(name: &str, requires: Dependency) -> PackageBuilder {
    let mut builder = package(name, "1");
    builder.post_install_script(format!("echo {name} >> /var/lib/turns"));
    builder.requires(Dependency::script_post("/bin/sh"));
    builder.requires(requires);
    builder
}

#[test]
fn rpm_s_own_order_holds_in_loops_too() {
    let Some(project) = Project::hello() else {
        return;
    };
    let repository = project.repository("own");
    for (name, needs) in [
        // A loop that has one place where it can be cut: the others are needed by scriptlets.
        ("ring-a", Dependency::script_post("ring-b")),
        ("ring-b", Dependency::script_post("ring-c")),
        ("ring-c", Dependency::any("ring-a")),
        // And one that has none.
        ("knot-a", Dependency::script_pre("knot-b")),
        ("knot-b", Dependency::script_pre("knot-a")),
        ("a-first", Dependency::script_pre("z-last")),
        ("z-last", Dependency::any("ring-a")),
    ] {
        repository.add(&mut listed(name, needs));
    }
    repository.publish();
    project.wants("a-first");
    project.wants("knot-a");
    project.good(&["lock"]);
    let taken = project.good(&["enter", "--", "cat", "/var/lib/turns"]).out;
    let rpm =
        "rpm --root /tmp/other --justdb --noscripts --nodeps --nosignature -iv /work/own/*.rpm";
    let said = project.good(&["enter", "--root", "--", "sh", "-c", rpm]);
    let lines = said.out.lines();
    let alone: Vec<&str> = lines
        .filter_map(|line| line.strip_suffix("-1-1.noarch"))
        .collect();
    // When the knot's turn is, and where it is cut, depends on the rest of the transaction.
    let without_knot = |order: &[&str]| -> Vec<String> {
        let others = order.iter().filter(|name| !name.starts_with("knot"));
        others.map(|name| (*name).to_owned()).collect()
    };
    let mut taken: Vec<&str> = taken.lines().collect();
    let order = without_knot(&taken);
    assert_eq!(order, without_knot(&alone), "{}", said.all());
    insta::assert_snapshot!(order.join(" "), @"ring-c ring-b ring-a z-last a-first");
    taken.sort_unstable();
    let all = [
        "a-first", "knot-a", "knot-b", "ring-a", "ring-b", "ring-c", "z-last",
    ];
    assert_eq!(taken, all);
}
