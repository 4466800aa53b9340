//! `pristine run`: one build by hand of a spec or a source package, in the lock's environment, as the nightly build
//! would.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::build::conditions::Conditions;
use crate::build::log::Log;
use crate::build::package::{self, Builder, Built};
use crate::cli::RunArgs;
use crate::commands::context::{Context, Documents, Workshop};
use crate::commands::creating::{self, Snapshot};
use crate::commands::job::{self, Draft};
use crate::commands::supplies::{self, Needs, Supplies};
use crate::commands::{PACKAGE_FAILED, lock};
use crate::documents::Lock;
use crate::environment::source;
use crate::error::{Failure, Kind};
use crate::events::{Event, Sink as _};
use crate::record::FileRecord;
use crate::rpm::{RpmError, read_package};

/// The verb.
pub(super) fn run(context: &Context<'_>, args: &RunArgs) -> Result<u8, Failure> {
    let documents = context.documents()?;
    let workshop = context.workshop(&documents.project)?;
    let Some(lock) = lock::old_lock(&documents)? else {
        let failure = "there is no pristine.lock, and so no environment to build in";
        return Err(Failure::new(Kind::Lock, failure).hint("write it: pristine lock"));
    };
    let snapshot = creating::snapshot(context, &documents, &workshop, &lock)?;
    let builder = job::builder(&documents);
    let unpacked = workshop.store.scratch_folder()?;
    let spec = spec_of(
        context,
        (&workshop, &snapshot),
        &builder,
        &args.source,
        unpacked.path(),
    )?;
    let draft = draft(context, (&documents, &workshop, &lock), &snapshot, &spec)?;
    let needs = Needs {
        name: &draft.name,
        build_requires: &draft.open_requires(&lock)?,
        with: &args.with,
    };
    let ground = (&lock, &snapshot.roots[..]);
    let supplies = supplies::gather(context, &documents, &workshop, ground, &needs)?;
    let built = build(
        context,
        (&documents, &workshop, &lock),
        (&draft, &builder, &supplies, &snapshot),
        &args.output,
    )?;
    snapshot.publish()?;
    let Some(packages) = built else {
        return Ok(PACKAGE_FAILED);
    };
    for package in packages {
        let path = deliver(&supplies.folder().join(&package.path), &args.output)?;
        context.ui.result(&path.display().to_string());
    }
    Ok(0)
}

/// The spec that is named; that of a source package, which is unpacked in a sandbox, since anybody may have made it.
fn spec_of(
    context: &Context<'_>,
    (workshop, snapshot): (&Workshop, &Snapshot<'_>),
    builder: &Builder,
    named: &Path,
    folder: &Path,
) -> Result<PathBuf, Failure> {
    let wrong = |error: RpmError| Failure::new(Kind::Input, error);
    let path = fs_err::canonicalize(named).map_err(|error| Failure::new(Kind::Input, error))?;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("spec") => Ok(path),
        Some("rpm") if !read_package(&path).map_err(wrong)?.is_source() => {
            let text = format!("`{}` is a binary package", named.display());
            Err(Failure::new(Kind::Input, text).hint("name its source package, or its spec"))
        }
        Some("rpm") => context.step(
            "unpacking the source package",
            || {
                let ground = (&*workshop.backend, &snapshot.roots[..]);
                let spool = workshop.store.temporary_folder();
                source::unpack(
                    ground,
                    builder.user,
                    (&path, &spool),
                    folder,
                    &context.cancel,
                )
            },
            |spec| job::file_name(spec),
        ),
        _ => {
            let text = format!(
                "`{}` is neither a spec nor a source package",
                named.display()
            );
            Err(Failure::new(Kind::Input, text).hint("name a file that ends in .spec or .src.rpm"))
        }
    }
}

/// What is built: a package of the project as its lock has it, or what the spec says now.
fn draft(
    context: &Context<'_>,
    (documents, workshop, lock): (&Documents, &Workshop, &Lock),
    snapshot: &Snapshot<'_>,
    spec: &Path,
) -> Result<Draft, Failure> {
    let directory = &documents.project.directory;
    let package = documents.packages.iter().find(|package| {
        fs_err::canonicalize(directory.join(&package.spec)).is_ok_and(|own| own == spec)
    });
    if let Some(package) = package {
        let digest = super::context::digest_of(spec)?;
        let mut locked = lock.packages.iter();
        if locked.any(|locked| locked.name == package.name && locked.digest == digest) {
            return Draft::of_project(context, documents, workshop, lock, package.name.as_str());
        }
    }
    let ground = (lock, &snapshot.roots[..]);
    context.step(
        "reading the spec",
        || Draft::of_spec(context, (documents, workshop), ground, spec, package),
        |draft| draft.name.clone(),
    )
}

/// Builds; `None` where it does not build, of which all has been said then.
fn build(
    context: &Context<'_>,
    (documents, workshop, lock): (&Documents, &Workshop, &Lock),
    (draft, builder, supplies, snapshot): (&Draft, &Builder, &Supplies, &Snapshot<'_>),
    output: &Path,
) -> Result<Option<Vec<FileRecord>>, Failure> {
    let failed = |error| Failure::new(Kind::CannotRun, error);
    fs_err::create_dir_all(output).map_err(failed)?;
    let path = output.join(format!("{}.log", draft.name));
    let mut log = Log::create(&path).map_err(failed)?.heard_by(|phase| {
        context.ui.emit(Event::PackagePhase {
            package: draft.name.clone(),
            phase: phase.to_owned(),
        });
    });
    let started = Instant::now();
    context.ui.emit(Event::PackageStarted {
        package: draft.name.clone(),
        number: 1,
        total: 1,
        processors: draft.processors,
        expected: None,
    });
    let (macros, spool) = (documents.macros(), workshop.store.temporary_folder());
    let usual = Conditions::default();
    let job = draft.job(builder, lock, supplies, (&macros, &spool), &usual);
    let backend = &*workshop.backend;
    let built = package::build(backend, &snapshot.roots, &job, &mut log, &context.cancel)?;
    log.finish().map_err(failed)?;
    let (outcome, excerpt, packages) = match built.built {
        Built::Packages(packages) => ("built".to_owned(), Vec::new(), Some(packages)),
        Built::Failed(verdict, _) => (format!("failed: {}", verdict.reason), verdict.excerpt, None),
    };
    context.ui.emit(Event::PackageEnded {
        package: draft.name.clone(),
        outcome,
        result: if packages.is_some() {
            "built"
        } else {
            "failed"
        },
        took: started.elapsed(),
        log: Some(path),
        enter: None,
        excerpt,
    });
    Ok(packages)
}

/// Puts a package into the folder of the results, in the place of an older one of that name.
fn deliver(from: &Path, output: &Path) -> Result<PathBuf, Failure> {
    let failed = |error: std::io::Error| Failure::new(Kind::CannotRun, error);
    let mut file = tempfile::Builder::new()
        .prefix(".pristine-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(output)
        .map_err(failed)?;
    let mut source = fs_err::File::open(from).map_err(failed)?;
    std::io::copy(&mut source, &mut file).map_err(failed)?;
    let path = output.join(job::file_name(from));
    file.persist(&path).map_err(|error| failed(error.error))?;
    Ok(path)
}
