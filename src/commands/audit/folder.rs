//! The folder of an audit, below the run's own: gone again, unless the audit comes to its end.

use std::path::{Path, PathBuf};

use time::OffsetDateTime;
use time::macros::format_description;

use super::Audited;
use crate::build::run::REPOSITORY;
use crate::commands::context::Context;
use crate::error::{Failure, Kind};
use crate::record::audit::{AUDITS, AuditRecord};

/// A folder that is not kept yet.
#[derive(Debug)]
pub(super) struct AuditFolder {
    path: PathBuf,
    kept: bool,
}

fn failed(error: std::io::Error) -> Failure {
    Failure::new(Kind::CannotRun, error)
}

impl AuditFolder {
    /// A new one, named for the time.
    pub(super) fn make(context: &Context<'_>, audited: &Audited) -> Result<Self, Failure> {
        let started = OffsetDateTime::UNIX_EPOCH + context.started.time;
        let name = started
            .format(format_description!(
                "[year][month][day]-[hour][minute][second]"
            ))
            .map_err(|error| Failure::new(Kind::CannotRun, error))?;
        let audits = audited.folder.join(AUDITS);
        fs_err::create_dir_all(&audits).map_err(failed)?;
        for number in 1.. {
            let path = audits.join(format!("{name}-{number}"));
            match fs_err::create_dir(&path) {
                Ok(()) => return Ok(Self { path, kept: false }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(error)),
            }
        }
        unreachable!("a range without an end")
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn name(&self) -> String {
        super::super::job::file_name(&self.path)
    }

    /// Keeps it, with those packages that differ: of the others the run has the same bytes.
    pub(super) fn keep(mut self, record: &AuditRecord) -> Result<PathBuf, Failure> {
        let repository = self.path.join(REPOSITORY);
        let metadata = repository.join("repodata");
        if metadata.exists() {
            fs_err::remove_dir_all(&metadata).map_err(failed)?;
        }
        let artefacts = record
            .packages
            .iter()
            .flat_map(|package| &package.artefacts);
        for artefact in artefacts.filter(|artefact| artefact.is_identical()) {
            fs_err::remove_file(repository.join(&artefact.path)).map_err(failed)?;
        }
        self.kept = true;
        Ok(self.path.clone())
    }
}

impl Drop for AuditFolder {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = fs_err::remove_dir_all(&self.path) {
            tracing::warn!(%error, "an audit's folder was not removed");
        }
        // The folder of all audits, where this was the only one.
        let _others = self.path.parent().map(fs_err::remove_dir);
    }
}
