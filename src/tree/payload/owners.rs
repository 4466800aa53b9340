//! Owner names of packages, translated by the tree's own `/etc/passwd` and `/etc/group`.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd};

use super::super::TreeError;
use super::super::handle::{self, Owner};
use super::package::Entry;

const LARGEST: u64 = 16 << 20;

/// Names to ids. A name that the tree does not know is root's, as it is for rpm.
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

    /// The owner of an entry.
    pub(super) fn of(&self, entry: &Entry) -> Owner {
        let id = |table: &HashMap<String, u32>, name: Option<&str>| {
            name.map_or(0, |name| table.get(name).copied().unwrap_or(0))
        };
        Owner {
            uid: id(&self.users, entry.user.as_deref()),
            gid: id(&self.groups, entry.group.as_deref()),
        }
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
