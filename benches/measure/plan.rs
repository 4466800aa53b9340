//! A plan of builds that do no work: what the tool itself takes for each package.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use pristine::backend::{
    self, Backend, BackendError, Capabilities, Command, Exit, Io, RootId, Usage, Writers,
};
use pristine::build::conditions::Conditions;
use pristine::build::run::{self, Ready, Site};
use pristine::build::schedule::{Demand, Machine};
use pristine::digest::Digest;
use pristine::documents::Lock;
use pristine::events::Silent;
use pristine::plan::{self, Binary, Node, Plan};
use pristine::record::journal::Journal;
use pristine::record::{Ending, FORMAT, Record, Scope};
use pristine::report;
use pristine::tree::Normalise;

use super::{Bench, processors, seconds};

/// So many of the packages before it does each one need.
const NEEDS: usize = 4;
/// Builds at once.
const JOBS: usize = 8;

/// As many packages, each with what the real environment has installed.
pub(super) fn plan(bench: &Bench, packages: usize) {
    let nodes = nodes(packages);
    let start = Instant::now();
    let plan = Plan::new(&nodes).unwrap();
    let ordered = seconds(start);
    let start = Instant::now();
    assert_eq!(plan::foreign_requirements(&nodes).unwrap().len(), packages);
    let asked = seconds(start);
    let folder = tempfile::tempdir_in(bench.store.temporary_folder()).unwrap();
    let run = folder.path().join("runs/20260102-030405-1");
    std::fs::create_dir_all(&run).unwrap();
    let (records, built) = build(bench, &nodes, &plan, &run);
    let record = Record {
        packages: records,
        ..begun(&bench.lock, "20260102-030405-1")
    };
    let start = Instant::now();
    record.save(&run).unwrap();
    assert_eq!(Record::load(&run).unwrap().packages.len(), packages);
    let recorded = seconds(start);
    let start = Instant::now();
    report::write(run.parent().unwrap(), &run, &record, &bench.lock).unwrap();
    let reported = seconds(start);
    let whole = ordered + asked + built + recorded + reported;
    println!(
        "{}",
        serde_json::json!({
            "packages": packages, "plan": ordered, "requirements": asked, "builds": built, "record": recorded,
            "report": reported, "each": whole / f64::from(u32::try_from(packages).unwrap()),
        })
    );
}

/// Chains and fans: each needs some of those before it, near and far.
fn nodes(packages: usize) -> Vec<Node> {
    let name = |place: usize| format!("p{place:05}");
    let node = |place: usize| {
        let needs = (1..=NEEDS).filter_map(|step| {
            let distance = step * step * (1 + place * 7919 % 37);
            place
                .checked_sub(distance)
                .map(|need| format!("{}-devel", name(need)))
        });
        let binary = |name: String, requires: Vec<String>| Binary {
            provides: vec![name.clone(), format!("{name}(x86-64) = 1-1")],
            requires,
        };
        Node {
            name: name(place),
            build_requires: needs.chain(["gcc".to_owned(), "make".to_owned()]).collect(),
            binaries: vec![
                binary(name(place), vec!["libc.so.6()(64bit)".to_owned()]),
                binary(format!("{}-devel", name(place)), vec![name(place)]),
            ],
        }
    };
    (0..packages).map(node).collect()
}

/// Runs the plan; gives its records and how long it took.
fn build(
    bench: &Bench,
    nodes: &[Node],
    plan: &Plan,
    folder: &Path,
) -> (Vec<pristine::record::PackageRecord>, f64) {
    let installed: Vec<_> = bench
        .stock()
        .rpms
        .iter()
        .map(|rpm| pristine::rpm::read_package(&rpm.path).unwrap())
        .collect();
    let results = nodes
        .iter()
        .map(|node| (node.name.clone(), results(node)))
        .collect();
    let backend = NoWork::new(results);
    let spec = folder.parent().unwrap().join("spec");
    std::fs::write(&spec, "Name: x\n").unwrap();
    let ready: Vec<Ready> = nodes.iter().map(|node| ready(node, &spec)).collect();
    let journal = Journal::begin(folder, &begun(&bench.lock, "r")).unwrap();
    let site = Site {
        backend: &backend,
        roots: &[],
        tree: &Digest::of(b"tree"),
        installed: &installed,
        folder,
        builder: &bench.builder(),
        macros: &BTreeMap::new(),
        epoch: 1,
        arch: bench.lock.architecture.as_str(),
        spool: &bench.store.temporary_folder(),
        keep_failed: &std::sync::atomic::AtomicUsize::new(0),
        machine: Machine {
            jobs: NonZero::new(JOBS).unwrap(),
            processors: processors(),
            memory: 64 << 30,
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
    let ran = run::run(site, plan, &ready).unwrap();
    let took = seconds(start);
    let bad = ran.packages.iter().find(|record| !record.outcome.good());
    assert!(bad.is_none(), "{bad:?}");
    (ran.packages, took)
}

fn ready(node: &Node, spec: &Path) -> Ready {
    Ready {
        name: node.name.clone(),
        version: "1-1".to_owned(),
        spec: format!("{}.spec", node.name),
        // What the environment has is rpmbuild's to look for.
        build_requires: node
            .build_requires
            .iter()
            .filter(|name| name.ends_with("-devel"))
            .cloned()
            .collect(),
        files: vec![(format!("{}.spec", node.name), spec.to_owned())],
        asks: Vec::new(),
        inputs: Vec::new(),
        options: Vec::new(),
        has_changelog: true,
        demand: Demand::default(),
        limits: backend::Limits::default(),
        conditions: Conditions::default(),
        recorded: None,
    }
}

/// What is known of the run before its packages.
pub(super) fn begun(lock: &Lock, run: &str) -> Record {
    Record {
        format: FORMAT,
        run: run.to_owned(),
        project: "plan".to_owned(),
        tool: "measure".to_owned(),
        started: "2026-01-02T03:04:05Z".to_owned(),
        ended: "2026-01-02T03:04:05Z".to_owned(),
        ending: Ending::Complete,
        scope: Scope::All,
        source: None,
        host: None,
        lock: lock.digest(),
        base: None,
        environment: Digest::of(b"tree"),
        snapshot: Digest::of(b"image"),
        installed: lock.installed(),
        steps: Vec::new(),
        packages: Vec::new(),
    }
}

/// A package's results by folder: archives with a source package, and with its binary packages.
type Results = BTreeMap<&'static str, Vec<u8>>;

fn results(node: &Node) -> Results {
    let build = |name: &str, provides: &[String], requires: &[String]| {
        let mut builder =
            rpm::PackageBuilder::new(name, "1", "MIT", "x86_64", "a package of no work");
        builder.using_config(rpm::BuildConfig::v4().compression(rpm::CompressionType::None));
        for provide in provides {
            builder.provides(rpm::Dependency::any(provide.split(' ').next().unwrap()));
        }
        for require in requires.iter().filter(|name| name.starts_with('p')) {
            builder.requires(rpm::Dependency::any(require));
        }
        let mut bytes = Vec::new();
        builder.build().unwrap().write(&mut bytes).unwrap();
        bytes
    };
    let mut tar = tar::Builder::new(Vec::new());
    for binary in &node.binaries {
        let name = &binary.provides[0];
        let bytes = build(name, &binary.provides, &binary.requires);
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        let path = format!("x86_64/{name}-1-1.x86_64.rpm");
        tar.append_data(&mut header, path, bytes.as_slice())
            .unwrap();
    }
    let empty = tar::Builder::new(Vec::new()).into_inner().unwrap();
    BTreeMap::from([("RPMS", tar.into_inner().unwrap()), ("SRPMS", empty)])
}

/// A backend whose commands do nothing, and whose clones hold results that were made before.
#[derive(Debug)]
struct NoWork {
    capabilities: Capabilities,
    results: Arc<BTreeMap<String, Results>>,
}

impl NoWork {
    fn new(results: BTreeMap<String, Results>) -> Self {
        Self {
            capabilities: Capabilities {
                limits: false,
                network: false,
                rootless: true,
                terminal: false,
                own_ids: true,
                attributes: true,
                on_store_disk: true,
                writers: Writers::Nobody,
            },
            results: Arc::new(results),
        }
    }
}

impl Backend for NoWork {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn scratch_id(&self) -> RootId {
        RootId("scratch".to_owned())
    }

    fn has(&self, _root: &RootId) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn roots(&self) -> Result<Vec<RootId>, BackendError> {
        Ok(Vec::new())
    }

    fn size(&self, _root: &RootId) -> Result<u64, BackendError> {
        Ok(0)
    }

    fn fingerprint(&self, _root: &RootId) -> Result<Digest, BackendError> {
        Ok(Digest::of(b""))
    }

    fn unpack(&self, _root: &RootId, _packages: &[PathBuf]) -> Result<(), BackendError> {
        Ok(())
    }

    fn import(&self, _root: &RootId, _tar: &mut (dyn Read + Send)) -> Result<(), BackendError> {
        Ok(())
    }

    fn export(
        &self,
        _root: &RootId,
        _normalise: Option<&Normalise>,
        _tar: &mut (dyn Write + Send),
    ) -> Result<(), BackendError> {
        Ok(())
    }

    fn rename(&self, _from: &RootId, _to: &RootId) -> Result<(), BackendError> {
        Ok(())
    }

    fn remove(&self, _root: &RootId) -> Result<(), BackendError> {
        Ok(())
    }

    fn open(&self, _layers: &[RootId]) -> Result<Box<dyn backend::Clone>, BackendError> {
        Ok(Box::new(Idle {
            results: Arc::clone(&self.results),
            package: String::new(),
        }))
    }

    fn sweep(&self) -> Result<Vec<String>, BackendError> {
        Ok(Vec::new())
    }
}

/// Its clones.
#[derive(Debug)]
struct Idle {
    results: Arc<BTreeMap<String, Results>>,
    /// The package whose spec was copied in.
    package: String,
}

impl backend::Clone for Idle {
    fn run(&mut self, _command: &Command, _io: Io<'_>) -> Result<Exit, BackendError> {
        Ok(Exit::Code(0))
    }

    fn used(&mut self) -> Result<Usage, BackendError> {
        Ok(Usage::default())
    }

    fn copy_in(&mut self, _path: &str, tar: &mut (dyn Read + Send)) -> Result<(), BackendError> {
        let mut archive = tar::Archive::new(tar);
        for entry in archive.entries().unwrap() {
            let path = entry.unwrap().path().unwrap().into_owned();
            if path
                .extension()
                .is_some_and(|extension| extension == "spec")
            {
                let name = path.file_stem().unwrap().to_str().unwrap();
                name.clone_into(&mut self.package);
            }
        }
        Ok(())
    }

    fn copy_out(&mut self, path: &str, tar: &mut (dyn Write + Send)) -> Result<(), BackendError> {
        let folder = path.rsplit('/').next().unwrap();
        tar.write_all(&self.results[&self.package][folder]).unwrap();
        Ok(())
    }

    fn freeze(self: Box<Self>, _root: &RootId) -> Result<(), BackendError> {
        Ok(())
    }

    fn destroy(self: Box<Self>) -> Result<(), BackendError> {
        Ok(())
    }
}
