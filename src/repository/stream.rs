//! Compressed XML as a stream that ends in an error where the file was cut off.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use rpmrepo_metadata::utils;

use super::RepositoryError;

/// More than any distribution's metadata unpacks to: a stop for what only pretends to be metadata.
const MAX_OPEN_SIZE: u64 = 8 * 1024 * 1024 * 1024;
/// The end tag is looked for in this many last bytes.
const TAIL: usize = 1024;
/// A parser that asks more often what comes after the end is waiting for something that never comes.
const MAX_ENDS: u32 = 16;

/// Opens the possibly compressed XML at `path`; `end` is the tag that a whole one ends with.
pub(super) fn open(
    path: &Path,
    name: &str,
    end: &'static str,
) -> Result<BufReader<Whole<Box<dyn Read + Send>>>, RepositoryError> {
    // Opened here first: below, a file that is missing and a file that is too short look alike.
    File::open(path).map_err(|source| RepositoryError::Read {
        path: path.to_owned(),
        source,
    })?;
    let inner = utils::reader_from_file(path).map_err(|error| damaged(name, &error))?;
    Ok(BufReader::with_capacity(1 << 16, Whole::new(inner, end)))
}

/// All of the possibly compressed file at `path`, of which at most `limit` bytes may come out.
pub(super) fn whole_file(path: &Path, name: &str, limit: u64) -> Result<Vec<u8>, RepositoryError> {
    let mut bytes = Vec::new();
    // What is too short to be compressed is read as it is.
    let small = path.metadata().is_ok_and(|metadata| metadata.len() < 8);
    let inner: Box<dyn Read> = match File::open(path) {
        Ok(file) if small => Box::new(file),
        Ok(_) => utils::reader_from_file(path).map_err(|error| damaged(name, &error))?,
        Err(source) => {
            return Err(RepositoryError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    inner
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| damaged(name, &error))?;
    if bytes.len() as u64 > limit {
        return Err(damaged(
            name,
            &format_args!("it is larger than {} MiB", limit >> 20),
        ));
    }
    Ok(bytes)
}

/// Bytes as text.
pub(super) fn text<'a>(bytes: &'a [u8], name: &str) -> Result<&'a str, RepositoryError> {
    std::str::from_utf8(bytes).map_err(|error| {
        damaged(
            name,
            &format_args!("byte {} is not UTF-8 text", error.valid_up_to()),
        )
    })
}

pub(super) fn damaged(name: &str, error: &dyn std::fmt::Display) -> RepositoryError {
    RepositoryError::Damaged {
        name: name.to_owned(),
        reason: error.to_string(),
    }
}

/// A reader whose end is an error unless the document's end tag came before it.
///
/// The metadata parsers take the end of the input for the end of the list, or wait
/// at it for ever inside an element.
#[derive(Debug)]
pub(super) struct Whole<R> {
    inner: R,
    end: &'static str,
    tail: Vec<u8>,
    ends: u32,
    left: u64,
}

impl<R> Whole<R> {
    pub(super) fn new(inner: R, end: &'static str) -> Self {
        Self {
            inner,
            end,
            tail: Vec::new(),
            ends: 0,
            left: MAX_OPEN_SIZE,
        }
    }

    fn keep_tail(&mut self, bytes: &[u8]) {
        self.tail
            .extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
        let surplus = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..surplus);
    }

    fn check_end(&mut self) -> io::Result<usize> {
        self.ends += 1;
        let whole = self
            .tail
            .windows(self.end.len())
            .any(|window| window == self.end.as_bytes());
        if whole && self.ends <= MAX_ENDS {
            Ok(0)
        } else {
            Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("it ends before `{}`", self.end),
            ))
        }
    }
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            return self.check_end();
        }
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| io::Error::other("it is too large"))?;
        self.keep_tail(&buffer[..count]);
        Ok(count)
    }
}
