//! Building a run's packages again, each under conditions of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;

use super::Ground;
use super::audited::Origin;
use super::material::Material;
use crate::audit::variations::{First, Second, only};
use crate::backend::Limits;
use crate::build::conditions::Conditions;
use crate::build::reuse;
use crate::build::run::{self, End, Ran, Ready, Site};
use crate::commands::context::processors;
use crate::commands::{building, earlier, job, lock as locking};
use crate::documents::config::Package;
use crate::error::{Failure, Kind};
use crate::plan::{Plan, Step};
use crate::record::PackageRecord;
use crate::record::audit::Variation;

/// A package that is built again.
#[derive(Debug)]
pub(in crate::commands) struct Subject<'a> {
    pub(in crate::commands) package: &'a PackageRecord,
    pub(in crate::commands) origin: Origin,
    pub(in crate::commands) first: First,
    pub(super) second: Second,
    material: Material,
    settings: &'a Package,
    has_changelog: bool,
}

impl<'a> Subject<'a> {
    /// Finds what it was made from; `vary` says under which conditions it is built again.
    pub(in crate::commands) fn new(
        ground: Ground<'a>,
        package: &'a PackageRecord,
        vary: impl FnOnce(&First) -> Second,
    ) -> Result<Self, Failure> {
        let name = package.name.as_str();
        let mut packages = ground.documents.packages.iter();
        let Some(settings) = packages.find(|package| package.name.as_str() == name) else {
            let text = format!(
                "the project has no package `{name}` any more, and so nothing says how it is built"
            );
            return Err(ground.audited.elsewhere(text));
        };
        let origin = ground.audited.origin(ground.workshop, package);
        let account = job::builder(ground.documents);
        let mut first = First::of(
            &origin.package,
            (&account.name, account.user),
            &origin.kernel,
        );
        first.built = origin.time.map(|(from, _)| from);
        if origin.package.given.is_none() {
            first.processors = processors().get();
        }
        Ok(Self {
            second: vary(&first),
            material: Material::find(ground, package)?,
            has_changelog: ground.audited.locked(name)?.facts.changelog,
            settings,
            origin,
            first,
            package,
        })
    }

    /// What was different the second time, as far as it is to be searched.
    pub(super) fn variations(&self) -> Vec<Variation> {
        let varied = self.second.varied.iter();
        varied.filter_map(|one| one.variation).collect()
    }

    /// Its conditions with only some of what was varied.
    pub(super) fn only(&self, some: &BTreeSet<Variation>) -> Conditions {
        only(&self.first, &self.second, some)
    }

    /// Ready to be built under some conditions.
    fn ready(&self, conditions: Conditions) -> Ready {
        let known = earlier::Known {
            time: Some(std::time::Duration::from_millis(
                self.origin.package.milliseconds,
            )),
            memory: self.first.memory,
            ..earlier::Known::default()
        };
        Ready {
            name: self.package.name.clone(),
            version: self.package.version.clone().unwrap_or_default(),
            spec: self.material.spec.clone(),
            build_requires: Vec::new(),
            asks: Vec::new(),
            files: self.material.files.clone(),
            inputs: self.package.inputs.clone(),
            options: locking::options(self.settings),
            has_changelog: self.has_changelog,
            demand: building::demand(self.settings, known),
            limits: Limits::from(&self.settings.limits),
            conditions,
            recorded: Some(self.material.recorded.clone()),
        }
    }
}

/// Builds packages again, in a folder of their own: all at once, since none waits for another.
pub(in crate::commands) fn rebuild(
    ground: Ground<'_>,
    folder: &Path,
    subjects: &[(&Subject<'_>, Conditions)],
) -> Result<Ran, Failure> {
    let ready: Vec<Ready> = subjects
        .iter()
        .map(|(subject, conditions)| subject.ready(conditions.clone()))
        .collect();
    let steps = ready.iter().map(|ready| Step {
        name: ready.name.clone(),
        needs: BTreeSet::new(),
    });
    let plan = Plan {
        steps: steps.collect(),
    };
    let (roots, macros) = (ground.second.roots(), ground.documents.macros());
    let builder = job::builder(ground.documents);
    let spool: PathBuf = ground.workshop.store.temporary_folder();
    let lock = &ground.audited.lock;
    let site = Site {
        backend: &*ground.workshop.backend,
        roots: &roots,
        tree: &ground.second.tree,
        installed: &[],
        folder,
        builder: &builder,
        macros: &macros,
        epoch: u64::try_from(lock.epoch).unwrap_or(0),
        arch: lock.architecture.as_str(),
        spool: &spool,
        keep_failed: &AtomicUsize::new(0),
        machine: ground.machine,
        fail_fast: false,
        // The run itself was watched.
        tracing: None,
        earlier: None,
        started: ground.context.started.instant,
        journal: None,
        enter: "",
        sink: ground.context.ui,
        cancel: &ground.context.cancel,
    };
    same_recipe(ground, &site, subjects, &ready)?;
    let ran = run::run(site, &plan, &ready)?;
    match ran.end {
        End::Cancelled => Err(Failure::new(Kind::Interrupted, "interrupted")),
        End::Broken(error) => Err(error.into()),
        End::Complete | End::Failed => Ok(ran),
    }
}

/// Refuses to build what would not be made from the same as then: other macros, options, or another builder.
fn same_recipe(
    ground: Ground<'_>,
    site: &Site<'_>,
    subjects: &[(&Subject<'_>, Conditions)],
    ready: &[Ready],
) -> Result<(), Failure> {
    let by_this_version =
        ground.audited.record.tool == concat!("pristine ", env!("CARGO_PKG_VERSION"));
    // A digest says nothing where the environment itself has drifted, or where another version computed it.
    if !ground.same_environment || !by_this_version {
        return Ok(());
    }
    for ((subject, _), ready) in subjects.iter().zip(ready) {
        let own = &subject.package.own_packages;
        let then = subject.package.made_from;
        if then.is_some_and(|then| then != reuse::made_from(site, ready, own)) {
            return Err(ground.audited.elsewhere(format!(
                "`{}` would not be built as in the run {}: macros, options of rpmbuild or the builder are others now",
                ready.name, ground.audited.record.run
            )));
        }
    }
    Ok(())
}
