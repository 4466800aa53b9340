//! Everything that wanted packages need, chosen the same way each time.
//!
//! Dependencies without alternatives come first; an alternative is then taken that is there already, else the first
//! that exists: a real package before one that provides the name, those in order of their names.

use std::collections::{BTreeMap, VecDeque};

use crate::error::MinidistroError;
use crate::index::{Binary, Index};
use crate::relation::{Atom, Relation};

/// All packages needed for `roots`, themselves included, in order of their names.
pub(crate) fn closure(
    index: &Index<'_>,
    roots: &[String],
    suite: &str,
) -> Result<Vec<Binary>, MinidistroError> {
    let mut search = Search {
        index,
        suite,
        chosen: BTreeMap::new(),
        pending: VecDeque::new(),
        choices: VecDeque::new(),
    };
    for root in roots {
        if !index.contains(root) {
            return Err(search.missing(root, ""));
        }
        search.choose(root)?;
    }
    loop {
        if let Some(package) = search.pending.pop_front() {
            search.expand(&package)?;
        } else if let Some((package, relation)) = search.choices.pop_front() {
            search.satisfy(&package, &relation)?;
        } else {
            return Ok(search.chosen.into_values().collect());
        }
    }
}

struct Search<'a> {
    index: &'a Index<'a>,
    suite: &'a str,
    chosen: BTreeMap<String, Binary>,
    pending: VecDeque<String>,
    choices: VecDeque<(String, Relation)>,
}

impl<'a> Search<'a> {
    fn choose(&mut self, package: &str) -> Result<(), MinidistroError> {
        if !self.chosen.contains_key(package) {
            let binary = self
                .index
                .binary(package)
                .map_err(|reason| MinidistroError::Index {
                    what: format!("{package} in {}", self.suite),
                    reason,
                })?;
            self.chosen.insert(package.to_owned(), binary);
            self.pending.push_back(package.to_owned());
        }
        Ok(())
    }

    fn expand(&mut self, package: &str) -> Result<(), MinidistroError> {
        for relation in self.chosen[package].depends.clone() {
            let only = relation.0.len() == 1 && self.index.contains(&relation.0[0].name);
            if only {
                self.satisfy(package, &relation)?;
            } else {
                self.choices.push_back((package.to_owned(), relation));
            }
        }
        Ok(())
    }

    fn satisfy(&mut self, package: &str, relation: &Relation) -> Result<(), MinidistroError> {
        let candidates: Vec<&'a str> = relation
            .0
            .iter()
            .flat_map(|atom| self.candidates(atom))
            .collect();
        if candidates
            .iter()
            .any(|name| self.chosen.contains_key(*name))
        {
            return Ok(());
        }
        match candidates.first() {
            Some(first) => self.choose(first),
            None => Err(self.missing(&relation.to_rpm().to_string(), package)),
        }
    }

    /// Packages that satisfy `atom`, best first.
    fn candidates(&self, atom: &Atom) -> Vec<&'a str> {
        let real = self
            .index
            .package(&atom.name)
            .filter(|(_, version)| atom.accepts(Some(version)));
        let providers = self.index.providers(&atom.name).iter();
        real.map(|(name, _)| name)
            .into_iter()
            .chain(
                providers
                    .filter(|p| atom.accepts(p.version.as_ref()))
                    .map(|p| p.package),
            )
            .collect()
    }

    fn missing(&self, name: &str, wanted_by: &str) -> MinidistroError {
        MinidistroError::NoPackage {
            name: name.to_owned(),
            suite: self.suite.to_owned(),
            wanted_by: wanted_by.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    fn text(packages: &[(&str, &str, &str)]) -> String {
        let mut text = String::new();
        for (name, depends, provides) in packages {
            writeln!(
                text,
                "Package: {name}\nVersion: 1-1\nDepends: {depends}\nProvides: {provides}"
            )
            .unwrap();
            writeln!(text, "Filename: f\nSize: 1\nSHA256: 0\n").unwrap();
        }
        text
    }

    fn names(text: &str, roots: &[&str]) -> Vec<String> {
        let index = Index::read(text).unwrap();
        let roots: Vec<String> = roots.iter().map(|&root| root.to_owned()).collect();
        closure(&index, &roots, "test")
            .unwrap()
            .into_iter()
            .map(|binary| binary.name)
            .collect()
    }

    #[test]
    fn alternatives_are_taken_in_order() {
        let text = text(&[
            ("a", "b | c", ""),
            ("b", "", ""),
            ("c", "", ""),
            ("d", "a, c", ""),
            ("e", "virtual", ""),
            ("z", "", "virtual"),
            ("y", "", "virtual"),
            ("f", "e, z", ""),
            ("g", "b (>= 2) | c", ""),
        ]);
        assert_eq!(names(&text, &["a"]), ["a", "b"]);
        assert_eq!(names(&text, &["d"]), ["a", "c", "d"]);
        assert_eq!(names(&text, &["e"]), ["e", "y"]);
        assert_eq!(names(&text, &["f"]), ["e", "f", "z"]);
        assert_eq!(names(&text, &["g"]), ["c", "g"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let text = text(&[("a", "b (>= 3)", "")]);
        let index = Index::read(&text).unwrap();
        let message = closure(&index, &["a".into()], "trixie")
            .unwrap_err()
            .to_string();
        insta::assert_snapshot!(message, @"no package `b >= 3-0` in trixie, needed by `a`");
        let message = closure(&index, &["x".into()], "trixie")
            .unwrap_err()
            .to_string();
        insta::assert_snapshot!(message, @"no package `x` in trixie");
    }
}
