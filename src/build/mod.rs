//! Building the packages: the plan, one build, the outcomes.

pub mod plan;
