//! Compressed XML as a stream that ends in an error where the file was cut off.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Chain, Read};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Once;

use quick_xml::Reader;
use rpmrepo_metadata::{MetadataError, utils};

use super::RepositoryError;

/// More than any distribution's metadata unpacks to: a stop for what only pretends to be metadata.
const MAX_OPEN_SIZE: u64 = 8 * 1024 * 1024 * 1024;
/// More elements inside each other than any metadata has.
const MAX_DEPTH: u32 = 1000;
/// More text between two tags, or inside of one, than any metadata has, bytes.
const MAX_TEXT: u64 = 16 << 20;
/// The end tag is looked for in this many last bytes.
const TAIL: usize = 1024;
/// What stands behind every document for its parser, see [`events`]: it ends a tag that is left open, too.
const AFTER: &[u8] = b"></the-end-of-the-file>";

/// Opens the possibly compressed XML at `path`; `end` is the tag that a whole one ends with.
pub(super) fn open(
    path: &Path,
    name: &str,
    end: &'static str,
) -> Result<BufReader<Whole<Box<dyn Read + Send>>>, RepositoryError> {
    let inner = compressed(path, name)?;
    Ok(BufReader::with_capacity(1 << 16, Whole::new(inner, end)))
}

/// Opens the possibly compressed file at `path`; what it unpacks to is not bounded here.
pub(super) fn compressed(path: &Path, name: &str) -> Result<Box<dyn Read + Send>, RepositoryError> {
    // Opened here first: below, a file that is missing and a file that is too short look alike.
    File::open(path).map_err(|source| RepositoryError::Read {
        path: path.to_owned(),
        source,
    })?;
    utils::reader_from_file(path).map_err(|error| damaged(name, &error))
}

/// The events of an XML document.
///
/// Inside an element the metadata parsers wait for its end tag for ever, the end of the input included. So there is one more
/// end tag behind the document: after a whole one it is an event that means nothing, inside of an element an error.
pub(super) fn events<R: BufRead>(document: R) -> Reader<Chain<R, &'static [u8]>> {
    let mut reader = utils::create_xml_reader(document.chain(AFTER));
    reader.config_mut().allow_unmatched_ends = true;
    reader
}

thread_local! {
    /// Whether a panic of this thread is caught and told as an error.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Does `work` of the metadata parser; where that panics, the file is damaged.
///
/// `rpmrepo_metadata` 0.9.1 panics at an unknown type of a file (`FileType::try_create`) and where the
/// number of packages is missing: with a version that does not, this can go.
pub(super) fn guarded<T>(
    name: &str,
    work: impl FnOnce() -> Result<T, MetadataError>,
) -> Result<T, RepositoryError> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !CAUGHT.get() {
                usual(info);
            }
        }));
    });
    CAUGHT.set(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(false);
    match outcome {
        Ok(result) => result.map_err(|error| damaged(name, &error)),
        Err(_) => Err(damaged(
            name,
            &"its parser does not know what to make of it",
        )),
    }
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
/// The metadata parsers take the end of the input for the end of the list.
#[derive(Debug)]
pub(super) struct Whole<R> {
    inner: R,
    end: &'static str,
    tail: Vec<u8>,
    left: u64,
    shape: Shape,
}

/// How deep and how long what was read so far is: an XML parser keeps all of both in memory.
#[derive(Debug, Default)]
struct Shape {
    last: u8,
    depth: u32,
    text: u64,
}

impl Shape {
    fn add(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        if let (b'<', Some(&first)) = (self.last, bytes.first()) {
            self.begin(first)?;
        }
        let mut after = 0;
        for at in memchr::memchr2_iter(b'<', b'>', bytes) {
            let before = at.checked_sub(1).map_or(self.last, |before| bytes[before]);
            if bytes[at] == b'<' {
                if let Some(&next) = bytes.get(at + 1) {
                    self.begin(next)?;
                }
            } else {
                self.text = 0;
                after = at + 1;
                if before == b'/' {
                    self.depth = self.depth.saturating_sub(1);
                }
            }
        }
        self.text += (bytes.len() - after) as u64;
        self.last = bytes.last().copied().unwrap_or(self.last);
        if self.text > MAX_TEXT {
            return Err("it has an element with too much text");
        }
        Ok(())
    }

    /// What `<` and the byte after it begin.
    fn begin(&mut self, next: u8) -> Result<(), &'static str> {
        match next {
            b'/' => self.depth = self.depth.saturating_sub(1),
            b'?' | b'!' => {}
            _ => self.depth += 1,
        }
        if self.depth > MAX_DEPTH {
            return Err("its elements are nested too deeply");
        }
        Ok(())
    }
}

impl<R> Whole<R> {
    pub(super) fn new(inner: R, end: &'static str) -> Self {
        Self {
            inner,
            end,
            tail: Vec::new(),
            left: MAX_OPEN_SIZE,
            shape: Shape::default(),
        }
    }

    fn keep_tail(&mut self, bytes: &[u8]) {
        self.tail
            .extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
        let surplus = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..surplus);
    }

    fn check_end(&self) -> io::Result<usize> {
        let whole = self
            .tail
            .windows(self.end.len())
            .any(|window| window == self.end.as_bytes());
        if whole {
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
        self.shape.add(&buffer[..count]).map_err(io::Error::other)?;
        self.keep_tail(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parts: &[(&str, usize)]) -> Result<u64, String> {
        let text: Vec<String> = parts
            .iter()
            .map(|(text, times)| text.repeat(*times))
            .collect();
        let text = text.concat();
        let mut whole = Whole::new(text.as_bytes(), "</metadata>");
        io::copy(&mut whole, &mut io::sink()).map_err(|error| error.to_string())
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let end = ("</metadata>", 1);
        assert!(read(&[("<metadata>", 1), ("<a><b x='1'/>t</a>\n", 9000), end]).is_ok());
        assert!(read(&[("<?xml?><!-- c --><metadata>", 1), ("<!--a-->", 9000), end]).is_ok());
        assert!(read(&[("<metadata>", 1), ("<a>", 900), ("</a>", 900), end]).is_ok());
        insta::assert_snapshot!(read(&[("<a>", 2000), end]).unwrap_err(), @"its elements are nested too deeply");
        insta::assert_snapshot!(read(&[("<a>", 1), ("x", 20 << 20), end]).unwrap_err(), @"it has an element with too much text");
        insta::assert_snapshot!(read(&[("<a x='", 1), ("x", 20 << 20), ("'/>", 1), end]).unwrap_err(), @"it has an element with too much text");
    }
}
