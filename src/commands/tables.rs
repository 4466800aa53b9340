//! Tables for a terminal; what changed in a lock as one.

use comfy_table::{Table, presets};

use crate::digest::Digest;
use crate::documents::lock::{BaseOrigin, ChangeKind, Lock, Part, diff};

/// A table without lines that fits a pipe as well as a terminal.
pub(super) fn bare() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

/// The same with titles of the columns.
pub(super) fn plain<const N: usize>(titles: [&str; N]) -> Table {
    let mut table = bare();
    table.set_header(titles);
    table
}

/// Its text, from the left margin on.
pub(super) fn text(table: &mut Table) -> String {
    if let Some(column) = table.column_mut(0) {
        column.set_padding((0, 1));
    }
    table.trim_fmt()
}

/// The change from `old` (none: everything is new) to `new`.
pub(super) fn changes(old: Option<&Lock>, new: &Lock) -> String {
    let Some(old) = old else {
        return format!(
            "locked {} packages for {} of the project's own",
            new.rpms().count(),
            new.packages.len()
        );
    };
    let base = base_change(old, new);
    let changes = diff(old, new);
    if changes.is_empty() {
        return format!("{base}no package changed");
    }
    let mut table = bare();
    let (mut added, mut removed, mut up, mut down, mut replaced) = (0, 0, 0, 0, 0);
    for change in &changes {
        let (what, from, to) = match &change.kind {
            ChangeKind::Added { to } => (count(&mut added, "added"), String::new(), to.evr()),
            ChangeKind::Removed { from } => {
                (count(&mut removed, "removed"), from.evr(), String::new())
            }
            ChangeKind::Upgraded { from, to } => (count(&mut up, "up"), from.evr(), to.evr()),
            ChangeKind::Downgraded { from, to } => (count(&mut down, "down"), from.evr(), to.evr()),
            ChangeKind::Replaced { from, to } => (
                count(&mut replaced, "replaced"),
                from.to_string(),
                to.to_string(),
            ),
        };
        let part = match change.part {
            Part::Environment => "",
            Part::Tools => "(tools)",
        };
        table.add_row([what, &change.name, &from, &to, part]);
    }
    format!(
        "{base}{}\n{added} added, {removed} removed, {up} up, {down} down, {replaced} replaced",
        table.trim_fmt()
    )
}

/// A line on another base than before.
fn base_change(old: &Lock, new: &Lock) -> String {
    let digest = |lock: &Lock| {
        let base = lock.base.as_ref()?;
        Some(match &base.origin {
            BaseOrigin::Image { manifest, .. } => *manifest,
            BaseOrigin::Rootfs { sha256, .. } => *sha256,
        })
    };
    let name = |digest: Option<Digest>| digest.map_or("none".to_owned(), |digest| digest.short());
    match (digest(old), digest(new)) {
        (was, now) if was == now => String::new(),
        (was, now) => format!("base: {} -> {}\n", name(was), name(now)),
    }
}

fn count(counter: &mut usize, word: &'static str) -> &'static str {
    *counter += 1;
    word
}
