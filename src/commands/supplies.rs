//! What a build by hand needs beyond the snapshot: the project's own packages from the newest runs, and packages from
//! the lock's repositories, as the lock saw them.

use std::path::Path;

use crate::backend::RootId;
use crate::build::own::{self, OwnPackage};
use crate::commands::context::{Context, Documents, Workshop, processors};
use crate::documents::{Lock, Request};
use crate::environment::base;
use crate::error::{Failure, Kind};
use crate::record::runs;
use crate::resolve::ResolveError;
use crate::resolve::packages::{self, Verified};
use crate::resolve::solving::Offer;
use crate::rpm::{PackageFacts, read_package};
use crate::solve::Wanted;
use crate::store::ScratchFolder;

/// Who asks, and for what.
#[derive(Debug)]
pub(super) struct Needs<'a> {
    /// Name of what is built, for messages.
    pub(super) name: &'a str,
    /// BuildRequires that the snapshot may not meet.
    pub(super) build_requires: &'a [String],
    /// Packages that the user asks for.
    pub(super) with: &'a [Request],
}

/// Packages in a folder of this run alone, to be installed in a clone.
#[derive(Debug)]
pub(super) struct Supplies {
    folder: ScratchFolder,
    /// Names of the files.
    pub(super) names: Vec<String>,
}

impl Supplies {
    /// Where they lie.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn add(&mut self, from: &Path, name: String) -> Result<(), Failure> {
        let to = self.folder.path().join(&name);
        // A copy where the run's folder is on another file system.
        let linked = fs_err::hard_link(from, &to);
        linked
            .or_else(|_| fs_err::copy(from, &to).map(drop))
            .map_err(|error| Failure::new(Kind::CannotRun, error))?;
        self.names.push(name);
        Ok(())
    }
}

/// Finds everything, fetches what the store does not have, verifies it. `roots` are the snapshot's.
pub(super) fn gather(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &Workshop,
    (lock, roots): (&Lock, &[RootId]),
    needs: &Needs<'_>,
) -> Result<Supplies, Failure> {
    let mut supplies = Supplies {
        folder: workshop.store.scratch_folder()?,
        names: Vec::new(),
    };
    if needs.build_requires.is_empty() && needs.with.is_empty() {
        return Ok(supplies);
    }
    let mut installed = installed(context, workshop, lock, roots)?;
    let mut wanted: Vec<Wanted> = needs
        .with
        .iter()
        .map(|request| Wanted::package(request.to_string(), "--with"))
        .collect();
    let kept = runs::list(&workshop.store.runs_folder())?;
    let all = own::newest(&kept).map_err(ResolveError::from)?;
    let arch = lock.architecture.as_str();
    let (own, missing) = select((arch, &installed), &all, needs)?;
    for one in own {
        let name = format!("{}.rpm", one.facts.nevra);
        supplies.add(&one.path, name)?;
        installed.push(one.facts.clone());
    }
    let asked_by = format!("{} (BuildRequires)", needs.name);
    let missing = missing.into_iter();
    wanted.extend(missing.map(|requirement| Wanted::dependency(requirement, asked_by.clone())));
    for package in fetch(context, documents, workshop, lock, (installed, wanted))? {
        let name = format!("{}.rpm", package.ingredient.nevra);
        supplies.add(&package.ingredient.path, name)?;
    }
    Ok(supplies)
}

/// The own packages to install, and the BuildRequires that those and the snapshot do not meet.
fn select<'a>(
    ground: (&str, &[PackageFacts]),
    all: &'a [OwnPackage],
    needs: &Needs<'_>,
) -> Result<(Vec<&'a OwnPackage>, Vec<String>), Failure> {
    let asked_by = format!("{} (BuildRequires)", needs.name);
    let solve = |requirements: &[String]| {
        own::select(ground, all, requirements, &asked_by).map_err(ResolveError::from)
    };
    if let Ok(own) = solve(needs.build_requires)? {
        return Ok((own, Vec::new()));
    }
    let (mut met, mut missing) = (Vec::new(), Vec::new());
    for requirement in needs.build_requires {
        let one = std::slice::from_ref(requirement);
        match solve(one)? {
            Ok(_) => met.push(requirement.clone()),
            Err(_) => missing.push(requirement.clone()),
        }
    }
    match solve(&met)? {
        Ok(own) => Ok((own, missing)),
        Err(why) => Err(ResolveError::Unsolvable {
            what: "what it needs",
            why,
        }
        .into()),
    }
}

/// What the snapshot has: from the headers of the lock's packages, or as its own rpm says it.
fn installed(
    context: &Context<'_>,
    workshop: &Workshop,
    lock: &Lock,
    roots: &[RootId],
) -> Result<Vec<PackageFacts>, Failure> {
    let blobs: Option<Vec<_>> = lock
        .environment
        .rpms
        .iter()
        .map(|rpm| workshop.store.blob(&rpm.digest))
        .collect();
    match blobs {
        Some(blobs) if lock.base.is_none() => {
            let read = |path: &std::path::PathBuf| read_package(path);
            let facts = blobs.iter().map(read).collect::<Result<_, _>>();
            Ok(facts.map_err(ResolveError::from)?)
        }
        _ => {
            let spool = workshop.store.temporary_folder();
            let backend = &*workshop.backend;
            let found = base::installed(backend, roots, &spool, &context.cancel)?;
            Ok(found.into_iter().map(|package| package.facts).collect())
        }
    }
}

/// Solves with the repositories as the lock saw them; what comes out is fetched and verified.
fn fetch(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &Workshop,
    lock: &Lock,
    (installed, wanted): (Vec<PackageFacts>, Vec<Wanted>),
) -> Result<Vec<Verified>, Failure> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let supply = context.supply(&documents.project, workshop)?;
    let (template, recipe) = (&documents.template, documents.recipe.as_ref());
    context.step(
        "adding packages",
        || {
            let mut offer = Offer::of_lock(supply, template, recipe, lock)?.upon(installed);
            let solved = offer.solve(supply, "what is added", wanted, &[])?.install;
            let trust = packages::trust(supply, lock, template, recipe)?;
            let all: Vec<_> = solved.iter().collect();
            packages::fetch(supply, lock, &trust, &all)?;
            packages::verify(supply, &all, &trust, processors())
        },
        |added: &Vec<Verified>| {
            let names = added.iter().map(|one| one.ingredient.nevra.to_string());
            names.collect::<Vec<_>>().join(", ")
        },
    )
}
