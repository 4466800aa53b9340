//! Which snapshot is meant: by digest, tag, run or date, lock file, or the project's own.

use std::path::Path;

use crate::commands::context::Context;
use crate::commands::lock;
use crate::digest::Digest;
use crate::documents::Lock;
use crate::environment::snapshot;
use crate::error::{Failure, Kind};
use crate::oci::{Image, Layout};
use crate::record::runs::{self, RunsError};
use crate::store::Store;

/// The snapshot that the user names, or the one of the project's lock; its layers are verified where it is named.
pub(in crate::commands) fn chosen(
    context: &Context<'_>,
    (store, layout): (&Store, &Layout),
    named: Option<&str>,
) -> Result<Image, Failure> {
    match named {
        Some(named) => Ok(layout.image(&by_name(store, layout, named)?)?),
        None => of_project(context, layout),
    }
}

/// The manifest of the snapshot of that tag, digest or beginning of it, run's name or date, or lock file.
pub(in crate::commands) fn by_name(
    store: &Store,
    layout: &Layout,
    named: &str,
) -> Result<Digest, Failure> {
    if let Some(manifest) = layout.tags()?.get(named) {
        return Ok(*manifest);
    }
    let path = Path::new(named);
    if path
        .extension()
        .is_some_and(|extension| extension == "lock")
        && path.is_file()
    {
        return by_lock(layout, path);
    }
    let beginning = named.trim_start_matches("sha256:");
    let images = layout.images()?;
    let fits = |digest: &&Digest| digest.hex().starts_with(beginning);
    let found: Vec<&Digest> = images.iter().filter(fits).collect();
    match found.as_slice() {
        [digest] => Ok(**digest),
        [] => by_run(store, &images, named),
        several => {
            let count = several.len();
            let text = format!("{count} snapshots begin with `{beginning}`: give more digits");
            Err(Failure::new(Kind::Input, text))
        }
    }
}

fn by_run(store: &Store, images: &[Digest], named: &str) -> Result<Digest, Failure> {
    let plain = named.replace('-', "");
    // A date may be written with dashes; of its runs the newest is meant.
    let wanted = if plain.len() == 8 && plain.bytes().all(|byte| byte.is_ascii_digit()) {
        let all = runs::list(&store.runs_folder())?;
        let mut of_day = all
            .into_iter()
            .filter(|run| run.name.starts_with(&plain) && run.record.is_some());
        of_day.next_back().map_or(plain, |run| run.name)
    } else {
        named.to_owned()
    };
    let run = match runs::find(&store.runs_folder(), &wanted) {
        Err(RunsError::None { .. }) => {
            let text =
                format!("there is no snapshot `{named}`: no tag, no digest and no run begins so");
            return Err(
                Failure::new(Kind::Input, text).hint("see what there is: pristine snapshot list")
            );
        }
        run => run?,
    };
    let (_, record) = run.recorded()?;
    if images.contains(&record.snapshot) {
        return Ok(record.snapshot);
    }
    let text = format!(
        "the snapshot of the run {} is not in the store any more",
        record.run
    );
    Err(Failure::new(Kind::Input, text).hint("see what there is: pristine snapshot list"))
}

fn by_lock(layout: &Layout, path: &Path) -> Result<Digest, Failure> {
    let text = fs_err::read_to_string(path).map_err(|error| Failure::new(Kind::Input, error))?;
    let lock = Lock::parse(&text)?;
    let found = snapshot::find(layout, &lock)?;
    found.map(|image| image.reference.manifest).ok_or_else(|| {
        let text = format!("there is no snapshot of the lock `{}`", path.display());
        Failure::new(Kind::Lock, text).hint("see what there is: pristine snapshot list")
    })
}

fn of_project(context: &Context<'_>, layout: &Layout) -> Result<Image, Failure> {
    let documents = context.documents()?;
    let found = match lock::old_lock(&documents)? {
        Some(lock) => snapshot::find(layout, &lock)?,
        None => None,
    };
    found.ok_or_else(|| {
        Failure::new(Kind::Lock, "there is no snapshot of the project's lock")
            .hint("make it: pristine build")
    })
}
