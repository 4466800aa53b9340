//! DSSE, the envelope around a statement: what is signed is the payload's type and its bytes, never a
//! canonical form of JSON.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::key::{PublicKey, SigningKey};

/// The type of a payload that is an in-toto statement.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// More signatures than any envelope has.
const MANY: usize = 64;

/// A payload and who signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// The payload in Base64.
    payload: String,
    /// What the payload is.
    pub payload_type: String,
    /// Signatures over type and payload.
    signatures: Vec<Signature>,
}

/// One signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Signature {
    /// Which key made it: a hint that nothing relies on.
    #[serde(default)]
    keyid: String,
    /// The signature in Base64.
    sig: String,
}

/// Why the payload of an envelope is not believed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EnvelopeError {
    /// Payload or signature is not Base64.
    #[error("its {0} is not Base64")]
    Base64(&'static str),
    /// There is nothing to check.
    #[error("nobody signed it")]
    Unsigned,
    /// More than anything has.
    #[error("it has {0} signatures; at most {MANY} are read")]
    Many(usize),
    /// No signature fits one of the keys.
    #[error("its signature is by none of the given keys, or it was changed (its signer says: {0})")]
    Signature(String),
}

impl Envelope {
    /// Signs an in-toto statement.
    pub fn sign(statement: &[u8], key: &SigningKey) -> Self {
        let signature = Signature {
            keyid: key.id().to_owned(),
            sig: STANDARD.encode(key.sign(&signed_bytes(PAYLOAD_TYPE, statement))),
        };
        Self {
            payload: STANDARD.encode(statement),
            payload_type: PAYLOAD_TYPE.to_owned(),
            signatures: vec![signature],
        }
    }

    /// The payload and the one of `keys` that signed it.
    pub fn open<'a>(
        &self,
        keys: &'a [PublicKey],
    ) -> Result<(Vec<u8>, &'a PublicKey), EnvelopeError> {
        if self.signatures.is_empty() {
            return Err(EnvelopeError::Unsigned);
        }
        if self.signatures.len() > MANY {
            return Err(EnvelopeError::Many(self.signatures.len()));
        }
        let payload = decode(&self.payload).ok_or(EnvelopeError::Base64("payload"))?;
        let signed = signed_bytes(&self.payload_type, &payload);
        for signature in &self.signatures {
            let bytes = decode(&signature.sig).ok_or(EnvelopeError::Base64("signature"))?;
            if let Some(key) = keys.iter().find(|key| key.verifies(&signed, &bytes)) {
                return Ok((payload, key));
            }
        }
        Err(EnvelopeError::Signature(self.signers()))
    }

    /// Who says to have signed it.
    fn signers(&self) -> String {
        let ids = self.signatures.iter().map(|signature| {
            let id = crate::words::clean(&signature.keyid, false);
            if id.is_empty() {
                "no key".to_owned()
            } else {
                id.chars().take(100).collect()
            }
        });
        ids.collect::<Vec<_>>().join(", ")
    }
}

/// The pre-authentication encoding: what is signed.
fn signed_bytes(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    bytes.extend(payload);
    bytes
}

/// Either alphabet, as the specification asks of readers.
fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD
        .decode(text)
        .or_else(|_| URL_SAFE.decode(text))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::key::testing::{other, pair};

    #[test]
    fn what_is_signed_is_what_the_specification_says() {
        let bytes = signed_bytes("http://example.com/HelloWorld", b"hello world");
        assert_eq!(
            bytes,
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn every_change_is_seen() {
        let (signing, public) = pair();
        let keys = [public];
        let envelope = Envelope::sign(b"{\"statement\": true}", &signing);
        let (payload, key) = envelope.open(&keys).unwrap();
        assert_eq!(
            (payload.as_slice(), key.id()),
            (b"{\"statement\": true}".as_slice(), signing.id())
        );
        let mut messages = Vec::new();
        let mut refused = |change: &dyn Fn(&mut Envelope)| {
            let mut changed = envelope.clone();
            change(&mut changed);
            let text = serde_json::to_string(&changed).unwrap();
            let read: Envelope = serde_json::from_str(&text).unwrap();
            messages.push(read.open(&keys).unwrap_err().to_string());
        };
        refused(&|envelope| envelope.payload = STANDARD.encode(b"{\"statement\": false}"));
        refused(&|envelope| envelope.payload_type = "text/plain".to_owned());
        refused(&|envelope| {
            let mut bytes = decode(&envelope.signatures[0].sig).unwrap();
            bytes[10] ^= 1;
            envelope.signatures[0].sig = STANDARD.encode(bytes);
        });
        refused(&|envelope| envelope.signatures[0].sig = STANDARD.encode([0; 3]));
        refused(&|envelope| envelope.signatures[0].sig = "?".to_owned());
        refused(&|envelope| envelope.payload.insert(0, '?'));
        refused(&|envelope| envelope.signatures.clear());
        refused(&|envelope| envelope.signatures = vec![envelope.signatures[0].clone(); 65]);
        insta::assert_snapshot!(messages.join("\n").replace(signing.id(), "KEY"), @"
        its signature is by none of the given keys, or it was changed (its signer says: KEY)
        its signature is by none of the given keys, or it was changed (its signer says: KEY)
        its signature is by none of the given keys, or it was changed (its signer says: KEY)
        its signature is by none of the given keys, or it was changed (its signer says: KEY)
        its signature is not Base64
        its payload is not Base64
        nobody signed it
        it has 65 signatures; at most 64 are read
        ");
        assert!(envelope.open(&[other().1]).is_err());
        assert!(envelope.open(&[other().1, pair().1]).is_ok());
    }
}
