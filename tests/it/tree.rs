//! Trees: canonical archives, safe unpacking, payloads, normalisation, removal.
//!
//! These tests set owners and make whiteouts, so that they need root, as in CI.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use pristine::tree::{self, TreeError};
use rustix::fs::{Mode, OFlags};

pub(crate) mod hostile;
mod parts;
mod payload;
mod round_trip;
mod rules;

/// A handle on the folder `path`.
pub(crate) fn handle(path: &Path) -> OwnedFd {
    rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .unwrap()
}

/// The canonical archive of the tree at `root`.
pub(crate) fn archive(root: &Path) -> Vec<u8> {
    let mut tar = Vec::new();
    tree::canonical::write(handle(root).as_fd(), &mut tar).unwrap();
    tar
}

/// Applies an archive to the tree at `root`.
pub(crate) fn apply(root: &Path, tar: &[u8]) -> Result<(), TreeError> {
    tree::extract::apply(handle(root).as_fd(), &mut &*tar)
}

/// An error with its causes, as a user reads it.
pub(crate) fn message(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// Runs a tool of the host; panics with its output where it fails.
pub(crate) fn tool(program: &str, arguments: &[&str], folder: &Path) -> Vec<u8> {
    let output = std::process::Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Whether the host has `program`. A test whose subject is missing says so, and fails where
/// `PRISTINE_REQUIRE_ALL=1` asks for everything.
#[expect(clippy::print_stderr, reason = "the reason for a skipped test")]
pub(crate) fn host_has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(program).exists());
    if !found {
        assert!(
            std::env::var_os("PRISTINE_REQUIRE_ALL").is_none(),
            "`{program}` is required"
        );
        eprintln!("skipped: the host has no `{program}`");
    }
    found
}

/// One line per entry of an archive: mode, owner, time, size, name, link, attributes.
pub(crate) fn listing(tar: &[u8]) -> Vec<String> {
    let mut members = tree::member::Members::new(tar);
    let mut lines = Vec::new();
    while let Some(member) = members.next_member().unwrap() {
        lines.push(format!(
            "{:?} {:o} {}:{} @{} {}B {}{} {:?}",
            member.kind,
            member.mode,
            member.uid,
            member.gid,
            member.mtime,
            member.size,
            String::from_utf8_lossy(&member.name),
            String::from_utf8_lossy(&[b" -> ".as_slice(), &member.link].concat()),
            member
                .xattrs
                .keys()
                .map(|name| String::from_utf8_lossy(name))
                .collect::<Vec<_>>(),
        ));
    }
    lines
}

/// Makes the file `name` in `folder`.
fn create(folder: std::os::fd::BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(
        folder,
        name,
        OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL,
        Mode::RUSR | Mode::WUSR,
    )
}
