//! One suite for every backend: what the rest of the tool may rely on.
//!
//! Runs as root and as an ordinary user. What cannot be tried here says why and is
//! skipped; with `PRISTINE_REQUIRE_ALL=1` that is a failure.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests say what they skip, and talk to each other by their output"
)]

mod clock;
mod commands;
mod crash;
pub(crate) mod fixture;
mod isolation;
mod limits;
mod measure;
mod mounts;
mod outside;
mod probe;
mod surroundings;
mod terminal;
mod trace;
mod trees;

pub(crate) use crash::wait_until;
pub(crate) use limits::processes;

/// Says why something was not tried.
pub(crate) fn skip(why: &str) {
    let required = std::env::var_os("PRISTINE_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(!required, "PRISTINE_REQUIRE_ALL=1, but: {why}");
    eprintln!("skipped: {why}");
}
