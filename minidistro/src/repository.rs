//! The metadata of the repository, and its signature.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use rpmrepo_metadata::{
    ChecksumType, CompressionType, Package, PackageFileOptions, RepomdData, RepomdRecord,
    RepomdXml, RepositoryOptions, RepositoryWriter,
};
use sha2::{Digest, Sha256};

use crate::error::MinidistroError;
use crate::fetch::hex;
use crate::key::{CREATED, SigningKey};

/// How the names of folders for large files of packages begin.
pub(crate) const SPOOL: &str = ".spool-";
/// How the names of folders for new metadata begin.
const STAGING: &str = ".metadata-";
/// The public key, beside `repodata`.
const KEY_FILE: &str = "RPM-GPG-KEY-minidistro";

/// Makes the repository's folder and takes it for this process alone, as long as the result lives.
///
/// Waits for another process that has it. What one that was killed left behind is removed.
pub(crate) fn claim(output: &Path) -> Result<File, MinidistroError> {
    fs_err::create_dir_all(output).map_err(MinidistroError::file(output))?;
    let path = output.join(".lock");
    let lock = File::create(&path).map_err(MinidistroError::file(&path))?;
    lock.lock().map_err(MinidistroError::file(&path))?;
    for entry in fs_err::read_dir(output).map_err(MinidistroError::file(output))? {
        let path = entry.map_err(MinidistroError::file(output))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if [SPOOL, STAGING]
            .iter()
            .any(|prefix| name.starts_with(prefix))
        {
            fs_err::remove_dir_all(&path).map_err(MinidistroError::file(&path))?;
        }
    }
    Ok(lock)
}

/// Writes `repodata` for the RPMs at `locations` (below `output`, in this order), signs it, and removes RPMs that
/// are not named. Returns the SHA-256 of `repomd.xml`, and the RPMs' size together.
///
/// New metadata has names of its own, and takes effect with the rename of `repomd.xml`: a reader sees the old
/// repository or the new.
pub(crate) fn write(
    output: &Path,
    locations: &[String],
    key: &SigningKey,
) -> Result<(String, u64), MinidistroError> {
    let broken = |error: rpmrepo_metadata::MetadataError| MinidistroError::Metadata {
        path: output.to_owned(),
        reason: error.to_string(),
    };
    let staging = tempfile::Builder::new().prefix(STAGING).tempdir_in(output);
    let staging = staging.map_err(MinidistroError::file(output))?;
    let options = RepositoryOptions::default()
        .compression_type(CompressionType::Zstd)
        .checksum_type(ChecksumType::Sha256)
        .simple_metadata_filenames(true);
    let mut writer = RepositoryWriter::new_with_options(staging.path(), locations.len(), options)
        .map_err(broken)?;
    let (mut size, mut newest) = (0, CREATED);
    for location in locations {
        let package = package(output, location).map_err(broken)?;
        size += package.size_package();
        newest = newest.max(u32::try_from(package.time_build()).unwrap_or(0));
        writer.add_package(&package).map_err(broken)?;
    }
    writer.finish().map_err(broken)?;
    let (repomd, files) = repomd(staging.path(), newest).map_err(broken)?;
    let signature = key.sign_detached(&repomd, newest)?;
    let staged = staging.path().join("repodata");
    for (file, bytes) in [
        ("repomd.xml.asc", signature.as_bytes()),
        ("repomd.xml", &repomd),
    ] {
        let path = staged.join(file);
        fs_err::write(&path, bytes).map_err(MinidistroError::file(&path))?;
    }
    publish(output, &staged, &files)?;
    let path = staging.path().join(KEY_FILE);
    fs_err::write(&path, key.armored()?).map_err(MinidistroError::file(&path))?;
    fs_err::rename(&path, output.join(KEY_FILE)).map_err(MinidistroError::file(&path))?;
    remove_others(output, locations)?;
    Ok((hex(&Sha256::digest(&repomd)), size))
}

fn package(output: &Path, location: &str) -> Result<Package, rpmrepo_metadata::MetadataError> {
    let options = PackageFileOptions {
        location_href: Some(location.to_owned()),
        ..PackageFileOptions::default()
    };
    let mut package = Package::from_file_with_options(output.join(location), options)?;
    // When the file was written here is nobody's business, and would differ each time.
    package.set_time_file(package.time_build());
    Ok(package)
}

/// `repomd.xml` with fixed times, and the names of the metadata files, which contain their digests.
fn repomd(
    staging: &Path,
    time: u32,
) -> Result<(Vec<u8>, Vec<String>), rpmrepo_metadata::MetadataError> {
    let mut data = RepomdData::default();
    data.set_revision(&time.to_string());
    let mut files = Vec::new();
    for kind in ["primary", "filelists", "other"] {
        let plain = format!("repodata/{kind}.xml.zst");
        let mut record = RepomdRecord::new(kind, plain.as_ref(), staging, ChecksumType::Sha256)?;
        let digest = crate::fetch::sha256_of(&staging.join(&plain))?;
        let file = format!("{digest}-{kind}.xml.zst");
        fs_err::rename(staging.join(&plain), staging.join("repodata").join(&file))?;
        record.location_href = format!("repodata/{file}").into();
        record.timestamp = i64::from(time);
        data.add_record(record);
        files.push(file);
    }
    let mut writer = rpmrepo_metadata::utils::create_xml_writer(Vec::new());
    RepomdXml::write_data(&data, &mut writer)?;
    Ok((writer.into_inner(), files))
}

/// Moves the staged files into place, `repomd.xml` last, and removes what it does not name.
fn publish(output: &Path, staged: &Path, files: &[String]) -> Result<(), MinidistroError> {
    let repodata = output.join("repodata");
    fs_err::create_dir_all(&repodata).map_err(MinidistroError::file(&repodata))?;
    let fixed = ["repomd.xml.asc", "repomd.xml"];
    for file in files.iter().map(String::as_str).chain(fixed) {
        fs_err::rename(staged.join(file), repodata.join(file))
            .map_err(MinidistroError::file(&repodata))?;
    }
    let kept: BTreeSet<&str> = files.iter().map(String::as_str).chain(fixed).collect();
    remove_but(&repodata, |file| kept.contains(file))
}

/// Removes RPMs of earlier runs that this one does not name.
fn remove_others(output: &Path, locations: &[String]) -> Result<(), MinidistroError> {
    let kept: BTreeSet<&str> = locations.iter().map(String::as_str).collect();
    let packages = output.join("packages");
    let folders = fs_err::read_dir(&packages).map_err(MinidistroError::file(&packages))?;
    for folder in folders {
        let folder = folder.map_err(MinidistroError::file(&packages))?;
        let name = folder.file_name().to_string_lossy().into_owned();
        remove_but(&folder.path(), |file| {
            kept.contains(format!("packages/{name}/{file}").as_str())
        })?;
    }
    Ok(())
}

fn remove_but(folder: &Path, keep: impl Fn(&str) -> bool) -> Result<(), MinidistroError> {
    for entry in fs_err::read_dir(folder).map_err(MinidistroError::file(folder))? {
        let entry = entry.map_err(MinidistroError::file(folder))?;
        if !entry.file_name().to_str().is_some_and(&keep) {
            fs_err::remove_file(entry.path()).map_err(MinidistroError::file(entry.path()))?;
        }
    }
    Ok(())
}
