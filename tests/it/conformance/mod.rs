//! One suite for every backend: what the rest of the tool may rely on.
//!
//! Runs as root and as an ordinary user. What cannot be tried here says why and is
//! skipped; with `PRISTINE_REQUIRE_ALL=1` that is a failure.

pub(crate) mod fixture;
mod commands;
