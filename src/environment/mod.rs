//! The environment: made from the lock from nothing, completed by the recipe, frozen as a snapshot.

mod ahead;
pub mod base;
pub mod create;
mod pace;
pub mod pack;
pub mod recipe;
pub mod rules;
pub mod snapshot;
pub mod source;
pub mod specs;
mod turns;
