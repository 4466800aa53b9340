//! One key of the keyring, with what its self-signatures say of it: expiry, revocation, signing subkeys.

use std::fmt;

use pgp::composed::{SignedPublicKey, SignedPublicSubKey};
use pgp::errors::Result as PgpResult;
use pgp::packet::{PublicKey, PublicSubkey, Signature, SignatureType, SubpacketData};
use pgp::types::{KeyDetails as _, Tag};

use super::{Fingerprint, KeyringError};

/// A trusted key.
#[derive(Debug, Clone)]
pub(super) struct Certificate {
    fingerprint: Fingerprint,
    user: Option<String>,
    expires: Option<u64>,
    /// The key and its subkeys, those alone that may sign.
    signers: Vec<Signer>,
}

/// A key or subkey that may sign.
#[derive(Debug, Clone)]
pub(super) struct Signer {
    key: AnyKey,
    pub(super) fingerprint: Fingerprint,
    pub(super) created: u64,
    /// Seconds since 1970; what was signed from then on is refused.
    pub(super) expires: Option<u64>,
}

#[derive(Debug, Clone)]
enum AnyKey {
    Primary(PublicKey),
    Subkey(PublicSubkey),
}

impl Certificate {
    /// Weighs the self-signatures of `key`; only those that verify count.
    pub(super) fn new(key: &SignedPublicKey, name: &str) -> Result<Self, KeyringError> {
        let primary = &key.primary_key;
        let fingerprint = Fingerprint::from(key.fingerprint());
        if let Some(revocation) = key
            .details
            .revocation_signatures
            .iter()
            .find(|sig| sig.verify_key(primary).is_ok())
        {
            let reason = revocation.revocation_reason_string();
            return Err(KeyringError::Revoked {
                name: name.to_owned(),
                fingerprint,
                reason: reason
                    .map(|reason| String::from_utf8_lossy(reason).into_owned())
                    .unwrap_or_default(),
            });
        }
        let unusable = |why| KeyringError::Unusable {
            name: name.to_owned(),
            fingerprint: fingerprint.clone(),
            why,
        };
        let own = self_signatures(key);
        let newest =
            newest(&own).ok_or_else(|| unusable("it has no valid signature of its own"))?;
        let created = u64::from(primary.created_at().as_secs());
        let expires = expiry(created, newest);
        let mut signers = Vec::new();
        if may_sign(&own) {
            let key = AnyKey::Primary(primary.clone());
            signers.push(Signer {
                key,
                fingerprint: fingerprint.clone(),
                created,
                expires,
            });
        }
        signers.extend(
            key.public_subkeys
                .iter()
                .filter_map(|subkey| signing_subkey(primary, subkey, expires)),
        );
        if signers.is_empty() {
            return Err(unusable("neither it nor a subkey of it may sign"));
        }
        let user = key
            .details
            .users
            .first()
            .map(|user| String::from_utf8_lossy(user.id.id()).into_owned());
        Ok(Self {
            fingerprint,
            user,
            expires,
            signers,
        })
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint.clone()
    }

    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// When the key expires, seconds since 1970.
    pub(super) fn expires(&self) -> Option<u64> {
        self.expires
    }

    pub(super) fn signers(&self) -> &[Signer] {
        &self.signers
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.fingerprint)?;
        match &self.user {
            Some(user) => write!(f, " (\"{}\")", user.escape_debug()),
            None => Ok(()),
        }
    }
}

impl Signer {
    /// Whether the signature names this key, by fingerprint or id.
    pub(super) fn is_named_by(&self, signature: &Signature) -> bool {
        let (fingerprint, id) = match &self.key {
            AnyKey::Primary(key) => (key.fingerprint(), key.legacy_key_id()),
            AnyKey::Subkey(key) => (key.fingerprint(), key.legacy_key_id()),
        };
        signature.issuer_fingerprint().contains(&&fingerprint)
            || signature.issuer_key_id().contains(&&id)
    }

    /// The arithmetic alone.
    pub(super) fn verify(&self, signature: &Signature, data: &[u8]) -> PgpResult<()> {
        match &self.key {
            AnyKey::Primary(key) => signature.verify(key, data),
            AnyKey::Subkey(key) => signature.verify(key, data),
        }
    }
}

/// The signatures by which the key's owner speaks of the key: direct ones, and those on
/// user ids that were not taken back since.
fn self_signatures(key: &SignedPublicKey) -> Vec<&Signature> {
    let primary = &key.primary_key;
    let direct = key.details.direct_signatures.iter();
    let mut own: Vec<&Signature> = direct
        .filter(|sig| sig.typ() == Some(SignatureType::Key) && sig.verify_key(primary).is_ok())
        .collect();
    for user in &key.details.users {
        let valid = |sig: &&Signature| {
            sig.verify_certification(primary, Tag::UserId, &user.id)
                .is_ok()
        };
        let (revocations, certifications): (Vec<_>, Vec<_>) = user
            .signatures
            .iter()
            .filter(valid)
            .partition(|sig| sig.typ() == Some(SignatureType::CertRevocation));
        let taken_back = revocations.iter().filter_map(|sig| sig.created()).max();
        own.extend(
            certifications
                .into_iter()
                .filter(|sig| sig.created() > taken_back),
        );
    }
    own
}

fn newest<'a>(signatures: &[&'a Signature]) -> Option<&'a Signature> {
    signatures
        .iter()
        .copied()
        .filter(|sig| sig.created().is_some())
        .max_by_key(|sig| sig.created())
}

fn expiry(created: u64, signature: &Signature) -> Option<u64> {
    let lifetime = u64::from(signature.key_expiration_time()?.as_secs());
    (lifetime > 0).then(|| created + lifetime)
}

/// Whether the newest of the signatures that say what the key is for allows signing; a key of
/// which none says anything may do everything.
fn may_sign(own: &[&Signature]) -> bool {
    let flagged: Vec<&Signature> = own
        .iter()
        .copied()
        .filter(|sig| has_key_flags(sig))
        .collect();
    newest(&flagged).is_none_or(|sig| sig.key_flags().sign())
}

fn has_key_flags(signature: &Signature) -> bool {
    let config = signature.config();
    config.is_some_and(|config| {
        config
            .hashed_subpackets()
            .any(|packet| matches!(packet.data, SubpacketData::KeyFlags(_)))
    })
}

/// The subkey, if it is bound, not revoked, and both it and the key agree that it signs.
fn signing_subkey(
    primary: &PublicKey,
    subkey: &SignedPublicSubKey,
    primary_expires: Option<u64>,
) -> Option<Signer> {
    let valid = |sig: &&Signature| sig.verify_subkey_binding(primary, &subkey.key).is_ok();
    let valid: Vec<&Signature> = subkey.signatures.iter().filter(valid).collect();
    if valid
        .iter()
        .any(|sig| sig.typ() == Some(SignatureType::SubkeyRevocation))
    {
        return None;
    }
    let binding = newest(&valid)?;
    let agreed = |back: &Signature| {
        back.verify_primary_key_binding(&subkey.key, primary)
            .is_ok()
    };
    if !binding.key_flags().sign() || !binding.embedded_signature().is_some_and(agreed) {
        return None;
    }
    let created = u64::from(subkey.key.created_at().as_secs());
    let own = expiry(created, binding);
    Some(Signer {
        key: AnyKey::Subkey(subkey.key.clone()),
        fingerprint: subkey.key.fingerprint().into(),
        created,
        expires: own.into_iter().chain(primary_expires).min(),
    })
}
