//! `pristine export`: the lock's environment in a format of neighbours.

use std::collections::BTreeMap;
use std::path::Path;

use crate::cli::ExportArgs;
use crate::commands::context::Context;
use crate::documents::{Lock, Name, Project};
use crate::error::{Failure, Kind};
use crate::files;
use crate::statement::export::{Sources, export};

pub(super) fn run(context: &Context<'_>, args: &ExportArgs) -> Result<u8, Failure> {
    let project = Project::load(&context.folder)?;
    let lock = match &args.lock {
        Some(path) => Lock::load_file(path)?,
        None => Lock::load(&project.directory)?,
    };
    let store = context.store(&project)?;
    let base_urls: BTreeMap<Name, String> = args.base_url.iter().cloned().collect();
    known(&lock, &base_urls)?;
    let sources = Sources {
        base_urls: &base_urls,
        blob: &|digest| store.blob(digest),
    };
    let text = export(args.format, &lock, &sources)?;
    match &args.output {
        Some(path) if path != Path::new("-") => {
            let failed = |error| Failure::new(Kind::CannotRun, error);
            files::write_atomic(path, text.as_bytes()).map_err(failed)?;
            context.ui.result(&path.display().to_string());
        }
        _ => context.ui.result(text.trim_end()),
    }
    Ok(0)
}

/// Repositories that the lock has not are a slip of the pen.
fn known(lock: &Lock, base_urls: &BTreeMap<Name, String>) -> Result<(), Failure> {
    let unknown = base_urls
        .keys()
        .find(|name| lock.repository(name).is_none());
    let Some(name) = unknown else {
        return Ok(());
    };
    let names = lock.repositories.iter();
    let names: Vec<&str> = names.map(|repository| repository.name.as_str()).collect();
    let failure = Failure::new(Kind::Input, format!("the lock has no repository `{name}`"));
    Err(failure.hint(format!("its repositories: {}", names.join(", "))))
}
