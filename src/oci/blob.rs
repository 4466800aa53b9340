//! Blobs that come from elsewhere one by one, and images of them.

use std::io::{self, Seek as _, Write};

use fs_err::File;
use tempfile::NamedTempFile;

use super::image::{architecture, manifest_kind, parse};
use super::layout::{mismatch, wrong_size};
use super::{Image, Layout, OciError};
use crate::digest::{Digest, HashingWriter};

/// A blob on its way into the layout, hashed while it is written. Dropped before `finish`, it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter {
    layout: Layout,
    file: NamedTempFile,
    hash: HashingWriter<io::Sink>,
}

impl Layout {
    /// Starts a blob.
    pub fn blob_writer(&self) -> Result<BlobWriter, OciError> {
        Ok(BlobWriter {
            layout: self.clone(),
            file: self.temporary()?,
            hash: HashingWriter::new(io::sink()),
        })
    }

    /// Whether the layout has this blob, whole and unchanged: it is hashed. A damaged one counts as missing.
    pub fn holds(&self, digest: &Digest, size: u64) -> Result<bool, OciError> {
        match self.check_blob(digest, size) {
            Ok(()) => Ok(true),
            Err(OciError::Missing { .. } | OciError::Damaged { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Opens a blob as it is, without a look at its content, and tells its length.
    pub fn open_blob(&self, digest: &Digest) -> Result<(File, u64), OciError> {
        let (path, size) = self.find_blob(digest)?;
        let file = File::open(&path).map_err(OciError::file("read", &path))?;
        Ok((file, size))
    }

    /// The bytes of a manifest, verified, and its media type.
    pub fn manifest(&self, digest: &Digest) -> Result<(Vec<u8>, String), OciError> {
        let bytes = self.read_blob(digest)?;
        let kind = manifest_kind(&bytes).to_string();
        Ok((bytes, kind))
    }

    /// What the image of `manifest` is, by its manifest and its configuration, which the layout must have.
    pub fn inspect(&self, manifest: &[u8]) -> Result<Image, OciError> {
        parse(&Digest::of(manifest), manifest, &mut |config, _size| {
            self.read_blob(config)
        })
    }

    /// Lists the image of `manifest` in `index.json`, once all that it names was verified: the blobs' digests
    /// and sizes, and the digests of the layers' tars.
    pub fn adopt(&self, manifest: &[u8]) -> Result<Image, OciError> {
        let image = self.inspect(manifest)?;
        for layer in &image.reference.layers {
            self.open_layer(layer)?.verify()?;
        }
        self.write_blob(manifest)?;
        let entry = (&image.reference.manifest, manifest.len() as u64);
        let processor = architecture(&image.config.architecture);
        self.add_to_index(entry, &processor, manifest_kind(manifest))?;
        Ok(image)
    }
}

impl BlobWriter {
    /// Bytes written so far.
    pub fn length(&self) -> u64 {
        self.hash.length()
    }

    /// The digest of what was written so far.
    pub fn digest(&self) -> Digest {
        self.hash.digest()
    }

    /// Forgets what was written.
    pub fn restart(&mut self) -> Result<(), OciError> {
        self.hash = HashingWriter::new(io::sink());
        let file = self.file.as_file_mut();
        let emptied = file.set_len(0).and_then(|()| file.rewind());
        emptied.map_err(OciError::file("empty", self.file.path()))
    }

    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), OciError> {
        let written = self
            .file
            .as_file_mut()
            .write_all(bytes)
            .and_then(|()| self.hash.write_all(bytes));
        written.map_err(OciError::file("write", self.file.path()))
    }

    /// Keeps the blob where it is what it should be; else nothing is kept.
    pub fn finish(self, digest: &Digest, size: u64) -> Result<(), OciError> {
        let length = self.hash.length();
        if length != size {
            return Err(wrong_size(digest, length, size));
        }
        let found = self.hash.finish().1;
        if found != *digest {
            return Err(mismatch(digest, &found));
        }
        self.layout.keep(self.file, digest)
    }
}
