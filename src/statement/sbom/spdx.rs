//! SPDX 2.3 in JSON, the part of it that a bill has.

use std::collections::BTreeMap;

use serde::Serialize;

use super::licence::Licence;
use super::{Bill, Item, purl};
use crate::words::clean;

/// What SPDX says where nothing is known.
const NOASSERTION: &str = "NOASSERTION";
/// The document's own id.
const DOCUMENT: &str = "SPDXRef-DOCUMENT";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    spdx_version: &'static str,
    data_license: &'static str,
    #[serde(rename = "SPDXID")]
    id: &'static str,
    name: String,
    document_namespace: String,
    creation_info: CreationInfo,
    packages: Vec<Package>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    has_extracted_licensing_infos: Vec<Extracted>,
    relationships: Vec<Relationship>,
}

#[derive(Serialize)]
struct CreationInfo {
    created: String,
    creators: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Package {
    #[serde(rename = "SPDXID")]
    id: String,
    name: String,
    version_info: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    package_file_name: Option<String>,
    supplier: String,
    download_location: String,
    files_analyzed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checksums: Vec<Checksum>,
    #[serde(skip_serializing_if = "Option::is_none")]
    homepage: Option<String>,
    license_concluded: &'static str,
    license_declared: String,
    copyright_text: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<String>,
    primary_package_purpose: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_refs: Vec<ExternalRef>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checksum {
    algorithm: &'static str,
    checksum_value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef {
    reference_category: &'static str,
    reference_type: &'static str,
    reference_locator: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Extracted {
    license_id: String,
    extracted_text: String,
    name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    relationship_type: &'static str,
    related_spdx_element: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

pub(super) fn document(bill: &Bill) -> Document {
    let name = format!("{}-{}", bill.items[0].name(), bill.items[0].version());
    Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: DOCUMENT,
        name: clean(&name, false),
        document_namespace: format!("urn:pristine:sbom:{}", bill.identity.hex()),
        creation_info: CreationInfo {
            created: super::model::timestamp(bill.created),
            creators: vec![format!("Tool: {}-{}", bill.tool.0, bill.tool.1)],
        },
        packages: bill.items.iter().map(package).collect(),
        has_extracted_licensing_infos: extracted(bill),
        relationships: relationships(bill),
    }
}

fn id(item: &Item) -> String {
    format!("SPDXRef-{}", item.id())
}

fn package(item: &Item) -> Package {
    let details = item.details();
    let checksum = |digest: crate::digest::Digest| Checksum {
        algorithm: "SHA256",
        checksum_value: digest.hex(),
    };
    let (file, url, purpose) = match item {
        Item::Rpm { nevra, url, .. } => {
            let purpose = match nevra.arch.as_str() {
                "src" | "nosrc" => "SOURCE",
                // What an RPM is for no header says; SPDX has no word for a package alone.
                _ => "INSTALL",
            };
            (Some(nevra.file_name()), url.clone(), purpose)
        }
        Item::Environment { .. } => (None, None, "OPERATING_SYSTEM"),
    };
    let vendor = details.map(|details| clean(&details.facts.vendor, false));
    let vendor = vendor.filter(|vendor| !vendor.is_empty());
    let summary = details.map(|details| clean(&details.facts.summary, false));
    let purl = purl::of(item).map(|purl| ExternalRef {
        reference_category: "PACKAGE-MANAGER",
        reference_type: "purl",
        reference_locator: purl,
    });
    Package {
        id: id(item),
        name: item.name(),
        version_info: item.version(),
        package_file_name: file,
        supplier: vendor.map_or(NOASSERTION.to_owned(), |vendor| {
            format!("Organization: {vendor}")
        }),
        download_location: url.unwrap_or_else(|| NOASSERTION.to_owned()),
        files_analyzed: false,
        checksums: item.digest().into_iter().map(checksum).collect(),
        homepage: details.and_then(|details| super::model::web(&details.url)),
        license_concluded: NOASSERTION,
        license_declared: declared(item),
        copyright_text: NOASSERTION,
        summary: summary.filter(|summary| !summary.is_empty()),
        primary_package_purpose: purpose,
        external_refs: purl.into_iter().collect(),
    }
}

fn licence(item: &Item) -> Licence {
    let text = item.details().map(|details| details.license.as_str());
    Licence::parse(text.unwrap_or_default())
}

fn declared(item: &Item) -> String {
    match licence(item) {
        Licence::Unknown => NOASSERTION.to_owned(),
        Licence::Expression(text) => text,
        Licence::Words(words) => Licence::reference(&words),
    }
}

/// What packagers say where it is no expression, each once.
fn extracted(bill: &Bill) -> Vec<Extracted> {
    let mut all = BTreeMap::new();
    for item in &bill.items {
        match licence(item) {
            Licence::Words(words) => drop(all.insert(Licence::reference(&words), words)),
            Licence::Expression(text) => all.extend(own_references(&text)),
            Licence::Unknown => {}
        }
    }
    let extracted = |(license_id, words): (String, String)| Extracted {
        license_id,
        extracted_text: format!("The package's header says: {words}"),
        name: words,
    };
    all.into_iter().map(extracted).collect()
}

/// `LicenseRef-…` in an expression: what it stands for the header does not say.
fn own_references(expression: &str) -> Vec<(String, String)> {
    let words = expression.split(|c: char| c.is_whitespace() || c == '(' || c == ')');
    let own = words.filter(|word| word.starts_with("LicenseRef-"));
    own.map(|word| (word.to_owned(), word.to_owned())).collect()
}

fn relationships(bill: &Bill) -> Vec<Relationship> {
    let between = |from: usize, relationship_type, to: usize| Relationship {
        spdx_element_id: id(&bill.items[from]),
        relationship_type,
        related_spdx_element: id(&bill.items[to]),
        comment: None,
    };
    let mut all = vec![Relationship {
        spdx_element_id: DOCUMENT.to_owned(),
        relationship_type: "DESCRIBES",
        related_spdx_element: id(&bill.items[0]),
        comment: None,
    }];
    if bill.contains {
        all.extend((1..bill.items.len()).map(|place| between(0, "CONTAINS", place)));
    }
    all.extend(
        bill.built_in
            .iter()
            .map(|(built, used)| match &bill.items[*used] {
                Item::Rpm { .. } => between(*built, "GENERATED_FROM", *used),
                Item::Environment { .. } => between(*used, "BUILD_DEPENDENCY_OF", *built),
            }),
    );
    all.extend(
        bill.depends
            .iter()
            .map(|(from, on)| between(*from, "DEPENDS_ON", *on)),
    );
    all.extend(bill.unmet.iter().map(|(from, texts)| Relationship {
        spdx_element_id: id(&bill.items[*from]),
        relationship_type: "DEPENDS_ON",
        related_spdx_element: NOASSERTION.to_owned(),
        comment: Some(clean(
            &format!("nothing in this document provides: {}", texts.join(", ")),
            false,
        )),
    }));
    all
}
