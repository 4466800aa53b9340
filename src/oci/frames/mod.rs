//! A layer's blob in frames: pieces of its tar that are compressed each by itself, so that what a kept layer has already
//! is taken from there.
//!
//! Frames of zstd that follow each other are one stream (RFC 8878, 3), which every reader of OCI layers takes. Each begins at a
//! multiple of the file systems' usual block, behind a skippable frame: those that can share blocks between files (btrfs,
//! xfs) have a frame once that several layers have.

use std::fs::File;
use std::io::{self, Write};
use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::fs::{Advice, copy_file_range, fadvise};
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use crate::digest::{Digest, HashingWriter};
use crate::threads::{Ordered, ended};

mod cut;
mod known;

use cut::{Cutter, LEAST};
pub(super) use known::{Frame, Known, KnownFrames};

/// The level is part of the format: another gives other bytes. Level 3 makes layers 6 % smaller in half as much time again.
const LEVEL: i32 = 2;
/// Frames begin at multiples of it.
const ALIGNMENT: u64 = 4096;
/// What a skippable frame begins with: its magic number, and before its content the length of that.
const SKIPPABLE: [u8; 4] = 0x184D_2A50_u32.to_le_bytes();
const SKIPPABLE_HEADER: u64 = 8;
/// More threads only wait: frames are hashed one after the other.
const MOST_WORKERS: usize = 4;
/// Bytes of a blob after which the disk is asked to begin.
const SPILL: u64 = 8 << 20;

/// Takes a tar, and writes it to a file as the blob of a layer.
#[derive(Debug)]
pub(super) struct FrameWriter {
    cutter: Cutter,
    /// How many frames were handed over.
    count: usize,
    work: SyncSender<Piece>,
    shared: Arc<Shared>,
    output: Option<JoinHandle<io::Result<Blob>>>,
}

/// What was written.
#[derive(Debug)]
pub(super) struct Blob {
    pub(super) digest: Digest,
    /// Bytes.
    pub(super) size: u64,
    pub(super) frames: Vec<Frame>,
}

/// What becomes a frame, and which.
type Piece = (usize, Vec<u8>);

/// Where in another file something is.
type Place = (Arc<File>, u64);

/// A frame that is ready to be written.
struct Packed {
    /// Its place in the blob is not known yet.
    frame: Frame,
    bytes: Vec<u8>,
    /// What has it already.
    from: Option<Place>,
}

/// What all threads have in common.
#[derive(Debug)]
struct Shared {
    /// Looked up with the first piece that is worth it: a layer of a few files has none.
    known: LazyLock<Known, Box<dyn FnOnce() -> Known + Send>>,
    /// Memory of pieces of the tar, and of frames.
    plain: Spare,
    packed: Spare,
}

/// Memory that is used again: new memory costs more than what is done with it here.
#[derive(Debug, Default)]
struct Spare(Mutex<Vec<Vec<u8>>>);

impl Spare {
    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty one.
    fn take(&self) -> Vec<u8> {
        let mut memory = self.lock().pop().unwrap_or_default();
        memory.clear();
        memory
    }

    fn put_back(&self, memory: Vec<u8>) {
        self.lock().push(memory);
    }
}

impl FrameWriter {
    /// Writes to the empty `file`; `known` finds what kept layers have.
    pub(super) fn new(
        file: File,
        known: impl FnOnce() -> Known + Send + 'static,
    ) -> io::Result<Self> {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let threads = threads.min(MOST_WORKERS);
        let (work, waiting) = sync_channel(threads);
        let (results, ready) = sync_channel(threads);
        // Theirs alone: without them nobody takes any more work.
        let waiting = Arc::new(Mutex::new(waiting));
        let shared = Arc::new(Shared {
            known: LazyLock::new(Box::new(known)),
            plain: Spare::default(),
            packed: Spare::default(),
        });
        for _ in 0..threads {
            let packer = Packer::new(Arc::clone(&waiting), Arc::clone(&shared))?;
            let results = results.clone();
            start(move || packer.pack_all(&results))?;
        }
        let output = Output::new(file, Arc::clone(&shared));
        let output = start(move || output.take_all(&ready))?;
        Ok(Self {
            cutter: Cutter::default(),
            count: 0,
            work,
            shared,
            output: Some(output),
        })
    }

    fn hand_over(&mut self, frame: Vec<u8>) -> io::Result<()> {
        let number = self.count;
        self.count += 1;
        match self.work.send((number, frame)) {
            Ok(()) => Ok(()),
            // Whoever would take it has met an error: it is the one that counts.
            Err(_) => Err(
                match self.output.take().map(|output| ended(output.join())) {
                    Some(Err(error)) => error,
                    _ => io::Error::other("the blob is not written any more"),
                },
            ),
        }
    }

    /// Ends the tar.
    pub(super) fn finish(mut self) -> io::Result<Blob> {
        let last = std::mem::take(&mut self.cutter).finish();
        // A blob of no frame would be no zstd stream.
        if self.count == 0 || !last.is_empty() {
            self.hand_over(last)?;
        }
        drop(self.work);
        match self.output {
            Some(output) => ended(output.join()),
            None => Err(io::Error::other("the blob was not written")),
        }
    }
}

impl Write for FrameWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for frame in self.cutter.push(bytes, || self.shared.plain.take()) {
            self.hand_over(frame)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // Frames end where the tar says, not where it is flushed.
        Ok(())
    }
}

fn start<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread::Builder::new().name("frames".to_owned()).spawn(work)
}

/// One of those who pack frames.
struct Packer {
    waiting: Arc<Mutex<Receiver<Piece>>>,
    compressor: Compressor<'static>,
    shared: Arc<Shared>,
}

impl Packer {
    fn new(waiting: Arc<Mutex<Receiver<Piece>>>, shared: Arc<Shared>) -> io::Result<Self> {
        let mut compressor = Compressor::new(LEVEL)?;
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        Ok(Self {
            waiting,
            compressor,
            shared,
        })
    }

    /// Packs frames as they come, until no more can come or nobody wants them.
    fn pack_all(mut self, results: &SyncSender<(usize, io::Result<Packed>)>) {
        while let Some((number, frame)) = self.next() {
            let packed = self.pack(&frame);
            self.shared.plain.put_back(frame);
            if results.send((number, packed)).is_err() {
                return;
            }
        }
    }

    fn next(&self) -> Option<Piece> {
        let waiting = self.waiting.lock();
        waiting.unwrap_or_else(PoisonError::into_inner).recv().ok()
    }

    fn pack(&mut self, frame: &[u8]) -> io::Result<Packed> {
        let content = blake3::hash(frame);
        let mut bytes = self.shared.packed.take();
        if frame.len() >= LEAST
            && let Some((frame, place)) = self.shared.known.find(&content, &mut bytes)
        {
            return Ok(Packed {
                frame,
                bytes,
                from: Some(place),
            });
        }
        bytes.clear();
        bytes.reserve(zstd::zstd_safe::compress_bound(frame.len()));
        self.compressor.compress_to_buffer(frame, &mut bytes)?;
        Ok(Packed {
            frame: Frame::new(&content, &bytes),
            bytes,
            from: None,
        })
    }
}

/// The blob's file.
struct Output {
    file: File,
    shared: Arc<Shared>,
    hash: HashingWriter<io::Sink>,
    frames: Vec<Frame>,
    /// So much was given to the disk.
    spilled: u64,
}

impl Output {
    fn new(file: File, shared: Arc<Shared>) -> Self {
        Self {
            file,
            shared,
            hash: HashingWriter::new(io::sink()),
            frames: Vec::new(),
            spilled: 0,
        }
    }

    /// Writes all frames in their order.
    fn take_all(mut self, ready: &Receiver<(usize, io::Result<Packed>)>) -> io::Result<Blob> {
        let mut frames = Ordered::new(ready);
        for frame in &mut frames {
            self.take(frame?)?;
        }
        if frames.has_gap() {
            return Err(io::Error::other("a frame of the blob was lost"));
        }
        let size = self.hash.length();
        Ok(Blob {
            digest: self.hash.finish().1,
            size,
            frames: self.frames,
        })
    }

    fn take(&mut self, mut packed: Packed) -> io::Result<()> {
        self.align()?;
        packed.frame.offset = self.hash.length();
        self.hash.write_all(&packed.bytes)?;
        let shared = match &packed.from {
            Some((file, from)) => share((file, *from), &self.file, packed.bytes.len()),
            None => 0,
        };
        self.file.write_all(&packed.bytes[shared..])?;
        self.frames.push(packed.frame);
        self.shared.packed.put_back(packed.bytes);
        self.spill();
        Ok(())
    }

    /// Fills up to where a frame may begin.
    fn align(&mut self) -> io::Result<()> {
        let length = self.hash.length();
        let mut gap = length.next_multiple_of(ALIGNMENT) - length;
        if gap == 0 {
            return Ok(());
        }
        if gap < SKIPPABLE_HEADER {
            gap += ALIGNMENT;
        }
        let content = u32::try_from(gap - SKIPPABLE_HEADER).unwrap_or_default();
        let mut filling = Vec::from(SKIPPABLE);
        filling.extend_from_slice(&content.to_le_bytes());
        filling.resize(filling.len() + content as usize, 0);
        self.hash.write_all(&filling)?;
        self.file.write_all(&filling)
    }

    /// Lets the disk begin, so that the sync at the end need not wait for all of it.
    fn spill(&mut self) {
        let length = self.hash.length();
        if let Some(more) = NonZero::new(length - self.spilled).filter(|more| more.get() >= SPILL) {
            // Linux begins to write what is not needed any more (posix_fadvise(2)); whether it does is its own affair.
            let _hint = fadvise(&self.file, self.spilled, Some(more), Advice::DontNeed);
            self.spilled = length;
        }
    }
}

/// Has the file system take bytes over from a place in another file, so that it may keep them once; gives how many it took.
/// The rest is to be written.
fn share((file, mut from): (&File, u64), to: &File, length: usize) -> usize {
    let mut taken = 0;
    while taken < length
        && let Ok(count @ 1..) = copy_file_range(file, Some(&mut from), to, None, length - taken)
    {
        taken += count;
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_the_error_and_nobody_waits() {
        let full = fs_err::OpenOptions::new().write(true).open("/dev/full");
        let mut writer = FrameWriter::new(full.unwrap().into_file(), Known::default).unwrap();
        let (mut written, bytes) = (Ok(()), vec![7; 1 << 20]);
        for _ in 0..100 {
            written = written.and_then(|()| writer.write_all(&bytes));
        }
        let outcome = written.and_then(|()| writer.finish().map(drop));
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
