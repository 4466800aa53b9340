//! The bytes of one file as they arrive: written and hashed in one go, from the start or from where an earlier try broke off.

use std::io::{BufReader, Seek, SeekFrom, Write};

use reqwest::header::HeaderValue;

use crate::digest::{Digest, HashingWriter};
use crate::store::error::doing;
use crate::store::temporary::Partial;
use crate::store::{Arrived, Store, StoreError};

/// One file on its way.
#[derive(Debug)]
pub(super) struct Transfer {
    store: Store,
    partial: Partial,
    hashing: HashingWriter<std::io::Sink>,
    length: u64,
    needed: Option<u64>,
    /// Which version of which URL the bytes are of, where the server tells: for `If-Range`.
    origin: Option<(String, HeaderValue)>,
    /// Responses that the bytes are of; an earlier run counts as one.
    pieces: u32,
}

impl Transfer {
    /// Starts with what an earlier run left for `key`, or with nothing. Waits for the disk.
    pub(super) fn open(
        store: Store,
        key: Option<&str>,
        needed: Option<u64>,
    ) -> Result<Self, StoreError> {
        let partial = store.partial(key, needed)?;
        let mut hashing = HashingWriter::new(std::io::sink());
        std::io::copy(
            &mut BufReader::with_capacity(256 << 10, partial.file()),
            &mut hashing,
        )
        .map_err(doing("read", partial.path()))?;
        let length = hashing.length();
        let pieces = u32::from(length > 0);
        Ok(Self {
            store,
            partial,
            hashing,
            length,
            needed,
            origin: None,
            pieces,
        })
    }

    /// Bytes that are there.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// What the server said of the version that the bytes of `url` are of.
    pub(super) fn validator(&self, url: &str) -> Option<&HeaderValue> {
        self.origin
            .as_ref()
            .filter(|(origin, _)| origin == url)
            .map(|(_, validator)| validator)
    }

    /// Whether the bytes came in one response: then a wrong digest is that mirror's doing.
    pub(super) fn of_one_piece(&self) -> bool {
        self.pieces <= 1
    }

    /// Another response begins to add to the bytes.
    pub(super) fn begin_piece(&mut self, origin: Option<(String, HeaderValue)>) {
        self.pieces += 1;
        self.origin = origin;
    }

    /// Throws the bytes away.
    pub(super) fn restart(&mut self) -> Result<(), StoreError> {
        let mut file = self.partial.file();
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .map_err(|error| {
                StoreError::from_write(self.store.root(), self.partial.path(), self.needed, error)
            })?;
        self.hashing = HashingWriter::new(std::io::sink());
        self.length = 0;
        self.origin = None;
        self.pieces = 0;
        Ok(())
    }

    /// Adds bytes.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let mut file = self.partial.file();
        file.write_all(bytes)
            .and_then(|()| self.hashing.write_all(bytes))
            .map_err(|error| {
                StoreError::from_write(self.store.root(), self.partial.path(), self.needed, error)
            })?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// The digest of the bytes. The transfer must be restarted, adopted or dropped afterwards.
    pub(super) fn digest(&mut self) -> Digest {
        let spent = HashingWriter::new(std::io::sink());
        std::mem::replace(&mut self.hashing, spent).finish().1
    }

    /// Does not keep the bytes for a later run.
    pub(super) fn discard(&mut self) {
        self.partial.discard();
    }

    /// Makes the bytes, which have `digest`, a blob. Waits for the disk.
    pub(super) fn adopt(self, digest: &Digest) -> Result<(), StoreError> {
        let (file, path) = self.partial.into_parts();
        self.store.adopt(file, path, digest)
    }

    /// The same without waiting.
    pub(super) fn place(self, digest: &Digest) -> Result<Arrived, StoreError> {
        let (file, path) = self.partial.into_parts();
        self.store.place(file, path, digest)
    }
}
