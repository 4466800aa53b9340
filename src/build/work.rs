//! What a worker does with one package: finds what it needs, takes it over from an earlier run or builds it, reads it.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::backend::{RootId, Trace};
use crate::build::declared::{Ground, Spec, judge};
use crate::build::log::Log;
use crate::build::needed::{Installed, Own};
use crate::build::package::{self, Built, Job, Tried};
use crate::build::reuse;
use crate::build::run::{LOGS, REPOSITORY, Ready, RunError, Site};
use crate::events::Event;
use crate::record::{Class, FileRecord, Given, Outcome, PackageRecord, UsageRecord};
use crate::repository::{Described, Writer};
use crate::rpm::{PackageFacts, read_package};

/// One package at work.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) site: Site<'a>,
    pub(super) installed: &'a Installed,
    /// The environment for what is held against it, where builds are watched.
    pub(super) ground: Option<&'a Ground<'a>>,
    pub(super) ready: &'a Ready,
    /// Processors that it is given.
    pub(super) processors: NonZero<usize>,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) record: PackageRecord,
    /// Its packages, for those that need them.
    pub(super) own: Vec<Arc<Own>>,
    /// What the run's repository will say of them.
    pub(super) described: Vec<Described>,
    /// The lines that say best why it failed.
    pub(super) excerpt: Vec<String>,
}

impl Work<'_> {
    /// The whole way; `own` is what the packages before it have made that it may use.
    pub(super) fn run(
        self,
        mut record: PackageRecord,
        own: &[Arc<Own>],
    ) -> Result<Finished, RunError> {
        let started = Instant::now();
        let ready = self.ready;
        let mut excerpt = Vec::new();
        let asked_by = format!("package {} (BuildRequires)", ready.name);
        let chosen = match &ready.recorded {
            Some(recorded) => Ok(recorded.own.clone()),
            None => self
                .installed
                .choose(&asked_by, &ready.build_requires, own)?,
        };
        match chosen {
            Err(reason) => record.outcome = Outcome::failed(reason, Class::Dependency),
            Ok(chosen) => {
                record.made_from = Some(reuse::made_from(&self.site, ready, &chosen));
                let own = own.iter().filter(|own| chosen.contains(&own.file));
                let own: Vec<&PackageFacts> = own.map(|own| &own.facts).collect();
                record.own_packages = chosen;
                if !self.taken_over(&mut record)? {
                    excerpt = self.build(&mut record, &own)?;
                }
            }
        }
        let (own, described) = self.read(&record.outputs)?;
        record.milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Finished {
            record,
            own,
            described,
            excerpt,
        })
    }

    /// Whether an earlier run made it from the same.
    fn taken_over(&self, record: &mut PackageRecord) -> Result<bool, RunError> {
        match self.site.earlier {
            Some(earlier) => earlier.take_over(&self.site, record),
            None => Ok(false),
        }
    }

    /// Builds it, with the project's packages `chosen` installed; gives the lines that say best why it failed.
    fn build(
        &self,
        record: &mut PackageRecord,
        chosen: &[&PackageFacts],
    ) -> Result<Vec<String>, RunError> {
        let Self { site, ready, .. } = *self;
        let relative = PathBuf::from(LOGS).join(format!("{}.log", ready.name));
        let path = site.folder.join(&relative);
        let file_error = |source| RunError::File {
            path: path.clone(),
            source,
        };
        let mut log = Log::create(&path).map_err(file_error)?.heard_by(|phase| {
            site.sink.emit(Event::PackagePhase {
                package: ready.name.clone(),
                phase: phase.to_owned(),
            });
        });
        record.log = Some(relative);
        record.given = Some(Given {
            processors: u32::try_from(self.processors.get()).unwrap_or(u32::MAX),
            memory: ready.limits.memory,
        });
        let watched = self
            .ground
            .map(|ground| ground.watched(&ready.asks, chosen));
        let own = record.own_packages.iter();
        let repository = site.folder.join(REPOSITORY);
        let recorded = ready.recorded.as_ref();
        let job = Job {
            name: &ready.name,
            builder: &ready.conditions.builder(site.builder),
            spec: &ready.spec,
            files: ready.files.clone(),
            own_packages: own.map(|file| file.path.display().to_string()).collect(),
            repository: recorded.map_or(&repository, |recorded| &recorded.repository),
            results: &repository,
            conditions: &ready.conditions,
            macros: site.macros,
            options: &ready.options,
            epoch: site.epoch,
            has_changelog: ready.has_changelog,
            processors: self.processors.get(),
            limits: ready.limits.clone(),
            spool: site.spool,
            watched: watched.as_ref(),
            keep: self.kept_name(),
        };
        let Tried { built, trace } =
            package::build(site.backend, site.roots, &job, &mut log, site.cancel)?;
        record.phases = log.phases();
        record.used = log.used();
        log.finish().map_err(file_error)?;
        let whole = matches!(built, Built::Packages(_));
        record.usage = trace.and_then(|trace| self.usage(chosen, trace, whole));
        self.settle(record, built)
    }

    /// Writes down what came of it; gives the lines that say best why it failed.
    fn settle(&self, record: &mut PackageRecord, built: Built) -> Result<Vec<String>, RunError> {
        match built {
            Built::Packages(files) => {
                match self.forbidden(record) {
                    None => record.outputs = files,
                    Some(outcome) => {
                        self.withdraw(&files)?;
                        record.outcome = outcome;
                    }
                }
                Ok(Vec::new())
            }
            Built::Failed(verdict, root) => {
                let excerpt = verdict.excerpt.clone();
                record.outcome = (*verdict).into();
                if let Outcome::Failed { kept, .. } = &mut record.outcome {
                    *kept = self.bounded(root);
                }
                Ok(excerpt)
            }
        }
    }

    /// What it used, held against what it declares. Of a build that broke off nothing is called unused.
    fn usage(
        &self,
        own: &[&PackageFacts],
        trace: Result<Trace, String>,
        whole: bool,
    ) -> Option<UsageRecord> {
        let (ground, tracing) = (self.ground?, self.site.tracing?);
        let spec = Spec {
            name: &self.ready.name,
            asks: &self.ready.asks,
            own,
        };
        let mut usage = match trace {
            Ok(trace) => judge(ground, spec, &trace, &tracing.settings),
            Err(why) => UsageRecord::untraced(why),
        };
        if !whole {
            usage.unused.clear();
        }
        Some(usage)
    }

    /// The outcome of a package that uses what it does not declare, where that is an error.
    fn forbidden(&self, record: &PackageRecord) -> Option<Outcome> {
        let tracing = self.site.tracing?;
        let usage = record.usage.as_ref().filter(|_| tracing.settings.strict)?;
        let lines: Vec<String> = usage
            .to_declare()
            .map(|one| format!("{} (`{}`)", one.package.name, one.add))
            .collect();
        (!lines.is_empty()).then(|| {
            let reason = format!(
                "it uses what its spec does not declare: {}",
                lines.join(", ")
            );
            Outcome::failed(reason, Class::Undeclared)
        })
    }

    /// Takes packages out of the run's repository again.
    fn withdraw(&self, files: &[FileRecord]) -> Result<(), RunError> {
        let repository = self.site.folder.join(REPOSITORY);
        for path in files.iter().map(|file| repository.join(&file.path)) {
            fs_err::remove_file(&path).map_err(|source| RunError::File { path, source })?;
        }
        Ok(())
    }

    /// The root in which a failed build is kept.
    fn kept_name(&self) -> Option<RootId> {
        let run = self.site.folder.file_name()?.to_str()?;
        let wanted = self.site.keep_failed.load(Ordering::Relaxed) > 0;
        wanted.then(|| RootId::failed(run, self.ready.name.as_str()))
    }

    /// Keeps no more of them than the run may.
    fn bounded(&self, root: Option<RootId>) -> Option<String> {
        let root = root?;
        let one_less = |left: usize| left.checked_sub(1);
        let left = self.site.keep_failed;
        if left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
            .is_ok()
        {
            return Some(root.0);
        }
        if let Err(error) = self.site.backend.remove(&root) {
            tracing::warn!(%error, root = root.0, "a failed build's clone was not removed");
        }
        None
    }

    fn read(&self, files: &[FileRecord]) -> Result<(Vec<Arc<Own>>, Vec<Described>), RunError> {
        let repository = self.site.folder.join(REPOSITORY);
        let mut own = Vec::new();
        let mut described = Vec::new();
        for file in files {
            let facts = read_package(&repository.join(&file.path))?;
            described.push(Writer::describe(&repository, &file.path, self.site.epoch)?);
            if !facts.is_source() {
                let file = file.clone();
                own.push(Arc::new(Own { facts, file }));
            }
        }
        Ok((own, described))
    }
}
