//! Roots and clones as trees: nothing is lost, nothing leaks from one to the other.

use std::io::{Cursor, Read};

use pristine::backend::{Backend, RootId};
use pristine::digest::Digest;
use pristine::tree::Normalise;

use super::fixture::{Fixture, append, each, run, shell};

fn export(backend: &dyn Backend, root: &RootId) -> Vec<u8> {
    let mut tar = Vec::new();
    backend.export(root, None, &mut tar).unwrap();
    tar
}

fn names(tar: &[u8]) -> Vec<String> {
    tar::Archive::new(tar)
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect()
}

/// Freezes a clone of `layers` in which the script ran.
fn frozen(fixture: &Fixture, layers: &[RootId], script: &str) -> RootId {
    let mut clone = fixture.backend.open(layers).unwrap();
    let ran = run(&mut *clone, &shell(script));
    assert!(ran.exit.success(), "{ran:?}");
    let id = fixture.backend.scratch_id();
    clone.freeze(&id).unwrap();
    id
}

#[test]
fn writes_to_a_clone_never_reach_the_root() {
    each(|fixture| {
        let before = Digest::of(&export(&*fixture.backend, &fixture.base));
        let script = "echo x >> /etc/passwd; rm -rf /home; chmod 777 /bin/cat; touch /new; ln /bin/ls /bin/ls2; echo y > /bin/true; mv /etc/group /g; chown 7 /bin/id; \
                      truncate -s 0 /bin/cp 2>/dev/null; : > /bin/mv; mkdir /usr/x; rm -rf /usr; true";
        assert!(fixture.script(script).exit.success());
        assert_eq!(
            before,
            Digest::of(&export(&*fixture.backend, &fixture.base))
        );
        assert_eq!(
            fixture
                .script("ls /new /g 2>/dev/null; stat -c %a /bin/cat")
                .text(),
            "755"
        );
    });
}

#[test]
fn everything_survives_freeze_export_and_import() {
    each(|fixture| {
        let long = "d".repeat(200);
        let script = format!(
            "set -e; cd /home; echo one > file; ln file hard; ln -s /etc/passwd link; mkfifo pipe; dd if=/dev/zero of=sparse bs=1 count=1 seek=1048576 2>/dev/null; \
             for i in 1 2 3 4 5 6 7 8; do mkdir {long}; cd {long}; done; echo deep > file; cd /home; touch 'odd name
with newline'; \
             chown 12:34 file; chmod 6711 file; touch -d @1234567890 file; mkdir -m 1770 sticky; rm /bin/uname; rm -rf /tmp; mkdir /tmp; touch /tmp/fresh"
        );
        let first = frozen(fixture, std::slice::from_ref(&fixture.base), &script);
        let tar = export(&*fixture.backend, &first);
        let listed = names(&tar);
        for expected in [
            "bin/.wh.uname",
            "tmp/.wh..wh..opq",
            "home/hard",
            "home/odd name\nwith newline",
        ] {
            assert!(
                listed
                    .iter()
                    .any(|name| name.trim_start_matches("./") == expected),
                "{expected} in {listed:?}"
            );
        }
        let second = fixture.backend.scratch_id();
        fixture
            .backend
            .import(&second, &mut Cursor::new(&tar))
            .unwrap();
        assert!(
            export(&*fixture.backend, &second) == tar,
            "the same bytes again"
        );
        let mut clone = fixture
            .backend
            .open(&[fixture.base.clone(), second.clone()])
            .unwrap();
        let deep = format!("{long}/").repeat(8);
        let script = format!(
            "cd /home; stat -c '%u:%g %a %h %Y' file; readlink link; stat -c %F pipe; stat -c '%s' sparse; \
             cat {deep}file; [ -e /bin/uname ] || echo gone; echo /tmp/*"
        );
        assert_eq!(
            run(&mut *clone, &shell(&script)).text(),
            "12:34 6711 2 1234567890\n/etc/passwd\nfifo\n1048577\ndeep\ngone\n/tmp/fresh"
        );
        drop(clone);
        for id in [first, second] {
            fixture.backend.remove(&id).unwrap();
        }
    });
}

#[test]
fn layers_stack_and_hide_each_other() {
    each(|fixture| {
        let mut layers = vec![fixture.base.clone()];
        for script in [
            "mkdir /d; echo 1 > /d/a; echo 1 > /d/b",
            "rm /d/a; echo 2 > /d/b; echo 2 > /d/c",
            "rm -r /d; mkdir /d; echo 3 > /d/e",
            "rm -r /d",
            "mkdir /d; echo 5 > /d/f",
        ] {
            layers.push(frozen(fixture, &layers, script));
        }
        for (count, seen) in [
            (2, "/d/a /d/b"),
            (3, "/d/b /d/c"),
            (4, "/d/e"),
            (5, "/d/*"),
            (6, "/d/f"),
        ] {
            let mut clone = fixture.backend.open(&layers[..count]).unwrap();
            assert_eq!(run(&mut *clone, &shell("echo /d/*")).text(), seen);
        }
        for id in &layers[1..] {
            fixture.backend.remove(id).unwrap();
        }
    });
}

#[test]
fn an_empty_stream_is_an_empty_root_and_no_layers_are_an_empty_clone() {
    each(|fixture| {
        let id = fixture.backend.scratch_id();
        fixture.backend.import(&id, &mut std::io::empty()).unwrap();
        assert_eq!(
            names(&export(&*fixture.backend, &id)).len(),
            1,
            "the root itself"
        );
        fixture.backend.remove(&id).unwrap();
        let mut clone = fixture.backend.open(&[]).unwrap();
        let mut tar = tar::Builder::new(Vec::new());
        append(&mut tar, "etc/made", tar::EntryType::Regular, 0o640, b"x");
        clone
            .copy_in("/", &mut Cursor::new(tar.into_inner().unwrap()))
            .unwrap();
        clone.freeze(&id).unwrap();
        assert!(
            names(&export(&*fixture.backend, &id))
                .iter()
                .any(|name| name.ends_with("etc/made"))
        );
        fixture.backend.remove(&id).unwrap();
    });
}

#[test]
fn normalised_exports_do_not_depend_on_when_they_were_made() {
    each(|fixture| {
        let rules = Normalise {
            epoch: 1_600_000_000,
            remove: vec!["/var/cache/*".to_owned()],
            truncate: vec!["/etc/machine-id".to_owned()],
            plain_sqlite: Vec::new(),
        };
        let tars = ["1", "2"].map(|content| {
            let script = format!("mkdir -p /var/cache/x; echo {content} > /var/cache/x/y; echo {content} > /etc/machine-id; touch /same");
            let id = frozen(fixture, std::slice::from_ref(&fixture.base), &script);
            let mut tar = Vec::new();
            fixture.backend.export(&id, Some(&rules), &mut tar).unwrap();
            fixture.backend.remove(&id).unwrap();
            tar
        });
        assert!(!tars[0].is_empty() && tars[0] == tars[1]);
    });
}

#[test]
fn archives_go_into_a_clone_and_come_out() {
    each(|fixture| {
        let mut clone = fixture.open();
        assert!(
            run(
                &mut *clone,
                &shell("ln -s home /alias; ln -s /etc /home/outward")
            )
            .exit
            .success()
        );
        let mut tar = tar::Builder::new(Vec::new());
        append(&mut tar, "file", tar::EntryType::Regular, 0o640, b"content");
        append(&mut tar, "sub/", tar::EntryType::Directory, 0o755, b"");
        append(
            &mut tar,
            "sub/deep",
            tar::EntryType::Regular,
            0o600,
            b"deep",
        );
        let tar = tar.into_inner().unwrap();
        clone
            .copy_in("/home/new/place", &mut Cursor::new(&tar))
            .unwrap();
        clone
            .copy_in("/alias/linked", &mut Cursor::new(&tar))
            .unwrap();
        let listing = run(
            &mut *clone,
            &shell(
                "cat /home/new/place/file /home/linked/sub/deep; stat -c '%u %a' /home/new/place/file",
            ),
        );
        assert_eq!(listing.text(), "contentdeep0 640");
        let mut out = Vec::new();
        clone.copy_out("/alias/new", &mut out).unwrap();
        let listed = names(&out);
        assert!(
            listed.iter().any(|name| name.ends_with("place/sub/deep")),
            "{listed:?}"
        );
        assert!(
            !listed.iter().any(|name| name.contains("linked")),
            "{listed:?}"
        );
        let mut nothing = Vec::new();
        clone.copy_out("/bin", &mut nothing).unwrap();
        assert!(
            names(&nothing).len() <= 1,
            "what the clone did not touch is its layers'"
        );
        assert!(clone.copy_out("/no/such/folder", &mut Vec::new()).is_err());
    });
}

#[test]
fn links_in_a_clone_do_not_lead_archives_outside() {
    each(|fixture| {
        let outside = tempfile::tempdir().unwrap();
        let place = outside.path().to_str().unwrap();
        let mut clone = fixture.open();
        assert!(run(&mut *clone, &shell(&format!("ln -s {place} /evil; ln -s ../../../../..{place} /evil2; mkdir /t; ln -s {place} /t/sub"))).exit.success());
        let mut tar = tar::Builder::new(Vec::new());
        append(&mut tar, "sub/file", tar::EntryType::Regular, 0o644, b"x");
        let tar = tar.into_inner().unwrap();
        for path in ["/evil", "/evil2", "/t", "/../../evil/x"] {
            // Inside, refused, or on a path of that name inside: never outside.
            let _outcome = clone.copy_in(path, &mut Cursor::new(&tar));
        }
        std::fs::write(outside.path().join("secret"), "secret").unwrap();
        let mut out = Vec::new();
        let _outcome = clone.copy_out("/evil", &mut out);
        assert!(!String::from_utf8_lossy(&out).contains("secret"));
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    });
}

#[test]
fn a_taken_name_keeps_its_root() {
    each(|fixture| {
        let backend = &fixture.backend;
        let (name, other) = (
            RootId("tree-name".to_owned()),
            RootId("tree-other".to_owned()),
        );
        let make = |id: &RootId, content: &str| {
            let mut tar = tar::Builder::new(Vec::new());
            append(
                &mut tar,
                "file",
                tar::EntryType::Regular,
                0o644,
                content.as_bytes(),
            );
            backend
                .import(id, &mut Cursor::new(tar.into_inner().unwrap()))
                .unwrap();
        };
        make(&name, "old");
        make(&other, "new");
        assert!(
            backend.import(&name, &mut std::io::empty()).is_err(),
            "made once only"
        );
        backend.rename(&other, &name).unwrap();
        let mut content = String::new();
        let tar = export(&**backend, &name);
        let mut archive = tar::Archive::new(&tar[..]);
        let mut file = archive
            .entries()
            .unwrap()
            .map(Result::unwrap)
            .find(|entry| entry.path().unwrap().ends_with("file"))
            .unwrap();
        file.read_to_string(&mut content).unwrap();
        assert_eq!(content, "old", "clones of it may be open");
        assert!(!backend.has(&other).unwrap());
        assert!(backend.rename(&other, &name).is_err());
        backend.remove(&name).unwrap();
        backend.remove(&name).unwrap();
    });
}

#[test]
fn packages_are_unpacked_without_their_scripts() {
    each(|fixture| {
        let folder = tempfile::tempdir().unwrap();
        let packages: Vec<_> = ["one", "two"]
            .into_iter()
            .map(|name| {
                let file = rpm::FileOptions::new(format!("/opt/{name}/file"))
                    .mode(rpm::FileMode::regular(0o640))
                    .user("root");
                let package = rpm::PackageBuilder::new(name, "1.0", "MIT", "noarch", "a test")
                    .with_file_contents(name, file)
                    .unwrap()
                    .post_install_script("touch /ran")
                    .build()
                    .unwrap();
                let path = folder.path().join(format!("{name}.rpm"));
                package.write_file(&path).unwrap();
                path
            })
            .collect();
        let id = fixture.backend.scratch_id();
        fixture.backend.unpack(&id, &packages).unwrap();
        let listed = names(&export(&*fixture.backend, &id));
        for name in ["opt/one/file", "opt/two/file"] {
            assert!(listed.iter().any(|path| path.ends_with(name)), "{listed:?}");
        }
        assert!(
            !listed.iter().any(|path| path.ends_with("ran")),
            "{listed:?}"
        );
        fixture.backend.remove(&id).unwrap();
        std::fs::write(&packages[1], "no package").unwrap();
        assert!(fixture.backend.unpack(&id, &packages).is_err());
        assert!(!fixture.backend.has(&id).unwrap(), "nothing half made");
    });
}

/// A file with extended attributes, as tar.
fn with_attributes(path: &str, attributes: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let names: Vec<String> = attributes
        .iter()
        .map(|(name, _)| format!("SCHILY.xattr.{name}"))
        .collect();
    tar.append_pax_extensions(
        names
            .iter()
            .map(String::as_str)
            .zip(attributes.iter().map(|(_, value)| *value)),
    )
    .unwrap();
    append(&mut tar, path, tar::EntryType::Regular, 0o755, b"x");
    tar.into_inner().unwrap()
}

#[test]
fn capabilities_and_attributes_survive() {
    // cap_net_raw=ep, revision 2.
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let attributes: [(&str, &[u8]); 2] = [("security.capability", &capability), ("user.own", b"v")];
    each(|fixture| {
        let backend = &fixture.backend;
        let given = backend.scratch_id();
        let tar = with_attributes("bin/capable", &attributes);
        backend.import(&given, &mut Cursor::new(tar)).unwrap();
        let layers = [fixture.base.clone(), given.clone()];
        // A copy of the file, made by touching it, has them too.
        let touched = frozen(fixture, &layers, "chmod 700 /bin/capable");
        for root in [&given, &touched] {
            let tar = export(&**backend, root);
            let mut archive = tar::Archive::new(&tar[..]);
            let entries = archive.entries().unwrap().map(Result::unwrap);
            let mut found: Vec<(String, Vec<u8>)> = Vec::new();
            for mut entry in entries {
                let records = entry.pax_extensions().unwrap().into_iter().flatten();
                found.extend(records.map(Result::unwrap).map(|record| {
                    (
                        record.key().unwrap().to_owned(),
                        record.value_bytes().to_vec(),
                    )
                }));
            }
            let all = root == &given || backend.capabilities().attributes;
            let expected: Vec<(String, Vec<u8>)> = attributes
                .iter()
                .take(if all { 2 } else { 1 })
                .map(|(name, value)| (format!("SCHILY.xattr.{name}"), value.to_vec()))
                .collect();
            assert_eq!(found, expected, "{}", root.0);
            backend.remove(root).unwrap();
        }
    });
}

#[test]
fn deep_trees_and_long_names_survive() {
    each(|fixture| {
        // 240 folders in each other, and a name of 255 bytes.
        let script = "set -e; cd /home; for i in $(seq 240); do mkdir folder; cd folder; done; echo bottom > bottom; cd /home; \
                      name=$(head -c 255 /dev/zero | while read -r -d '' -n 1 _; do :; done; printf 'n%.0s' $(seq 255)); echo x > $name; \
                      for i in $(seq 3000); do echo $i > /home/many.$i; done";
        let id = frozen(fixture, std::slice::from_ref(&fixture.base), script);
        let tar = export(&*fixture.backend, &id);
        let again = fixture.backend.scratch_id();
        fixture
            .backend
            .import(&again, &mut Cursor::new(&tar))
            .unwrap();
        assert!(export(&*fixture.backend, &again) == tar);
        let mut clone = fixture
            .backend
            .open(&[fixture.base.clone(), again.clone()])
            .unwrap();
        let script = "cd /home; find . -name bottom | wc -c; ls -d n* | wc -c; ls many.* | wc -l";
        assert_eq!(run(&mut *clone, &shell(script)).text(), "1689\n256\n3000");
        drop(clone);
        for id in [id, again] {
            fixture.backend.remove(&id).unwrap();
        }
    });
}

#[test]
fn changes_of_commands_that_saw_different_things_are_one_layer() {
    each(|fixture| {
        let folder = tempfile::tempdir().unwrap();
        let mut clone = fixture.open();
        let mut command =
            shell("mkdir /d /e; echo 1 > /d/a; echo 1 > /d/b; echo 1 > /e/f; rm /etc/group");
        assert!(run(&mut *clone, &command).exit.success());
        command.argv[2] =
            "rm /d/a; rm -r /e; mkdir /e; echo 2 > /e/g; echo 2 > /etc/group; rm -r /home"
                .to_owned();
        command.mounts = vec![pristine::backend::Mount::Host {
            source: folder.path().to_owned(),
            target: "/d/host".to_owned(),
        }];
        assert!(run(&mut *clone, &command).exit.success());
        command.argv[2] = "echo 3 > /d/c; mkdir /home".to_owned();
        command.mounts.clear();
        command.limits.processes = Some(100);
        assert!(run(&mut *clone, &command).exit.success());
        let id = fixture.backend.scratch_id();
        clone.freeze(&id).unwrap();
        let listed = names(&export(&*fixture.backend, &id));
        for gone in ["d/a", "e/f", "e/.wh.f"] {
            assert!(!listed.contains(&gone.to_owned()), "{gone}: {listed:?}");
        }
        let mut clone = fixture
            .backend
            .open(&[fixture.base.clone(), id.clone()])
            .unwrap();
        assert_eq!(
            run(
                &mut *clone,
                &shell("echo /d/* /e/* /home/*; cat /etc/group")
            )
            .text(),
            "/d/b /d/c /d/host /e/g /home/*\n2"
        );
        drop(clone);
        fixture.backend.remove(&id).unwrap();
    });
}
