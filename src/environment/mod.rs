//! The environment: made from the lock from nothing, completed by the recipe, frozen as a snapshot.

pub mod pack;
pub mod specs;
