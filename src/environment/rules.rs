//! What is made the same in every tree, and why (`docs/environment-digest.md` has the same list).

use crate::tree::Normalise;

/// Removed: made by what ran, of no use later, and different each time.
const REMOVE: [&str; 12] = [
    // The transaction's own database, where its content was imported into the real one.
    "/var/lib/rpm.transaction",
    // SQLite's shared memory and journal: salts from a random source.
    "/var/lib/rpm/rpmdb.sqlite-shm",
    "/var/lib/rpm/rpmdb.sqlite-wal",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite-shm",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite-wal",
    // Inode numbers and times of the libraries.
    "/var/cache/ldconfig/aux-cache",
    // Logs of tools that scriptlets call.
    "/var/log/*.log",
    "/var/log/*/*.log",
    // Backups that shadow's tools write beside the files of accounts.
    "/etc/passwd-",
    "/etc/group-",
    "/etc/shadow-",
    "/etc/gshadow-",
];

/// Emptied: an empty machine-id means "not set yet" (machine-id(5)).
const TRUNCATE: [&str; 1] = ["/etc/machine-id"];

/// Databases of rpm that `SQLite` can read without write access only when they have no write-ahead journal.
const SQLITE: [&str; 2] = [
    "/var/lib/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
];

/// The rules for a tree of the lock's `epoch` (seconds since 1970), with a template's own additions.
pub fn rules(epoch: i64, remove: &[String], truncate: &[String]) -> Normalise {
    let all = |fixed: &[&str], own: &[String]| {
        fixed
            .iter()
            .map(|&path| path.to_owned())
            .chain(own.iter().cloned())
            .collect()
    };
    Normalise {
        epoch,
        remove: all(&REMOVE, remove),
        truncate: all(&TRUNCATE, truncate),
        plain_sqlite: all(&SQLITE, &[]),
    }
}
