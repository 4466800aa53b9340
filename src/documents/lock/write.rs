//! The text of a lock. Written by hand, not by a serialiser: which line a value stands on is part of the format.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write};

use super::{Lock, LockedPackage, LockedRepository, LockedRpm, LockedSource, Origin};
use crate::documents::source::FORMAT;

/// Adds formatted text; writing to a `String` cannot fail.
macro_rules! add {
    ($out:expr, $($format:tt)*) => { let _infallible = writeln!($out, $($format)*); };
}

/// The text of `lock`.
pub(super) fn text(lock: &Lock) -> String {
    let mut out = String::from("# Written by `pristine lock`. Do not edit.\n");
    add!(out, "format = {FORMAT}");
    add!(out, "architecture = {}", quoted(lock.architecture));
    add!(out, "epoch = {}", lock.epoch);
    add!(out, "\n[inputs]");
    let documents = [
        ("template", Some(&lock.inputs.template)),
        ("recipe", lock.inputs.recipe.as_ref()),
    ];
    for (key, document) in documents
        .into_iter()
        .filter_map(|(key, document)| Some((key, document?)))
    {
        add!(
            out,
            "{key} = {{ name = {}, sha256 = {} }}",
            quoted(&document.name),
            quoted(document.digest.hex())
        );
    }
    list(&mut out, "requests", sorted(&lock.inputs.requests));
    for one in &lock.repositories {
        repository(&mut out, one);
    }
    for key in lock
        .keys
        .iter()
        .map(|key| (&key.fingerprint, key))
        .collect::<BTreeMap<_, _>>()
        .into_values()
    {
        add!(out, "\n[[key]]");
        add!(out, "fingerprint = {}", quoted(&key.fingerprint));
        add!(out, "url = {}", quoted(&key.url));
        add!(out, "sha256 = {}", quoted(key.digest.hex()));
    }
    for one in lock
        .packages
        .iter()
        .map(|package| (&package.name, package))
        .collect::<BTreeMap<_, _>>()
        .into_values()
    {
        package(&mut out, one);
    }
    add!(out, "\n[tools]");
    list(&mut out, "packages", sorted(&lock.tools.packages));
    list(&mut out, "only", lock.tools.only.iter().map(rpm));
    add!(out, "\n[environment]");
    if let Some(tree) = &lock.environment.tree {
        add!(out, "tree = {}", quoted(tree));
    }
    list(&mut out, "rpms", lock.environment.rpms.iter().map(rpm));
    out
}

fn repository(out: &mut String, repository: &LockedRepository) {
    add!(out, "\n[[repository]]");
    add!(out, "name = {}", quoted(&repository.name));
    list(out, "urls", repository.urls.iter().map(quoted));
    add!(out, "revision = {}", quoted(&repository.revision));
    add!(out, "repomd = {}", quoted(repository.repomd.hex()));
    if let Some(key) = &repository.key {
        add!(out, "key = {}", quoted(key));
    }
    let metadata = repository.metadata.iter().map(|file| {
        let (kind, location, sha256) = (
            quoted(&file.kind),
            quoted(&file.location),
            quoted(file.digest.hex()),
        );
        format!(
            "{{ kind = {kind}, location = {location}, size = {}, sha256 = {sha256} }}",
            file.size
        )
    });
    list(out, "metadata", metadata);
}

fn package(out: &mut String, package: &LockedPackage) {
    add!(out, "\n[[package]]");
    add!(out, "name = {}", quoted(&package.name));
    add!(out, "spec = {}", quoted(&package.spec));
    add!(out, "sha256 = {}", quoted(package.digest.hex()));
    add!(out, "nevra = {}", quoted(&package.facts.nevra));
    add!(out, "changelog = {}", package.facts.changelog);
    list(out, "build_requires", sorted(&package.facts.build_requires));
    list(out, "sources", package.sources.iter().map(source));
    let binaries = package.facts.binaries.iter().map(|binary| {
        let (provides, requires) = (inline(&binary.provides), inline(&binary.requires));
        format!(
            "{{ nevra = {}, provides = {provides}, requires = {requires} }}",
            quoted(&binary.nevra)
        )
    });
    list(out, "binaries", binaries);
}

fn source(source: &LockedSource) -> String {
    let file = quoted(&source.file);
    match &source.remote {
        Some(remote) => {
            let (url, sha256) = (quoted(&remote.url), quoted(remote.digest.hex()));
            format!(
                "{{ file = {file}, url = {url}, size = {}, sha256 = {sha256} }}",
                remote.size
            )
        }
        None => format!("{{ file = {file} }}"),
    }
}

fn rpm(rpm: &LockedRpm) -> String {
    let origin = match &rpm.origin {
        Origin::Repository { name, location } => format!(
            "repository = {}, location = {}",
            quoted(name),
            quoted(location)
        ),
        Origin::Url(url) => format!("url = {}", quoted(url)),
    };
    let key = rpm
        .key
        .as_ref()
        .map_or_else(String::new, |key| format!(", key = {}", quoted(key)));
    let (nevra, sha256) = (quoted(&rpm.nevra), quoted(rpm.digest.hex()));
    format!(
        "{{ nevra = {nevra}, {origin}, size = {}, sha256 = {sha256}{key} }}",
        rpm.size
    )
}

/// A list with one line per item, so that git merges and shows items.
fn list(out: &mut String, key: &str, items: impl Iterator<Item = String>) {
    let mut items = items.peekable();
    if items.peek().is_none() {
        add!(out, "{key} = []");
        return;
    }
    add!(out, "{key} = [");
    for item in items {
        add!(out, "  {item},");
    }
    add!(out, "]");
}

fn sorted<T: Ord + Display>(items: &[T]) -> impl Iterator<Item = String> {
    items
        .iter()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(quoted)
}

fn inline(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(quoted).collect();
    format!("[{}]", items.join(", "))
}

/// A TOML basic string: what it escapes is fixed here, since the digest of the text names the lock.
fn quoted(value: impl Display) -> String {
    let mut out = String::from("\"");
    for c in value.to_string().chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _infallible = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
