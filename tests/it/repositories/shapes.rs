//! Repositories with the shapes of real distributions.
