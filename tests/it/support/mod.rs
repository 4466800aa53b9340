//! What several integration tests need.
#![expect(clippy::unwrap_used, reason = "a failed step of a test ends it")]

pub(crate) mod http;
