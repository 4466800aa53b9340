//! The run folder and the record in it.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use time::OffsetDateTime;
use time::macros::format_description;

use crate::build::run::{End, Ran};
use crate::build::schedule::Machine;
use crate::commands::context::{Context, Documents, Workshop, timestamp};
use crate::commands::creating::Snapshot;
use crate::documents::Lock;
use crate::documents::lock::{BaseOrigin, LockedBase};
use crate::error::{Failure, Kind};
use crate::record::{BaseRecord, Ending, FORMAT, HostRecord, Record, Scope, SourceRecord};
use crate::store::Pin;

/// A new folder named for the time, below the store's `runs/` unless the user names one.
pub(super) fn folder(
    context: &Context<'_>,
    workshop: &Workshop,
    output: Option<&Path>,
) -> Result<PathBuf, Failure> {
    let failed = |error| Failure::new(Kind::CannotRun, error);
    if let Some(output) = output {
        fs_err::create_dir_all(output).map_err(failed)?;
        let mut entries = fs_err::read_dir(output).map_err(failed)?;
        if entries.next().is_some() {
            let failure = Failure::new(
                Kind::Input,
                format!("the output folder `{}` is not empty", output.display()),
            );
            return Err(failure.hint("name a new or empty folder"));
        }
        return fs_err::canonicalize(output).map_err(failed);
    }
    let name = moment(context.started.time)
        .format(format_description!(
            "[year][month][day]-[hour][minute][second]"
        ))
        .map_err(|error| Failure::new(Kind::CannotRun, error))?;
    for number in 1.. {
        let run = format!("{name}-{number}");
        let folder = workshop.store.runs_folder().join(&run);
        workshop.store.pin(&[Pin::Run(run)])?;
        match fs_err::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
    }
    unreachable!("a range without an end")
}

/// What a record is made of beside the run itself.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) documents: &'a Documents,
    pub(super) workshop: &'a Workshop,
    pub(super) lock: &'a Lock,
    pub(super) snapshot: &'a Snapshot<'a>,
    pub(super) folder: &'a Path,
    pub(super) scope: Scope,
    pub(super) source: Option<SourceRecord>,
    pub(super) machine: Machine,
}

/// The record of a run that has just ended.
pub(super) fn record(context: &Context<'_>, facts: &Facts<'_>, ran: &Ran) -> Record {
    Record {
        ending: match ran.end {
            End::Complete => Ending::Complete,
            _ => Ending::Interrupted,
        },
        packages: ran.packages.clone(),
        ..begun(context, facts)
    }
}

/// What is known of a run before its packages.
pub(super) fn begun(context: &Context<'_>, facts: &Facts<'_>) -> Record {
    let Facts { lock, snapshot, .. } = facts;
    let mut installed = lock.installed();
    installed.sort();
    let steps = context.steps.lock().unwrap_or_else(PoisonError::into_inner);
    let name = facts.folder.file_name().unwrap_or_default();
    Record {
        format: FORMAT,
        run: name.to_string_lossy().into_owned(),
        project: facts.documents.project.name.to_string(),
        tool: concat!("pristine ", env!("CARGO_PKG_VERSION")).to_owned(),
        started: timestamp(context.started.time),
        ended: timestamp(context.started.present()),
        ending: Ending::Interrupted,
        scope: facts.scope.clone(),
        source: facts.source.clone(),
        host: Some(host(facts.workshop, facts.machine)),
        lock: lock.digest(),
        base: lock.base.as_ref().map(base),
        environment: snapshot.environment,
        snapshot: snapshot.image,
        installed,
        steps: steps.clone(),
        packages: Vec::new(),
    }
}

pub(super) fn host(workshop: &Workshop, machine: Machine) -> HostRecord {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    let kernel = rustix::system::uname();
    HostRecord {
        backend: workshop.choice.name().to_owned(),
        kernel: kernel.release().to_string_lossy().into_owned(),
        processors: number(machine.processors.get()),
        memory: machine.memory,
        jobs: number(machine.jobs.get()),
    }
}

fn base(base: &LockedBase) -> BaseRecord {
    let (name, digest) = match &base.origin {
        BaseOrigin::Image { name, manifest } => (name.to_string(), *manifest),
        BaseOrigin::Rootfs { url, sha256 } => (url.to_string(), *sha256),
    };
    BaseRecord { name, digest }
}

fn moment(since_1970: Duration) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + since_1970
}
