//! Tests of the whole, in one program.

mod architecture;
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests fail by panicking and look at the host directly")]

mod conformance;
mod tree;
//! Integration tests: real parts together.

mod documents;
