//! `pristine clean`: what interrupted runs left, and runs beyond the number to keep.

use crate::commands::context::Context;
use crate::documents::config::Project;
use crate::error::{Failure, Kind};

pub(super) fn run(context: &Context<'_>) -> Result<u8, Failure> {
    let project = Project::load(&context.folder)?;
    let workshop = context.workshop(&project)?;
    let mut removed = workshop.swept;
    removed.extend(old_runs(
        &workshop.store.runs_folder(),
        project.build.keep_runs.get() as usize,
    )?);
    for line in &removed {
        context.ui.result(&format!("removed {line}"));
    }
    context
        .ui
        .note(&format!("{} removed, nothing else to clean", removed.len()));
    Ok(0)
}

/// Removes all runs but the newest `keep`; their names sort by time.
fn old_runs(folder: &std::path::Path, keep: usize) -> Result<Vec<String>, Failure> {
    let failed = |error| Failure::new(Kind::CannotRun, error);
    let mut runs = Vec::new();
    for entry in fs_err::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            runs.push(path);
        }
    }
    runs.sort();
    runs.truncate(runs.len().saturating_sub(keep));
    for run in &runs {
        fs_err::remove_dir_all(run).map_err(failed)?;
    }
    Ok(runs.iter().map(|run| run.display().to_string()).collect())
}
