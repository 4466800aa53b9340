//! The only code that writes to the terminal: events become lines and bars, failures become text.
//!
//! Progress and messages go to standard error, results (tables, lists, paths) to standard output.

use std::io::{BufRead, IsTerminal as _, Read as _, Write as _};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::error::Failure;
use crate::events::{Event, Sink};
use crate::words::clean;

pub use crate::words::{seconds, size};

/// The longest piece of a line that is taken at once, bytes.
const LINE: u64 = 1 << 20;

/// The terminal, or the log of a CI job.
#[derive(Debug)]
pub struct Ui {
    quiet: bool,
    bar: Mutex<ProgressBar>,
    interactive: bool,
}

impl Ui {
    /// Writes to the process's standard streams; only results and errors if `quiet`.
    pub fn new(quiet: bool) -> Self {
        let bar = ProgressBar::hidden();
        Self {
            quiet,
            bar: Mutex::new(bar),
            interactive: std::io::stderr().is_terminal(),
        }
    }

    /// Prints a result.
    pub fn result(&self, text: &str) {
        self.clear_bar();
        let mut out = std::io::stdout().lock();
        // A closed pipe (`| head`) is the reader's choice, not an error of ours.
        let _closed = writeln!(out, "{text}").and_then(|()| out.flush());
    }

    /// Prints what a stranger wrote: as it is to a pipe or if `raw`, without what drives a terminal to one.
    pub fn pour(&self, text: &mut impl BufRead, raw: bool) -> std::io::Result<()> {
        self.clear_bar();
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
        self.clear_bar();
        self.line(&format!("error: {}", clean(&failure.to_string(), true)));
        for hint in &failure.hints {
            self.line(&format!("  hint: {hint}"));
        }
    }

    /// Prints a line about the work; nothing if quiet.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            self.line(text);
        }
    }

    fn line(&self, text: &str) {
        let print = || {
            let mut err = std::io::stderr().lock();
            let _closed = writeln!(err, "{text}");
        };
        match self.bar.lock() {
            Ok(bar) => bar.suspend(print),
            Err(_) => print(),
        }
    }

    fn clear_bar(&self) {
        if let Ok(mut bar) = self.bar.lock() {
            bar.finish_and_clear();
            *bar = ProgressBar::hidden();
        }
    }

    fn show(&self, make: impl FnOnce(&ProgressBar)) {
        if !self.interactive || self.quiet {
            return;
        }
        if let Ok(mut bar) = self.bar.lock() {
            if bar.is_hidden() {
                *bar = ProgressBar::new(0);
                bar.set_draw_target(ProgressDrawTarget::stderr());
                bar.enable_steady_tick(Duration::from_millis(120));
            }
            make(&bar);
        }
    }

    fn spinner(&self, text: String) {
        self.show(|bar| {
            if let Ok(style) = ProgressStyle::with_template("  {spinner} {msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.set_message(text);
        });
    }
}

impl Ui {
    fn transfer(&self, files: (u64, u64), bytes: (u64, u64)) {
        const BAR: &str = "  {msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}";
        self.show(|bar| {
            if let Ok(style) = ProgressStyle::with_template(BAR) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_length(bytes.1.max(bytes.0));
            bar.set_position(bytes.0);
            bar.set_message(format!("{}/{} files", files.0, files.1));
        });
    }

    /// What a log says last, and where it is.
    fn failed(&self, excerpt: &[String], log: Option<&Path>) {
        for line in excerpt {
            self.line(&format!("       | {}", clean(line, false)));
        }
        if let Some(log) = log {
            self.line(&format!("       log: {}", log.display()));
        }
    }
}

impl Sink for Ui {
    fn emit(&self, event: Event) {
        match event {
            Event::StepStarted { step } => self.spinner(step),
            Event::StepDone { step, result, took } => {
                self.clear_bar();
                let result = if result.is_empty() {
                    result
                } else {
                    format!(": {result}")
                };
                self.note(&format!("  {step}{result} ({})", seconds(took)));
            }
            Event::Transfer {
                files,
                files_total,
                bytes,
                bytes_total,
            } => self.transfer((files, files_total), (bytes, bytes_total)),
            Event::Warning { text } => self.line(&format!("warning: {}", clean(&text, false))),
            Event::Progress { .. } | Event::PackagePhase { .. } => {}
            Event::PackageStarted {
                package,
                number,
                total,
                ..
            } => {
                self.spinner(format!("[{number}/{total}] {package}"));
            }
            Event::PackageEnded {
                package,
                result,
                outcome,
                took,
                log,
                excerpt,
            } => {
                self.clear_bar();
                let outcome = clean(&outcome, false);
                let told = |mark| format!("  {mark} {package}: {outcome} ({})", seconds(took));
                match result {
                    "built" | "reused" => self.note(&told("ok  ")),
                    "failed" => self.line(&told("FAIL")),
                    "interrupted" => self.line(&told("stop")),
                    _ => self.line(&told("skip")),
                }
                if result == "failed" {
                    self.failed(&excerpt, log.as_deref());
                }
            }
            Event::Output { line } => self.note(&format!("  | {}", clean(&line, false))),
        }
    }
}
