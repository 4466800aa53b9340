//! Building the packages: the plan, one build, the run.

pub mod log;
pub mod package;
