//! Reads a tar stream member by member, strictly.
//!
//! Fields of a header are decoded by the `tar` crate. What lies between headers is framed
//! here, because a reader of archives that others made must be stricter than that crate
//! is: values with newlines in extended headers (names, capabilities) are legal and have
//! to be understood, extended headers must not grow without bound, and what two readers
//! could understand in two ways (two names, two sizes, a missing end) must be refused.

use std::collections::BTreeMap;
use std::io::{self, Read};

use tar::{EntryType, Header};

use super::TreeError;
use super::error::shown;

const BLOCK: usize = 512;
/// Longest extended header or long name: names have at most 4 KiB, attributes 64 KiB each.
const LONGEST_EXTENSION: u64 = 1 << 20;
/// The prefix of extended attributes in extended headers.
pub(super) const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file with `size` bytes of content.
    File,
    /// Another name (`link`) of an earlier regular file.
    HardLink,
    /// A symbolic link to `link`.
    Symlink,
    /// A folder.
    Folder,
    /// A named pipe.
    Fifo,
    /// A character or block device.
    Device,
}

/// One member of an archive: what its headers say, extended headers applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The name, as written.
    pub name: Vec<u8>,
    /// Target of a link, as written; empty for other kinds.
    pub link: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Bytes of content in the stream.
    pub size: u64,
    /// Permissions and set-id bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, whole seconds since 1970.
    pub mtime: i64,
    /// Extended attributes, decoded, all of them.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// The members of a tar stream. Between two calls of `next_member` it reads (as `Read`) the
/// content of the member that was returned last.
#[derive(Debug)]
pub struct Members<R> {
    input: R,
    /// Bytes of content and of padding that were not read yet.
    left: u64,
    padding: u64,
    last: Vec<u8>,
    started: bool,
}

/// Extended headers and long names that were read before a member.
#[derive(Debug, Default)]
struct Extensions {
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    extended: bool,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl Extensions {
    /// Name and link target: the long ones where there are any.
    fn names(&mut self, header: &Header) -> Result<(Vec<u8>, Vec<u8>), &'static str> {
        let mut choose = |key: &[u8], long: Option<Vec<u8>>, short: Vec<u8>| match (
            self.records.remove(key),
            long,
        ) {
            (Some(_), Some(_)) => Err("the next entry has two long names"),
            (Some(long), None) | (None, Some(long)) => Ok(long),
            (None, None) => Ok(short),
        };
        let name = choose(
            b"path",
            self.long_name.take(),
            header.path_bytes().into_owned(),
        )?;
        let link = header.link_name_bytes().unwrap_or_default().into_owned();
        Ok((name, choose(b"linkpath", self.long_link.take(), link)?))
    }

    /// A number of the extended header, or of the header's field.
    fn number(&mut self, key: &[u8], field: io::Result<u64>) -> Option<u64> {
        match self.records.remove(key) {
            Some(text) => std::str::from_utf8(&text).ok()?.parse().ok(),
            None => field.ok(),
        }
    }
}

impl<R: Read> Members<R> {
    /// Reads from `input`, which should be buffered.
    pub fn new(input: R) -> Self {
        Self {
            input,
            left: 0,
            padding: 0,
            last: Vec::new(),
            started: false,
        }
    }

    /// The next member, or none at the end mark. Content that was not read is skipped.
    ///
    /// An empty stream has no members; a stream that stops without its end mark is refused.
    pub fn next_member(&mut self) -> Result<Option<Member>, TreeError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip()?;
            let Some(header) = self.header()? else {
                if extensions.extended
                    || extensions.long_name.is_some()
                    || extensions.long_link.is_some()
                {
                    return Err(self.refuse("the archive ends where the entry described by an extended header should be"));
                }
                return Ok(None);
            };
            let size = header
                .entry_size()
                .map_err(|_| self.refuse("the next entry's size is not a number"))?;
            match header.entry_type() {
                EntryType::XHeader if !extensions.extended => {
                    extensions.records = self.records(size)?;
                    extensions.extended = true;
                }
                EntryType::GNULongName if extensions.long_name.is_none() => {
                    extensions.long_name = Some(self.text(size)?);
                }
                EntryType::GNULongLink if extensions.long_link.is_none() => {
                    extensions.long_link = Some(self.text(size)?);
                }
                EntryType::XHeader | EntryType::GNULongName | EntryType::GNULongLink => {
                    return Err(
                        self.refuse("two extended headers of a kind describe the next entry")
                    );
                }
                EntryType::XGlobalHeader => {
                    if self.records(size)?.keys().any(|key| key != b"comment") {
                        return Err(self.refuse(
                            "a global extended header follows that changes later entries",
                        ));
                    }
                }
                kind => return self.member(&header, kind, extensions).map(Some),
            }
        }
    }

    fn member(
        &mut self,
        header: &Header,
        kind: EntryType,
        mut extensions: Extensions,
    ) -> Result<Member, TreeError> {
        let (name, link) = extensions.names(header).map_err(|why| self.refuse(why))?;
        self.last.clone_from(&name);
        let refuse = |why: &str| TreeError::refused("archive entry", &name, why);
        let kind =
            kind_of(kind, &name).ok_or_else(|| refuse("entries of this type are not supported"))?;
        let size = extensions
            .number(b"size", header.entry_size())
            .ok_or_else(|| refuse("its size is not a number"))?;
        // Readers disagree on whether the size of other entries counts.
        if kind != Kind::File && size != 0 {
            return Err(refuse("it has content, and is not a file"));
        }
        let old = header.as_old();
        let mut owner = |key: &[u8], field| {
            let id = extensions
                .number(key, field)
                .and_then(|id| u32::try_from(id).ok());
            id.ok_or_else(|| refuse("its owner is not a number of 32 bits"))
        };
        let (uid, gid) = (
            owner(b"uid", field(&old.uid, header.uid()))?,
            owner(b"gid", field(&old.gid, header.gid()))?,
        );
        let mtime = match extensions.records.remove(b"mtime".as_slice()) {
            Some(text) => whole_seconds(&text),
            None => field(&old.mtime, header.mtime()).ok().map(u64::cast_signed),
        };
        self.expect(size)
            .map_err(|()| refuse("its size is larger than any file"))?;
        Ok(Member {
            link: if matches!(kind, Kind::HardLink | Kind::Symlink) {
                link
            } else {
                Vec::new()
            },
            kind,
            size,
            mode: field(&old.mode, header.mode())
                .map_err(|_| refuse("its mode is not a number"))?
                & 0o7777,
            uid,
            gid,
            mtime: mtime.ok_or_else(|| refuse("its modification time is not a number"))?,
            xattrs: xattrs(extensions.records).map_err(refuse)?,
            name: name.clone(),
        })
    }

    /// One header block, or none at the end.
    fn header(&mut self) -> Result<Option<Header>, TreeError> {
        let mut header = Header::new_old();
        match self.block(header.as_mut_bytes())? {
            0 if !self.started => return Ok(None),
            BLOCK => {}
            _ => return Err(self.cut_short()),
        }
        self.started = true;
        if is_zero(header.as_bytes()) {
            let mut second = [0; BLOCK];
            let length = self.block(&mut second)?;
            if !is_zero(&second) || !matches!(length, 0 | BLOCK) {
                return Err(self.refuse("entries follow the archive's end mark"));
            }
            return Ok(None);
        }
        let sum: u32 = header
            .as_bytes()
            .iter()
            .enumerate()
            .map(|(at, &byte)| u32::from(if (148..156).contains(&at) { b' ' } else { byte }))
            .sum();
        if header.cksum().ok() != Some(sum) {
            return Err(self.refuse("the next header's checksum is wrong"));
        }
        Ok(Some(header))
    }

    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<usize, TreeError> {
        let mut length = 0;
        while length < BLOCK {
            match self.input.read(&mut block[length..]) {
                Ok(0) => break,
                Ok(more) => length += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.broken(error)),
            }
        }
        Ok(length)
    }

    /// The content of an extension, whole.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, TreeError> {
        if size > LONGEST_EXTENSION {
            return Err(self.refuse("the next extended header is longer than 1 MiB"));
        }
        self.expect(size)
            .map_err(|()| self.refuse("the next entry's size is larger than any file"))?;
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)
            .map_err(|error| self.broken(error))?;
        Ok(bytes)
    }

    /// A GNU long name: up to its NUL, which must be the end.
    fn text(&mut self, size: u64) -> Result<Vec<u8>, TreeError> {
        let mut bytes = self.extension(size)?;
        if bytes.last() == Some(&0) {
            bytes.pop();
        }
        Ok(bytes)
    }

    /// The records of an extended header: `LENGTH KEY=VALUE\n`, where the length counts all.
    fn records(&mut self, size: u64) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, TreeError> {
        let bytes = self.extension(size)?;
        let mut records = BTreeMap::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (key, value, after) =
                record(rest).ok_or_else(|| self.refuse("the next extended header is malformed"))?;
            if records.insert(key.to_vec(), value.to_vec()).is_some() {
                return Err(self.refuse("the next extended header has a key twice"));
            }
            rest = after;
        }
        Ok(records)
    }

    fn expect(&mut self, size: u64) -> Result<(), ()> {
        if size > i64::MAX.unsigned_abs() - 512 {
            return Err(());
        }
        self.left = size;
        self.padding = size.next_multiple_of(512) - size;
        Ok(())
    }

    /// Reads over what is left of the member.
    fn skip(&mut self) -> Result<(), TreeError> {
        let amount = self.left + self.padding;
        let skipped = io::copy(&mut (&mut self.input).take(amount), &mut io::sink())
            .map_err(|error| self.broken(error))?;
        if skipped != amount {
            return Err(self.cut_short());
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    /// What is read from: after `next_member` it stands where the member's content begins.
    pub fn input(&self) -> &R {
        &self.input
    }

    /// Reads to the end of the input, so that a reader that verifies all of it can do so.
    pub fn drain(&mut self) -> Result<(), TreeError> {
        io::copy(&mut self.input, &mut io::sink())
            .map(|_length| ())
            .map_err(|error| self.broken(error))
    }

    /// The error for input that failed.
    pub(super) fn broken(&self, source: io::Error) -> TreeError {
        TreeError::Read {
            after: shown(&self.last),
            source,
        }
    }

    fn cut_short(&self) -> TreeError {
        self.broken(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "it is cut short",
        ))
    }

    fn refuse(&self, why: &str) -> TreeError {
        match self.last.as_slice() {
            [] => TreeError::Refused {
                entry: "the archive".to_owned(),
                why: why.to_owned(),
            },
            last => TreeError::refused("the archive after entry", last, why),
        }
    }
}

impl<R: Read> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let length = self.input.read(&mut buffer[..most])?;
        if length == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it is cut short",
            ));
        }
        self.left -= length as u64;
        Ok(length)
    }
}

/// A number of a header; a field that was left blank is 0, as all readers have it.
fn field<T: Default>(raw: &[u8], decoded: io::Result<T>) -> io::Result<T> {
    if raw.iter().all(|byte| matches!(byte, 0 | b' ')) {
        Ok(T::default())
    } else {
        decoded
    }
}

fn is_zero(block: &[u8; BLOCK]) -> bool {
    block.iter().all(|&byte| byte == 0)
}

fn kind_of(kind: EntryType, name: &[u8]) -> Option<Kind> {
    match kind {
        // Writers older than POSIX mark folders by the slash alone.
        EntryType::Regular if name.ends_with(b"/") => Some(Kind::Folder),
        EntryType::Regular | EntryType::Continuous => Some(Kind::File),
        EntryType::Link => Some(Kind::HardLink),
        EntryType::Symlink => Some(Kind::Symlink),
        EntryType::Directory => Some(Kind::Folder),
        EntryType::Fifo => Some(Kind::Fifo),
        EntryType::Char | EntryType::Block => Some(Kind::Device),
        _ => None,
    }
}

fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().position(|&byte| byte == b' ')?;
    let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&byte| byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], rest))
}

/// Seconds of a time with or without a fraction, rounded down.
fn whole_seconds(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let below = text.starts_with('-') && fraction.bytes().any(|digit| digit != b'0');
    seconds.checked_sub(i64::from(below))
}

/// The extended attributes among the records; other records that change a member's meaning are refused.
fn xattrs(records: BTreeMap<Vec<u8>, Vec<u8>>) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, &'static str> {
    let mut xattrs = BTreeMap::new();
    for (key, value) in records {
        if key.starts_with(b"GNU.sparse.") {
            return Err("sparse entries are not supported");
        }
        if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
            xattrs.insert(decode_xattr_name(name), value);
        }
    }
    Ok(xattrs)
}

/// The inverse of how `encode` writes attribute names.
fn decode_xattr_name(mut name: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(name.len());
    while let Some((&byte, rest)) = name.split_first() {
        let (byte, rest) = match name {
            [b'%', b'2', b'5', rest @ ..] => (b'%', rest),
            [b'%', b'3', b'D', rest @ ..] => (b'=', rest),
            _ => (byte, rest),
        };
        decoded.push(byte);
        name = rest;
    }
    decoded
}
