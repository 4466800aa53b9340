//! `pristine lock` and `pristine update`: everything exact, written into `pristine.lock`.

use std::collections::BTreeSet;

use crate::commands::base::{self, Ground};
use crate::commands::context::{Context, Documents, Workshop, processors};
use crate::commands::creating;
use crate::commands::tables;
use crate::documents::config::Package;
use crate::documents::lock::{
    FILE, Lock, LockedEnvironment, LockedInputs, LockedPackage, LockedRpm, LockedTools, SpecFacts,
};
use crate::documents::nearest;
use crate::environment::create::tools_root;
use crate::environment::specs;
use crate::error::{Failure, Kind};
use crate::plan::Plan;
use crate::resolve::packages::{self, Stock};
use crate::resolve::solving::{Offer, Transaction};
use crate::resolve::{Supply, request, sources};
use crate::rpm::Nevra;
use crate::solve::Wanted;

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
        if names.is_empty() {
            Self::Everything
        } else {
            Self::Named(names.iter().cloned().collect())
        }
    }

    /// The packages of an older lock that stay.
    fn kept(&self, old: Option<&Lock>) -> Vec<Nevra> {
        let stays = |name: &str| match self {
            Self::Nothing => true,
            Self::Everything => false,
            Self::Named(names) => !names.contains(name),
        };
        let locked = old.into_iter().flat_map(Lock::rpms);
        locked
            .map(|rpm| rpm.nevra.clone())
            .filter(|nevra| stays(&nevra.name))
            .collect()
    }
}

/// The verb.
pub(super) fn run(context: &Context<'_>, moves: &Moves) -> Result<u8, Failure> {
    let documents = context.documents()?;
    let workshop = context.workshop(&documents.project)?;
    let old = old_lock(&documents)?;
    check_names(moves, old.as_ref())?;
    let new = make(context, &documents, &workshop, moves, old.as_ref())?;
    new.save(&documents.project.directory)?;
    context.ui.result(&tables::changes(old.as_ref(), &new));
    Ok(0)
}

/// The project's lock, where it has one.
pub(super) fn old_lock(documents: &Documents) -> Result<Option<Lock>, Failure> {
    let directory = &documents.project.directory;
    if directory.join(FILE).exists() {
        Ok(Some(Lock::load(directory)?))
    } else {
        Ok(None)
    }
}

fn check_names(moves: &Moves, old: Option<&Lock>) -> Result<(), Failure> {
    let Moves::Named(names) = moves else {
        return Ok(());
    };
    let locked: BTreeSet<&str> = old
        .into_iter()
        .flat_map(Lock::rpms)
        .map(|rpm| rpm.nevra.name.as_str())
        .collect();
    match names.iter().find(|name| !locked.contains(name.as_str())) {
        Some(name) => {
            let failure = Failure::new(Kind::Input, format!("`{name}` is not a package of {FILE}"));
            let names: Vec<&str> = locked.into_iter().collect();
            Err(match nearest(name, &names) {
                Some(nearest) => failure.hint(format!("did you mean `{nearest}`?")),
                None if names.is_empty() => failure.hint("write the lock first: pristine lock"),
                None => failure.hint(format!(
                    "the names that `update` takes are those of packages in {FILE}"
                )),
            })
        }
        None => Ok(()),
    }
}

/// The whole way from the project's files to a lock, its environment created once and digested.
pub(super) fn make(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &Workshop,
    moves: &Moves,
    old: Option<&Lock>,
) -> Result<Lock, Failure> {
    let supply = context.supply(&documents.project, workshop)?;
    let template = &documents.template;
    let recipe = documents.recipe.as_ref();
    let pinned = base::pinned(documents, moves, old);
    let ground = base::ground(context, documents, workshop, pinned)?;
    let installed = ground.as_ref().map_or(&[][..], |ground| &ground.packages);
    let mut offer = context.step(
        "reading the repositories",
        || Offer::read(supply, template, recipe, installed),
        |offer| format!("{} packages on offer", offer.len()),
    )?;
    offer.remember(old);
    refuse_unmet(documents, &offer)?;
    let kept = moves.kept(old);
    let mut lock = start(documents, supply, &mut offer, (old, &kept), ground.as_ref())?;
    let locked = match old.filter(|old| reads_the_same(&lock, old)) {
        Some(old) if old.check(&documents.inputs()?).is_empty() => old.packages.clone(),
        _ => read_specs(context, documents, workshop, (&lock, ground.as_ref()), old)?,
    };
    let nodes: Vec<_> = locked
        .iter()
        .map(|package| request::node(package.name.as_str(), &package.facts))
        .collect();
    Plan::new(&nodes)?;
    let mut wanted = request::environment(template, recipe, &nodes, &documents.places())?;
    wanted.extend(offer.template_groups());
    wanted.extend(offer.recipe_groups());
    wanted.extend(
        recipe
            .iter()
            .flat_map(|recipe| offer.third_party_requests(recipe.name.as_str())),
    );
    let solved = context.step(
        "solving",
        || match ground {
            // Nothing can be added: what the base has, and what a recipe's commands bring, is all there is.
            Some(_) if offer.is_empty() => Ok(Transaction::default()),
            _ => offer.solve(supply, "what the project needs", wanted, &kept),
        },
        |solved| format!("{} packages", solved.install.len()),
    )?;
    let tools: Vec<LockedRpm> = lock.tools().cloned().collect();
    lock.packages = locked;
    let newest = ground.iter().flat_map(|ground| &ground.packages);
    let newest = newest.filter_map(|facts| i64::try_from(facts.build_time).ok());
    let newest = newest.chain([offer.newest_build(&solved.install)]).max();
    lock.epoch = template.epoch.or(newest).unwrap_or(0);
    lock.tools = split_tools(tools, &solved.install);
    lock.environment.rpms = solved.install;
    lock.environment.replaced = solved.replaced;
    (lock.repositories, lock.keys) = offer.locked_repositories();
    drop(offer);
    complete(context, documents, workshop, lock, old)
}

/// Refuses a recipe's packages that no repository could have.
fn refuse_unmet(documents: &Documents, offer: &Offer) -> Result<(), Failure> {
    match &documents.recipe {
        Some(recipe)
            if offer.is_empty() && !(recipe.packages.is_empty() && recipe.groups.is_empty()) =>
        {
            let (recipe, template) = (&recipe.name, &documents.template.name);
            let failure = format!(
                "the recipe `{recipe}` asks for packages, but the template `{template}` has no repository"
            );
            Err(Failure::new(Kind::Input, failure).hint(
                "add a table `[[repository]]` to the template, or install them by a command of the recipe",
            ))
        }
        _ => Ok(()),
    }
}

/// What reads the specs: the template's packages and groups.
fn specs_root(documents: &Documents, offer: &Offer) -> Vec<Wanted> {
    let mut wanted = request::specs_root(&documents.template, &documents.places());
    wanted.extend(offer.template_groups());
    wanted
}

/// A lock of the packages that read the specs alone: the first environment on the way. A base brings its own tools.
fn start(
    documents: &Documents,
    supply: Supply<'_>,
    offer: &mut Offer,
    (old, kept): (Option<&Lock>, &[Nevra]),
    ground: Option<&Ground>,
) -> Result<Lock, Failure> {
    let template = &documents.template;
    let (tools, readers) = match ground {
        Some(_) if offer.is_empty() => (Vec::new(), Vec::new()),
        Some(_) => {
            let wanted = specs_root(documents, offer);
            let readers = offer.solve(supply, "the template's packages", wanted, kept)?;
            (Vec::new(), readers.install)
        }
        None => {
            let wanted = request::tools(template, &documents.places());
            let tools = offer.solve(supply, "the tools", wanted, kept)?;
            let wanted = specs_root(documents, offer);
            let readers = offer.solve(supply, "the template's packages", wanted, kept)?;
            (tools.install, readers.install)
        }
    };
    let inputs = documents.inputs()?;
    let (repositories, keys) = offer.locked_repositories();
    Ok(Lock {
        architecture: documents.template.architecture,
        epoch: old.map_or(0, |old| old.epoch),
        inputs: LockedInputs {
            template: inputs.template,
            recipe: inputs.recipe,
            requests: inputs.requests,
            left_out: offer.left_out(),
        },
        base: ground.map(|ground| ground.locked.clone()),
        repositories,
        keys,
        packages: Vec::new(),
        tools: split_tools(tools, &readers),
        environment: LockedEnvironment {
            tree: None,
            rpms: readers,
            replaced: Vec::new(),
        },
    })
}

/// The tools by name, and those that the environment itself does not have.
fn split_tools(tools: Vec<LockedRpm>, rpms: &[LockedRpm]) -> LockedTools {
    let mut packages: Vec<Nevra> = tools.iter().map(|rpm| rpm.nevra.clone()).collect();
    packages.sort();
    let mut only: Vec<LockedRpm> = tools
        .into_iter()
        .filter(|tool| !rpms.iter().any(|rpm| rpm.nevra == tool.nevra))
        .collect();
    only.sort_by(|a, b| a.nevra.cmp(&b.nevra));
    LockedTools { packages, only }
}

/// Whether what reads the specs is part of the older lock: where the specs are the same too, so is what they say.
fn reads_the_same(readers: &Lock, old: &Lock) -> bool {
    let same = |rpm: &LockedRpm| {
        old.rpm(&rpm.nevra)
            .is_some_and(|known| known.digest == rpm.digest)
    };
    readers.architecture == old.architecture && readers.base == old.base && readers.rpms().all(same)
}

/// Reads every spec with the distribution's own rpmspec, and finds its sources.
fn read_specs(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &Workshop,
    (readers, ground): (&Lock, Option<&Ground>),
    old: Option<&Lock>,
) -> Result<Vec<LockedPackage>, Failure> {
    let supply = context.supply(&documents.project, workshop)?;
    let mut roots = ground.map_or(Vec::new(), |ground| ground.roots.clone());
    let unpacked = context.step(
        "unpacking what reads the specs",
        || -> Result<_, Failure> {
            let trust = packages::trust(
                supply,
                readers,
                &documents.template,
                documents.recipe.as_ref(),
            )?;
            let stock = Stock::of(supply, readers, &trust, processors())?;
            if ground.is_some() && stock.rpms.is_empty() {
                return Ok(None);
            }
            Ok(Some(tools_root(&*workshop.backend, &stock.rpms)?))
        },
        |_| format!("{} packages", readers.environment.rpms.len()),
    )?;
    roots.extend(unpacked);
    let known = sources::known(old.iter().flat_map(|old| &old.packages));
    context.step(
        "reading the specs",
        || {
            let read = |package: &Package| -> Result<LockedPackage, Failure> {
                context.go_on()?;
                let spec = documents.project.directory.join(&package.spec);
                let request = specs::Request {
                    spec: &spec,
                    macros: &documents.macros(),
                    options: &options(package),
                    spool: &workshop.store.temporary_folder(),
                };
                let facts = specs::read(&*workshop.backend, &roots, &request, &context.cancel)?;
                lock_package(context, documents, workshop, package, (&facts, &known))
            };
            documents
                .packages
                .iter()
                .map(read)
                .collect::<Result<Vec<_>, _>>()
        },
        |packages| format!("{} specs", packages.len()),
    )
}

/// Build conditionals, as rpmspec and rpmbuild take them.
pub(super) fn options(package: &Package) -> Vec<String> {
    let with = package.with.iter().map(|name| format!("--with={name}"));
    let without = package
        .without
        .iter()
        .map(|name| format!("--without={name}"));
    with.chain(without).collect()
}

fn lock_package(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &Workshop,
    package: &Package,
    (facts, known): (&specs::SpecFacts, &sources::Known),
) -> Result<LockedPackage, Failure> {
    let supply = context.supply(&documents.project, workshop)?;
    let spec = documents.project.directory.join(&package.spec);
    Ok(LockedPackage {
        name: package.name.clone(),
        spec: package.spec.clone(),
        digest: super::context::digest_of(&spec)?,
        facts: SpecFacts::from(facts),
        sources: sources::lock(supply, &spec, facts, known)?,
    })
}

/// Whether an older lock has the same packages, signatures aside, and the tree that they make.
fn same_packages(lock: &Lock, old: &Lock) -> bool {
    let unsigned = |rpms: &[LockedRpm]| -> Vec<LockedRpm> {
        let unsigned = |rpm: &LockedRpm| LockedRpm {
            key: None,
            ..rpm.clone()
        };
        rpms.iter().map(unsigned).collect()
    };
    old.environment.tree.is_some()
        && lock.epoch == old.epoch
        && lock.inputs.template == old.inputs.template
        && lock.inputs.recipe == old.inputs.recipe
        && lock.base == old.base
        && lock.environment.replaced == old.environment.replaced
        && lock.tools.packages == old.tools.packages
        && lock.keys == old.keys
        && unsigned(&lock.environment.rpms) == unsigned(&old.environment.rpms)
        && unsigned(&lock.tools.only) == unsigned(&old.tools.only)
}

/// Fetches and checks what the lock names, creates the environment once, and writes down its digest;
/// an environment of the same packages that is in the old lock is not created again.
fn complete(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &Workshop,
    mut lock: Lock,
    old: Option<&Lock>,
) -> Result<Lock, Failure> {
    if let Some(old) = old.filter(|old| same_packages(&lock, old)) {
        // All of it was fetched, checked and tried when the older lock was made.
        lock.environment = old.environment.clone();
        lock.tools = old.tools.clone();
        return Ok(lock);
    }
    let stock = creating::stock(context, documents, workshop, &lock)?;
    lock.environment.rpms = stock.signed(lock.environment.rpms)?;
    lock.tools.only = stock.signed(lock.tools.only)?;
    let same = |old: &&Lock| {
        old.environment.rpms == lock.environment.rpms
            && old.base == lock.base
            && old.tools == lock.tools
            && old.epoch == lock.epoch
            && old.inputs.template == lock.inputs.template
    };
    lock.environment.tree = match old.filter(same).and_then(|old| old.environment.tree) {
        Some(tree) => Some(tree),
        None => Some(creating::create(context, documents, workshop, &lock, &stock)?.keep()?),
    };
    Ok(lock)
}
