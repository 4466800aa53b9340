//! The builds themselves: what is to be built, with what of the machine, and how it went.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::AtomicUsize;

use crate::build::conditions::Conditions;
use crate::build::declared::Tracing;
use crate::build::reuse::Earlier;
use crate::build::run::{self, Ran, Ready, Site};
use crate::build::schedule::{Demand, Machine};
use crate::cli::BuildArgs;
use crate::commands::context::{Context, Documents, Workshop, processors};
use crate::commands::creating::Snapshot;
use crate::commands::earlier::Known;
use crate::commands::{job, lock as locking, usage};
use crate::documents::Lock;
use crate::documents::config::Package;
use crate::environment::base;
use crate::error::Failure;
use crate::events::{Event, Sink as _};
use crate::plan::{Plan, PlanError};
use crate::record::journal::Journal;
use crate::resolve::packages::Stock;
use crate::resolve::places::Places;
use crate::resolve::solving::Offer;
use crate::resolve::{request, sources};
use crate::rpm::{PackageFacts, read_package};

/// So many failed builds of a run are kept as they failed.
const KEPT_FAILURES: usize = 10;
/// Memory that a build should have: with less for each, there are fewer at once.
const MEMORY_FOR_ONE: u64 = 2 << 30;
/// A build may need more memory than the last time: a quarter more.
const MEMORY_MORE: u64 = 4;

/// The order of the builds, of all packages or of some and what they need.
pub(super) fn plan(lock: &Lock, only: Option<&[String]>) -> Result<Plan, Failure> {
    let packages = lock.packages.iter();
    let nodes: Vec<_> = packages
        .map(|package| request::node(package.name.as_str(), &package.facts))
        .collect();
    let plan = Plan::new(&nodes)?;
    Ok(match only {
        Some(names) => plan.only(names).map_err(unknown)?,
        None => plan,
    })
}

fn unknown(error: PlanError) -> Failure {
    let hint = match &error {
        PlanError::Unknown { known, .. } => format!("its packages: {}", known.join(", ")),
        _ => return error.into(),
    };
    Failure::from(error).hint(hint)
}

/// What this machine has for builds.
pub(super) fn machine(jobs: Option<NonZero<usize>>) -> Machine {
    let (processors, memory) = (processors(), memory());
    let jobs = jobs.unwrap_or_else(|| {
        let fit = usize::try_from(memory / MEMORY_FOR_ONE).unwrap_or(usize::MAX);
        NonZero::new(fit).map_or(NonZero::<usize>::MIN, |fit| fit.min(processors))
    });
    Machine {
        jobs,
        processors,
        memory,
    }
}

/// Memory that is free for new processes, as the kernel estimates it.
fn memory() -> u64 {
    let text = fs_err::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = text.lines().find_map(|line| {
        let kib = line.strip_prefix("MemAvailable:")?.strip_suffix("kB")?;
        kib.trim().parse::<u64>().ok()
    });
    available.map_or(MEMORY_FOR_ONE, |kib| kib << 10)
}

/// What the builds are made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) documents: &'a Documents,
    pub(super) workshop: &'a Workshop,
    pub(super) lock: &'a Lock,
    pub(super) stock: &'a Stock,
    pub(super) snapshot: &'a Snapshot<'a>,
    pub(super) plan: &'a Plan,
    pub(super) earlier: Option<&'a Earlier>,
    /// What earlier runs tell of the packages.
    pub(super) known: &'a BTreeMap<String, Known>,
    pub(super) machine: Machine,
    pub(super) folder: &'a Path,
    /// The command that opens what a failed build left, without the package's name.
    pub(super) enter: &'a str,
}

/// Builds the packages of the plan.
pub(super) fn build(
    context: &Context<'_>,
    parts: Parts<'_>,
    journal: &Journal,
    args: &BuildArgs,
) -> Result<Ran, Failure> {
    let Parts {
        documents,
        workshop,
        lock,
        snapshot,
        plan,
        folder,
        ..
    } = parts;
    let ready = ready(parts)?;
    let installed = installed(context, parts)?;
    let tracing = tracing(context, parts, args.strict);
    context.ui.note(&format!(
        "building {} packages, results in {}",
        plan.steps.len(),
        folder.display()
    ));
    // Only a run that the store keeps can be asked for them.
    let kept = folder.starts_with(workshop.store.runs_folder());
    let kept = if kept { KEPT_FAILURES } else { 0 };
    let site = Site {
        backend: &*workshop.backend,
        roots: &snapshot.roots,
        tree: &snapshot.tree,
        installed: &installed,
        folder,
        builder: &job::builder(documents),
        macros: &documents.macros(),
        epoch: u64::try_from(lock.epoch).unwrap_or(0),
        arch: lock.architecture.as_str(),
        spool: &workshop.store.temporary_folder(),
        keep_failed: &AtomicUsize::new(kept),
        machine: parts.machine,
        fail_fast: args.fail_fast,
        earlier: parts.earlier,
        tracing: tracing.as_ref(),
        started: context.started.instant,
        journal: Some(journal),
        enter: parts.enter,
        sink: context.ui,
        cancel: &context.cancel,
    };
    let ran = run::run(site, plan, &ready)?;
    if tracing.is_some_and(|tracing| tracing.settings.strict) {
        for gap in usage::gaps(&ran.packages) {
            let text = format!("--strict was not held against all: {gap}");
            context.ui.emit(Event::Warning { text });
        }
    }
    Ok(ran)
}

/// What the snapshot's packages provide, from their headers; where there is a base, as its own rpm has them.
fn installed(context: &Context<'_>, parts: Parts<'_>) -> Result<Vec<PackageFacts>, Failure> {
    let Parts {
        workshop, snapshot, ..
    } = parts;
    if parts.lock.base.is_some() {
        let spool = workshop.store.temporary_folder();
        let backend = &*workshop.backend;
        let found = base::installed(backend, &snapshot.roots, &spool, &context.cancel)?;
        return Ok(found.into_iter().map(|package| package.facts).collect());
    }
    let rpms = parts.stock.rpms.iter();
    rpms.map(|package| Ok(read_package(&package.path).map_err(crate::resolve::ResolveError::from)?))
        .collect()
}

/// How builds are watched, and what every one of them may use; none where the project file says that they are not.
fn tracing(context: &Context<'_>, parts: Parts<'_>, strict: bool) -> Option<Tracing> {
    let Parts {
        documents,
        workshop,
        lock,
        ..
    } = parts;
    let mut settings = documents.project.trace.clone();
    settings.strict |= strict;
    if !settings.enabled && !settings.strict {
        return None;
    }
    let template = &documents.template;
    let mut base = request::specs_root(template, &documents.places());
    if !template.groups.is_empty() {
        let offer = context
            .supply(&documents.project, workshop)
            .and_then(|supply| {
                let recipe = documents.recipe.as_ref();
                Ok(Offer::of_lock(supply, template, recipe, lock)?)
            });
        match offer {
            Ok(offer) => base.extend(offer.template_groups()),
            // No reason to build nothing: they are read for this alone.
            Err(error) => {
                let text = format!(
                    "what builds use is not watched: the template's groups cannot be read: {error}"
                );
                context.ui.emit(Event::Warning { text });
                return None;
            }
        }
    }
    let given = lock.base.iter().flat_map(|base| &base.installed);
    Some(Tracing {
        settings,
        base,
        given: given.map(|rpm| rpm.nevra.clone()).collect(),
    })
}

/// The packages of the plan with all that their builds take.
fn ready(parts: Parts<'_>) -> Result<Vec<Ready>, Failure> {
    let Parts {
        documents,
        workshop,
        lock,
        known,
        ..
    } = parts;
    let settings: BTreeMap<&str, &Package> = documents
        .packages
        .iter()
        .map(|package| (package.name.as_str(), package))
        .collect();
    let planned: std::collections::BTreeSet<&str> = parts
        .plan
        .steps
        .iter()
        .map(|step| step.name.as_str())
        .collect();
    let places = documents.places();
    let mut all = Vec::new();
    for locked in &lock.packages {
        let name = locked.name.as_str();
        let Some(package) = settings.get(name).filter(|_| planned.contains(name)) else {
            continue;
        };
        let (files, inputs) = sources::collect(&workshop.store, &documents.project, locked)?;
        let spec = Path::new(package.spec.as_str()).file_name();
        let known = known.get(name).copied().unwrap_or_default();
        all.push(Ready {
            name: name.to_owned(),
            version: locked.facts.nevra.evr(),
            spec: spec.unwrap_or_default().to_string_lossy().into_owned(),
            build_requires: locked.facts.build_requires.clone(),
            asks: asks(&places, name, &locked.facts.build_requires),
            files,
            inputs,
            options: locking::options(package),
            has_changelog: locked.facts.changelog,
            demand: demand(package, known),
            limits: (&package.limits).into(),
            conditions: Conditions::default(),
            recorded: None,
        });
    }
    Ok(all)
}

/// BuildRequires with where the spec has them.
fn asks(places: &Places, name: &str, build_requires: &[String]) -> Vec<(String, String)> {
    let each = build_requires.iter();
    each.map(|text| (text.clone(), places.spec(name, "BuildRequires", text)))
        .collect()
}

pub(super) fn demand(package: &Package, known: Known) -> Demand {
    let limit = package.limits.memory;
    let more = |used: u64| used.saturating_add(used / MEMORY_MORE);
    let memory = known.memory.map(more);
    Demand {
        time: known.time,
        memory: memory.map_or(limit, |used| {
            Some(limit.map_or(used, |limit| used.min(limit)))
        }),
        processors: package
            .jobs
            .and_then(|jobs| NonZero::new(jobs.get() as usize)),
    }
}
