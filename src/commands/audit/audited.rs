//! The run that is audited: its record, its lock, and whether the project's files are still those of it.

use std::path::{Path, PathBuf};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::commands::context::{Context, Documents, Workshop};
use crate::commands::kept;
use crate::documents::lock::{FILE, LockedPackage};
use crate::documents::{Lock, nearest};
use crate::error::{Failure, Kind};
use crate::record::{Outcome, PackageRecord, Record, runs};
use crate::store::Pin;

/// A run, read.
#[derive(Debug)]
pub(in crate::commands) struct Audited {
    pub(in crate::commands) folder: PathBuf,
    pub(in crate::commands) record: Record,
    pub(in crate::commands) lock: Lock,
}

/// How and when a package was really built: by this run, or by the one that this one took it from.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Origin {
    pub(in crate::commands) package: PackageRecord,
    pub(in crate::commands) kernel: String,
    /// Its first and its last second since 1970, where the record says so.
    pub(in crate::commands) time: Option<(i64, i64)>,
}

impl Audited {
    /// Finds a run and the lock that it was made from; from now on no collection removes it.
    pub(super) fn find(
        context: &Context<'_>,
        workshop: &Workshop,
        wanted: &str,
    ) -> Result<Self, Failure> {
        let (folder, record) = kept::run(context, wanted)?;
        Self::new(context, workshop, folder, record)
    }

    /// A run whose record has been read.
    pub(in crate::commands) fn new(
        context: &Context<'_>,
        workshop: &Workshop,
        folder: PathBuf,
        record: Record,
    ) -> Result<Self, Failure> {
        let folder =
            fs_err::canonicalize(folder).map_err(|error| Failure::new(Kind::Input, error))?;
        if folder.starts_with(workshop.store.runs_folder()) {
            workshop.store.pin(&[Pin::Run(record.run.clone())])?;
        }
        let lock = lock_of(context, &folder, &record)?;
        Ok(Self {
            folder,
            record,
            lock,
        })
    }

    /// Refuses a project whose files are others than those of the run: what is built is no rebuild then.
    pub(in crate::commands) fn fits(&self, documents: &Documents) -> Result<(), Failure> {
        let inputs = documents.inputs()?;
        let locked = &self.lock.inputs;
        let named = |document: &crate::documents::lock::LockedDocument, kind: &str| {
            format!("the {kind} `{}`", document.name)
        };
        let mut other = Vec::new();
        if inputs.template != locked.template {
            other.push(named(&locked.template, "template"));
        }
        if inputs.recipe != locked.recipe {
            let recipe = locked.recipe.as_ref().or(inputs.recipe.as_ref());
            other.extend(recipe.map(|recipe| named(recipe, "recipe")));
        }
        if other.is_empty() {
            return Ok(());
        }
        Err(self.elsewhere(format!(
            "the run {} was made from another state of the project: not the same are {}",
            self.record.run,
            other.join(", ")
        )))
    }

    /// A failure that the project's commit of then would mend.
    pub(super) fn elsewhere(&self, text: String) -> Failure {
        let failure = Failure::new(Kind::Lock, text);
        match &self.record.source {
            Some(source) => failure.hint(format!(
                "check the commit of the run out, and audit there: git worktree add ../then {}; pristine -C ../then --store STORE audit {}",
                source.commit, self.record.run
            )),
            None => failure.hint("audit it where the project's files are those of the run"),
        }
    }

    /// The packages that are asked for; all without names.
    pub(super) fn choose(&self, names: &[String]) -> Result<Vec<&PackageRecord>, Failure> {
        let known: Vec<&str> = self
            .record
            .packages
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
            let text = format!("the run {} has no package `{name}`", self.record.run);
            let failure = Failure::new(Kind::Input, text);
            return Err(match nearest(name, &known) {
                Some(nearest) => failure.hint(format!("did you mean `{nearest}`?")),
                None => failure.hint(format!("its packages: {}", known.join(", "))),
            });
        }
        let asked = |package: &&PackageRecord| names.is_empty() || names.contains(&package.name);
        Ok(self.record.packages.iter().filter(asked).collect())
    }

    /// A package in the lock.
    pub(super) fn locked(&self, name: &str) -> Result<&LockedPackage, Failure> {
        let mut packages = self.lock.packages.iter();
        packages
            .find(|package| package.name.as_str() == name)
            .ok_or_else(|| {
                Failure::new(
                    Kind::Lock,
                    format!("the run's lock has no package `{name}`"),
                )
            })
    }

    /// How a package was really built.
    pub(in crate::commands) fn origin(
        &self,
        workshop: &Workshop,
        package: &PackageRecord,
    ) -> Origin {
        let earlier = match &package.outcome {
            Outcome::Reused { run } => runs::find(&workshop.store.runs_folder(), run)
                .ok()
                .and_then(|run| run.record),
            _ => None,
        };
        let built = earlier.and_then(|record| {
            let mut packages = record.packages.iter();
            let built = packages.find(|one| one.name == package.name)?.clone();
            Some(origin(&record, built))
        });
        built.unwrap_or_else(|| match package.outcome {
            // Nobody knows when.
            Outcome::Reused { .. } => Origin {
                time: None,
                ..origin(&self.record, package.clone())
            },
            _ => origin(&self.record, package.clone()),
        })
    }
}

fn origin(record: &Record, package: PackageRecord) -> Origin {
    let started = OffsetDateTime::parse(&record.started, &Rfc3339).ok();
    let seconds = |milliseconds: u64| i64::try_from(milliseconds / 1000).unwrap_or(0);
    let time = started.map(|started| {
        let from = started.unix_timestamp() + seconds(package.at);
        (from, from + seconds(package.milliseconds) + 1)
    });
    let host = record.host.as_ref();
    Origin {
        kernel: host.map(|host| host.kernel.clone()).unwrap_or_default(),
        time,
        package,
    }
}

/// The lock beside the record; or the project's, where it is the same.
fn lock_of(context: &Context<'_>, folder: &Path, record: &Record) -> Result<Lock, Failure> {
    for place in [folder, &context.folder] {
        if !place.join(FILE).is_file() {
            continue;
        }
        let lock = Lock::load(place)?;
        if lock.digest() == record.lock {
            return Ok(lock);
        }
    }
    let text = format!(
        "the lock of the run {} ({}) lies neither beside its record nor in the project",
        record.run,
        record.lock.short()
    );
    let failure = Failure::new(Kind::Lock, text);
    Err(match &record.source {
        Some(source) => failure.hint(format!(
            "take it from git: git show {}:{FILE} > {}",
            source.commit,
            folder.join(FILE).display()
        )),
        None => failure.hint(format!("put it there: {}", folder.join(FILE).display())),
    })
}
