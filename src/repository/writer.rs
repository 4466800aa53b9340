//! Writes a folder of packages as an rpm-md repository: the same packages and time give the same bytes.

use std::collections::BTreeMap;
use std::fs::{self, File};
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

/// A repository in a folder, to which packages are added one after the other.
///
/// What was read of a package is kept, so that writing again after each build costs
/// no more than the metadata itself.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    time: u64,
    packages: BTreeMap<PathBuf, Package>,
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

    /// Reads the package file at `relative`, a path below the folder, and keeps what the metadata will say of it.
    pub fn add(&mut self, relative: &Path) -> Result<(), RepositoryError> {
        let path = self.folder.join(relative);
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
        let package = self
            .read(&path, location)
            .map_err(|error| failed(error.to_string()))?;
        package
            .validate_xml_fields()
            .map_err(|error| failed(error.to_string()))?;
        self.packages.insert(relative.to_owned(), package);
        Ok(())
    }

    /// Adds a package that has no file.
    #[cfg(test)]
    pub(crate) fn insert(&mut self, package: Package) {
        self.packages
            .insert(package.location_href().into(), package);
    }

    fn read(&self, path: &Path, location: &str) -> Result<Package, MetadataError> {
        let (digest, size) = Digest::of_reader(&mut File::open(path)?)?;
        let metadata = rpm::PackageMetadata::open(path)?;
        let source = PackageSource {
            checksum: Some(Checksum::Sha256(digest.hex())),
            size_package: Some(size),
            time_file: self.time,
            location_href: location.to_owned(),
            location_base: None,
        };
        Package::from_package_metadata(&metadata, source, PackageOptions::default())
    }

    /// Writes the metadata of all packages added so far, beside the old, and swaps the two:
    /// a reader sees the old repository or the new. Gives the digest of `repomd.xml`.
    pub fn write(&self) -> Result<Digest, RepositoryError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| RepositoryError::Write { path, source }
        };
        let fresh = tempfile::Builder::new()
            .prefix(".repodata-")
            .tempdir_in(&self.folder)
            .map_err(failed(&self.folder))?;
        let digest = self
            .write_into(fresh.path())
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
            .and_then(|()| File::open(&self.folder)?.sync_all())
            .map_err(failed(&place))?;
        Ok(digest)
    }

    fn write_into(&self, folder: &Path) -> Result<Digest, MetadataError> {
        // A temporary folder is private; this one is for everybody who reads the repository.
        fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let mut repomd = RepomdData::default();
        repomd.set_revision(&self.time.to_string());
        let count = self.packages.len();
        let mut primary = PrimaryXml::new_writer(utils::create_xml_writer(Vec::new()));
        let mut filelists = FilelistsXml::new_writer(utils::create_xml_writer(Vec::new()));
        let mut other = OtherXml::new_writer(utils::create_xml_writer(Vec::new()));
        primary.write_header(count)?;
        filelists.write_header(count)?;
        other.write_header(count)?;
        for package in self.packages.values() {
            primary.write_package(package)?;
            filelists.write_package(package)?;
            other.write_package(package)?;
        }
        primary.finish()?;
        filelists.finish()?;
        other.finish()?;
        repomd.add_record(self.compress(folder, "primary", &primary.into_inner())?);
        repomd.add_record(self.compress(folder, "filelists", &filelists.into_inner())?);
        repomd.add_record(self.compress(folder, "other", &other.into_inner())?);
        let mut text = Vec::new();
        RepomdXml::write_data(&repomd, &mut utils::create_xml_writer(&mut text))?;
        write_synced(&folder.join("repomd.xml"), &text)?;
        File::open(folder)?.sync_all()?;
        Ok(Digest::of(&text))
    }

    fn compress(
        &self,
        folder: &Path,
        kind: &str,
        open: &[u8],
    ) -> Result<RepomdRecord, MetadataError> {
        let bytes = zstd::bulk::compress(open, LEVEL)?;
        let digest = Digest::of(&bytes).hex();
        let name = format!("{digest}-{kind}.xml.zst");
        write_synced(&folder.join(&name), &bytes)?;
        let mut record = RepomdRecord::default();
        kind.clone_into(&mut record.metadata_name);
        record.location_href = Path::new("repodata").join(name);
        record.timestamp = i64::try_from(self.time).unwrap_or(i64::MAX);
        record.size = Some(bytes.len() as u64);
        record.checksum = Checksum::Sha256(digest);
        record.open_size = Some(open.len() as u64);
        record.open_checksum = Some(Checksum::Sha256(Digest::of(open).hex()));
        Ok(record)
    }
}

/// Writes the repository of `packages` (paths below `folder`) in one go; see [`Writer`].
pub fn write(folder: &Path, packages: &[PathBuf], time: u64) -> Result<Digest, RepositoryError> {
    let mut writer = Writer::new(folder, time);
    packages
        .iter()
        .try_for_each(|package| writer.add(package))?;
    writer.write()
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
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
