//! Which OpenPGP keys are trusted, and what they signed: repository metadata and packages.
//!
//! Invariants:
//! - a keyring holds only keys that its owner named (by fingerprint, where fingerprints are given);
//! - a revoked key is never loaded. An expired one is: what it signed before it expired stays good,
//!   so that a lock of last year can be rebuilt. What it signed later is refused. Neither depends on
//!   today's date, so that the same files always give the same answer;
//! - signatures over MD5, SHA-1 and RIPEMD-160 are refused.
//!
//! The `pgp` crate parses and does the arithmetic; which signature counts is decided here.

mod certificate;
mod error;
mod fingerprint;
mod package;
mod signature;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use pgp::composed::{Deserializable as _, DetachedSignature, SignedPublicKey};
use pgp::packet::SignatureType;
use pgp::types::KeyDetails as _;
use time::OffsetDateTime;

pub use error::{KeyringError, SignatureFault};
pub use fingerprint::{Fingerprint, FingerprintError};

use certificate::Certificate;

const ARMOR: &[u8] = b"-----BEGIN PGP PUBLIC KEY BLOCK-----";

/// A file of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySource {
    /// Its content: OpenPGP public keys, ASCII-armored or binary, one or many.
    pub bytes: Vec<u8>,
    /// Where it came from, for messages: a path or URL.
    pub name: String,
    /// The keys that it must hold and that are trusted; empty where any key in it is trusted.
    pub fingerprints: Vec<Fingerprint>,
}

/// Who made a good signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBy {
    /// Fingerprint of the key in the keyring.
    pub fingerprint: Fingerprint,
    /// Fingerprint of the key or of its subkey that made the signature.
    pub signer: Fingerprint,
    /// The key's first user id.
    pub user: Option<String>,
    /// When the signature says it was made, seconds since 1970.
    pub created: u32,
}

/// The trusted keys.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    certificates: BTreeMap<Fingerprint, Certificate>,
}

impl Keyring {
    /// Reads the pinned keys of `sources`, or all keys of a source that pins none; one of them that
    /// cannot be trusted makes all of it fail. Other keys in the same file count for nothing.
    pub fn load(sources: &[KeySource]) -> Result<Self, KeyringError> {
        let mut keyring = Self::default();
        for source in sources {
            let pinned = &source.fingerprints;
            let mut found = Vec::new();
            for key in parse(source)? {
                let fingerprint = Fingerprint::from(key.fingerprint());
                if pinned.is_empty() || pinned.contains(&fingerprint) {
                    let certificate = Certificate::new(&key, &source.name)?;
                    keyring
                        .certificates
                        .insert(certificate.fingerprint(), certificate);
                }
                found.push(fingerprint);
            }
            check_pins(source, &found)?;
        }
        Ok(keyring)
    }

    /// The keys in a file, trusted or not: the fingerprint and the first user id of each.
    pub fn list(bytes: &[u8], name: &str) -> Result<Vec<(Fingerprint, String)>, KeyringError> {
        let source = KeySource {
            bytes: bytes.to_vec(),
            name: name.to_owned(),
            fingerprints: Vec::new(),
        };
        let keys = parse(&source)?;
        let described = keys.iter().map(|key| {
            let users = &key.details.users;
            let user = users
                .first()
                .map(|user| String::from_utf8_lossy(user.id.id()).into_owned());
            (
                Fingerprint::from(key.fingerprint()),
                user.unwrap_or_default(),
            )
        });
        Ok(described.collect())
    }

    /// The fingerprints of all keys, sorted.
    pub fn fingerprints(&self) -> Vec<Fingerprint> {
        self.certificates.keys().cloned().collect()
    }

    /// What the user should know of the keys at the time `now`: which have expired. One sentence each.
    pub fn warnings(&self, now: SystemTime) -> Vec<String> {
        let expired = self.certificates.values().filter_map(|certificate| {
            let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(certificate.expires()?);
            let date = OffsetDateTime::from(expires).date();
            (expires <= now).then(|| {
                format!(
                    "the key {certificate} expired on {date}: what it signed since then is refused"
                )
            })
        });
        expired.collect()
    }

    /// Checks a detached signature (`repomd.xml.asc`, armored or binary) over `data`.
    ///
    /// Of several signatures one by a trusted key must be good, and none by a trusted key bad.
    pub fn verify_detached(&self, data: &[u8], signature: &[u8]) -> Result<SignedBy, KeyringError> {
        let signatures = parse_detached(signature).map_err(SignatureFault::Unreadable);
        let types = [SignatureType::Binary, SignatureType::Text];
        signatures
            .and_then(|signatures| self.verify(&signatures, &types, data))
            .map_err(KeyringError::Detached)
    }
}

fn parse(source: &KeySource) -> Result<Vec<SignedPublicKey>, KeyringError> {
    let unreadable = |error: pgp::errors::Error| KeyringError::Unreadable {
        name: source.name.clone(),
        why: error.to_string(),
    };
    let mut keys = Vec::new();
    let blocks = armored_blocks(&source.bytes);
    if blocks.is_empty() {
        let found = SignedPublicKey::from_bytes_many(&source.bytes[..]).map_err(unreadable)?;
        keys.extend(found);
    }
    for block in blocks {
        let (found, _headers) = SignedPublicKey::from_armor_many_buf(block).map_err(unreadable)?;
        keys.extend(found);
    }
    let keys: Vec<_> = keys
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    if keys.is_empty() {
        return Err(KeyringError::Empty {
            name: source.name.clone(),
        });
    }
    Ok(keys)
}

/// The armored blocks of a file, text before and between them left out: distributions
/// put several keys one after the other into one file.
fn armored_blocks(bytes: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> = bytes
        .windows(ARMOR.len())
        .enumerate()
        .filter(|&(_, window)| window == ARMOR)
        .map(|(start, _)| start)
        .collect();
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(&start, end)| &bytes[start..end])
        .collect()
}

fn check_pins(source: &KeySource, found: &[Fingerprint]) -> Result<(), KeyringError> {
    let pinned = &source.fingerprints;
    let Some(absent) = pinned.iter().find(|pinned| !found.contains(pinned)) else {
        return Ok(());
    };
    let stranger = found.iter().find(|found| !pinned.contains(found));
    Err(match stranger {
        Some(stranger) => KeyringError::NotPinned {
            name: source.name.clone(),
            found: stranger.clone(),
            pinned: pinned.clone(),
        },
        None => KeyringError::Absent {
            name: source.name.clone(),
            pinned: absent.clone(),
        },
    })
}

fn parse_detached(bytes: &[u8]) -> Result<Vec<pgp::packet::Signature>, String> {
    let armored = bytes.trim_ascii_start().starts_with(b"-----BEGIN");
    let found: Result<Vec<DetachedSignature>, _> = if armored {
        DetachedSignature::from_armor_many_buf(bytes).and_then(|(found, _headers)| found.collect())
    } else {
        DetachedSignature::from_bytes_many(bytes).and_then(Iterator::collect)
    };
    let found = found.map_err(|error| error.to_string())?;
    Ok(found
        .into_iter()
        .map(|detached| detached.signature)
        .collect())
}

#[cfg(test)]
mod tests;
