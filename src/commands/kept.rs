//! Finding what was kept: runs, and locks.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::commands::context::Context;
use crate::documents::lock::FILE;
use crate::documents::{Lock, Project};
use crate::error::{Failure, Kind};
use crate::record::runs::{self, RunsError};
use crate::record::{FILE_NAME, Record};
use crate::report::Side;
use crate::words::clean;

/// The store's folder of runs.
pub(super) fn folder(context: &Context<'_>) -> Result<PathBuf, Failure> {
    let project = Project::load(&context.folder)?;
    Ok(context.store(&project)?.runs_folder())
}

/// A run by its folder (of an artifact that was downloaded, say), its name or the beginning of it, or `latest`.
pub(super) fn run(context: &Context<'_>, wanted: &str) -> Result<(PathBuf, Record), Failure> {
    let path = Path::new(wanted);
    if path.join(FILE_NAME).is_file() {
        return Ok((path.to_owned(), Record::load(path)?));
    }
    Ok(runs::find(&folder(context)?, wanted)?.recorded()?)
}

/// A run, or a lock: a file, a folder with one, or a git revision of the project's.
pub(super) fn side(context: &Context<'_>, wanted: &str) -> Result<Side, Failure> {
    let path = Path::new(wanted);
    if path.is_file() {
        return Ok(Side::of_lock(wanted.to_owned(), Lock::load_file(path)?));
    }
    if !path.join(FILE_NAME).is_file() && path.join(FILE).is_file() {
        return Ok(Side::of_lock(wanted.to_owned(), Lock::load(path)?));
    }
    let unknown = match run(context, wanted) {
        Ok((folder, record)) => return Ok(Side::of_run(&folder, record)),
        Err(failure) if !is_unknown(&failure) => return Err(failure),
        Err(failure) => failure,
    };
    match revision(&context.folder, wanted) {
        Ok(text) => Ok(Side::of_lock(wanted.to_owned(), Lock::parse(&text)?)),
        Err(why) => Err(Failure::new(
            Kind::Input,
            format!("`{wanted}` is no file, no run and no git revision with a {FILE}: {why}"),
        )
        .hint(unknown.hints.join(", "))
        .hint("git revisions are those of the project's folder, such as HEAD~1")),
    }
}

fn is_unknown(failure: &Failure) -> bool {
    matches!(
        failure.error.downcast_ref::<RunsError>(),
        Some(RunsError::None { .. })
    )
}

/// The project's lock as it was in that revision.
fn revision(folder: &Path, revision: &str) -> Result<String, String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "git is asked once, and prints little"
    )]
    let asked = std::process::Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["show", "--end-of-options"])
        .arg(format!("{revision}:./{FILE}"))
        .stdin(Stdio::null())
        .output();
    match asked {
        Err(error) => Err(format!("git cannot be run: {error}")),
        Ok(output) if output.status.success() => {
            String::from_utf8(output.stdout).map_err(|error| error.to_string())
        }
        Ok(output) => {
            let said = clean(&String::from_utf8_lossy(&output.stderr), true);
            Err(said.lines().next().unwrap_or_default().to_owned())
        }
    }
}
