//! Layers written and read: both digests in one pass each way.

use std::io::{self, BufReader, Read, Write};

use fs_err::File;
use tempfile::NamedTempFile;

use super::frames::FrameWriter;
use super::layout::{blob_name, mismatch, wrong_size};
use super::{Compression, Layer, Layout, OciError};
use crate::digest::HashingWriter;

const BUFFER: usize = 128 * 1024;

/// Takes an uncompressed tar and makes a layer of it. Dropped before `finish`, it leaves nothing.
pub struct LayerWriter {
    layout: Layout,
    file: NamedTempFile,
    plain: HashingWriter<FrameWriter>,
}

impl std::fmt::Debug for LayerWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LayerWriter")
            .field("file", &self.file.path())
            .finish_non_exhaustive()
    }
}

impl Layout {
    /// Starts a layer.
    pub fn layer_writer(&self) -> Result<LayerWriter, OciError> {
        let file = self.temporary()?;
        let output = file.as_file().try_clone();
        let layout = self.clone();
        let known = move || layout.known_frames();
        let frames = output.and_then(|output| FrameWriter::new(output, known));
        let frames = frames.map_err(OciError::file("write", file.path()))?;
        Ok(LayerWriter {
            layout: self.clone(),
            file,
            plain: HashingWriter::new(frames),
        })
    }

    /// Opens a layer's uncompressed tar.
    ///
    /// What it reads may be used once it was read to its end without an error: the last `read`
    /// fails where the blob's digest, its size or the diff-id are wrong.
    pub fn open_layer(&self, layer: &Layer) -> Result<LayerReader, OciError> {
        let (path, size) = self.find_blob(&layer.digest)?;
        if size != layer.size {
            return Err(wrong_size(&layer.digest, size, layer.size));
        }
        let file = File::open(&path).map_err(OciError::file("read", &path))?;
        LayerReader::new(file.into_file(), layer).map_err(OciError::file("read", &path))
    }
}

impl Write for LayerWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.plain.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.plain.flush()
    }
}

impl LayerWriter {
    /// Ends the layer and keeps its blob.
    pub fn finish(self) -> Result<Layer, OciError> {
        let (frames, diff_id) = self.plain.finish();
        let blob = frames
            .finish()
            .map_err(OciError::file("write", self.file.path()))?;
        let layer = Layer {
            diff_id,
            digest: blob.digest,
            size: blob.size,
            compression: Compression::Zstd,
        };
        self.layout.keep(self.file, &layer.digest)?;
        self.layout.keep_frames(&layer, blob.frames)?;
        self.layout.remember(&layer)?;
        Ok(layer)
    }
}

/// Hashes what is read.
struct HashingReader {
    input: std::fs::File,
    hash: HashingWriter<io::Sink>,
}

impl Read for HashingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        self.hash.write_all(&buffer[..length])?;
        Ok(length)
    }
}

enum Decoder {
    Zstd(Box<zstd::Decoder<'static, BufReader<HashingReader>>>),
    Gzip(Box<flate2::bufread::MultiGzDecoder<BufReader<HashingReader>>>),
    Plain(BufReader<HashingReader>),
    /// Everything was read and verified.
    Done,
}

/// A layer's tar while it is read; see `Layout::open_layer`.
pub struct LayerReader {
    decoder: Decoder,
    plain: Option<HashingWriter<io::Sink>>,
    layer: Layer,
}

impl std::fmt::Debug for LayerReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LayerReader")
            .field("layer", &self.layer)
            .finish_non_exhaustive()
    }
}

impl LayerReader {
    /// Reads `file` from its beginning as the blob of `layer`.
    pub(super) fn new(file: std::fs::File, layer: &Layer) -> io::Result<Self> {
        let input = BufReader::with_capacity(
            BUFFER,
            HashingReader {
                input: file,
                hash: HashingWriter::new(io::sink()),
            },
        );
        Ok(Self {
            decoder: match layer.compression {
                Compression::Zstd => Decoder::Zstd(Box::new(zstd::Decoder::with_buffer(input)?)),
                Compression::Gzip => {
                    Decoder::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(input)))
                }
                Compression::Plain => Decoder::Plain(input),
            },
            plain: Some(HashingWriter::new(io::sink())),
            layer: layer.clone(),
        })
    }

    /// Reads what is left, and so verifies all.
    pub fn verify(mut self) -> Result<(), OciError> {
        let read = io::copy(&mut self, &mut io::sink());
        read.map(|_length| ())
            .map_err(|error| match error.downcast::<OciError>() {
                Ok(error) => error,
                Err(error) => OciError::stream("read the layer")(error),
            })
    }

    /// At the end of the tar: reads what the decoder did not need of the blob, and compares.
    fn finish(&mut self) -> Result<(), OciError> {
        let input = match std::mem::replace(&mut self.decoder, Decoder::Done) {
            Decoder::Zstd(decoder) => decoder.finish(),
            Decoder::Gzip(decoder) => decoder.into_inner(),
            Decoder::Plain(input) => input,
            Decoder::Done => return Ok(()),
        };
        let mut input = input.into_inner();
        io::copy(&mut input, &mut io::sink()).map_err(OciError::stream("read the layer"))?;
        let length = input.hash.length();
        let digest = input.hash.finish().1;
        if length != self.layer.size {
            return Err(wrong_size(&self.layer.digest, length, self.layer.size));
        }
        if digest != self.layer.digest {
            return Err(mismatch(&self.layer.digest, &digest));
        }
        match self.plain.take().map(|plain| plain.finish().1) {
            Some(diff_id) if diff_id != self.layer.diff_id => Err(OciError::damaged(
                blob_name(&self.layer.digest),
                format!(
                    "its tar has the digest {diff_id} instead of {}",
                    self.layer.diff_id
                ),
            )),
            _ => Ok(()),
        }
    }
}

impl Read for LayerReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.decoder {
            Decoder::Zstd(decoder) => decoder.read(buffer),
            Decoder::Gzip(decoder) => decoder.read(buffer),
            Decoder::Plain(input) => input.read(buffer),
            Decoder::Done => return Ok(0),
        };
        let length = read.map_err(|error| {
            let what = blob_name(&self.layer.digest);
            io::Error::new(
                io::ErrorKind::InvalidData,
                OciError::damaged(what, error.to_string()),
            )
        })?;
        if length == 0 && !buffer.is_empty() {
            self.finish()
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
        if let Some(plain) = &mut self.plain {
            plain.write_all(&buffer[..length])?;
        }
        Ok(length)
    }
}
