//! Building the packages: one package, its log, the schedule, the run.

pub mod log;
mod needed;
pub mod own;
pub mod package;
pub mod reuse;
pub mod run;
pub mod schedule;
pub mod unpack;
mod work;
