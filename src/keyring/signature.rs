//! Which signature counts: by a trusted key, over strong digests, made while the key was valid.

use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType, SubpacketData};

use super::certificate::{Certificate, Signer};
use super::{Fingerprint, Keyring, SignatureFault, SignedBy};

impl Keyring {
    /// Checks `signatures` over `data`. At least one by a trusted key must be good, none by a trusted key bad;
    /// those of keys that are not trusted do not count.
    pub(super) fn verify(
        &self,
        signatures: &[Signature],
        types: &[SignatureType],
        data: &[u8],
    ) -> Result<SignedBy, SignatureFault> {
        let mut good = None;
        let mut unknown = SignatureFault::Unsigned;
        for signature in signatures {
            match self.signer(signature) {
                Some((certificate, signer)) => {
                    let created = check(signature, signer, types, data).map_err(|why| {
                        SignatureFault::Bad {
                            key: certificate.fingerprint(),
                            why,
                        }
                    })?;
                    good.get_or_insert(SignedBy {
                        fingerprint: certificate.fingerprint(),
                        signer: signer.fingerprint.clone(),
                        user: certificate.user().map(ToOwned::to_owned),
                        created,
                    });
                }
                None => {
                    unknown = SignatureFault::UnknownKey {
                        key: issuer(signature),
                        trusted: self.fingerprints(),
                    };
                }
            }
        }
        good.ok_or(unknown)
    }

    fn signer(&self, signature: &Signature) -> Option<(&Certificate, &Signer)> {
        self.certificates.values().find_map(|certificate| {
            let signer = certificate
                .signers()
                .iter()
                .find(|signer| signer.is_named_by(signature))?;
            Some((certificate, signer))
        })
    }
}

/// How the signature names its key.
fn issuer(signature: &Signature) -> Option<String> {
    let fingerprint = signature
        .issuer_fingerprint()
        .first()
        .map(|&issuer| Fingerprint::from(issuer.clone()).to_string());
    let id = || {
        signature
            .issuer_key_id()
            .first()
            .map(|id| id.to_string().to_uppercase())
    };
    fingerprint.or_else(id)
}

/// Returns when the signature was made, or what is wrong with it.
fn check(
    signature: &Signature,
    signer: &Signer,
    types: &[SignatureType],
    data: &[u8],
) -> Result<u32, String> {
    if !signature.typ().is_some_and(|typ| types.contains(&typ)) {
        return Err("it is made for another purpose".to_owned());
    }
    match signature.hash_alg() {
        Some(
            HashAlgorithm::Sha256
            | HashAlgorithm::Sha384
            | HashAlgorithm::Sha512
            | HashAlgorithm::Sha3_256
            | HashAlgorithm::Sha3_512,
        ) => {}
        Some(weak) => return Err(format!("its digest algorithm {weak} is not safe")),
        None => return Err("it has no digest algorithm".to_owned()),
    }
    if has_unknown_critical_part(signature) {
        return Err("it has a critical part that is not known".to_owned());
    }
    signer
        .verify(signature, data)
        .map_err(|_| "it does not fit the content".to_owned())?;
    let created = signature
        .created()
        .ok_or("it does not say when it was made")?
        .as_secs();
    if u64::from(created) < signer.created {
        return Err("it is older than the key".to_owned());
    }
    if signer
        .expires
        .is_some_and(|expires| u64::from(created) >= expires)
    {
        return Err("it was made after the key had expired".to_owned());
    }
    Ok(created)
}

fn has_unknown_critical_part(signature: &Signature) -> bool {
    let known = |data: &SubpacketData| {
        !matches!(
            data,
            SubpacketData::Experimental(..) | SubpacketData::Other(..) | SubpacketData::Notation(_)
        )
    };
    let config = signature.config();
    config.is_some_and(|config| {
        config
            .hashed_subpackets()
            .any(|packet| packet.is_critical && !known(&packet.data))
    })
}
