//! What `benches/compare` times of the library itself. Each verb does one measurement and
//! prints one line of JSON; times are seconds, taken inside this process.
//!
//! ```text
//! measure environment PROJECT    the environment of the lock, from a filled store, once
//! measure forget PROJECT         removes the trees that `environment` left
//! measure root PROJECT           the path of the kept environment's root
//! measure clone PROJECT RUNS -- PEER…   /bin/true in a clone, each run followed by one of the peer command
//! measure engine-clone PROJECT RUNS ADDRESS   /bin/true in a container of the snapshot, each followed by `docker run`
//! measure engine-freeze PROJECT RUNS ADDRESS FOLDER   an environment in an engine frozen; `docker commit` and `docker save`
//! measure write PROJECT RUNS -- PEER…   one file written in a clone, each run followed by one of the peer command
//! measure sizes PROJECT RUNS     `/bin/true` in clones of the environment and of ten of it, in turn
//! measure freeze PROJECT FOLDER  the environment as a layer, in a layout below FOLDER, again, and one that differs a little
//! measure look PROJECT RUNS -- PEER…   whether the kept environment was changed, each look followed by one of the peer command
//! measure remove PROJECT FILES -- PEER…   a root of so many files removed while clones are opened; the peer command on such a tree
//! measure rehash PROJECT LIST    the SHA-256 of all packages in the store, whose paths go to LIST
//! measure package PROJECT RUNS   one trivial package: the whole way, and rpmbuild alone
//! measure plan PROJECT PACKAGES  what as many builds of no work take, each
//! measure universe FOLDER        writes the metadata of a large universe: Debian's whole index
//! measure packages FOLDER MIB    writes `first.rpm`, its copy `twin.rpm`, and `other.rpm`, in which one file differs
//! measure compare FIRST SECOND   two package files compared, once
//! measure solve STORE REPOSITORY NAME…   the packages that these names need, from a repository's metadata
//! ```
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement fails by panicking, and starts its peers directly"
)]

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::time::Instant;

use pristine::backend::native::{Native, dispatch};
use pristine::backend::{self, Backend, Command, Io, RootId, User};
use pristine::build::conditions::Conditions;
use pristine::build::package::{self, Builder, TOPDIR};
use pristine::build::run::{self, Ready, Site};
use pristine::build::schedule::{Demand, Machine};
use pristine::cancel::Cancel;
use pristine::documents::config::Project;
use pristine::documents::lock::Lock;
use pristine::documents::recipe::Recipe;
use pristine::documents::template::Template;
use pristine::environment::create::{self, Ingredients};
use pristine::environment::rules;
use pristine::environment::snapshot;
use pristine::events::Silent;
use pristine::oci::Layout;
use pristine::plan::{Node, Plan};
use pristine::record::journal::Journal;
use pristine::repository::{Offered, PackageEntry, Reach, Repomd};
use pristine::resolve::Supply;
use pristine::resolve::metadata::{self, Keeping, Kept};
use pristine::resolve::packages::{self, Stock};
use pristine::solve::{Preference, Request, Universe, Wanted};
use pristine::store::Store;
use pristine::store::fetch::{FetchOptions, Fetcher};
use pristine::tree::Normalise;

#[path = "measure/comparing.rs"]
mod comparing;
#[path = "measure/engine.rs"]
mod engine;
#[path = "measure/plan.rs"]
mod plan;
#[path = "measure/snapshots.rs"]
mod snapshots;

fn main() {
    dispatch();
    pristine::backend::docker::dispatch();
    let started = Instant::now();
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["environment", project] => environment(&Bench::open(project), started),
        ["forget", project] => forget(&Bench::open(project)),
        ["root", project] => println!("{}", Bench::open(project).root_folder().display()),
        ["clone", project, runs, "--", peer @ ..] => {
            clone(&Bench::open(project), runs.parse().unwrap(), peer);
        }
        ["engine-clone", project, runs, address] => {
            engine::clone(&Bench::open(project), runs.parse().unwrap(), address);
        }
        ["engine-freeze", project, runs, address, folder] => {
            let place = (*address, Path::new(folder));
            engine::freeze(&Bench::open(project), runs.parse().unwrap(), place);
        }
        ["write", project, runs, "--", peer @ ..] => {
            snapshots::write(&Bench::open(project), runs.parse().unwrap(), peer);
        }
        ["look", project, runs, "--", peer @ ..] => {
            snapshots::look(&Bench::open(project), runs.parse().unwrap(), peer);
        }
        ["remove", project, files, "--", peer @ ..] => {
            snapshots::remove(&Bench::open(project), files.parse().unwrap(), peer);
        }
        ["sizes", project, runs] => snapshots::sizes(&Bench::open(project), runs.parse().unwrap()),
        ["freeze", project, folder] => snapshots::freeze(&Bench::open(project), folder),
        ["rehash", project, list] => snapshots::rehash(&Bench::open(project), list),
        ["package", project, runs] => package(&Bench::open(project), runs.parse().unwrap()),
        ["plan", project, packages] => plan::plan(&Bench::open(project), packages.parse().unwrap()),
        ["universe", folder] => universe(folder),
        ["packages", folder, mebibytes] => {
            comparing::packages(Path::new(folder), mebibytes.parse().unwrap());
        }
        ["compare", first, second] => comparing::compare(Path::new(first), Path::new(second)),
        ["solve", store, repository, names @ ..] => solve(store, repository, names, started),
        // `cargo bench` without words: there is nothing to measure without a project.
        [] => println!("run benches/compare"),
        other => panic!("not a measurement: {other:?}"),
    }
}

/// A project with its store filled and its backend running.
struct Bench {
    project: Project,
    template: Template,
    recipe: Option<Recipe>,
    lock: Lock,
    store: Store,
    layout: Layout,
    fetcher: Fetcher,
    backend: Native,
    runtime: tokio::runtime::Runtime,
    cancel: Cancel,
}

impl Bench {
    fn open(folder: &str) -> Self {
        let project = Project::load(Path::new(folder)).unwrap();
        let template = Template::load(&project.directory, &project.template).unwrap();
        let recipe = project
            .recipe
            .as_ref()
            .map(|name| Recipe::load(&project.directory, name).unwrap());
        let lock = Lock::load(&project.directory).unwrap();
        let store = Store::open(&project.directory.join(&project.store)).unwrap();
        let backend = Native::open(store.root()).unwrap();
        backend.sweep().unwrap();
        Self {
            layout: Layout::open(&store.oci_folder()).unwrap(),
            fetcher: Fetcher::new(store.clone(), FetchOptions::default()),
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap(),
            cancel: Cancel::new().unwrap(),
            project,
            template,
            recipe,
            lock,
            store,
            backend,
        }
    }

    fn stock(&self) -> Stock {
        let supply = Supply {
            project: &self.project,
            store: &self.store,
            fetcher: &self.fetcher,
            runtime: &self.runtime,
            sink: &Silent,
            cancel: &self.cancel,
        };
        let trust =
            packages::trust(supply, &self.lock, &self.template, self.recipe.as_ref()).unwrap();
        Stock::of(supply, &self.lock, &trust, processors()).unwrap()
    }

    fn normalise(&self) -> Normalise {
        let own = &self.template.normalise;
        let text = |paths: &[pristine::documents::AbsolutePath]| {
            paths.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        rules::rules(self.lock.epoch, &text(&own.remove), &text(&own.truncate))
    }

    fn root(&self) -> RootId {
        let image = snapshot::find(&self.layout, &self.lock).unwrap();
        let image = image.expect("the snapshot is not kept: run `pristine build` first");
        snapshot::restore(&self.backend, &self.layout, &image.reference.layers[0]).unwrap()
    }

    fn root_folder(&self) -> PathBuf {
        self.store.roots_folder().join(self.root().0)
    }

    fn builder(&self) -> Builder {
        let builder = &self.template.builder;
        Builder {
            name: builder.name.to_string(),
            user: User {
                uid: builder.uid,
                gid: builder.gid,
            },
            home: TOPDIR.to_owned(),
        }
    }

    fn run(&self, clone: &mut dyn backend::Clone, command: &Command) {
        let mut said = Vec::new();
        let mut output = |_, bytes: &[u8]| said.extend_from_slice(bytes);
        let exit = clone
            .run(
                command,
                Io {
                    stdin: None,
                    output: &mut output,
                    cancel: &self.cancel,
                },
            )
            .unwrap();
        assert!(exit.success(), "{exit}: {}", String::from_utf8_lossy(&said));
    }
}

fn processors() -> NonZero<usize> {
    std::thread::available_parallelism().unwrap()
}

fn seconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64()
}

/// How the roots begin that measurements leave behind.
const MEASURED: &str = "measured-";

fn forget(bench: &Bench) {
    for entry in std::fs::read_dir(bench.store.roots_folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.starts_with(MEASURED) {
            bench.backend.remove(&RootId(name)).unwrap();
        }
    }
}

/// What `pristine build` does from its start to the environment's digest.
fn environment(bench: &Bench, started: Instant) {
    let opened = seconds(started);
    let stock = bench.stock();
    let verified = seconds(started);
    let normalise = bench.normalise();
    let stage = bench.store.scratch_folder().unwrap();
    let ingredients = Ingredients {
        stage: stage.path(),
        tools: &stock.tools,
        packages: &stock.rpms,
        normalise: normalise.clone(),
        store: &bench.store,
    };
    let expected = bench.lock.environment.tree;
    let kept = snapshot::Kept::look(&bench.layout, expected.as_ref());
    let root = create::install(&bench.backend, &ingredients, &bench.cancel).unwrap();
    let installed = seconds(started);
    let layer = std::thread::scope(|scope| {
        scope.spawn(|| drop(stage));
        snapshot::freeze(&bench.backend, &root, &normalise, &bench.layout, kept).unwrap()
    });
    let total = seconds(started);
    // Deleted later, by `forget`: on ext4 a deletion slows down whoever makes files next.
    let kept = RootId(format!("{MEASURED}{}", std::process::id()));
    bench.backend.rename(&root, &kept).unwrap();
    assert_eq!(
        Some(layer.diff_id),
        expected,
        "another tree than the lock's"
    );
    println!(
        "{}",
        serde_json::json!({
            "open": opened,
            "verify": verified - opened,
            "install": installed - verified,
            "digest": total - installed,
            "total": total,
            "packages": stock.rpms.len(),
        })
    );
}

/// Opening a clone, one `/bin/true` in it, destroying it; and the peer, in turn.
fn clone(bench: &Bench, runs: usize, peer: &[&str]) {
    let root = bench.root();
    let command = Command::new(["/bin/true"]);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let start = Instant::now();
        let mut clone = bench.backend.open(std::slice::from_ref(&root)).unwrap();
        bench.run(&mut *clone, &command);
        clone.destroy().unwrap();
        ours.push(seconds(start));
        if let Some((program, arguments)) = peer.split_first() {
            let start = Instant::now();
            let status = Process::new(program)
                .args(arguments)
                .stdin(Stdio::null())
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

/// The spec of the trivial package: all the time is rpmbuild's and ours.
const SPEC: &str = "Name: trivial\nVersion: 1\nRelease: 1\nSummary: Trivial\nLicense: MIT\nBuildArch: noarch\n\
    %description\nTrivial.\n%install\nmkdir -p %{buildroot}/usr/share\necho trivial > %{buildroot}/usr/share/trivial\n\
    %files\n/usr/share/trivial\n%changelog\n* Thu Jan 01 2026 A <a@example.org> - 1-1\n- First\n";

/// The trivial package, ready to build.
fn trivial(spec: std::path::PathBuf) -> Ready {
    Ready {
        name: "trivial".to_owned(),
        version: "1-1".to_owned(),
        spec: "trivial.spec".to_owned(),
        build_requires: Vec::new(),
        asks: Vec::new(),
        files: vec![("trivial.spec".to_owned(), spec)],
        inputs: Vec::new(),
        options: Vec::new(),
        has_changelog: true,
        demand: Demand::default(),
        limits: backend::Limits::default(),
        conditions: Conditions::default(),
        recorded: None,
    }
}

/// One package the whole way (its clone, sources, account, rpmbuild, collection, repository, log), and in turn
/// rpmbuild alone in a sandbox that is ready.
#[expect(clippy::too_many_lines, reason = "both ways side by side")]
fn package(bench: &Bench, runs: usize) {
    let root = bench.root();
    let builder = bench.builder();
    let folder = tempfile::tempdir_in(bench.store.temporary_folder()).unwrap();
    let spec = folder.path().join("trivial.spec");
    std::fs::write(&spec, SPEC).unwrap();
    let ready = trivial(spec);
    let node = Node {
        name: ready.name.clone(),
        build_requires: Vec::new(),
        binaries: Vec::new(),
    };
    let plan = Plan::new(&[node]).unwrap();
    let installed: Vec<_> = bench
        .stock()
        .rpms
        .iter()
        .map(|rpm| pristine::rpm::read_package(&rpm.path).unwrap())
        .collect();
    let (mut whole, mut alone) = (Vec::new(), Vec::new());
    for number in 0..runs {
        let output = folder.path().join(number.to_string());
        std::fs::create_dir(&output).unwrap();
        let run = plan::begun(&bench.lock, "r");
        let journal = Journal::begin(&output, &run).unwrap();
        let site = Site {
            backend: &bench.backend,
            roots: std::slice::from_ref(&root),
            tree: &pristine::digest::Digest::of(root.0.as_bytes()),
            installed: &installed,
            folder: &output,
            builder: &builder,
            macros: &BTreeMap::new(),
            epoch: u64::try_from(bench.lock.epoch).unwrap(),
            arch: bench.lock.architecture.as_str(),
            spool: &bench.store.temporary_folder(),
            keep_failed: &std::sync::atomic::AtomicUsize::new(0),
            machine: Machine {
                jobs: NonZero::<usize>::MIN,
                processors: processors(),
                memory: 1 << 30,
            },
            fail_fast: false,
            earlier: None,
            tracing: None,
            started: Instant::now(),
            journal: Some(&journal),
            enter: "pristine enter --failed",
            sink: &Silent,
            cancel: &bench.cancel,
        };
        let start = Instant::now();
        let records = run::run(site, &plan, std::slice::from_ref(&ready))
            .unwrap()
            .packages;
        whole.push(seconds(start));
        assert!(records[0].outcome.good(), "{:?}", records[0]);
        alone.push(rpmbuild_alone(bench, &root, &ready));
    }
    println!(
        "{}",
        serde_json::json!({ "whole": whole, "rpmbuild": alone })
    );
}

/// The time of rpmbuild and nothing else, in a clone that has seen another command before.
fn rpmbuild_alone(bench: &Bench, root: &RootId, ready: &Ready) -> f64 {
    let builder = bench.builder();
    let mut clone = bench.backend.open(std::slice::from_ref(root)).unwrap();
    let script = format!(
        "mkdir -p {top}/SPECS && cat > {top}/SPECS/trivial.spec && chown -R {uid}:{gid} {top}",
        top = package::TOPDIR,
        uid = builder.user.uid,
        gid = builder.user.gid
    );
    let mut first = Command::new(["true"]);
    first.account = Some(builder.clone());
    bench.run(&mut *clone, &first);
    let mut input = SPEC.as_bytes();
    let io = Io {
        stdin: Some(&mut input),
        output: &mut |_, _| {},
        cancel: &bench.cancel,
    };
    assert!(
        clone
            .run(&Command::new(["sh", "-c", &script]), io)
            .unwrap()
            .success()
    );
    let define = |text: &str| ["--define".to_owned(), text.to_owned()];
    let mut command = Command::new(["rpmbuild", "-ba"]);
    command
        .argv
        .extend(define(&format!("_topdir {}", package::TOPDIR)));
    command
        .argv
        .push(format!("{}/SPECS/{}", package::TOPDIR, ready.spec));
    command.user = builder.user;
    package::TOPDIR.clone_into(&mut command.cwd);
    command.env.extend(builder.environment());
    let start = Instant::now();
    bench.run(&mut *clone, &command);
    let took = seconds(start);
    clone.destroy().unwrap();
    took
}

fn universe(folder: &str) {
    let folder = Path::new(folder);
    let options = minidistro::Options {
        suite: minidistro::Suite::Trixie,
        mirror: None,
        packages: Vec::new(),
        output: folder.to_owned(),
        downloads: folder.join(".downloads"),
        sources: Vec::new(),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let packages = runtime.block_on(minidistro::universe(&options)).unwrap();
    println!("{}", serde_json::json!({ "packages": packages }));
}

/// The most memory that this process had, bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line
        .and_then(|line| line.split_whitespace().next())
        .unwrap();
    kilobytes.parse::<u64>().unwrap() * 1024
}

/// Solves a request for packages by name in one repository's metadata, with the kept index where there is one; each part timed.
fn solve(store: &str, repository: &str, names: &[&str], started: Instant) {
    let store = Store::open(Path::new(store)).unwrap();
    let folder = Path::new(repository);
    let bytes = std::fs::read(folder.join("repodata/repomd.xml")).unwrap();
    let repomd = Repomd::parse(&bytes, "repomd.xml").unwrap();
    let record = &repomd.records["primary"];
    let digest = record.checksum.sha256().unwrap();
    let kept = metadata::kept_index(&store, &digest);
    let warm = kept.is_some();
    let made = || {
        let primary = std::fs::File::open(folder.join(&record.location)).unwrap();
        let arrived = store.insert_ahead(primary, Some(&digest), None).unwrap();
        let label = "primary".to_owned();
        metadata::make_index(&store, &Kept { digest, label }, Some(arrived)).unwrap()
    };
    let (index, keeping) = kept.map_or_else(made, |index| (index, Keeping::default()));
    let loaded = seconds(started);
    let all = |_: &PackageEntry| true;
    let offered = Offered {
        index: &index,
        sees: &all,
    };
    let mut reach = Reach::new([offered], false);
    for name in names {
        reach.request(name).unwrap();
    }
    let reached: Vec<PackageEntry> = reach.into_packages().remove(0).into_values().collect();
    let found = seconds(started);
    let mut universe = Universe::new("x86_64").unwrap();
    universe.add_repository("large", Preference::default(), &reached);
    let request = Request {
        install: names
            .iter()
            .map(|name| Wanted::package(*name, "a measurement"))
            .collect(),
        ..Request::default()
    };
    assert!(universe.needs_filelists(&request).is_empty());
    let filled = seconds(started);
    let solution = universe.solve(&request).unwrap();
    let solved = seconds(started);
    drop(keeping);
    let total = seconds(started);
    println!(
        "{}",
        serde_json::json!({
            "warm": warm,
            "load": loaded,
            "reach": found - loaded,
            "fill": filled - found,
            "solve": solved - filled,
            "keep": total - solved,
            "total": total,
            "memory": peak(),
            "reached": reached.len(),
            "packages": solution.packages.len(),
        })
    );
}
