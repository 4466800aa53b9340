//! Integration tests: real parts together.

mod store;
mod support;
