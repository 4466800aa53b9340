//! Integration tests: real parts together.

mod documents;
