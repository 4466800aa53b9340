//! Repositories as distributions publish them, read over HTTP on the loopback.

mod files;
mod groups;
mod lists;
mod modules;
mod options;
mod shapes;
mod tls;
mod trial;
