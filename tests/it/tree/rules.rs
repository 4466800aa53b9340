//! Normalisation and removal.

use std::ffi::OsStr;
use std::os::fd::AsFd as _;
use std::path::Path;

use pristine::tree::{self, Normalise};

use rustix::fs::{Mode, OFlags};

use super::{archive, handle, listing, message, tool};

fn normalise(root: &Path, remove: &[&str], truncate: &[&str]) -> Result<(), tree::TreeError> {
    tree::normalise::run(handle(root).as_fd(), &rules(remove, truncate))
}

fn rules(remove: &[&str], truncate: &[&str]) -> Normalise {
    let owned = |patterns: &[&str]| patterns.iter().map(|&pattern| pattern.to_owned()).collect();
    Normalise {
        epoch: 1000,
        remove: owned(remove),
        truncate: owned(truncate),
        plain_sqlite: Vec::new(),
    }
}

/// Names, sizes and times of a tree.
fn short(root: &Path) -> Vec<String> {
    let lines = listing(&archive(root));
    lines
        .iter()
        .map(|line| {
            line.split(' ')
                .skip(3)
                .take(3)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect()
}

#[test]
fn rules_are_applied_and_links_are_not_followed() {
    let top = tempfile::tempdir().unwrap();
    tool(
        "sh",
        &[
            "-c",
            "mkdir -p root/var/cache/a root/var/cache/b root/var/log root/etc outside && cd root
             echo 1 > var/cache/a/1.db; echo 2 > var/cache/b/2.db; echo 3 > var/cache/b/keep; echo log > var/log/x.log
             echo id > etc/machine-id; echo cache > etc/ld.so.cache; ln -s nowhere etc/link
             ln -s ../outside out; echo kept > ../outside/2.db; ln -s /etc/hostname var/log/y.log
             find . ../outside -exec touch -h -d @500 {} +; touch -d @2000 etc/machine-id; touch -h -d @2000 out",
        ],
        top.path(),
    );
    let root = top.path().join("root");
    let remove = [
        "/var/cache/*/*.db",
        "/out/*.db",
        "/missing/*",
        "/etc/ld.so.cache",
        "/var/log/*.log",
    ];
    normalise(
        &root,
        &remove,
        &["/etc/machine-id", "/etc/link", "/etc/none", "/out/2.db"],
    )
    .unwrap();
    insta::assert_debug_snapshot!(short(&root), @r#"
    [
        "@500 0B ./",
        "@1000 0B etc/",
        "@1000 0B etc/link",
        "@1000 0B etc/machine-id",
        "@1000 0B out",
        "@500 0B var/",
        "@500 0B var/cache/",
        "@1000 0B var/cache/a/",
        "@1000 0B var/cache/b/",
        "@500 2B var/cache/b/keep",
        "@1000 0B var/log/",
    ]
    "#);
    assert_eq!(
        fs_err::read_to_string(top.path().join("outside/2.db")).unwrap(),
        "kept\n"
    );
}

#[test]
fn one_way_through_a_tree_does_what_two_do() {
    let make = |root: &Path| {
        let script = "mkdir -p a/b c; echo 1 > a/b/new; echo 2 > a/old; ln a/old c/same; ln -s x c/link; mkfifo c/pipe
            echo log > c/log; find . -exec touch -h -d @2000.5 {} +; touch -h -d @500.7 a/old c/link c; touch -d @1000.5 a";
        tool("sh", &["-c", script], root);
    };
    let (two, one) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make(two.path());
    make(one.path());
    normalise(two.path(), &["/c/log"], &["/a/b/new"]).unwrap();
    let mut tar = Vec::new();
    tree::canonical::write_normalised(
        handle(one.path()).as_fd(),
        &rules(&["/c/log"], &["/a/b/new"]),
        &mut tar,
    )
    .unwrap();
    assert!(tar == archive(two.path()), "{:?}", listing(&tar));
    assert_eq!(short(one.path()), short(two.path()));
    assert!(short(one.path()).iter().all(|line| !line.contains("@2000")));
}

#[test]
fn a_removal_leaves_no_trace_of_whether_there_was_something() {
    let archives: Vec<Vec<u8>> = ["touch a/log", "true"]
        .into_iter()
        .map(|command| {
            let root = tempfile::tempdir().unwrap();
            tool(
                "sh",
                &[
                    "-c",
                    &format!("chmod 755 .; mkdir a; touch -d @1 a; {command}"),
                ],
                root.path(),
            );
            normalise(root.path(), &["/a/log"], &[]).unwrap();
            archive(root.path())
        })
        .collect();
    assert!(archives[0] == archives[1]);
}

#[test]
fn patterns_that_lead_out_are_refused() {
    let root = tempfile::tempdir().unwrap();
    fs_err::create_dir(root.path().join("d")).unwrap();
    let outcomes: Vec<String> = ["x", "/../x", "/a//b", "/", "/./a"]
        .into_iter()
        .map(|pattern| message(&normalise(root.path(), &[pattern], &[]).unwrap_err()))
        .collect();
    insta::assert_debug_snapshot!(outcomes, @r#"
    [
        "refused pattern `x`: it does not begin with `/`",
        "refused pattern `/../x`: it has an empty component, `.` or `..`",
        "refused pattern `/a//b`: it has an empty component, `.` or `..`",
        "refused pattern `/`: it has an empty component, `.` or `..`",
        "refused pattern `/./a`: it has an empty component, `.` or `..`",
    ]
    "#);
    insta::assert_snapshot!(message(&normalise(root.path(), &[], &["/d"]).unwrap_err()), @"refused path `d`: a folder cannot be made an empty file");
}

#[test]
fn everything_can_be_removed() {
    let top = tempfile::tempdir().unwrap();
    // Deeper than a path can be long, without permissions, with names like our own.
    tool(
        "sh",
        &[
            "-c",
            "mkdir outside; touch outside/kept; mkdir tree; cd tree; ln -s ../outside link; mkdir .removed-0 .removed-1; mkfifo fifo
             mkdir closed; touch closed/x; chmod 0 closed",
        ],
        top.path(),
    );
    let mut folder = handle(&top.path().join("tree"));
    for _ in 0..1000 {
        drop(super::create(folder.as_fd(), b"file").unwrap());
        rustix::fs::mkdirat(&folder, "0123456789", Mode::RWXU).unwrap();
        folder = rustix::fs::openat(
            &folder,
            "0123456789",
            OFlags::RDONLY | OFlags::DIRECTORY,
            Mode::empty(),
        )
        .unwrap();
    }
    let parent = handle(top.path());
    for name in ["tree", "tree", "nothing"] {
        tree::remove::remove(parent.as_fd(), OsStr::new(name)).unwrap();
    }
    let left: Vec<_> = fs_err::read_dir(top.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["outside"]);
    assert!(top.path().join("outside/kept").exists());
}

#[test]
fn a_large_tree_is_removed_from_both_ends() {
    let top = tempfile::tempdir().unwrap();
    for round in 0..3 {
        // As deep as what is moved to the top, so that both threads meet there too.
        let script = "for number in $(seq 1 60); do
             folder=tree/$number/$(seq -s / 1 90); mkdir -p $folder; (cd $folder; touch $(seq 1 50)); done";
        tool("sh", &["-c", script], top.path());
        if round == 0 {
            tool(
                "sh",
                &["-c", "chmod 0 tree/50/1/2 tree/10/1 tree/30"],
                top.path(),
            );
        }
        let parent = handle(top.path());
        tree::remove::remove(parent.as_fd(), OsStr::new("tree")).unwrap();
        assert_eq!(fs_err::read_dir(top.path()).unwrap().count(), 0);
    }
}

#[test]
fn several_may_remove_the_same_tree() {
    let top = tempfile::tempdir().unwrap();
    let parent = handle(top.path());
    for _ in 0..20 {
        for folder in 0..200 {
            fs_err::create_dir_all(
                top.path()
                    .join(format!("tree/{}/{folder}/a/b", folder % 10)),
            )
            .unwrap();
        }
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| tree::remove::remove(parent.as_fd(), OsStr::new("tree")).unwrap());
            }
        });
        assert!(!top.path().join("tree").exists());
    }
}

#[test]
fn whiteouts_stay_whatever_the_rules_say() {
    let top = tempfile::tempdir().unwrap();
    let root = top.path().join("root");
    fs_err::create_dir_all(root.join("var/log")).unwrap();
    for name in ["removed.log", "emptied", "database"] {
        let (kind, mode) = (rustix::fs::FileType::CharacterDevice, Mode::empty());
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.join("var/log").join(name),
            kind,
            mode,
            0,
        )
        .unwrap();
    }
    let rules = Normalise {
        epoch: 1000,
        remove: vec!["/var/log/*.log".to_owned()],
        truncate: vec!["/var/log/emptied".to_owned()],
        plain_sqlite: vec!["/var/log/database".to_owned()],
    };
    tree::normalise::run(handle(&root).as_fd(), &rules).unwrap();
    let left = short(&root).join("\n");
    for name in ["removed.log", "emptied", "database"] {
        assert!(left.contains(&format!(".wh.{name}")), "{left}");
    }
}
