//! OCI archives: one image as one tar file.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use fs_err as fs;
use oci_spec::image::{ImageIndex, MediaType};
use tar::Builder;
use tempfile::NamedTempFile;

use super::image::{architecture, digest_of, manifest_kind, parse};
use super::layer::LayerReader;
use super::layout::{
    LARGEST_DOCUMENT, blob_name, check_marker, index, index_entry, mismatch, wrong_size,
};
use super::{Image, ImageRef, Layout, OciError};
use crate::digest::{Digest, HashingWriter};
use crate::tree::encode::append_header;
use crate::tree::extract::inside;
use crate::tree::member::{Kind, Member, Members};

/// Blobs of an imported archive, and their bytes together.
const MOST_BLOBS: usize = 1000;
const MOST_BYTES: u64 = 256 << 30;
const BLOBS: &[u8] = b"blobs/sha256/";

impl Layout {
    /// Writes `image` as OCI archive: layout marker, an index with this image alone, its blobs in
    /// the order of their names. The same image gives the same bytes.
    pub fn export_archive(&self, image: &Image, archive: &mut dyn Write) -> Result<(), OciError> {
        let error = OciError::stream("write the image archive");
        let reference = &image.reference;
        let mut blobs: Vec<Digest> = reference.layers.iter().map(|layer| layer.digest).collect();
        blobs.extend([reference.manifest, reference.config]);
        blobs.sort_unstable();
        blobs.dedup();
        let manifest = self.read_blob(&reference.manifest)?;
        let entry = index_entry(
            (&reference.manifest, manifest.len() as u64),
            &architecture(&image.config.architecture),
            manifest_kind(&manifest),
        )?;
        let mut tar = Builder::new(archive);
        for (name, text) in [
            (
                "oci-layout",
                fs::read(self.path().join("oci-layout")).map_err(&error)?,
            ),
            ("index.json", index(vec![entry])?),
        ] {
            append(&mut tar, name, text.len() as u64, &mut text.as_slice()).map_err(&error)?;
        }
        for folder in ["blobs/", "blobs/sha256/"] {
            append_header(&mut tar, &member(folder, Kind::Folder, 0)).map_err(&error)?;
        }
        for digest in blobs {
            let (path, size) = self.find_blob(&digest)?;
            let mut blob = Hashed {
                input: fs::File::open(&path).map_err(OciError::file("read", &path))?,
                hash: HashingWriter::new(io::sink()),
            };
            append(
                &mut tar,
                &format!("blobs/sha256/{}", digest.hex()),
                size,
                &mut blob,
            )
            .map_err(&error)?;
            let found = blob.hash.finish().1;
            if found != digest {
                return Err(mismatch(&digest, &found));
            }
        }
        tar.into_inner().and_then(Write::flush).map_err(error)
    }

    /// Imports an OCI archive (a tar of an image layout) that has one image.
    ///
    /// Every blob is verified, every layer's diff-id too, before anything is kept. Entries
    /// other than `oci-layout`, `index.json` and blobs are ignored, and so are blobs that the
    /// image does not use. An index of several images, an index in an index, and layers of
    /// unknown types are refused.
    pub fn import_archive(&self, archive: &mut dyn Read) -> Result<ImageRef, OciError> {
        let mut parts = Parts::default();
        let mut members = Members::new(io::BufReader::with_capacity(256 * 1024, archive));
        while let Some(member) = members.next_member()? {
            self.take_part(&mut parts, &member, &mut members)?;
        }
        members.drain()?;
        let (digest, manifest_size) = parts.only_image()?;
        let manifest = parts.document(&digest, manifest_size)?;
        let image = parse(&digest, &manifest, &mut |config, size| {
            parts.document(config, size)
        })?;
        for layer in &image.reference.layers {
            let file = parts.blob(&layer.digest, layer.size)?;
            let file = file.reopen().map_err(OciError::file("read", file.path()))?;
            LayerReader::new(file, layer)
                .map_err(OciError::stream("read the layer"))?
                .verify()?;
        }
        self.keep_image(parts, &image)?;
        self.add_to_index(
            (&digest, manifest_size),
            &architecture(&image.config.architecture),
            manifest_kind(&manifest),
        )?;
        Ok(image.reference)
    }

    fn take_part(
        &self,
        parts: &mut Parts,
        member: &Member,
        content: &mut impl Read,
    ) -> Result<(), OciError> {
        let refused = |why: &str| {
            OciError::refused(
                format!(
                    "archive entry `{}`",
                    String::from_utf8_lossy(&member.name).escape_debug()
                ),
                why,
            )
        };
        let path = inside(&member.name).map_err(&refused)?;
        let document = match path.as_slice() {
            b"oci-layout" => &mut parts.marker,
            b"index.json" => &mut parts.index,
            path => {
                let Some(name) = path.strip_prefix(BLOBS) else {
                    return Ok(());
                };
                let digest = std::str::from_utf8(name)
                    .ok()
                    .and_then(|name| name.parse::<Digest>().ok());
                let digest = digest
                    .filter(|digest| digest.hex().as_bytes() == name)
                    .ok_or_else(|| refused("its name is not a SHA-256"))?;
                if member.kind != Kind::File {
                    return Err(refused("a blob must be a regular file"));
                }
                parts.bytes = parts.bytes.saturating_add(member.size);
                if parts.blobs.len() >= MOST_BLOBS || parts.bytes > MOST_BYTES {
                    return Err(refused("the archive has more than 1000 blobs or 256 GiB"));
                }
                let file = self.receive(&digest, member.size, content)?;
                return match parts.blobs.insert(digest, (file, member.size)) {
                    Some(_) => Err(refused("the archive has it twice")),
                    None => Ok(()),
                };
            }
        };
        if member.kind != Kind::File || member.size > LARGEST_DOCUMENT {
            return Err(refused("it must be a regular file of at most 4 MiB"));
        }
        let mut text = Vec::new();
        content
            .read_to_end(&mut text)
            .map_err(OciError::stream("read the image archive"))?;
        match document.replace(text) {
            Some(_) => Err(refused("the archive has it twice")),
            None => Ok(()),
        }
    }

    /// Receives a blob in a temporary file and checks its digest.
    fn receive(
        &self,
        digest: &Digest,
        size: u64,
        content: &mut impl Read,
    ) -> Result<NamedTempFile, OciError> {
        let file = self.temporary()?;
        let mut output = HashingWriter::new(file.as_file());
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let length = content
                .read(&mut buffer)
                .map_err(OciError::stream("read the image archive"))?;
            if length == 0 {
                break;
            }
            output
                .write_all(&buffer[..length])
                .map_err(OciError::file("write", file.path()))?;
        }
        let length = output.length();
        let found = output.finish().1;
        if length != size {
            return Err(wrong_size(digest, length, size));
        }
        if found != *digest {
            return Err(mismatch(digest, &found));
        }
        Ok(file)
    }

    /// Keeps an image's blobs. Its layers are not remembered by diff-id: another compressor's bytes
    /// would make the images written later depend on what was imported.
    fn keep_image(&self, mut parts: Parts, image: &Image) -> Result<(), OciError> {
        let reference = &image.reference;
        for layer in &reference.layers {
            if let Some((file, _)) = parts.blobs.remove(&layer.digest) {
                self.keep(file, &layer.digest)?;
            }
        }
        for digest in [reference.config, reference.manifest] {
            if let Some((file, _)) = parts.blobs.remove(&digest) {
                self.keep(file, &digest)?;
            }
        }
        Ok(())
    }
}

/// What was read of an archive.
#[derive(Debug, Default)]
struct Parts {
    marker: Option<Vec<u8>>,
    index: Option<Vec<u8>>,
    blobs: BTreeMap<Digest, (NamedTempFile, u64)>,
    bytes: u64,
}

impl Parts {
    /// Digest and size of the only manifest.
    fn only_image(&self) -> Result<(Digest, u64), OciError> {
        let what = "the image archive";
        let marker = self
            .marker
            .as_ref()
            .ok_or_else(|| OciError::refused(what, "it has no `oci-layout`"))?;
        check_marker("oci-layout", marker)?;
        let index = self
            .index
            .as_ref()
            .ok_or_else(|| OciError::refused(what, "it has no `index.json`"))?;
        let index: ImageIndex = serde_json::from_slice(index)
            .map_err(|error| OciError::damaged("`index.json`", error.to_string()))?;
        match index.manifests().as_slice() {
            [entry] if *entry.media_type() == MediaType::ImageManifest => {
                Ok((digest_of(entry, "`index.json`")?, entry.size()))
            }
            [entry] => Err(OciError::refused(
                what,
                format!(
                    "it has a `{}` instead of an OCI image manifest",
                    entry.media_type()
                ),
            )),
            entries => Err(OciError::refused(
                what,
                format!("it has {} images, and one is needed", entries.len()),
            )),
        }
    }

    fn blob(&self, digest: &Digest, size: u64) -> Result<&NamedTempFile, OciError> {
        let (file, found) = self.blobs.get(digest).ok_or_else(|| {
            OciError::refused(
                "the image archive",
                format!("it lacks {}", blob_name(digest)),
            )
        })?;
        if *found == size {
            Ok(file)
        } else {
            Err(wrong_size(digest, *found, size))
        }
    }

    fn document(&self, digest: &Digest, size: u64) -> Result<Vec<u8>, OciError> {
        let file = self.blob(digest, size)?;
        if size > LARGEST_DOCUMENT {
            return Err(OciError::refused(
                blob_name(digest),
                "a manifest or configuration has at most 4 MiB",
            ));
        }
        fs::read(file.path()).map_err(OciError::file("read", file.path()))
    }
}

struct Hashed {
    input: fs::File,
    hash: HashingWriter<io::Sink>,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        self.hash.write_all(&buffer[..length])?;
        Ok(length)
    }
}

fn member(name: &str, kind: Kind, size: u64) -> Member {
    Member {
        name: name.as_bytes().to_vec(),
        link: Vec::new(),
        kind,
        size,
        mode: if kind == Kind::Folder { 0o755 } else { 0o644 },
        uid: 0,
        gid: 0,
        mtime: 0,
        xattrs: BTreeMap::new(),
    }
}

fn append<W: Write>(
    tar: &mut Builder<W>,
    name: &str,
    size: u64,
    content: &mut impl Read,
) -> io::Result<()> {
    append_header(tar, &member(name, Kind::File, size))?;
    crate::tree::encode::append_content(tar, size, content)
}
