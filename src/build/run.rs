//! The run: package after package in plan order, each with what it needs of those before it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use thiserror::Error;

use crate::backend::{Backend, Limits, RootId};
use crate::build::log::Log;
use crate::build::package::{self, Builder, Built, Job, PackageError};
use crate::cancel::Cancel;
use crate::events::{Event, Sink};
use crate::plan::{Plan, Step};
use crate::record::{Class, FileRecord, Outcome, PackageRecord};
use crate::repository::{RepositoryError, Writer};
use crate::rpm::{PackageFacts, RpmError, read_package};
use crate::solve::{Preference, Request, SolveError, Universe, Wanted};

/// The repository's folder in a run folder.
pub const REPOSITORY: &str = "repository";
/// The logs' folder in a run folder.
pub const LOGS: &str = "logs";

/// One package of the project, ready to build.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Name in the project.
    pub name: String,
    /// File name of the spec.
    pub spec: String,
    /// BuildRequires as rpm prints them.
    pub build_requires: Vec<String>,
    /// The spec, sources and patches: file name, and where it lies on the host.
    pub files: Vec<(String, PathBuf)>,
    /// The same for the record.
    pub inputs: Vec<FileRecord>,
    /// More arguments of rpmbuild.
    pub options: Vec<String>,
    /// Whether the spec's change log gives the date.
    pub has_changelog: bool,
    /// Processors.
    pub processors: usize,
    /// Limits.
    pub limits: Limits,
}

/// What all builds of a run share.
#[derive(Clone, Copy)]
#[expect(
    missing_debug_implementations,
    reason = "a bundle of references; the sink has no debug form"
)]
pub struct Site<'a> {
    /// Where clones are made.
    pub backend: &'a dyn Backend,
    /// The snapshot's layers, lowest first.
    pub roots: &'a [RootId],
    /// What is installed in it.
    pub installed: &'a [PackageFacts],
    /// The run folder.
    pub folder: &'a Path,
    /// Who builds.
    pub builder: &'a Builder,
    /// Macros of all builds.
    pub macros: &'a BTreeMap<String, String>,
    /// Date of what has no other, seconds since 1970.
    pub epoch: u64,
    /// The architecture, as rpm names it.
    pub arch: &'a str,
    /// Where archives are spooled.
    pub spool: &'a Path,
    /// Hears of progress.
    pub sink: &'a dyn Sink,
    /// Ends the run.
    pub cancel: &'a Cancel,
}

/// Why the run could not go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// A package could not be tried.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The run's repository could not be written.
    #[error("cannot write the run's repository")]
    Repository(#[from] RepositoryError),
    /// A package that was built cannot be read.
    #[error("a package that was just built cannot be read")]
    Rpm(#[from] RpmError),
    /// The solver could not be used.
    #[error(transparent)]
    Solve(#[from] SolveError),
    /// A file in the run folder.
    #[error("cannot write `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// Its cause.
        source: std::io::Error,
    },
}

/// A package that was built in this run.
#[derive(Debug)]
struct Own {
    facts: PackageFacts,
    file: FileRecord,
}

impl AsRef<PackageFacts> for Own {
    fn as_ref(&self) -> &PackageFacts {
        &self.facts
    }
}

/// A run in progress.
struct Run<'a> {
    site: Site<'a>,
    repository: PathBuf,
    writer: Writer,
    own: Vec<Own>,
    bad: BTreeSet<String>,
}

/// Builds every package of the plan; what does not build is in the result, and what needs it is skipped.
pub fn run(
    site: Site<'_>,
    plan: &Plan,
    packages: &[Ready],
) -> Result<Vec<PackageRecord>, RunError> {
    let repository = site.folder.join(REPOSITORY);
    for folder in [&repository, &site.folder.join(LOGS)] {
        fs_err::create_dir_all(folder).map_err(|source| RunError::File {
            path: folder.clone(),
            source,
        })?;
    }
    let mut run = Run {
        site,
        writer: Writer::new(&repository, site.epoch),
        repository,
        own: Vec::new(),
        bad: BTreeSet::new(),
    };
    run.writer.write()?;
    let mut records = Vec::new();
    for (number, step) in plan.steps.iter().enumerate() {
        let Some(ready) = packages.iter().find(|ready| ready.name == step.name) else {
            continue;
        };
        site.sink.emit(Event::PackageStarted {
            package: step.name.clone(),
            number: number + 1,
            total: plan.steps.len(),
        });
        records.push(run.package(step, ready)?);
    }
    Ok(records)
}

impl Run<'_> {
    fn package(&mut self, step: &Step, ready: &Ready) -> Result<PackageRecord, RunError> {
        let started = Instant::now();
        let mut record = PackageRecord {
            name: ready.name.clone(),
            version: None,
            outcome: Outcome::Built {},
            needs: step.needs.iter().cloned().collect(),
            inputs: ready.inputs.clone(),
            own_packages: Vec::new(),
            outputs: Vec::new(),
            source_date_epoch: i64::try_from(self.site.epoch).unwrap_or(0),
            at: 0,
            milliseconds: 0,
            phases: Vec::new(),
            given: None,
            used: None,
            log: None,
        };
        let mut excerpt = Vec::new();
        if let Some(because) = step.needs.iter().find(|name| self.bad.contains(*name)) {
            record.outcome = Outcome::Skipped {
                because: because.clone(),
            };
        } else {
            match self.needed(ready)? {
                Ok(own) => excerpt = self.build(ready, own, &mut record)?,
                Err(reason) => record.outcome = Outcome::failed(reason, Class::Dependency),
            }
            let millis = started.elapsed().as_millis();
            record.milliseconds = u64::try_from(millis).unwrap_or(u64::MAX);
        }
        if !record.outcome.good() {
            self.bad.insert(ready.name.clone());
        }
        self.site.sink.emit(Event::PackageEnded {
            package: ready.name.clone(),
            outcome: record.outcome.to_string(),
            good: record.outcome.good(),
            took: started.elapsed(),
            log: record.log.as_ref().map(|log| self.site.folder.join(log)),
            excerpt,
        });
        Ok(record)
    }

    /// The project's own packages to install for a build, in order; or, in words, why they cannot be.
    fn needed(&self, ready: &Ready) -> Result<Result<Vec<FileRecord>, String>, RunError> {
        let mut universe = Universe::new(self.site.arch)?;
        universe.add_installed(self.site.installed);
        let own = universe.add_repository("project", Preference::default(), &self.own);
        let asked_by = format!("package {} (BuildRequires)", ready.name);
        let request = Request {
            install: ready
                .build_requires
                .iter()
                .map(|capability| Wanted::dependency(capability, asked_by.clone()))
                .collect(),
            ..Request::default()
        };
        Ok(match universe.solve(&request) {
            Ok(solution) => Ok(solution
                .packages
                .iter()
                .filter(|selected| selected.repository == own)
                .map(|selected| self.own[selected.package].file.clone())
                .collect()),
            Err(why) => Err(format!("what it needs cannot be installed: {why}")),
        })
    }

    fn build(
        &mut self,
        ready: &Ready,
        own: Vec<FileRecord>,
        record: &mut PackageRecord,
    ) -> Result<Vec<String>, RunError> {
        let relative = PathBuf::from(LOGS).join(format!("{}.log", ready.name));
        let path = self.site.folder.join(&relative);
        let file_error = |source| RunError::File {
            path: path.clone(),
            source,
        };
        let mut log = Log::create(&path).map_err(file_error)?;
        let job = Job {
            name: &ready.name,
            builder: self.site.builder,
            spec: &ready.spec,
            files: ready.files.clone(),
            own_packages: own
                .iter()
                .map(|file| file.path.display().to_string())
                .collect(),
            repository: &self.repository,
            macros: self.site.macros,
            options: &ready.options,
            epoch: self.site.epoch,
            has_changelog: ready.has_changelog,
            processors: ready.processors,
            limits: ready.limits.clone(),
            spool: self.site.spool,
        };
        let built = package::build(
            self.site.backend,
            self.site.roots,
            &job,
            &mut log,
            self.site.cancel,
        )?;
        log.finish().map_err(file_error)?;
        record.log = Some(relative);
        record.own_packages = own;
        match built {
            Built::Packages(files) => {
                self.publish(&files)?;
                record.outputs = files;
                Ok(Vec::new())
            }
            Built::Failed(verdict) => {
                record.outcome = Outcome::failed(verdict.reason, Class::Other);
                Ok(verdict.excerpt)
            }
        }
    }

    /// Makes new packages known to later builds and to the run's repository.
    fn publish(&mut self, files: &[FileRecord]) -> Result<(), RunError> {
        for file in files {
            let facts = read_package(&self.repository.join(&file.path))?;
            self.writer.add(&file.path)?;
            if !facts.is_source() {
                self.own.push(Own {
                    facts,
                    file: file.clone(),
                });
            }
        }
        self.writer.write()?;
        Ok(())
    }
}
