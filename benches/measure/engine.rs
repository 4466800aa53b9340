//! What is timed of the docker backend, beside the docker command on the same engine.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::Instant;

use pristine::backend::docker::{Address, Brand, Docker};
use pristine::backend::{Backend as _, Command, Mount, RootId};
use pristine::environment::snapshot;
use pristine::oci::Layout;
use pristine::tree::Normalise;

use super::{Bench, seconds};

/// The backend on the engine at `address`, with the lowest layer of the project's snapshot.
fn open(bench: &Bench, address: &str) -> (Docker, RootId) {
    let address = Address::parse(Brand::Docker, address).unwrap();
    let backend = Docker::open(bench.store.root(), &address).unwrap();
    backend.sweep().unwrap();
    let image = snapshot::find(&bench.layout, &bench.lock).unwrap();
    let image = image.expect("the snapshot is not kept: run `pristine build` first");
    let root = snapshot::restore(&backend, &bench.layout, &image.reference.layers[0]).unwrap();
    (backend, root)
}

/// Runs the docker command; gives its output.
fn docker(address: &str, arguments: &[&str], input: Stdio) -> String {
    let output = Process::new("docker")
        .args(["--host", address])
        .args(arguments)
        .stdin(input)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A container of the kept snapshot is made, runs `/bin/true` and is removed; and `docker run --rm` of the same image.
pub(super) fn clone(bench: &Bench, runs: usize, address: &str) {
    let (backend, root) = open(bench, address);
    let once = || {
        let start = Instant::now();
        let mut clone = backend.open(std::slice::from_ref(&root)).unwrap();
        bench.run(&mut *clone, &Command::new(["/bin/true"]));
        clone.destroy().unwrap();
        seconds(start)
    };
    // The image is in the engine after this.
    once();
    let listed = ["images", "-q", "--filter", "label=io.pristine.layers"];
    let images = docker(address, &listed, Stdio::null());
    let image = images.lines().next().unwrap();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        ours.push(once());
        let start = Instant::now();
        let plain = ["run", "--rm", "--network=none", image, "/bin/true"];
        docker(address, &plain, Stdio::null());
        theirs.push(seconds(start));
    }
    println!("{}", serde_json::json!({"pristine": ours, "peer": theirs}));
}

/// A new environment, as rpm leaves it in the engine, becomes a layer of the store's OCI layout; and the same tree in a
/// container goes through `docker commit` and `docker save`.
pub(super) fn freeze(bench: &Bench, runs: usize, (address, folder): (&str, &Path)) {
    let (backend, root) = open(bench, address);
    let layout = Layout::open(&folder.join("oci")).unwrap();
    let plain = Normalise {
        epoch: bench.lock.epoch,
        ..bench.normalise()
    };
    let mut tar = tempfile::tempfile().unwrap();
    let (mut ours, mut theirs, mut changes, mut size) = (Vec::new(), Vec::new(), Vec::new(), 0);
    docker(
        address,
        &["import", "-", "measured-nothing"],
        empty(&mut tar),
    );
    for _ in 0..runs {
        let target = backend.scratch_id();
        backend.import(&target, &mut std::io::empty()).unwrap();
        fill(bench, (&backend, &root), &target);
        let start = Instant::now();
        snapshot::freeze(&backend, &target, &plain, &layout, None).unwrap();
        ours.push(seconds(start));
        let mut tree = tempfile::tempfile().unwrap();
        backend.export(&target, None, &mut tree).unwrap();
        size = tree.metadata().unwrap().len();
        std::io::Seek::rewind(&mut tree).unwrap();
        theirs.push(commit_and_save(address, tree, &folder.join("saved.tar")));
        backend.remove(&target).unwrap();
        changes.push(freeze_changes(bench, &backend, &root));
    }
    docker(address, &["rmi", "measured-nothing"], Stdio::null());
    changes.sort_by(f64::total_cmp);
    println!(
        "{}",
        serde_json::json!({
            "pristine": ours, "peer": theirs, "megabytes": size / 1_000_000, "changes": changes[changes.len() / 2],
        })
    );
}

/// Fills a root from inside an environment, as rpm does.
fn fill(bench: &Bench, (backend, root): (&Docker, &RootId), target: &RootId) {
    let mut command = Command::new(["sh", "-c", "cp -a /usr /etc /var /target/ && sync"]);
    command.mounts = vec![Mount::Root {
        root: target.clone(),
        target: "/target".to_owned(),
    }];
    let mut clone = backend.open(std::slice::from_ref(root)).unwrap();
    bench.run(&mut *clone, &command);
    clone.destroy().unwrap();
}

/// What Docker itself takes for the same tree, in a container of nothing.
fn commit_and_save(address: &str, tree: std::fs::File, saved: &Path) -> f64 {
    let create = ["create", "measured-nothing", "/none"];
    let made = docker(address, &create, Stdio::null());
    docker(
        address,
        &["cp", "-a", "-", &format!("{made}:/")],
        tree.into(),
    );
    let to = saved.display().to_string();
    let start = Instant::now();
    docker(
        address,
        &["commit", &made, "measured-commit"],
        Stdio::null(),
    );
    docker(
        address,
        &["save", "--output", &to, "measured-commit"],
        Stdio::null(),
    );
    let took = seconds(start);
    docker(address, &["rm", &made], Stdio::null());
    docker(address, &["rmi", "measured-commit"], Stdio::null());
    took
}

/// What a recipe's commands made is taken another way: the same files, as changes of a clone.
fn freeze_changes(bench: &Bench, backend: &Docker, root: &RootId) -> f64 {
    let mut clone = backend.open(std::slice::from_ref(root)).unwrap();
    let script = "mkdir /target && cp -a /usr /etc /var /target/";
    bench.run(&mut *clone, &Command::new(["sh", "-c", script]));
    let frozen = backend.scratch_id();
    let start = Instant::now();
    clone.freeze(&frozen).unwrap();
    let took = seconds(start);
    backend.remove(&frozen).unwrap();
    took
}

/// An archive of nothing, to read.
fn empty(tar: &mut std::fs::File) -> Stdio {
    tar.write_all(&[0; 1024]).unwrap();
    std::io::Seek::rewind(tar).unwrap();
    tar.try_clone().unwrap().into()
}
