//! What happens, told by the lower layers without knowing the terminal.

use std::collections::BTreeMap;
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
    /// The builds begin, or one has begun or ended.
    Progress {
        /// Packages that have their outcome.
        done: usize,
        /// Packages in the plan.
        total: usize,
        /// Packages that are being built.
        running: usize,
        /// How long the rest will take, by earlier runs; none where they do not tell.
        remaining: Option<Duration>,
    },
    /// A package build begins.
    PackageStarted {
        /// The package's name in the project.
        package: String,
        /// How many have begun, this one included.
        number: usize,
        /// Packages in the plan.
        total: usize,
        /// Processors that it is given.
        processors: usize,
        /// How long it took before, where that is known.
        expected: Option<Duration>,
    },
    /// A package build goes on to its next part.
    PackagePhase {
        /// The package's name in the project.
        package: String,
        /// `prepare`, `rpmbuild`, or a part of it: `%prep`, `%build`, …
        phase: String,
    },
    /// A package build has ended, or will not be tried.
    PackageEnded {
        /// The package's name in the project.
        package: String,
        /// How it ended, in a word of the record: `built`, `reused`, `failed`, `skipped`, `interrupted`.
        result: &'static str,
        /// The same in words: `built`, `failed: …`, `skipped: …`.
        outcome: String,
        /// Wall time.
        took: Duration,
        /// Its log, where one was written.
        log: Option<PathBuf>,
        /// The command that opens what a failed build left, where that is kept.
        enter: Option<String>,
        /// The last lines of the log of a failure.
        excerpt: Vec<String>,
    },
    /// The run has come to its end, or was ended.
    RunEnded {
        /// Its name.
        run: String,
        /// Its folder.
        folder: PathBuf,
        /// Packages by `result`; those that there are.
        counts: BTreeMap<&'static str, usize>,
        /// Wall time.
        took: Duration,
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
