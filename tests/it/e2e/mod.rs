//! Whole projects by the real program, on a real distribution: what users are promised.

mod attack;
mod audit;
mod backends;
mod build;
mod checkout;
mod declared;
mod disk;
mod enter;
mod failing;
mod faults;
mod hostile;
mod identity;
mod images;
mod input;
mod interrupt;
mod keeping;
mod limits;
mod locking;
mod manual;
mod mirrors;
pub(crate) mod project;
mod recipe;
mod reports;
mod schedule;
mod statements;
mod watch;
mod why;
