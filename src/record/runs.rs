//! The runs that a store keeps: a folder each, named for the time, with a record where it came to an end.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{Record, RecordError};

/// A word for the newest run that has a record.
pub const LATEST: &str = "latest";

/// A kept run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its name: its start in UTC and a number that makes it unique. Names sort by time.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Its record; none where it was ended before it wrote one, or is still going on.
    pub record: Option<Record>,
}

/// Why a run cannot be had.
#[derive(Debug, Error)]
pub enum RunsError {
    /// Its record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The folder of all runs cannot be read.
    #[error("cannot list the runs in `{path}`")]
    List {
        /// The folder.
        path: PathBuf,
        /// Its cause.
        source: std::io::Error,
    },
    /// No run fits.
    #[error("there is no run `{wanted}`")]
    None {
        /// What was asked for.
        wanted: String,
        /// The newest runs there are, newest first.
        newest: Vec<String>,
    },
    /// More than one run fits.
    #[error("`{wanted}` may be any of the runs {}", names.join(", "))]
    Several {
        /// What was asked for.
        wanted: String,
        /// The runs that fit.
        names: Vec<String>,
    },
    /// It was ended before it wrote its record.
    #[error(
        "the run `{name}` has no record: it was ended before it could write one, or is still going on"
    )]
    Unrecorded {
        /// The run.
        name: String,
    },
}

/// All runs in a store's folder of runs, oldest first.
pub fn list(folder: &Path) -> Result<Vec<Run>, RunsError> {
    names(folder)?
        .into_iter()
        .map(|name| load(folder, name))
        .collect()
}

/// A kept run, whatever its record is like.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Its record; none where it wrote none.
    pub record: Result<Option<Record>, RecordError>,
}

/// All runs, oldest first, also those whose record cannot be read: one bad file hides no other.
pub fn each(folder: &Path) -> Result<Vec<Entry>, RunsError> {
    let entry = |(name, folder): (String, PathBuf)| Entry {
        record: record(&folder),
        name,
        folder,
    };
    Ok(folders(folder)?.into_iter().map(entry).collect())
}

/// Names and folders of all runs, oldest first.
pub fn folders(folder: &Path) -> Result<Vec<(String, PathBuf)>, RunsError> {
    let names = names(folder)?.into_iter();
    Ok(names
        .map(|name| (name.clone(), folder.join(name)))
        .collect())
}

/// The run of that name, of which that is the only beginning (a date, `20260102`, or a part of one), or `latest`.
pub fn find(folder: &Path, wanted: &str) -> Result<Run, RunsError> {
    let names = names(folder)?;
    if wanted == LATEST {
        return latest(folder, names);
    }
    let fits = |name: &&String| name.starts_with(wanted);
    let fitting: Vec<&String> = match names.iter().find(|name| *name == wanted) {
        Some(exact) => vec![exact],
        None => names.iter().filter(fits).collect(),
    };
    match fitting.as_slice() {
        [name] => load(folder, (*name).clone()),
        [] => Err(none(wanted, &names)),
        several => Err(RunsError::Several {
            wanted: wanted.to_owned(),
            names: several.iter().map(|name| (*name).clone()).collect(),
        }),
    }
}

/// The records of a store's folder of runs, newest first, as far as they can be read.
pub fn newest(folder: &Path) -> impl Iterator<Item = Record> {
    let names = names(folder).unwrap_or_default();
    let folder = folder.to_owned();
    let records = names.into_iter().rev();
    records.filter_map(move |name| record(&folder.join(name)).ok()?)
}

impl Run {
    /// Its record, or an error that says why there is none.
    pub fn recorded(self) -> Result<(PathBuf, Record), RunsError> {
        match self.record {
            Some(record) => Ok((self.folder, record)),
            None => Err(RunsError::Unrecorded { name: self.name }),
        }
    }
}

fn latest(folder: &Path, names: Vec<String>) -> Result<Run, RunsError> {
    let missing = none(LATEST, &names);
    for name in names.into_iter().rev() {
        let run = load(folder, name)?;
        if run.record.is_some() {
            return Ok(run);
        }
    }
    Err(missing)
}

fn none(wanted: &str, names: &[String]) -> RunsError {
    RunsError::None {
        wanted: wanted.to_owned(),
        newest: names.iter().rev().take(5).cloned().collect(),
    }
}

/// Names of all folders, sorted; no folder is no run.
fn names(folder: &Path) -> Result<Vec<String>, RunsError> {
    let failed = |source| RunsError::List {
        path: folder.to_owned(),
        source,
    };
    let entries = match fs_err::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn load(folder: &Path, name: String) -> Result<Run, RunsError> {
    let folder = folder.join(&name);
    Ok(Run {
        record: record(&folder)?,
        name,
        folder,
    })
}

fn record(folder: &Path) -> Result<Option<Record>, RecordError> {
    match Record::find(folder) {
        // A collection took it away just now.
        Err(_) if !folder.exists() => Ok(None),
        record => record,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;

    fn store() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, ended) in [
            ("20260102-030405-1", true),
            ("20260102-030405-2", true),
            ("20260103-030405-1", true),
            ("20260104-030405-1", false),
        ] {
            let run = folder.path().join(name);
            fs_err::create_dir(&run).unwrap();
            if ended {
                let mut record = example();
                name.clone_into(&mut record.run);
                record.save(&run).unwrap();
            }
        }
        folder
    }

    #[test]
    fn runs_are_found_by_name_beginning_and_time() {
        let store = store();
        assert_eq!(list(store.path()).unwrap().len(), 4);
        for (wanted, name) in [
            ("20260102-030405-2", "20260102-030405-2"),
            ("20260103", "20260103-030405-1"),
            ("latest", "20260103-030405-1"),
        ] {
            assert_eq!(find(store.path(), wanted).unwrap().name, name);
        }
        let text = |wanted| find(store.path(), wanted).unwrap_err().to_string();
        assert_eq!(text("1999"), "there is no run `1999`");
        assert_eq!(
            text("20260102"),
            "`20260102` may be any of the runs 20260102-030405-1, 20260102-030405-2"
        );
        let unfinished = find(store.path(), "20260104").unwrap().recorded();
        assert!(matches!(unfinished, Err(RunsError::Unrecorded { .. })));
    }

    #[test]
    fn a_store_without_runs_has_none() {
        let folder = tempfile::tempdir().unwrap();
        assert!(list(&folder.path().join("runs")).unwrap().is_empty());
        let error = find(folder.path(), LATEST).unwrap_err();
        assert_eq!(error.to_string(), "there is no run `latest`");
    }
}
