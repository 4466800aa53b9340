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
        metadata::make_index(&store, &Kept { digest, label }, None).unwrap();
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

/// What dnf answers, with its caches in `root`.
fn ask_dnf(repository: &Path, jobs: &[Vec<String>], root: &Path) -> Vec<String> {
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", include_str!("../../src/solve/differential.py")])
        .arg(format!("file://{}", repository.display()))
        .args([root.as_os_str(), "x86_64".as_ref()])
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

/// The requests that are answered otherwise, as lines.
fn differences(jobs: &[Vec<String>], expected: &[String], found: &[String]) -> Vec<String> {
    assert_eq!([expected.len(), found.len()], [jobs.len(), jobs.len()]);
    let set = |text: &str| text.split('\t').map(str::to_owned).collect::<BTreeSet<_>>();
    let line = |place: usize| {
        let (expected, found) = (set(&expected[place]), set(&found[place]));
        let (theirs, ours) = (&expected - &found, &found - &expected);
        format!("{:?}: {theirs:?} became {ours:?}", jobs[place])
    };
    let places = (0..jobs.len()).filter(|place| expected[*place] != found[*place]);
    places.map(line).collect()
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
    let expected = ask_dnf(&folder, &jobs, tempfile::tempdir().unwrap().path());
    let found: Vec<String> = jobs.iter().map(|job| large.answer(job)).collect();
    let different = differences(&jobs, &expected, &found);
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

/// Another repository with the same packages in another order.
fn reordered(folder: &Path, key: impl Fn(&str) -> String) -> tempfile::TempDir {
    let repomd = fs_err::read(folder.join("repodata/repomd.xml")).unwrap();
    let repomd = Repomd::parse(&repomd, "repomd.xml").unwrap();
    let primary = fs_err::File::open(folder.join(&repomd.records["primary"].location)).unwrap();
    let text = std::io::read_to_string(zstd::Decoder::new(primary).unwrap()).unwrap();
    let (start, end) = (
        text.find("<package ").unwrap(),
        text.rfind("</package>").unwrap() + "</package>".len(),
    );
    let mut packages: Vec<&str> = text[start..end].split_inclusive("</package>").collect();
    packages.sort_by_cached_key(|package| key(package));
    let text = [&text[..start], &packages.concat(), &text[end..]].concat();
    let other = tempfile::tempdir().unwrap();
    fs_err::create_dir(other.path().join("repodata")).unwrap();
    fs_err::write(other.path().join("repodata/primary.xml"), &text).unwrap();
    let (digest, size) = (Digest::of(text.as_bytes()).hex(), text.len());
    let repomd = format!(
        r#"<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>1</revision><data type="primary">
<checksum type="sha256">{digest}</checksum><open-checksum type="sha256">{digest}</open-checksum>
<location href="repodata/primary.xml"/><timestamp>1</timestamp><size>{size}</size><open-size>{size}</open-size></data></repomd>"#
    );
    fs_err::write(other.path().join("repodata/repomd.xml"), repomd).unwrap();
    other
}

/// What follows `start` up to a quotation mark or tag.
fn after<'a>(package: &'a str, start: &str) -> &'a str {
    let (_, rest) = package.split_once(start).unwrap_or_default();
    rest.split(['"', '<']).next().unwrap_or_default()
}

/// The name of a package's file, by which `createrepo_c` sorts.
fn file_name(package: &str) -> String {
    let [name, version, release, arch] =
        ["<name>", " ver=\"", " rel=\"", "<arch>"].map(|start| after(package, start));
    assert!(!name.is_empty() && !version.is_empty() && !arch.is_empty());
    format!("{name}-{version}-{release}.{arch}.rpm")
}

/// Ties are broken by what dnf's cache looks like, which is another after it was written than while it is made. Ours stay.
#[test]
#[ignore = "seven times three hundred requests: minutes"]
#[expect(clippy::print_stderr, reason = "the shares are the result")]
fn answers_do_not_depend_on_the_order_of_the_metadata() {
    let Some(folder) = universe() else {
        return;
    };
    let sorted = Large::open(&folder);
    let jobs = jobs(&sorted.index, 300);
    let answers =
        |large: &Large| -> Vec<String> { jobs.iter().map(|job| large.answer(job)).collect() };
    let ours = answers(&sorted);
    let by_path = |package: &str| after(package, "<location href=\"").to_owned();
    let shuffled = |package: &str| Digest::of(package.as_bytes()).hex();
    for (order, other) in [
        ("as createrepo_c writes them", reordered(&folder, file_name)),
        ("sorted by path", reordered(&folder, by_path)),
        ("shuffled", reordered(&folder, shuffled)),
    ] {
        let again = answers(&Large::open(other.path()));
        assert_eq!(differences(&jobs, &ours, &again), Vec::<String>::new());
        let root = tempfile::tempdir().unwrap();
        let [cold, warm] = [(), ()].map(|()| ask_dnf(other.path(), &jobs, root.path()));
        for (what, one, two) in [
            ("ours and dnf's without a cache", &cold, &ours),
            ("ours and dnf's from its cache", &warm, &ours),
            ("dnf's without a cache and from it", &cold, &warm),
        ] {
            let different = differences(&jobs, one, two);
            let same = jobs.len() - different.len();
            eprintln!("{order}: {what} are the same for {same} of {}", jobs.len());
            eprintln!("{}", different.join("\n"));
        }
    }
}
