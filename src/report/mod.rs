//! What a run leaves for its readers, all from its record: `report.html` for people, `junit.xml` for CI,
//! a copy of the lock for the next comparison, and `index.html` over all kept runs (`docs/reports.md`).

mod audit;
mod comparison;
mod counts;
mod graph;
mod html;
mod junit;
mod night;
#[cfg(test)]
pub(crate) mod sample;
mod trends;

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::documents::{DocumentError, Lock};
use crate::files;
use crate::record::Record;
use crate::record::audit::AuditRecord;
use crate::record::runs::{self, RunsError};

pub use comparison::{
    Comparison, Difference, OutcomeChange, RpmChange, Side, SourceChange, VersionChange,
};
pub use counts::{Counts, took, verdict};
pub use night::{class_name, excerpt, limit_figure, processor_time};

/// The page of one run, in its folder.
pub const REPORT: &str = "report.html";
/// The outcomes of one run for CI servers, in its folder.
pub const JUNIT: &str = "junit.xml";
/// The page of one audit, in its folder.
pub const AUDIT: &str = "audit.html";
/// The page over all kept runs, beside the folder of the runs: that one holds runs and nothing else.
pub const INDEX: &str = "index.html";

/// Why a report could not be written.
#[derive(Debug, Error)]
pub enum ReportError {
    /// The file system refused.
    #[error("cannot write `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// Its cause.
        source: std::io::Error,
    },
    /// The kept runs cannot be listed.
    #[error(transparent)]
    Runs(#[from] RunsError),
    /// The copy of the lock cannot be written.
    #[error(transparent)]
    Lock(#[from] DocumentError),
}

/// Writes everything that a run leaves for its readers into its `folder`, beside its record, and the index
/// of `runs`, the store's folder of runs, where the run is one of them.
pub fn write(runs: &Path, folder: &Path, record: &Record, lock: &Lock) -> Result<(), ReportError> {
    lock.save(folder)?;
    let green = last_green(runs, record)?;
    let since = green.map(|green| {
        let now = Side {
            name: record.run.clone(),
            record: Some(record.clone()),
            lock: Some(lock.clone()),
        };
        Comparison::new(&green, &now)
    });
    let night = night::Night::new(
        record,
        folder,
        since.as_ref(),
        folder.parent() == Some(runs),
    );
    save(&folder.join(REPORT), &html::run::page(&night))?;
    save(&folder.join(JUNIT), &junit::suite(record, folder))?;
    if folder.parent() == Some(runs) {
        index(runs)?;
    }
    Ok(())
}

/// Writes the page of an audit into its `folder`, beside its record; the history comes from `runs`, the store's folder of runs.
pub fn audit(runs: &Path, folder: &Path, record: &AuditRecord) -> Result<(), ReportError> {
    let audit = audit::Audit::new(record, folder.starts_with(runs).then_some(runs));
    save(&folder.join(AUDIT), &html::audit::page(&audit))
}

/// Writes the page over the kept runs anew.
pub fn index(runs: &Path) -> Result<(), ReportError> {
    let trends = trends::Trends::new(runs::each(runs)?);
    save(&index_page(runs), &html::index::page(&trends))
}

/// Where the page over the kept runs is.
pub fn index_page(runs: &Path) -> PathBuf {
    runs.parent().unwrap_or(runs).join(INDEX)
}

/// The newest run before this one that came to its end with every package of the project built.
fn last_green(runs: &Path, record: &Record) -> Result<Option<Side>, ReportError> {
    for (name, folder) in runs::folders(runs)?.into_iter().rev() {
        if name >= record.run {
            continue;
        }
        // A record that cannot be read is no reason to have no report.
        let Ok(earlier) = Record::load(&folder) else {
            continue;
        };
        if earlier.project == record.project && Counts::of(&earlier).green {
            return Ok(Some(Side::of_run(&folder, earlier)));
        }
    }
    Ok(None)
}

fn save(path: &Path, text: &str) -> Result<(), ReportError> {
    files::write_atomic(path, text.as_bytes()).map_err(|source| ReportError::Write {
        path: path.to_owned(),
        source,
    })
}
