//! `pristine clean`: what interrupted runs left, and runs beyond the number to keep.

use crate::commands::context::{Context, Workshop};
use crate::documents::Lock;
use crate::documents::config::Project;
use crate::documents::lock::FILE;
use crate::error::{Failure, Kind};
use crate::report;

pub(super) fn run(context: &Context<'_>) -> Result<u8, Failure> {
    let project = Project::load(&context.folder)?;
    let workshop = context.workshop(&project)?;
    let mut removed = workshop.swept.clone();
    removed.extend(old_runs(
        &workshop.store.runs_folder(),
        project.build.keep_runs.get() as usize,
    )?);
    report::index(&workshop.store.runs_folder())?;
    removed.extend(derived(&project, &workshop)?);
    for line in &removed {
        context.ui.result(&format!("removed {line}"));
    }
    context
        .ui
        .note(&format!("{} removed, nothing else to clean", removed.len()));
    Ok(0)
}

/// Removes what was computed from metadata that the lock does not name. What addresses gave last stays.
fn derived(project: &Project, workshop: &Workshop) -> Result<Vec<String>, Failure> {
    if !project.directory.join(FILE).exists() {
        return Ok(Vec::new());
    }
    let lock = Lock::load(&project.directory)?;
    let metadata = lock.repositories.iter().flat_map(|one| &one.metadata);
    let digests: Vec<String> = metadata.map(|one| one.digest.hex()).collect();
    let wanted = |name: &str| {
        name.starts_with("latest-") || digests.iter().any(|digest| name.contains(digest.as_str()))
    };
    let removed = workshop.store.sweep_derived(wanted)?;
    Ok(removed
        .iter()
        .map(|path| path.display().to_string())
        .collect())
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
