//! `ResourceDescriptor` of the in-toto attestation framework: a thing, and its digest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The digest algorithm of everything but commits.
const SHA256: &str = "sha256";

/// The annotation that says what part a dependency had.
const KIND: &str = "kind";

/// A thing by name, address and digest.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Its name: a file name, a NEVRA, a key's fingerprint.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where it comes from, where that is an address that means the same everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Digests by algorithm, in hexadecimal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digest: BTreeMap<String, String>,
    /// What else is known of it; `kind` is its part in the build.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// A thing with a SHA-256.
    pub fn new(name: impl Into<String>, digest: Digest) -> Self {
        Self {
            name: name.into(),
            digest: BTreeMap::from([(SHA256.to_owned(), digest.hex())]),
            ..Self::default()
        }
    }

    /// A commit of git.
    pub fn commit(uri: Option<String>, id: &str) -> Self {
        Self {
            name: "commit".to_owned(),
            uri,
            digest: BTreeMap::from([("gitCommit".to_owned(), id.to_owned())]),
            ..Self::default()
        }
    }

    /// The same with its part in the build.
    #[must_use]
    pub fn kind(self, kind: &str) -> Self {
        self.annotate(KIND, kind)
    }

    /// The same with one more annotation.
    #[must_use]
    pub fn annotate(mut self, key: &str, value: impl Into<String>) -> Self {
        self.annotations.insert(key.to_owned(), value.into());
        self
    }

    /// The same with where it comes from: as its URI where that is a URL, else as the annotation `location`.
    #[must_use]
    pub fn from(mut self, place: &str) -> Self {
        if place.contains("://") {
            self.uri = Some(place.to_owned());
            return self;
        }
        self.annotate("location", place)
    }

    /// Its part in the build; empty where it does not say.
    pub fn part(&self) -> &str {
        self.annotations.get(KIND).map_or("", String::as_str)
    }

    /// Its SHA-256, where it has one.
    pub fn sha256(&self) -> Option<Digest> {
        self.digest.get(SHA256)?.parse().ok()
    }

    /// For messages: part, name, digest.
    pub fn told(&self) -> String {
        let digests: Vec<String> = self
            .digest
            .iter()
            .map(|(algorithm, value)| format!("{algorithm}:{value}"))
            .collect();
        let text = format!("{} `{}` ({})", self.part(), self.name, digests.join(", "));
        text.trim_start().to_owned()
    }
}
