//! Encodes a member's headers, the one way in which the project writes them: POSIX `ustar`,
//! with an extended header for what does not fit, and for nothing else.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use tar::{Builder, EntryType, Header};

use super::member::{Kind, Member, XATTR_PREFIX};

/// Length of the name and link fields of a header.
const SHORT_NAME: usize = 100;
/// The largest numbers that the octal fields hold.
const LARGEST_OWNER: u32 = 0o777_7777;
const LARGEST_NUMBER: u64 = 0o777_7777_7777;

/// Appends the headers of `member`; its content and padding are the caller's.
///
/// # Errors
/// An attribute whose name is not UTF-8, or what the writer gives.
pub fn append_header<W: Write>(tar: &mut Builder<W>, member: &Member) -> io::Result<()> {
    let mut records = xattr_records(member)?;
    let header = header(member, &mut records);
    tar.append_pax_extensions(
        records
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_slice())),
    )?;
    tar.get_mut().write_all(header.as_bytes())
}

/// Appends a member's content, of which `size` bytes must come, and its padding.
///
/// # Errors
/// A content that ends early, or what the reader or the writer gives.
pub fn append_content<W: Write>(
    tar: &mut Builder<W>,
    size: u64,
    content: &mut impl Read,
) -> io::Result<()> {
    let output = tar.get_mut();
    let copied = io::copy(&mut content.take(size), output)?;
    if copied != size {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "a file became shorter while it was read",
        ));
    }
    let padding = size.next_multiple_of(512) - size;
    io::copy(&mut io::repeat(0).take(padding), output).map(|_length| ())
}

fn xattr_records(member: &Member) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut records = BTreeMap::new();
    for (name, value) in &member.xattrs {
        let key =
            String::from_utf8([XATTR_PREFIX, &encode_xattr_name(name)].concat()).map_err(|_| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the name of an extended attribute is not UTF-8",
                )
            })?;
        records.insert(key, value.clone());
    }
    Ok(records)
}

/// The header; what does not fit goes to the records.
fn header(member: &Member, records: &mut BTreeMap<String, Vec<u8>>) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(match member.kind {
        Kind::File => EntryType::Regular,
        Kind::HardLink => EntryType::Link,
        Kind::Symlink => EntryType::Symlink,
        Kind::Folder => EntryType::Directory,
        Kind::Fifo => EntryType::Fifo,
        Kind::Device => EntryType::Char,
    });
    header.set_mode(member.mode);
    let mut record = |key: &str, value: &[u8]| {
        records.insert(key.to_owned(), value.to_vec());
    };
    let mut owner = |key: &str, id: u32| {
        if id <= LARGEST_OWNER {
            return u64::from(id);
        }
        record(key, id.to_string().as_bytes());
        0
    };
    header.set_uid(owner("uid", member.uid));
    header.set_gid(owner("gid", member.gid));
    let mut number = |key: &str, number: i64| match u64::try_from(number) {
        Ok(number) if number <= LARGEST_NUMBER => number,
        _ => {
            record(key, number.to_string().as_bytes());
            0
        }
    };
    header.set_mtime(number("mtime", member.mtime));
    header.set_size(number("size", member.size.cast_signed()));
    let mut text = |key: &str, field: &mut [u8; SHORT_NAME], text: &[u8]| {
        let length = text.len().min(SHORT_NAME);
        field[..length].copy_from_slice(&text[..length]);
        if text.len() > SHORT_NAME || !text.is_ascii() {
            record(key, text);
        }
    };
    let old = header.as_old_mut();
    text("path", &mut old.name, &member.name);
    text("linkpath", &mut old.linkname, &member.link);
    if let Some(ustar) = header.as_ustar_mut() {
        ustar.set_device_major(0);
        ustar.set_device_minor(0);
    }
    header.set_cksum();
    header
}

/// A `=` would end the key of a record, so that GNU tar writes it as `%3D`, and `%` as `%25`.
fn encode_xattr_name(name: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(name.len());
    for &byte in name {
        match byte {
            b'%' => encoded.extend_from_slice(b"%25"),
            b'=' => encoded.extend_from_slice(b"%3D"),
            _ => encoded.push(byte),
        }
    }
    encoded
}
