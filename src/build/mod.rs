//! Building the packages: one package, its log, the run.

pub mod log;
pub mod package;
pub mod run;
