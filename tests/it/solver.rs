//! Requests to a universe as large as a distribution's, the way the lock makes them: from the kept index, with what they
//! can reach. The real dnf answers the same.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use minidistro::{Options, Suite};
use pristine::digest::Digest;
use pristine::repository::{Index, Offered, PackageEntry, Reach, Repomd};
use pristine::resolve::metadata::{self, Kept};
use pristine::rpm::{Gathering, PackageFacts};
use pristine::solve::{Preference, Request, Universe, Wanted};
use pristine::store::Store;

use crate::conformance::skip;
use crate::support::scratch;

/// How many requests a usual run makes.
const REQUESTS: usize = 60;

/// The folder of the universe, made now if it must be. `None`, with a word about why, where no mirror can be reached.
fn universe() -> Option<PathBuf> {
    let home = scratch().join("universe");
    fs_err::create_dir_all(&home).unwrap();
    let lock = fs_err::File::create(home.join("lock")).unwrap();
    lock.lock().unwrap();
    let (output, stamp) = (home.join("trixie"), home.join("complete"));
    // Another form of it has another name for the stamp.
    if stamp.exists() {
        return Some(output);
    }
    let options = Options {
        suite: Suite::Trixie,
        mirror: None,
        packages: vec![],
        output: output.clone(),
        downloads: home.join("downloads"),
        sources: vec![],
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match runtime.block_on(minidistro::universe(&options)) {
        Ok(packages) => {
            assert!(packages > 50_000, "{packages}");
            fs_err::write(stamp, "").unwrap();
            Some(output)
        }
        Err(error) => {
            skip(&format!("the large universe cannot be made: {error}"));
            None
        }
    }
}

/// The repository's index, kept in the store.
struct Large {
    index: Index,
    _store: tempfile::TempDir,
}

impl Large {
    fn open(folder: &Path) -> Self {
        let bytes = fs_err::read(folder.join("repodata/repomd.xml")).unwrap();
        let repomd = Repomd::parse(&bytes, "repomd.xml").unwrap();
        let record = &repomd.records["primary"];
        let digest = record.checksum.sha256().unwrap();
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        let primary = fs_err::File::open(folder.join(&record.location)).unwrap();
        store.insert(primary, Some(&digest), None).unwrap();
        assert!(metadata::kept_index(&store, &digest).is_none());
        let label = "primary".to_owned();
        metadata::make_index(&store, &Kept { digest, label }).unwrap();
        Self {
            index: metadata::kept_index(&store, &digest).unwrap(),
            _store: home,
        }
    }

    fn reached(&self, job: &[String]) -> Vec<PackageEntry> {
        let all = |_: &PackageEntry| true;
        let offered = Offered {
            index: &self.index,
            sees: &all,
        };
        let mut reach = Reach::new([offered], false);
        for name in job {
            reach.request(name).unwrap();
        }
        reach.into_packages().remove(0).into_values().collect()
    }

    /// The answer as dnf's script writes it; every answer is checked on the way.
    fn answer(&self, job: &[String]) -> String {
        let reached = self.reached(job);
        assert!(
            reached.len() < self.index.len() / 4,
            "{job:?}: {}",
            reached.len()
        );
        let mut universe = Universe::new("x86_64").unwrap();
        universe.add_repository("lab", Preference::default(), &reached);
        let wanted = job.iter().map(|name| Wanted::package(name, "the test"));
        let request = Request {
            install: wanted.collect(),
            ..Request::default()
        };
        assert_eq!(universe.needs_filelists(&request), BTreeSet::new());
        let Ok(solution) = universe.solve(&request) else {
            return "FAIL".to_owned();
        };
        let chosen = solution.packages.iter();
        let facts: Vec<&PackageFacts> = chosen.map(|one| &reached[one.package].facts).collect();
        let faults = Gathering::new(facts).faults(|_| false);
        assert_eq!(faults, Vec::<String>::new(), "{job:?}");
        let names = solution.packages.iter().map(|one| one.nevra.to_string());
        let names: BTreeSet<String> = names.collect();
        names.into_iter().collect::<Vec<_>>().join("\t")
    }
}

fn ask_dnf(repository: &Path, jobs: &[Vec<String>]) -> Vec<String> {
    let root = tempfile::tempdir().unwrap();
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", include_str!("../../src/solve/differential.py")])
        .arg(format!("file://{}", repository.display()))
        .args([root.path().as_os_str(), "x86_64".as_ref()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let lines: String = jobs.iter().map(|job| job.join("\t") + "\n").collect();
    let feeder = std::thread::spawn(move || input.write_all(lines.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Requests for one to twelve packages, the same ones each time for the same index.
fn jobs(index: &Index, count: usize) -> Vec<Vec<String>> {
    let packages = u32::try_from(index.len()).unwrap();
    let number = |text: String| {
        let digest = Digest::of(text.as_bytes());
        u32::from_le_bytes(digest.bytes()[..4].try_into().unwrap())
    };
    let job = |job: usize| {
        let size = 1 + number(format!("{job}")) % 12;
        let name = |place: u32| {
            let package = number(format!("{job} {place}")) % packages;
            index.nevra(package).unwrap().name
        };
        (0..size).map(name).collect()
    };
    (0..count).map(job).collect()
}

#[expect(clippy::print_stderr, reason = "the share is the result")]
fn compare(count: usize) {
    if !Path::new("/usr/bin/dnf").exists() {
        skip("dnf is missing");
        return;
    }
    let Some(folder) = universe() else {
        return;
    };
    let large = Large::open(&folder);
    let jobs = jobs(&large.index, count);
    let expected = ask_dnf(&folder, &jobs);
    assert_eq!(expected.len(), jobs.len());
    let mut different = Vec::new();
    for (job, expected) in jobs.iter().zip(&expected) {
        let found = large.answer(job);
        if found != *expected {
            let set = |text: &str| text.split('\t').map(str::to_owned).collect::<BTreeSet<_>>();
            let (found, expected) = (set(&found), set(expected));
            let (theirs, ours) = (&expected - &found, &found - &expected);
            different.push(format!(
                "{job:?}: dnf alone {theirs:?}, pristine alone {ours:?}"
            ));
        }
    }
    let refused = expected.iter().filter(|answer| *answer == "FAIL").count();
    assert!(refused < count / 2, "{refused} of {count} are refused");
    let same = count - different.len();
    eprintln!("{same} of {count} requests are answered as dnf does, {refused} of them refused");
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn a_large_universe_is_answered_as_dnf_does() {
    compare(REQUESTS);
}

#[test]
#[ignore = "a thousand requests: minutes"]
fn a_large_universe_is_answered_as_dnf_does_a_thousand_times() {
    compare(1000);
}
