//! How far a transfer is, told for every piece that has moved.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::events::{Event, Sink};

/// Bytes between two words about them.
const PIECE: u64 = 4 << 20;

/// Counts blobs and bytes.
pub(super) struct Progress<'a> {
    sink: &'a dyn Sink,
    files: AtomicU64,
    bytes: AtomicU64,
    files_total: u64,
    bytes_total: u64,
}

impl<'a> Progress<'a> {
    pub(super) fn new(sink: &'a dyn Sink, blobs: &[(crate::digest::Digest, u64)]) -> Self {
        Self {
            sink,
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            files_total: blobs.len() as u64,
            bytes_total: blobs.iter().map(|(_, size)| size).sum(),
        }
    }

    /// So many bytes have moved.
    pub(super) fn add(&self, bytes: u64) {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before / PIECE != (before + bytes) / PIECE {
            self.tell();
        }
    }

    /// Bytes that were counted are of no use.
    pub(super) fn take_back(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// One more blob is there.
    pub(super) fn file_done(&self) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.tell();
    }

    fn tell(&self) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        self.sink.emit(Event::Transfer {
            files: self.files.load(Ordering::Relaxed),
            files_total: self.files_total,
            bytes,
            bytes_total: self.bytes_total.max(bytes),
        });
    }
}
