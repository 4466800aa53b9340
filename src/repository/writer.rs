//! Writes a folder of packages as an rpm-md repository: the same packages and time give the same bytes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rpmrepo_metadata::{
    Checksum, FilelistsXml, MetadataError, OtherXml, Package, PackageOptions, PackageSource,
    PrimaryXml, RepomdData, RepomdRecord, RepomdXml, utils,
};
use rustix::fs::{CWD, RenameFlags};

use super::RepositoryError;
use super::repomd::check_location;
use crate::digest::Digest;

/// The compression level: metadata of one project is small.
const LEVEL: i32 = 9;
/// The same of what is replaced soon.
const QUICK: i32 = 1;

/// A repository in a folder, to which packages are added one after the other.
///
/// What the metadata say of a package is made and compressed once, when it is added: `update` joins the pieces, so
/// that its cost is that of copying and hashing them; `write` makes one piece of them, smaller, and on disk for sure.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    time: u64,
    packages: BTreeMap<PathBuf, [Piece; 3]>,
}

/// What the metadata will say of one package.
#[derive(Debug)]
pub struct Described {
    location: PathBuf,
    pieces: [Piece; 3],
}

/// A package's part of one metadata file.
#[derive(Debug)]
struct Piece {
    open: Vec<u8>,
    /// The same as a compressed frame of its own.
    frame: Vec<u8>,
}

/// The metadata files.
#[derive(Debug, Clone, Copy)]
enum File {
    Primary,
    Filelists,
    Other,
}

impl Writer {
    /// An empty repository in `folder`; `time` (seconds since 1970) is what all its files and its revision say.
    pub fn new(folder: &Path, time: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            time,
            packages: BTreeMap::new(),
        }
    }

    /// Reads the package file at `relative`, a path below `folder`, for a writer of the same folder and time.
    pub fn describe(
        folder: &Path,
        relative: &Path,
        time: u64,
    ) -> Result<Described, RepositoryError> {
        let path = folder.join(relative);
        let failed = |reason: String| RepositoryError::Package {
            path: path.clone(),
            reason,
        };
        let location = relative
            .to_str()
            .ok_or_else(|| failed("its name is not UTF-8".to_owned()))?;
        check_location(location, "the repository")?;
        // The header is checked by our own reader first: the crate's takes offsets as given.
        crate::rpm::read_package(&path).map_err(|error| failed(chain(&error)))?;
        let package = read(&path, location, time).map_err(|error| failed(error.to_string()))?;
        Described::new(&package).map_err(|error| failed(error.to_string()))
    }

    /// Adds what was read of a package; one with the same path before it is replaced.
    pub fn insert(&mut self, described: Described) {
        self.packages.insert(described.location, described.pieces);
    }

    /// Reads the package file at `relative`, a path below the folder, and adds it.
    pub fn add(&mut self, relative: &Path) -> Result<(), RepositoryError> {
        self.insert(Self::describe(&self.folder, relative, self.time)?);
        Ok(())
    }

    /// Writes the metadata of all packages added so far, beside the old, and swaps the two:
    /// a reader sees the old repository or the new. Gives the digest of `repomd.xml`.
    pub fn write(&self) -> Result<Digest, RepositoryError> {
        self.replace(true)
    }

    /// The same for a repository that grows: quicker, and not made to survive a loss of power.
    pub fn update(&self) -> Result<Digest, RepositoryError> {
        self.replace(false)
    }

    fn replace(&self, last: bool) -> Result<Digest, RepositoryError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| RepositoryError::Write { path, source }
        };
        let fresh = tempfile::Builder::new()
            .prefix(".repodata-")
            .tempdir_in(&self.folder)
            .map_err(failed(&self.folder))?;
        let digest = self
            .write_into(fresh.path(), last)
            .map_err(|error| failed(fresh.path())(into_io(error)))?;
        let place = self.folder.join("repodata");
        let swapped = match rustix::fs::renameat_with(
            CWD,
            fresh.path(),
            CWD,
            &place,
            RenameFlags::EXCHANGE,
        ) {
            // The first time there is nothing to swap with.
            Err(rustix::io::Errno::NOENT) => fs::rename(fresh.path(), &place),
            other => other.map_err(io::Error::from),
        };
        swapped
            .and_then(|()| sync(&self.folder, last))
            .map_err(failed(&place))?;
        Ok(digest)
    }

    fn write_into(&self, folder: &Path, last: bool) -> Result<Digest, MetadataError> {
        // A temporary folder is private; this one is for everybody who reads the repository.
        fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let mut repomd = RepomdData::default();
        repomd.set_revision(&self.time.to_string());
        for file in File::ALL {
            repomd.add_record(self.write_file(folder, file, last)?);
        }
        let mut text = Vec::new();
        RepomdXml::write_data(&repomd, &mut utils::create_xml_writer(&mut text))?;
        write_file(&folder.join("repomd.xml"), &text, last)?;
        sync(folder, last)?;
        Ok(Digest::of(&text))
    }

    fn write_file(
        &self,
        folder: &Path,
        file: File,
        last: bool,
    ) -> Result<RepomdRecord, MetadataError> {
        let (head, foot) = file.around(self.packages.len())?;
        let pieces = || self.packages.values().map(|pieces| &pieces[file as usize]);
        let texts = std::iter::once(head.as_slice())
            .chain(pieces().map(|piece| piece.open.as_slice()))
            .chain([foot.as_slice()]);
        let open: Vec<u8> = texts.flatten().copied().collect();
        let bytes = if last {
            zstd::bulk::compress(&open, LEVEL)?
        } else {
            // Frames one after the other are one file for every reader.
            let mut joined = zstd::bulk::compress(&head, QUICK)?;
            for piece in pieces() {
                joined.extend_from_slice(&piece.frame);
            }
            joined.extend(zstd::bulk::compress(&foot, QUICK)?);
            joined
        };
        let digest = Digest::of(&bytes).hex();
        let name = format!("{digest}-{}.xml.zst", file.name());
        write_file(&folder.join(&name), &bytes, last)?;
        let mut record = RepomdRecord::default();
        file.name().clone_into(&mut record.metadata_name);
        record.location_href = Path::new("repodata").join(name);
        record.timestamp = i64::try_from(self.time).unwrap_or(i64::MAX);
        record.size = Some(bytes.len() as u64);
        record.checksum = Checksum::Sha256(digest);
        record.open_size = Some(open.len() as u64);
        record.open_checksum = Some(Checksum::Sha256(Digest::of(&open).hex()));
        Ok(record)
    }
}

impl Described {
    /// What the metadata say of `package`.
    pub(crate) fn new(package: &Package) -> Result<Self, MetadataError> {
        package.validate_xml_fields()?;
        let piece = |file: File| {
            let (head, _) = file.around(1)?;
            let open = file.text(1, Some(package), false)?[head.len()..].to_vec();
            let frame = zstd::bulk::compress(&open, QUICK)?;
            Ok::<_, MetadataError>(Piece { open, frame })
        };
        Ok(Self {
            location: package.location_href().into(),
            pieces: [
                piece(File::Primary)?,
                piece(File::Filelists)?,
                piece(File::Other)?,
            ],
        })
    }
}

/// Writes a document with one package at most by a writer of the crate, whose three have no trait in common.
macro_rules! document {
    ($writer:ident, $count:expr, $package:expr, $closed:expr) => {{
        let mut writer = $writer::new_writer(utils::create_xml_writer(Vec::new()));
        writer.write_header($count)?;
        if let Some(package) = $package {
            writer.write_package(package)?;
        }
        if $closed {
            writer.finish()?;
        }
        Ok(writer.into_inner())
    }};
}

impl File {
    const ALL: [Self; 3] = [Self::Primary, Self::Filelists, Self::Other];

    fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Filelists => "filelists",
            Self::Other => "other",
        }
    }

    /// What stands before and after the packages of a file with `count` of them.
    fn around(self, count: usize) -> Result<(Vec<u8>, Vec<u8>), MetadataError> {
        let head = self.text(count, None, false)?;
        let foot = self.text(count, None, true)?[head.len()..].to_vec();
        Ok((head, foot))
    }

    fn text(
        self,
        count: usize,
        package: Option<&Package>,
        closed: bool,
    ) -> Result<Vec<u8>, MetadataError> {
        match self {
            Self::Primary => document!(PrimaryXml, count, package, closed),
            Self::Filelists => document!(FilelistsXml, count, package, closed),
            Self::Other => document!(OtherXml, count, package, closed),
        }
    }
}

fn read(path: &Path, location: &str, time: u64) -> Result<Package, MetadataError> {
    let (digest, size) = Digest::of_reader(&mut fs::File::open(path)?)?;
    let metadata = rpm::PackageMetadata::open(path)?;
    let source = PackageSource {
        checksum: Some(Checksum::Sha256(digest.hex())),
        size_package: Some(size),
        time_file: time,
        location_href: location.to_owned(),
        location_base: None,
    };
    Package::from_package_metadata(&metadata, source, PackageOptions::default())
}

/// Writes the repository of `packages` (paths below `folder`) in one go; see [`Writer`].
pub fn write(folder: &Path, packages: &[PathBuf], time: u64) -> Result<Digest, RepositoryError> {
    let mut writer = Writer::new(folder, time);
    packages
        .iter()
        .try_for_each(|package| writer.add(package))?;
    writer.write()
}

fn write_file(path: &Path, bytes: &[u8], synced: bool) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(bytes)?;
    if synced { file.sync_all() } else { Ok(()) }
}

fn sync(folder: &Path, wanted: bool) -> io::Result<()> {
    if wanted {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn into_io(error: MetadataError) -> io::Error {
    match error {
        MetadataError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}
