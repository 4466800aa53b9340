//! The distribution that whole builds are tried on: real packages, made once and kept for later runs.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use minidistro::{Options, Suite};
use pristine::digest::Digest;

use crate::conformance::skip;

/// What the projects of the tests need, and no more: it is downloaded.
const PACKAGES: &[&str] = &[
    "bash",
    "binutils",
    "coreutils",
    "dash",
    "debugedit",
    "diffutils",
    "elfutils",
    "file",
    "findutils",
    "gawk",
    "gcc",
    "grep",
    "gzip",
    "libc6-dev",
    "rpm",
    "sed",
    "tar",
];

/// Name of the key's file in the repository.
pub(crate) const KEY: &str = "RPM-GPG-KEY-minidistro";

/// The repository, made now if it must be. `None`, with a word about why, where no mirror can be reached.
pub(crate) fn minidistro() -> Option<&'static Path> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match MADE.get_or_init(|| make(&super::scratch().join("minidistro"))) {
        Ok(path) => Some(path),
        Err(why) => {
            skip(why);
            None
        }
    }
}

/// Two test programs at once make it one after the other; the second finds it.
fn make(home: &Path) -> Result<PathBuf, String> {
    fs_err::create_dir_all(home).unwrap();
    let lock = fs_err::File::create(home.join("lock")).unwrap();
    lock.lock().unwrap();
    let output = home.join(Suite::Trixie.codename());
    let (stamp, what) = (home.join("complete"), contents());
    if fs_err::read_to_string(&stamp).is_ok_and(|made| made == what) {
        return Ok(output);
    }
    fs_err::remove_file(&stamp).ok();
    let options = Options {
        suite: Suite::Trixie,
        mirror: None,
        packages: PACKAGES.iter().map(|&name| name.to_owned()).collect(),
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
fn contents() -> String {
    const GENERATOR: include_dir::Dir<'_> =
        include_dir::include_dir!("$CARGO_MANIFEST_DIR/minidistro/src");
    let sources: Vec<u8> = GENERATOR
        .files()
        .flat_map(include_dir::File::contents)
        .copied()
        .collect();
    format!("{}\n{}\n", PACKAGES.join(" "), Digest::of(&sources))
}
