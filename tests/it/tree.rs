//! Trees: canonical archives, safe unpacking, payloads. These tests set owners and make
//! whiteouts, so that they need root, as in CI.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use pristine::tree::{self, Normalise, TreeError};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, XattrFlags};

pub(crate) fn handle(path: &Path) -> OwnedFd {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

pub(crate) fn archive(root: &Path) -> Vec<u8> {
    let mut tar = Vec::new();
    tree::canonical::write(handle(root).as_fd(), &mut tar).unwrap();
    tar
}

fn apply(root: &Path, tar: &[u8]) -> Result<(), TreeError> {
    tree::extract::apply(handle(root).as_fd(), &mut &tar[..])
}

fn text(error: &TreeError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[test]
fn smoke() {
    let from = tempfile::tempdir().unwrap();
    let status = std::process::Command::new("cp").args(["-a", "/usr/share/perl", "/etc", "/usr/bin"]).arg(from.path()).status().unwrap();
    assert!(status.success());
    let start = std::time::Instant::now();
    let tar = archive(from.path());
    eprintln!("write {} bytes {:?}", tar.len(), start.elapsed());
    let to = tempfile::tempdir().unwrap();
    let start = std::time::Instant::now();
    apply(to.path(), &tar).unwrap();
    eprintln!("apply {:?}", start.elapsed());
    assert!(archive(to.path()) == tar);
    let start = std::time::Instant::now();
    let parent = handle(to.path().parent().unwrap());
    tree::remove::remove(parent.as_fd(), to.path().file_name().unwrap()).unwrap();
    eprintln!("remove {:?}", start.elapsed());
    assert!(!to.path().exists());
    std::fs::write("/tmp/x.tar", &tar).unwrap();
}
