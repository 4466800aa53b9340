//! `pristine audit`: every package of a run built a second time, elsewhere and otherwise, and held against the first.

mod audited;
mod bisect;
mod deep;
mod drift;
mod folder;
mod material;
mod rebuild;
mod telling;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

pub(super) use audited::Audited;
pub(super) use deep::Deep;
pub(super) use drift::environment;
pub(super) use material::digest;
pub(super) use rebuild::{Subject, rebuild};
pub(super) use telling::deep_view;
pub(super) use telling::differences;
pub(super) use verdict::sides;

use crate::audit::probe::{Abilities, probe};
use crate::audit::variations::{First, Room, Second, impossible, vary};
use crate::build::schedule::Machine;
use crate::cli::AuditArgs;
use crate::commands::audit::folder::AuditFolder;
use crate::commands::context::{Context, Documents, Workshop, now, timestamp};
use crate::commands::creating::{self, Anew};
use crate::commands::{PACKAGE_FAILED, building, recording};
use crate::documents::config::Audit as Settings;
use crate::error::Failure;
use crate::record::audit::{
    AuditOutcome, AuditRecord, EnvironmentAudit, FORMAT, PackageAudit, Variation,
};
use crate::record::{Ending, PackageRecord};
use crate::report;

/// What all rebuilds share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) documents: &'a Documents,
    pub(super) workshop: &'a Workshop,
    pub(super) audited: &'a Audited,
    /// The second environment.
    pub(super) second: &'a Anew<'a>,
    /// Whether it is the same as the first.
    pub(super) same_environment: bool,
    pub(super) machine: Machine,
}

/// The verb.
pub(super) fn run(context: &Context<'_>, args: &AuditArgs) -> Result<u8, Failure> {
    let documents = context.documents()?;
    let workshop = context.workshop(&documents.project)?;
    let audited = Audited::find(context, &workshop, &args.run)?;
    let chosen = audited.choose(&args.packages)?;
    audited.fits(&documents)?;
    let wanted = args.deep || documents.project.audit.deep;
    let mut deep = wanted.then(|| Deep::ready(context)).flatten();
    let stock = creating::stock(context, &documents, &workshop, &audited.lock)?;
    let second = creating::anew(context, &documents, &workshop, &audited.lock, &stock)?;
    let environment = environment(context, &workshop, &audited, (&second, &stock))?;
    let ground = Ground {
        context,
        documents: &documents,
        workshop: &workshop,
        audited: &audited,
        second: &second,
        same_environment: environment.is_same(),
        machine: building::machine(args.jobs),
    };
    let abilities = context.step(
        "trying what can be varied",
        || probe(&*workshop.backend, &second.roots(), &context.cancel),
        |_| String::new(),
    )?;
    let folder = AuditFolder::make(context, &audited)?;
    let asked = (args, &abilities, chosen.as_slice(), deep.as_mut());
    let record = audit(ground, &folder, asked, environment)?;
    record.save(folder.path())?;
    report::audit(&workshop.store.runs_folder(), folder.path(), &record)?;
    let path = folder.keep(&record)?;
    if args.json {
        context.ui.result(&super::runs::to_json(&record)?);
    } else {
        context.ui.result(&telling::audit(&path, &record));
    }
    let good = record.environment.is_same() && record.packages.iter().all(PackageAudit::good);
    Ok(if good { 0 } else { PACKAGE_FAILED })
}

/// What an audit is asked for: of which packages, under which conditions, with which deep views.
type Asked<'a> = (
    &'a AuditArgs,
    &'a Abilities,
    &'a [&'a PackageRecord],
    Option<&'a mut Deep>,
);

/// Builds, compares, searches.
fn audit(
    ground: Ground<'_>,
    folder: &AuditFolder,
    (args, abilities, chosen, deep): Asked<'_>,
    environment: EnvironmentAudit,
) -> Result<AuditRecord, Failure> {
    let Ground {
        context, audited, ..
    } = ground;
    let settings = &ground.documents.project.audit;
    let (variations, not_varied) = variations(args, settings, abilities);
    let memory = ground.machine.memory / (2 * ground.machine.jobs.get() as u64);
    let mut subjects = Vec::new();
    let mut packages: BTreeMap<&str, PackageAudit> = BTreeMap::new();
    for (number, package) in chosen.iter().enumerate() {
        if !package.outcome.good() {
            packages.insert(&package.name, skipped(package));
            continue;
        }
        let room = Room {
            memory,
            now: i64::try_from(now().as_secs()).unwrap_or(0),
            number,
        };
        let vary = |first: &First| vary(first, &variations, abilities, room);
        subjects.push(Subject::new(ground, package, vary)?);
    }
    context.ui.note(&format!(
        "building {} packages of the run {} again",
        subjects.len(),
        audited.record.run
    ));
    let all: Vec<_> = subjects
        .iter()
        .map(|one| (one, one.second.conditions.clone()))
        .collect();
    let ran = rebuild(ground, folder.path(), &all)?;
    for (subject, rebuilt) in subjects.iter().zip(&ran.packages) {
        let package = verdict::package(ground, folder.path(), subject, rebuilt)?;
        packages.insert(&subject.package.name, package);
    }
    further(ground, folder, (args, deep), &subjects, &mut packages)?;
    let packages = chosen
        .iter()
        .filter_map(|one| packages.remove(one.name.as_str()))
        .collect();
    let steps = context.steps.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(AuditRecord {
        format: FORMAT,
        audit: folder.name(),
        run: audited.record.run.clone(),
        project: audited.record.project.clone(),
        tool: concat!("pristine ", env!("CARGO_PKG_VERSION")).to_owned(),
        started: timestamp(context.started.time),
        ended: timestamp(context.started.present()),
        ending: Ending::Complete,
        host: recording::host(ground.workshop, ground.machine),
        lock: audited.record.lock,
        environment,
        steps: steps.clone(),
        not_varied,
        packages,
    })
}

/// What is asked for beside the comparison: which variation it is, and a deep view.
fn further(
    ground: Ground<'_>,
    folder: &AuditFolder,
    (args, deep): (&AuditArgs, Option<&mut Deep>),
    subjects: &[Subject<'_>],
    packages: &mut BTreeMap<&str, PackageAudit>,
) -> Result<(), Failure> {
    if args.bisect_variation {
        bisect::bisect(ground, folder.path(), subjects, packages)?;
    }
    if let Some(deep) = deep {
        deep::views(ground, folder.path(), (deep, subjects), packages)?;
    }
    Ok(())
}

/// What is varied, and what is not and why: the command line decides before the project file.
fn variations(
    args: &AuditArgs,
    settings: &Settings,
    abilities: &Abilities,
) -> (BTreeSet<Variation>, BTreeMap<Variation, String>) {
    let mut not = impossible(abilities);
    for one in Variation::ALL {
        if let Some(why) = left(one, args, settings) {
            not.insert(one, why.to_owned());
        }
    }
    let varied = Variation::ALL
        .into_iter()
        .filter(|one| !not.contains_key(one));
    (varied.collect(), not)
}

/// Why a variation is not asked for; none where it is.
fn left(one: Variation, args: &AuditArgs, settings: &Settings) -> Option<&'static str> {
    const SWITCHED_OFF: &str = "switched off";
    if !args.only_variation.is_empty() {
        return (!args.only_variation.contains(&one)).then_some(SWITCHED_OFF);
    }
    if args.without_variation.contains(&one) {
        return Some(SWITCHED_OFF);
    }
    if args.with_variation.contains(&one) || settings.with.contains(&one) {
        return None;
    }
    if settings.without.contains(&one) {
        return Some("switched off in pristine.toml");
    }
    (!one.by_default()).then_some("not by default: --with-variation")
}

/// A package that the run did not build.
fn skipped(package: &PackageRecord) -> PackageAudit {
    PackageAudit {
        outcome: AuditOutcome::Skipped {
            because: format!("it was not built in the run: {}", package.outcome),
        },
        ..verdict::blank(package, &Second::default())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Verb};

    fn args(line: &[&str]) -> AuditArgs {
        let line = ["pristine", "audit", "latest"].iter().chain(line);
        match Cli::parse_from(line).verb {
            Verb::Audit(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_decides_before_the_project_file_and_that_before_the_defaults() {
        use Variation::{BuildPath, HostName, JobOrder, Locale};
        let settings = Settings {
            with: [JobOrder].into(),
            without: [Locale, HostName].into(),
            ..Settings::default()
        };
        let why = |one, line: &[&str]| left(one, &args(line), &settings);
        assert_eq!(why(JobOrder, &[]), None);
        assert_eq!(
            why(BuildPath, &[]),
            Some("not by default: --with-variation")
        );
        assert_eq!(why(Locale, &[]), Some("switched off in pristine.toml"));
        assert_eq!(why(Locale, &["--with-variation", "locale"]), None);
        assert_eq!(
            why(JobOrder, &["--without-variation", "job-order"]),
            Some("switched off")
        );
        let only = ["--only-variation", "host-name"];
        assert_eq!(why(HostName, &only), None);
        assert_eq!(why(JobOrder, &only), Some("switched off"));
    }
}
