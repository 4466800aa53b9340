//! What a command is shown of this machine: a mount where the engine sees the same files, else a
//! copy in a volume of the engine's.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use bollard::models::{
    ContainerCreateBody, HostConfig, Mount, MountBindOptions, MountBindOptionsPropagationEnum,
    MountType, VolumeCreateRequest,
};

use super::container::{remove, volume_mount};
use super::{Shared, program, step};
use crate::backend::BackendError;

/// Where a container that is never started would have what is looked for.
const PLACE: &str = "/seen";

/// A folder of this machine, copied into a volume of the engine's.
#[derive(Debug)]
pub(super) struct Copied {
    source: PathBuf,
    state: State,
    pub(super) volume: String,
}

/// What a folder holds: of each path the size, the time and the inode.
type State = BTreeMap<PathBuf, (u64, i64, i64, u64)>;

impl Shared {
    /// A file or folder of this machine at a path inside.
    pub(super) fn show(
        &self,
        source: &Path,
        target: &str,
        copied: &mut Vec<Copied>,
    ) -> Result<Mount, BackendError> {
        let doing = || step(format!("share `{}`", source.display()));
        let real = fs_err::canonicalize(source)
            .map_err(|error| io::Error::from(error.kind()))
            .map_err(doing())?;
        if self.sees_files()? {
            return Ok(bind(&real, target));
        }
        if !real.is_dir() {
            return Err(BackendError::Unavailable {
                what: format!(
                    "the engine at `{}` is on another machine: folders are copied to it, and `{}` is a file",
                    self.engine.address,
                    source.display()
                ),
                remedy: "share the folder that it is in, or use an engine on this machine"
                    .to_owned(),
            });
        }
        let state = state(&real).map_err(doing())?;
        let same = |known: &&Copied| known.source == real && known.state == state;
        if let Some(known) = copied.iter().find(same) {
            return Ok(volume_mount(&known.volume, target, true));
        }
        let volume = self.copy_folder(&real)?;
        let mount = volume_mount(&volume, target, true);
        copied.push(Copied {
            source: real,
            state,
            volume,
        });
        Ok(mount)
    }

    /// A folder of this machine, to be written in at a path inside: the folder itself, or nothing.
    pub(super) fn share(&self, source: &Path, target: &str) -> Result<Mount, BackendError> {
        let real = fs_err::canonicalize(source)
            .map_err(|error| io::Error::from(error.kind()))
            .map_err(step(format!("share `{}`", source.display())))?;
        if !self.sees_files()? {
            return Err(BackendError::Unavailable {
                what: format!(
                    "the engine at `{}` is on another machine, which cannot write in `{}`",
                    self.engine.address,
                    source.display()
                ),
                remedy:
                    "use an engine on this machine (DOCKER_HOST=unix://…), or the native backend"
                        .to_owned(),
            });
        }
        let mut mount = bind(&real, target);
        mount.read_only = Some(false);
        // What is mounted below would be writable too.
        let options = mount.bind_options.get_or_insert_default();
        options.non_recursive = Some(true);
        Ok(mount)
    }

    /// Whether the engine finds this machine's files by their paths.
    fn sees_files(&self) -> Result<bool, BackendError> {
        if self.engine.own_socket {
            return Ok(true);
        }
        if let Some(known) = self.sees_files.get() {
            return Ok(*known);
        }
        let mark = self.roots.mark().map_err(step("write in the store"))?;
        let (_, image) = self.prepared()?;
        let body = ContainerCreateBody {
            image: Some(image),
            entrypoint: Some(vec![PLACE.to_owned()]),
            labels: Some(self.labels()),
            host_config: Some(HostConfig {
                mounts: Some(vec![bind(mark.path(), PLACE)]),
                network_mode: Some("none".to_owned()),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let sees = self.runtime.block_on(async {
            // An engine refuses to show what it does not find; another fault comes up again.
            match self.engine.api.create_container(None, body).await {
                Ok(made) => remove(&self.engine, &made.id).await.map(|()| true),
                Err(error) => {
                    tracing::debug!(%error, "the engine does not see this machine's files");
                    Ok(false)
                }
            }
        })?;
        Ok(*self.sees_files.get_or_init(|| sees))
    }

    /// Copies a folder into a new volume; gives its name.
    fn copy_folder(&self, folder: &Path) -> Result<String, BackendError> {
        let (_, image) = self.prepared()?;
        let request = VolumeCreateRequest {
            labels: Some(self.labels()),
            ..VolumeCreateRequest::default()
        };
        let folder = folder.to_owned();
        self.runtime.block_on(async {
            let made = self.engine.api.create_volume(request).await;
            let failed = || {
                self.engine
                    .failed("make a volume for a folder of this machine")
            };
            let volume = made.map_err(failed())?.name;
            let write = move |output: &mut dyn Write| archive(&folder, output);
            let target = (volume.as_str(), image.as_str());
            program::fill(&self.engine, target, self.labels(), write).await?;
            Ok(volume)
        })
    }
}

fn bind(source: &Path, target: &str) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.display().to_string()),
        target: Some(target.to_owned()),
        read_only: Some(true),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    }
}

/// Archives a folder as it is now: what is renamed or removed meanwhile is left out.
fn archive(folder: &Path, output: &mut dyn Write) -> io::Result<()> {
    let mut tar = tar::Builder::new(output);
    for path in state(folder)?.into_keys() {
        let name = path.strip_prefix(folder).map_err(io::Error::other)?;
        match append(&mut tar, name, &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            appended => appended?,
        }
    }
    tar.into_inner().map(drop)
}

fn append(tar: &mut tar::Builder<&mut dyn Write>, name: &Path, path: &Path) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    let facts = fs_err::symlink_metadata(path)?;
    if facts.is_symlink() {
        header.set_metadata(&facts);
        return tar.append_link(&mut header, name, fs_err::read_link(path)?);
    }
    if facts.is_dir() {
        header.set_metadata(&facts);
        return tar.append_data(&mut header, name, io::empty());
    }
    if !facts.is_file() {
        return Ok(());
    }
    let file = fs_err::File::open(path)?;
    let facts = file.metadata()?;
    header.set_metadata(&facts);
    // It may grow, and a hole in the archive is filled where it shrinks.
    let content = file.chain(io::repeat(0)).take(facts.len());
    tar.append_data(&mut header, name, content)
}

fn state(folder: &Path) -> io::Result<State> {
    let mut state = State::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(&folder)? {
            let path = entry?.path();
            let facts = match fs_err::symlink_metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                found => found?,
            };
            if facts.is_dir() {
                folders.push(path.clone());
            }
            let time = (facts.mtime(), facts.mtime_nsec());
            state.insert(path, (facts.len(), time.0, time.1, facts.ino()));
        }
    }
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_archived_with_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(folder.path().join("a/b")).unwrap();
        fs_err::write(folder.path().join("a/b/file"), b"content").unwrap();
        fs_err::os::unix::fs::symlink("b/file", folder.path().join("a/link")).unwrap();
        let mut bytes = Vec::new();
        archive(folder.path(), &mut bytes).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap().map(Result::unwrap);
        let names: Vec<_> = entries
            .map(|entry| (entry.path().unwrap().display().to_string(), entry.size()))
            .collect();
        let expected = [("a", 0), ("a/b", 0), ("a/b/file", 7), ("a/link", 0)];
        assert_eq!(names, expected.map(|(name, size)| (name.to_owned(), size)));
        let before = state(folder.path()).unwrap();
        fs_err::write(folder.path().join("a/b/file"), b"contents").unwrap();
        assert_ne!(state(folder.path()).unwrap(), before);
    }
}
