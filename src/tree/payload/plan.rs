//! Decides, from the headers of all packages together, where every file goes and which package's it is.
//!
//! Decided before anything is written, so that the tree does not depend on which thread is
//! faster. Folder links of the tree (`/lib` → `usr/lib`) are resolved here, by their text and
//! inside the tree only; what is written later goes through real folders alone.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::super::{TreeError, handle};
use super::package::{Kind, Package};

/// As the kernel's limit on links in one lookup.
const MOST_LINKS: usize = 40;
/// Rounds after which links that lead through links must be settled.
const MOST_ROUNDS: usize = 16;

/// An entry: number of the package, number in its file list.
pub(super) type Id = (usize, usize);

/// Where everything goes.
#[derive(Debug)]
pub(super) struct Plan {
    /// Every folder with the entry that gives its metadata, if any does. Parents come first.
    pub folders: BTreeMap<Vec<u8>, Option<Id>>,
    /// For each package and entry: its place, unless it is a folder, left out, or another package's file goes there.
    pub places: Vec<Vec<Option<Vec<u8>>>>,
}

type Links<'a> = HashMap<Vec<u8>, &'a [u8]>;
type Claims = HashMap<Vec<u8>, Id>;

/// Plans the tree of `packages`; where two have a file of the same path, the later one's is taken.
pub(super) fn plan(packages: &[Package]) -> Result<Plan, TreeError> {
    let mut links = Links::new();
    for _round in 0..MOST_ROUNDS {
        let claims = claim(packages, &links)?;
        let settled = links_of(packages, &claims);
        if settled == links {
            return lay_out(packages, &links, claims);
        }
        links = settled;
    }
    Err(TreeError::refused(
        "path",
        b"/",
        "the packages' links lead through each other in a circle",
    ))
}

fn claim(packages: &[Package], links: &Links<'_>) -> Result<Claims, TreeError> {
    let mut claims = Claims::new();
    for (number, package) in packages.iter().enumerate() {
        let mut resolved: HashMap<&[u8], Vec<u8>> = HashMap::new();
        for (at, entry) in package.entries.iter().enumerate() {
            if matches!(entry.kind, Kind::Folder | Kind::LeftOut) {
                continue;
            }
            let (folder, name) = handle::split(&entry.path);
            if !resolved.contains_key(folder) {
                let place =
                    resolve(links, folder).map_err(|why| package.refused(&entry.path, &why))?;
                resolved.insert(folder, place);
            }
            let place = resolved
                .get(folder)
                .map_or_else(Vec::new, |folder| handle::join(folder, name));
            claims.insert(place, (number, at));
        }
    }
    Ok(claims)
}

fn links_of<'a>(packages: &'a [Package], claims: &Claims) -> Links<'a> {
    let target = |&(package, at): &Id| match &packages[package].entries[at].kind {
        Kind::Symlink(target) => Some(target.as_slice()),
        _ => None,
    };
    claims
        .iter()
        .filter_map(|(place, id)| Some((place.clone(), target(id)?)))
        .collect()
}

fn lay_out(packages: &[Package], links: &Links<'_>, claims: Claims) -> Result<Plan, TreeError> {
    let mut folders: BTreeMap<Vec<u8>, Option<Id>> = BTreeMap::from([(Vec::new(), None)]);
    for (number, package) in packages.iter().enumerate() {
        for (at, entry) in package
            .entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.kind == Kind::Folder)
        {
            let place =
                resolve(links, &entry.path).map_err(|why| package.refused(&entry.path, &why))?;
            add_parents(&mut folders, &place);
            folders.insert(place, Some((number, at)));
        }
    }
    for place in claims.keys() {
        add_parents(&mut folders, place);
    }
    for (place, id) in &folders {
        if let Some(&(package, at)) = claims.get(place) {
            let other = id.map_or(
                "another package has files below it".to_owned(),
                |(other, _)| {
                    format!(
                        "package `{}` has a folder there",
                        packages[other].file.display()
                    )
                },
            );
            return Err(packages[package].refused(&packages[package].entries[at].path, &other));
        }
    }
    let mut places: Vec<Vec<Option<Vec<u8>>>> = packages
        .iter()
        .map(|package| vec![None; package.entries.len()])
        .collect();
    for (place, (package, at)) in claims {
        places[package][at] = Some(place);
    }
    Ok(Plan { folders, places })
}

fn add_parents(folders: &mut BTreeMap<Vec<u8>, Option<Id>>, place: &[u8]) {
    let mut folder = handle::split(place).0;
    while !folder.is_empty() && !folders.contains_key(folder) {
        folders.insert(folder.to_vec(), None);
        folder = handle::split(folder).0;
    }
}

/// The path that `path` means when every link in it is followed inside the tree.
fn resolve(links: &Links<'_>, path: &[u8]) -> Result<Vec<u8>, String> {
    let components = |path: &[u8]| {
        path.split(|&byte| byte == b'/')
            .map(<[u8]>::to_vec)
            .collect::<VecDeque<_>>()
    };
    let mut rest = components(path);
    let mut place = Vec::with_capacity(path.len());
    let mut followed = 0;
    while let Some(component) = rest.pop_front() {
        match component.as_slice() {
            b"" | b"." => continue,
            b".." if place.is_empty() => {
                return Err("a link in its name leads outside of the tree".to_owned());
            }
            b".." => {
                let length = handle::split(&place).0.len();
                place.truncate(length);
                continue;
            }
            _ => {}
        }
        let next = handle::join(&place, &component);
        let Some(target) = links.get(&next) else {
            place = next;
            continue;
        };
        followed += 1;
        if followed > MOST_LINKS {
            return Err("the links in its name lead in a circle".to_owned());
        }
        if target.starts_with(b"/") {
            place.clear();
        }
        let mut ahead = components(target);
        ahead.append(&mut rest);
        rest = ahead;
    }
    if place.len() > handle::LONGEST_PATH {
        return Err("its name is longer than 4095 bytes".to_owned());
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_inside_only() {
        let links: Links<'_> = [
            ("lib", "usr/lib"),
            ("usr/lib/a", "../../opt/./a"),
            ("abs", "/usr/lib"),
            ("out", "../etc"),
            ("loop", "loop"),
        ]
        .into_iter()
        .map(|(place, target)| (place.as_bytes().to_vec(), target.as_bytes()))
        .collect();
        let cases = [
            ("", Ok("")),
            ("usr/bin", Ok("usr/bin")),
            ("lib", Ok("usr/lib")),
            ("lib/x/y", Ok("usr/lib/x/y")),
            ("abs/a/b", Ok("opt/a/b")),
            (
                "out/passwd",
                Err("a link in its name leads outside of the tree"),
            ),
            ("loop/x", Err("the links in its name lead in a circle")),
        ];
        for (path, expected) in cases {
            let expected = expected
                .map(|place| place.as_bytes().to_vec())
                .map_err(str::to_owned);
            assert_eq!(resolve(&links, path.as_bytes()), expected, "{path}");
        }
    }
}
