//! Which environment is entered: the lock's, a kept run's, a named snapshot's, or what is left of a failed build.

use std::path::Path;

use crate::backend::RootId;
use crate::cli::EnterArgs;
use crate::commands::context::{Context, Documents, Workshop};
use crate::commands::creating::{self, Snapshot};
use crate::commands::lock;
use crate::digest::Digest;
use crate::documents::Lock;
use crate::environment::snapshot;
use crate::error::{Failure, Kind};
use crate::oci::Image;
use crate::record::kept::Kept;
use crate::record::runs::{self, Run};
use crate::record::{Outcome, Record};

/// Where a command runs.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// The environment.
    pub(super) snapshot: Snapshot<'a>,
    /// The lock that it was made from, where that is at hand.
    pub(super) lock: Option<Lock>,
    /// Roots on top of it, of a kept clone or a failed build.
    pub(super) above: Vec<RootId>,
    /// Which it is, as the prompt says it, behind the project's name.
    pub(super) label: String,
}

impl Place<'_> {
    /// All roots, lowest first.
    pub(super) fn layers(&self) -> Vec<RootId> {
        self.snapshot
            .roots
            .iter()
            .chain(&self.above)
            .cloned()
            .collect()
    }

    /// The lock, or an error that says what cannot be done without it.
    pub(super) fn lock(&self, purpose: &str) -> Result<&Lock, Failure> {
        self.lock.as_ref().ok_or_else(|| {
            let text = format!("{purpose} needs the lock that this snapshot was made from, which is not the project's");
            Failure::new(Kind::Input, text)
                .hint("name that lock's file: --snapshot FILE (git show COMMIT:pristine.lock)")
        })
    }
}

/// The environment that the command line names, made where it must be; `kept` is the clone that is gone on with.
pub(super) fn find<'a>(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &'a Workshop,
    args: &EnterArgs,
    kept: Option<&Kept>,
) -> Result<Place<'a>, Failure> {
    if let Some(kept) = kept {
        return of_kept(documents, workshop, kept);
    }
    let runs = workshop.store.runs_folder();
    if let Some(package) = &args.failed {
        return of_failure(documents, workshop, package, args.run.as_deref());
    }
    if let Some(run) = &args.run {
        return of_run(documents, workshop, runs::find(&runs, run)?);
    }
    let Some(named) = &args.snapshot else {
        let Some(lock) = lock::old_lock(documents)? else {
            let failure = "there is no pristine.lock, and so no environment";
            return Err(Failure::new(Kind::Lock, failure).hint("make both: pristine build"));
        };
        return of_lock(context, documents, workshop, lock);
    };
    if Path::new(named).is_file() {
        let text =
            fs_err::read_to_string(named).map_err(|error| Failure::new(Kind::Input, error))?;
        return of_lock(context, documents, workshop, Lock::parse(&text)?);
    }
    if let Some(run) = of_date(&runs, named)? {
        return of_run(documents, workshop, run);
    }
    let image = workshop.layout.describe(&by_beginning(workshop, named)?)?;
    of_image(documents, workshop, &image, None)
}

/// The newest run of a date that has a record (`20261124`, `2026-11-24`).
fn of_date(runs: &Path, text: &str) -> Result<Option<Run>, Failure> {
    let date: String = text.chars().filter(|letter| *letter != '-').collect();
    if date.len() != 8 || !date.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let of_date = |run: &Run| run.name.starts_with(&date) && run.record.is_some();
    let mut found = runs::list(runs)?;
    found.retain(of_date);
    Ok(found.pop())
}

fn by_beginning(workshop: &Workshop, text: &str) -> Result<Digest, Failure> {
    let beginning = text.trim_start_matches("sha256:");
    let mut found = workshop.layout.images()?;
    found.retain(|digest| digest.hex().starts_with(beginning));
    match found.as_slice() {
        [digest] => Ok(*digest),
        several => {
            let which = match several.len() {
                0 => "no snapshot begins with it".to_owned(),
                count => format!("{count} snapshots begin with it"),
            };
            let text = format!("`{text}` is no lock file, no run is of that date, and {which}");
            Err(Failure::new(Kind::Input, text).hint("see what there is: pristine snapshot list"))
        }
    }
}

/// The kept snapshot of a lock, or one made now.
fn of_lock<'a>(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &'a Workshop,
    lock: Lock,
) -> Result<Place<'a>, Failure> {
    let snapshot = creating::snapshot(context, documents, workshop, &lock)?;
    let label = label_of(documents, workshop, &snapshot.image);
    Ok(Place {
        snapshot,
        lock: Some(lock),
        above: Vec::new(),
        label,
    })
}

/// A snapshot is called by the date of the newest run, if that is the run's, else by its digest.
fn label_of(documents: &Documents, workshop: &Workshop, image: &Digest) -> String {
    let newest = runs::find(&workshop.store.runs_folder(), runs::LATEST).ok();
    let newest = newest.filter(|run| {
        run.record
            .as_ref()
            .is_some_and(|record| record.snapshot == *image)
    });
    let which = match newest {
        Some(run) => date(&run.name),
        None => image.short(),
    };
    format!("{} {which}", documents.project.name)
}

/// The date in a run's name.
fn date(run: &str) -> String {
    run.split('-').next().unwrap_or(run).to_owned()
}

fn of_image<'a>(
    documents: &Documents,
    workshop: &'a Workshop,
    image: &Image,
    label: Option<String>,
) -> Result<Place<'a>, Failure> {
    let lock = lock::old_lock(documents)?.filter(|lock| snapshot::is_of(image, lock));
    let which = label.unwrap_or_else(|| image.reference.manifest.short());
    // Without a lock, where the environment ends and the recipe begins is not known, and nothing here asks for it.
    let layers = image.reference.layers.iter();
    let tree = snapshot::tree_of(layers.map(|layer| layer.diff_id));
    let environment = tree.unwrap_or(image.reference.manifest);
    Ok(Place {
        snapshot: creating::of_image(workshop, image, environment)?,
        lock,
        above: Vec::new(),
        label: format!("{} {which}", documents.project.name),
    })
}

fn of_run<'a>(
    documents: &Documents,
    workshop: &'a Workshop,
    run: Run,
) -> Result<Place<'a>, Failure> {
    let name = run.name.clone();
    let (_, record) = run.recorded()?;
    let image = image_of(workshop, &name, &record)?;
    of_image(documents, workshop, &image, Some(name))
}

fn image_of(workshop: &Workshop, run: &str, record: &Record) -> Result<Image, Failure> {
    if !workshop.layout.images()?.contains(&record.snapshot) {
        let text = format!(
            "the snapshot of the run {run}, {}, is not in the store any more",
            record.snapshot.short()
        );
        return Err(Failure::new(Kind::Input, text).hint(
            "make it again from the lock of that commit: git show COMMIT:pristine.lock > old.lock; pristine enter --snapshot old.lock",
        ));
    }
    Ok(workshop.layout.describe(&record.snapshot)?)
}

/// What a failed build left, in the run that is named or the newest one in which the package failed.
fn of_failure<'a>(
    documents: &Documents,
    workshop: &'a Workshop,
    package: &str,
    run: Option<&str>,
) -> Result<Place<'a>, Failure> {
    let folder = workshop.store.runs_folder();
    let runs = match run {
        Some(run) => vec![runs::find(&folder, run)?],
        None => runs::list(&folder)?,
    };
    let failure = |run: &Run| -> Option<(String, Record, Option<String>)> {
        let record = run.record.clone()?;
        let mut packages = record.packages.iter();
        let outcome = packages.find(|one| one.name == package)?.outcome.clone();
        match outcome {
            Outcome::Failed { kept, .. } => Some((run.name.clone(), record, kept)),
            _ => None,
        }
    };
    let Some((name, record, kept)) = runs.iter().rev().find_map(failure) else {
        let text = format!("`{package}` has failed in no kept run");
        return Err(Failure::new(Kind::Input, text).hint(format!(
            "to stand in its sources: pristine enter --package {package}"
        )));
    };
    let root = kept.map(RootId);
    let there = match &root {
        Some(root) => workshop.backend.has(root)?,
        None => false,
    };
    let Some(root) = root.filter(|_| there) else {
        let text = format!(
            "what the failed build of `{package}` in the run {name} left is not kept any more"
        );
        return Err(Failure::new(Kind::Input, text)
            .hint("build it again: pristine build")
            .hint(format!(
                "or stand in its sources: pristine enter --package {package}"
            )));
    };
    let image = image_of(workshop, &name, &record)?;
    let label = format!("{} {package} failed", date(&name));
    let mut place = of_image(documents, workshop, &image, Some(label))?;
    place.above.push(root);
    Ok(place)
}

fn of_kept<'a>(
    documents: &Documents,
    workshop: &'a Workshop,
    kept: &Kept,
) -> Result<Place<'a>, Failure> {
    let gone = |what: &str| {
        let text = format!(
            "the kept clone `{}` cannot be entered any more: {what}",
            kept.name
        );
        Failure::new(Kind::Input, text).hint(format!(
            "begin anew: pristine enter --forget {0}; pristine enter --keep={0}",
            kept.name
        ))
    };
    if !workshop.layout.images()?.contains(&kept.snapshot) {
        return Err(gone("its snapshot is not in the store"));
    }
    let image = workshop.layout.describe(&kept.snapshot)?;
    let mut place = of_image(documents, workshop, &image, None)?;
    kept.label.clone_into(&mut place.label);
    for root in &kept.roots {
        let root = RootId(root.clone());
        if !workshop.backend.has(&root)? {
            let backend = workshop.choice.name();
            return Err(gone(&format!(
                "the backend `{backend}` has not got what was changed in it (`{}`): it was made with another one, or removed",
                root.0
            )));
        }
        place.above.push(root);
    }
    Ok(place)
}
