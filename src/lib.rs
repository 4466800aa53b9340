//! Rebuilds the build server on every build: lock, environment, recipe, snapshot, RPM builds, record.
//!
//! The modules form strict layers (see `ARCHITECTURE.md`; `tests/it/architecture.rs` keeps them).

#[cfg(test)]
extern crate self as pristine;

pub mod audit;
pub mod backend;
pub mod build;
pub mod cancel;
pub mod cli;
pub mod commands;
pub mod compare;
pub mod digest;
pub mod documents;
pub mod engine;
pub mod environment;
pub mod error;
pub mod events;
pub mod files;
pub mod git;
pub mod keyring;
pub mod oci;
pub mod plan;
pub mod record;
pub mod registry;
pub mod report;
pub mod repository;
pub mod reproducibility;
pub mod resolve;
pub mod rpm;
pub mod solve;
pub mod statement;
pub mod store;
pub mod threads;
pub mod tree;
pub mod ui;
pub mod words;
