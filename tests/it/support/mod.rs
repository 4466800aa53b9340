//! What several integration tests need.
#![expect(clippy::unwrap_used, reason = "a failed step of a test ends it")]

use std::path::PathBuf;

pub(crate) mod certificates;
pub(crate) mod distribution;
pub(crate) mod engine;
pub(crate) mod http;
pub(crate) mod packages;
pub(crate) mod registry;
pub(crate) mod ssh;

/// The program under test. The tests may run on another place of it than where it was built.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("CARGO_BIN_EXE_pristine")
        .map_or_else(|| env!("CARGO_BIN_EXE_pristine").into(), PathBuf::from)
}

/// Where tests keep what is large or worth keeping; a user that cannot write there names another folder.
pub(crate) fn scratch() -> PathBuf {
    std::env::var_os("CARGO_TARGET_TMPDIR")
        .map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from)
}
