//! What is built: the user's own tree as it is, or a clean checkout of a commit; and what the record says of it.

use std::path::{Component, Path};

use crate::cli::BuildArgs;
use crate::commands::context::{Context, Documents, Workshop};
use crate::error::{Failure, Kind};
use crate::events::{Event, Sink as _};
use crate::git::{self, Origin};
use crate::record::SourceRecord;
use crate::store::ScratchFolder;
use crate::store::Store;

/// The store where no other is named: a checkout is thrown away, and what it has inside with it.
const STORE: &str = "cache";
/// Mirrors of repositories, in the store.
const MIRRORS: &str = "git";

/// A checkout in the store, removed when dropped.
#[derive(Debug)]
pub(super) struct Checkout {
    _folder: ScratchFolder,
    record: SourceRecord,
}

/// Checks out what `--checkout` names, and makes the project in it the one to build.
pub(super) fn checkout(
    context: &mut Context<'_>,
    args: &BuildArgs,
) -> Result<Option<Checkout>, Failure> {
    let Some(wanted) = &args.checkout else {
        return Ok(None);
    };
    let inside = context.folder.clone();
    let leaves = |part: Component<'_>| !matches!(part, Component::Normal(_) | Component::CurDir);
    if inside.components().any(leaves) {
        let text = format!("`{}` is no folder in a checkout", inside.display());
        return Err(Failure::new(Kind::Input, text)
            .hint("with --checkout, -C names the project's folder in the repository"));
    }
    let path = context.store_option.clone().unwrap_or_else(|| STORE.into());
    let store = Store::open(&path)?;
    let folder = store.scratch_folder()?;
    let origin = Origin::parse(wanted, Path::new("."));
    let commit = context.step(
        "checking out",
        || {
            git::checkout(
                &origin,
                &store.root().join(MIRRORS),
                folder.path(),
                context.offline,
            )
        },
        String::clone,
    )?;
    context.folder = folder.path().join(inside).components().collect();
    context.store_option = Some(path);
    Ok(Some(Checkout {
        _folder: folder,
        record: SourceRecord {
            commit,
            checkout: Some(format!("{}#{}", origin.repository, origin.reference)),
            changes: None,
        },
    }))
}

/// What the record says of the source.
pub(super) fn record(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &Workshop,
    checkout: Option<&Checkout>,
) -> Option<SourceRecord> {
    if let Some(checkout) = checkout {
        return Some(checkout.record.clone());
    }
    let folder = match documents.project.directory.as_os_str() {
        empty if empty.is_empty() => Path::new("."),
        _ => &documents.project.directory,
    };
    let state = fs_err::canonicalize(folder)
        .map_err(git::GitError::Run)
        .and_then(|folder| git::state(&folder, workshop.store.root()));
    match state {
        Ok(state) => state.map(|state| SourceRecord {
            commit: state.commit,
            checkout: None,
            changes: state.changes,
        }),
        Err(error) => {
            context.ui.emit(Event::Warning {
                text: format!("the record will not say which commit this is: {error}"),
            });
            None
        }
    }
}
