//! A build by hand: what is built, and how, as the nightly build would.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::backend::{Limits, RootId, User};
use crate::build::conditions::Conditions;
use crate::build::package::{Builder, Job, TOPDIR};
use crate::commands::context::{Context, Documents, Workshop, processors};
use crate::commands::lock;
use crate::commands::supplies::Supplies;
use crate::documents::Lock;
use crate::documents::config::Package;
use crate::documents::nearest;
use crate::environment::specs;
use crate::error::{Failure, Kind};
use crate::plan::Plan;
use crate::resolve::{request, sources};

/// A package that is to be built, or made ready for it.
#[derive(Debug)]
pub(super) struct Draft {
    /// Its name.
    pub(super) name: String,
    /// File name of the spec.
    pub(super) spec: String,
    /// The spec, its sources and patches.
    pub(super) files: Vec<(String, PathBuf)>,
    pub(super) build_requires: Vec<String>,
    pub(super) options: Vec<String>,
    pub(super) has_changelog: bool,
    pub(super) processors: usize,
    pub(super) limits: Limits,
    /// Whether it is as the lock has it.
    locked: bool,
}

impl Draft {
    /// A package of the project, as its lock has it; what is to be fetched is fetched.
    pub(super) fn of_project(
        context: &Context<'_>,
        documents: &Documents,
        workshop: &Workshop,
        lock: &Lock,
        name: &str,
    ) -> Result<Self, Failure> {
        let package = package(documents, name)?;
        let locked = lock
            .packages
            .iter()
            .find(|locked| locked.name == package.name);
        let Some(locked) = locked else {
            let text = format!("the package `{name}` is not in the lock");
            return Err(Failure::new(Kind::Lock, text).hint("write it anew: pristine lock"));
        };
        let supply = context.supply(&documents.project, workshop)?;
        sources::fetch(supply, std::slice::from_ref(locked))?;
        let (files, _) = sources::collect(&workshop.store, &documents.project, locked)?;
        Ok(Self {
            name: name.to_owned(),
            spec: file_name(&documents.project.directory.join(&package.spec)),
            files,
            build_requires: locked.facts.build_requires.clone(),
            options: lock::options(package),
            has_changelog: locked.facts.changelog,
            processors: jobs(package),
            limits: Limits::from(&package.limits),
            locked: true,
        })
    }

    /// A spec as it is now, with its sources beside it or at their URLs; of the project's package, its settings.
    pub(super) fn of_spec(
        context: &Context<'_>,
        (documents, workshop): (&Documents, &Workshop),
        (lock, roots): (&Lock, &[RootId]),
        spec: &Path,
        package: Option<&Package>,
    ) -> Result<Self, Failure> {
        let options = package.map(lock::options).unwrap_or_default();
        let request = specs::Request {
            spec,
            macros: &documents.macros(),
            options: &options,
            spool: &workshop.store.temporary_folder(),
        };
        let facts = specs::read(&*workshop.backend, roots, &request, &context.cancel)?;
        let supply = context.supply(&documents.project, workshop)?;
        let known = sources::known(&lock.packages);
        let mut files = vec![(file_name(spec), spec.to_owned())];
        for source in sources::lock(supply, spec, &facts, &known)? {
            let path = match &source.remote {
                Some(remote) => workshop.store.verified(&remote.digest)?,
                None => spec.with_file_name(&source.file),
            };
            files.push((source.file, path));
        }
        Ok(Self {
            name: facts.name,
            spec: file_name(spec),
            files,
            build_requires: facts.build_requires,
            options,
            has_changelog: facts.changelog.is_some(),
            processors: package.map_or_else(|| processors().get(), jobs),
            limits: package
                .map(|package| Limits::from(&package.limits))
                .unwrap_or_default(),
            locked: false,
        })
    }

    /// The BuildRequires that the lock's environment does not meet by itself: none where no package of the project
    /// is needed.
    pub(super) fn open_requires(&self, lock: &Lock) -> Result<Vec<String>, Failure> {
        if !self.locked {
            return Ok(self.build_requires.clone());
        }
        let nodes: Vec<_> = lock
            .packages
            .iter()
            .map(|package| request::node(package.name.as_str(), &package.facts))
            .collect();
        let plan = Plan::new(&nodes)?;
        let alone = plan
            .steps
            .iter()
            .any(|step| step.name == self.name && step.needs.is_empty());
        Ok(if alone {
            Vec::new()
        } else {
            self.build_requires.clone()
        })
    }

    /// What the build itself is told.
    pub(super) fn job<'a>(
        &'a self,
        builder: &'a Builder,
        lock: &Lock,
        supplies: &'a Supplies,
        (macros, spool, conditions): (&'a BTreeMap<String, String>, &'a Path, &'a Conditions),
    ) -> Job<'a> {
        Job {
            name: &self.name,
            builder,
            spec: &self.spec,
            files: self.files.clone(),
            own_packages: supplies.names.clone(),
            repository: supplies.folder(),
            results: supplies.folder(),
            conditions,
            macros,
            options: &self.options,
            epoch: u64::try_from(lock.epoch).unwrap_or(0),
            has_changelog: self.has_changelog,
            processors: self.processors,
            limits: self.limits.clone(),
            spool,
            watched: None,
            keep: None,
        }
    }
}

/// The account that builds.
pub(super) fn builder(documents: &Documents) -> Builder {
    let template = &documents.template.builder;
    Builder {
        name: template.name.to_string(),
        user: User {
            uid: template.uid,
            gid: template.gid,
        },
        home: TOPDIR.to_owned(),
    }
}

/// The project's package of that name.
fn package<'a>(documents: &'a Documents, name: &str) -> Result<&'a Package, Failure> {
    let found = documents
        .packages
        .iter()
        .find(|package| package.name.as_str() == name);
    found.ok_or_else(|| {
        let failure = Failure::new(Kind::Input, format!("the project has no package `{name}`"));
        let names: Vec<&str> = documents
            .packages
            .iter()
            .map(|package| package.name.as_str())
            .collect();
        match nearest(name, &names) {
            Some(nearest) => failure.hint(format!("did you mean `{nearest}`?")),
            None => failure.hint("a package is called like its spec file, without `.spec`"),
        }
    })
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn jobs(package: &Package) -> usize {
    let jobs = package.jobs.map(|jobs| jobs.get() as usize);
    jobs.unwrap_or_else(|| processors().get())
}
