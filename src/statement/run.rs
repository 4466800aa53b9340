//! The statements of a run: one for each package that was built, in the run's folder or elsewhere.

use std::path::{Component, Path, PathBuf};

use super::provenance::{Beside, Statement};
use super::{Envelope, SigningKey, StatementError};
use crate::digest::Digest;
use crate::documents::{Lock, Name};
use crate::files;
use crate::record::{FILE_NAME, FileRecord, Outcome, PackageRecord, Record};

/// The folder of a run's statements.
pub const FOLDER: &str = "attestations";

/// The folder of a run's packages.
const REPOSITORY: &str = "repository";

/// A run with all that its statements are made of.
#[derive(Debug)]
pub struct Source {
    /// The run's folder.
    pub folder: PathBuf,
    /// Its record.
    pub record: Record,
    /// The lock that it built.
    pub lock: Lock,
}

/// What was written, and what was not.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The files, in the order of the run.
    pub files: Vec<PathBuf>,
    /// Packages that were taken from a run that is not there any more, with its name.
    pub elsewhere: Vec<(String, String)>,
}

/// Writes one statement for each package of the run that was built, into `output`: signed where there is a
/// `key`, else bare. A package that was taken from an earlier run gets that run's statement, where `earlier`
/// still has the run.
pub fn write(
    source: &Source,
    earlier: &dyn Fn(&str) -> Option<Source>,
    (key, builder): (Option<&SigningKey>, &str),
    output: &Path,
) -> Result<Written, StatementError> {
    let mut written = Written::default();
    std::fs::create_dir_all(output).map_err(failed("make the folder", output))?;
    for package in &source.record.packages {
        let statement = match &package.outcome {
            Outcome::Built {} => Some(statement(source, package, builder)?),
            Outcome::Reused { run } => {
                let made = reused(source, package, earlier(run), builder)?;
                if made.is_none() {
                    let why = (package.name.clone(), run.clone());
                    written.elsewhere.push(why);
                }
                made
            }
            _ => None,
        };
        if let Some(statement) = statement {
            written.files.push(save(output, &statement, key)?);
        }
    }
    Ok(written)
}

/// The statement of the run that built what this run took over.
fn reused(
    source: &Source,
    package: &PackageRecord,
    built_in: Option<Source>,
    builder: &str,
) -> Result<Option<Statement>, StatementError> {
    let Some(built_in) = built_in else {
        return Ok(None);
    };
    let mut packages = built_in.record.packages.iter();
    let same = |built: &&PackageRecord| {
        built.name == package.name
            && built.outputs == package.outputs
            && built.outcome == Outcome::Built {}
    };
    let Some(built) = packages.find(same) else {
        return Ok(None);
    };
    for output in &package.outputs {
        self::output(&source.folder, output)?;
    }
    statement(&built_in, built, builder).map(Some)
}

/// The statement of a package that the run built; its files are hashed again.
fn statement(
    source: &Source,
    package: &PackageRecord,
    builder: &str,
) -> Result<Statement, StatementError> {
    if package.name.parse::<Name>().is_err() {
        return Err(outside(&package.name));
    }
    for output in &package.outputs {
        self::output(&source.folder, output)?;
    }
    let log = package.log.as_ref();
    let log = log.map(|log| digest(&inside(&source.folder, log)?));
    let beside = Beside {
        record: digest(&source.folder.join(FILE_NAME))?,
        log: log.transpose()?,
    };
    let (record, lock) = (&source.record, &source.lock);
    Ok(Statement::new(record, lock, package, beside, builder))
}

/// Writes a statement: in an envelope where it is signed, else as it is, under another name.
fn save(
    output: &Path,
    statement: &Statement,
    key: Option<&SigningKey>,
) -> Result<PathBuf, StatementError> {
    let package = statement.package();
    let json = |source| StatementError::Json {
        package: package.to_owned(),
        source,
    };
    let text = serde_json::to_vec(statement).map_err(json)?;
    let (name, mut text) = match key {
        Some(key) => {
            let envelope = Envelope::sign(&text, key);
            let line = serde_json::to_vec(&envelope).map_err(json)?;
            (format!("{package}.intoto.jsonl"), line)
        }
        None => (format!("{package}.statement.json"), text),
    };
    text.push(b'\n');
    let path = output.join(name);
    files::write_atomic(&path, &text).map_err(failed("write", &path))?;
    Ok(path)
}

/// A package of the run, hashed again: its file in the run's `folder`.
pub fn output(folder: &Path, file: &FileRecord) -> Result<PathBuf, StatementError> {
    let path = inside(folder, &Path::new(REPOSITORY).join(&file.path))?;
    let found = digest(&path)?;
    if found == file.sha256 {
        return Ok(path);
    }
    Err(StatementError::Changed {
        path,
        expected: file.sha256.to_string(),
        found: found.to_string(),
    })
}

/// A path of the record in the run's folder.
fn inside(folder: &Path, path: &Path) -> Result<PathBuf, StatementError> {
    let mut parts = path.components();
    if parts.all(|part| matches!(part, Component::Normal(_))) {
        return Ok(folder.join(path));
    }
    Err(outside(&path.to_string_lossy()))
}

fn outside(name: &str) -> StatementError {
    StatementError::Outside {
        name: crate::words::clean(name, false),
    }
}

/// The digest of a file's content.
pub fn digest(path: &Path) -> Result<Digest, StatementError> {
    let mut file = std::fs::File::open(path).map_err(failed("read", path))?;
    let (digest, _) = Digest::of_reader(&mut file).map_err(failed("read", path))?;
    Ok(digest)
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StatementError {
    let path = path.to_owned();
    move |source| StatementError::File {
        doing,
        path,
        source,
    }
}
