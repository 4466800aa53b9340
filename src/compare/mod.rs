//! Whether two packages, or two environments, are the same; what differs, and why.
//!
//! Everything compared may come from strangers: sizes, members and depths are bounded, nothing is written, and what cannot
//! be read as the format that it seems to be is compared as bytes. `docs/audit.md` says what is compared and how causes are found.

mod cause;
mod conditions;
mod content;
mod deep;
mod difference;
mod error;
mod files;
mod found;
mod header;
mod origins;
mod package;
mod payload;
#[cfg(test)]
mod tests;
mod trees;

pub use cause::Cause;
pub use conditions::{Account, Conditions, Side, Span};
pub use deep::{DeepView, Diffoscope};
pub use difference::{Comparison, Difference, Evidence, Excerpt, FORMAT, Kind, Verdict};
pub use error::CompareError;
pub use origins::Origins;
pub use package::packages;
pub use trees::trees;
