//! Versions compare as librpm compares them: in our own ordering and in the solver's choice.

use std::cmp::Ordering;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::differential::Random;
use super::{Preference, Request, Universe, Wanted};
use crate::rpm::{Nevra, PackageFacts};

/// Answers a line per pair: -1, 0 or 1.
const SCRIPT: &str = r"
import rpm, sys
for line in sys.stdin:
    a = line.split()
    print(rpm.labelCompare(tuple(a[:3]), tuple(a[3:])))
";

/// What is hard to compare, next to each other: separators, tildes and carets, zeros in front, letters beside digits.
const PARTS: [&str; 24] = [
    "0", "1", "9", "10", "00", "01", "010", "007", "a", "b", "rc", "z", "A", "git", "p", ".", ".",
    "~", "^", "+", "_", "..", "~~", "^~",
];

fn part(random: &mut Random) -> String {
    let text: String = (0..=random.below(6))
        .map(|_| PARTS[random.below(PARTS.len())])
        .collect();
    text
}

/// Two versions, often alike.
fn pair(random: &mut Random, name: &str) -> [Nevra; 2] {
    let first = Nevra {
        name: name.to_owned(),
        epoch: u32::try_from(random.below(12).saturating_sub(9)).unwrap(),
        version: part(random),
        release: part(random),
        arch: "noarch".to_owned(),
    };
    let mut second = first.clone();
    match random.below(6) {
        0 => second.release = part(random),
        1 => second.version.push_str(PARTS[random.below(PARTS.len())]),
        2 => second.version = format!("{}{}", part(random), second.version),
        3 => second.epoch = u32::from(second.epoch == 0),
        _ => {
            second.version = part(random);
            second.release = part(random);
        }
    }
    [first, second]
}

#[expect(
    clippy::disallowed_methods,
    reason = "librpm is what versions are compared with"
)]
fn ask_librpm(pairs: &[[Nevra; 2]]) -> Vec<Ordering> {
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = std::io::BufWriter::new(child.stdin.take().unwrap());
    let lines: Vec<String> = pairs
        .iter()
        .map(|pair| {
            let label =
                |nevra: &Nevra| format!("{} {} {}", nevra.epoch, nevra.version, nevra.release);
            format!("{} {}\n", label(&pair[0]), label(&pair[1]))
        })
        .collect();
    let feeder = std::thread::spawn(move || {
        for line in lines {
            input.write_all(line.as_bytes()).unwrap();
        }
    });
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let answers = text
        .lines()
        .map(|line| line.parse::<i32>().unwrap().cmp(&0));
    answers.collect()
}

fn compare(count: usize, seed: u64) {
    let mut random = Random(seed);
    let pairs: Vec<_> = (0..count).map(|_| pair(&mut random, "p")).collect();
    let answers = ask_librpm(&pairs);
    assert_eq!(answers.len(), count);
    for ([one, other], expected) in pairs.iter().zip(&answers) {
        assert_eq!(one.compare_evr(other), *expected, "{one} and {other}");
        assert_eq!(
            other.compare_evr(one),
            expected.reverse(),
            "{other} and {one}"
        );
    }
    for order in [Ordering::Less, Ordering::Equal, Ordering::Greater] {
        assert!(answers.contains(&order), "no pair is {order:?}");
    }
}

#[test]
fn versions_compare_as_in_librpm() {
    // Wherever dnf is, the Python binding of librpm is.
    if crate::rpm::testing::tool("dnf") {
        compare(50_000, 1);
    }
}

#[test]
#[ignore = "a million pairs: half a minute"]
fn a_million_versions_compare_as_in_librpm() {
    assert!(crate::rpm::testing::tool("dnf"));
    for seed in 100..110 {
        compare(100_000, seed);
    }
}

#[test]
fn the_solver_takes_what_librpm_calls_newer() {
    if !crate::rpm::testing::tool("dnf") {
        return;
    }
    let mut random = Random(5);
    let pairs: Vec<_> = (0..3000)
        .map(|number| pair(&mut random, &format!("p{number}")))
        .collect();
    let answers = ask_librpm(&pairs);
    let facts: Vec<_> = pairs
        .iter()
        .flatten()
        .cloned()
        .map(PackageFacts::new)
        .collect();
    let mut universe = Universe::new("x86_64").unwrap();
    universe.add_repository("versions", Preference::default(), &facts);
    let names = pairs
        .iter()
        .map(|[one, _]| Wanted::package(&one.name, "the test"));
    let request = Request {
        install: names.collect(),
        ..Request::default()
    };
    let solution = universe.solve(&request).unwrap();
    let mut wrong = Vec::new();
    for (pair, order) in pairs.iter().zip(answers) {
        let chosen = solution
            .packages
            .iter()
            .find(|one| one.nevra.name == pair[0].name)
            .unwrap();
        let expected = match order {
            Ordering::Less => &pair[1],
            Ordering::Greater => &pair[0],
            Ordering::Equal => continue,
        };
        if chosen.nevra != *expected {
            wrong.push(format!("{} instead of {expected}", chosen.nevra));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}: {wrong:?}",
        wrong.len(),
        pairs.len()
    );
}
