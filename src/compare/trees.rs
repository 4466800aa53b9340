//! Two environments as canonical archives, entry by entry, read side by side.

use std::cmp::Ordering;
use std::io::Read;

use super::cause::{self, Finding, Format};
use super::conditions::Conditions;
use super::difference::{Comparison, Kind as What, named};
use super::found::{Found, Place};
use super::origins::Origins;
use super::{CompareError, content};
use crate::tree::TreeError;
use crate::tree::member::{Kind, Member, Members};

/// The largest file that is looked into.
const LARGEST: u64 = 32 << 20;
const SIDES: [&str; 2] = ["first", "second"];

/// Compares two trees, each as the canonical archive that a layer is (`docs/environment-digest.md`). With `origins`,
/// every difference says which package or scriptlet the file comes from.
///
/// The archives are read once, at the same time. Memory does not depend on their sizes.
pub fn trees(
    first: &mut dyn Read,
    second: &mut dyn Read,
    origins: &Origins,
    conditions: &Conditions,
) -> Result<Comparison, CompareError> {
    let mut found = Found::new(conditions);
    let (mut a, mut b) = (Tree::new(first, SIDES[0])?, Tree::new(second, SIDES[1])?);
    loop {
        let order = match (&a.member, &b.member) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(x), Some(y)) => canonical(&x.name, &y.name),
        };
        let mark = found.count();
        let path = match order {
            Ordering::Less => a.alone(What::OnlyInFirst, &mut found)?,
            Ordering::Greater => b.alone(What::OnlyInSecond, &mut found)?,
            Ordering::Equal => both(&mut a, &mut b, &mut found)?,
        };
        if found.count() != mark {
            found.origin_since(mark, &origins.of(&path));
        }
    }
    Ok(found.finish())
}

/// One archive, at one of its members.
struct Tree<'a> {
    members: Members<&'a mut dyn Read>,
    member: Option<Member>,
    side: &'static str,
}

impl<'a> Tree<'a> {
    fn new(archive: &'a mut dyn Read, side: &'static str) -> Result<Self, CompareError> {
        let mut tree = Self {
            members: Members::new(archive),
            member: None,
            side,
        };
        tree.next()?;
        Ok(tree)
    }

    /// Goes on to the next member, which must be behind the one before.
    fn next(&mut self) -> Result<(), CompareError> {
        let next = self.members.next_member().map_err(self.error())?;
        if let (Some(before), Some(next)) = (&self.member, &next)
            && canonical(&before.name, &next.name) != Ordering::Less
        {
            return Err(CompareError::Order {
                side: self.side,
                path: named(&next.name),
                before: named(&before.name),
            });
        }
        self.member = next;
        Ok(())
    }

    fn error(&self) -> impl Fn(TreeError) -> CompareError + use<> {
        let side = self.side;
        move |source| CompareError::Tree { side, source }
    }

    /// The member has no counterpart.
    fn alone(&mut self, kind: What, found: &mut Found<'_>) -> Result<Vec<u8>, CompareError> {
        let path = self
            .member
            .as_ref()
            .map(|member| path(&member.name))
            .unwrap_or_default();
        let finding = cause::unexplained(found.conditions);
        found.add(&Place::of(shown(&path)), kind, Format::File, finding, None);
        self.next()?;
        Ok(path)
    }
}

fn both(
    a: &mut Tree<'_>,
    b: &mut Tree<'_>,
    found: &mut Found<'_>,
) -> Result<Vec<u8>, CompareError> {
    let (Some(x), Some(y)) = (&a.member, &b.member) else {
        return Ok(Vec::new());
    };
    let path = path(&x.name);
    let place = Place::of(shown(&path));
    facts(&place, x, y, found);
    if x.kind == Kind::File && y.kind == Kind::File {
        let (small, side) = (x.size.max(y.size) <= LARGEST, a.side);
        let read = if small {
            kept(&place, a, b, found)
        } else {
            content::stream(&place, &mut a.members, &mut b.members, found)
        };
        read.map_err(|source| CompareError::Tree {
            side,
            source: TreeError::Read {
                after: named(&path),
                source,
            },
        })?;
    }
    a.next()?;
    b.next()?;
    Ok(path)
}

/// Compares two files of moderate size, which are kept for it.
fn kept(
    place: &Place,
    a: &mut Tree<'_>,
    b: &mut Tree<'_>,
    found: &mut Found<'_>,
) -> std::io::Result<()> {
    let (mut x, mut y) = (Vec::new(), Vec::new());
    a.members.read_to_end(&mut x)?;
    b.members.read_to_end(&mut y)?;
    if x != y {
        found.refill();
        content::compare(place, &x, &y, found);
    }
    Ok(())
}

fn facts(place: &Place, a: &Member, b: &Member, found: &mut Found<'_>) {
    let conditions = found.conditions;
    if a.kind != b.kind {
        found.values(
            place,
            What::Type,
            Format::File,
            cause::unexplained(conditions),
            (format!("{:?}", a.kind), format!("{:?}", b.kind)),
        );
        return;
    }
    if a.mode != b.mode {
        found.values(
            place,
            What::Mode,
            Format::File,
            cause::mode(a.mode, b.mode, conditions),
            (format!("{:04o}", a.mode), format!("{:04o}", b.mode)),
        );
    }
    let owner = |member: &Member| format!("{}:{}", member.uid, member.gid);
    if owner(a) != owner(b) {
        found.values(
            place,
            What::Owner,
            Format::File,
            cause::owner(&owner(a), &owner(b), conditions),
            (owner(a), owner(b)),
        );
    }
    if a.mtime != b.mtime {
        found.values(
            place,
            What::Mtime,
            Format::File,
            cause::mtime(a.mtime, b.mtime, conditions),
            (a.mtime.to_string(), b.mtime.to_string()),
        );
    }
    if a.link != b.link {
        let finding = cause::explain(
            &cause::Site::whole(&a.link, &b.link),
            Format::Text,
            conditions,
        );
        found.values(
            place,
            What::Target,
            Format::Text,
            finding.unwrap_or_else(|| cause::unexplained(conditions)),
            (named(&a.link), named(&b.link)),
        );
    }
    if a.xattrs != b.xattrs {
        let names = |member: &Member| {
            member
                .xattrs
                .keys()
                .map(|name| named(name))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let finding: Finding = cause::unexplained(conditions);
        found.values(
            place,
            What::Attributes,
            Format::File,
            finding,
            (names(a), names(b)),
        );
    }
}

/// A member's path without `./` and the slash that ends folders.
fn path(name: &[u8]) -> Vec<u8> {
    let name = name.strip_prefix(b"./").unwrap_or(name);
    name.strip_suffix(b"/").unwrap_or(name).to_vec()
}

fn shown(path: &[u8]) -> String {
    format!("/{}", named(path))
}

/// The order of canonical archives: by components, folders before what is in them.
fn canonical(first: &[u8], second: &[u8]) -> Ordering {
    let parts = |name: &[u8]| -> Vec<Vec<u8>> {
        path(name)
            .split(|byte| *byte == b'/')
            .map(<[u8]>::to_vec)
            .filter(|part| !part.is_empty() && part != b".")
            .collect()
    };
    parts(first).cmp(&parts(second))
}
