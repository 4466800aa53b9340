//! The store and its downloads against real faults: bad servers, full and read-only disks, killed processes.
#![expect(clippy::unwrap_used, reason = "a failed step of a test ends it")]

mod disk;
mod fetch;

use std::path::Path;
use std::process::{Child, Command, Stdio};

use pristine::store::Store;

/// Set for a test of this program that another test runs as a process of its own.
const ROLE: &str = "PRISTINE_TEST_STORE";

/// `length` bytes that do not repeat soon.
fn content(length: usize) -> Vec<u8> {
    (0..length as u64)
        .map(|number| (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
        .collect()
}

/// What is left in the store's folder for unfinished files.
fn unfinished(store: &Store) -> Vec<String> {
    let entries = fs_err::read_dir(store.temporary_folder()).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// An error with all its causes, as a user sees it; the store's folder reads `STORE`.
fn shown(error: &dyn std::error::Error, root: &Path) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = chain.map(ToString::to_string).collect();
    texts.join(": ").replace(&*root.to_string_lossy(), "STORE")
}

/// Runs the ignored test `name` of this program on the store at `root`, in a process of its own.
fn start(wrapper: &[&str], name: &str, root: &Path, more: &str) -> Child {
    let program = std::env::current_exe().unwrap();
    let own = [
        program.to_str().unwrap(),
        "--exact",
        name,
        "--ignored",
        "--nocapture",
    ];
    let words: Vec<&str> = wrapper.iter().copied().chain(own).collect();
    #[expect(clippy::disallowed_methods, reason = "the test runs itself")]
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .env(ROLE, root)
        .env("PRISTINE_TEST_MORE", more);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The store of a test that `start` runs.
fn given_root() -> std::path::PathBuf {
    std::env::var_os(ROLE)
        .expect("this test is run by another one")
        .into()
}
