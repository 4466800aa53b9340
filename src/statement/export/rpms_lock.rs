//! `rpms.lock.yaml` of rpm-lockfile-prototype, as hermeto reads it: `lockfileVersion` 1.

use serde::Serialize;

use super::{ExportError, Sources, yaml};
use crate::documents::Lock;
use crate::documents::lock::Origin;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    lockfile_version: u32,
    lockfile_vendor: &'static str,
    arches: Vec<Arch>,
}

#[derive(Serialize)]
struct Arch {
    arch: String,
    packages: Vec<Package>,
    source: Vec<Package>,
    module_metadata: Vec<Package>,
}

#[derive(Serialize)]
struct Package {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    repoid: Option<String>,
    size: u64,
    checksum: String,
    name: String,
    evr: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sourcerpm: Option<String>,
}

pub(super) fn write(lock: &Lock, sources: &Sources<'_>) -> Result<String, ExportError> {
    let mut packages = Vec::new();
    for rpm in &lock.environment.rpms {
        let details = sources.details(rpm)?;
        packages.push(Package {
            url: sources.url(lock, rpm)?,
            repoid: match &rpm.origin {
                Origin::Repository { name, .. } => Some(name.to_string()),
                Origin::Url(_) => None,
            },
            size: rpm.size,
            checksum: rpm.digest.to_string(),
            name: rpm.nevra.name.clone(),
            evr: rpm.nevra.evr(),
            sourcerpm: details.and_then(|details| details.facts.source_rpm),
        });
    }
    // As the tool itself sorts them; the order of a transaction has no place there.
    packages.sort_by(|a, b| (&a.name, &a.evr).cmp(&(&b.name, &b.evr)));
    yaml(&Document {
        lockfile_version: 1,
        lockfile_vendor: "redhat",
        arches: vec![Arch {
            arch: lock.architecture.as_str().to_owned(),
            packages,
            source: Vec::new(),
            module_metadata: Vec::new(),
        }],
    })
}
