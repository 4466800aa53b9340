//! Archives of the tar, ar and cpio kinds, member by member.

use std::collections::HashMap;
use std::io::{self, Read};

use super::{Member, Time};
use crate::compare::cause::{self, Format};
use crate::compare::difference::{Evidence, Kind as What, named};
use crate::compare::files::alone;
use crate::compare::found::{Found, Place};
use crate::tree::payload::{Name, Payload};

/// Members of one archive that are looked at.
const MOST: usize = 100_000;

/// Which archive it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ar,
    Cpio,
    Tar,
}

/// Compares two archives; finds nothing where one of them cannot be read as such.
pub(super) fn compare(
    place: &Place,
    (first, second): (&[u8], &[u8]),
    kind: Kind,
    found: &mut Found<'_>,
) {
    let (read, format): (fn(&[u8], &mut Found<'_>) -> io::Result<Vec<Member>>, _) = match kind {
        Kind::Ar => (ar, Format::Ar),
        Kind::Cpio => (cpio, Format::Tar),
        Kind::Tar => (tar, Format::Tar),
    };
    let (Ok(a), Ok(b)) = (read(first, found), read(second, found)) else {
        return;
    };
    members(place, &a, &b, format, found);
}

/// Compares two lists of members: their order, their facts, their content.
pub(super) fn members(
    place: &Place,
    first: &[Member],
    second: &[Member],
    format: Format,
    found: &mut Found<'_>,
) {
    let names = |members: &'_ [Member]| {
        members
            .iter()
            .map(|member| member.name.clone())
            .collect::<Vec<_>>()
    };
    let (a, b) = (names(first), names(second));
    let (x, y): (Vec<&[u8]>, Vec<&[u8]>) = (
        a.iter().map(Vec::as_slice).collect(),
        b.iter().map(Vec::as_slice).collect(),
    );
    if x != y && cause::same_entries(&x, &y) {
        let finding = cause::order(&x, &y, found.conditions);
        let list = |names: &[&[u8]]| {
            names
                .iter()
                .take(12)
                .map(|name| named(name))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let moved = x.iter().zip(&y).take_while(|(a, b)| a == b).count();
        let evidence = Evidence::values(list(&x[moved..]), list(&y[moved..]));
        found.add(place, What::Order, format, finding, Some(evidence));
    }
    let mut by_name: HashMap<&[u8], Vec<&Member>> = HashMap::new();
    for member in second.iter().rev() {
        by_name.entry(&member.name).or_default().push(member);
    }
    let mut missing = Vec::new();
    for member in first {
        match by_name.get_mut(member.name.as_slice()).and_then(Vec::pop) {
            Some(other) => one(
                &place.inside(named(&member.name)),
                member,
                other,
                format,
                found,
            ),
            None => missing.push(member.name.clone()),
        }
    }
    let mut added: Vec<Vec<u8>> = by_name
        .values()
        .flatten()
        .map(|member| member.name.clone())
        .collect();
    added.sort();
    alone(place, &missing, &added, found);
}

fn one(place: &Place, a: &Member, b: &Member, format: Format, found: &mut Found<'_>) {
    let conditions = found.conditions;
    if a.mode != b.mode {
        found.values(
            place,
            What::Mode,
            format,
            cause::mode(a.mode, b.mode, conditions),
            (format!("{:04o}", a.mode), format!("{:04o}", b.mode)),
        );
    }
    if a.owner != b.owner {
        found.values(
            place,
            What::Owner,
            format,
            cause::owner(&a.owner, &b.owner, conditions),
            (a.owner.clone(), b.owner.clone()),
        );
    }
    match (a.mtime, b.mtime) {
        (Time::Local(x), Time::Local(y)) if x != y => {
            let finding = cause::local_times(x, y, "both times", conditions);
            found.values(place, What::Mtime, format, finding, (clock(x), clock(y)));
        }
        (Time::Counted(x), Time::Counted(y)) if x != y => {
            found.values(
                place,
                What::Mtime,
                format,
                cause::mtime(x, y, conditions),
                (x.to_string(), y.to_string()),
            );
        }
        _ => {}
    }
    if a.other != b.other {
        found.values(
            place,
            What::Attributes,
            format,
            cause::unexplained(conditions),
            (a.other.clone(), b.other.clone()),
        );
    }
    if a.content != b.content {
        super::compare(place, &a.content, &b.content, found);
    }
}

/// A local time, to be read.
fn clock(seconds: i64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp(seconds).ok();
    let text = time.map(|time| {
        format!(
            "{} {:02}:{:02}:{:02}",
            time.date(),
            time.hour(),
            time.minute(),
            time.second()
        )
    });
    text.unwrap_or_else(|| seconds.to_string())
}

fn tar(bytes: &[u8], found: &mut Found<'_>) -> io::Result<Vec<Member>> {
    let mut archive = tar::Archive::new(bytes);
    let mut members = Vec::new();
    for entry in archive.entries()?.take(MOST) {
        let mut entry = entry?;
        let header = entry.header();
        let text = |name: Option<&[u8]>| name.map(named).unwrap_or_default();
        let mut member = Member {
            name: entry.path_bytes().into_owned(),
            mode: header.mode().unwrap_or_default(),
            owner: format!(
                "{}:{} {}:{}",
                header.uid().unwrap_or_default(),
                header.gid().unwrap_or_default(),
                text(header.username_bytes()),
                text(header.groupname_bytes())
            ),
            mtime: Time::Counted(header.mtime().unwrap_or_default().cast_signed()),
            other: format!(
                "{:?} {}",
                header.entry_type(),
                text(entry.link_name_bytes().as_deref())
            ),
            content: Vec::new(),
        };
        member.content = super::unpack(&mut entry, found)?;
        members.push(member);
    }
    Ok(members)
}

fn ar(bytes: &[u8], found: &mut Found<'_>) -> io::Result<Vec<Member>> {
    let mut archive = ar::Archive::new(bytes);
    let mut members = Vec::new();
    while let Some(entry) = archive.next_entry() {
        let mut entry = entry?;
        let header = entry.header();
        let mut member = Member {
            name: header.identifier().to_vec(),
            mode: header.mode(),
            owner: format!("{}:{}", header.uid(), header.gid()),
            mtime: Time::Counted(header.mtime().cast_signed()),
            other: String::new(),
            content: Vec::new(),
        };
        member.content = super::unpack(&mut entry, found)?;
        members.push(member);
        if members.len() == MOST {
            break;
        }
    }
    Ok(members)
}

/// An archive of cpio's `newc` kind: names and contents; the rest of the headers is compared as bytes.
fn cpio(bytes: &[u8], found: &mut Found<'_>) -> io::Result<Vec<Member>> {
    let mut archive = Payload::new(bytes);
    let mut members = Vec::new();
    while let Some((name, _)) = archive.next_entry(&|_| None)? {
        let mut content = Vec::new();
        archive
            .by_ref()
            .take(found.budget())
            .read_to_end(&mut content)?;
        found.spend(content.len());
        if let Name::Path(name) = name {
            members.push(Member {
                name,
                content,
                ..Member::default()
            });
        }
        if members.len() == MOST {
            break;
        }
    }
    Ok(members)
}
