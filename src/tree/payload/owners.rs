//! Owner names of packages, translated by the tree's own `/etc/passwd` and `/etc/group`.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd};

use super::super::TreeError;
use super::super::handle::{self, Owner};
use super::package::Entry;

const LARGEST: u64 = 16 << 20;

/// Names to ids.
#[derive(Debug, Default)]
pub(super) struct Owners {
    users: HashMap<String, u32>,
    groups: HashMap<String, u32>,
}

impl Owners {
    /// Reads the tree's tables, where it has them.
    pub(super) fn read(root: BorrowedFd<'_>) -> Result<Self, TreeError> {
        Ok(Self {
            users: table(root, c"passwd")?,
            groups: table(root, c"group")?,
        })
    }

    /// The owner and the mode of an entry. A name that the tree does not know is root, and
    /// then the entry does not run as it, as rpm has it.
    pub(super) fn of(&self, entry: &Entry) -> (Owner, u32) {
        let id = |table: &HashMap<String, u32>, name: Option<&str>| {
            name.map_or(Some(0), |name| table.get(name).copied())
        };
        let (uid, gid) = (
            id(&self.users, entry.user.as_deref()),
            id(&self.groups, entry.group.as_deref()),
        );
        let lost = if uid.is_none() { libc::S_ISUID } else { 0 }
            | if gid.is_none() { libc::S_ISGID } else { 0 };
        let owner = Owner {
            uid: uid.unwrap_or(0),
            gid: gid.unwrap_or(0),
        };
        (owner, entry.mode & !lost)
    }
}

/// Names and ids of a colon-separated table; of two lines with one name the first counts.
fn table(root: BorrowedFd<'_>, name: &std::ffi::CStr) -> Result<HashMap<String, u32>, TreeError> {
    let mut ids = HashMap::new();
    let file =
        handle::open_folder(root, b"etc").and_then(|etc| handle::open_file(etc.as_fd(), name));
    let Ok(file) = file else {
        return Ok(ids);
    };
    for line in BufReader::new(std::fs::File::from(file).take(LARGEST)).split(b'\n') {
        let line = line.map_err(|error| {
            TreeError::path("read", &handle::join(b"etc", name.to_bytes()), error)
        })?;
        let Ok(line) = String::from_utf8(line) else {
            continue;
        };
        let mut fields = line.split(':');
        if let (Some(name), Some(_password), Some(id)) =
            (fields.next(), fields.next(), fields.next())
            && let Ok(id) = id.parse()
        {
            ids.entry(name.to_owned()).or_insert(id);
        }
    }
    Ok(ids)
}
