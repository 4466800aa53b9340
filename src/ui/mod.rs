//! The only code that writes to the terminal: events become lines and bars, failures become text.
//!
//! Progress and messages go to standard error, results (tables, lists, paths) to standard output; where events are
//! wanted as JSON, they have standard output for themselves. On a terminal there are bars, elsewhere, as in the log of a
//! CI job, every line has the time of day.

mod bars;
mod json;
mod text;

use std::io::{BufRead, IsTerminal as _, Read as _, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Failure;
use crate::events::{Event, Sink};
use crate::words::clean;
use bars::Bars;

pub use crate::words::{seconds, size};

/// The longest piece of a line that is taken at once, bytes.
const LINE: u64 = 1 << 20;

/// How the program speaks.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// Only results and errors.
    pub quiet: bool,
    /// Events as JSON on standard output.
    pub json: bool,
    /// What is told of the work has the time of day, where nobody may be watching.
    pub timed: bool,
    /// The time since 1970.
    pub clock: fn() -> Duration,
}

/// The terminal, or the log of a CI job.
#[derive(Debug)]
pub struct Ui {
    manner: Manner,
    started: Instant,
    /// On a terminal, unless quiet.
    bars: Option<Bars>,
    interactive: bool,
    /// How long the rest will take, as told last.
    remaining: Mutex<Option<Duration>>,
}

impl Ui {
    /// Writes to the process's standard streams.
    pub fn new(manner: Manner) -> Self {
        let interactive = std::io::stderr().is_terminal();
        let ui = Self {
            manner,
            started: Instant::now(),
            bars: (interactive && !manner.quiet).then(Bars::new),
            interactive,
            remaining: Mutex::default(),
        };
        if manner.json {
            ui.print(&json::begin((manner.clock)()).to_string());
        }
        ui
    }

    /// Prints a result.
    pub fn result(&self, text: &str) {
        if let Some(bars) = &self.bars {
            bars.clear();
        }
        if self.manner.json {
            self.note(text);
        } else {
            self.print(text);
        }
    }

    /// Prints what a stranger wrote: as it is to a pipe or if `raw`, without what drives a terminal to one.
    pub fn pour(&self, text: &mut impl BufRead, raw: bool) -> std::io::Result<()> {
        if let Some(bars) = &self.bars {
            bars.clear();
        }
        let mut out = std::io::stdout().lock();
        let raw = raw || !out.is_terminal();
        let mut line = Vec::new();
        while text.by_ref().take(LINE).read_until(b'\n', &mut line)? > 0 {
            let end = if line.ends_with(b"\n") { "\n" } else { "" };
            let cleaned = clean(&String::from_utf8_lossy(&line), false) + end;
            let written = out.write_all(if raw { &line } else { cleaned.as_bytes() });
            if written.is_err() {
                // A closed pipe (`| head`) is the reader's choice.
                return Ok(());
            }
            line.clear();
        }
        let _closed = out.flush();
        Ok(())
    }

    /// Prints why the tool could not go on, and what to do next.
    pub fn failure(&self, failure: &Failure) {
        if let Some(bars) = &self.bars {
            bars.clear();
        }
        if self.manner.json {
            self.print(&json::failure(failure, self.started.elapsed()).to_string());
        }
        self.line(&format!("error: {}", clean(&failure.to_string(), true)));
        for hint in &failure.hints {
            self.line(&format!("  hint: {hint}"));
        }
    }

    /// Prints a line about the work; nothing if quiet.
    pub fn note(&self, text: &str) {
        if !self.manner.quiet {
            self.timed(text);
        }
    }

    /// Standard output.
    fn print(&self, text: &str) {
        let print = || {
            let mut out = std::io::stdout().lock();
            // A closed pipe (`| head`) is the reader's choice, not an error of ours.
            let _closed = writeln!(out, "{text}").and_then(|()| out.flush());
        };
        self.above(print);
    }

    /// Standard error.
    fn line(&self, text: &str) {
        self.above(|| {
            let mut err = std::io::stderr().lock();
            let _closed = writeln!(err, "{text}");
        });
    }

    /// The same with the time of day, where nobody may be watching.
    fn timed(&self, text: &str) {
        if self.interactive || !self.manner.timed {
            self.line(text);
        } else {
            let now = text::time_of_day((self.manner.clock)());
            self.line(&format!("{now} {text}"));
        }
    }

    fn above(&self, print: impl FnOnce()) {
        match &self.bars {
            Some(bars) => bars.suspend(print),
            None => print(),
        }
    }

    /// What a log says last, where it is, and how to look around in what is left.
    fn failed(&self, excerpt: &[String], log: Option<&Path>, enter: Option<&str>) {
        for line in excerpt {
            self.line(&format!("       | {}", clean(line, false)));
        }
        if let Some(log) = log {
            self.line(&format!("       log: {}", log.display()));
        }
        if let Some(enter) = enter {
            self.line(&format!("       look around in it: {enter}"));
        }
    }

    fn begun(&self, package: &str, number: usize, total: usize) {
        // On a terminal its line says so.
        if self.bars.is_none() {
            let remaining = self
                .remaining
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let left = remaining.map(|rest| format!(", {}", text::left(rest)));
            self.note(&format!(
                "  run  {package} ({number}/{total}{})",
                left.unwrap_or_default()
            ));
        }
    }
}

impl Sink for Ui {
    fn emit(&self, event: Event) {
        if self.manner.json {
            self.print(&json::event(&event, self.started.elapsed()).to_string());
        }
        if let Some(bars) = &self.bars {
            bars.show(&event);
        }
        match event {
            Event::StepDone { step, result, took } => {
                let result = if result.is_empty() {
                    result
                } else {
                    format!(": {result}")
                };
                self.note(&format!("  {step}{result} ({})", seconds(took)));
            }
            Event::Warning { text } => self.line(&format!("warning: {}", clean(&text, false))),
            Event::Progress { remaining, .. } => {
                *self
                    .remaining
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = remaining;
            }
            Event::PackageStarted {
                package,
                number,
                total,
                ..
            } => self.begun(&package, number, total),
            Event::PackageEnded {
                package,
                result,
                outcome,
                took,
                log,
                enter,
                excerpt,
            } => {
                let outcome = clean(&outcome, false);
                let told = |mark| format!("  {mark} {package}: {outcome} ({})", seconds(took));
                match result {
                    "built" | "reused" => self.note(&told("ok  ")),
                    "failed" => self.timed(&told("FAIL")),
                    "interrupted" => self.timed(&told("stop")),
                    _ => self.timed(&told("skip")),
                }
                if result == "failed" {
                    self.failed(&excerpt, log.as_deref(), enter.as_deref());
                }
            }
            Event::Output { line } => self.note(&format!("  | {}", clean(&line, false))),
            Event::StepStarted { .. }
            | Event::Transfer { .. }
            | Event::PackagePhase { .. }
            | Event::RunEnded { .. } => {}
        }
    }
}
