//! Clones that are written to, roots of other sizes, freezing, hashing again.

use std::collections::BTreeMap;
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::Instant;

use pristine::backend::{self, Backend, Command, RootId};
use pristine::environment::pack::{self, Content, Entry};
use pristine::environment::snapshot::{self, Kept};
use pristine::oci::{ImageConfig, Layer, Layout};
use pristine::store::{self, Stamps};

use super::{Bench, MEASURED, processors, seconds};

/// Opening a clone, one file written in it, destroying it; and the peer, in turn.
pub(super) fn write(bench: &Bench, runs: usize, peer: &[&str]) {
    let root = bench.root();
    let spool = bench.store.temporary_folder();
    let entry = Entry {
        path: "first".to_owned(),
        mode: 0o644,
        owner: backend::User::ROOT,
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
        theirs.extend(timed(peer));
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
    let freeze = |expected: Option<&_>| {
        let start = Instant::now();
        let kept = Kept::look(&layout, expected);
        let layer = snapshot::freeze(&bench.backend, &root, &normalise, &layout, kept).unwrap();
        (layer, seconds(start))
    };
    let (layer, first) = freeze(None);
    assert_eq!(Some(layer.diff_id), bench.lock.environment.tree);
    // The first time that it is only digested leaves marks by which the next is sooner.
    freeze(Some(&layer.diff_id));
    let (_, again) = freeze(Some(&layer.diff_id));
    let next = next_night(bench, (&layout, &layer), &root);
    let start = Instant::now();
    let other = snapshot::freeze(&bench.backend, &next, &normalise, &layout, None).unwrap();
    let changed = seconds(start);
    assert_ne!(other.diff_id, layer.diff_id);
    bench.backend.remove(&next).unwrap();
    println!(
        "{}",
        serde_json::json!({ "first": first, "again": again, "changed": changed, "size": layer.size })
    );
}

/// An environment in which one package of twenty has other files, and the database of packages was written anew.
fn next_night(bench: &Bench, (layout, layer): (&Layout, &Layer), root: &RootId) -> RootId {
    let names = bench
        .lock
        .rpms()
        .step_by(20)
        .map(|rpm| rpm.nevra.name.as_str());
    let names: Vec<&str> = names.collect();
    let script = format!(
        "rpm --rebuilddb; rpm -ql {} | while read -r file; do\n\
         [ -L \"$file\" ] || [ ! -f \"$file\" ] || echo changed >> \"$file\"\ndone",
        names.join(" ")
    );
    let mut clone = bench.backend.open(std::slice::from_ref(root)).unwrap();
    bench.run(&mut *clone, &Command::new(["sh", "-c", &script]));
    let changes = bench.backend.scratch_id();
    clone.freeze(&changes).unwrap();
    let upper =
        snapshot::freeze(&bench.backend, &changes, &bench.normalise(), layout, None).unwrap();
    let config = ImageConfig {
        architecture: bench.lock.architecture.as_str().to_owned(),
        epoch: bench.lock.epoch,
        env: BTreeMap::new(),
        labels: BTreeMap::new(),
        history: vec![String::new(); 2],
    };
    let image = layout
        .write_image(&[layer.clone(), upper], &config)
        .unwrap();
    let mut merged = tempfile::tempfile_in(layout.path()).unwrap();
    let image = layout.image(&image.manifest).unwrap();
    layout.export_tar(&image, &mut merged).unwrap();
    merged.rewind().unwrap();
    let next = bench.backend.scratch_id();
    bench.backend.import(&next, &mut merged).unwrap();
    // What this has written is not to be waited for later.
    rustix::fs::sync();
    next
}

/// A look at the kept environment, whether it was changed since it was hashed: its layer's file and its tree. And the peer, in turn.
pub(super) fn look(bench: &Bench, runs: usize, peer: &[&str]) {
    let root = bench.root();
    let image = snapshot::find(&bench.layout, &bench.lock).unwrap().unwrap();
    let layer = image.reference.layers[0].digest.hex();
    let blob = bench.layout.path().join("blobs/sha256").join(layer);
    let looks = || {
        let file = store::look(&blob).unwrap();
        (file, bench.backend.fingerprint(&root).unwrap().to_string())
    };
    let mut known = Stamps::default();
    let (file, tree) = looks();
    known.note("layer".to_owned(), file);
    known.note("tree".to_owned(), tree);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let start = Instant::now();
        let (file, tree) = looks();
        assert!(known.has("layer", &file) && known.has("tree", &tree));
        ours.push(seconds(start));
        theirs.extend(timed(peer));
    }
    println!(
        "{}",
        serde_json::json!({ "pristine": ours, "peer": theirs })
    );
}

/// A root of so many files removed, and the clones that are opened until it is gone; the same files as another tree, removed by `peer`,
/// to which its folder is added.
pub(super) fn remove(bench: &Bench, files: usize, peer: &[&str]) {
    let small = bench.root();
    let make = |name: &str| {
        let root = RootId(format!("{MEASURED}{name}-{}", std::process::id()));
        let folders = (0..files.div_ceil(1000))
            .map(|at| Entry::folder(&format!("{at}"), backend::User::ROOT));
        let files = (0..files).map(|at| Entry {
            path: format!("{}/file-{at}", at / 1000),
            mode: 0o644,
            owner: backend::User::ROOT,
            content: Content::Bytes(at.to_string().into_bytes()),
        });
        let entries: Vec<Entry> = folders.chain(files).collect();
        let mut tar = pack::pack(&entries, 0, &bench.store.temporary_folder()).unwrap();
        bench.backend.import(&root, &mut tar).unwrap();
        root
    };
    let clone = || {
        let start = Instant::now();
        let mut clone = bench.backend.open(std::slice::from_ref(&small)).unwrap();
        bench.run(&mut *clone, &Command::new(["/bin/true"]));
        clone.destroy().unwrap();
        seconds(start)
    };
    let (ours, theirs) = (make("removed"), make("peer"));
    // All on the disk: else what is removed was never written.
    rustix::fs::sync();
    let alone: Vec<f64> = (0..50).map(|_| clone()).collect();
    let start = Instant::now();
    bench.backend.remove(&ours).unwrap();
    let told = seconds(start);
    let mut meanwhile = Vec::new();
    let trash = bench.store.root().join("trash");
    let gone = loop {
        // Clones go there too, and are gone at once.
        let left = std::fs::read_dir(&trash).unwrap().count();
        if left == 0 {
            break seconds(start);
        }
        meanwhile.push(clone());
    };
    let folder = bench.store.roots_folder().join(&theirs.0);
    let folder = folder.to_str().unwrap();
    let peer = timed(&[peer, &[folder]].concat());
    println!(
        "{}",
        serde_json::json!({ "told": told, "gone": gone, "alone": alone, "meanwhile": meanwhile, "peer": peer })
    );
}

/// Seconds that a program takes, where there is one.
fn timed(argv: &[&str]) -> Option<f64> {
    let (program, arguments) = argv.split_first()?;
    let start = Instant::now();
    let status = Process::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{program}: {status}");
    Some(seconds(start))
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
