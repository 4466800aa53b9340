//! The layout on disk: `oci-layout`, `index.json`, `blobs/sha256/`, as the OCI image layout
//! specification has it, and beside them `diff-ids/` (which blob holds a layer's tar), `frames/` (of which pieces
//! that blob is made), `marks/` (hints for hashing the tar again), `tmp/` and `lock`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use oci_spec::image::{
    Arch, Descriptor, ImageIndex, ImageIndexBuilder, MediaType, Os, PlatformBuilder,
};
use serde::Serialize;
use tempfile::NamedTempFile;

use super::{Layer, OciError};
use crate::digest::{Digest, HashingWriter};
use crate::files;
use crate::store::{Guard, Store, StoreError};

const LAYOUT_FILE: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
/// Manifests, configurations and indexes are read whole: none is near this, in bytes.
pub(super) const LARGEST_DOCUMENT: u64 = 4 << 20;
/// The annotation that names an image in an index.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An OCI image layout in a folder. Safe for several processes at once.
#[derive(Debug, Clone)]
pub struct Layout {
    path: PathBuf,
    /// The store that it lies in, where it does: what is used of it is noted there.
    store: Option<Store>,
}

impl Layout {
    /// Opens the layout in the folder `path`; makes it where it is missing.
    pub fn open(path: &Path) -> Result<Self, OciError> {
        let layout = Self {
            path: path.to_owned(),
            store: None,
        };
        for folder in [
            "blobs/sha256",
            "diff-ids",
            "frames",
            "marks",
            "origins",
            "tmp",
        ] {
            let folder = path.join(folder);
            fs::create_dir_all(&folder).map_err(OciError::file("make", &folder))?;
        }
        let marker = path.join("oci-layout");
        match fs::read_to_string(&marker) {
            Ok(text) => check_marker(&marker.display().to_string(), text.as_bytes())?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                files::write_atomic(&marker, LAYOUT_FILE.as_bytes())
                    .map_err(OciError::file("write", &marker))?;
            }
            Err(error) => return Err(OciError::file("read", &marker)(error)),
        }
        let index = path.join("index.json");
        if !index.exists() {
            let _lock = layout.lock()?;
            if !index.exists() {
                layout.write_index(Vec::new())?;
            }
        }
        Ok(layout)
    }

    /// Opens the layout of a store. What this process uses of it is not collected meanwhile.
    pub fn of(store: &Store) -> Result<Self, OciError> {
        let mut layout = Self::open(&store.oci_folder())?;
        layout.store = Some(store.clone());
        Ok(layout)
    }

    /// Notes that this process relies on a layer, and on the root that it is unpacked to.
    pub fn rely_on(&self, layer: &Layer) -> Result<(), OciError> {
        self.pin(&[layer.diff_id, layer.digest])
    }

    /// Notes that this process relies on these blobs, layers or images.
    pub(super) fn pin(&self, digests: &[Digest]) -> Result<(), OciError> {
        match &self.store {
            Some(store) => Ok(store.pin_content(digests)?),
            None => Ok(()),
        }
    }

    /// Keeps collections out while several things are looked at together.
    pub(super) fn steady(&self) -> Result<Option<Guard>, OciError> {
        let gate = self.store.as_ref().map(Store::share_gate);
        match gate.transpose() {
            // Nobody can remove anything from it either.
            Err(StoreError::ReadOnly { .. }) => Ok(None),
            gate => Ok(gate?),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes temporary files of processes that died. Returns how many there were.
    pub fn sweep(&self) -> Result<usize, OciError> {
        let _lock = self.lock()?;
        let folder = self.path.join("tmp");
        let mut removed = 0;
        for entry in fs::read_dir(&folder).map_err(OciError::file("list", &folder))? {
            let path = entry.map_err(OciError::file("list", &folder))?.path();
            // Whoever writes a file holds its lock; the kernel drops it with the process.
            let Ok(file) = fs::File::open(&path) else {
                continue;
            };
            if file.file().try_lock().is_ok() {
                fs::remove_file(&path).map_err(OciError::file("remove", &path))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Serialises changes of `index.json` and the making of temporary files.
    pub(super) fn lock(&self) -> Result<fs::File, OciError> {
        let path = self.path.join("lock");
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let file = file.map_err(OciError::file("open", &path))?;
        file.file().lock().map_err(OciError::file("lock", &path))?;
        Ok(file)
    }

    /// A new file in `tmp/`, locked.
    pub(super) fn temporary(&self) -> Result<NamedTempFile, OciError> {
        let folder = self.path.join("tmp");
        let _lock = self.lock()?;
        let file = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(&folder)
            .map_err(OciError::file("make a file in", &folder))?;
        file.as_file()
            .lock()
            .map_err(OciError::file("lock", file.path()))?;
        Ok(file)
    }

    pub(super) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path.join("blobs/sha256").join(digest.hex())
    }

    /// Makes a written temporary file the blob `digest`, which its writer computed.
    pub(super) fn keep(&self, file: NamedTempFile, digest: &Digest) -> Result<(), OciError> {
        self.pin(&[*digest])?;
        let path = self.blob_path(digest);
        file.as_file()
            .sync_data()
            .map_err(OciError::file("sync", &path))?;
        file.persist(&path)
            .map_err(|error| OciError::file("write", &path)(error.error))?;
        let folder = self.path.join("blobs/sha256");
        fs::File::open(&folder)
            .and_then(|folder| folder.file().sync_all())
            .map_err(OciError::file("sync", &folder))
    }

    /// Writes a small blob.
    pub(super) fn write_blob(&self, bytes: &[u8]) -> Result<Digest, OciError> {
        let digest = Digest::of(bytes);
        let mut file = self.temporary()?;
        file.write_all(bytes)
            .map_err(OciError::file("write", &self.blob_path(&digest)))?;
        self.keep(file, &digest)?;
        Ok(digest)
    }

    /// Reads a small blob whole and checks it. That it is read is not noted.
    pub(super) fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>, OciError> {
        let (path, size) = self.look_for(digest)?;
        if size > LARGEST_DOCUMENT {
            return Err(OciError::damaged(
                blob_name(digest),
                format!("it has {size} bytes, and should be a short document"),
            ));
        }
        let bytes = fs::read(&path).map_err(OciError::file("read", &path))?;
        let found = Digest::of(&bytes);
        if found == *digest {
            Ok(bytes)
        } else {
            Err(mismatch(digest, &found))
        }
    }

    /// Hashes a blob of any size and checks it, its size too.
    pub(super) fn check_blob(&self, digest: &Digest, size: u64) -> Result<(), OciError> {
        let (path, found) = self.find_blob(digest)?;
        if found != size {
            return Err(wrong_size(digest, found, size));
        }
        let mut sink = HashingWriter::new(io::sink());
        let mut file = fs::File::open(&path).map_err(OciError::file("read", &path))?;
        io::copy(&mut file, &mut sink).map_err(OciError::file("read", &path))?;
        let found = sink.finish().1;
        if found == *digest {
            Ok(())
        } else {
            Err(mismatch(digest, &found))
        }
    }

    /// Where a blob is that is about to be used, and how long it is.
    pub(super) fn find_blob(&self, digest: &Digest) -> Result<(PathBuf, u64), OciError> {
        self.pin(&[*digest])?;
        self.look_for(digest)
    }

    fn look_for(&self, digest: &Digest) -> Result<(PathBuf, u64), OciError> {
        let path = self.blob_path(digest);
        match fs::metadata(&path) {
            Ok(metadata) => Ok((path, metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(OciError::Missing {
                what: blob_name(digest),
            }),
            Err(error) => Err(OciError::file("read", &path)(error)),
        }
    }

    /// Adds an image (digest and length of its manifest) to `index.json`, under the first digits of its digest as name.
    pub(super) fn add_to_index(
        &self,
        manifest: (&Digest, u64),
        architecture: &Arch,
        kind: MediaType,
    ) -> Result<(), OciError> {
        let _lock = self.lock()?;
        let mut entries = self.read_index()?.manifests().clone();
        entries.retain(|entry| entry.digest().to_string() != manifest.0.to_string());
        entries.push(index_entry(manifest, architecture, kind)?);
        self.write_index(entries)
    }

    /// The manifests that `index.json` lists, in the order of their digests.
    pub fn images(&self) -> Result<Vec<Digest>, OciError> {
        let index = self.read_index()?;
        let digests = index
            .manifests()
            .iter()
            .map(|entry| super::image::digest_of(entry, &self.index_name()));
        digests.collect()
    }

    fn index_name(&self) -> String {
        format!("`{}`", self.path.join("index.json").display())
    }

    pub(super) fn read_index(&self) -> Result<ImageIndex, OciError> {
        let path = self.path.join("index.json");
        let text = fs::read(&path).map_err(OciError::file("read", &path))?;
        serde_json::from_slice(&text)
            .map_err(|error| OciError::damaged(self.index_name(), error.to_string()))
    }

    pub(super) fn write_index(&self, entries: Vec<Descriptor>) -> Result<(), OciError> {
        let path = self.path.join("index.json");
        files::write_atomic(&path, &index(entries)?).map_err(OciError::file("write", &path))
    }
}

/// An index with these entries, in the order of their digests.
pub(super) fn index(mut entries: Vec<Descriptor>) -> Result<Vec<u8>, OciError> {
    entries.sort_by_key(|entry| entry.digest().to_string());
    let index = ImageIndexBuilder::default()
        .schema_version(oci_spec::image::SCHEMA_VERSION)
        .media_type(MediaType::ImageIndex)
        .manifests(entries)
        .build()
        .map_err(unwritable)?;
    to_json(&index)
}

/// The entry of an image in an index.
pub(super) fn index_entry(
    (manifest, size): (&Digest, u64),
    architecture: &Arch,
    kind: MediaType,
) -> Result<Descriptor, OciError> {
    let mut entry = descriptor(kind, manifest, size)?;
    let platform = PlatformBuilder::default()
        .architecture(architecture.clone())
        .os(Os::Linux)
        .build();
    entry.set_platform(Some(platform.map_err(unwritable)?));
    entry.set_annotations(Some([(REF_NAME.to_owned(), manifest.short())].into()));
    Ok(entry)
}

pub(super) fn descriptor(
    kind: MediaType,
    digest: &Digest,
    size: u64,
) -> Result<Descriptor, OciError> {
    let digest: oci_spec::image::Digest = digest.to_string().parse().map_err(unwritable)?;
    Ok(Descriptor::new(kind, size, digest))
}

/// The error for a document that cannot be composed.
pub(super) fn unwritable(error: impl std::fmt::Display) -> OciError {
    OciError::stream("compose a document of the image")(io::Error::other(error.to_string()))
}

/// JSON with sorted keys: the maps of the OCI types have no order of their own.
pub(super) fn to_json(document: &impl Serialize) -> Result<Vec<u8>, OciError> {
    fn sorted(value: serde_json::Value) -> serde_json::Value {
        match value {
            serde_json::Value::Object(map) => {
                let map: std::collections::BTreeMap<_, _> = map.into_iter().collect();
                map.into_iter()
                    .map(|(key, value)| (key, sorted(value)))
                    .collect()
            }
            serde_json::Value::Array(list) => list.into_iter().map(sorted).collect(),
            other => other,
        }
    }
    let value = serde_json::to_value(document).map_err(unwritable)?;
    serde_json::to_vec(&sorted(value)).map_err(unwritable)
}

/// Checks the content of an `oci-layout` file.
pub(super) fn check_marker(name: &str, text: &[u8]) -> Result<(), OciError> {
    let marker: oci_spec::image::OciLayout = serde_json::from_slice(text)
        .map_err(|error| OciError::damaged(format!("`{name}`"), error.to_string()))?;
    match marker.image_layout_version().as_str() {
        "1.0.0" => Ok(()),
        other => Err(OciError::refused(
            format!("`{name}`"),
            format!("its layout version is {other}, known is 1.0.0"),
        )),
    }
}

pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blob {digest}")
}

pub(super) fn mismatch(digest: &Digest, found: &Digest) -> OciError {
    OciError::damaged(
        blob_name(digest),
        format!("its content has the digest {found}"),
    )
}

pub(super) fn wrong_size(digest: &Digest, found: u64, expected: u64) -> OciError {
    OciError::damaged(
        blob_name(digest),
        format!("it has {found} bytes instead of {expected}"),
    )
}
