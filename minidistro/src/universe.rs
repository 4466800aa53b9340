//! A whole suite as a universe for solvers: what every package of the index says of itself, mapped as for the RPMs.

use deb822_fast::borrowed::{BorrowedParagraph, iter_paragraphs_borrowed};

use crate::index::{needed, optional};
use crate::relation;
use crate::version::Evr;

/// One package of the index, in RPM's terms. Dependencies are written as RPM writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// Its epoch; 0 where the Debian version has none.
    pub epoch: u32,
    /// Its version.
    pub version: String,
    /// Its release.
    pub release: String,
    /// What it provides besides itself.
    pub provides: Vec<String>,
    /// What it requires.
    pub requires: Vec<String>,
    /// What it would have installed with it.
    pub recommends: Vec<String>,
    /// Where the mirror has the Debian package, below the archive's root.
    pub filename: String,
    /// The Debian package's size, bytes.
    pub size: u64,
    /// The Debian package's SHA-256, hexadecimal.
    pub sha256: String,
}

/// All packages of an uncompressed `Packages` file, in its order. The error says what is wrong.
pub(crate) fn read(text: &str) -> Result<Vec<Described>, String> {
    iter_paragraphs_borrowed(text)
        .map(|paragraph| describe(&paragraph.map_err(|error| error.to_string())?))
        .collect()
}

fn describe(paragraph: &BorrowedParagraph<'_>) -> Result<Described, String> {
    let name = needed(paragraph, "Package")?;
    let version = needed(paragraph, "Version")?;
    let evr = Evr::from_debian(version)
        .ok_or_else(|| format!("`{version}` is not a version of `{name}`"))?;
    let field = |field: &str, all: bool| -> Result<Vec<String>, String> {
        let relations = relation::parse(optional(paragraph, field)?)?;
        Ok(relations
            .into_iter()
            .filter(|relation| all || relation.is_kept(name))
            .map(|relation| relation.to_rpm().to_string())
            .collect())
    };
    let mut requires = field("Pre-Depends", false)?;
    requires.extend(field("Depends", false)?);
    let size = needed(paragraph, "Size")?;
    Ok(Described {
        provides: field("Provides", true)?,
        recommends: field("Recommends", false)?,
        requires,
        name: name.to_owned(),
        epoch: evr.epoch,
        version: evr.version,
        release: evr.release,
        filename: needed(paragraph, "Filename")?.to_owned(),
        size: size
            .parse()
            .map_err(|_| format!("`{size}` is not a size"))?,
        sha256: needed(paragraph, "SHA256")?.to_owned(),
    })
}
