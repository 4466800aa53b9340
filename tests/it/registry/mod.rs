//! Images pulled from and pushed to registries: real ones, and one that misbehaves.

mod faults;
mod images;
mod real;
