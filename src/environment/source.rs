//! A source package taken apart: by rpm in a sandbox, and what comes out read as what a stranger wrote.

use std::io::{self, BufReader, Seek as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::backend::{Backend, BackendError, Clone, Command, Exit, RootId, User};
use crate::cancel::Cancel;
use crate::environment::pack::{Entry, pack};
use crate::environment::specs;
use crate::tree::TreeError;
use crate::tree::member::{Kind, Members};

/// Where it is taken apart.
const PLACE: &str = "/builddir";

/// Why a source package cannot be used.
#[derive(Debug, Error)]
pub enum SourceError {
    /// rpm refused it.
    #[error("`{package}` cannot be unpacked ({exit}): {}", .said.trim())]
    Rpm {
        /// The package.
        package: PathBuf,
        /// How rpm ended.
        exit: Exit,
        /// What it said.
        said: String,
    },
    /// It is not what a source package is.
    #[error("`{package}` is not a source package that can be built: {why}")]
    Content {
        /// The package.
        package: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The sandbox.
    #[error("cannot unpack `{package}` in a sandbox")]
    Sandbox {
        /// The package.
        package: PathBuf,
        /// Its cause.
        source: BackendError,
    },
    /// Files on the host.
    #[error("cannot unpack `{package}`")]
    File {
        /// The package.
        package: PathBuf,
        /// Its cause.
        source: io::Error,
    },
}

/// Unpacks a source package into `folder` on the host, which is empty; gives its spec.
pub fn unpack(
    (backend, roots): (&dyn Backend, &[RootId]),
    user: User,
    (package, spool): (&Path, &Path),
    folder: &Path,
    cancel: &Cancel,
) -> Result<PathBuf, SourceError> {
    let sandbox = |source| SourceError::Sandbox {
        package: package.to_owned(),
        source,
    };
    let file = |source| SourceError::File {
        package: package.to_owned(),
        source,
    };
    let entries = [
        Entry::folder("./", user),
        // rpm makes neither where it has nothing to put there.
        Entry::folder("./SPECS", user),
        Entry::folder("./SOURCES", user),
        Entry::host("package.src.rpm".to_owned(), package.to_owned(), user),
    ];
    let mut clone = backend.open(roots).map_err(sandbox)?;
    let mut packed = pack(&entries, 0, spool).map_err(file)?;
    clone.copy_in(PLACE, &mut packed).map_err(sandbox)?;
    let topdir = format!("_topdir {PLACE}");
    let mut command = Command::new([
        "rpm",
        "--install",
        "--nosignature",
        "--define",
        &topdir,
        "package.src.rpm",
    ]);
    PLACE.clone_into(&mut command.cwd);
    command.user = user;
    command.env.insert("HOME".to_owned(), PLACE.to_owned());
    let (exit, out, err) = specs::run(&mut *clone, &command, cancel).map_err(sandbox)?;
    if !exit.success() {
        return Err(SourceError::Rpm {
            package: package.to_owned(),
            exit,
            said: format!("{out}{err}"),
        });
    }
    for part in ["SPECS", "SOURCES"] {
        copy_out(&mut *clone, part, (package, spool), folder)?;
    }
    clone.destroy().map_err(sandbox)?;
    spec_in(folder, package)
}

/// Takes the plain files of a folder inside, whatever else may be there.
fn copy_out(
    clone: &mut dyn Clone,
    part: &str,
    (package, spool): (&Path, &Path),
    folder: &Path,
) -> Result<(), SourceError> {
    let file = |source| SourceError::File {
        package: package.to_owned(),
        source,
    };
    let mut archive = tempfile::tempfile_in(spool).map_err(file)?;
    let copied = clone.copy_out(&format!("{PLACE}/{part}"), &mut archive);
    if let Err(source) = copied {
        return Err(SourceError::Sandbox {
            package: package.to_owned(),
            source,
        });
    }
    archive.rewind().map_err(file)?;
    let mut members = Members::new(BufReader::new(archive));
    let unsafe_archive = |error: TreeError| file(io::Error::other(error));
    while let Some(member) = members.next_member().map_err(unsafe_archive)? {
        let path = String::from_utf8_lossy(&member.name).into_owned();
        if member.kind != Kind::File {
            continue;
        }
        let Some(name) = file_name(&path) else {
            return Err(SourceError::Content {
                package: package.to_owned(),
                why: format!("it has a file of the name `{}`", path.escape_debug()),
            });
        };
        let mut to = fs_err::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(folder.join(name))
            .map_err(file)?;
        io::copy(&mut members, &mut to).map_err(file)?;
    }
    Ok(())
}

/// The name of a file that lies at the top and could have been named in a spec.
fn file_name(path: &str) -> Option<&str> {
    let name = path.strip_prefix("./").unwrap_or(path);
    let good = !name.is_empty()
        && !name.starts_with('.')
        && !name.contains('/')
        && !name.chars().any(char::is_control);
    good.then_some(name)
}

fn spec_in(folder: &Path, package: &Path) -> Result<PathBuf, SourceError> {
    let entries = fs_err::read_dir(folder).and_then(|entries| {
        entries
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()
    });
    let mut specs = entries.map_err(|source| SourceError::File {
        package: package.to_owned(),
        source,
    })?;
    specs.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "spec")
    });
    match specs.as_slice() {
        [spec] => Ok(spec.clone()),
        several => Err(SourceError::Content {
            package: package.to_owned(),
            why: format!("it has {} specs", several.len()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_taken() {
        for (path, name) in [
            ("./a.spec", Some("a.spec")),
            ("a b.tar.gz", Some("a b.tar.gz")),
            ("sub/a", None),
            ("../a", None),
            (".hidden", None),
            ("a\u{1b}[31m", None),
            ("", None),
        ] {
            assert_eq!(file_name(path), name, "{path:?}");
        }
    }
}
