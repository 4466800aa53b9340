//! The package index of a suite.

use std::collections::BTreeMap;
use std::io::BufRead;

use deb822_fast::{Deb822, Paragraph};

use crate::relation::{self, Relation};
use crate::version::Evr;

/// One binary package of the index.
#[derive(Debug, Clone)]
pub(crate) struct Binary {
    pub(crate) name: String,
    pub(crate) version: Evr,
    /// `Pre-Depends` and `Depends`, as written.
    depends: String,
    /// Where the mirror has it, below the archive's root.
    pub(crate) filename: String,
    pub(crate) size: u64,
    /// SHA-256, hexadecimal.
    pub(crate) sha256: String,
}

impl Binary {
    /// What must be there for it, less what only maintainer scripts need.
    pub(crate) fn depends(&self) -> Result<Vec<Relation>, String> {
        let mut relations = relation::parse(&self.depends)?;
        relations.retain(|relation| relation.is_kept(&self.name));
        Ok(relations)
    }
}

/// What a package provides besides itself.
#[derive(Debug, Clone)]
pub(crate) struct Provider {
    pub(crate) package: String,
    pub(crate) version: Option<Evr>,
}

/// All packages of a suite.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) packages: BTreeMap<String, Binary>,
    pub(crate) providers: BTreeMap<String, Vec<Provider>>,
}

impl Index {
    /// Reads an uncompressed `Packages` file. The error says what is wrong.
    pub(crate) fn read(reader: impl BufRead) -> Result<Self, String> {
        let mut index = Self::default();
        for paragraph in Deb822::iter_paragraphs_from_reader(reader) {
            index.add(&paragraph.map_err(|error| error.to_string())?)?;
        }
        for providers in index.providers.values_mut() {
            providers.sort_by(|a, b| a.package.cmp(&b.package));
        }
        Ok(index)
    }

    fn add(&mut self, paragraph: &Paragraph) -> Result<(), String> {
        let name = required(paragraph, "Package")?.to_owned();
        let text = required(paragraph, "Version")?;
        let version = Evr::from_debian(text).ok_or_else(|| format!("`{text}` is not a version of `{name}`"))?;
        // An index can hold two versions of a package for a while: the newer one is meant.
        if self.packages.get(&name).is_some_and(|known| known.version.compare(&version).is_ge()) {
            return Ok(());
        }
        let field = |name| paragraph.get(name).unwrap_or_default();
        for relation in relation::parse(field("Provides"))? {
            for atom in relation.0 {
                let version = atom.version.map(|(_, version)| version);
                self.providers.entry(atom.name).or_default().push(Provider { package: name.clone(), version });
            }
        }
        let size = required(paragraph, "Size")?;
        let binary = Binary {
            depends: [field("Pre-Depends"), field("Depends")].join(", "),
            filename: required(paragraph, "Filename")?.to_owned(),
            size: size.parse().map_err(|_| format!("`{size}` is not a size"))?,
            sha256: required(paragraph, "SHA256")?.to_owned(),
            name: name.clone(),
            version,
        };
        self.packages.insert(name, binary);
        Ok(())
    }
}

/// A field that must be there.
pub(crate) fn required<'a>(paragraph: &'a Paragraph, field: &str) -> Result<&'a str, String> {
    paragraph.get(field).filter(|value| !value.is_empty()).ok_or_else(|| format!("a package without `{field}`"))
}
