//! `pristine build`: the environment from nothing, every package in a clone of it, the record.

use std::path::{Path, PathBuf};

use time::OffsetDateTime;
use time::macros::format_description;

use crate::build::package::Builder;
use crate::build::run::{self, Ready, Site};
use crate::cli::BuildArgs;
use crate::commands::context::{Context, Documents, Workshop, now, processors};
use crate::commands::creating::{self, Snapshot};
use crate::commands::{PACKAGE_FAILED, current, lock};
use crate::documents::Lock;
use crate::documents::lock::{BaseOrigin, LockedBase};
use crate::environment::base;
use crate::error::{Failure, Kind};
use crate::events::Event;
use crate::events::Sink as _;
use crate::plan::Plan;
use crate::record::{BaseRecord, Ending, FORMAT, Outcome, PackageRecord, Record, Scope};
use crate::resolve::packages::Stock;
use crate::resolve::{request, sources};
use crate::rpm::{PackageFacts, read_package};
use crate::ui;

/// The verb.
pub(super) fn run(context: &Context<'_>, args: &BuildArgs) -> Result<u8, Failure> {
    let started = now();
    let documents = context.documents()?;
    let workshop = context.workshop(&documents.project)?;
    let lock = current::lock(context, &documents, &workshop, args.locked)?;
    let stock = creating::stock(context, &documents, &workshop, &lock)?;
    sources::fetch(
        context.supply(&documents.project, &workshop),
        &lock.packages,
    )?;
    let kept = if args.reuse_snapshot {
        creating::kept_snapshot(&workshop, &lock)?
    } else {
        None
    };
    let snapshot = match kept {
        Some(snapshot) => snapshot,
        None => creating::fresh_snapshot(context, &documents, &workshop, &lock, &stock)?,
    };
    let folder = run_folder(&workshop, args.output.as_deref(), started)?;
    let packages = build_all(
        context,
        &documents,
        &workshop,
        &lock,
        (&stock, &snapshot, &folder),
    )?;
    let record = Record {
        format: FORMAT,
        run: folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        project: documents.project.name.to_string(),
        tool: concat!("pristine ", env!("CARGO_PKG_VERSION")).to_owned(),
        started: timestamp(started),
        ended: timestamp(now()),
        ending: Ending::Complete,
        scope: Scope::All,
        source: None,
        host: None,
        lock: lock.digest(),
        base: lock.base.as_ref().map(base_record),
        environment: snapshot.environment,
        snapshot: snapshot.image,
        installed: sorted(lock.installed()),
        steps: Vec::new(),
        packages,
    };
    record.save(&folder)?;
    snapshot.publish()?;
    Ok(summary(
        context,
        &record,
        &folder,
        now().saturating_sub(started),
    ))
}

fn base_record(base: &LockedBase) -> BaseRecord {
    let (name, digest) = match &base.origin {
        BaseOrigin::Image { name, manifest } => (name.to_string(), *manifest),
        BaseOrigin::Rootfs { url, sha256 } => (url.to_string(), *sha256),
    };
    BaseRecord { name, digest }
}

/// A new folder named for the time, below the store's `runs/` unless the user names one.
fn run_folder(
    workshop: &Workshop,
    output: Option<&Path>,
    started: std::time::Duration,
) -> Result<PathBuf, Failure> {
    let failed = |error| Failure::new(Kind::CannotRun, error);
    if let Some(output) = output {
        fs_err::create_dir_all(output).map_err(failed)?;
        let mut entries = fs_err::read_dir(output).map_err(failed)?;
        if entries.next().is_some() {
            let failure = Failure::new(
                Kind::Input,
                format!("the output folder `{}` is not empty", output.display()),
            );
            return Err(failure.hint("name a new or empty folder"));
        }
        return fs_err::canonicalize(output).map_err(failed);
    }
    let name = moment(started)
        .format(format_description!(
            "[year][month][day]-[hour][minute][second]"
        ))
        .map_err(|error| Failure::new(Kind::CannotRun, error))?;
    for number in 1.. {
        let folder = workshop
            .store
            .runs_folder()
            .join(format!("{name}-{number}"));
        match fs_err::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
    }
    unreachable!("a range without an end")
}

fn build_all(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &Workshop,
    lock: &Lock,
    (stock, snapshot, folder): (&Stock, &Snapshot<'_>, &Path),
) -> Result<Vec<PackageRecord>, Failure> {
    let nodes: Vec<_> = lock
        .packages
        .iter()
        .map(|package| request::node(package.name.as_str(), &package.facts))
        .collect();
    let plan = Plan::new(&nodes)?;
    let ready = ready(documents, workshop, lock)?;
    let installed = installed(context, workshop, (lock, stock), snapshot)?;
    let template = &documents.template.builder;
    let builder = Builder {
        name: template.name.to_string(),
        user: crate::backend::User {
            uid: template.uid,
            gid: template.gid,
        },
    };
    context.ui.note(&format!(
        "building {} packages, results in {}",
        plan.steps.len(),
        folder.display()
    ));
    let site = Site {
        backend: &*workshop.backend,
        roots: &snapshot.roots,
        installed: &installed,
        folder,
        builder: &builder,
        macros: &documents.macros(),
        epoch: u64::try_from(lock.epoch).unwrap_or(0),
        arch: lock.architecture.as_str(),
        spool: &workshop.store.temporary_folder(),
        sink: context.ui,
        cancel: &context.cancel,
    };
    Ok(run::run(site, &plan, &ready)?)
}

/// What the snapshot's packages provide, from their headers; where there is a base, as its own rpm has them.
fn installed(
    context: &Context<'_>,
    workshop: &Workshop,
    (lock, stock): (&Lock, &Stock),
    snapshot: &Snapshot<'_>,
) -> Result<Vec<PackageFacts>, Failure> {
    if lock.base.is_some() {
        let spool = workshop.store.temporary_folder();
        let backend = &*workshop.backend;
        let found = base::installed(backend, &snapshot.roots, &spool, &context.cancel)?;
        return Ok(found.into_iter().map(|package| package.facts).collect());
    }
    stock
        .rpms
        .iter()
        .map(|package| Ok(read_package(&package.path).map_err(crate::resolve::ResolveError::from)?))
        .collect()
}

fn ready(documents: &Documents, workshop: &Workshop, lock: &Lock) -> Result<Vec<Ready>, Failure> {
    let mut all = Vec::new();
    for package in &documents.packages {
        let Some(locked) = lock
            .packages
            .iter()
            .find(|locked| locked.name == package.name)
        else {
            continue;
        };
        let spec = documents.project.directory.join(&package.spec);
        let (files, inputs) = sources::collect(&workshop.store, &documents.project, locked)?;
        let jobs = package.jobs.map(|jobs| jobs.get() as usize);
        all.push(Ready {
            name: package.name.to_string(),
            spec: spec
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            build_requires: locked.facts.build_requires.clone(),
            files,
            inputs,
            options: lock::options(package),
            has_changelog: locked.facts.changelog,
            processors: jobs.unwrap_or_else(|| processors().get()),
            limits: crate::backend::Limits {
                memory: package.limits.memory,
                processes: package.limits.processes,
                time: package.limits.time,
                silence: package.limits.silence,
            },
        });
    }
    Ok(all)
}

fn summary(context: &Context<'_>, record: &Record, folder: &Path, took: std::time::Duration) -> u8 {
    let count = |wanted: fn(&Outcome) -> bool| {
        record
            .packages
            .iter()
            .filter(|package| wanted(&package.outcome))
            .count()
    };
    let built = count(|outcome| matches!(outcome, Outcome::Built {}));
    let failed = count(|outcome| matches!(outcome, Outcome::Failed { .. }));
    let skipped = count(|outcome| matches!(outcome, Outcome::Skipped { .. }));
    context.ui.result(&format!(
        "{built} built, {failed} failed, {skipped} skipped in {}\n{}",
        ui::seconds(took),
        folder.display()
    ));
    if failed + skipped > 0 {
        context.ui.emit(Event::Warning {
            text: "not every package was built".to_owned(),
        });
        return PACKAGE_FAILED;
    }
    0
}

fn moment(since_1970: std::time::Duration) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + since_1970
}

fn timestamp(since_1970: std::time::Duration) -> String {
    moment(since_1970)
        .format(format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second]Z"
        ))
        .unwrap_or_default()
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items
}
