//! The deep view: diffoscope's page about two files, where diffoscope is installed. Never needed.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::CompareError;
use crate::cancel::Cancel;
use crate::words::clean;

const PROGRAM: &str = "diffoscope";
/// Most bytes of a page.
const LARGEST: u64 = 8 << 20;
/// What it says goes here, in the folder for what it unpacks.
const SAID: &str = "said";

/// diffoscope as it is installed here.
#[derive(Debug, Clone)]
pub struct Diffoscope {
    version: String,
}

/// What became of a deep view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeepView {
    /// Its page is written.
    Page,
    /// There is none, and why.
    Nothing(String),
}

impl Diffoscope {
    /// The one that is found in `PATH`; none where there is none, or where it does not start.
    pub fn find() -> Option<Self> {
        let asked = program().arg("--version").output().ok()?;
        let version = String::from_utf8_lossy(&asked.stdout);
        let version = clean(version.trim(), false);
        asked.status.success().then_some(Self { version })
    }

    /// Its name and version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Writes its page about two files to `page`, in at most `time`. What it unpacks lies in `temporary`, an empty folder.
    pub fn look(
        &self,
        (first, second): (&Path, &Path),
        page: &Path,
        (temporary, time): (&Path, Duration),
        cancel: &Cancel,
    ) -> Result<DeepView, CompareError> {
        let wrong = CompareError::read(page);
        let said = temporary.join(SAID);
        let mut child = program()
            .args(["--no-progress", "--timeout"])
            .arg(time.as_secs().to_string())
            .args(["--max-report-size", "--max-page-size"].map(|name| format!("{name}={LARGEST}")))
            .arg("--html")
            .arg(page)
            .arg("--")
            .args([first, second])
            .env("TMPDIR", temporary)
            .stdout(Stdio::null())
            .stderr(fs_err::File::create(&said).map_err(&wrong)?.into_file())
            .spawn()
            .map_err(&wrong)?;
        let ended = wait(&mut child, time, cancel);
        // What it called and left behind goes with it.
        let group = Pid::from_child(&child);
        let _gone = kill_process_group(group, Signal::KILL);
        let status = child.wait().map_err(&wrong)?;
        if !ended.map_err(&wrong)? {
            remove(page).map_err(&wrong)?;
            let text = format!("diffoscope had not ended after {} s", time.as_secs());
            return Ok(DeepView::Nothing(text));
        }
        if page.exists() && !empty(page).map_err(&wrong)? {
            return Ok(DeepView::Page);
        }
        remove(page).map_err(&wrong)?;
        let text = fs_err::read(&said).map_err(&wrong)?;
        Ok(DeepView::Nothing(complaint(status, &text)))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a program of the host, run on the user's request"
)]
fn program() -> Command {
    let mut command = Command::new(PROGRAM);
    command.stdin(Stdio::null()).process_group(0);
    command
}

/// Waits for its end: whether that came in time, and before Ctrl-C.
fn wait(child: &mut Child, time: Duration, cancel: &Cancel) -> io::Result<bool> {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let end = Instant::now() + time;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = left.try_into().map_err(io::Error::other)?;
        let mut polled = [
            PollFd::new(&process, PollFlags::IN),
            PollFd::from_borrowed_fd(cancel.as_fd(), PollFlags::IN),
        ];
        match poll(&mut polled, Some(&left)) {
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(_) => return Ok(!polled[0].revents().is_empty()),
        }
    }
}

fn empty(page: &Path) -> io::Result<bool> {
    Ok(fs_err::metadata(page)?.len() == 0)
}

fn remove(page: &Path) -> io::Result<()> {
    match fs_err::remove_file(page) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Why there is no page, in its own words as far as it has any.
fn complaint(status: ExitStatus, said: &[u8]) -> String {
    if status.success() {
        return "diffoscope finds no difference".to_owned();
    }
    let said = String::from_utf8_lossy(said);
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    match last {
        Some(last) => format!("diffoscope: {}", clean(last.trim(), false)),
        None => format!("diffoscope ended with {status}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn why_there_is_no_page_is_told() {
        let code = |code: i32| ExitStatus::from_raw(code << 8);
        assert_eq!(complaint(code(0), b""), "diffoscope finds no difference");
        assert_eq!(
            complaint(code(2), b"Traceback\n  x\nValueError: no \x1b[31m\n\n"),
            format!("diffoscope: {}", clean("ValueError: no \u{1b}[31m", false))
        );
        assert_eq!(
            complaint(ExitStatus::from_raw(9), b"\n"),
            "diffoscope ended with signal: 9 (SIGKILL)"
        );
    }
}
