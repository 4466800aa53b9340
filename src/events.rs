//! What happens, told by the lower layers without knowing the terminal.

use std::path::PathBuf;
use std::time::Duration;

/// One thing that happened. `ui` turns events into lines and bars.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A named part of the work begins (for example `solving`, `creating the environment`).
    StepStarted {
        /// In the words of the docs, lower case, no full stop.
        step: String,
    },
    /// The part that began last is done.
    StepDone {
        /// The same text as in `StepStarted`.
        step: String,
        /// What came of it, in a few words (`212 packages`), or nothing.
        result: String,
        /// Wall time.
        took: Duration,
    },
    /// So many bytes of a transfer have arrived.
    Transfer {
        /// Files done.
        files: u64,
        /// Files in all.
        files_total: u64,
        /// Bytes done.
        bytes: u64,
        /// Bytes in all, as far as known.
        bytes_total: u64,
    },
    /// Something the user should know, although the work goes on.
    Warning {
        /// A sentence without a full stop.
        text: String,
    },
    /// A package build begins.
    PackageStarted {
        /// The package's name in the project.
        package: String,
        /// Its place in the plan, from 1.
        number: usize,
        /// Packages in the plan.
        total: usize,
    },
    /// A package build has ended.
    PackageEnded {
        /// The package's name in the project.
        package: String,
        /// `built`, `failed: …`, `skipped: …`.
        outcome: String,
        /// Whether it counts as good.
        good: bool,
        /// Wall time.
        took: Duration,
        /// Its log, where one was written.
        log: Option<PathBuf>,
        /// The last lines of the log of a failure.
        excerpt: Vec<String>,
    },
    /// A line that a command in the sandbox printed.
    Output {
        /// Without the line end; may hold escape sequences of strangers: `ui` cleans it.
        line: String,
    },
}

/// Receives events. Called from any thread; must return quickly.
pub trait Sink: Send + Sync {
    /// Takes one event.
    fn emit(&self, event: Event);
}

/// A sink that drops everything, for tests and for quiet work.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Sink for Silent {
    fn emit(&self, _event: Event) {}
}
