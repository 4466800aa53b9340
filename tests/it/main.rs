//! Integration tests: real parts together, in one program.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking and look at the host directly"
)]

mod architecture;
mod conformance;
mod documents;
mod e2e;
mod engine;
mod faults;
mod mutation;
mod oci;
mod recipes;
mod registry;
mod remote;
mod report;
mod repositories;
mod solver;
mod specification;
mod store;
mod support;
mod tree;
