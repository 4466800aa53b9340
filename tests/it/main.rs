//! Integration tests: real parts together.

mod architecture;
mod tree;
