//! The record while its run goes on: a line for the run, then one for each package as far as it is known.
//!
//! A run that ends writes its record and takes the journal away. One that is killed leaves it, and it is read in the
//! record's place. As long as the run's process lives it holds a lock on the file, so that nobody takes a run that goes
//! on for one that was killed.

use std::fs::{File, TryLockError};
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Ending, PackageRecord, Record, RecordError, check_format};

/// The file's name in a run folder.
pub const FILE_NAME: &str = "record.partial";

/// The journal of a run that goes on.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Mutex<File>,
}

impl Journal {
    /// Begins one in a run folder, with what is known of the run before its packages.
    pub fn begin(folder: &Path, run: &Record) -> Result<Self, RecordError> {
        let path = folder.join(FILE_NAME);
        let create = || {
            let file = fs_err::File::create_new(&path)?.into_file();
            file.lock()?;
            Ok(file)
        };
        let file = create().map_err(writing(&path))?;
        let journal = Self {
            file: Mutex::new(file),
            path,
        };
        journal.line(run)?;
        Ok(journal)
    }

    /// Adds what is known of a package now; it counts from here on.
    pub fn add(&self, package: &PackageRecord) -> Result<(), RecordError> {
        self.line(package)
    }

    /// Takes it away: the run has its record.
    pub fn end(self) -> Result<(), RecordError> {
        fs_err::remove_file(&self.path).map_err(writing(&self.path))
    }

    fn line(&self, value: &impl serde::Serialize) -> Result<(), RecordError> {
        let wrong = |source| RecordError::Format {
            path: self.path.clone(),
            newest: super::FORMAT,
            source,
        };
        let mut text = serde_json::to_vec(value).map_err(wrong)?;
        text.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&text).map_err(writing(&self.path))
    }
}

fn writing(path: &Path) -> impl FnOnce(std::io::Error) -> RecordError {
    let path = path.to_owned();
    move |source| RecordError::File {
        doing: "write",
        path,
        source,
    }
}

/// What a run that was killed has left of its record; none where it left nothing, or still goes on.
pub(super) fn recovered(folder: &Path) -> Result<Option<Record>, RecordError> {
    let path = folder.join(FILE_NAME);
    let failed = |source| RecordError::File {
        doing: "read",
        path: path.clone(),
        source,
    };
    let file = match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    match file.try_lock_shared() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    let mut lines = BufReader::new(file).lines();
    let Some(first) = lines.next().transpose().map_err(failed)? else {
        return Ok(None);
    };
    check_format(&first, &path)?;
    let Ok(mut record) = serde_json::from_str::<Record>(&first) else {
        return Ok(None);
    };
    // Where the machine lost power the last lines may be anything.
    let packages = lines.map_while(|line| serde_json::from_str(&line.ok()?).ok());
    for package in packages {
        put(&mut record.packages, package);
    }
    for package in &mut record.packages {
        let written = |log: &PathBuf| folder.join(log).exists();
        package.log = package.log.take().filter(written);
    }
    record.ending = Ending::Interrupted;
    record.ended = end(&record);
    Ok(Some(record))
}

fn put(packages: &mut Vec<PackageRecord>, package: PackageRecord) {
    match packages.iter_mut().find(|one| one.name == package.name) {
        Some(known) => *known = package,
        None => packages.push(package),
    }
}

/// The end of the last package that has one, as far as is known.
fn end(record: &Record) -> String {
    let ends = record.packages.iter().map(|one| one.at + one.milliseconds);
    let last = Duration::from_millis(ends.max().unwrap_or(0));
    OffsetDateTime::parse(&record.started, &Rfc3339)
        .ok()
        .and_then(|started| {
            (started + last)
                .replace_nanosecond(0)
                .ok()?
                .format(&Rfc3339)
                .ok()
        })
        .unwrap_or_else(|| record.started.clone())
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;
    use crate::record::Outcome;

    fn begun(folder: &Path) -> (Journal, Record) {
        let mut record = example();
        let packages = std::mem::take(&mut record.packages);
        let journal = Journal::begin(folder, &record).unwrap();
        for mut package in packages.clone() {
            package.outcome = Outcome::Interrupted {};
            journal.add(&package).unwrap();
        }
        journal.add(&packages[0]).unwrap();
        fs_err::create_dir(folder.join("logs")).unwrap();
        fs_err::write(folder.join("logs/a.log"), "all of it").unwrap();
        record.packages = packages;
        (journal, record)
    }

    #[test]
    fn what_a_killed_run_had_done_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, record) = begun(folder.path());
        assert_eq!(Record::find(folder.path()).unwrap(), None, "it goes on");
        drop(journal);
        let left = Record::find(folder.path()).unwrap().unwrap();
        assert_eq!(left.packages[0], record.packages[0]);
        assert_eq!(left.packages[1].outcome, Outcome::Interrupted {});
        assert_eq!(
            left.packages[1].log.as_deref(),
            Some(Path::new("logs/a.log"))
        );
        assert_eq!((left.packages.len(), left.ending), (3, Ending::Interrupted));
        assert_eq!(left.ended, "2026-01-02T03:04:05Z");
        assert_eq!(Record::load(folder.path()).unwrap(), left);
    }

    #[test]
    fn any_damage_at_its_end_costs_the_end_alone() {
        let folder = tempfile::tempdir().unwrap();
        drop(begun(folder.path()));
        let path = folder.path().join(FILE_NAME);
        let whole = fs_err::read(&path).unwrap();
        let first = whole.iter().position(|byte| *byte == b'\n').unwrap();
        for length in (0..=whole.len()).step_by(17) {
            for end in [&b""[..], &[0; 9], &[0xff, b'\n']] {
                fs_err::write(&path, [&whole[..length], end].concat()).unwrap();
                let left = Record::find(folder.path());
                // A journal that begins with something else is none.
                if length > first {
                    assert!(left.unwrap().is_some(), "{length}");
                } else {
                    assert!(!matches!(left, Ok(Some(ref left)) if !left.packages.is_empty()));
                }
            }
        }
    }

    #[test]
    fn a_newer_format_is_refused_by_its_number() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join(FILE_NAME), "{\"format\": 99}\n").unwrap();
        let error = Record::find(folder.path()).unwrap_err();
        assert!(error.to_string().contains("has format 99"), "{error}");
    }
}
