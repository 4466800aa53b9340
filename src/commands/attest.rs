//! `pristine attest`: a statement of what each package of a run was made from, signed where there is a key.

use std::path::{Path, PathBuf};

use crate::cli::{AttestArgs, Attesting};
use crate::commands::context::Context;
use crate::commands::kept;
use crate::documents::Lock;
use crate::error::{Failure, Kind};
use crate::events::{Event, Sink as _};
use crate::record::Record;
use crate::statement::{self, BUILDER, FOLDER, SigningKey, Source, Written};

pub(super) fn run(context: &Context<'_>, args: &AttestArgs) -> Result<u8, Failure> {
    let key = key(args.key.as_deref())?;
    let (folder, record) = kept::run(context, &args.run)?;
    let lock = Lock::load(&folder)?;
    if lock.digest() != record.lock {
        return Err(other_lock(&folder));
    }
    let output = args.output.clone().unwrap_or_else(|| folder.join(FOLDER));
    let source = Source {
        folder,
        record,
        lock,
    };
    let written = write(&source, key.as_ref(), &args.attesting, &output)?;
    tell(context, &written, key.as_ref());
    Ok(u8::from(!written.elsewhere.is_empty()))
}

/// Sees before the builds that the key can be used after them; it is not kept meanwhile.
pub(super) fn before_build(key: Option<&Path>) -> Result<(), Failure> {
    self::key(key).map(drop)
}

/// Writes the statements of a run that has just ended, where there is a key to sign them and nobody waits for
/// the end.
pub(super) fn after_build(
    context: &Context<'_>,
    (path, attesting): (Option<&Path>, &Attesting),
    (folder, record, lock): (&Path, &Record, &Lock),
) -> Result<(), Failure> {
    let Some(key) = key(path)?.filter(|_| !context.cancel.is_cancelled()) else {
        return Ok(());
    };
    let source = Source {
        folder: folder.to_owned(),
        record: record.clone(),
        lock: lock.clone(),
    };
    let written = context.step(
        "signing the statements",
        || write(&source, Some(&key), attesting, &folder.join(FOLDER)),
        |written| format!("{} packages, by {}", written.files.len(), key.id()),
    )?;
    warn(context, &written);
    Ok(())
}

fn key(path: Option<&Path>) -> Result<Option<SigningKey>, Failure> {
    Ok(path.map(SigningKey::load).transpose()?)
}

fn write(
    source: &Source,
    key: Option<&SigningKey>,
    attesting: &Attesting,
    output: &Path,
) -> Result<Written, Failure> {
    let runs = source.folder.parent().unwrap_or(Path::new("."));
    let builder = attesting.builder_id.as_deref().unwrap_or(BUILDER);
    let earlier = |run: &str| earlier(runs, run);
    Ok(statement::write(source, &earlier, (key, builder), output)?)
}

/// An earlier run beside this one, with the lock that it built.
fn earlier(runs: &Path, run: &str) -> Option<Source> {
    let folder = runs.join(Path::new(run).file_name()?);
    let record = Record::load(&folder).ok()?;
    let lock = Lock::load(&folder).ok()?;
    (lock.digest() == record.lock).then_some(Source {
        folder,
        record,
        lock,
    })
}

fn tell(context: &Context<'_>, written: &Written, key: Option<&SigningKey>) {
    let by = match key {
        Some(key) => format!("signed by {}", key.id()),
        None => "NOT signed: nobody vouches for what they say (--key FILE signs them)".to_owned(),
    };
    let number = written.files.len();
    let files = written.files.iter().map(|file| file.display().to_string());
    let lines: Vec<String> = files.collect();
    context.ui.note(&format!("{number} statements, {by}"));
    if !lines.is_empty() {
        context.ui.result(&lines.join("\n"));
    }
    warn(context, written);
}

fn warn(context: &Context<'_>, written: &Written) {
    for (package, run) in &written.elsewhere {
        let text = format!(
            "no statement of `{package}`: it was built in the run {run}, which is not kept beside this one with its record and lock"
        );
        context.ui.emit(Event::Warning { text });
    }
}

fn other_lock(folder: &Path) -> Failure {
    let lock: PathBuf = folder.join(crate::documents::lock::FILE);
    Failure::new(
        Kind::Lock,
        format!(
            "`{}` is not the lock that the record names: a statement would say what was not so",
            lock.display()
        ),
    )
    .hint("take the run's folder as the build left it")
}
