//! What a package says of itself that lists and inventories want beside its facts.

use std::path::Path;

use rpm::IndexSignatureTag;

use super::package::{PackageFacts, RpmError, content, facts, read_metadata};

/// A package's facts, and what people ask of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageDetails {
    /// What the solver asks of it.
    pub facts: PackageFacts,
    /// Its licence in the packager's words; empty where it does not say.
    pub license: String,
    /// Its project's page; empty where it does not say.
    pub url: String,
    /// The MD5 of header and payload, hexadecimal; older formats alone have it.
    pub md5: Option<String>,
    /// The key id of a signature that it carries, hexadecimal. Nothing is checked here.
    pub signed_by: Option<String>,
}

/// Reads them from the package file at `path`: its headers alone.
pub fn read_details(path: &Path) -> Result<PackageDetails, RpmError> {
    let metadata = read_metadata(path)?;
    let optional = |value: Result<&str, rpm::Error>| value.unwrap_or_default().to_owned();
    let md5 = metadata
        .signature
        .get_entry_data_as_binary(IndexSignatureTag::RPMSIGTAG_MD5);
    let md5 = md5.ok().map(|bytes| {
        let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
        digits.collect::<String>()
    });
    let signatures = metadata.signatures().unwrap_or_default();
    let signed_by = signatures
        .iter()
        .find_map(|signature| signature.key_id().map(str::to_lowercase));
    Ok(PackageDetails {
        license: optional(metadata.get_license()),
        url: optional(metadata.get_url()),
        md5,
        signed_by,
        facts: facts(&metadata).map_err(content(path))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpm::testing::build_package;

    #[test]
    fn details_come_from_the_headers() {
        let folder = tempfile::tempdir().unwrap();
        let details = read_details(&build_package(folder.path(), "first")).unwrap();
        assert_eq!(details.facts.nevra.name, "first");
        assert_eq!(
            (details.license.as_str(), details.url.as_str()),
            ("MIT", "")
        );
        assert_eq!(details.signed_by, None);
    }
}
