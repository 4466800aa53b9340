//! Why a key is not trusted, or a signature not good.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::Fingerprint;
use crate::digest::Digest;

/// Why keys could not be loaded, or something that is signed could not be trusted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// The file does not parse.
    #[error("cannot read the keys of {name}: {why}")]
    Unreadable {
        /// The source.
        name: String,
        /// What the parser said.
        why: String,
    },
    /// The file has no key in it.
    #[error("{name} holds no OpenPGP public key")]
    Empty {
        /// The source.
        name: String,
    },
    /// The file has another key in it than the one that was named.
    #[error(
        "{name} holds the key {found}, which is not the one expected: {}",
        list(pinned)
    )]
    NotPinned {
        /// The source.
        name: String,
        /// The key in it.
        found: Fingerprint,
        /// Those that it must hold.
        pinned: Vec<Fingerprint>,
    },
    /// The file lacks a key that was named.
    #[error("{name} does not hold the key {pinned}, which is expected in it")]
    Absent {
        /// The source.
        name: String,
        /// The key expected.
        pinned: Fingerprint,
    },
    /// The key's owner revoked it.
    #[error(
        "the key {fingerprint} of {name} was revoked by its owner{}",
        reason_text(reason)
    )]
    Revoked {
        /// The source.
        name: String,
        /// The key.
        fingerprint: Fingerprint,
        /// The owner's words, where there are any.
        reason: String,
    },
    /// The key cannot sign.
    #[error("the key {fingerprint} of {name} cannot be used: {why}")]
    Unusable {
        /// The source.
        name: String,
        /// The key.
        fingerprint: Fingerprint,
        /// What it lacks.
        why: &'static str,
    },
    /// A detached signature is not good; the caller knows of what.
    #[error("it {0}")]
    Detached(SignatureFault),
    /// A package's signature or content is not good.
    #[error("the package `{}` {fault}", path.display())]
    Package {
        /// The package.
        path: PathBuf,
        /// What is wrong.
        fault: SignatureFault,
    },
    /// The file is not a package.
    #[error("`{}` is not a readable RPM package: {why}", path.display())]
    NotAPackage {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The package's file cannot be read.
    #[error("cannot read the package `{}`", path.display())]
    Io {
        /// The package.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What is wrong with something signed. Reads on after its name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SignatureFault {
    /// There is no signature.
    #[error("is not signed")]
    Unsigned,
    /// The signature does not parse.
    #[error("has a signature that cannot be read: {0}")]
    Unreadable(String),
    /// The key is not in the keyring.
    #[error("is signed by {} (trusted: {})", stranger(key.as_deref()), list(trusted))]
    UnknownKey {
        /// Fingerprint or id of the key, where the signature names it.
        key: Option<String>,
        /// The keys in the keyring.
        trusted: Vec<Fingerprint>,
    },
    /// The key is trusted, and did not sign this.
    #[error("has a wrong signature of the key {key}: {why}")]
    Bad {
        /// The key in the keyring.
        key: Fingerprint,
        /// What does not fit.
        why: String,
    },
    /// The content is not what the (good) signature or the header says.
    #[error("is damaged: its {part} has {actual}, expected {expected}")]
    Damaged {
        /// `header` or `payload`.
        part: &'static str,
        /// What the package says.
        expected: String,
        /// What it is.
        actual: Digest,
    },
    /// Signed or not, part of the package is covered by nothing.
    #[error("cannot be verified: {0}")]
    Uncovered(&'static str),
}

fn list(fingerprints: &[Fingerprint]) -> String {
    let texts: Vec<String> = fingerprints.iter().map(ToString::to_string).collect();
    if texts.is_empty() {
        "no key".to_owned()
    } else {
        texts.join(", ")
    }
}

fn stranger(key: Option<&str>) -> String {
    match key {
        Some(key) => format!("the key {key}, which is not trusted here"),
        None => "a key that the signature does not name".to_owned(),
    }
}

fn reason_text(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(": \"{}\"", reason.escape_debug())
    }
}
