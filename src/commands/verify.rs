//! `pristine verify`: shipped packages built again from the record of their run, as they were built then.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::audit::variations::{First, Second, usual};
use crate::build::run::REPOSITORY;
use crate::cli::VerifyArgs;
use crate::commands::audit::{self, Audited, Deep, Ground, Subject};
use crate::commands::context::{Context, Workshop};
use crate::commands::{PACKAGE_FAILED, building, creating, job, kept};
use crate::compare::{self, Conditions, Verdict};
use crate::digest::Digest;
use crate::error::{Failure, Kind};
use crate::record::{FILE_NAME, Outcome, PackageRecord, Record, runs};
use crate::rpm::read_package;

/// A file that was shipped.
#[derive(Debug)]
struct Shipped {
    path: PathBuf,
    digest: Digest,
    /// The name that rpm gives it.
    name: PathBuf,
}

/// The verb.
pub(super) fn run(context: &Context<'_>, args: &VerifyArgs) -> Result<u8, Failure> {
    let shipped = args
        .files
        .iter()
        .map(|path| read(path))
        .collect::<Result<Vec<_>, _>>()?;
    let documents = context.documents()?;
    let workshop = context.workshop(&documents.project)?;
    let (folder, record) = find(context, &workshop, (args, &shipped))?;
    let audited = Audited::new(context, &workshop, folder, record)?;
    audited.fits(&documents)?;
    let makers = makers(&audited.record, &shipped)?;
    let stock = creating::stock(context, &documents, &workshop, &audited.lock)?;
    let second = creating::anew(context, &documents, &workshop, &audited.lock, &stock)?;
    let environment = audit::environment(context, &workshop, &audited, (&second, &stock))?;
    let ground = Ground {
        context,
        documents: &documents,
        workshop: &workshop,
        audited: &audited,
        second: &second,
        same_environment: environment.is_same(),
        machine: building::machine(None),
    };
    if !environment.is_same() {
        for comparison in &environment.comparisons {
            context.ui.note(audit::differences(comparison).trim_end());
        }
        context
            .ui
            .note("the environment of the run cannot be made again as it was");
    }
    verify(ground, &makers, args.deep.as_deref())
}

/// Builds again what made the files, and tells of each.
fn verify(
    ground: Ground<'_>,
    makers: &BTreeMap<String, (&PackageRecord, Vec<&Shipped>)>,
    pages: Option<&Path>,
) -> Result<u8, Failure> {
    let mut deep = pages.and_then(|_| Deep::ready(ground.context));
    let place = ground.workshop.store.scratch_folder()?;
    let as_then = |first: &First| Second {
        conditions: usual(first),
        ..Second::default()
    };
    let packages = makers.values();
    let subjects = packages
        .map(|(package, _)| Subject::new(ground, package, as_then))
        .collect::<Result<Vec<_>, Failure>>()?;
    let all: Vec<_> = subjects
        .iter()
        .map(|one| (one, usual(&one.first)))
        .collect();
    let ran = audit::rebuild(ground, place.path(), &all)?;
    let mut good = true;
    for ((subject, rebuilt), (_, files)) in subjects.iter().zip(&ran.packages).zip(makers.values())
    {
        if let Outcome::Failed { reason, .. } = &rebuilt.outcome {
            let text = format!(
                "FAIL {}: it does not build again: {reason}",
                subject.package.name
            );
            ground.context.ui.result(&text);
            good = false;
            continue;
        }
        let sides = audit::sides(ground, subject, &as_then(&subject.first), rebuilt);
        for file in files {
            let repository = place.path().join(REPOSITORY);
            let (same, text) = beside(file, rebuilt, &repository, &sides)?;
            ground.context.ui.result(&text);
            good &= same;
            let twin = repository.join(&file.name);
            if let (false, Some(deep), Some(pages)) = (same, &mut deep, pages)
                && twin.exists()
            {
                fs_err::create_dir_all(pages).map_err(|error| Failure::new(Kind::Input, error))?;
                let at = (ground.context, &ground.workshop.store);
                let view = deep.look(at, (&file.path, &twin), (pages, &file.name))?;
                ground.context.ui.result(&audit::deep_view(pages, &view));
            }
        }
    }
    Ok(if good { 0 } else { PACKAGE_FAILED })
}

/// A shipped file beside the one that was built now.
fn beside(
    shipped: &Shipped,
    rebuilt: &PackageRecord,
    repository: &Path,
    sides: &Conditions,
) -> Result<(bool, String), Failure> {
    let path = shipped.path.display();
    let Some(twin) = rebuilt
        .outputs
        .iter()
        .find(|file| file.path == shipped.name)
    else {
        let text = format!(
            "DIFF {path}: built again, there is no {}",
            shipped.name.display()
        );
        return Ok((false, text));
    };
    if twin.sha256 == shipped.digest {
        return Ok((true, format!("same {path}: identical, {}", shipped.digest)));
    }
    let comparison = compare::packages(&shipped.path, &repository.join(&twin.path), sides)?;
    let listed = audit::differences(&comparison);
    Ok(match comparison.verdict {
        Verdict::Different => (
            false,
            format!("DIFF {path}: it is not what is built again\n{listed}")
                .trim_end()
                .to_owned(),
        ),
        // A signature that was added when it was shipped.
        Verdict::SameButByNature | Verdict::Identical => (
            true,
            format!("same {path}: all but what differs by nature, as its signature"),
        ),
    })
}

fn read(path: &Path) -> Result<Shipped, Failure> {
    let wrong = |error: std::io::Error| Failure::new(Kind::Input, error);
    let digest = audit::digest(path).map_err(wrong)?;
    let facts = read_package(path).map_err(|error| Failure::new(Kind::Input, error))?;
    Ok(Shipped {
        path: path.to_owned(),
        digest,
        name: format!("{}.rpm", facts.nevra).into(),
    })
}

/// The record that is named, or that of the kept run that made the files: byte for byte, else by their names.
fn find(
    context: &Context<'_>,
    workshop: &Workshop,
    (args, shipped): (&VerifyArgs, &[Shipped]),
) -> Result<(PathBuf, Record), Failure> {
    if let Some(named) = &args.record {
        let folder = if named.is_file() {
            named.parent().unwrap_or(Path::new("."))
        } else {
            named
        };
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        return kept::run(context, &folder.display().to_string());
    }
    let folder = workshop.store.runs_folder();
    for exact in [true, false] {
        for record in runs::newest(&folder) {
            if shipped
                .iter()
                .all(|file| maker(&record, file, exact).is_some())
            {
                return Ok((folder.join(&record.run), record));
            }
        }
    }
    let names: Vec<String> = shipped
        .iter()
        .map(|file| job::file_name(&file.path))
        .collect();
    let text = format!("no kept run has made {}", names.join(" and "));
    Err(Failure::new(Kind::Input, text)
        .hint(format!(
            "name the folder with its {FILE_NAME} and pristine.lock: --record DIR"
        ))
        .hint("packages of several runs are verified run by run"))
}

/// The package of a run that made a file: one with that content, or else with that name.
fn maker<'a>(record: &'a Record, shipped: &Shipped, exact: bool) -> Option<&'a PackageRecord> {
    record.packages.iter().find(|package| {
        package.outputs.iter().any(|file| {
            if exact {
                file.sha256 == shipped.digest
            } else {
                file.path == shipped.name
            }
        })
    })
}

/// The packages that made the files, by name, each with its files.
fn makers<'a>(
    record: &'a Record,
    shipped: &'a [Shipped],
) -> Result<BTreeMap<String, (&'a PackageRecord, Vec<&'a Shipped>)>, Failure> {
    let mut makers: BTreeMap<String, (&PackageRecord, Vec<&Shipped>)> = BTreeMap::new();
    for file in shipped {
        let found = maker(record, file, true).or_else(|| maker(record, file, false));
        let Some(package) = found else {
            let text = format!(
                "the run {} has not made `{}`",
                record.run,
                file.path.display()
            );
            return Err(Failure::new(Kind::Input, text));
        };
        let entry = makers
            .entry(package.name.clone())
            .or_insert((package, Vec::new()));
        entry.1.push(file);
    }
    Ok(makers)
}
