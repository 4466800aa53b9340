//! `pristine snapshot`: list, show, tag, verify, remove, export, load, push, pull, import.

use crate::cli::SnapshotVerb;
use crate::commands::context::Context;
use crate::documents::Project;
use crate::error::Failure;
use crate::oci::Layout;

mod carrying;
pub(super) mod choose;
mod keeping;

use choose::chosen;

/// The verb.
pub(super) fn run(context: &Context<'_>, verb: &SnapshotVerb) -> Result<u8, Failure> {
    let project = Project::load(&context.folder)?;
    let store = context.store(&project)?;
    store.remember_project(&project.directory, project.name.as_str())?;
    let layout = Layout::of(&store)?;
    let here = (&store, &layout);
    match verb {
        SnapshotVerb::List => keeping::list(context, &store, &layout)?,
        SnapshotVerb::Show { snapshot } => {
            let manifest = match snapshot {
                Some(named) => choose::by_name(&store, &layout, named)?,
                None => chosen(context, here, None)?.reference.manifest,
            };
            keeping::show(context, here, &layout.describe(&manifest)?)?;
        }
        SnapshotVerb::Tag { name: None, .. } => keeping::tags(context, &layout)?,
        SnapshotVerb::Tag {
            name: Some(name),
            remove: true,
            ..
        } => keeping::untag(context, &layout, name)?,
        SnapshotVerb::Tag {
            name: Some(name),
            snapshot,
            ..
        } => {
            let image = chosen(context, here, snapshot.as_deref())?;
            keeping::tag(&layout, name, &image.reference.manifest)?;
            context
                .ui
                .result(&format!("{name} {}", image.reference.manifest.short()));
        }
        SnapshotVerb::Verify { snapshot, quick } => {
            let image = chosen(context, here, snapshot.as_deref())?;
            keeping::verify(context, &context.workshop(&project)?, &image, *quick)?;
        }
        SnapshotVerb::Remove { snapshot } => {
            keeping::remove(context, &context.workshop(&project)?, snapshot)?;
        }
        elsewhere => carrying::run(context, &project, here, elsewhere)?,
    }
    Ok(0)
}
