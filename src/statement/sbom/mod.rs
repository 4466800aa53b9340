//! Bills of materials (`docs/statements.md`): of the environment, and of each package of a run, as SPDX 2.3 and as
//! CycloneDX 1.6.
//!
//! Both are written from one model, so that they say the same. Nothing in them depends on when or where they are
//! written: times are those of the packages, numbers and names come from digests.

mod cyclonedx;
mod licence;
mod model;
mod purl;
mod spdx;

use thiserror::Error;

pub use model::{Bill, Item, environment, package};

/// A format of bills of materials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BillFormat {
    /// SPDX 2.3 in JSON.
    Spdx,
    /// CycloneDX 1.6 in JSON.
    CycloneDx,
}

/// A bill cannot be written.
#[derive(Debug, Error)]
#[error("cannot write the bill of materials of `{subject}`")]
pub struct BillError {
    /// What it is about.
    subject: String,
    /// Why.
    source: serde_json::Error,
}

impl BillFormat {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Spdx, Self::CycloneDx];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spdx => "spdx",
            Self::CycloneDx => "cyclonedx",
        }
    }

    /// What follows the name of what a bill is about, as its readers look for it.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Spdx => "spdx.json",
            Self::CycloneDx => "cdx.json",
        }
    }

    /// The bill's text.
    pub fn write(self, bill: &Bill) -> Result<String, BillError> {
        let text = match self {
            Self::Spdx => serde_json::to_string_pretty(&spdx::document(bill)),
            Self::CycloneDx => serde_json::to_string_pretty(&cyclonedx::document(bill)),
        };
        text.map(|text| text + "\n").map_err(|source| BillError {
            subject: bill.items[0].name(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::digest::Digest;
    use crate::rpm::read_details;
    use crate::rpm::testing::build_package;

    fn item(folder: &Path, name: &str, license: &str) -> Item {
        let mut details = read_details(&build_package(folder, name)).unwrap();
        license.clone_into(&mut details.license);
        "https://example.org/?a=b".clone_into(&mut details.url);
        Item::Rpm {
            nevra: details.facts.nevra.clone(),
            details: Some(Arc::new(details)),
            digest: Some(Digest::of(name.as_bytes())),
            url: Some(format!("https://mirror.example/{name}.rpm")),
        }
    }

    fn bills() -> [Bill; 2] {
        let folder = tempfile::tempdir().unwrap();
        let first = item(folder.path(), "first", "MIT AND GPL-2.0-only");
        let others = vec![
            item(folder.path(), "shadow", "BSD and GPLv2+"),
            item(folder.path(), "unneeded", ""),
        ];
        let tool = "pristine 0.1.0";
        let place = (Digest::of(b"tree"), 1_700_000_000);
        let environment = environment(("p", tool), place, others.clone());
        let room = environment.items[0].clone();
        [environment, package(tool, first, None, room, others)]
    }

    #[test]
    fn both_formats_say_what_the_model_says() {
        let [_, package] = bills();
        insta::assert_snapshot!(BillFormat::Spdx.write(&package).unwrap(), @r#"
        {
          "spdxVersion": "SPDX-2.3",
          "dataLicense": "CC0-1.0",
          "SPDXID": "SPDXRef-DOCUMENT",
          "name": "first-1:1.2~rc1-3",
          "documentNamespace": "urn:pristine:sbom:e576c8e499d8a0bee15e77b1876f5b660e675d1518d0c26d79b99bd9242d34b9",
          "creationInfo": {
            "created": "2020-09-13T12:26:40Z",
            "creators": [
              "Tool: pristine-0.1.0"
            ]
          },
          "packages": [
            {
              "SPDXID": "SPDXRef-first-1-1.2-rc1-3.x86-64-926a30f28c17",
              "name": "first",
              "versionInfo": "1:1.2~rc1-3",
              "packageFileName": "first-1.2~rc1-3.x86_64.rpm",
              "supplier": "Organization: pristine tests",
              "downloadLocation": "https://mirror.example/first.rpm",
              "filesAnalyzed": false,
              "checksums": [
                {
                  "algorithm": "SHA256",
                  "checksumValue": "a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e"
                }
              ],
              "homepage": "https://example.org/?a=b",
              "licenseConcluded": "NOASSERTION",
              "licenseDeclared": "MIT AND GPL-2.0-only",
              "copyrightText": "NOASSERTION",
              "summary": "a package for tests",
              "primaryPackagePurpose": "INSTALL",
              "externalRefs": [
                {
                  "referenceCategory": "PACKAGE-MANAGER",
                  "referenceType": "purl",
                  "referenceLocator": "pkg:rpm/pristine-tests/first@1.2~rc1-3?arch=x86_64&epoch=1"
                }
              ]
            },
            {
              "SPDXID": "SPDXRef-environment-dc9c5edb8b2d",
              "name": "p-environment",
              "versionInfo": "sha256:dc9c5edb8b2d479e697b4b0b8ab874f32b325138598ce9e7b759eb8292110622",
              "supplier": "NOASSERTION",
              "downloadLocation": "NOASSERTION",
              "filesAnalyzed": false,
              "checksums": [
                {
                  "algorithm": "SHA256",
                  "checksumValue": "dc9c5edb8b2d479e697b4b0b8ab874f32b325138598ce9e7b759eb8292110622"
                }
              ],
              "licenseConcluded": "NOASSERTION",
              "licenseDeclared": "NOASSERTION",
              "copyrightText": "NOASSERTION",
              "primaryPackagePurpose": "OPERATING_SYSTEM"
            },
            {
              "SPDXID": "SPDXRef-shadow-1-1.2-rc1-3.x86-64-2e45048c4d43",
              "name": "shadow",
              "versionInfo": "1:1.2~rc1-3",
              "packageFileName": "shadow-1.2~rc1-3.x86_64.rpm",
              "supplier": "Organization: pristine tests",
              "downloadLocation": "https://mirror.example/shadow.rpm",
              "filesAnalyzed": false,
              "checksums": [
                {
                  "algorithm": "SHA256",
                  "checksumValue": "0bb09d80600eec3eb9d7793a6f859bedde2a2d83899b70bd78e961ed674b32f4"
                }
              ],
              "homepage": "https://example.org/?a=b",
              "licenseConcluded": "NOASSERTION",
              "licenseDeclared": "LicenseRef-bd08b63623af",
              "copyrightText": "NOASSERTION",
              "summary": "a package for tests",
              "primaryPackagePurpose": "INSTALL",
              "externalRefs": [
                {
                  "referenceCategory": "PACKAGE-MANAGER",
                  "referenceType": "purl",
                  "referenceLocator": "pkg:rpm/pristine-tests/shadow@1.2~rc1-3?arch=x86_64&epoch=1"
                }
              ]
            }
          ],
          "hasExtractedLicensingInfos": [
            {
              "licenseId": "LicenseRef-bd08b63623af",
              "extractedText": "The package's header says: BSD and GPLv2+",
              "name": "BSD and GPLv2+"
            }
          ],
          "relationships": [
            {
              "spdxElementId": "SPDXRef-DOCUMENT",
              "relationshipType": "DESCRIBES",
              "relatedSpdxElement": "SPDXRef-first-1-1.2-rc1-3.x86-64-926a30f28c17"
            },
            {
              "spdxElementId": "SPDXRef-environment-dc9c5edb8b2d",
              "relationshipType": "BUILD_DEPENDENCY_OF",
              "relatedSpdxElement": "SPDXRef-first-1-1.2-rc1-3.x86-64-926a30f28c17"
            },
            {
              "spdxElementId": "SPDXRef-first-1-1.2-rc1-3.x86-64-926a30f28c17",
              "relationshipType": "DEPENDS_ON",
              "relatedSpdxElement": "SPDXRef-shadow-1-1.2-rc1-3.x86-64-2e45048c4d43"
            },
            {
              "spdxElementId": "SPDXRef-first-1-1.2-rc1-3.x86-64-926a30f28c17",
              "relationshipType": "DEPENDS_ON",
              "relatedSpdxElement": "NOASSERTION",
              "comment": "nothing in this document provides: (a if b else c), needed >= 1:1-1"
            }
          ]
        }
        "#);
        insta::assert_snapshot!(BillFormat::CycloneDx.write(&package).unwrap(), @r#"
        {
          "bomFormat": "CycloneDX",
          "specVersion": "1.6",
          "serialNumber": "urn:uuid:e576c8e4-99d8-80be-a15e-77b1876f5b66",
          "version": 1,
          "metadata": {
            "timestamp": "2020-09-13T12:26:40Z",
            "tools": {
              "components": [
                {
                  "type": "application",
                  "name": "pristine",
                  "version": "0.1.0"
                }
              ]
            },
            "component": {
              "type": "library",
              "bom-ref": "first-1-1.2-rc1-3.x86-64-926a30f28c17",
              "supplier": {
                "name": "pristine tests"
              },
              "name": "first",
              "version": "1:1.2~rc1-3",
              "description": "a package for tests",
              "hashes": [
                {
                  "alg": "SHA-256",
                  "content": "a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e"
                }
              ],
              "licenses": [
                {
                  "expression": "MIT AND GPL-2.0-only"
                }
              ],
              "purl": "pkg:rpm/pristine-tests/first@1.2~rc1-3?arch=x86_64&epoch=1",
              "externalReferences": [
                {
                  "type": "distribution",
                  "url": "https://mirror.example/first.rpm"
                },
                {
                  "type": "website",
                  "url": "https://example.org/?a=b"
                }
              ],
              "properties": [
                {
                  "name": "pristine:requires",
                  "value": "(a if b else c)"
                },
                {
                  "name": "pristine:requires",
                  "value": "needed >= 1:1-1"
                },
                {
                  "name": "pristine:built-in",
                  "value": "environment-dc9c5edb8b2d"
                }
              ]
            }
          },
          "components": [
            {
              "type": "operating-system",
              "bom-ref": "environment-dc9c5edb8b2d",
              "name": "p-environment",
              "version": "sha256:dc9c5edb8b2d479e697b4b0b8ab874f32b325138598ce9e7b759eb8292110622",
              "hashes": [
                {
                  "alg": "SHA-256",
                  "content": "dc9c5edb8b2d479e697b4b0b8ab874f32b325138598ce9e7b759eb8292110622"
                }
              ]
            },
            {
              "type": "library",
              "bom-ref": "shadow-1-1.2-rc1-3.x86-64-2e45048c4d43",
              "supplier": {
                "name": "pristine tests"
              },
              "name": "shadow",
              "version": "1:1.2~rc1-3",
              "description": "a package for tests",
              "hashes": [
                {
                  "alg": "SHA-256",
                  "content": "0bb09d80600eec3eb9d7793a6f859bedde2a2d83899b70bd78e961ed674b32f4"
                }
              ],
              "licenses": [
                {
                  "license": {
                    "name": "BSD and GPLv2+"
                  }
                }
              ],
              "purl": "pkg:rpm/pristine-tests/shadow@1.2~rc1-3?arch=x86_64&epoch=1",
              "externalReferences": [
                {
                  "type": "distribution",
                  "url": "https://mirror.example/shadow.rpm"
                },
                {
                  "type": "website",
                  "url": "https://example.org/?a=b"
                }
              ]
            }
          ],
          "dependencies": [
            {
              "ref": "first-1-1.2-rc1-3.x86-64-926a30f28c17",
              "dependsOn": [
                "shadow-1-1.2-rc1-3.x86-64-2e45048c4d43"
              ]
            }
          ]
        }
        "#);
    }

    #[test]
    fn the_same_things_make_the_same_bill() {
        let [mut again, package] = bills();
        again.items[1..].reverse();
        let items = again.items.split_off(1);
        let place = (Digest::of(b"tree"), 1_700_000_000);
        let again = environment(("p", "pristine 0.1.0"), place, items);
        let [environment, other] = bills();
        for format in BillFormat::ALL {
            assert_eq!(
                format.write(&again).unwrap(),
                format.write(&environment).unwrap()
            );
            assert_eq!(
                format.write(&package).unwrap(),
                format.write(&other).unwrap()
            );
            assert_ne!(
                format.write(&package).unwrap(),
                format.write(&environment).unwrap()
            );
        }
    }
}
