//! Everything that wanted packages need, chosen the same way each time.
//!
//! Dependencies without alternatives come first; an alternative is then taken that is there already, else the first
//! that exists: a real package before one that provides the name, those in order of their names.

use std::collections::{BTreeSet, VecDeque};

use crate::error::MinidistroError;
use crate::index::Index;
use crate::relation::{Atom, Relation};

/// The names of all packages needed for `roots`, themselves included.
pub(crate) fn closure(index: &Index, roots: &[String], suite: &str) -> Result<BTreeSet<String>, MinidistroError> {
    let mut search = Search { index, suite, chosen: BTreeSet::new(), pending: VecDeque::new(), choices: VecDeque::new() };
    for root in roots {
        if !index.packages.contains_key(root) {
            return Err(search.missing(root, ""));
        }
        search.choose(root);
    }
    loop {
        if let Some(package) = search.pending.pop_front() {
            search.expand(&package)?;
        } else if let Some((package, relation)) = search.choices.pop_front() {
            search.satisfy(&package, &relation)?;
        } else {
            return Ok(search.chosen);
        }
    }
}

struct Search<'a> {
    index: &'a Index,
    suite: &'a str,
    chosen: BTreeSet<String>,
    pending: VecDeque<String>,
    choices: VecDeque<(String, Relation)>,
}

impl Search<'_> {
    fn choose(&mut self, package: &str) {
        if self.chosen.insert(package.to_owned()) {
            self.pending.push_back(package.to_owned());
        }
    }

    fn expand(&mut self, package: &str) -> Result<(), MinidistroError> {
        let relations = self.index.packages[package].depends().map_err(|reason| MinidistroError::Index {
            what: format!("dependencies of {package}"),
            reason,
        })?;
        for relation in relations {
            let only = relation.0.len() == 1 && self.index.packages.contains_key(&relation.0[0].name);
            if only {
                self.satisfy(package, &relation)?;
            } else {
                self.choices.push_back((package.to_owned(), relation));
            }
        }
        Ok(())
    }

    fn satisfy(&mut self, package: &str, relation: &Relation) -> Result<(), MinidistroError> {
        let candidates: Vec<&str> = relation.0.iter().flat_map(|atom| self.candidates(atom)).collect();
        if candidates.iter().any(|name| self.chosen.contains(*name)) {
            return Ok(());
        }
        match candidates.first() {
            Some(first) => {
                let first = (*first).to_owned();
                self.choose(&first);
                Ok(())
            }
            None => Err(self.missing(&relation.to_rpm().to_string(), package)),
        }
    }

    /// Packages that satisfy `atom`, best first.
    fn candidates(&self, atom: &Atom) -> Vec<&str> {
        let real = self.index.packages.get(&atom.name).filter(|package| atom.accepts(Some(&package.version)));
        let providers = self.index.providers.get(&atom.name).into_iter().flatten();
        real.map(|package| package.name.as_str())
            .into_iter()
            .chain(providers.filter(|p| atom.accepts(p.version.as_ref())).map(|p| p.package.as_str()))
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
    use super::*;

    fn index(packages: &[(&str, &str, &str)]) -> Index {
        let text: String = packages
            .iter()
            .map(|(name, depends, provides)| {
                format!(
                    "Package: {name}\nVersion: 1-1\nDepends: {depends}\nProvides: {provides}\nFilename: f\nSize: 1\nSHA256: 0\n\n"
                )
            })
            .collect();
        Index::read(text.as_bytes()).unwrap()
    }

    fn names(index: &Index, roots: &[&str]) -> Vec<String> {
        let roots: Vec<String> = roots.iter().map(|&root| root.to_owned()).collect();
        closure(index, &roots, "test").unwrap().into_iter().collect()
    }

    #[test]
    fn alternatives_are_taken_in_order() {
        let index = index(&[
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
        assert_eq!(names(&index, &["a"]), ["a", "b"]);
        assert_eq!(names(&index, &["d"]), ["a", "c", "d"]);
        assert_eq!(names(&index, &["e"]), ["e", "y"]);
        assert_eq!(names(&index, &["f"]), ["e", "f", "z"]);
        assert_eq!(names(&index, &["g"]), ["c", "g"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let index = index(&[("a", "b (>= 3)", "")]);
        let message = closure(&index, &["a".into()], "trixie").unwrap_err().to_string();
        insta::assert_snapshot!(message, @"no package `b >= 3-0` in trixie, needed by `a`");
        let message = closure(&index, &["x".into()], "trixie").unwrap_err().to_string();
        insta::assert_snapshot!(message, @"no package `x` in trixie");
    }
}
