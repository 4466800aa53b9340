//! Integration tests: real parts together.

mod tree;
