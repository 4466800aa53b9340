//! Why a build failed, by the log of the phase that failed: a class, a sentence, the lines that say it.
//!
//! The rules are a table, `rules.toml`; what rpm itself says is read by `rpm`. Nothing of this runs
//! while a build does: the log is read again once it has failed.

use std::collections::VecDeque;
use std::io::{self, BufRead};

use crate::backend::Exit;
use crate::record::{Class, LimitRecord, Outcome};

mod rpm;
mod rules;

use rpm::RpmErrors;
use rules::{Found, Rules};

/// Lines that an excerpt shows.
const EXCERPT: usize = 12;
/// Longest line that is looked at, bytes.
const LONGEST: usize = 500;
/// Lines of an excerpt before and after the line that says it.
const AROUND: (usize, usize) = (1, 5);

/// The rule for a full disk.
const FULL_DISK: &str = "disk-full";

/// Why a package did not build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// In words: the phase, and the limit, what is missing, or the error.
    pub reason: String,
    /// What kind of failure it is.
    pub class: Class,
    /// The phase in which it failed.
    pub phase: Option<String>,
    /// The limit that ended it.
    pub limit: Option<LimitRecord>,
    /// The lines that say it best.
    pub excerpt: Vec<String>,
    /// No space was left on the disk.
    pub(super) full_disk: bool,
}

impl Verdict {
    /// Of a build that ended well and left what cannot be taken.
    pub(super) fn of_results(reason: String) -> Self {
        Self {
            reason,
            class: Class::Packaging,
            ..Self::default()
        }
    }
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Self {
        let Verdict {
            reason,
            class,
            phase,
            limit,
            excerpt,
            full_disk: _,
        } = verdict;
        Self::Failed {
            reason,
            class,
            phase,
            limit,
            excerpt,
            kept: None,
        }
    }
}

/// Why `phase`, whose command ended with `exit`, failed; `text` is what it wrote.
pub(super) fn diagnose(phase: &str, exit: &Exit, text: &mut impl BufRead) -> io::Result<Verdict> {
    let rules = Rules::load();
    let mut reading = Reading::default();
    while let Some(line) = next_line(text)? {
        reading.take(&rules, phase, line);
    }
    Ok(reading.verdict(&rules, phase, exit))
}

/// A line that a rule fits, with its neighbours.
struct Hit {
    found: Found,
    /// Its number among the lines, from 0.
    number: usize,
    before: Vec<String>,
    line: String,
    after: Vec<String>,
}

/// What is kept of a text while it is read: little, however long it is.
#[derive(Default)]
struct Reading {
    last: VecDeque<String>,
    read: usize,
    hits: Vec<Hit>,
    errors: RpmErrors,
}

impl Reading {
    fn take(&mut self, rules: &Rules, phase: &str, line: String) {
        for hit in &mut self.hits {
            if self.read - hit.number <= AROUND.1 {
                hit.after.push(line.clone());
            }
        }
        // What the shell is about to do, as `set -x` tells it, is no error yet.
        let tells = !line.starts_with("+ ") && !rpm::is_closing(&line);
        if let Some(found) = rules.find(phase, &line).filter(|_| tells) {
            self.hit(found, &line);
        }
        self.errors.take(&line);
        if self.last.len() == EXCERPT {
            self.last.pop_front();
        }
        self.last.push_back(line);
        self.read += 1;
    }

    /// Keeps the first lines of the best rank.
    fn hit(&mut self, found: Found, line: &str) {
        let best = self.hits.iter().map(|hit| hit.found.rank).min();
        if best.is_some_and(|best| found.rank > best) {
            return;
        }
        self.hits.retain(|hit| hit.found.rank == found.rank);
        if self.hits.len() < EXCERPT {
            let from = self.last.len().saturating_sub(AROUND.0);
            self.hits.push(Hit {
                found,
                number: self.read,
                before: self.last.iter().skip(from).cloned().collect(),
                line: line.to_owned(),
                after: Vec::new(),
            });
        }
    }

    fn verdict(self, rules: &Rules, phase: &str, exit: &Exit) -> Verdict {
        let mut verdict = Verdict {
            excerpt: self.excerpt(),
            phase: Some(phase.to_owned()),
            ..Verdict::default()
        };
        let script = phase.starts_with('%');
        let said = self.hits.first().map(|hit| {
            let rule = rules.rule(&hit.found);
            verdict.class = rule.class;
            verdict.full_disk = rule.name == FULL_DISK;
            hit.found.says.clone()
        });
        verdict.reason = match exit {
            Exit::Signal(_) | Exit::Killed => {
                verdict.class = Class::Infrastructure;
                format!("{phase} was {exit}")
            }
            Exit::Limit(_) => {
                verdict.class = Class::Limit;
                format!("{phase} was {exit}")
            }
            Exit::Code(_) if script => match said {
                Some(said) => format!("{phase} failed: {said}"),
                None => format!("{phase} failed"),
            },
            Exit::Code(_) => match self.errors.reason().or(said) {
                Some(reason) => reason,
                None => format!("{phase} ended with {exit}"),
            },
        };
        if matches!(exit, Exit::Code(_)) {
            if self.errors.misses_something() && !script {
                verdict.class = Class::Dependency;
                if phase == "rpmbuild" {
                    verdict.phase = Some("BuildRequires".to_owned());
                }
            } else if verdict.class == Class::Other {
                verdict.class = usual(phase);
            }
        }
        verdict
    }

    /// The first lines that say why, each with its neighbours; else the end of the text.
    fn excerpt(&self) -> Vec<String> {
        let Some(first) = self.hits.first() else {
            let last = self.last.iter();
            let told = last.filter(|line| !rpm::is_closing(line));
            return told.cloned().collect();
        };
        let mut lines: Vec<String> = Vec::new();
        let mut next = 0;
        for hit in &self.hits {
            // Other hits as well, but with their neighbours only what belongs to the first.
            let around = hit.number == first.number;
            let before = hit.number - hit.before.len();
            let all = hit.before.iter().chain([&hit.line]).chain(&hit.after);
            for (number, line) in (before..).zip(all) {
                let own = number == hit.number;
                if number >= next && (own || around) && !rpm::is_closing(line) {
                    lines.push(line.clone());
                    next = number + 1;
                }
            }
        }
        lines.truncate(EXCERPT);
        lines
    }
}

/// What a failure of a phase usually is.
fn usual(phase: &str) -> Class {
    match phase {
        "prepare" | "BuildRequires" => Class::Dependency,
        "%prep" => Class::Sources,
        "%check" => Class::Test,
        "rpmbuild" | "packaging" => Class::Packaging,
        _ => Class::Other,
    }
}

/// The next line without its end, cut where it is very long; `None` at the end of the text.
fn next_line(text: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut any = false;
    loop {
        let part = text.fill_buf()?;
        if part.is_empty() {
            break;
        }
        any = true;
        let end = part.iter().position(|&byte| byte == b'\n');
        let room = LONGEST.saturating_sub(line.len());
        let length = end.unwrap_or(part.len());
        line.extend_from_slice(&part[..length.min(room)]);
        let taken = end.map_or(part.len(), |end| end + 1);
        text.consume(taken);
        if end.is_some() {
            break;
        }
    }
    let line = String::from_utf8_lossy(&line);
    Ok(any.then(|| plain(line.trim_end())))
}

/// A line without the colours that a tool gave it.
fn plain(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut parts = line.split("\u{1b}[");
    plain.extend(parts.next());
    for part in parts {
        let end = part.find(|c: char| c.is_ascii_alphabetic());
        plain.push_str(end.map_or("", |end| &part[end + 1..]));
    }
    plain
}

#[cfg(test)]
mod tests;
