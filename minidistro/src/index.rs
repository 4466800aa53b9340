//! The package index of a suite.
//!
//! It stays the text that it is, some fifty megabytes, with references into it; only what is chosen is taken out.

use std::collections::BTreeMap;

use deb822_fast::Paragraph;
use deb822_fast::borrowed::{BorrowedParagraph, iter_paragraphs_borrowed};

use crate::relation::{self, Relation};
use crate::version::Evr;

/// One binary package, taken out of the index.
#[derive(Debug, Clone)]
pub(crate) struct Binary {
    pub(crate) name: String,
    pub(crate) version: Evr,
    /// What must be there for it, less what only maintainer scripts need.
    pub(crate) depends: Vec<Relation>,
    /// Where the mirror has it, below the archive's root.
    pub(crate) filename: String,
    pub(crate) size: u64,
    /// SHA-256, hexadecimal.
    pub(crate) sha256: String,
}

/// What a package provides besides itself.
#[derive(Debug, Clone)]
pub(crate) struct Provider<'a> {
    pub(crate) package: &'a str,
    pub(crate) version: Option<Evr>,
}

/// One binary package in the index.
#[derive(Debug)]
struct Entry<'a> {
    version: &'a str,
    depends: [&'a str; 2],
    filename: &'a str,
    size: &'a str,
    sha256: &'a str,
}

/// All packages of a suite.
#[derive(Debug, Default)]
pub(crate) struct Index<'a> {
    packages: BTreeMap<&'a str, Entry<'a>>,
    providers: BTreeMap<String, Vec<Provider<'a>>>,
}

impl<'a> Index<'a> {
    /// Reads an uncompressed `Packages` file. The error says what is wrong.
    pub(crate) fn read(text: &'a str) -> Result<Self, String> {
        let mut index = Self::default();
        for paragraph in iter_paragraphs_borrowed(text) {
            index.add(&paragraph.map_err(|error| error.to_string())?)?;
        }
        for providers in index.providers.values_mut() {
            providers.sort_by(|a, b| a.package.cmp(b.package));
        }
        Ok(index)
    }

    fn add(&mut self, paragraph: &BorrowedParagraph<'a>) -> Result<(), String> {
        let name = needed(paragraph, "Package")?;
        let entry = Entry {
            version: needed(paragraph, "Version")?,
            depends: [
                optional(paragraph, "Pre-Depends")?,
                optional(paragraph, "Depends")?,
            ],
            filename: needed(paragraph, "Filename")?,
            size: needed(paragraph, "Size")?,
            sha256: needed(paragraph, "SHA256")?,
        };
        // An index can hold two versions of a package for a while: the newer one is meant.
        if let Some(known) = self.packages.get(name)
            && version(name, known.version)?
                .compare(&version(name, entry.version)?)
                .is_ge()
        {
            return Ok(());
        }
        for atom in relation::parse(optional(paragraph, "Provides")?)?
            .into_iter()
            .flat_map(|relation| relation.0)
        {
            let version = atom.version.map(|(_, version)| version);
            self.providers.entry(atom.name).or_default().push(Provider {
                package: name,
                version,
            });
        }
        self.packages.insert(name, entry);
        Ok(())
    }

    /// Whether there is a package of this name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.packages.contains_key(name)
    }

    /// The name of a package, as long as the index lives, and its version.
    pub(crate) fn package(&self, name: &str) -> Option<(&'a str, Evr)> {
        let (name, entry) = self.packages.get_key_value(name)?;
        Some((name, Evr::from_debian(entry.version)?))
    }

    /// What provides `name` besides a package of that name, in order of the packages' names.
    pub(crate) fn providers(&self, name: &str) -> &[Provider<'a>] {
        self.providers
            .get(name)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// Takes a package out. The error says what is wrong, or that there is none.
    pub(crate) fn binary(&self, name: &str) -> Result<Binary, String> {
        let entry = self
            .packages
            .get(name)
            .ok_or_else(|| format!("no package `{name}`"))?;
        let mut depends = Vec::new();
        for field in entry.depends {
            depends.extend(
                relation::parse(field)?
                    .into_iter()
                    .filter(|relation| relation.is_kept(name)),
            );
        }
        Ok(Binary {
            name: name.to_owned(),
            version: version(name, entry.version)?,
            depends,
            filename: entry.filename.to_owned(),
            size: entry
                .size
                .parse()
                .map_err(|_| format!("`{}` is not a size", entry.size))?,
            sha256: entry.sha256.to_owned(),
        })
    }
}

fn version(name: &str, text: &str) -> Result<Evr, String> {
    Evr::from_debian(text).ok_or_else(|| format!("`{text}` is not a version of `{name}`"))
}

/// A field that may be missing, but must not have several lines.
pub(crate) fn optional<'a>(
    paragraph: &BorrowedParagraph<'a>,
    field: &str,
) -> Result<&'a str, String> {
    match paragraph.get_field(field) {
        None => Ok(""),
        Some(value) => value
            .as_single_line()
            .ok_or_else(|| format!("`{field}` has several lines")),
    }
}

/// A field that must be there, in one line.
pub(crate) fn needed<'a>(
    paragraph: &BorrowedParagraph<'a>,
    field: &str,
) -> Result<&'a str, String> {
    let value = optional(paragraph, field)?;
    if value.is_empty() {
        Err(format!("a package without `{field}`"))
    } else {
        Ok(value)
    }
}

/// A field that must be there.
pub(crate) fn required<'a>(paragraph: &'a Paragraph, field: &str) -> Result<&'a str, String> {
    paragraph
        .get(field)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| format!("a package without `{field}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_of_two_versions_counts() {
        let text = "Package: a\nVersion: 2-1\nFilename: new\nSize: 1\nSHA256: 0\n\n\
                    Package: a\nVersion: 1-9\nFilename: old\nSize: 1\nSHA256: 0\n";
        assert_eq!(
            Index::read(text).unwrap().binary("a").unwrap().filename,
            "new"
        );
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "Package: a\n",
            "Package: a\nVersion: 1\nFilename: f\nSHA256: 0\n",
            "garbage",
        ] {
            assert!(Index::read(text).is_err(), "{text}");
        }
        let folded = "Package: a\nVersion: 1\nDepends: b,\n c\nFilename: f\nSize: 1\nSHA256: 0\n";
        assert_eq!(
            Index::read(folded).unwrap_err(),
            "`Depends` has several lines"
        );
    }
}
