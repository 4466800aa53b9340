//! Taking over what an earlier run built, where all that it was made from is the same.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::build::run::{LOGS, REPOSITORY, Ready, RunError, Site};
use crate::digest::Digest;
use crate::events::Event;
use crate::record::{FileRecord, Outcome, PackageRecord, Record};

/// Changes with what this program does in a build, so that nothing is taken over from versions that did it otherwise.
const WAY: u32 = 1;

/// An earlier run.
#[derive(Debug)]
pub struct Earlier {
    run: String,
    folder: PathBuf,
    packages: BTreeMap<String, PackageRecord>,
}

/// All that can be seen in the bytes of what is built.
#[derive(Serialize)]
struct MadeFrom<'a> {
    way: u32,
    tree: &'a Digest,
    arch: &'a str,
    builder: (&'a str, u32, u32),
    macros: &'a BTreeMap<String, String>,
    options: &'a [String],
    epoch: u64,
    has_changelog: bool,
    spec: &'a str,
    inputs: Vec<(&'a str, &'a Digest)>,
    own: Vec<(&'a Path, &'a Digest)>,
}

/// The digest of all that a package is made from; `own` are the project's packages that are installed for it.
pub fn made_from(site: &Site<'_>, ready: &Ready, own: &[FileRecord]) -> Digest {
    let user = site.builder.user;
    let mut inputs: Vec<_> = ready
        .inputs
        .iter()
        .filter_map(|file| Some((file.path.file_name()?.to_str()?, &file.sha256)))
        .collect();
    inputs.sort_unstable();
    let mut own: Vec<_> = own
        .iter()
        .map(|file| (file.path.as_path(), &file.sha256))
        .collect();
    own.sort_unstable();
    let all = MadeFrom {
        way: WAY,
        tree: site.tree,
        arch: site.arch,
        builder: (&site.builder.name, user.uid, user.gid),
        macros: site.macros,
        options: &ready.options,
        epoch: site.epoch,
        has_changelog: ready.has_changelog,
        spec: &ready.spec,
        inputs,
        own,
    };
    // Numbers, texts and maps with texts as keys: there is nothing that JSON could not say.
    Digest::of(&serde_json::to_vec(&all).unwrap_or_default())
}

impl Earlier {
    /// The run whose folder and record these are.
    pub fn new(folder: PathBuf, record: Record) -> Self {
        let packages = record.packages.into_iter();
        Self {
            run: record.run,
            folder,
            packages: packages
                .map(|package| (package.name.clone(), package))
                .collect(),
        }
    }

    /// Takes a package over, where it was good there and made from the same; where its files are not what they were,
    /// says so and leaves it to be built.
    pub(super) fn take_over(
        &self,
        site: &Site<'_>,
        record: &mut PackageRecord,
    ) -> Result<bool, RunError> {
        let strict = site.tracing.is_some_and(|tracing| tracing.settings.strict);
        // What was not watched there is built anew where that decides.
        let declared = |earlier: &PackageRecord| {
            let usage = earlier.usage.as_ref();
            usage.is_some_and(|usage| usage.to_declare().next().is_none())
        };
        let same = |earlier: &&PackageRecord| {
            earlier.outcome.good()
                && (!strict || declared(earlier))
                && earlier.made_from.is_some()
                && earlier.made_from == record.made_from
        };
        let Some(earlier) = self.packages.get(&record.name).filter(same) else {
            return Ok(false);
        };
        for file in &earlier.outputs {
            let from = self.folder.join(REPOSITORY).join(&file.path);
            let to = site.folder.join(REPOSITORY).join(&file.path);
            match is_still(&from, file).and_then(|()| link(&from, &to)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    return Err(RunError::File {
                        path: to,
                        source: error,
                    });
                }
                Err(error) => {
                    site.sink.emit(Event::Warning {
                        text: format!(
                            "`{}` is built anew, since it cannot be taken from run {}: {error}",
                            record.name, self.run
                        ),
                    });
                    return Ok(false);
                }
            }
        }
        let log = Path::new(LOGS).join(format!("{}.log", record.name));
        // A log is for people: without it the packages are the same.
        let kept = earlier.log.as_ref().map(|log| self.folder.join(log));
        record.log = kept
            .is_some_and(|kept| link(&kept, &site.folder.join(&log)).is_ok())
            .then_some(log);
        record.outputs.clone_from(&earlier.outputs);
        record.usage.clone_from(&earlier.usage);
        record.outcome = Outcome::Reused {
            run: match &earlier.outcome {
                Outcome::Reused { run } => run.clone(),
                _ => self.run.clone(),
            },
        };
        Ok(true)
    }
}

/// Whether a file has the content that its record says.
fn is_still(path: &Path, record: &FileRecord) -> io::Result<()> {
    let (digest, _) = Digest::of_reader(&mut fs_err::File::open(path)?)?;
    if digest == record.sha256 {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "`{}` has SHA-256 {}, and its record says {}",
        path.display(),
        digest.hex(),
        record.sha256.hex()
    )))
}

/// Another name for the same file; on another file system, a copy.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs_err::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            fs_err::copy(from, to).map(drop)
        }
        linked => linked,
    }
}
