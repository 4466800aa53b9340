//! A build's log, and what it says about a failure.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::backend::Exit;

/// Lines that an excerpt shows.
const EXCERPT: usize = 12;
/// Longest line that is kept in memory, bytes.
const LONGEST: usize = 500;

/// Writes a build's output to its file and keeps the last lines.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    /// Not buffered: a log can be followed while it grows.
    file: File,
    lines: VecDeque<String>,
    partial: Vec<u8>,
    errors: Vec<String>,
    in_errors: bool,
    failed_write: Option<io::Error>,
}

/// Why a package did not build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// In words: the phase, the limit, or what is missing.
    pub reason: String,
    /// The lines that say it best.
    pub excerpt: Vec<String>,
}

impl Log {
    /// Starts a new log.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: fs_err::File::create(path)?.into_parts().0,
            lines: VecDeque::new(),
            partial: Vec::new(),
            errors: Vec::new(),
            in_errors: false,
            failed_write: None,
        })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes output as it comes.
    pub fn write(&mut self, bytes: &[u8]) {
        if self.failed_write.is_none() {
            self.failed_write = self.file.write_all(bytes).err();
        }
        for &byte in bytes {
            if byte == b'\n' {
                let line = String::from_utf8_lossy(&std::mem::take(&mut self.partial)).into_owned();
                self.line(line);
            } else if self.partial.len() < LONGEST {
                self.partial.push(byte);
            }
        }
    }

    fn line(&mut self, line: String) {
        // rpm repeats its own errors at the end, under this heading.
        if line.trim_end() == "RPM build errors:" {
            self.in_errors = true;
        } else if (self.in_errors && line.starts_with("   ")) || line.starts_with("error: ") {
            // What a heading announces follows it, indented.
            self.in_errors |= line.ends_with(':');
            self.errors
                .push(line.trim().trim_start_matches("error: ").to_owned());
        } else if line.contains(" is needed by ") {
            self.errors.push(line.trim().to_owned());
        }
        if self.lines.len() == EXCERPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Ends the log; an error that came up while writing is reported here.
    pub fn finish(mut self) -> io::Result<()> {
        match self.failed_write.take() {
            Some(error) => Err(error),
            None => self.file.flush(),
        }
    }

    /// Why the command of `phase` that ended with `exit` failed.
    pub fn verdict(&self, phase: &str, exit: Exit) -> Verdict {
        let reason = match exit {
            Exit::Code(_) => {
                reason(&self.errors).unwrap_or_else(|| format!("{phase} ended with {exit}"))
            }
            Exit::Signal(_) | Exit::Limit(_) => format!("{phase} was {exit}"),
        };
        Verdict {
            reason,
            excerpt: self.lines.iter().cloned().collect(),
        }
    }
}

/// rpm's own errors in a few words.
fn reason(errors: &[String]) -> Option<String> {
    let missing: Vec<&str> = errors
        .iter()
        .filter_map(|error| error.split_once(" is needed by ").map(|(what, _)| what))
        .collect();
    if !missing.is_empty() {
        return Some(format!("missing: {}", missing.join(", ")));
    }
    let phase = errors.iter().find_map(|error| {
        let (_, rest) = error.split_once("Bad exit status from ")?;
        let (_, phase) = rest.split_once('(')?;
        Some(phase.split(')').next().unwrap_or(phase).to_owned())
    });
    phase
        .map(|phase| format!("{phase} failed"))
        .or_else(|| first_reason(errors).map(|error| error.replace("/builddir/", "")))
}

/// The first error; what a heading announces with a colon comes on lines of its own.
fn first_reason(errors: &[String]) -> Option<String> {
    let (first, rest) = errors.split_first()?;
    if !first.ends_with(':') {
        return Some(first.clone());
    }
    let named: Vec<&str> = rest
        .iter()
        .map(String::as_str)
        .take_while(|error| error != first)
        .collect();
    Some(format!("{first} {}", named.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str, exit: Exit) -> Verdict {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::create(&folder.path().join("log")).unwrap();
        log.write(text.as_bytes());
        let verdict = log.verdict("rpmbuild", exit);
        log.finish().unwrap();
        verdict
    }

    #[test]
    fn the_reason_is_in_words() {
        for (text, exit, reason) in [
            (
                "x.c:1: error\nerror: Bad exit status from /var/tmp/rpm-tmp.1 (%build)\n\nRPM build errors:\n    Bad exit status from /var/tmp/rpm-tmp.1 (%build)\n",
                Exit::Code(1),
                "%build failed",
            ),
            (
                "error: Failed build dependencies:\n\tzlib-devel is needed by a-1-1.x86_64\n\tcmake >= 3 is needed by a-1-1.x86_64\n",
                Exit::Code(11),
                "missing: zlib-devel, cmake >= 3",
            ),
            (
                "RPM build errors:\n    File not found: /builddir/BUILDROOT/usr/bin/x\n",
                Exit::Code(1),
                "File not found: BUILDROOT/usr/bin/x",
            ),
            (
                "error: Installed (but unpackaged) file(s) found:\n   /a\n   /b\n    Installed (but unpackaged) file(s) found:\n   /a\n   /b\n\nRPM build errors:\n",
                Exit::Code(1),
                "Installed (but unpackaged) file(s) found: /a, /b",
            ),
            ("", Exit::Code(3), "rpmbuild ended with exit code 3"),
            ("", Exit::Signal(9), "rpmbuild was killed by signal 9"),
        ] {
            assert_eq!(verdict(text, exit).reason, reason);
        }
    }

    #[test]
    fn the_excerpt_is_the_end_also_of_a_short_log() {
        assert_eq!(verdict("one\ntwo\n", Exit::Code(1)).excerpt, ["one", "two"]);
        let numbers: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        let long = format!("{}\n", numbers.join("\n"));
        let excerpt = verdict(&long, Exit::Code(1)).excerpt;
        assert_eq!(
            (excerpt.len(), excerpt.last().map(String::as_str)),
            (EXCERPT, Some("99"))
        );
    }
}
