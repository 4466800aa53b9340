//! RPM's vocabulary: names, versions, dependencies, headers.

mod nevra;

pub use nevra::{Nevra, NevraError};
