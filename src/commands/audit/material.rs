//! What a package was made from, found again: spec and sources by their digests, own packages from the run.

use std::path::{Path, PathBuf};

use crate::build::run::{REPOSITORY, Recorded};
use crate::commands::audit::Ground;
use crate::commands::job;
use crate::digest::Digest;
use crate::environment::source;
use crate::error::{Failure, Kind};
use crate::record::{FileRecord, PackageRecord};
use crate::resolve::sources;
use crate::store::ScratchFolder;

/// Spec, sources and own packages of one package.
#[derive(Debug)]
pub(in crate::commands) struct Material {
    /// File name of the spec.
    pub(super) spec: String,
    pub(super) files: Vec<(String, PathBuf)>,
    pub(super) recorded: Recorded,
    /// Holds the files that were taken out of a source package.
    _unpacked: Option<ScratchFolder>,
}

impl Material {
    /// Finds all of it, in the project, the store, the run's source package, or where the lock says.
    pub(super) fn find(ground: Ground<'_>, package: &PackageRecord) -> Result<Self, Failure> {
        let spec = package
            .inputs
            .iter()
            .map(|input| job::file_name(&input.path));
        let spec = spec.into_iter().find(|name| {
            Path::new(name)
                .extension()
                .is_some_and(|extension| extension == "spec")
        });
        let Some(spec) = spec else {
            let text = format!("the record names no spec of `{}`", package.name);
            return Err(Failure::new(Kind::Input, text));
        };
        let recorded = own_packages(ground, package)?;
        if let Some(files) = lying(ground, package) {
            return Ok(Self {
                spec,
                files,
                recorded,
                _unpacked: None,
            });
        }
        if let Some((folder, files)) = unpacked(ground, package)? {
            return Ok(Self {
                spec,
                files,
                recorded,
                _unpacked: Some(folder),
            });
        }
        let locked = ground.audited.locked(&package.name)?;
        let supply = ground
            .context
            .supply(&ground.documents.project, ground.workshop)?;
        sources::fetch(supply, std::slice::from_ref(locked))?;
        match lying(ground, package) {
            Some(files) => Ok(Self { spec, files, recorded, _unpacked: None }),
            None => Err(ground.audited.elsewhere(format!(
                "spec or sources of `{}` are not those of the run {} any more, and the run keeps no source package of it",
                package.name, ground.audited.record.run
            ))),
        }
    }
}

/// The inputs, where every one of them lies in the store or the project with the content of then.
fn lying(ground: Ground<'_>, package: &PackageRecord) -> Option<Vec<(String, PathBuf)>> {
    let find = |input: &FileRecord| {
        let name = job::file_name(&input.path);
        if ground.workshop.store.blob(&input.sha256).is_some()
            && let Ok(path) = ground.workshop.store.verified(&input.sha256)
        {
            return Some((name, path));
        }
        let path = ground.documents.project.directory.join(&input.path);
        (digest(&path).ok()? == input.sha256).then_some((name, path))
    };
    package.inputs.iter().map(find).collect()
}

/// Inputs by name, and the folder that they lie in.
type Unpacked = (ScratchFolder, Vec<(String, PathBuf)>);

/// The inputs out of the source package that the run keeps, where it keeps one.
fn unpacked(ground: Ground<'_>, package: &PackageRecord) -> Result<Option<Unpacked>, Failure> {
    let is_source = |file: &&FileRecord| file.path.display().to_string().ends_with(".src.rpm");
    let Some(kept) = package.outputs.iter().find(is_source) else {
        return Ok(None);
    };
    let Some(path) = ground.artefact(kept)? else {
        return Ok(None);
    };
    let folder = ground.workshop.store.scratch_folder()?;
    let roots = ground.second.roots();
    let spool = ground.workshop.store.temporary_folder();
    source::unpack(
        (&*ground.workshop.backend, &roots),
        job::builder(ground.documents).user,
        (&path, &spool),
        folder.path(),
        &ground.context.cancel,
    )?;
    let mut files = Vec::new();
    for input in &package.inputs {
        let name = job::file_name(&input.path);
        let path = folder.path().join(&name);
        if digest(&path).ok() != Some(input.sha256) {
            return Ok(None);
        }
        files.push((name, path));
    }
    Ok(Some((folder, files)))
}

/// The own packages that were installed then: those of the run itself, so that one difference stays one difference.
fn own_packages(ground: Ground<'_>, package: &PackageRecord) -> Result<Recorded, Failure> {
    let repository = ground.audited.folder.join(REPOSITORY);
    for file in &package.own_packages {
        if ground.artefact(file)?.is_none() {
            let text = format!(
                "`{}` was built with `{}`, which the run does not keep any more",
                package.name,
                file.path.display()
            );
            return Err(Failure::new(Kind::Input, text)
                .hint(format!("put it there: {}", repository.display())));
        }
    }
    Ok(Recorded {
        repository,
        own: package.own_packages.clone(),
    })
}

impl Ground<'_> {
    /// A package file that the run keeps, which must be what the record says; none where it is gone.
    pub(in crate::commands) fn artefact(
        &self,
        file: &FileRecord,
    ) -> Result<Option<PathBuf>, Failure> {
        let path = self.audited.folder.join(REPOSITORY).join(&file.path);
        match digest(&path) {
            Ok(found) if found == file.sha256 => Ok(Some(path)),
            Ok(found) => {
                let text = format!(
                    "`{}` is not what the run built: its SHA-256 is {}, and the record says {}",
                    path.display(),
                    found.hex(),
                    file.sha256.hex()
                );
                Err(Failure::new(Kind::Input, text).hint(
                    "somebody has changed it, or the disk is damaged: build anew, and audit that",
                ))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::new(Kind::CannotRun, error)),
        }
    }
}

/// SHA-256 of a file.
pub(in crate::commands) fn digest(path: &Path) -> std::io::Result<Digest> {
    let (digest, _) = Digest::of_reader(&mut fs_err::File::open(path)?)?;
    Ok(digest)
}
