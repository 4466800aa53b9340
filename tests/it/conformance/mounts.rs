//! What callers make visible inside, and where it may go.

use std::io::Cursor;

use pristine::backend::{BackendError, Command, Mount, RootId, User, Writers};
use pristine::cancel::Cancel;

use super::fixture::{Fixture, append, each, run, shell, try_run};

#[test]
fn host_files_and_folders_are_read_only() {
    each(|fixture| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        std::fs::write(folder.path().join("sub/file"), "content").unwrap();
        let host = |source: &str, target: &str| Mount::Host {
            source: folder.path().join(source),
            target: target.to_owned(),
        };
        let mut command = shell(
            "cat /in/folder/file /in/file; (echo x > /in/file; touch /in/folder/new; rm /in/folder/file) 2>/dev/null; echo /in/folder/*",
        );
        command.mounts = vec![host("sub", "/in/folder"), host("sub/file", "/in/file")];
        let mut clone = fixture.open();
        assert_eq!(
            run(&mut *clone, &command).text(),
            "contentcontent/in/folder/file"
        );
        assert_eq!(
            std::fs::read(folder.path().join("sub/file")).unwrap(),
            b"content"
        );
        let missing = Mount::Host {
            source: "/no/such/file".into(),
            target: "/x".to_owned(),
        };
        command.mounts = vec![missing];
        let error = try_run(&mut *clone, &command, &Cancel::new().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "cannot share `/no/such/file`");
    });
}

/// A user inside who can have what is the caller's, where there is one.
fn writer(fixture: &Fixture) -> Option<User> {
    let (uid, gid) = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    match fixture.backend.capabilities().writers {
        Writers::Anyone | Writers::NotRoot => Some(User {
            uid: 1000,
            gid: 1000,
        }),
        Writers::Same => Some(User { uid, gid }),
        Writers::Root => Some(User::ROOT),
        Writers::Nobody => None,
    }
}

#[test]
fn what_is_written_into_a_shared_folder_is_its_owner_s() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    each(|fixture| {
        let Some(user) = writer(fixture) else {
            return;
        };
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "old").unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
        let away = outside.path().join("away");
        std::fs::write(&away, "untouched").unwrap();
        std::os::unix::fs::symlink(&away, folder.path().join("link")).unwrap();
        std::fs::create_dir(folder.path().join("hidden")).unwrap();
        std::fs::write(folder.path().join("hidden/file"), "x").unwrap();
        let mut command = shell(
            "cd /work; cat secret; echo new > secret; mkdir made; echo x > made/file; cp /bin/true tool; chmod 4755 tool; \
             (echo changed > link) 2>/dev/null; echo hidden/*; (touch hidden/new) 2>/dev/null; stat -c %u made/file",
        );
        command.user = user;
        command.mounts = vec![
            Mount::Writable {
                source: folder.path().to_owned(),
                target: "/work".to_owned(),
            },
            Mount::Empty {
                target: "/work/hidden".to_owned(),
            },
        ];
        let mut clone = fixture.open();
        assert_eq!(
            run(&mut *clone, &command).text(),
            format!("oldhidden/*\n{}", user.uid)
        );
        let owner = folder.path().metadata().unwrap();
        for file in ["secret", "made", "made/file", "tool"] {
            let facts = folder.path().join(file).metadata().unwrap();
            assert_eq!(
                (facts.uid(), facts.gid()),
                (owner.uid(), owner.gid()),
                "{file}"
            );
        }
        assert_eq!(std::fs::read(&secret).unwrap(), b"new\n");
        assert_eq!(std::fs::read(&away).unwrap(), b"untouched");
        assert!(folder.path().join("hidden/file").exists());
        assert!(!folder.path().join("hidden/new").exists());
        // The next command has no such rights any more; engines may leave the places of what was mounted.
        command.mounts.clear();
        command.argv =
            shell("cd /work; rmdir hidden 2>/dev/null; ls -A | grep -v '^hidden$'; true").argv;
        assert_eq!(run(&mut *clone, &command).text(), "");
    });
}

#[test]
fn a_folder_that_only_the_caller_may_enter_can_be_shared() {
    use std::os::unix::fs::PermissionsExt as _;
    each(|fixture| {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("closed/inner");
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::write(inner.join("file"), "x").unwrap();
        std::fs::set_permissions(
            folder.path().join("closed"),
            std::fs::Permissions::from_mode(0o700),
        )
        .unwrap();
        let mut command = shell("cat /in/file");
        command.mounts = vec![Mount::Host {
            source: inner,
            target: "/in".to_owned(),
        }];
        assert_eq!(run(&mut *fixture.open(), &command).text(), "x");
    });
}

#[test]
fn links_in_the_tree_do_not_lead_a_mount_outside() {
    each(|fixture| {
        let outside = tempfile::tempdir().unwrap();
        let place = outside.path().to_str().unwrap();
        let mut clone = fixture.open();
        let script = format!(
            "mkdir -p /a; ln -s {place} /a/absolute; ln -s ../../../../../../..{place} /a/up; ln -s /made/here /a/dangling; ln -s loop /a/loop"
        );
        assert!(run(&mut *clone, &shell(&script)).exit.success());
        let etc = |target: &str| Mount::Host {
            source: "/etc/passwd".into(),
            target: target.to_owned(),
        };
        for (target, seen) in [
            ("/a/absolute/f", format!("{place}/f")),
            ("/a/up/g", format!("{place}/g")),
            ("/a/dangling", "/made/here".to_owned()),
            ("/../../../h", "/h".to_owned()),
        ] {
            let mut command = shell(&format!("[ -s {seen} ] && echo inside"));
            command.mounts = vec![etc(target)];
            assert_eq!(run(&mut *clone, &command).text(), "inside", "{target}");
        }
        let mut command = Command::new(["/bin/true"]);
        command.mounts = vec![etc("/a/loop/x")];
        assert!(matches!(
            try_run(&mut *clone, &command, &Cancel::new().unwrap()),
            Err(BackendError::Step { .. })
        ));
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    });
}

#[test]
fn links_in_place_of_proc_and_dev_are_refused() {
    each(|fixture| {
        for name in ["proc", "dev"] {
            let mut clone = fixture.open();
            // In a running sandbox they are mounts: the links come by archive.
            let mut tar = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_mode(0o777);
            tar.append_link(&mut header, name, "/tmp").unwrap();
            let id = fixture.backend.scratch_id();
            fixture
                .backend
                .import(&id, &mut Cursor::new(tar.into_inner().unwrap()))
                .unwrap();
            let mut linked = fixture
                .backend
                .open(&[fixture.base.clone(), id.clone()])
                .unwrap();
            let error = try_run(
                &mut *linked,
                &Command::new(["/bin/true"]),
                &Cancel::new().unwrap(),
            )
            .unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("refused the tree's `/{name}`: it is not a folder")
            );
            drop(linked);
            fixture.backend.remove(&id).unwrap();
            assert!(
                run(&mut *clone, &Command::new(["/bin/true"]))
                    .exit
                    .success()
            );
        }
    });
}

#[test]
fn a_root_can_be_filled_from_inside_another() {
    each(|fixture| {
        let backend = &fixture.backend;
        let target = backend.scratch_id();
        backend
            .import(&target, &mut Cursor::new(Vec::new()))
            .unwrap();
        let mut clone = fixture.open();
        let mut command = shell(
            "set -e; mkdir -p /target/etc; echo made > /target/etc/file; chown 5:6 /target/etc/file; ln /target/etc/file /target/hard",
        );
        command.mounts = vec![Mount::Root {
            root: target.clone(),
            target: "/target".to_owned(),
        }];
        assert!(run(&mut *clone, &command).exit.success());
        clone.destroy().unwrap();
        let made = RootId("tree-made".to_owned());
        backend.rename(&target, &made).unwrap();
        assert!(!backend.has(&target).unwrap());
        let mut stacked = backend.open(&[fixture.base.clone(), made.clone()]).unwrap();
        assert_eq!(
            run(
                &mut *stacked,
                &shell("cat /etc/file; stat -c '%u:%g %h' /hard; head -c 4 /etc/passwd")
            )
            .text(),
            "made\n5:6 2\nroot"
        );
        drop(stacked);
        backend.remove(&made).unwrap();
        assert!(!backend.has(&made).unwrap());
    });
}

#[test]
fn names_that_could_be_paths_are_refused() {
    each(|fixture| {
        for id in [
            "", ".", "..", "../x", "a/b", "/etc", ".hidden", "a\nb", "a:b", "é",
        ] {
            let id = RootId(id.to_owned());
            assert!(
                matches!(fixture.backend.has(&id), Err(BackendError::Refused { .. })),
                "{id:?}"
            );
            assert!(
                matches!(
                    fixture.backend.remove(&id),
                    Err(BackendError::Refused { .. })
                ),
                "{id:?}"
            );
            assert!(
                matches!(
                    fixture.backend.import(&id, &mut std::io::empty()),
                    Err(BackendError::Refused { .. })
                ),
                "{id:?}"
            );
            assert!(
                fixture.backend.open(std::slice::from_ref(&id)).is_err(),
                "{id:?}"
            );
        }
        let missing = RootId("tree-missing".to_owned());
        assert!(fixture.backend.open(&[missing]).is_err());
    });
}

#[test]
fn archives_are_refused_with_their_reason_and_leave_nothing() {
    each(|fixture| {
        let mut tar = tar::Builder::new(Vec::new());
        append(&mut tar, "good", tar::EntryType::Regular, 0o644, b"x");
        let mut header = tar::Header::new_ustar();
        header.set_size(0);
        header.as_mut_bytes()[..9].copy_from_slice(b"../escape");
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        tar.append(&header, std::io::empty()).unwrap();
        let id = RootId("tree-hostile".to_owned());
        let error = fixture
            .backend
            .import(&id, &mut Cursor::new(tar.into_inner().unwrap()))
            .unwrap_err();
        assert!(matches!(error, BackendError::Refused { .. }), "{error:?}");
        assert!(!fixture.backend.has(&id).unwrap());
    });
}
