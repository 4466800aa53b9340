//! `pristine lock` and `pristine update`: everything exact, written into `pristine.lock`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::commands::context::{Context, Documents, Workshop, processors};
use crate::commands::solving::Solving;
use crate::documents::lock::{Change, ChangeKind, Lock, LockedPackage, Part};
use crate::environment::specs;
use crate::error::Failure;
use crate::resolve::{Supply, packages, repositories, request, sources};
use crate::rpm::Nevra;
use crate::{environment, ui};

/// Which locked packages may move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Moves {
    /// None that need not: what is locked stays, as far as the requests allow.
    Nothing,
    /// All.
    Everything,
    /// These names.
    Named(BTreeSet<String>),
}

impl Moves {
    /// As `update` says it: no names means all.
    pub(super) fn from_names(names: &[String]) -> Self {
        if names.is_empty() { Self::Everything } else { Self::Named(names.iter().cloned().collect()) }
    }

    /// The packages of an older lock that stay.
    fn kept(&self, old: Option<&Lock>) -> Vec<Nevra> {
        let stays = |name: &str| match self {
            Self::Nothing => true,
            Self::Everything => false,
            Self::Named(names) => !names.contains(name),
        };
        let locked = old.into_iter().flat_map(Lock::rpms);
        locked.map(|rpm| rpm.nevra.clone()).filter(|nevra| stays(&nevra.name)).collect()
    }
}

pub(super) fn run(context: &Context<'_>, moves: &Moves) -> Result<u8, Failure> {
    let documents = context.documents()?;
    let workshop = context.workshop(&documents.project)?;
    let old = old_lock(&documents)?;
    let new = make(context, &documents, &workshop, moves, old.as_ref())?;
    new.save(&documents.project.directory)?;
    print_changes(context, old.as_ref(), &new);
    Ok(0)
}
