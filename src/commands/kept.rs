//! Finding what was kept: runs, and locks.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::commands::context::Context;
use crate::documents::lock::FILE;
use crate::documents::{Lock, Project};
use crate::error::{Failure, Kind};
use crate::record::Record;
use crate::record::runs::{self, RunsError};
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
    if let Some(record) = Record::find(path)? {
        return Ok((path.to_owned(), record));
    }
    Ok(runs::find(&folder(context)?, wanted)?.recorded()?)
}

/// The command that opens what a failed build left, for whoever stands where this one was given; the package's name
/// is to follow.
pub(super) fn enter_failed(context: &Context<'_>) -> String {
    let mut words = vec!["pristine".to_owned()];
    if context.folder != Path::new(".") {
        words.extend([
            "-C".to_owned(),
            quoted(&context.folder.display().to_string()),
        ]);
    }
    if let Some(store) = &context.store_option {
        let store = store.display().to_string();
        words.extend(["--store".to_owned(), quoted(&store)]);
    }
    if let Some(backend) = context.backend_option {
        words.extend(["--backend".to_owned(), backend.name().to_owned()]);
    }
    words.extend(["enter".to_owned(), "--failed".to_owned()]);
    words.join(" ")
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+=:@%,".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A run, or a lock: a file, a folder with one, or a git revision of the project's.
pub(super) fn side(context: &Context<'_>, wanted: &str) -> Result<Side, Failure> {
    let path = Path::new(wanted);
    if path.is_file() {
        return Ok(Side::of_lock(wanted.to_owned(), Lock::load_file(path)?));
    }
    if Record::find(path)?.is_none() && path.join(FILE).is_file() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell() {
        for (word, expected) in [
            ("/srv/pristine-1", "/srv/pristine-1"),
            ("my project", "'my project'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
