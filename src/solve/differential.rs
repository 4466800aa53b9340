//! The same requests to the real dnf and to a universe: the same packages.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rpmrepo_metadata::{Checksum, FileType, Package, Requirement as Entry, RequirementType};

use super::{Preference, Request, Universe, Wanted};
use crate::digest::Digest;
use crate::documents::template::Policy;
use crate::repository::{Described, PackageEntry, Repomd, Writer, find_files, read_primary};

/// A fixed sequence of numbers that look random (`SplitMix64`).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((value ^ (value >> 31)) % limit as u64).unwrap()
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

const NAMES: usize = 220;
const VIRTUALS: usize = 30;

fn entry(text: &str) -> Entry {
    let mut words = text.splitn(3, ' ');
    let name = words.next().unwrap();
    if text.starts_with('(') {
        return Entry::new(text);
    }
    let Some(operator) = words.next() else {
        return Entry::new(name);
    };
    let flags = match operator {
        "<" => RequirementType::LT,
        "=" => RequirementType::EQ,
        _ => RequirementType::GE,
    };
    Entry::new(name)
        .set_flags(Some(flags))
        .set_epoch(Some("0"))
        .set_version(words.next())
}

/// One version of a package with dependencies of every kind, most of which can be met.
fn package(random: &mut Random, number: usize, version: usize, arch: &str) -> Package {
    let name = format!("p{number:03}");
    let mut package = Package::default();
    package
        .set_name(&name)
        .set_version(version.to_string())
        .set_release("1")
        .set_arch(arch);
    let nevra = format!("{name}-{version}-1.{arch}");
    package.set_checksum(Checksum::Sha256(Digest::of(nevra.as_bytes()).hex()));
    package
        .set_location_href(format!("packages/{nevra}.rpm"))
        .set_size_package(1);
    package.add_provide(entry(&format!("{name} = {version}")).set_release(Some("1")));
    package.add_file(FileType::File, &format!("/usr/bin/{name}"));
    package.add_file(FileType::File, &format!("/usr/share/{name}/data"));
    for _provide in 0..random.below(3) {
        let what = format!("virtual{}", random.below(VIRTUALS));
        let version = if random.chance(50) {
            format!(" = {}", random.below(4))
        } else {
            String::new()
        };
        package.add_provide(entry(&format!("{what}{version}")));
    }
    for _require in 0..random.below(5) {
        let text = requirement(random);
        package.add_require(entry(&text).set_preinstall(random.chance(10)));
    }
    if random.chance(8) {
        let text = format!("p{:03} < {}", random.below(NAMES), random.below(3) + 1);
        package.add_conflict(entry(&text));
    }
    if random.chance(4) {
        let text = format!("virtual{}", random.below(VIRTUALS));
        package.add_conflict(entry(&text));
    }
    if random.chance(6) {
        let text = format!("p{:03} < {}", random.below(NAMES), random.below(4) + 1);
        package.add_obsolete(entry(&text));
    }
    if random.chance(20) {
        let text = format!("p{:03}", random.below(NAMES));
        package.add_recommend(entry(&text));
    }
    package
}

fn requirement(random: &mut Random) -> String {
    let mut name = || format!("p{:03}", random.below(NAMES));
    let [a, b, c] = [name(), name(), name()];
    let what = random.below(VIRTUALS);
    match random.below(20) {
        0..7 => a,
        7 | 8 => format!("{a} >= {}", random.below(3)),
        9 => format!("{a} = 1-1"),
        10 | 11 => format!("virtual{what}"),
        12 => format!("virtual{what} >= {}", random.below(3)),
        13 => format!("/usr/bin/{a}"),
        14 => format!("/usr/share/{a}/data"),
        15 => format!("({a} or {b})"),
        16 => format!("({a} if {b} else {c})"),
        17 => format!("({a} and ({b} if virtual{what}))"),
        18 => format!("(virtual{what} with {a})").replace(
            " with ",
            if random.chance(50) {
                " without "
            } else {
                " or "
            },
        ),
        _ => format!("(virtual{what} >= 1 with virtual{what} < 4)"),
    }
}

pub(super) fn write_repository(folder: &Path, seed: u64) {
    let mut random = Random(seed);
    let mut writer = Writer::new(folder, 1_600_000_000);
    for number in 0..NAMES {
        let arch = if random.chance(30) {
            "noarch"
        } else {
            "x86_64"
        };
        for version in 1..=1 + random.below(3) {
            for arch in [arch, "i686"]
                .into_iter()
                .take(1 + usize::from(arch != "noarch" && random.chance(25)))
            {
                let package = package(&mut random, number, version, arch);
                writer.insert(Described::new(&package).unwrap());
            }
        }
    }
    writer.write().unwrap();
}

pub(super) fn jobs(seed: u64) -> Vec<Vec<String>> {
    let mut random = Random(seed ^ 0x5555);
    let spec = |random: &mut Random| match random.below(10) {
        0..5 => format!("p{:03}", random.below(NAMES)),
        5 => format!("p{:03}-1", random.below(NAMES)),
        6 => format!("=virtual{}", random.below(VIRTUALS)),
        7 => format!("=p{:03} >= 2", random.below(NAMES)),
        8 => format!("=/usr/bin/p{:03}", random.below(NAMES)),
        _ => format!("={}", requirement(random)),
    };
    (0..40)
        .map(|_| (0..=random.below(5)).map(|_| spec(&mut random)).collect())
        .collect()
}

/// A repository's packages as the lock reads them.
pub(super) struct Read {
    pub(super) entries: Vec<PackageEntry>,
    pub(super) filelists: std::path::PathBuf,
    /// Lives as long as the repository is used, where a test made it.
    pub(super) folder: Option<tempfile::TempDir>,
}

pub(super) fn read(folder: &Path) -> Read {
    let repomd = Repomd::parse(
        &fs_err::read(folder.join("repodata/repomd.xml")).unwrap(),
        "repomd.xml",
    )
    .unwrap();
    let mut entries = Vec::new();
    read_primary(
        &folder.join(&repomd.records["primary"].location),
        "primary",
        |entry| entries.push(entry),
    )
    .unwrap();
    Read {
        entries,
        filelists: folder.join(&repomd.records["filelists"].location),
        folder: None,
    }
}

pub(super) fn request(job: &[String]) -> Request {
    let wanted = |spec: &String| match spec.strip_prefix('=') {
        Some(dependency) => Wanted::dependency(dependency, "a package"),
        None => Wanted::package(spec, "a template"),
    };
    // Whom the peer in `PRISTINE_DNF_ROOT` is.
    let policy = std::env::var("PRISTINE_POLICY").map_or(Policy::default(), |name| {
        serde_json::from_value(name.into()).expect("PRISTINE_POLICY names a policy")
    });
    Request {
        install: job.iter().map(wanted).collect(),
        policy,
        ..Request::default()
    }
}

/// What the lock does: look up files until nothing is missing, then solve.
fn answer(
    universe: &mut Universe,
    repository: super::RepositoryId,
    read: &Read,
    job: &[String],
) -> String {
    let request = request(job);
    loop {
        let paths = universe.needs_filelists(&request);
        if paths.is_empty() {
            break;
        }
        let found = find_files(&read.filelists, "filelists", &paths).unwrap();
        let owners = read
            .entries
            .iter()
            .enumerate()
            .filter_map(|(place, entry)| Some((repository, place, found.get(&entry.id)?.clone())));
        universe.add_files(&paths, owners);
    }
    match universe.solve(&request) {
        Ok(solution) => {
            let mut names: Vec<_> = solution
                .packages
                .iter()
                .map(|selected| selected.nevra.to_string())
                .collect();
            names.sort();
            names.join("\t")
        }
        Err(_) => "FAIL".to_owned(),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "dnf is what the solver is compared with"
)]
fn ask_dnf(repository: &Path, lines: &str) -> Vec<String> {
    let root = tempfile::tempdir().unwrap();
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", include_str!("differential.py")])
        .args([
            format!("file://{}", repository.display()),
            root.path().display().to_string(),
            "x86_64".to_owned(),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let lines = lines.to_owned();
    let feeder = std::thread::spawn(move || input.write_all(lines.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Compares all answers; gives how many were asked for, and refused.
fn compare(folder: &Path, jobs: &[Vec<String>]) -> (usize, usize) {
    let (different, failed) = differences(folder, jobs);
    check(jobs.len(), &different, failed);
    (jobs.len(), failed)
}

/// Says which share of the answers is the same, and which are not.
#[expect(clippy::print_stderr, reason = "what was compared is the result")]
fn check(asked: usize, different: &[String], failed: usize) {
    let same = asked - different.len();
    eprintln!("{same} of {asked} requests are answered as dnf does, {failed} of all are refused");
    assert!(different.is_empty(), "{}", different.join("\n"));
}

pub(super) fn compare_jobs(folder: &Path, jobs: impl Fn(&[PackageEntry]) -> Vec<Vec<String>>) {
    compare(folder, &jobs(&read(folder).entries));
}

/// The requests that are not answered as dnf does, and how many dnf refuses.
fn differences(folder: &Path, jobs: &[Vec<String>]) -> (Vec<String>, usize) {
    let lines: String = jobs.iter().map(|job| job.join("\t") + "\n").collect();
    let expected = ask_dnf(folder, &lines);
    assert_eq!(expected.len(), jobs.len());
    let read = read(folder);
    let mut universe = Universe::new("x86_64").unwrap();
    let repository = universe.add_repository("lab", Preference::default(), &read.entries);
    let mut different = Vec::new();
    for (job, expected) in jobs.iter().zip(&expected) {
        let found = answer(&mut universe, repository, &read, job);
        if found != *expected {
            let set = |text: &str| text.split('\t').map(str::to_owned).collect::<BTreeSet<_>>();
            let (found, expected) = (set(&found), set(expected));
            different.push(format!(
                "{job:?}: dnf alone {:?}, pristine alone {:?}",
                &expected - &found,
                &found - &expected
            ));
        }
    }
    let failed = expected.iter().filter(|answer| *answer == "FAIL");
    (different, failed.count())
}

#[test]
fn forty_requests_of_forty_are_answered_as_dnf_does() {
    if !crate::rpm::testing::tool("dnf") {
        return;
    }
    let seeds = std::env::var("PRISTINE_SEEDS").map_or(3, |text| text.parse().unwrap());
    let (mut asked, mut different, mut failed) = (0, Vec::new(), 0);
    for seed in 1..=seeds {
        let folder = tempfile::tempdir().unwrap();
        write_repository(folder.path(), seed);
        let jobs = jobs(seed);
        let (otherwise, refused) = differences(folder.path(), &jobs);
        different.extend(otherwise.iter().map(|text| format!("seed {seed}: {text}")));
        asked += jobs.len();
        failed += refused;
    }
    check(asked, &different, failed);
    assert!(
        failed < asked / 2,
        "most requests can be met, or nothing is compared: {failed} of {asked} failed"
    );
}

/// For a repository made elsewhere, such as an embedded distribution's.
#[test]
#[ignore = "needs the folder of a repository in PRISTINE_REPOSITORY"]
#[expect(clippy::print_stderr, reason = "what was compared is the result")]
fn a_real_repository_is_answered_as_dnf_does() {
    let folder =
        std::env::var_os("PRISTINE_REPOSITORY").expect("PRISTINE_REPOSITORY names a repository");
    let folder = Path::new(&folder);
    let started = std::time::Instant::now();
    let read = read(folder);
    let parsed = started.elapsed();
    let mut universe = Universe::new("x86_64").unwrap();
    universe.add_repository("base", Preference::default(), &read.entries);
    let names: Vec<_> = read
        .entries
        .iter()
        .map(|entry| entry.facts.nevra.name.clone())
        .collect();
    let mut jobs: Vec<Vec<String>> = names.iter().map(|name| vec![name.clone()]).collect();
    let mut random = Random(7);
    jobs.extend((0..100).map(|_| {
        (0..2 + random.below(12))
            .map(|_| names[random.below(names.len())].clone())
            .collect()
    }));
    let requirements: Vec<_> = read
        .entries
        .iter()
        .flat_map(|entry| &entry.facts.requires)
        .map(|requirement| format!("={requirement}"))
        .collect();
    jobs.extend((0..200).map(|_| vec![requirements[random.below(requirements.len())].clone()]));
    let request = request(&names);
    assert!(universe.needs_filelists(&request).is_empty());
    let started = std::time::Instant::now();
    let all = universe.solve(&request);
    let (all, solved) = (
        all.map(|solution| solution.packages.len()),
        started.elapsed(),
    );
    let (asked, failed) = compare(folder, &jobs);
    eprintln!(
        "{} packages read in {parsed:?}, all of them solved in {solved:?} ({all:?}); {asked} requests as dnf, {failed} of them refused",
        names.len()
    );
    let closed = |folder: &Path| {
        // dnf5 has no question for it.
        if std::env::var_os("PRISTINE_DNF_ROOT").is_none() {
            assert_eq!(ask_dnf(folder, "closure\n"), [""]);
        }
    };
    closed(folder);

    // The same packages in a repository of our own writing.
    let own = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(own.path(), 1_600_000_000);
    for entry in &read.entries {
        let place = own.path().join(&entry.location);
        fs_err::create_dir_all(place.parent().unwrap()).unwrap();
        fs_err::os::unix::fs::symlink(folder.join(&entry.location), &place).unwrap();
        writer.add(Path::new(&entry.location)).unwrap();
    }
    writer.write().unwrap();
    closed(own.path());
    compare(own.path(), &jobs);
}
