//! The distribution that whole builds are tried on: real packages, made once and kept for later runs.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use minidistro::{Options, Suite};
use pristine::digest::Digest;

use crate::conformance::skip;

/// What specs without compiled programs need, and no more: it is downloaded. The part that other suites are made of.
const SMALL: &[&str] = &[
    "bash",
    "coreutils",
    "dash",
    "debugedit",
    "diffutils",
    "elfutils",
    "file",
    "findutils",
    "gawk",
    "grep",
    "gzip",
    "rpm",
    "sed",
    "tar",
];

/// What the others need beside it; an audit wants a locale that sorts by letters.
const COMPILER: &[&str] = &["binutils", "gcc", "libc6-dev", "locales"];

/// Name of the key's file in the repository.
pub(crate) const KEY: &str = "RPM-GPG-KEY-minidistro";

/// The repository, made now if it must be. `None`, with a word about why, where no mirror can be reached.
pub(crate) fn minidistro() -> Option<&'static Path> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let home = super::scratch().join("minidistro");
        make(&home, Suite::Trixie, &[SMALL, COMPILER].concat())
    });
    match made {
        Ok(path) => Some(path),
        Err(why) => {
            skip(why);
            None
        }
    }
}

/// The small part of another suite, with its rpm.
pub(crate) fn small(suite: Suite) -> Option<PathBuf> {
    let home = super::scratch().join(format!("minidistro-{}", suite.codename()));
    make(&home, suite, SMALL).map_err(|why| skip(&why)).ok()
}

/// Two test programs at once make it one after the other; the second finds it.
fn make(home: &Path, suite: Suite, packages: &[&str]) -> Result<PathBuf, String> {
    fs_err::create_dir_all(home).unwrap();
    let lock = fs_err::File::create(home.join("lock")).unwrap();
    lock.lock().unwrap();
    let output = home.join(suite.codename());
    let (stamp, what) = (home.join("complete"), contents(packages));
    if fs_err::read_to_string(&stamp).is_ok_and(|made| made == what) {
        return Ok(output);
    }
    fs_err::remove_file(&stamp).ok();
    let options = Options {
        suite,
        mirror: None,
        packages: packages.iter().map(|&name| name.to_owned()).collect(),
        output: output.clone(),
        downloads: home.join("downloads"),
        sources: vec![],
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime
        .block_on(minidistro::generate(&options, &|_| {}))
        .map_err(|error| format!("the distribution for tests cannot be made: {error}"))?;
    let key = minidistro::signing_key_armored().unwrap();
    fs_err::write(output.join(KEY), key).unwrap();
    fs_err::write(&stamp, what).unwrap();
    Ok(output)
}

/// What the distribution is made of and by: packages, and the generator's sources at the time of compiling.
fn contents(packages: &[&str]) -> String {
    const GENERATOR: include_dir::Dir<'_> =
        include_dir::include_dir!("$CARGO_MANIFEST_DIR/minidistro/src");
    let sources: Vec<u8> = GENERATOR
        .files()
        .flat_map(include_dir::File::contents)
        .copied()
        .collect();
    format!("{}\n{}\n", packages.join(" "), Digest::of(&sources))
}
