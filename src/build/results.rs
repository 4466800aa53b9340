//! What a build leaves in `SRPMS` and `RPMS`, taken out of its clone once every process in it is dead.
//!
//! A build may leave anything there. Only regular files with names that rpm would choose are taken, so many bytes
//! and no more, and each is read as a package before anybody else sees it.

use std::fs::File;
use std::io::{self, Read, Seek as _, Write};
use std::path::Path;

use super::package::{Job, PackageError};
use crate::backend::Clone;
use crate::digest::HashingWriter;
use crate::record::FileRecord;
use crate::rpm::read_package;
use crate::tree::member::{Kind, Members};

/// The results, or in words why they cannot be taken.
pub(super) type Results = Result<Vec<FileRecord>, String>;

/// Takes the packages into the folder of the results, sorted by name.
pub(super) fn collect(clone: &mut dyn Clone, job: &Job<'_>) -> Result<Results, PackageError> {
    let most = most(job).map_err(failed(job))?;
    let mut packages = Taken {
        folder: job.results,
        files: Vec::new(),
    };
    for folder in ["SRPMS", "RPMS"] {
        let spool = match copy_out(clone, folder, job, most)? {
            Ok(spool) => spool,
            Err(why) => return Ok(Err(why)),
        };
        if let Err(why) = packages.take(spool).map_err(failed(job))? {
            return Ok(Err(why));
        }
    }
    let mut files = std::mem::take(&mut packages.files);
    files.sort();
    Ok(Ok(files))
}

fn failed<'a>(job: &'a Job<'_>) -> impl Fn(io::Error) -> PackageError + use<'a> {
    |source| PackageError::Files {
        doing: "collect the results",
        package: job.name.to_owned(),
        source,
    }
}

/// Bytes that the results may have: half of what is free where they are spooled, since they lie there twice for a moment.
fn most(job: &Job<'_>) -> io::Result<u64> {
    let space = rustix::fs::statvfs(job.spool)?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize) / 2)
}

/// A folder as tar, spooled on disk; holes of sparse files count as what they claim to be.
fn copy_out(
    clone: &mut dyn Clone,
    folder: &str,
    job: &Job<'_>,
    most: u64,
) -> Result<Result<File, String>, PackageError> {
    let spool = tempfile::tempfile_in(job.spool).map_err(failed(job))?;
    let mut spool = Bounded {
        file: spool,
        left: most,
        exceeded: false,
    };
    match clone.copy_out(&format!("{}/{folder}", job.builder.home), &mut spool) {
        Err(_) if spool.exceeded => Ok(Err(format!(
            "what it left in {folder} is larger than the {} MiB that there is room for",
            most >> 20
        ))),
        Err(source) => Err(PackageError::Sandbox {
            package: job.name.to_owned(),
            source,
        }),
        Ok(()) => {
            spool.file.rewind().map_err(failed(job))?;
            Ok(Ok(spool.file))
        }
    }
}

/// A file that refuses to grow beyond a size.
struct Bounded {
    file: File,
    left: u64,
    exceeded: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            self.exceeded = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        };
        self.left = left;
        self.file.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Packages that lie in the repository's folder already; removed again unless all are good.
struct Taken<'a> {
    folder: &'a Path,
    files: Vec<FileRecord>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        for file in &self.files {
            // They are not listed anywhere yet: one that stays does no harm.
            let _removed = fs_err::remove_file(self.folder.join(&file.path));
        }
    }
}

impl Taken<'_> {
    /// Takes the packages of an archive; in words why one is none.
    fn take(&mut self, spool: File) -> io::Result<Result<(), String>> {
        let mut members = Members::new(io::BufReader::new(spool));
        while let Some(member) = members.next_member().map_err(io::Error::other)? {
            let path = String::from_utf8_lossy(&member.name).into_owned();
            let name = package_name(Path::new(&path)).filter(|_| member.kind == Kind::File);
            let Some(name) = name else { continue };
            match keep(&mut members, &name, self.folder) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Ok(Err(format!("another build has made `{name}` already")));
                }
                kept => self.files.push(kept?),
            }
            if let Err(error) = read_package(&self.folder.join(&name)) {
                return Ok(Err(format!("its result `{name}` is no package: {error}")));
            }
        }
        Ok(Ok(()))
    }
}

/// The file name of a path that ends in `.rpm`, if it is one that rpm itself would choose.
fn package_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let clean = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._+~^-%".contains(&byte));
    (clean
        && Path::new(name)
            .extension()
            .is_some_and(|extension| extension == "rpm")
        && !name.starts_with('.'))
    .then(|| name.to_owned())
}

fn keep(content: &mut impl Read, name: &str, repository: &Path) -> io::Result<FileRecord> {
    let file = tempfile::Builder::new()
        .prefix(".pristine-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(repository)?;
    let mut hashing = HashingWriter::new(file);
    let size = io::copy(content, &mut hashing)?;
    let (mut file, sha256) = hashing.finish();
    file.flush()?;
    file.persist_noclobber(repository.join(name))
        .map_err(|error| error.error)?;
    Ok(FileRecord {
        path: name.into(),
        sha256,
        size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_rpm_would_choose_are_kept() {
        for (path, name) in [
            ("RPMS/x86_64/a-1-1.x86_64.rpm", Some("a-1-1.x86_64.rpm")),
            ("a+b-1~rc1^2-1.noarch.rpm", Some("a+b-1~rc1^2-1.noarch.rpm")),
            ("RPMS/.hidden.rpm", None),
            ("RPMS/a\u{1b}[31m.rpm", None),
            ("RPMS/readme", None),
        ] {
            assert_eq!(package_name(Path::new(path)).as_deref(), name, "{path}");
        }
    }

    #[test]
    fn a_spool_does_not_grow_beyond_its_bound() {
        let mut spool = Bounded {
            file: tempfile::tempfile().unwrap(),
            left: 5,
            exceeded: false,
        };
        spool.write_all(b"abc").unwrap();
        assert!(!spool.exceeded);
        spool.write_all(b"def").unwrap_err();
        assert!(spool.exceeded);
        assert_eq!(spool.file.metadata().unwrap().len(), 3);
    }
}
