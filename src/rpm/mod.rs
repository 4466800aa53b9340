//! RPM's vocabulary: names, versions, dependencies, headers, and what the solver needs to know of a package.
//!
//! The `rpm` crate is used in `package` and `details` alone. Everything that reads bytes from outside
//! checks every offset and bounds every size before use.

pub mod database;
mod dependency;
mod details;
mod header;
mod nevra;
mod package;
mod rich;
mod satisfy;
mod tags;
#[cfg(test)]
pub(crate) mod testing;

pub use dependency::{
    Comparison, Dependency, DependencyError, Parts as DependencyParts, Requirement,
};
pub use details::{PackageDetails, read_details};
pub use header::{HeaderError, read_headers};
pub use nevra::{Nevra, NevraError};
pub use package::{PackageFacts, RpmError, read_package};
pub use rich::{Operator, Rich};
pub use satisfy::Gathering;
pub use tags::{PackageTags, Tags, Value, read_tags, tag_name};
