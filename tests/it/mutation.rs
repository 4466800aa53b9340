//! Damaged metadata: whatever a server sends is read or refused, never a panic and never without end.
//!
//! Each file of `fixtures/corpus` is damaged in many ways, always the same ones; `PRISTINE_MUTATIONS` says in how many. What
//! was found to break a reader once is kept in the corpus.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use pristine::documents::{Lock, RelativePath, Template};
use pristine::repository::{
    Comps, Metalink, Modules, Repomd, find_files, parse_mirrorlist, read_primary,
};

/// Ways of damage for each file where nothing is said.
const DEFAULT: u64 = 200;
/// The most that a damaged file grows by, bytes.
const GROWTH: usize = 4096;

/// What is put into files: what means something in one of the formats.
const WORDS: &[&str] = &[
    "<",
    ">",
    "/>",
    "</",
    "\"",
    "'",
    "&",
    "&#x0;",
    "&#38;",
    "&lt;",
    "]]>",
    "<![CDATA[",
    "<!--",
    "-->",
    "<?",
    "<!DOCTYPE a [<!ENTITY b \"c\">]>",
    "&b;",
    "..",
    "../../etc/passwd",
    "/",
    "//",
    "%2e%2e",
    "\0",
    "\n",
    "\r\n",
    "\u{feff}",
    "\u{1b}[31m",
    ":",
    "- ",
    "? ",
    "*a",
    "&a ",
    "!!binary ",
    "|",
    ">-",
    "{",
    "}",
    "[",
    "]",
    "---\n",
    "...\n",
    "%YAML 9\n",
    "$",
    "${",
    "${a}",
    "=",
    "#",
    ";",
    "0",
    "-1",
    "18446744073709551616",
    "1e999",
    "(",
    ")",
    " if ",
    " or ",
    "<package>",
    "</package>",
    "<group>",
    "<file>",
    "</metadata>",
];

/// xorshift: the same numbers everywhere.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (end.max(1) as u64)).unwrap()
    }
}

fn damage(bytes: &[u8], seed: u64) -> Vec<u8> {
    let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut bytes = bytes.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len() + 1);
        let end = (at + numbers.below(64)).min(bytes.len());
        match numbers.below(7) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let word = WORDS[numbers.below(WORDS.len())];
                bytes.splice(at..at, word.bytes());
            }
            3 => {
                let word = WORDS[numbers.below(WORDS.len())];
                let times = numbers.below(GROWTH / word.len().max(1));
                bytes.splice(at..at, word.repeat(times).into_bytes());
            }
            4 => {
                let piece = bytes[at..end].to_vec();
                let place = numbers.below(bytes.len() + 1);
                bytes.splice(place..place, piece);
            }
            5 => {
                let piece = bytes[at..end].repeat(numbers.below(32));
                bytes.splice(at..at, piece);
            }
            _ => {
                for byte in &mut bytes[at..end] {
                    *byte ^= 1 << numbers.below(8);
                }
            }
        }
    }
    bytes
}

/// `primary-no-count.xml` is a `primary.xml` that broke a reader once.
fn kind(name: &str) -> String {
    match (name.split_once('-'), name.rsplit_once('.')) {
        (Some((kind, _)), Some((_, suffix))) => format!("{kind}.{suffix}"),
        _ => name.to_owned(),
    }
}

/// Reads `bytes` as what the corpus calls `name`.
fn read(name: &str, bytes: &[u8], scratch: &Path) {
    let file = || -> PathBuf {
        let path = scratch.join(name);
        fs_err::write(&path, bytes).unwrap();
        path
    };
    match kind(name).as_str() {
        "repomd.xml" => drop(Repomd::parse(bytes, name)),
        "primary.xml" => drop(read_primary(&file(), name, drop)),
        "filelists.xml" => {
            let wanted = BTreeSet::from(["/usr/bin/first".to_owned()]);
            drop(find_files(&file(), name, &wanted));
        }
        "comps.xml" => drop(Comps::read(&file(), name)),
        "modules.yaml" => drop(Modules::read(&file(), name)),
        "metalink.xml" => drop(Metalink::parse(bytes, "https://from.example/x", name)),
        "mirror.list" => drop(parse_mirrorlist(
            bytes,
            "https://from.example/x",
            name,
            str::to_owned,
        )),
        "first.rpm" => drop(pristine::rpm::read_package(&file())),
        "pristine.lock" => drop(Lock::parse(&String::from_utf8_lossy(bytes))),
        "rocky.repo" => {
            let text = "format = 1\narchitecture = \"x86_64\"\npackages = [\"a\"]\nrepo_files = [\"rocky.repo\"]\n\
                        [variables]\nreleasever = \"9\"\nrltype = \"\"\n";
            let contents = |_: &RelativePath| Ok(String::from_utf8_lossy(bytes).into_owned());
            let name = "mini".parse().unwrap();
            drop(Template::parse_with(
                &name,
                text,
                Path::new("mini.toml"),
                &contents,
            ));
        }
        _ => panic!("what reads `{name}` of the corpus?"),
    }
}

#[test]
fn damaged_metadata_is_an_error_and_never_a_panic() {
    let count = std::env::var("PRISTINE_MUTATIONS").map_or(DEFAULT, |text| text.parse().unwrap());
    let scratch = tempfile::tempdir().unwrap();
    let mut corpus: Vec<(String, Vec<u8>)> = fs_err::read_dir("tests/it/fixtures/corpus")
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs_err::read(path).unwrap())
        })
        .collect();
    assert!(corpus.len() >= 9, "{}", corpus.len());
    let mut package = crate::support::packages::package("first", "1");
    let package = package
        .provides(rpm::Dependency::any("(a or b)"))
        .build()
        .unwrap();
    let mut bytes = Vec::new();
    package.write(&mut bytes).unwrap();
    corpus.push(("first.rpm".to_owned(), bytes));
    corpus.sort();
    for (name, bytes) in &corpus {
        read(name, bytes, scratch.path());
        for seed in 0..count {
            let damaged = damage(bytes, seed);
            let outcome = std::panic::catch_unwind(|| read(name, &damaged, scratch.path()));
            assert!(
                outcome.is_ok(),
                "{name}, damaged in way {seed}: put it into fixtures/corpus:\n{}",
                String::from_utf8_lossy(&damaged)
            );
        }
    }
}
