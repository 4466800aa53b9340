//! Which packages are needed: dnf's answer, from libsolv with dnf's own settings.
//!
//! A [`Universe`] holds the packages of all repositories; a [`Request`] is solved in it.
//! Packages of a repository are sorted as they are added, so that the answer depends on
//! what a repository has and on the order of the repositories, never on the order of its packages.

mod explain;
mod libsolv;
mod meaning;
mod nearest;
mod problem;
mod request;
mod universe;

pub use nearest::Nearest;
pub use problem::{Asked, Cause, Help, Hiding, Link, Problem, Reason, Unsolvable};
pub use request::{Meaning, Request, Selected, Solution, Wanted};
pub use universe::{Preference, RepositoryId, SolveError, Universe};

#[cfg(test)]
mod differential;
#[cfg(test)]
mod restricted;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod versions;
