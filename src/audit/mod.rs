//! Building a second time: under other conditions, and under which of them a package comes out different.

pub mod probe;
pub mod search;
pub mod sides;
pub mod variations;
