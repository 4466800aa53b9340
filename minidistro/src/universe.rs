//! A whole suite as a repository for solvers: metadata of every package of the index, mapped as for the RPMs, and
//! no packages.

use std::path::Path;

use deb822_fast::borrowed::{BorrowedParagraph, iter_paragraphs_borrowed};
use rpmrepo_metadata::{
    Checksum, CompressionType, MetadataError, Package, RepositoryOptions, RepositoryWriter,
    Requirement, RequirementType,
};

use crate::index::{needed, optional};
use crate::relation::{self, Operator, Relation};
use crate::version::Evr;

/// Writes the repository of an uncompressed `Packages` file into `output`. Gives the number of packages; the error says
/// what is wrong.
pub(crate) fn write(text: &str, output: &Path) -> Result<usize, String> {
    let mut packages = iter_paragraphs_borrowed(text)
        .map(|paragraph| package(&paragraph.map_err(|error| error.to_string())?))
        .collect::<Result<Vec<_>, String>>()?;
    // As the usual tools write a repository. Solvers break ties by the order, dnf's by that of the file.
    packages.sort_by(|one, other| one.name().cmp(other.name()));
    publish(&packages, output).map_err(|error| error.to_string())?;
    Ok(packages.len())
}

fn publish(packages: &[Package], output: &Path) -> Result<(), MetadataError> {
    let options = RepositoryOptions::default().compression_type(CompressionType::Zstd);
    let mut writer = RepositoryWriter::new_with_options(output, packages.len(), options)?;
    for package in packages {
        writer.add_package(package)?;
    }
    writer.finish()
}

fn package(paragraph: &BorrowedParagraph<'_>) -> Result<Package, String> {
    let name = needed(paragraph, "Package")?;
    let version = needed(paragraph, "Version")?;
    let evr = Evr::from_debian(version)
        .ok_or_else(|| format!("`{version}` is not a version of `{name}`"))?;
    let arch = match needed(paragraph, "Architecture")? {
        "all" => "noarch",
        _ => "x86_64",
    };
    let size = needed(paragraph, "Size")?;
    let size = size
        .parse()
        .map_err(|_| format!("`{size}` is not a size"))?;
    let mut package = Package::default();
    package
        .set_name(name)
        .set_epoch(evr.epoch)
        .set_version(evr.version.clone())
        .set_release(evr.release.clone())
        .set_arch(arch);
    package.set_checksum(Checksum::Sha256(needed(paragraph, "SHA256")?.to_owned()));
    package
        .set_location_href(format!("{}.rpm", needed(paragraph, "Filename")?))
        .set_size_package(size);
    package.add_provide(versioned(name, RequirementType::EQ, &evr));
    for provided in relations(paragraph, "Provides")? {
        package.add_provide(entry(&provided));
    }
    for field in ["Pre-Depends", "Depends"] {
        for required in relations(paragraph, field)? {
            if required.is_kept(name) {
                package.add_require(entry(&required));
            }
        }
    }
    for recommended in relations(paragraph, "Recommends")? {
        package.add_recommend(entry(&recommended));
    }
    Ok(package)
}

fn relations(paragraph: &BorrowedParagraph<'_>, field: &str) -> Result<Vec<Relation>, String> {
    relation::parse(optional(paragraph, field)?)
}

fn entry(relation: &Relation) -> Requirement {
    match relation.0.as_slice() {
        [atom] => match &atom.version {
            None => Requirement::new(atom.name.as_str()),
            Some((operator, version)) => {
                let flags = match operator {
                    Operator::Less => RequirementType::LT,
                    Operator::LessEqual => RequirementType::LE,
                    Operator::Equal => RequirementType::EQ,
                    Operator::GreaterEqual => RequirementType::GE,
                    Operator::Greater => RequirementType::GT,
                };
                versioned(&atom.name, flags, version)
            }
        },
        _ => Requirement::new(relation.to_rpm().name.as_str()),
    }
}

fn versioned(name: &str, flags: RequirementType, version: &Evr) -> Requirement {
    Requirement::new(name)
        .set_flags(Some(flags))
        .set_epoch(Some(version.epoch.to_string()))
        .set_version(Some(version.version.as_str()))
        .set_release(Some(version.release.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_mapped_as_for_their_rpms() {
        let text = "Package: a\nVersion: 1:2-1\nArchitecture: all\nFilename: pool/a.deb\nSize: 7\nSHA256: 00\n\
                    Pre-Depends: x\nDepends: b | c (>= 2), debconf\nProvides: v (= 3)\nRecommends: r\n\n";
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(write(text, folder.path()), Ok(1));
        assert!(folder.path().join("repodata/repomd.xml").exists());
        let paragraph = iter_paragraphs_borrowed(text).next().unwrap().unwrap();
        let package = package(&paragraph).unwrap();
        assert_eq!(package.nevra(), "a-1:2-1.noarch");
        let names: Vec<_> = package.requires().iter().map(Requirement::name).collect();
        assert_eq!(names, ["x", "(b or c >= 2-0)"]);
    }
}
