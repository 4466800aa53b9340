//! The signed release file of a suite: which indexes it has, with their digests.
//!
//! Nothing of the file is used but the text under a signature of one of Debian's archive keys. Whether a release is
//! outdated is not checked: a repository made from an old mirror is as good a test subject as any.

use std::collections::BTreeMap;

use deb822_fast::Paragraph;
use pgp::composed::{CleartextSignedMessage, Deserializable, SignedPublicKey};

use crate::error::MinidistroError;

/// Debian's archive keys; `keys/README.md` says where they come from.
const KEYRINGS: &[&[u8]] = &[
    include_bytes!("../keys/debian-archive-bookworm-automatic.gpg"),
    include_bytes!("../keys/debian-archive-bookworm-stable.gpg"),
    include_bytes!("../keys/debian-archive-trixie-automatic.gpg"),
    include_bytes!("../keys/debian-archive-trixie-stable.gpg"),
];

/// A verified release file.
#[derive(Debug)]
pub(crate) struct Release {
    /// SHA-256 and size (bytes) by file.
    files: BTreeMap<String, (String, usize)>,
}

impl Release {
    /// Verifies an `InRelease` file that came from `url` and reads it.
    pub(crate) fn verify(text: &str, url: &str, codename: &str) -> Result<Self, MinidistroError> {
        Self::verify_by(&keys()?, text, url, codename)
    }

    fn verify_by(
        keys: &[SignedPublicKey],
        text: &str,
        url: &str,
        codename: &str,
    ) -> Result<Self, MinidistroError> {
        let refused = |reason: String| MinidistroError::Signature {
            url: url.to_owned(),
            reason,
        };
        let (message, _) = CleartextSignedMessage::from_string(text)
            .map_err(|error| refused(error.to_string()))?;
        if !keys.iter().any(|key| signed_by(&message, key)) {
            return Err(refused("no signature matches".to_owned()));
        }
        let signed = message.signed_text();
        let unreadable = |reason: String| MinidistroError::Index {
            what: url.to_owned(),
            reason,
        };
        let release: Paragraph = signed
            .replace('\r', "")
            .parse()
            .map_err(|error| unreadable(format!("{error}")))?;
        let field = |name: &str| release.get(name).unwrap_or_default();
        if field("Codename") != codename {
            return Err(refused(format!(
                "it is for `{}`, not for `{codename}`",
                field("Codename")
            )));
        }
        let files = field("SHA256")
            .lines()
            .filter_map(|line| {
                let mut words = line.split_ascii_whitespace();
                let (digest, size, file) = (words.next()?, words.next()?, words.next()?);
                Some((file.to_owned(), (digest.to_owned(), size.parse().ok()?)))
            })
            .collect();
        Ok(Self { files })
    }

    /// SHA-256 of an index, hexadecimal.
    pub(crate) fn sha256(&self, file: &str) -> Option<&str> {
        self.files.get(file).map(|(digest, _)| digest.as_str())
    }

    /// Size of an index, bytes; 0 where it is not named.
    pub(crate) fn size(&self, file: &str) -> usize {
        self.files.get(file).map_or(0, |(_, size)| *size)
    }
}

fn keys() -> Result<Vec<SignedPublicKey>, MinidistroError> {
    KEYRINGS
        .iter()
        .map(|bytes| {
            SignedPublicKey::from_bytes(*bytes)
                .map_err(|error| MinidistroError::Sign(error.to_string()))
        })
        .collect()
}

/// The keys came with this program and need no proof; their subkeys do.
fn signed_by(message: &CleartextSignedMessage, key: &SignedPublicKey) -> bool {
    let subkeys = key
        .public_subkeys
        .iter()
        .filter(|subkey| subkey.verify_bindings(&key.primary_key).is_ok());
    message.verify(&key.primary_key).is_ok()
        || subkeys
            .into_iter()
            .any(|subkey| message.verify(&subkey.key).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SigningKey;

    const TEXT: &str = "Codename: trixie\nSHA256:\n aa 12 main/binary-amd64/Packages.xz\n bb 13 main/source/Sources.xz\n";

    fn verify(text: &str, codename: &str) -> Result<Release, String> {
        let key = SigningKey::derive().unwrap().public();
        Release::verify_by(&[key], text, "http://m.example/InRelease", codename)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_signed_release_is_read() {
        let text = SigningKey::derive().unwrap().sign_cleartext(TEXT);
        let release = verify(&text, "trixie").unwrap();
        assert_eq!(release.sha256("main/source/Sources.xz"), Some("bb"));
        assert_eq!(release.sha256("main/source/Sources.gz"), None);
        // What stands outside the signed part is not read.
        let release = verify(&format!("SHA256:\n cc 1 x\n\n{text}"), "trixie");
        assert!(release.is_err() || release.is_ok_and(|release| release.sha256("x").is_none()));
    }

    #[test]
    fn another_release_is_refused() {
        let text = SigningKey::derive().unwrap().sign_cleartext(TEXT);
        insta::assert_snapshot!(verify(&text.replace(" bb 13", " bc 13"), "trixie").unwrap_err(),
            @"`http://m.example/InRelease` is not signed by a known Debian archive key: no signature matches");
        insta::assert_snapshot!(verify(&text, "sid").unwrap_err(),
            @"`http://m.example/InRelease` is not signed by a known Debian archive key: it is for `trixie`, not for `sid`");
        let unknown = Release::verify(&text, "http://m.example/InRelease", "trixie")
            .unwrap_err()
            .to_string();
        insta::assert_snapshot!(unknown,
            @"`http://m.example/InRelease` is not signed by a known Debian archive key: no signature matches");
        assert!(verify(TEXT, "trixie").is_err());
    }

    #[test]
    fn every_embedded_key_is_one() {
        assert_eq!(keys().unwrap().len(), KEYRINGS.len());
    }
}
