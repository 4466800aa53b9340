//! Keys, signatures and packages are made here, from fixed seeds: nothing is recorded, nothing random.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use pgp::composed::{ArmorOptions, SignedKeyDetails, SignedPublicSubKey};
use pgp::crypto::ed25519::{Mode, SecretKey as Ed25519};
use pgp::crypto::eddsa_legacy;
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::packet::{
    KeyFlags, PubKeyInner, PublicKey, PublicSubkey, RevocationCode, SecretKey, SecretSubkey,
    SignatureConfig, Subpacket, SubpacketData, UserId,
};
use pgp::ser::Serialize as _;
use pgp::types::{
    KeyDetails, KeyVersion, PacketHeaderVersion, Password, PlainSecretParams, PublicParams,
    SecretParams, SignedUser, SigningKey, Tag, Timestamp,
};
use proptest::prelude::*;

use super::*;

/// When all keys are made.
const BORN: u32 = 1_700_000_000;
const DAY: u32 = 86_400;

fn at(secs: u32) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn parameters(seed: u8) -> (PubKeyInner, SecretParams) {
    let secret = Ed25519::try_from_bytes([seed; 32], Mode::EdDSALegacy).unwrap();
    let public = PublicParams::EdDSALegacy((&secret).into());
    let inner = PubKeyInner::new(
        KeyVersion::V4,
        PublicKeyAlgorithm::EdDSALegacy,
        at(BORN),
        None,
        public,
    )
    .unwrap();
    let secret = eddsa_legacy::SecretKey::Ed25519(secret);
    (
        inner,
        SecretParams::Plain(PlainSecretParams::EdDSALegacy(secret)),
    )
}

fn primary(seed: u8) -> SecretKey {
    let (inner, secret) = parameters(seed);
    SecretKey::new(PublicKey::from_inner(inner).unwrap(), secret).unwrap()
}

fn subkey(seed: u8) -> SecretSubkey {
    let (inner, secret) = parameters(seed);
    SecretSubkey::new(PublicSubkey::from_inner(inner).unwrap(), secret).unwrap()
}

fn config(
    typ: SignatureType,
    key: &impl KeyDetails,
    made: u32,
    more: Vec<SubpacketData>,
) -> SignatureConfig {
    let mut config = SignatureConfig::v4(typ, key.algorithm(), HashAlgorithm::Sha256);
    let named = [
        SubpacketData::SignatureCreationTime(at(made)),
        SubpacketData::IssuerFingerprint(key.fingerprint()),
    ];
    let all = named.into_iter().chain(more);
    config.hashed_subpackets = all.map(|data| Subpacket::regular(data).unwrap()).collect();
    config.unhashed_subpackets =
        vec![Subpacket::regular(SubpacketData::IssuerKeyId(key.legacy_key_id())).unwrap()];
    config
}

fn flags(sign: bool) -> SubpacketData {
    let mut flags = KeyFlags::default();
    flags.set_certify(true);
    flags.set_sign(sign);
    SubpacketData::KeyFlags(flags)
}

fn days(days: u32) -> SubpacketData {
    SubpacketData::KeyExpirationTime(pgp::types::Duration::from_secs(days * DAY))
}

/// The public half of `key`, whose owner says `more` of it.
fn certificate_with(key: &SecretKey, more: Vec<SubpacketData>) -> SignedPublicKey {
    let id = UserId::from_str(PacketHeaderVersion::New, "Test <test@example.org>").unwrap();
    let config = config(SignatureType::CertPositive, key, BORN, more);
    let own = config
        .sign_certification(key, key.public_key(), &Password::empty(), Tag::UserId, &id)
        .unwrap();
    let details =
        SignedKeyDetails::new(vec![], vec![], vec![SignedUser::new(id, vec![own])], vec![]);
    SignedPublicKey::new(key.public_key().clone(), details, vec![])
}

fn certificate(key: &SecretKey) -> SignedPublicKey {
    certificate_with(key, vec![flags(true)])
}

fn revoke(mut certificate: SignedPublicKey, by: &SecretKey) -> SignedPublicKey {
    let reason = SubpacketData::RevocationReason(
        RevocationCode::KeyCompromised,
        "laptop \u{7}stolen".to_owned().into(),
    );
    let config = config(SignatureType::KeyRevocation, by, BORN + DAY, vec![reason]);
    let revocation = config
        .sign_key(by, &Password::empty(), &certificate.primary_key)
        .unwrap();
    certificate.details.revocation_signatures.push(revocation);
    certificate
}

/// Adds `subkey`, which agrees with `agreed`.
fn bind(
    mut certificate: SignedPublicKey,
    key: &SecretKey,
    subkey: &SecretSubkey,
    agreed: bool,
) -> SignedPublicKey {
    let password = Password::empty();
    let public = subkey.public_key();
    let back = config(SignatureType::KeyBinding, subkey, BORN, vec![])
        .sign_primary_key_binding(subkey, public, &password, key.public_key())
        .unwrap();
    let mut more = vec![flags(true)];
    if agreed {
        more.push(SubpacketData::EmbeddedSignature(Box::new(back)));
    }
    let binding = config(SignatureType::SubkeyBinding, key, BORN, more)
        .sign_subkey_binding(key, key.public_key(), &password, public)
        .unwrap();
    certificate
        .public_subkeys
        .push(SignedPublicSubKey::new(public.clone(), vec![binding]));
    certificate
}

fn sign_as(config: SignatureConfig, key: &impl SigningKey, data: &[u8]) -> Vec<u8> {
    let signature = config.sign(key, &Password::empty(), data).unwrap();
    DetachedSignature::new(signature).to_bytes().unwrap()
}

fn sign(key: &impl SigningKey, data: &[u8]) -> Vec<u8> {
    sign_as(
        config(SignatureType::Binary, key, BORN + DAY, vec![]),
        key,
        data,
    )
}

fn source(certificates: &[&SignedPublicKey]) -> KeySource {
    let armored = certificates
        .iter()
        .map(|one| one.to_armored_string(ArmorOptions::default()).unwrap());
    KeySource {
        bytes: armored.collect::<String>().into_bytes(),
        name: "keys.asc".to_owned(),
        fingerprints: vec![],
    }
}

fn ring(certificate: &SignedPublicKey) -> Keyring {
    Keyring::load(&[source(&[certificate])]).unwrap()
}

fn fingerprint(key: &impl KeyDetails) -> Fingerprint {
    key.fingerprint().into()
}

#[test]
fn keys_are_read_in_every_form() {
    let (one, two) = (certificate(&primary(1)), certificate(&primary(2)));
    let both = {
        let mut both = vec![fingerprint(&primary(1)), fingerprint(&primary(2))];
        both.sort();
        both
    };
    let many_blocks = source(&[&one, &two]);
    let with_text = KeySource {
        bytes: [
            b"Two keys.\n".to_vec(),
            many_blocks.bytes.clone(),
            b"\nThe end.\n".to_vec(),
        ]
        .concat(),
        ..many_blocks.clone()
    };
    let binary = KeySource {
        bytes: [one.to_bytes().unwrap(), two.to_bytes().unwrap()].concat(),
        ..many_blocks.clone()
    };
    let pinned = KeySource {
        fingerprints: both.clone(),
        ..binary.clone()
    };
    for source in [many_blocks, with_text, binary, pinned] {
        assert_eq!(Keyring::load(&[source]).unwrap().fingerprints(), both);
    }
    assert_eq!(
        Keyring::load(&[source(&[&one]), source(&[&two])])
            .unwrap()
            .fingerprints(),
        both
    );
}

#[test]
fn keys_that_cannot_be_trusted_are_refused() {
    let (key, other) = (primary(1), primary(2));
    let good = certificate(&key);
    let with_bytes = |bytes: &[u8]| KeySource {
        bytes: bytes.to_vec(),
        ..source(&[])
    };
    let pinned = |source: KeySource, key: &SecretKey| KeySource {
        fingerprints: vec![fingerprint(key)],
        ..source
    };
    let mut unbound = good.clone();
    unbound.details.users[0].signatures = certificate(&other).details.users[0].signatures.clone();
    let armored = String::from_utf8(source(&[&good]).bytes).unwrap();
    let cases = [
        pinned(source(&[&good]), &other),
        KeySource {
            fingerprints: vec![fingerprint(&key), fingerprint(&other)],
            ..source(&[&good])
        },
        source(&[&revoke(good.clone(), &key)]),
        source(&[&certificate_with(&key, vec![flags(false)])]),
        source(&[&bind(
            certificate_with(&key, vec![flags(false)]),
            &key,
            &subkey(3),
            false,
        )]),
        source(&[&unbound]),
        with_bytes(b""),
        with_bytes(b"<html>404</html>"),
        with_bytes(&armored.as_bytes()[..armored.len() / 2]),
    ];
    let messages = cases.map(|source| Keyring::load(&[source]).unwrap_err().to_string());
    insta::assert_snapshot!(messages.join("\n"), @r#"
    keys.asc holds the key 74FB18F50E5FA8A70325A3CAE608D76BF4BCDF2B, which is not the one expected: 1F727FE8F744238933B0CF17250058C74FC0BA78
    keys.asc does not hold the key 1F727FE8F744238933B0CF17250058C74FC0BA78, which is expected in it
    the key 74FB18F50E5FA8A70325A3CAE608D76BF4BCDF2B of keys.asc was revoked by its owner: "laptop \u{7}stolen"
    the key 74FB18F50E5FA8A70325A3CAE608D76BF4BCDF2B of keys.asc cannot be used: neither it nor a subkey of it may sign
    the key 74FB18F50E5FA8A70325A3CAE608D76BF4BCDF2B of keys.asc cannot be used: neither it nor a subkey of it may sign
    the key 74FB18F50E5FA8A70325A3CAE608D76BF4BCDF2B of keys.asc cannot be used: it has no valid signature of its own
    keys.asc holds no OpenPGP public key
    cannot read the keys of keys.asc: IO error: unknown packet header version 111100
    cannot read the keys of keys.asc: IO error: not enough bytes in buffer: armor footer
    "#);
}

#[test]
fn what_is_not_pinned_counts_for_nothing() {
    let (key, other) = (primary(1), primary(2));
    let revoked = revoke(certificate(&other), &other);
    let pinned = KeySource {
        fingerprints: vec![fingerprint(&key)],
        ..source(&[&certificate(&key), &revoked])
    };
    let keyring = Keyring::load(&[pinned]).unwrap();
    assert_eq!(keyring.fingerprints(), [fingerprint(&key)]);
}

#[test]
fn nobody_else_can_revoke_a_key() {
    let (key, other) = (primary(1), primary(2));
    assert_eq!(
        ring(&revoke(certificate(&key), &other)).fingerprints(),
        [fingerprint(&key)]
    );
}

#[test]
fn expired_keys_are_loaded_with_a_warning() {
    let key = primary(1);
    let keyring = ring(&certificate_with(&key, vec![flags(true), days(10)]));
    let time = |day: u32| SystemTime::UNIX_EPOCH + Duration::from_secs((BORN + day * DAY).into());
    assert_eq!(keyring.warnings(time(9)), Vec::<String>::new());
    insta::assert_snapshot!(keyring.warnings(time(10)).join("\n"), @r#"the key 74FB18F50E5FA8A70325A3CAE608D76BF4BCDF2B ("Test <test@example.org>") expired on 2023-11-24: what it signed since then is refused"#);
    assert_eq!(
        ring(&certificate(&key)).warnings(time(20_000)),
        Vec::<String>::new()
    );
}

#[test]
fn good_detached_signatures_tell_who_made_them() {
    let (key, sub) = (primary(1), subkey(3));
    let keyring = ring(&bind(certificate(&key), &key, &sub, true));
    let expected = SignedBy {
        fingerprint: fingerprint(&key),
        signer: fingerprint(&key),
        user: Some("Test <test@example.org>".to_owned()),
        created: BORN + DAY,
    };
    let binary = sign(&key, b"data\n");
    assert_eq!(
        keyring.verify_detached(b"data\n", &binary).unwrap(),
        expected
    );
    let parsed = parse_detached(&binary).unwrap().remove(0);
    let armored = DetachedSignature::new(parsed)
        .to_armored_bytes(ArmorOptions::default())
        .unwrap();
    assert_eq!(
        keyring.verify_detached(b"data\n", &armored).unwrap(),
        expected
    );
    let text = sign_as(
        config(SignatureType::Text, &key, BORN + DAY, vec![]),
        &key,
        b"data\n",
    );
    assert_eq!(keyring.verify_detached(b"data\n", &text).unwrap(), expected);
    let by_subkey = SignedBy {
        signer: fingerprint(&sub),
        ..expected.clone()
    };
    assert_eq!(
        keyring
            .verify_detached(b"data\n", &sign(&sub, b"data\n"))
            .unwrap(),
        by_subkey
    );
    let stranger_too = [sign(&primary(2), b"data\n"), binary].concat();
    assert_eq!(
        keyring.verify_detached(b"data\n", &stranger_too).unwrap(),
        expected
    );
}

#[test]
fn what_was_signed_before_the_key_expired_stays_good() {
    let key = primary(1);
    let keyring = ring(&certificate_with(&key, vec![flags(true), days(10)]));
    let signed_on = |day: u32| {
        sign_as(
            config(SignatureType::Binary, &key, BORN + day * DAY, vec![]),
            &key,
            b"x",
        )
    };
    keyring.verify_detached(b"x", &signed_on(9)).unwrap();
    let error = keyring.verify_detached(b"x", &signed_on(10)).unwrap_err();
    insta::assert_snapshot!(error, @"it has a wrong signature of the key 74FB18F50E5FA8A70325A3CAE608D76BF4BCDF2B: it was made after the key had expired");
}

#[test]
fn wrong_detached_signatures_say_why() {
    let key = primary(1);
    let keyring = ring(&certificate(&key));
    let binary = |made, more| config(SignatureType::Binary, &key, made, more);
    let mut critical = binary(BORN, vec![]);
    critical
        .hashed_subpackets
        .push(Subpacket::critical(SubpacketData::Experimental(101, vec![1].into())).unwrap());
    let mut nameless = binary(BORN, vec![]);
    nameless.hashed_subpackets.truncate(1);
    nameless.unhashed_subpackets.clear();
    let good = sign(&key, b"data");
    // In a short packet: two bytes of its own header, then version, type, key algorithm, digest algorithm.
    let mut weak = good.clone();
    assert_eq!(weak[5], u8::from(HashAlgorithm::Sha256));
    weak[5] = HashAlgorithm::Sha1.into();
    let cases = [
        sign(&key, b"date"),
        sign(&primary(2), b"data"),
        [good.clone(), sign(&key, b"date")].concat(),
        DetachedSignature::new(certificate(&key).details.users[0].signatures[0].clone())
            .to_bytes()
            .unwrap(),
        sign_as(binary(BORN - 1, vec![]), &key, b"data"),
        weak,
        sign_as(critical, &key, b"data"),
        sign_as(nameless, &key, b"data"),
        good[..good.len() / 2].to_vec(),
        b"<html>404</html>".to_vec(),
        b"-----BEGIN PGP SIGNATURE-----\n\n".to_vec(),
        Vec::new(),
    ];
    let messages = cases.map(|signature| {
        keyring
            .verify_detached(b"data", &signature)
            .unwrap_err()
            .to_string()
    });
    insta::assert_snapshot!(messages.join("\n"), @"
    it has a wrong signature of the key 74FB18F50E5FA8A70325A3CAE608D76BF4BCDF2B: it does not fit the content
    it is signed by the key 1F727FE8F744238933B0CF17250058C74FC0BA78, which is not trusted here (trusted: 74FB18F50E5FA8A70325A3CAE608D76BF4BCDF2B)
    it has a wrong signature of the key 74FB18F50E5FA8A70325A3CAE608D76BF4BCDF2B: it does not fit the content
    it has a wrong signature of the key 74FB18F50E5FA8A70325A3CAE608D76BF4BCDF2B: it is made for another purpose
    it has a wrong signature of the key 74FB18F50E5FA8A70325A3CAE608D76BF4BCDF2B: it is older than the key
    it has a wrong signature of the key 74FB18F50E5FA8A70325A3CAE608D76BF4BCDF2B: its digest algorithm SHA1 is not safe
    it has a wrong signature of the key 74FB18F50E5FA8A70325A3CAE608D76BF4BCDF2B: it has a critical part that is not known
    it is signed by a key that the signature does not name (trusted: 74FB18F50E5FA8A70325A3CAE608D76BF4BCDF2B)
    it has a signature that cannot be read: IO error: PacketBodyReader errored
    it has a signature that cannot be read: IO error: unknown packet header version 111100
    it has a signature that cannot be read: IO error: not enough bytes in buffer: armor footer
    it is not signed
    ");
    let empty = Keyring::default()
        .verify_detached(b"data", &good)
        .unwrap_err();
    insta::assert_snapshot!(empty, @"it is signed by the key 74FB18F50E5FA8A70325A3CAE608D76BF4BCDF2B, which is not trusted here (trusted: no key)");
}

#[derive(Debug)]
struct RpmSigner(SecretKey);

impl rpm::signature::Signing for RpmSigner {
    type Signature = Vec<u8>;

    fn sign(&self, mut data: impl std::io::Read, _: rpm::Timestamp) -> Result<Vec<u8>, rpm::Error> {
        let mut bytes = Vec::new();
        data.read_to_end(&mut bytes)?;
        Ok(sign(&self.0, &bytes))
    }
}

fn build(signer: Option<u8>, config: rpm::BuildConfig) -> Vec<u8> {
    let mut builder = rpm::PackageBuilder::new("hello", "1.0", "MIT", "noarch", "Greets");
    let content: Vec<u8> = (0..100_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    builder
        .using_config(config.source_date(BORN))
        .with_file_contents(content, rpm::FileOptions::new("/hello"))
        .unwrap();
    let package = match signer {
        Some(seed) => builder.build_and_sign(RpmSigner(primary(seed))),
        None => builder.build(),
    };
    let mut bytes = Vec::new();
    package.unwrap().write(&mut bytes).unwrap();
    bytes
}

fn package(signer: Option<u8>) -> Vec<u8> {
    build(signer, rpm::BuildConfig::v4())
}

/// Signed by the key that a `Trial` trusts.
static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| package(Some(1)));

/// Where header and payload begin.
fn segments(package: &[u8]) -> (usize, usize) {
    let offsets = rpm::PackageMetadata::parse(&mut &package[..])
        .unwrap()
        .get_package_segment_offsets();
    (
        offsets.header.try_into().unwrap(),
        offsets.payload.try_into().unwrap(),
    )
}

struct Trial {
    folder: tempfile::TempDir,
    keyring: Keyring,
}

impl Trial {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            keyring: ring(&certificate(&primary(1))),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("hello.rpm")
    }

    fn verify(&self, package: &[u8]) -> Result<SignedBy, String> {
        crate::files::write_atomic(&self.path(), package).unwrap();
        let folder = self.folder.path().to_string_lossy().into_owned();
        self.keyring
            .verify_package(&self.path())
            .map_err(|error| error.to_string().replace(&folder, ""))
    }
}

fn flipped(package: &[u8], at: usize) -> Vec<u8> {
    let mut package = package.to_vec();
    package[at] ^= 1;
    package
}

#[test]
fn a_good_package_tells_who_signed_it() {
    let trial = Trial::new();
    for config in [rpm::BuildConfig::v4(), rpm::BuildConfig::v6()] {
        let signed_by = trial.verify(&build(Some(1), config)).unwrap();
        assert_eq!(
            (signed_by.fingerprint, signed_by.created),
            (fingerprint(&primary(1)), BORN + DAY)
        );
    }
}

#[test]
fn every_fault_of_a_package_has_its_own_message() {
    let trial = Trial::new();
    let good = &*GOOD;
    let (header, payload) = segments(good);
    let name = good
        .windows(5)
        .rposition(|window| window == b"Greet")
        .unwrap();
    assert!((header..payload).contains(&name));
    // A forger changes the header, and the digest beside it too.
    let mut forged = rpm::Package::parse(&mut &package(None)[..]).unwrap();
    let signature = sign(&primary(1), b"another header");
    forged.apply_signature(signature).unwrap();
    let mut forged_bytes = Vec::new();
    forged.write(&mut forged_bytes).unwrap();
    let cases = [
        flipped(good, name),
        flipped(good, payload + 10),
        good[..good.len() - 1].to_vec(),
        [good.clone(), vec![0]].concat(),
        package(None),
        package(Some(2)),
        forged_bytes,
        good[..payload - 1].to_vec(),
        good[..100].to_vec(),
        b"<html>404</html>".repeat(100),
        Vec::new(),
    ];
    let messages = cases.map(|package| trial.verify(&package).unwrap_err());
    // What a build gives differs with the versions of the packers.
    insta::with_settings!({filters => [(r"sha256:[0-9a-f]{64}", "sha256:…")]}, {
        insta::assert_snapshot!(messages.join("\n"), @"
        the package `/hello.rpm` is damaged: its header has sha256:…, expected sha256:…
        the package `/hello.rpm` is damaged: its payload has sha256:…, expected sha256:…
        the package `/hello.rpm` is damaged: its payload has sha256:…, expected sha256:…
        the package `/hello.rpm` is damaged: its payload has sha256:…, expected sha256:…
        the package `/hello.rpm` is not signed
        the package `/hello.rpm` is signed by the key 1F727FE8F744238933B0CF17250058C74FC0BA78, which is not trusted here (trusted: 74FB18F50E5FA8A70325A3CAE608D76BF4BCDF2B)
        the package `/hello.rpm` has a wrong signature of the key 74FB18F50E5FA8A70325A3CAE608D76BF4BCDF2B: it does not fit the content
        `/hello.rpm` is not a readable RPM package: the header at byte 4760 is cut off
        `/hello.rpm` is not a readable RPM package: the header at byte 96 is cut off
        `/hello.rpm` is not a readable RPM package: it does not begin as an RPM package does
        `/hello.rpm` is not a readable RPM package: it does not begin as an RPM package does
        ");
    });
    let missing = trial
        .keyring
        .verify_package(Path::new("/nowhere/hello.rpm"))
        .unwrap_err();
    insta::assert_snapshot!(missing, @"cannot read the package `/nowhere/hello.rpm`");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever a disk or a mirror does to a package: it is refused, and nothing panics.
    #[test]
    fn a_package_with_any_bytes_changed_is_refused(
        places in proptest::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let good = &*GOOD;
        let (header, _) = segments(good);
        let mut damaged = good.clone();
        // What is beside the signed parts (the lead, the reserved space) may change: rpm ignores it as well.
        let signed = header..good.len();
        for (place, change) in places {
            damaged[signed.start + place.index(signed.len())] ^= change;
        }
        if let Some(cut) = cut {
            damaged.truncate(cut.index(damaged.len()));
        }
        prop_assume!(damaged[signed.start.min(damaged.len())..] != good[signed.start..]);
        prop_assert!(Trial::new().verify(&damaged).is_err());
    }

    #[test]
    fn no_damage_to_the_signature_header_panics(place in any::<prop::sample::Index>(), change in 1..=255_u8) {
        let mut damaged = GOOD.clone();
        let (header, _) = segments(&damaged);
        damaged[place.index(header)] ^= change;
        let _either = Trial::new().verify(&damaged);
    }

    #[test]
    fn keys_and_signatures_of_any_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let source = KeySource { bytes: bytes.clone(), name: "x".to_owned(), fingerprints: vec![] };
        prop_assert!(Keyring::load(&[source]).is_err());
        prop_assert!(ring(&certificate(&primary(1))).verify_detached(b"x", &bytes).is_err());
    }
}
