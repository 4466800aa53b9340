//! Clones that are written to, roots of other sizes, freezing, hashing again.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::Instant;

use pristine::backend::{Backend, Command, RootId};
use pristine::environment::pack::{self, Content, Entry};
use pristine::environment::snapshot;
use pristine::oci::Layout;

use super::{Bench, MEASURED, processors, seconds};

/// Opening a clone, one file written in it, destroying it; and the peer, in turn.
pub(super) fn write(bench: &Bench, runs: usize, peer: &[&str]) {
    let root = bench.root();
    let spool = bench.store.temporary_folder();
    let entry = Entry {
        path: "first".to_owned(),
        mode: 0o644,
        owner: pristine::backend::User::ROOT,
        content: Content::Bytes(b"first write\n".to_vec()),
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let mut tar = pack::pack(std::slice::from_ref(&entry), 0, &spool).unwrap();
        let start = Instant::now();
        let mut clone = bench.backend.open(std::slice::from_ref(&root)).unwrap();
        clone.copy_in("/etc", &mut tar).unwrap();
        clone.destroy().unwrap();
        ours.push(seconds(start));
        if let Some((program, arguments)) = peer.split_first() {
            let start = Instant::now();
            let status = Process::new(program)
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .status()
                .unwrap();
            theirs.push(seconds(start));
            assert!(status.success(), "{program}: {status}");
        }
    }
    println!(
        "{}",
        serde_json::json!({ "pristine": ours, "peer": theirs })
    );
}

/// `/bin/true` in a clone of the environment, and in one of a root that holds it ten times, in turn.
pub(super) fn sizes(bench: &Bench, runs: usize) {
    let small = bench.root();
    let large = RootId(format!("{MEASURED}large-{}", std::process::id()));
    let folder = bench.store.roots_folder();
    let (from, to) = (folder.join(&small.0), folder.join(&large.0));
    let link = |to: &Path| {
        let status = Process::new("cp").arg("-al").arg(&from).arg(to).status();
        assert!(status.unwrap().success(), "cp -al");
    };
    link(&to);
    (1..10).for_each(|number| link(&to.join(format!("copy-{number}"))));
    let command = Command::new(["/bin/true"]);
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..runs {
        for (root, times) in [&small, &large].into_iter().zip(&mut times) {
            let start = Instant::now();
            let mut clone = bench.backend.open(std::slice::from_ref(root)).unwrap();
            bench.run(&mut *clone, &command);
            clone.destroy().unwrap();
            times.push(seconds(start));
        }
    }
    let [small, large] = times;
    println!("{}", serde_json::json!({ "small": small, "large": large }));
}

/// Freezing the environment into a layout of its own below `folder`, and once more where that is kept.
pub(super) fn freeze(bench: &Bench, folder: &str) {
    let folder = tempfile::tempdir_in(folder).unwrap();
    let layout = Layout::open(folder.path()).unwrap();
    let (root, normalise) = (bench.root(), bench.normalise());
    let freeze = |expected| {
        let start = Instant::now();
        let layer = snapshot::freeze(&bench.backend, &root, &normalise, &layout, expected).unwrap();
        (layer, seconds(start))
    };
    let (layer, first) = freeze(None);
    assert_eq!(Some(layer.diff_id), bench.lock.environment.tree);
    let (_, again) = freeze(Some(&layer.diff_id));
    println!(
        "{}",
        serde_json::json!({ "first": first, "again": again, "size": layer.size })
    );
}

/// Hashing all packages in the store again; their files are written to `list`, one a line.
pub(super) fn rehash(bench: &Bench, list: &str) {
    let digests: Vec<_> = bench.lock.rpms().map(|rpm| rpm.digest).collect();
    let start = Instant::now();
    let paths = bench.store.verify_many(&digests, processors()).unwrap();
    let took = seconds(start);
    let mut list = std::fs::File::create(list).unwrap();
    for path in paths {
        writeln!(list, "{}", path.display()).unwrap();
    }
    println!("{}", serde_json::json!({ "total": took }));
}
