//! The payload's archive: `newc` cpio, and RPM's stripped form of it for large files.

use std::io::{self, BufReader, Read};

/// The content's size of an entry of the header's list, by its number there.
pub type SizeOf<'a> = &'a dyn Fn(usize) -> Option<u64>;

const NEWC: &[u8; 6] = b"070701";
const NEWC_WITH_SUMS: &[u8; 6] = b"070702";
/// The header is a number in the RPM header's file list, and nothing else.
const STRIPPED: &[u8; 6] = b"07070X";
const TRAILER: &[u8] = b"TRAILER!!!";
const LONGEST_NAME: usize = 4096;
/// What may follow the trailer: padding to the block sizes of old tools.
const LONGEST_REST: u64 = 64 * 1024;
/// Memory that an xz stream may ask for.
const XZ_MEMORY: u64 = 128 << 20;

/// Which entry of the header's list a payload entry is.
#[derive(Debug, PartialEq, Eq)]
pub enum Name {
    /// By its path, as the archive has it.
    Path(Vec<u8>),
    /// By its number in the header's list.
    Number(usize),
}

/// Entries of a payload. As `Read`, gives the content of the entry that was returned last.
#[derive(Debug)]
pub struct Payload<R> {
    input: R,
    left: u64,
    padding: u64,
}

impl<R: Read> Payload<R> {
    /// Reads the archive that `input`, decompressed, begins with.
    pub fn new(input: R) -> Self {
        Self {
            input,
            left: 0,
            padding: 0,
        }
    }

    /// The next entry with the size of its content; none at the trailer. `size_of` tells the
    /// sizes that the stripped form leaves out.
    pub fn next_entry(&mut self, size_of: SizeOf<'_>) -> io::Result<Option<(Name, u64)>> {
        self.skip()?;
        let mut magic = [0; 6];
        self.input.read_exact(&mut magic)?;
        match &magic {
            NEWC | NEWC_WITH_SUMS => self.newc(),
            STRIPPED => {
                let number = usize::try_from(self.number()?).unwrap_or(usize::MAX);
                self.pad(2)?;
                if number == usize::try_from(u32::MAX).unwrap_or(usize::MAX) {
                    return Ok(None);
                }
                let size =
                    size_of(number).ok_or_else(|| wrong("an entry is not in the header's list"))?;
                self.expect(size);
                Ok(Some((Name::Number(number), size)))
            }
            _ => Err(wrong("an entry does not begin as one")),
        }
    }

    fn newc(&mut self) -> io::Result<Option<(Name, u64)>> {
        let mut fields = [0; 13];
        for field in &mut fields {
            *field = self.number()?;
        }
        let (size, name_size) = (
            u64::from(fields[6]),
            usize::try_from(fields[11]).unwrap_or(usize::MAX),
        );
        if name_size == 0 || name_size > LONGEST_NAME {
            return Err(wrong("an entry's name is empty or longer than 4095 bytes"));
        }
        let mut name = vec![0; name_size];
        self.input.read_exact(&mut name)?;
        if name.pop() != Some(0) {
            return Err(wrong("an entry's name does not end"));
        }
        self.pad((110 + name_size).next_multiple_of(4) - 110 - name_size)?;
        if name == TRAILER {
            return Ok(None);
        }
        self.expect(size);
        Ok(Some((Name::Path(name), size)))
    }

    fn number(&mut self) -> io::Result<u32> {
        let mut digits = [0; 8];
        self.input.read_exact(&mut digits)?;
        let text = std::str::from_utf8(&digits)
            .ok()
            .filter(|text| !text.starts_with('+'));
        text.and_then(|text| u32::from_str_radix(text, 16).ok())
            .ok_or_else(|| wrong("a number of an entry is none"))
    }

    fn expect(&mut self, size: u64) {
        self.left = size;
        self.padding = size.next_multiple_of(4) - size;
    }

    fn pad(&mut self, length: usize) -> io::Result<()> {
        self.input.read_exact(&mut [0; 4][..length])
    }

    fn skip(&mut self) -> io::Result<()> {
        let amount = self.left + self.padding;
        if io::copy(&mut (&mut self.input).take(amount), &mut io::sink())? != amount {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    /// Reads what follows the trailer, so that the compressed stream's own checks are made.
    pub fn finish(self) -> io::Result<()> {
        let rest = io::copy(&mut self.input.take(LONGEST_REST + 1), &mut io::sink())?;
        if rest > LONGEST_REST {
            Err(wrong("data follows its end"))
        } else {
            Ok(())
        }
    }
}

impl<R: Read> Read for Payload<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let length = self.input.read(&mut buffer[..most])?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= length as u64;
        Ok(length)
    }
}

pub(super) fn wrong(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Decompresses a payload, whatever of the usual compressors made it.
pub fn decompress<'a>(file: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    const START: u64 = 6;
    let mut input = BufReader::with_capacity(128 * 1024, file);
    let mut start = Vec::new();
    Read::take(&mut input, START).read_to_end(&mut start)?;
    let input = BufReader::with_capacity(128 * 1024, io::Cursor::new(start.clone()).chain(input));
    Ok(match start.as_slice() {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(BufReader::with_capacity(
            128 * 1024,
            zstd::Decoder::with_buffer(input)?,
        )),
        [0x1f, 0x8b, ..] => Box::new(BufReader::with_capacity(
            128 * 1024,
            flate2::bufread::MultiGzDecoder::new(input),
        )),
        [0xfd, b'7', b'z', b'X', b'Z', ..] | [0x5d, 0, 0, ..] => {
            let stream = liblzma::stream::Stream::new_auto_decoder(
                XZ_MEMORY,
                liblzma::stream::CONCATENATED,
            )?;
            Box::new(BufReader::with_capacity(
                128 * 1024,
                liblzma::bufread::XzDecoder::new_stream(input, stream),
            ))
        }
        [b'B', b'Z', b'h', ..] => {
            return Err(wrong("payloads compressed with bzip2 are not supported"));
        }
        [b'0', b'7', b'0', b'7', ..] => Box::new(input),
        _ => return Err(wrong("its compression is not known")),
    })
}
