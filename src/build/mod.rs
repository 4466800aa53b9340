//! Building the packages: one package, its log and what a failure means, the schedule, the run.

pub mod conditions;
pub mod declared;
pub mod diagnosis;
mod limits;
pub mod log;
mod needed;
pub mod own;
pub mod package;
mod results;
pub mod reuse;
pub mod run;
pub mod schedule;
pub mod unpack;
mod work;
