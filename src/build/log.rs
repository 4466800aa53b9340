//! A build's log: written as it comes, with the phases that it tells of and what the build used.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::backend::Exit;
use crate::build::diagnosis::{self, Verdict};
use crate::record::{PhaseRecord, Resources};

/// Bytes of a line that are kept to see whether a phase begins with it.
const HEADING: usize = 80;

/// What hears of each phase as it begins.
type Listener<'a> = Box<dyn FnMut(&str) + Send + 'a>;

/// Writes a build's output to its file and notes when its phases begin.
pub struct Log<'a> {
    path: PathBuf,
    /// Not buffered: a log can be followed while it grows.
    file: File,
    written: u64,
    /// The beginning of the line that is being written, and where in the file it is.
    line: Vec<u8>,
    line_at: u64,
    phases: Vec<Phase>,
    used: Option<Resources>,
    listener: Option<Listener<'a>>,
    failed_write: Option<io::Error>,
}

#[derive(Debug)]
struct Phase {
    name: String,
    began: Instant,
    ended: Option<Instant>,
    /// Where its text begins in the file.
    at: u64,
}

impl std::fmt::Debug for Log<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("path", &self.path)
            .field("phases", &self.phases)
            .finish_non_exhaustive()
    }
}

impl<'a> Log<'a> {
    /// Starts a new log.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: fs_err::File::create(path)?.into_parts().0,
            written: 0,
            line: Vec::new(),
            line_at: 0,
            phases: Vec::new(),
            used: None,
            listener: None,
            failed_write: None,
        })
    }

    /// Has `listener` called with the name of each phase that begins.
    #[must_use]
    pub fn heard_by(mut self, listener: impl FnMut(&str) + Send + 'a) -> Self {
        self.listener = Some(Box::new(listener));
        self
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
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.written += piece.len() as u64;
            let room = HEADING.saturating_sub(self.line.len());
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                if let Some(phase) = heading(&self.line) {
                    self.enter(&phase, self.line_at);
                }
                self.line.clear();
                self.line_at = self.written;
            }
        }
    }

    /// Begins a phase of which the output itself says nothing.
    pub fn begin(&mut self, phase: &str) {
        self.enter(phase, self.written);
    }

    /// Ends the phase that runs.
    pub fn pause(&mut self) {
        if let Some(phase) = self.phases.last_mut() {
            phase.ended.get_or_insert_with(Instant::now);
        }
    }

    fn enter(&mut self, name: &str, at: u64) {
        let runs = |phase: &&Phase| phase.name == name && phase.ended.is_none();
        if self.phases.last().as_ref().is_some_and(runs) {
            return;
        }
        self.pause();
        if let Some(listener) = &mut self.listener {
            listener(name);
        }
        self.phases.push(Phase {
            name: name.to_owned(),
            began: Instant::now(),
            ended: None,
            at,
        });
    }

    /// The phases so far, in order.
    pub fn phases(&self) -> Vec<PhaseRecord> {
        let time = |phase: &Phase| match phase.ended {
            Some(ended) => ended - phase.began,
            None => phase.began.elapsed(),
        };
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let record = |phase: &Phase| PhaseRecord {
            phase: phase.name.clone(),
            milliseconds: milliseconds(time(phase)),
        };
        self.phases.iter().map(record).collect()
    }

    /// Notes what the build used.
    pub(super) fn note(&mut self, used: Resources) {
        self.used = Some(used);
    }

    /// What the build used, once it has ended.
    pub fn used(&self) -> Option<Resources> {
        self.used
    }

    /// Ends the log; an error that came up while writing is reported here.
    pub fn finish(mut self) -> io::Result<()> {
        match self.failed_write.take() {
            Some(error) => Err(error),
            None => self.file.flush(),
        }
    }

    /// Why the phase that ran last, whose command ended with `exit`, failed: read from what was written.
    pub fn verdict(&self, exit: &Exit) -> io::Result<Verdict> {
        let (phase, at) = self
            .phases
            .last()
            .map_or(("", 0), |phase| (phase.name.as_str(), phase.at));
        let mut text = fs_err::File::open(&self.path)?;
        text.seek(SeekFrom::Start(at))?;
        diagnosis::diagnose(phase, exit, &mut io::BufReader::new(text))
    }
}

/// The phase that begins with this line.
fn heading(line: &[u8]) -> Option<String> {
    if line.starts_with(b"Processing files: ") {
        return Some("packaging".to_owned());
    }
    let rest = line.strip_prefix(b"Executing(")?;
    let (name, rest) = rest.split_at(rest.iter().position(|&byte| byte == b')')?);
    if !rest.starts_with(b"): ") {
        return None;
    }
    match std::str::from_utf8(name).ok()? {
        "%clean" | "--clean" | "rmbuild" | "%rmbuild" => Some("cleaning".to_owned()),
        "%mkbuilddir" => Some("%prep".to_owned()),
        "%generate_buildrequires" => Some("BuildRequires".to_owned()),
        name => name.starts_with('%').then(|| name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(log: &Log<'_>) -> Vec<String> {
        let phases = log.phases().into_iter();
        phases.map(|phase| phase.phase).collect()
    }

    #[test]
    fn phases_are_seen_however_the_output_is_cut() {
        let text = "Executing(%mkbuilddir): /bin/sh -e x\nExecuting(%prep): /bin/sh -e x\n+ echo 'Executing(%check)'\n\
            Executing(%build): /bin/sh -e y\nExecuting(%x\nExecuting(%install): /bin/sh\n\
            Processing files: a-1-1.noarch\nProcessing files: a-doc-1-1.noarch\nExecuting(rmbuild): /bin/sh -e z\n";
        let folder = tempfile::tempdir().unwrap();
        for size in [1, 7, text.len()] {
            let mut heard = Vec::new();
            let mut log = Log::create(&folder.path().join("log"))
                .unwrap()
                .heard_by(|phase| heard.push(phase.to_owned()));
            log.begin("prepare");
            log.begin("rpmbuild");
            for piece in text.as_bytes().chunks(size) {
                log.write(piece);
            }
            let expected = [
                "prepare",
                "rpmbuild",
                "%prep",
                "%build",
                "%install",
                "packaging",
                "cleaning",
            ];
            assert_eq!(names(&log), expected, "{size}");
            log.finish().unwrap();
            assert_eq!(heard, expected, "{size}");
        }
    }

    #[test]
    fn a_verdict_is_about_the_last_phase_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::create(&folder.path().join("log")).unwrap();
        log.begin("rpmbuild");
        log.write(b"Executing(%build): /bin/sh\nx.c:1:2: error: of no consequence\nExecuting(%check): /bin/sh\nFAIL: t/one\n");
        let verdict = log.verdict(&Exit::Code(1)).unwrap();
        assert_eq!(verdict.phase.as_deref(), Some("%check"));
        assert_eq!(verdict.reason, "%check failed: test `t/one` failed");
    }
}
