//! The key that signs what is generated.
//!
//! It is derived from a sentence in this file, so **everybody has its secret half**. A signature by it proves that
//! signatures are made, carried and checked; it says nothing about who made a package. Never trust it for anything
//! but a minidistro that you generated yourself.

use pgp::composed::{
    ArmorOptions, DetachedSignature, SignedKeyDetails, SignedPublicKey, SignedSecretKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::crypto::{ed25519, eddsa_legacy};
use pgp::packet::{
    KeyFlags, PacketTrait, PubKeyInner, PublicKey, SecretKey, SignatureConfig, SignatureType,
    Subpacket, SubpacketData, UserId,
};
use pgp::types::{
    EddsaLegacyPublicParams, KeyDetails, KeyVersion, PacketHeaderVersion, Password,
    PlainSecretParams, PublicParams, SecretParams, Timestamp,
};
use sha2::{Digest, Sha256};

use crate::error::MinidistroError;

/// What the secret half is derived from.
const SENTENCE: &[u8] =
    b"minidistro: this signing key is public, and proves nothing but that checks run";
/// Whom the key names.
const USER_ID: &str = "minidistro (secret key is public, for tests) <minidistro@localhost>";
/// When the key says it was made: 2020-01-01, before everything that it signs.
pub(crate) const CREATED: u32 = 1_577_836_800;

/// The derived key.
#[derive(Debug, Clone)]
pub(crate) struct SigningKey {
    secret: SignedSecretKey,
}

impl SigningKey {
    /// Derives the key.
    pub(crate) fn derive() -> Result<Self, MinidistroError> {
        Self::build().map_err(|error| MinidistroError::Sign(error.to_string()))
    }

    fn build() -> pgp::errors::Result<Self> {
        let seed: [u8; 32] = Sha256::digest(SENTENCE).into();
        // The older of OpenPGP's two forms of Ed25519: rpm 4.18 knows only that one.
        let raw = ed25519::SecretKey::try_from_bytes(seed, ed25519::Mode::EdDSALegacy)?;
        let inner = PubKeyInner::new(
            KeyVersion::V4,
            PublicKeyAlgorithm::EdDSALegacy,
            Timestamp::from_secs(CREATED),
            None,
            PublicParams::EdDSALegacy(EddsaLegacyPublicParams::from(&raw)),
        )?;
        let public = PublicKey::from_inner(inner)?;
        let plain = PlainSecretParams::EdDSALegacy(eddsa_legacy::SecretKey::Ed25519(raw));
        let secret = SecretKey::new(public.clone(), SecretParams::Plain(plain))?;
        let user = UserId::from_str(PacketHeaderVersion::New, USER_ID)?;
        let mut config = configuration(&secret, SignatureType::CertPositive, CREATED)?;
        let mut flags = KeyFlags::default();
        flags.set_certify(true);
        flags.set_sign(true);
        config
            .hashed_subpackets
            .push(Subpacket::regular(SubpacketData::KeyFlags(flags))?);
        config
            .hashed_subpackets
            .push(Subpacket::regular(SubpacketData::IsPrimary(true))?);
        let signature =
            config.sign_certification(&secret, &public, &Password::empty(), user.tag(), &user)?;
        let details =
            SignedKeyDetails::new(vec![], vec![], vec![user.into_signed(signature)], vec![]);
        Ok(Self {
            secret: SignedSecretKey::new(secret, details, vec![], vec![]),
        })
    }

    /// The public half.
    pub(crate) fn public(&self) -> SignedPublicKey {
        self.secret.to_public_key()
    }

    /// The public half in ASCII armor.
    pub(crate) fn armored(&self) -> Result<String, MinidistroError> {
        let armored = self.public().to_armored_string(ArmorOptions::default());
        armored.map_err(|error| MinidistroError::Sign(error.to_string()))
    }

    /// The fingerprint, 40 lower-case hexadecimal digits.
    pub(crate) fn fingerprint(&self) -> String {
        crate::fetch::hex(self.secret.primary_key.fingerprint().as_bytes())
    }

    /// Signs packages.
    pub(crate) fn package_signer(&self) -> Result<rpm::signature::pgp::Signer, MinidistroError> {
        let key = self.secret.primary_key.clone();
        rpm::signature::pgp::Signer::new(key)
            .map_err(|error| MinidistroError::Sign(error.to_string()))
    }

    /// A clear-signed text, as Debian's release files are.
    #[cfg(test)]
    pub(crate) fn sign_cleartext(&self, text: &str) -> String {
        let sign = |text: &str| {
            let key = &self.secret.primary_key;
            configuration(key, SignatureType::Text, CREATED)?.sign(
                key,
                &Password::empty(),
                text.as_bytes(),
            )
        };
        let message =
            pgp::composed::CleartextSignedMessage::new_many(text, |text| Ok(vec![sign(text)?]))
                .unwrap();
        message.to_armored_string(ArmorOptions::default()).unwrap()
    }

    /// A detached signature of `data` in ASCII armor, made at `time` (seconds since 1970).
    pub(crate) fn sign_detached(&self, data: &[u8], time: u32) -> Result<String, MinidistroError> {
        let sign = || {
            let key = &self.secret.primary_key;
            let config = configuration(key, SignatureType::Binary, time)?;
            let signature = config.sign(key, &Password::empty(), data)?;
            DetachedSignature::new(signature).to_armored_string(ArmorOptions::default())
        };
        sign().map_err(|error| MinidistroError::Sign(error.to_string()))
    }
}

fn configuration(
    key: &SecretKey,
    kind: SignatureType,
    time: u32,
) -> pgp::errors::Result<SignatureConfig> {
    let mut config = SignatureConfig::v4(kind, key.algorithm(), HashAlgorithm::Sha256);
    config.hashed_subpackets = vec![
        Subpacket::regular(SubpacketData::SignatureCreationTime(Timestamp::from_secs(
            time,
        )))?,
        Subpacket::regular(SubpacketData::IssuerFingerprint(key.fingerprint()))?,
    ];
    config.unhashed_subpackets = vec![Subpacket::regular(SubpacketData::IssuerKeyId(
        key.legacy_key_id(),
    ))?];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_always_the_same() {
        let key = SigningKey::derive().unwrap();
        assert_eq!(key.fingerprint(), crate::FINGERPRINT);
        assert_eq!(
            key.armored().unwrap(),
            SigningKey::derive().unwrap().armored().unwrap()
        );
        assert!(key.public().verify_bindings().is_ok());
    }

    #[test]
    fn signatures_are_the_same_each_time() {
        let key = SigningKey::derive().unwrap();
        let signature = key.sign_detached(b"data", CREATED).unwrap();
        assert_eq!(signature, key.sign_detached(b"data", CREATED).unwrap());
        assert!(signature.starts_with("-----BEGIN PGP SIGNATURE-----"));
    }
}
