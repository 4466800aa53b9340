//! Two package files: first as bytes, then the headers, the files' facts and the payloads.

use std::io::{self, BufReader, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use fs_err::File;

use super::cause::{Cause, Finding, Format};
use super::conditions::{Conditions, Varied};
use super::difference::{Comparison, Kind};
use super::files::{self, FileFacts};
use super::found::{Found, Place};
use super::{CompareError, header, payload};
use crate::files::fill;
use crate::rpm::{PackageTags, read_tags};

/// Bytes read of each file at once.
const CHUNK: usize = 256 << 10;

/// A package file whose headers were read.
pub(super) struct Package {
    pub(super) path: PathBuf,
    pub(super) tags: PackageTags,
    pub(super) files: Vec<FileFacts>,
}

/// Compares two package files.
///
/// Two that are the same are read once and nothing else is done. Memory does not depend on their sizes.
pub fn packages(
    first: &Path,
    second: &Path,
    conditions: &Conditions,
) -> Result<Comparison, CompareError> {
    if same_bytes(first, second, 0, 0)? {
        return Ok(Comparison::identical());
    }
    let (a, b) = (Package::read(first)?, Package::read(second)?);
    let mut found = Found::new(conditions);
    header::compare(&a.tags, &b.tags, &mut found);
    let before = found.count();
    files::compare(&a.files, &b.files, &mut found);
    if !same_bytes(first, second, a.tags.payload, b.tags.payload)? {
        payload::compare(&a, &b, &mut found)?;
        if found.count() == before {
            compressed_differently(&mut found);
        }
    }
    Ok(found.finish())
}

/// Whether two files have the same bytes after their starts.
fn same_bytes(
    first: &Path,
    second: &Path,
    first_start: u64,
    second_start: u64,
) -> Result<bool, CompareError> {
    let open = |path: &Path, start: u64| -> io::Result<(File, u64)> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(start))?;
        Ok((file, length.saturating_sub(start)))
    };
    let (mut a, length) = open(first, first_start).map_err(CompareError::read(first))?;
    let (mut b, other) = open(second, second_start).map_err(CompareError::read(second))?;
    if length != other {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let read = fill(&mut a, &mut left).map_err(CompareError::read(first))?;
        let other = fill(&mut b, &mut right).map_err(CompareError::read(second))?;
        if left[..read] != right[..other] {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
    }
}

fn compressed_differently(found: &mut Found<'_>) {
    let finding = if found.conditions.varies(Varied::Processors) {
        Finding::new(
            Cause::Parallelism,
            "the content is the same, its compressed form is not, and the number of processors was varied",
        )
    } else {
        Finding::new(
            Cause::Toolchain,
            "the content is the same, its compressed form is not: another compressor, level or number of threads",
        )
    };
    found.add(
        &Place::of("payload"),
        Kind::Content,
        Format::Header,
        finding,
        None,
    );
}

impl Package {
    fn read(path: &Path) -> Result<Self, CompareError> {
        let file = File::open(path).map_err(CompareError::read(path))?;
        let tags = read_tags(&mut BufReader::with_capacity(CHUNK, file)).map_err(|source| {
            CompareError::Header {
                path: path.to_owned(),
                source,
            }
        })?;
        let files = FileFacts::all(&tags.main);
        Ok(Self {
            path: path.to_owned(),
            tags,
            files,
        })
    }

    /// The payload's bytes, compressed.
    pub(super) fn open_payload(&self) -> io::Result<std::fs::File> {
        let mut file = std::fs::File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.tags.payload))?;
        Ok(file)
    }
}
