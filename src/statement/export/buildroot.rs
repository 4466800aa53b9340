//! `buildroot_lock.json` of mock: version 1.1.0.

use serde::Serialize;

use super::{ExportError, Sources};
use crate::documents::Lock;

/// The format's version that is written.
const VERSION: &str = "1.1.0";

#[derive(Serialize)]
struct Document {
    version: &'static str,
    buildroot: Buildroot,
    config: Config,
}

#[derive(Serialize)]
struct Buildroot {
    rpms: Vec<Rpm>,
}

/// Settings of mock that a lock has, too.
#[derive(Serialize)]
struct Config {
    target_arch: String,
    legal_host_arches: Vec<String>,
}

#[derive(Serialize)]
struct Rpm {
    arch: String,
    epoch: Option<String>,
    license: String,
    name: String,
    release: String,
    sigmd5: String,
    signature: Option<String>,
    url: String,
    version: String,
}

pub(super) fn write(lock: &Lock, sources: &Sources<'_>) -> Result<String, ExportError> {
    if lock.base.is_some() {
        return Err(ExportError::Base);
    }
    let mut rpms = Vec::new();
    for rpm in &lock.environment.rpms {
        let details = sources.needed(rpm)?;
        let nevra = &rpm.nevra;
        let epoch = Some(nevra.epoch).filter(|epoch| *epoch != 0);
        rpms.push(Rpm {
            arch: nevra.arch.clone(),
            epoch: epoch.map(|epoch| epoch.to_string()),
            license: details.license,
            name: nevra.name.clone(),
            release: nevra.release.clone(),
            // What rpm's query prints where there is none, as mock takes it.
            sigmd5: details.md5.unwrap_or_else(|| "(none)".to_owned()),
            signature: details.signed_by.map(|id| last(&id, 8)),
            url: sources.url(lock, rpm)?,
            version: nevra.version.clone(),
        });
    }
    rpms.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    let arch = lock.architecture.as_str().to_owned();
    let document = Document {
        version: VERSION,
        buildroot: Buildroot { rpms },
        config: Config {
            legal_host_arches: vec![arch.clone()],
            target_arch: arch,
        },
    };
    let text = serde_json::to_string_pretty(&document);
    let text = text.map_err(|error| ExportError::Write(error.to_string()))?;
    Ok(text + "\n")
}

fn last(text: &str, length: usize) -> String {
    let skipped = text.chars().count().saturating_sub(length);
    text.chars().skip(skipped).collect()
}
