//! What moves on a terminal: a line for the step, or a line for each build and one for all of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::events::Event;
use crate::words::clean;

/// Builds that have a line of their own: a terminal has few.
const MOST: usize = 16;
const TICK: Duration = Duration::from_millis(120);
const STEP: &str = "  {spinner} {msg} {elapsed}";
const TRANSFER: &str = "  {msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}";
const BUILD: &str = "  {spinner} {prefix}  {msg}  {elapsed}";
const ALL: &str = "  [{bar:30}] {pos}/{len} packages {msg}";

/// All bars. Nothing is shown where there is no terminal.
#[derive(Debug)]
pub(super) struct Bars {
    multi: MultiProgress,
    shown: Mutex<Shown>,
}

#[derive(Debug, Default)]
struct Shown {
    step: Option<ProgressBar>,
    all: Option<ProgressBar>,
    builds: BTreeMap<String, ProgressBar>,
}

impl Bars {
    /// Bars on standard error.
    pub(super) fn new() -> Self {
        Self {
            multi: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            shown: Mutex::default(),
        }
    }

    /// Prints something above them.
    pub(super) fn suspend(&self, print: impl FnOnce()) {
        self.multi.suspend(print);
    }

    /// Takes all of them away.
    pub(super) fn clear(&self) {
        let mut shown = self.shown();
        let Shown { step, all, builds } = std::mem::take(&mut *shown);
        for bar in step.into_iter().chain(builds.into_values()).chain(all) {
            bar.finish_and_clear();
            self.multi.remove(&bar);
        }
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves what the event is about.
    pub(super) fn show(&self, event: &Event) {
        match event {
            Event::StepStarted { step } => self.step(STEP).set_message(step.clone()),
            Event::StepDone { .. } => self.clear(),
            Event::Transfer {
                files,
                files_total,
                bytes,
                bytes_total,
            } => {
                let bar = self.step(TRANSFER);
                bar.set_length(*bytes_total.max(bytes));
                bar.set_position(*bytes);
                bar.set_message(format!("{files}/{files_total} files"));
            }
            Event::Progress {
                done,
                total,
                remaining,
                ..
            } => {
                let bar = self.all();
                bar.set_length(*total as u64);
                bar.set_position(*done as u64);
                bar.set_message(remaining.map(super::text::left).unwrap_or_default());
            }
            Event::PackageStarted { package, .. } => self.build(package),
            Event::PackagePhase { package, phase } => {
                if let Some(bar) = self.shown().builds.get(package) {
                    bar.set_message(clean(phase, false));
                }
            }
            Event::PackageEnded { package, .. } => {
                if let Some(bar) = self.shown().builds.remove(package) {
                    bar.finish_and_clear();
                    self.multi.remove(&bar);
                }
            }
            Event::Warning { .. } | Event::RunEnded { .. } | Event::Output { .. } => {}
        }
    }

    /// The step's own line, made where there is none.
    fn step(&self, template: &str) -> ProgressBar {
        let mut shown = self.shown();
        let bar = shown
            .step
            .get_or_insert_with(|| self.multi.add(ProgressBar::new(0)))
            .clone();
        style(&bar, template);
        bar
    }

    fn all(&self) -> ProgressBar {
        let mut shown = self.shown();
        let all = shown.all.get_or_insert_with(|| {
            let bar = self.multi.add(ProgressBar::new(0));
            style(&bar, ALL);
            bar
        });
        all.clone()
    }

    fn build(&self, package: &str) {
        let mut shown = self.shown();
        if shown.builds.len() == MOST {
            return;
        }
        let bar = ProgressBar::new_spinner().with_prefix(package.to_owned());
        // The line of all stays the last.
        let bar = match &shown.all {
            Some(all) => self.multi.insert_before(all, bar),
            None => self.multi.add(bar),
        };
        style(&bar, BUILD);
        shown.builds.insert(package.to_owned(), bar);
    }
}

fn style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.enable_steady_tick(TICK);
}
