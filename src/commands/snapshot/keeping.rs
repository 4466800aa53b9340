//! What is asked of kept snapshots: what they are, their names, whether they are whole, their end.

use comfy_table::{Table, presets};

use super::choose::by_name;
use crate::commands::context::{Context, Workshop};
use crate::commands::{gc, origin, store};
use crate::digest::Digest;
use crate::documents::Lock;
use crate::environment::snapshot::{LOCK_LABEL, PROJECT_LABEL};
use crate::error::{Failure, Kind};
use crate::oci::{Image, Layout, Origin, is_tag};
use crate::record::runs;
use crate::store::Store;
use crate::ui;

/// Everything that can be said about a snapshot.
pub(super) fn show(
    context: &Context<'_>,
    (store, layout): (&Store, &Layout),
    image: &Image,
) -> Result<(), Failure> {
    let manifest = &image.reference.manifest;
    let mut lines = vec![("snapshot", manifest.to_string())];
    let label = |key: &str| image.config.labels.get(key).cloned();
    lines.extend(label(PROJECT_LABEL).map(|project| ("project", project)));
    lines.extend(
        tags_of(layout, manifest)?
            .into_iter()
            .map(|tag| ("tag", tag)),
    );
    lines.extend(
        runs_of(store, manifest)?
            .into_iter()
            .map(|run| ("run", run)),
    );
    lines.extend(label(LOCK_LABEL).map(|lock| ("lock", lock)));
    let origin = layout.origin(manifest)?;
    lines.extend(origin.iter().flat_map(of_origin));
    let layers = image.reference.layers.iter();
    lines.extend(layers.map(|layer| {
        (
            "layer",
            format!("{}, {}", layer.diff_id, ui::size(layer.size)),
        )
    }));
    for (name, value) in lines {
        context.ui.result(&format!("{name:<9} {value}"));
    }
    let lock = layout
        .lock_of(manifest)?
        .and_then(|text| Lock::parse(&text).ok());
    match (origin, lock) {
        (Some(origin), Some(lock)) if origin.brought.is_none() => {
            context.ui.result("to make it again from nothing:");
            for command in origin::commands(&origin, manifest, &lock.digest()) {
                context.ui.result(&format!("  {command}"));
            }
            if origin.changed {
                context
                    .ui
                    .result("  the changes that were in no commit are needed too");
            }
        }
        _ => context.ui.note("how it was made is not known here"),
    }
    Ok(())
}

/// What is noted of how a snapshot was made.
fn of_origin(origin: &Origin) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    for (name, document) in [("template", &origin.template), ("recipe", &origin.recipe)] {
        if let Some((document, digest)) = document {
            lines.push((name, format!("{document}, {digest}")));
        }
    }
    if let Some(commit) = &origin.commit {
        let changed = if origin.changed {
            ", and changes that are in no commit"
        } else {
            ""
        };
        lines.push(("commit", format!("{commit}{changed}")));
    }
    let by = format!("{} by {}", origin.made, origin.tool);
    lines.push(match &origin.brought {
        Some(place) => ("brought", format!("from {place}, {by}")),
        None => ("made", by),
    });
    lines
}

/// The snapshots in the store.
pub(super) fn list(context: &Context<'_>, store: &Store, layout: &Layout) -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["snapshot", "project", "lock", "layers", "size", "kept as"]);
    for image in layout.all()? {
        let manifest = &image.reference.manifest;
        let label = |key: &str| image.config.labels.get(key).cloned().unwrap_or_default();
        let lock: String = label(LOCK_LABEL)
            .trim_start_matches("sha256:")
            .chars()
            .take(12)
            .collect();
        let layers = &image.reference.layers;
        let mut names = tags_of(layout, manifest)?;
        names.extend(runs_of(store, manifest)?.pop());
        table.add_row([
            manifest.short(),
            label(PROJECT_LABEL),
            lock,
            layers.len().to_string(),
            ui::size(layers.iter().map(|layer| layer.size).sum()),
            names.join(", "),
        ]);
    }
    context.ui.result(&table.trim_fmt());
    Ok(())
}

fn tags_of(layout: &Layout, manifest: &Digest) -> Result<Vec<String>, Failure> {
    let tags = layout.tags()?.into_iter();
    Ok(tags
        .filter(|(_, tagged)| tagged == manifest)
        .map(|(name, _)| name)
        .collect())
}

/// The kept runs that were built in a snapshot, oldest first.
fn runs_of(store: &Store, manifest: &Digest) -> Result<Vec<String>, Failure> {
    let all = runs::list(&store.runs_folder())?.into_iter();
    let of_it = |run: &runs::Run| {
        run.record
            .as_ref()
            .is_some_and(|record| record.snapshot == *manifest)
    };
    Ok(all.filter(of_it).map(|run| run.name).collect())
}

/// Says which tags there are.
pub(super) fn tags(context: &Context<'_>, layout: &Layout) -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["tag", "snapshot"]);
    for (name, manifest) in layout.tags()? {
        table.add_row([name, manifest.short()]);
    }
    context.ui.result(&table.trim_fmt());
    Ok(())
}

/// Gives a snapshot a name.
pub(super) fn tag(layout: &Layout, name: &str, manifest: &Digest) -> Result<(), Failure> {
    if !is_tag(name) {
        let text = format!("`{}` cannot be a tag", name.escape_debug());
        let hint = "a tag has letters, digits and `._-/:@+`, and is not of hexadecimal digits alone, as digests are";
        return Err(Failure::new(Kind::Input, text).hint(hint));
    }
    Ok(layout.tag(name, manifest)?)
}

/// Takes a name away.
pub(super) fn untag(context: &Context<'_>, layout: &Layout, name: &str) -> Result<(), Failure> {
    if layout.untag(name)? {
        context.ui.note(&format!("the tag {name} is gone; its snapshot goes with the next `pristine gc`, unless something else keeps it"));
        return Ok(());
    }
    Err(
        Failure::new(Kind::Input, format!("there is no tag `{name}`"))
            .hint("see which there are: pristine snapshot tag"),
    )
}

/// Hashes the layers of a snapshot, and the trees that they were unpacked to; with `quick`, where they look different.
pub(super) fn verify(
    context: &Context<'_>,
    workshop: &Workshop,
    image: &Image,
    quick: bool,
) -> Result<(), Failure> {
    let damages = store::snapshot(context, workshop, image, quick)?;
    for damage in &damages {
        context.ui.result(damage);
    }
    if !damages.is_empty() {
        let text = format!(
            "the snapshot {} is damaged",
            image.reference.manifest.short()
        );
        return Err(Failure::new(Kind::CannotRun, text).hint(
            "remove what is damaged, so that it is made again: pristine store verify --repair",
        ));
    }
    let manifest = &image.reference.manifest;
    context.ui.result(&format!("{manifest} is whole"));
    Ok(())
}

/// Removes a snapshot with its tags, and what only it wanted.
pub(super) fn remove(
    context: &Context<'_>,
    workshop: &Workshop,
    named: &str,
) -> Result<(), Failure> {
    let manifest = by_name(&workshop.store, &workshop.layout, named)?;
    let runs = runs_of(&workshop.store, &manifest)?;
    let freed = gc::remove_image(context, workshop, &manifest)?;
    context
        .ui
        .result(&format!("removed {manifest}, {} freed", ui::size(freed)));
    if let Some(run) = runs.last() {
        context
            .ui
            .note(&format!("the run {run} keeps its packages and its record"));
    }
    Ok(())
}
