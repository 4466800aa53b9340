//! Fingerprints of OpenPGP keys.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A key's fingerprint: 40 hex digits (version 4 keys) or 64 (version 6).
///
/// Reads both cases, spaces or colons between digits, and `0x` before them; writes upper case without spaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Fingerprint(String);

/// Text that is not a fingerprint.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "`{text}` is not a key's fingerprint: expected 40 or 64 hexadecimal digits{}",
    hint(text)
)]
pub struct FingerprintError {
    text: String,
}

fn hint(text: &str) -> &'static str {
    let digits = text.trim_start_matches("0x").len();
    if digits == 8 || digits == 16 {
        " (a key id is too short to trust)"
    } else {
        ""
    }
}

impl Fingerprint {
    /// The last 16 digits of a version 4, the first 16 of a version 6 fingerprint: how signatures and tools name the key.
    pub fn key_id(&self) -> &str {
        if self.0.len() == 40 {
            &self.0[24..]
        } else {
            &self.0[..16]
        }
    }
}

impl From<pgp::types::Fingerprint> for Fingerprint {
    fn from(fingerprint: pgp::types::Fingerprint) -> Self {
        Self(format!("{fingerprint:X}"))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let bare = text.trim();
        let bare = bare.strip_prefix("0x").unwrap_or(bare);
        let digits: String = bare.chars().filter(|&c| c != ' ' && c != ':').collect();
        let well_formed = [40, 64].contains(&digits.len())
            && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if well_formed {
            Ok(Self(digits.to_ascii_uppercase()))
        } else {
            Err(FingerprintError {
                text: text.to_owned(),
            })
        }
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = FingerprintError;

    fn try_from(text: String) -> Result<Self, FingerprintError> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_usual_forms_are_read() {
        let digits = "0123456789ABCDEF0123456789ABCDEF01234567";
        for text in [
            digits,
            "0123456789abcdef0123456789abcdef01234567",
            "0123 4567 89AB CDEF 0123  4567 89AB CDEF 0123 4567",
            "01:23:45:67:89:ab:cd:ef:01:23:45:67:89:ab:cd:ef:01:23:45:67",
            " 0x0123456789ABCDEF0123456789ABCDEF01234567\n",
        ] {
            assert_eq!(text.parse::<Fingerprint>().unwrap().to_string(), digits);
        }
        let fingerprint: Fingerprint = digits.parse().unwrap();
        assert_eq!(fingerprint.key_id(), "89ABCDEF01234567");
        assert_eq!(
            "a".repeat(64).parse::<Fingerprint>().unwrap().key_id(),
            "A".repeat(16)
        );
    }

    #[test]
    fn anything_else_is_refused() {
        let wrong = [
            "",
            "89ABCDEF01234567",
            "0x01234567",
            "g123456789ABCDEF0123456789ABCDEF01234567",
        ];
        let messages = wrong.map(|text| text.parse::<Fingerprint>().unwrap_err().to_string());
        insta::assert_snapshot!(messages.join("\n"), @"
        `` is not a key's fingerprint: expected 40 or 64 hexadecimal digits
        `89ABCDEF01234567` is not a key's fingerprint: expected 40 or 64 hexadecimal digits (a key id is too short to trust)
        `0x01234567` is not a key's fingerprint: expected 40 or 64 hexadecimal digits (a key id is too short to trust)
        `g123456789ABCDEF0123456789ABCDEF01234567` is not a key's fingerprint: expected 40 or 64 hexadecimal digits
        ");
    }
}
