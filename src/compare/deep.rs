//! The deep view: diffoscope's report on two files, where diffoscope is installed. Never needed.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::CompareError;
use super::package::fill;

/// Most of a report that is kept.
const LONGEST: usize = 1 << 20;

/// What became of the deep view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeepView {
    /// diffoscope's report, as text.
    Report(String),
    /// diffoscope found no difference.
    Same,
    /// It is not installed.
    NotInstalled,
}

/// Runs diffoscope on two files, for at most `time`. Its report is cut at 1 MiB.
#[expect(
    clippy::disallowed_methods,
    reason = "diffoscope is a program of its own, run on the user's request"
)]
pub fn deep_view(first: &Path, second: &Path, time: Duration) -> Result<DeepView, CompareError> {
    let mut command = Command::new("diffoscope");
    command
        .args([
            "--no-progress",
            "--text",
            "-",
            "--text-color",
            "never",
            "--timeout",
        ])
        .arg(time.as_secs().to_string());
    command
        .arg("--")
        .args([first, second])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(DeepView::NotInstalled);
        }
        Err(error) => return Err(CompareError::read(first)(error)),
    };
    let mut report = vec![0; LONGEST];
    let mut length = 0;
    if let Some(mut output) = child.stdout.take() {
        length = fill(&mut output, &mut report).map_err(CompareError::read(first))?;
        // The rest is read and let go, so that it can end.
        std::io::copy(&mut output.by_ref(), &mut std::io::sink())
            .map_err(CompareError::read(first))?;
    }
    let status = child.wait().map_err(CompareError::read(first))?;
    report.truncate(length);
    if status.success() {
        return Ok(DeepView::Same);
    }
    Ok(DeepView::Report(crate::words::clean(
        &String::from_utf8_lossy(&report),
        true,
    )))
}
