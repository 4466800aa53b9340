//! What differs between the packages of two environments.

use std::collections::BTreeMap;

use super::{RpmChange, Side};
use crate::documents::Lock;
use crate::documents::lock::{Change, ChangeKind, Part, compared, diff};
use crate::rpm::Nevra;

/// By the locks where both are there, else by the names of what is installed.
pub(super) fn changes(old: &Side, new: &Side) -> Vec<RpmChange> {
    let mut changes = match (&old.lock, &new.lock) {
        (Some(old), Some(new)) => diff(old, new).iter().map(rpm_change).collect(),
        _ => Vec::new(),
    };
    let base = |side: &Side| -> Option<Vec<Nevra>> {
        let base = side.lock.as_ref()?.base.as_ref()?;
        Some(base.installed.iter().map(|rpm| rpm.nevra.clone()).collect())
    };
    let installed = |side: &Side| -> Option<Vec<Nevra>> {
        match (&side.record, &side.lock) {
            (Some(record), _) => Some(record.installed.clone()),
            (None, lock) => lock.as_ref().map(Lock::installed),
        }
    };
    if old.lock.is_some() && new.lock.is_some() {
        changes.extend(names(
            &base(old).unwrap_or_default(),
            &base(new).unwrap_or_default(),
        ));
    } else if let (Some(old), Some(new)) = (installed(old), installed(new)) {
        changes.extend(names(&old, &new));
    }
    changes
}

fn rpm_change(change: &Change) -> RpmChange {
    let (word, from, to) = match &change.kind {
        ChangeKind::Added { to } => ("added", None, Some(to.evr())),
        ChangeKind::Removed { from } => ("removed", Some(from.evr()), None),
        ChangeKind::Upgraded { from, to } => ("up", Some(from.evr()), Some(to.evr())),
        ChangeKind::Downgraded { from, to } => ("down", Some(from.evr()), Some(to.evr())),
        ChangeKind::Replaced { from, to } => {
            ("replaced", Some(from.to_string()), Some(to.to_string()))
        }
    };
    RpmChange {
        change: word,
        name: change.name.clone(),
        from,
        to,
        tools: change.part == Part::Tools,
    }
}

/// Between two lists of packages, where no more is known than their names.
fn names(old: &[Nevra], new: &[Nevra]) -> Vec<RpmChange> {
    let mut pairs: BTreeMap<String, (Vec<Nevra>, Vec<Nevra>)> = BTreeMap::new();
    for nevra in old.iter().filter(|nevra| !new.contains(nevra)) {
        let pair = pairs.entry(nevra.name.clone()).or_default();
        pair.0.push(nevra.clone());
    }
    for nevra in new.iter().filter(|nevra| !old.contains(nevra)) {
        let pair = pairs.entry(nevra.name.clone()).or_default();
        pair.1.push(nevra.clone());
    }
    let mut changes = Vec::new();
    for (name, (from, to)) in pairs {
        let kinds = if let ([from], [to]) = (from.as_slice(), to.as_slice()) {
            vec![compared(from, to)]
        } else {
            let gone = from.into_iter().map(|from| ChangeKind::Removed { from });
            let come = to.into_iter().map(|to| ChangeKind::Added { to });
            gone.chain(come).collect()
        };
        changes.extend(kinds.into_iter().map(|kind| {
            rpm_change(&Change {
                name: name.clone(),
                part: Part::Environment,
                kind,
            })
        }));
    }
    changes
}
