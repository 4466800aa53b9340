//! Which host ids the ids inside stand for.
//!
//! Inner 0 to 65535 are a subordinate range; in the store's user namespace alone, inner
//! 65536 is the caller's own id, so that the keeper can reach what is the caller's. The
//! range comes from `/etc/subuid` and `/etc/subgid`. Host root without an entry there
//! uses the range from `ROOT_START`: 0 inside is never 0 outside.

use std::io;

use rustix::process::{Pid, getegid, geteuid};

use super::check::{Problem, package_command};
use crate::backend::User;

/// Ids inside a tree.
pub(super) const COUNT: u32 = 65_536;
/// The caller's own id, in the store's user namespace.
pub(super) const CALLER: u32 = COUNT;
/// Where host root's ids begin when it has no subordinate range: above what `useradd`
/// gives out and what systemd allots to containers (524288 to 1879048191).
const ROOT_START: u32 = 2_000_000_000;

/// The host ids of one caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ids {
    uid: u32,
    gid: u32,
    uid_start: u32,
    gid_start: u32,
}

impl Ids {
    /// The ranges of the process's own user, or all that is wrong with them.
    pub(super) fn of_caller() -> Result<Self, Vec<Problem>> {
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        let name = name_of(uid);
        let range = |file: &str, option: &str| {
            let text = fs_err::read_to_string(file).unwrap_or_default();
            match first_range(&text, name.as_deref(), uid) {
                Some(start) => Ok(start),
                None if uid == 0 => Ok(ROOT_START),
                None => Err(no_range(
                    file,
                    option,
                    name.as_deref().unwrap_or(&uid.to_string()),
                )),
            }
        };
        match (
            range("/etc/subuid", "--add-subuids"),
            range("/etc/subgid", "--add-subgids"),
        ) {
            (Ok(uid_start), Ok(gid_start)) => Ok(Self {
                uid,
                gid,
                uid_start,
                gid_start,
            }),
            (users, groups) => Err([users.err(), groups.err()].into_iter().flatten().collect()),
        }
    }

    /// Whether maps are written directly, without the setuid helpers.
    pub(super) fn direct(self) -> bool {
        self.uid == 0
    }

    /// Gives the process `pid`, which has just made its user namespace, its ids.
    pub(super) fn map(self, pid: Pid) -> io::Result<()> {
        if self.direct() {
            write_map(
                pid,
                "gid_map",
                &[(0, self.gid_start, COUNT), (CALLER, self.gid, 1)],
            )?;
            return write_map(
                pid,
                "uid_map",
                &[(0, self.uid_start, COUNT), (CALLER, self.uid, 1)],
            );
        }
        run_helper("newgidmap", pid, self.gid_start, self.gid)?;
        run_helper("newuidmap", pid, self.uid_start, self.uid)
    }
}

impl std::fmt::Display for Ids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{COUNT} users from {}, groups from {}",
            self.uid_start, self.gid_start
        )
    }
}

/// Maps the inner ids, and nothing else, of a user namespace made inside the store's. With `writer`, that user's
/// inside is the caller's own id, and no other is.
pub(super) fn map_inner(pid: Pid, writer: Option<User>) -> io::Result<()> {
    write_map(pid, "gid_map", &with_caller(writer.map(|user| user.gid)))?;
    write_map(pid, "uid_map", &with_caller(writer.map(|user| user.uid)))
}

/// The ranges of a map in which one id is the caller's.
fn with_caller(id: Option<u32>) -> Vec<(u32, u32, u32)> {
    let Some(id) = id else {
        return vec![(0, 0, COUNT)];
    };
    let above = id + 1;
    let mut ranges = vec![
        (0, 0, id),
        (id, CALLER, 1),
        (above, above, COUNT.saturating_sub(above)),
    ];
    ranges.retain(|(_, _, count)| *count > 0);
    ranges
}

/// Maps what is the owner's on the disk to a user inside: for mounts alone, no process runs with these ids.
pub(super) fn map_owner(pid: Pid, (uid, gid): (u32, u32), user: User) -> io::Result<()> {
    write_map(pid, "gid_map", &[(gid, user.gid, 1)])?;
    write_map(pid, "uid_map", &[(uid, user.uid, 1)])
}

fn write_map(pid: Pid, file: &str, ranges: &[(u32, u32, u32)]) -> io::Result<()> {
    use std::io::Write as _;
    let lines = ranges
        .iter()
        .map(|(inside, outside, count)| format!("{inside} {outside} {count}"));
    let text = lines.collect::<Vec<_>>().join("\n");
    // One write: the kernel takes the map whole.
    fs_err::OpenOptions::new()
        .write(true)
        .open(format!("/proc/{}/{file}", pid.as_raw_nonzero()))?
        .write_all(text.as_bytes())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the two setuid helpers must be children of the caller, not of a backend"
)]
fn run_helper(program: &str, pid: Pid, start: u32, own: u32) -> io::Result<()> {
    let numbers = [0, start, COUNT, CALLER, own, 1].map(|number| number.to_string());
    let output = std::process::Command::new(program)
        .arg(pid.as_raw_nonzero().to_string())
        .args(numbers)
        .stdin(std::process::Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}

/// The name in `/etc/passwd`; users from elsewhere are known by number only.
fn name_of(uid: u32) -> Option<String> {
    let text = fs_err::read_to_string("/etc/passwd").ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// The start of the first range that is large enough.
fn first_range(text: &str, name: Option<&str>, uid: u32) -> Option<u32> {
    text.lines().find_map(|line| {
        let (owner, range) = line.split_once(':')?;
        let (start, count) = range.split_once(':')?;
        let own = Some(owner) == name || owner.parse() == Ok(uid);
        let (start, count): (u32, u32) = (start.parse().ok()?, count.trim().parse().ok()?);
        (own && start > 0 && count >= COUNT).then_some(start)
    })
}

fn no_range(file: &str, option: &str, user: &str) -> Problem {
    let taken = fs_err::read_to_string(file).unwrap_or_default();
    let start = free_start(&taken);
    let end = start + COUNT - 1;
    Problem {
        what: format!("`{file}` gives user `{user}` no range of at least {COUNT} ids"),
        remedy: format!("sudo usermod {option} {start}-{end} {user}"),
    }
}

/// The first multiple of the range size that no entry reaches.
fn free_start(text: &str) -> u32 {
    let end = text.lines().filter_map(|line| {
        let mut numbers = line
            .split(':')
            .skip(1)
            .map(|number| number.trim().parse::<u32>());
        numbers.next()?.ok()?.checked_add(numbers.next()?.ok()?)
    });
    let end = end.max().unwrap_or_default().max(100_000);
    if end == 100_000 {
        end
    } else {
        end.div_ceil(COUNT) * COUNT
    }
}

/// What is missing when the setuid helpers cannot be found.
pub(super) fn helpers_missing() -> Option<Problem> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing: Vec<&str> = ["newuidmap", "newgidmap"]
        .into_iter()
        .filter(|program| {
            !std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
        })
        .collect();
    (!missing.is_empty()).then(|| Problem {
        what: format!(
            "{} not found: without root they are what gives a user its subordinate ids",
            missing.join(" and ")
        ),
        remedy: package_command(&[
            ("debian", "uidmap"),
            ("fedora", "shadow-utils"),
            ("suse", "shadow"),
            ("arch", "shadow"),
        ]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_range_that_is_large_enough_is_taken() {
        let cases = [
            ("alice:100000:65536\n", Some(100_000)),
            ("bob:100000:65536\nalice:165536:65536\n", Some(165_536)),
            ("alice:5000:10\nalice:300000:65537", Some(300_000)),
            ("1000:400000:65536", Some(400_000)),
            ("alice:0:65536", None),
            ("alice:1:2:3\nnonsense\n", None),
            ("", None),
        ];
        for (text, start) in cases {
            assert_eq!(first_range(text, Some("alice"), 1000), start, "{text:?}");
        }
    }

    #[test]
    fn one_id_alone_is_the_callers() {
        for (id, ranges) in [
            (None, vec![(0, 0, 65_536)]),
            (Some(0), vec![(0, CALLER, 1), (1, 1, 65_535)]),
            (
                Some(1000),
                vec![(0, 0, 1000), (1000, CALLER, 1), (1001, 1001, 64_535)],
            ),
            (Some(65_535), vec![(0, 0, 65_535), (65_535, CALLER, 1)]),
        ] {
            assert_eq!(with_caller(id), ranges);
        }
    }

    #[test]
    fn the_remedy_names_a_range_that_is_free() {
        let cases = [
            ("", 100_000),
            ("a:100000:65536\n", 196_608),
            ("a:100000:65536\nb:165536:65536", 262_144),
        ];
        for (text, start) in cases {
            assert_eq!(free_start(text), start, "{text:?}");
        }
    }
}
