//! `pristine doctor`: what this host allows, which backends work here, and what mends what does not.

use std::fmt;
use std::path::Path;

use crate::backend::native;
use crate::backend::{Backend, BackendError};
use crate::commands::choosing::open_one;
use crate::commands::context::{Context, now};
use crate::documents::Lock;
use crate::documents::config::{BackendChoice, Project};
use crate::error::{Failure, Kind};
use crate::store::Store;

mod host;
mod servers;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Check {
    what: String,
    result: String,
    /// What mends it; none where it is good.
    remedy: Option<String>,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.result)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n  to mend it: {remedy}"),
            None => Ok(()),
        }
    }
}

/// The verb. It succeeds when a build would find a backend.
pub(super) fn run(context: &Context<'_>) -> Result<u8, Failure> {
    let failed = |error: std::io::Error| Failure::new(Kind::CannotRun, error);
    let project = Project::load(&context.folder).ok();
    let chosen = context
        .backend_option
        .or(project.as_ref().and_then(|project| project.backend));
    let elsewhere = tempfile::tempdir().map_err(failed)?;
    let store = match &project {
        // Whether overlayfs works depends on the store's file system.
        Some(project) => context.store(project)?.root().to_owned(),
        None => elsewhere.path().to_owned(),
    };
    for check in host::checks(&store) {
        context.ui.result(&check.to_string());
    }
    for check in outside(context, project.as_ref(), &store)? {
        context.ui.result(&check.to_string());
    }
    let mut works = Vec::new();
    for choice in BackendChoice::ALL {
        let (good, text) = examine(choice, &store);
        context.ui.result(&text);
        if good {
            works.push(choice);
        }
    }
    let used = match chosen {
        Some(chosen) => works.into_iter().find(|choice| *choice == chosen),
        None => works.into_iter().next(),
    };
    match (used, chosen) {
        (Some(used), _) => {
            let name = used.name();
            context.ui.result(&format!("builds here use: {name}"));
            Ok(0)
        }
        (None, Some(chosen)) => {
            let text = format!(
                "the chosen backend `{}` does not work on this host",
                chosen.name()
            );
            Err(Failure::new(Kind::CannotRun, text))
        }
        (None, None) => Err(Failure::new(
            Kind::CannotRun,
            "no backend works on this host",
        )),
    }
}

/// The clock, and the servers that the project names.
fn outside(
    context: &Context<'_>,
    project: Option<&Project>,
    store: &Path,
) -> Result<Vec<Check>, Failure> {
    let (mut checks, mut dates, mut newest) = (Vec::new(), Vec::new(), None);
    if let Some(project) = project {
        if !context.offline {
            (checks, dates) = servers::checks(context, project, &Store::open(store)?);
        }
        let lock = Lock::load(&project.directory).ok();
        newest = lock.map(|lock| ("the newest package of the lock".to_owned(), lock.epoch));
    }
    checks.insert(0, host::clock(now(), newest, &dates));
    Ok(checks)
}

/// Whether a backend works here, and the lines that say so.
fn examine(choice: BackendChoice, store: &Path) -> (bool, String) {
    let name = choice.name();
    match open_one(choice, store) {
        Ok(backend) => (true, format!("{name}: works{}", lacks(&*backend))),
        Err(error) => {
            let mut lines = vec![format!("{name}: does not work")];
            for (what, remedy) in problems(choice, error) {
                lines.push(format!("  {what}"));
                if !remedy.is_empty() {
                    lines.push(format!("    to mend it: {remedy}"));
                }
            }
            (false, lines.join("\n"))
        }
    }
}

/// What a backend that works cannot do here.
fn lacks(backend: &dyn Backend) -> String {
    let can = backend.capabilities();
    let mut lacks = Vec::new();
    if !can.limits {
        lacks.push("limits of memory and processes are not enforced (no cgroup can be had)");
    }
    if !can.own_ids {
        lacks.push("root inside is root outside, with fewer rights");
    }
    if lacks.is_empty() {
        String::new()
    } else {
        format!("\n  {}", lacks.join("\n  "))
    }
}

/// What stands in the way, each with what mends it.
fn problems(choice: BackendChoice, error: BackendError) -> Vec<(String, String)> {
    let known = match choice {
        BackendChoice::Native => native::check(),
        BackendChoice::Docker | BackendChoice::Podman => Vec::new(),
    };
    if !known.is_empty() {
        let each = known.into_iter();
        return each.map(|problem| (problem.what, problem.remedy)).collect();
    }
    match error {
        BackendError::Unavailable { what, remedy } => vec![(what, remedy)],
        other => {
            let mut text = other.to_string();
            let mut cause = std::error::Error::source(&other);
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            vec![(text, String::new())]
        }
    }
}
