//! Names of images in registries.

use std::fmt;
use std::str::FromStr;

use oci_spec::distribution::Reference;

use super::{ValueError, complaint};
use crate::digest::Digest;

/// Before the name of an image whose registry is asked without TLS.
const PLAIN_HTTP: &str = "http://";

/// An image in a registry: `registry/name:tag`, `registry/name@sha256:…`, or both. The registry is always
/// named; `http://` before it means that it is asked without TLS.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageName {
    reference: Reference,
    plain_http: bool,
}

impl ImageName {
    /// Registry, repository, tag and digest.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The registry, with its port where it is named.
    pub fn registry(&self) -> &str {
        self.reference.registry()
    }

    /// Whether the registry is asked without TLS.
    pub fn plain_http(&self) -> bool {
        self.plain_http
    }

    /// The digest of its manifest or index, where it is named.
    pub fn digest(&self) -> Option<Digest> {
        self.reference.digest().and_then(|text| text.parse().ok())
    }

    /// The image of that digest in the same repository, without a tag.
    #[must_use]
    pub fn with_digest(&self, digest: &Digest) -> Self {
        Self {
            reference: self.reference.clone_with_digest(digest.to_string()),
            plain_http: self.plain_http,
        }
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = if self.plain_http { PLAIN_HTTP } else { "" };
        write!(f, "{before}{}", self.reference)
    }
}

impl FromStr for ImageName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = |allowed: &str| complaint(text, "the name of an image", allowed);
        let (name, plain_http) = match text.strip_prefix(PLAIN_HTTP) {
            Some(name) => (name, true),
            None => (text, false),
        };
        let registry = name.split_once('/').map(|(registry, _)| registry);
        if !registry.is_some_and(|one| one == "localhost" || one.contains(['.', ':'])) {
            return Err(wrong(
                "its registry must be named: `registry.example.org/name:tag`, `docker.io/library/name:tag`",
            ));
        }
        let last = name.rsplit('/').next().unwrap_or_default();
        if !last.contains([':', '@']) {
            return Err(wrong(
                "a tag or a digest must be named: `registry/name:tag`, `registry/name@sha256:…`",
            ));
        }
        let reference = Reference::try_from(name).map_err(|_| {
            wrong("write `registry/name:tag`, `registry/name@sha256:…`, or both: `registry/name:tag@sha256:…`")
        })?;
        let known = |digest: &str| digest.parse::<Digest>().is_ok();
        if reference.digest().is_some_and(|digest| !known(digest)) {
            return Err(wrong("its digest must be a SHA-256: `@sha256:…`"));
        }
        Ok(Self {
            reference,
            plain_http,
        })
    }
}

impl<'de> serde::Deserialize<'de> for ImageName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(super::TextVisitor(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        let digest = Digest::of(b"");
        for text in [
            "registry.example.org/team/base:9".to_owned(),
            "127.0.0.1:5000/base:9".to_owned(),
            "http://localhost/base:9".to_owned(),
            format!("registry.example.org/base@{digest}"),
            format!("registry.example.org/base:9@{digest}"),
        ] {
            let name: ImageName = text.parse().unwrap();
            assert_eq!(name.to_string(), text);
            assert_eq!(name.digest().is_some(), text.contains('@'));
            let pinned = name.with_digest(&digest);
            assert_eq!(
                (pinned.digest(), pinned.reference.tag()),
                (Some(digest), None)
            );
            assert_eq!(pinned.plain_http(), name.plain_http());
        }
    }

    #[test]
    fn what_could_mean_several_images_is_refused() {
        let texts = [
            "base",
            "team/base:9",
            "registry.example.org/base",
            "registry.example.org/Base:9",
            "registry.example.org/base@sha256:00",
            "https://registry.example.org/base:9",
            "registry.example.org/base:9 ",
            "",
        ];
        let wrong = texts.map(|text| text.parse::<ImageName>().unwrap_err().to_string());
        insta::assert_snapshot!(wrong.join("\n"), @"
        `base` is not the name of an image
        its registry must be named: `registry.example.org/name:tag`, `docker.io/library/name:tag`
        `team/base:9` is not the name of an image
        its registry must be named: `registry.example.org/name:tag`, `docker.io/library/name:tag`
        `registry.example.org/base` is not the name of an image
        a tag or a digest must be named: `registry/name:tag`, `registry/name@sha256:…`
        `registry.example.org/Base:9` is not the name of an image
        write `registry/name:tag`, `registry/name@sha256:…`, or both: `registry/name:tag@sha256:…`
        `registry.example.org/base@sha256:00` is not the name of an image
        write `registry/name:tag`, `registry/name@sha256:…`, or both: `registry/name:tag@sha256:…`
        `https://registry.example.org/base:9` is not the name of an image
        write `registry/name:tag`, `registry/name@sha256:…`, or both: `registry/name:tag@sha256:…`
        `registry.example.org/base:9 ` is not the name of an image
        write `registry/name:tag`, `registry/name@sha256:…`, or both: `registry/name:tag@sha256:…`
        `` is not the name of an image
        its registry must be named: `registry.example.org/name:tag`, `docker.io/library/name:tag`
        ");
        let sha512 = format!("registry.example.org/base@sha512:{}", "0".repeat(128));
        assert!(sha512.parse::<ImageName>().is_err());
    }
}
