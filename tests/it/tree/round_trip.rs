//! Writing, applying and writing again gives the same bytes, and GNU tar agrees.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::AsFd as _;
use std::path::Path;

use proptest::prelude::*;
use rustix::fs::{AtFlags, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::pipe::PipeFlags;

use super::{apply, archive, handle, host_has, listing, tool};

/// One entry to make, in a folder given by a number among those made before.
#[derive(Debug, Clone)]
struct Entry {
    folder: prop::sample::Index,
    name: Vec<u8>,
    what: What,
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: i64,
    xattrs: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug, Clone)]
enum What {
    Folder { opaque: bool },
    File(Vec<u8>),
    HardLink(prop::sample::Index),
    Symlink(Vec<u8>),
    Fifo,
    Whiteout,
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("not in names", |byte| !matches!(byte, 0 | b'/'));
    let odd = prop::sample::select(vec![
        "ü",
        "a\nb",
        "-x",
        "a b",
        "*",
        "日本語",
        "x=y",
        "%41",
        "\u{1b}[31m",
        ".hidden",
        "ab",
        "a",
        "a.b",
        "a-b",
    ]);
    prop_oneof![
        3 => "[a-z]{1,8}".prop_map(String::into_bytes),
        2 => odd.prop_map(|name| name.as_bytes().to_vec()),
        1 => prop::collection::vec(byte, 1..40),
        1 => "[a-z]{90,200}".prop_map(String::into_bytes),
    ]
    .prop_filter("reserved", |name| {
        !name.starts_with(b".wh.") && name != b"." && name != b".."
    })
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        4 => any::<bool>().prop_map(|opaque| What::Folder { opaque }),
        4 => prop::collection::vec(any::<u8>(), 0..2000).prop_map(What::File),
        2 => any::<prop::sample::Index>().prop_map(What::HardLink),
        2 => prop_oneof![name(), Just(b"../../../../etc/passwd".to_vec()), Just(vec![b'x'; 300])].prop_map(What::Symlink),
        1 => Just(What::Fifo),
        1 => Just(What::Whiteout),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    let owner = || prop_oneof![3 => 0_u32..2000, 1 => Just(65_534_u32), 1 => Just(3_000_000_u32)];
    let mtime = prop_oneof![4 => 0_i64..2_000_000_000, 1 => -1_000_000_i64..0, 1 => Just(8_700_000_000_i64)];
    let xattrs = prop::collection::btree_map(
        "user\\.[a-z=%é]{1,10}",
        prop::collection::vec(any::<u8>(), 0..50),
        0..3,
    );
    (
        any::<prop::sample::Index>(),
        name(),
        what(),
        0_u32..0o10000,
        (owner(), owner()),
        mtime,
        xattrs,
    )
        .prop_map(
            |(folder, name, what, mode, (uid, gid), mtime, xattrs)| Entry {
                folder,
                name,
                what,
                mode,
                uid,
                gid,
                mtime,
                xattrs,
            },
        )
}

/// Makes the entries below `root` with nothing of the project's own.
#[expect(clippy::too_many_lines, reason = "one step after the other")]
fn make(root: &Path, entries: &[Entry]) {
    let mut folders = vec![handle(root)];
    let mut files: Vec<(usize, Vec<u8>)> = Vec::new();
    let mut times = Vec::new();
    for entry in entries {
        let at = entry.folder.index(folders.len());
        let folder = folders[at].as_fd();
        let name = entry.name.as_slice();
        let created = match &entry.what {
            What::Folder { .. } => rustix::fs::mkdirat(folder, name, Mode::RWXU),
            What::Symlink(target) => rustix::fs::symlinkat(target.as_slice(), folder, name),
            What::Fifo => rustix::fs::mknodat(folder, name, FileType::Fifo, Mode::RUSR, 0),
            What::Whiteout => {
                rustix::fs::mknodat(folder, name, FileType::CharacterDevice, Mode::empty(), 0)
            }
            What::HardLink(_) if files.is_empty() => continue,
            What::HardLink(target) => {
                let (target_folder, target_name) = &files[target.index(files.len())];
                rustix::fs::linkat(
                    &folders[*target_folder],
                    target_name.as_slice(),
                    folder,
                    name,
                    AtFlags::empty(),
                )
            }
            What::File(content) => super::create(folder, name).map(|file| {
                rustix::io::write(&file, content).unwrap();
                files.push((at, name.to_vec()));
            }),
        };
        // A name that is taken already, or a path that is too long, makes no entry.
        if created.is_err() {
            continue;
        }
        if matches!(entry.what, What::HardLink(_) | What::Whiteout) {
            continue;
        }
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        rustix::fs::chownat(
            folder,
            name,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .unwrap();
        if !matches!(entry.what, What::Symlink(_)) {
            rustix::fs::chmodat(
                folder,
                name,
                Mode::from_raw_mode(entry.mode),
                AtFlags::empty(),
            )
            .unwrap();
        }
        if matches!(entry.what, What::File(_) | What::Folder { .. }) {
            let file = rustix::fs::openat(folder, name, rustix::fs::OFlags::RDONLY, Mode::empty())
                .unwrap();
            for (name, value) in &entry.xattrs {
                rustix::fs::fsetxattr(&file, name.as_str(), value, XattrFlags::empty()).unwrap();
            }
            if let What::Folder { opaque } = entry.what {
                if opaque {
                    rustix::fs::fsetxattr(&file, "user.overlay.opaque", b"y", XattrFlags::empty())
                        .unwrap();
                }
                folders.push(file);
            }
        }
        times.push((at, CString::new(name).unwrap(), entry.mtime));
    }
    for (at, name, tv_sec) in times {
        let time = Timespec { tv_sec, tv_nsec: 5 };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        rustix::fs::utimensat(&folders[at], &*name, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn write_apply_write_is_the_same(entries in prop::collection::vec(entry(), 0..40)) {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        make(first.path(), &entries);
        let tar = archive(first.path());
        apply(second.path(), &tar).unwrap();
        let again = archive(second.path());
        prop_assert_eq!(listing(&tar), listing(&again));
        prop_assert!(tar == again);
    }

    #[test]
    fn gnu_tar_makes_the_same_tree(entries in prop::collection::vec(entry(), 0..40)) {
        // GNU tar knows no whiteouts, and makes no entry with a time before 1970 that it cannot show.
        let entries: Vec<Entry> = entries
            .into_iter()
            .filter(|entry| !matches!(entry.what, What::Whiteout))
            .map(|mut entry| {
                if let What::Folder { opaque } = &mut entry.what {
                    *opaque = false;
                }
                entry
            })
            .collect();
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        make(first.path(), &entries);
        let tar = archive(first.path());
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), &tar).unwrap();
        tool(
            "tar",
            &["-x", "-p", "--same-owner", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--delay-directory-restore", "-f", file.path().to_str().unwrap()],
            second.path(),
        );
        prop_assert_eq!(listing(&tar), listing(&archive(second.path())));
    }
}

#[test]
fn the_listing_is_gnu_tars() {
    let root = tempfile::tempdir().unwrap();
    tool(
        "sh",
        &[
            "-c",
            "umask 022; mkdir -p b/c; echo hello > b/c/file; ln b/c/file b/d; ln -s c/file b/e; chmod 4755 b/d; mkfifo f; find . -exec touch -h -d @86399 {} +",
        ],
        root.path(),
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), archive(root.path())).unwrap();
    let listing = tool(
        "tar",
        &[
            "--numeric-owner",
            "--full-time",
            "-tvf",
            file.path().to_str().unwrap(),
        ],
        root.path(),
    );
    insta::assert_snapshot!(String::from_utf8(listing).unwrap(), @r"
    drwxr-xr-x 0/0               0 1970-01-01 23:59:59 ./
    drwxr-xr-x 0/0               0 1970-01-01 23:59:59 b/
    drwxr-xr-x 0/0               0 1970-01-01 23:59:59 b/c/
    -rwsr-xr-x 0/0               6 1970-01-01 23:59:59 b/c/file
    hrwsr-xr-x 0/0               0 1970-01-01 23:59:59 b/d link to b/c/file
    lrwxrwxrwx 0/0               0 1970-01-01 23:59:59 b/e -> c/file
    prw-r--r-- 0/0               0 1970-01-01 23:59:59 f
    ");
}

#[test]
fn order_of_creation_does_not_show() {
    if !host_has("tar") {
        return;
    }
    let archives: Vec<Vec<u8>> = ["a a.b a-b ab a/x b", "b ab a-b a.b a a/x"]
        .into_iter()
        .map(|names| {
            let root = tempfile::tempdir().unwrap();
            tool(
                "sh",
                &[
                    "-c",
                    &format!("chmod 755 .; mkdir {names}; find . -exec touch -d @1 {{}} +"),
                ],
                root.path(),
            );
            archive(root.path())
        })
        .collect();
    assert!(archives[0] == archives[1]);
    let names: Vec<String> = listing(&archives[0])
        .iter()
        .map(|line| line.split(' ').nth(5).unwrap().to_owned())
        .collect();
    assert_eq!(names, ["./", "a/", "a/x/", "a-b/", "a.b/", "ab/", "b/"]);
}

#[test]
fn capabilities_have_the_same_bytes_in_every_namespace() {
    let root = tempfile::tempdir().unwrap();
    fs_err::write(root.path().join("a"), b"").unwrap();
    fs_err::write(root.path().join("b"), b"").unwrap();
    let words = |words: &[u32]| {
        words
            .iter()
            .copied()
            .flat_map(u32::to_le_bytes)
            .collect::<Vec<u8>>()
    };
    let set = |name: &str, value: &[u8]| {
        rustix::fs::setxattr(
            root.path().join(name),
            "security.capability",
            value,
            XattrFlags::empty(),
        )
        .unwrap();
    };
    set("a", &words(&[0x0200_0001, 1 << 13, 0, 0, 0]));
    // What the kernel stores for a user namespace whose root is 100000 outside.
    set("b", &words(&[0x0300_0001, 1 << 13, 0, 0, 0, 100_000]));
    let tar = archive(root.path());
    let mut members = pristine::tree::member::Members::new(&*tar);
    let mut values = Vec::new();
    while let Some(member) = members.next_member().unwrap() {
        values.extend(member.xattrs.into_values());
    }
    assert_eq!(values, vec![words(&[0x0200_0001, 1 << 13, 0, 0, 0]); 2]);
}

/// Where the worker below finds its files.
const WORKER_FOLDER: &str = "PRISTINE_TEST_NAMESPACE_FOLDER";

/// Half of the next test: runs as root of a user namespace.
#[test]
#[ignore = "run by the next test, in a user namespace"]
fn namespace_worker() {
    let folder = std::path::PathBuf::from(std::env::var_os(WORKER_FOLDER).unwrap());
    let tar = fs_err::read(folder.join("tar")).unwrap();
    apply(&folder.join("root"), &tar).unwrap();
    fs_err::write(folder.join("root.tar"), archive(&folder.join("root"))).unwrap();
}

/// Runs `command` as root of a new user namespace that has 0 to 65535 as 100000 and up.
#[expect(unsafe_code, reason = "code between fork and exec")]
fn run_in_namespace(command: &mut std::process::Command) -> std::process::Output {
    use rustix::thread::UnshareFlags;
    use std::os::unix::process::CommandExt as _;
    let (ready, child_ready) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
    let (child_go, go) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
    let enter = move || {
        // SAFETY: nothing depends on sharing what `NEWUSER` unshares.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER) }?;
        rustix::io::write(
            &child_ready,
            &rustix::process::getpid()
                .as_raw_nonzero()
                .get()
                .to_ne_bytes(),
        )?;
        rustix::io::read(&child_go, &mut [0_u8; 1])?;
        rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
        rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
        Ok(())
    };
    // SAFETY: only system calls, no memory is allocated.
    unsafe { command.pre_exec(enter) };
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut pid = [0; 4];
            rustix::io::read(&ready, &mut pid).unwrap();
            for map in ["uid_map", "gid_map"] {
                fs_err::write(
                    format!("/proc/{}/{map}", i32::from_ne_bytes(pid)),
                    "0 100000 65536",
                )
                .unwrap();
            }
            rustix::io::write(&go, b"g").unwrap();
        });
        command.output().unwrap()
    })
}

#[test]
fn a_user_namespace_gives_the_same_bytes() {
    let source = tempfile::tempdir().unwrap();
    tool(
        "sh",
        &[
            "-c",
            "umask 022; mkdir -p a/b; echo x > a/set; chmod 4711 a/set; echo y > a/owned; chown 5:65534 a/owned; ln a/owned a/link; chown 7:8 a/b
             ln -s /nowhere s; chown -h 9:9 s; mkfifo f; mknod w c 0 0; echo z > cap; find . -exec touch -h -d @5 {} +",
        ],
        source.path(),
    );
    let words = [0x0200_0001_u32, 1 << 13, 0, 0, 0];
    let value: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    let set = |name: &str, attribute: &str, value: &[u8]| {
        rustix::fs::setxattr(
            source.path().join(name),
            attribute,
            value,
            XattrFlags::empty(),
        )
        .unwrap();
    };
    set("cap", "security.capability", &value);
    set("a/owned", "user.note", b"1");
    set("a/b", "user.overlay.opaque", b"y");
    let tar = archive(source.path());

    let folder = tempfile::tempdir().unwrap();
    fs_err::create_dir(folder.path().join("root")).unwrap();
    fs_err::write(folder.path().join("tar"), &tar).unwrap();
    tool("chown", &["-R", "100000:100000", "."], folder.path());
    let output = run_in_namespace(
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "tree::round_trip::namespace_worker"])
            .env(WORKER_FOLDER, folder.path()),
    );
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    let theirs = fs_err::read(folder.path().join("root.tar")).unwrap();
    assert_eq!(listing(&theirs), listing(&tar));
    assert!(theirs == tar);
    // Outside, the owners are the namespace's.
    let outside = rustix::fs::stat(folder.path().join("root/a/owned")).unwrap();
    assert_eq!((outside.st_uid, outside.st_gid), (100_005, 165_534));
}
