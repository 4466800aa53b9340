//! Zip archives, JARs and wheels among them.

use std::io::{self, Cursor, Read as _};

use super::archive::members;
use super::{Member, Time};
use crate::compare::cause::{self, Format, civil};
use crate::compare::difference::Kind;
use crate::compare::found::{Found, Place};

const MOST: usize = 100_000;

/// Compares two zip archives; finds nothing where one of them cannot be read as such.
pub(super) fn compare(place: &Place, first: &[u8], second: &[u8], found: &mut Found<'_>) {
    let (Ok((a, comment)), Ok((b, other))) = (read(first, found), read(second, found)) else {
        return;
    };
    if comment != other {
        let finding = cause::unexplained(found.conditions);
        found.values(
            &place.inside("comment"),
            Kind::Value,
            Format::Zip,
            finding,
            (comment, other),
        );
    }
    members(place, &a, &b, Format::Zip, found);
}

fn read(bytes: &[u8], found: &mut Found<'_>) -> io::Result<(Vec<Member>, String)> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(io::Error::other)?;
    let mut list = Vec::new();
    for at in 0..archive.len().min(MOST) {
        let mut entry = archive.by_index(at).map_err(io::Error::other)?;
        let mut member = Member {
            name: entry.name_raw().to_vec(),
            mode: entry.unix_mode().unwrap_or_default(),
            mtime: entry.last_modified().map(local).unwrap_or_default(),
            other: format!(
                "{:?}, extra fields of {} bytes",
                entry.compression(),
                entry.extra_data().map_or(0, |data| data.len())
            ),
            ..Member::default()
        };
        if member.mtime == Time::default() {
            member.mtime = Time::Local(0);
        }
        let budget = found.budget();
        entry
            .by_ref()
            .take(budget + 1)
            .read_to_end(&mut member.content)?;
        found.spend(member.content.len());
        if member.content.len() as u64 > budget {
            return Err(io::Error::other("it unpacks to more than is looked into"));
        }
        list.push(member);
    }
    let comment = crate::compare::difference::named(archive.comment());
    Ok((list, comment))
}

fn local(time: zip::DateTime) -> Time {
    let day = civil(
        i64::from(time.year()),
        i64::from(time.month()),
        i64::from(time.day()),
    );
    Time::Local(
        day + i64::from(time.hour()) * 3600
            + i64::from(time.minute()) * 60
            + i64::from(time.second()),
    )
}
