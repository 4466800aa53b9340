//! What stays in a store and what goes: `gc`, tags, `snapshot` and `store verify`, by several processes at once.

use std::path::PathBuf;

use super::project::{Project, Running, files};
use crate::support::engine::engine;

/// Output without what differs from run to run: sizes, digests, names of runs, process ids.
fn plain(text: &str) -> String {
    let mut plain = Vec::new();
    for line in text.lines() {
        let words: Vec<String> = line.split_whitespace().map(word).collect();
        plain.push(words.join(" "));
    }
    plain.join("\n")
}

fn word(word: &str) -> String {
    let bare = word.trim_matches(|c: char| ",:()`".contains(c));
    let hex = bare.trim_start_matches("sha256:");
    let units = ["B", "KiB", "MiB", "GiB"];
    let replaced = if hex.len() >= 12 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        "HEX"
    } else if bare.len() == 17 && bare.starts_with("20") && bare.as_bytes()[8] == b'-' {
        "RUN"
    } else if bare.ends_with('Z') && bare.contains('T') {
        "TIME"
    } else if bare.parse::<f64>().is_ok() {
        "N"
    } else if units.contains(&bare) {
        "UNIT"
    } else {
        bare
    };
    word.replace(bare, replaced)
}

/// Names of the kept runs, oldest first.
fn runs(project: &Project) -> Vec<String> {
    let mut names: Vec<String> = fs_err::read_dir(project.path("cache/runs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn trees(project: &Project) -> usize {
    let roots = fs_err::read_dir(project.path("cache/roots")).unwrap();
    roots
        .filter(|entry| {
            entry
                .as_ref()
                .unwrap()
                .file_name()
                .to_string_lossy()
                .starts_with("tree-")
        })
        .count()
}

/// A project whose recipe makes another snapshot for each `text`.
fn changing(text: &str) -> Option<Project> {
    let project = Project::hello()?;
    Some(project.recipe(&recipe(text)))
}

fn recipe(text: &str) -> String {
    format!("[[file]]\npath = \"/etc/own\"\ncontent = \"{text}\\n\"\n")
}

/// Another recipe, and so another lock and another snapshot.
fn change(project: &Project, text: &str) {
    project.write("recipes/own.toml", format!("format = 1\n{}", recipe(text)));
}

fn images(project: &Project) -> usize {
    project.good(&["snapshot", "list"]).out.lines().count() - 1
}

#[test]
fn runs_go_by_the_rule_at_the_end_of_a_build_and_what_only_they_wanted_goes_with_them() {
    let Some(project) = changing("one") else {
        return;
    };
    // Without a rule in the project file a build removes nothing.
    project.good(&["build"]);
    change(&project, "two");
    project.good(&["build"]);
    assert_eq!((runs(&project).len(), images(&project)), (2, 2));
    project.edit(
        "pristine.toml",
        "[project]",
        "[store]\nkeep = { last = 2 }\n\n[project]",
    );
    let dry = project.good(&["gc", "--dry-run"]);
    insta::assert_snapshot!(plain(&dry.out), @"
    goes:
    N UNIT tools HEX: it is unpacked again when it is needed
    N UNIT tree HEX: it is unpacked again when its snapshot is used, where that stays
    N UNIT N packages, sources and metadata: nothing that stays was made from it
    stays:
    N UNIT run RUN: one of the newest N
    N UNIT run RUN: the newest
    N UNIT snapshot HEX: run RUN
    N UNIT snapshot HEX: run RUN
    N UNIT tools HEX: the lock of `PROJECT`
    N UNIT tree HEX: the lock of `PROJECT`
    N UNIT tree HEX: the lock of `PROJECT`
    N UNIT N packages, sources and metadata: the lock of `PROJECT`
    N UNIT N indexes and hints: the lock of `PROJECT`
    N UNIT N indexes and hints: the order in which packages are made ready
    N UNIT would be freed, N UNIT stay
    ");
    change(&project, "three");
    let ran = project.good(&["build"]);
    // After the time of day.
    let removed = ran.err.lines().last().unwrap().split_once(' ').unwrap().1;
    insta::assert_snapshot!(plain(removed), @"removed by the rule `keep`: the run RUN and what only it wanted, N UNIT");
    assert_eq!((runs(&project).len(), images(&project)), (2, 2));
    // The environment and the newest recipe's layer: older ones are made again from their layers.
    assert_eq!(trees(&project), 2);
    assert_eq!(project.rubbish(), Vec::<String>::new());
    project.good(&["store", "verify"]);
    // What stays is enough.
    project.good(&["build", "--locked", "--offline"]);
}

/// Names of the trees that the engines have in the store.
fn trees_of_engines(project: &Project) -> Vec<String> {
    let mut names: Vec<String> = fs_err::read_dir(project.path("cache/docker/roots"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("tree-"))
        .collect();
    names.sort();
    names
}

#[test]
fn a_collection_counts_the_trees_of_every_backend_that_was_used() {
    let (Some(project), Some(engine)) = (changing("one"), engine()) else {
        return;
    };
    let run = |host: String, arguments: &[&str]| {
        let mut command = project.command(arguments);
        command.env("DOCKER_HOST", host);
        project.spawn(command).wait()
    };
    project.good(&["build"]);
    project.good(&["enter", "--keep=a", "--", "touch", "/builddir/new"]);
    let ran = run(
        engine.host(),
        &["--backend", "docker", "enter", "--", "true"],
    );
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    let before = trees_of_engines(&project);
    assert_eq!(before.len(), 2, "the environment's and the recipe's");
    let ran = run(engine.host(), &["--backend", "docker", "enter", "--keep=a"]);
    assert_eq!(ran.code, Some(2), "{}", ran.all());
    assert!(
        ran.err.contains("the backend `docker` has not got"),
        "{}",
        ran.all()
    );
    change(&project, "two");
    project.good(&["build"]);
    let ran = run("unix:///nowhere".to_owned(), &["gc"]);
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    assert!(
        ran.err.contains("what `docker` has of this store"),
        "{}",
        ran.all()
    );
    assert_eq!(trees_of_engines(&project), before);
    let ran = run(engine.host(), &["gc"]);
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    assert_eq!(
        trees_of_engines(&project).len(),
        1,
        "the recipe's was an older one"
    );
    project.good(&["enter", "--keep=a", "--", "test", "-e", "/builddir/new"]);
}

#[test]
fn a_snapshot_that_is_removed_leaves_no_backend_and_no_kept_clone_behind() {
    let (Some(project), Some(engine)) = (changing("one"), engine()) else {
        return;
    };
    let docker = |arguments: &[&str]| {
        let ran = project
            .spawn(project.docker(&engine.host(), arguments))
            .wait();
        assert_eq!(ran.code, Some(0), "{}", ran.all());
    };
    project.good(&["build"]);
    project.good(&["enter", "--keep=a", "--", "touch", "/builddir/new"]);
    docker(&["enter", "--", "true"]);
    assert_eq!(trees_of_engines(&project).len(), 2);
    let remove = ["snapshot", "remove", &project.record().snapshot.to_string()];
    insta::assert_snapshot!(plain(&project.run(&remove).failure()), @"
    exit N: error: the snapshot HEX is in use by the kept clone `a`
    hint: forget that clone first: pristine enter --forget a
    ");
    project.good(&["enter", "--keep=a", "--", "test", "-e", "/builddir/new"]);
    project.good(&["enter", "--forget", "a"]);
    let mut native = project.command(&remove);
    native.env("DOCKER_HOST", engine.host());
    let ran = project.spawn(native).wait();
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    assert_eq!(trees_of_engines(&project), Vec::<String>::new());
    assert_eq!((images(&project), trees(&project)), (0, 0));
    assert_eq!(project.rubbish(), Vec::<String>::new());
}

#[test]
fn a_tag_keeps_a_snapshot_and_all_that_it_was_made_from() {
    let Some(project) = changing("one") else {
        return;
    };
    project.edit(
        "pristine.toml",
        "[project]",
        "[store]\nkeep = { last = 1 }\n\n[project]",
    );
    project.good(&["build"]);
    project.good(&["snapshot", "tag", "release"]);
    let first = project.record().snapshot;
    let lock = project.read("pristine.lock");
    change(&project, "two");
    project.good(&["build"]);
    change(&project, "three");
    project.good(&["build"]);
    assert_eq!((runs(&project).len(), images(&project)), (1, 2));
    let shown = project.good(&["snapshot", "show", "release"]);
    assert!(shown.out.contains(&first.to_string()), "{}", shown.all());
    let of_git = ["commit", "git clone", "cd", "the changes"];
    let shown = plain(&shown.out);
    let lines = shown
        .lines()
        .filter(|line| !of_git.iter().any(|begin| line.starts_with(begin)));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @"
    snapshot HEX
    project trial
    tag release
    lock HEX
    template base, HEX
    recipe own, HEX
    made TIME by pristine 0.1.0
    layer HEX, N UNIT
    layer HEX, N UNIT
    to make it again from nothing:
    sha256sum pristine.lock # HEX
    pristine --store ./again build --locked # fetches, creates, compares with the lock
    pristine --store ./again snapshot list # HEX
    ");
    project.good(&["snapshot", "verify", "release"]);
    // Its lock is not the project's any more, and still builds from the store alone.
    let last = project.read("pristine.lock");
    change(&project, "one");
    project.write("pristine.lock", lock);
    project.good(&["build", "--locked", "--offline"]);
    assert_eq!(project.record().snapshot, first);
    change(&project, "three");
    project.write("pristine.lock", last);
    let gone = project.good(&["snapshot", "tag", "release", "--remove"]);
    insta::assert_snapshot!(gone.err, @"the tag release is gone; its snapshot goes with the next `pristine gc`, unless something else keeps it");
    project.good(&["gc"]);
    // The newest run was built in it.
    assert_eq!(images(&project), 1);
}

#[test]
fn a_snapshot_that_is_removed_is_made_again_and_a_store_is_emptied() {
    let Some(project) = Project::hello() else {
        return;
    };
    project.good(&["build"]);
    insta::assert_snapshot!(project.run(&["snapshot", "show", "release"]).failure(), @"
    exit 2: error: there is no snapshot `release`: no tag, no digest and no run begins so
      hint: see what there is: pristine snapshot list
    ");
    insta::assert_snapshot!(project.run(&["snapshot", "tag", "abc"]).failure(), @"
    exit 2: error: `abc` cannot be a tag
      hint: a tag has letters, digits and `._-/:@+`, and is not of hexadecimal digits alone, as digests are
    ");
    insta::assert_snapshot!(project.run(&["snapshot", "tag", "none", "--remove"]).failure(), @"
    exit 2: error: there is no tag `none`
      hint: see which there are: pristine snapshot tag
    ");
    let date = &runs(&project)[0][..8];
    let removed = project.good(&["snapshot", "remove", date]);
    insta::assert_snapshot!(plain(&removed.all()), @"
    exit Some(0)
    removed HEX, N UNIT freed
    the run RUN keeps its packages and its record
    ");
    assert_eq!((images(&project), trees(&project)), (0, 0));
    assert!(
        project
            .path("cache/oci/blobs/sha256")
            .read_dir()
            .unwrap()
            .next()
            .is_none()
    );
    assert_eq!(project.rubbish(), Vec::<String>::new());
    let before = project.record().snapshot;
    project.good(&["build", "--locked", "--offline"]);
    assert_eq!(project.record().snapshot, before);
    let emptied = project.good(&["clean", "--all"]);
    insta::assert_snapshot!(emptied.out, @"emptied PROJECT/cache");
    assert_eq!(project.path("cache").read_dir().unwrap().count(), 0);
}

#[test]
fn damage_is_named_and_repaired() {
    let Some(project) = Project::hello() else {
        return;
    };
    project.good(&["build"]);
    project.good(&["store", "verify"]);
    project.good(&["store", "verify", "--quick"]);
    let looked = project.good(&["snapshot", "verify", "--quick"]);
    assert!(looked.out.ends_with(" is whole\n"), "{}", looked.all());
    let largest = |folder: &str| -> PathBuf {
        let all = files(&project.path(folder)).into_iter();
        let (path, _) = all.max_by_key(|(_, content)| content.len()).unwrap();
        project.path(folder).join(path)
    };
    for path in [largest("cache/blobs"), largest("cache/oci/blobs/sha256")] {
        let mut bytes = fs_err::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs_err::write(&path, bytes).unwrap();
    }
    for quick in [true, false] {
        let mut arguments = vec!["store", "verify"];
        arguments.extend(quick.then_some("--quick"));
        let ran = project.run(&arguments);
        assert_eq!(ran.out.matches("damaged: ").count(), 2, "{}", ran.all());
        assert!(ran.out.contains(" of snapshot "), "{}", ran.all());
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.failure(), @"
            exit 4: error: 2 things in the store are damaged
              hint: remove it, and fetch again what the lock names: pristine store verify --repair
            ");
        }
    }
    for quick in [&[][..], &["--quick"]] {
        let ran = project.run(&[&["snapshot", "verify"], quick].concat());
        let named = ran.out.matches("damaged: layer ").count();
        assert_eq!((named, ran.code), (1, Some(4)), "{}", ran.all());
    }
    let mended = project.good(&["store", "verify", "--repair"]);
    insta::assert_snapshot!(mended.out.lines().last().unwrap(), @"mended 2: what the lock names is in the store again, the rest is made again when it is needed");
    project.good(&["store", "verify"]);
    let before = project.record().snapshot;
    project.good(&["build", "--locked", "--offline"]);
    assert_eq!(project.record().snapshot, before);
}

#[test]
fn a_project_folder_that_is_gone_keeps_nothing() {
    let (Some(project), Some(other)) = (Project::hello(), Project::hello()) else {
        return;
    };
    let store = project.path("cache").display().to_string();
    other.good(&["--store", &store, "lock"]);
    let dry = project.good(&["--store", &store, "gc", "--dry-run"]);
    assert!(!dry.err.contains("is gone"), "{}", dry.all());
    let folder = other.path("").display().to_string();
    let folder = folder.trim_end_matches('/').to_owned();
    drop(other);
    let ran = project.good(&["gc"]);
    let warning = ran
        .err
        .lines()
        .find(|line| line.contains("warning"))
        .unwrap();
    insta::assert_snapshot!(warning.replace(&folder, "FOLDER"), @"warning: the project folder `FOLDER` is gone: its lock keeps nothing any longer");
    assert!(!project.good(&["gc"]).err.contains("warning"));
}

#[test]
fn collections_leave_what_builds_beside_them_use() {
    let Some(project) = changing("one") else {
        return;
    };
    let Some(other) = changing("two") else {
        return;
    };
    let store = project.path("cache").display().to_string();
    project.edit(
        "pristine.toml",
        "[project]",
        "[store]\nkeep = { last = 1 }\n\n[project]",
    );
    for round in 0..2 {
        let all = vec![
            project.start(&["build"]),
            other.start(&["--store", &store, "build"]),
            project.start(&["gc"]),
            project.start(&["snapshot", "list"]),
            other.start(&["--store", &store, "gc"]),
            project.start(&["store", "verify"]),
        ];
        for ran in Running::wait_for_all(all) {
            assert_eq!(ran.code, Some(0), "{}", ran.all());
        }
        change(&project, &format!("round {round}"));
    }
    project.good(&["gc"]);
    project.good(&["store", "verify"]);
    assert_eq!(project.rubbish(), Vec::<String>::new());
}

/// A holder of the gate that another waits for.
#[test]
fn a_collection_says_for_whom_it_waits() {
    let Some(project) = Project::hello() else {
        return;
    };
    project.good(&["lock"]);
    let store = pristine::store::Store::open(&project.path("cache")).unwrap();
    let gate = store.share_gate().unwrap();
    let mut running = project.start(&["gc"]);
    running.says("waiting for");
    drop(gate);
    let ran = running.wait();
    assert_eq!(ran.code, Some(0), "{}", ran.all());
}
