//! Ed25519 keys as `openssl` and `ssh-keygen` make them.
//!
//! Whatever file a key comes from, its id is its SSH fingerprint, as `ssh-keygen -lf` prints it, and what it
//! signs is signed in the same way.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use thiserror::Error;

use super::{StatementError, read};
use crate::words::clean;

/// All of an Ed25519 key's `SubjectPublicKeyInfo` but the key itself (RFC 8410): there is no other form of it.
const SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// How SSH names Ed25519 keys.
const SSH_ED25519: &str = "ssh-ed25519";

/// The namespace that a line of `allowed_signers` must name, where it names any.
const NAMESPACE: &str = "in-toto";

/// Why a key cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// It is protected by a passphrase.
    #[error("it is encrypted, and nothing is asked for while packages are built")]
    Encrypted,
    /// It is the other half.
    #[error("it is a public key, and signing takes the private one")]
    Public,
    /// It is the other half.
    #[error("it is a private key, and checking takes the public one")]
    Private,
    /// It is a key of another algorithm.
    #[error("it is a key for {0}; only Ed25519 is used here")]
    Algorithm(String),
    /// It is a key, and damaged.
    #[error("it is damaged")]
    Damaged,
    /// It is not a key.
    #[error("it is neither a PEM file nor a key of OpenSSH")]
    Unknown,
    /// A file of allowed signers has no line that counts.
    #[error(
        "no line of it allows an Ed25519 key to sign statements ({skipped} lines are passed over)"
    )]
    NobodyAllowed {
        /// How many lines say something else.
        skipped: usize,
    },
}

/// A key that signs.
#[derive(Debug)]
pub struct SigningKey {
    pair: Ed25519KeyPair,
    id: String,
}

impl SigningKey {
    /// Reads a private key: PKCS#8 in PEM, or OpenSSH's own form.
    pub fn load(path: &Path) -> Result<Self, StatementError> {
        let bytes = read(path)?;
        let key = Self::parse(&bytes);
        key.map_err(|source| StatementError::Key {
            path: path.to_owned(),
            source,
        })
    }

    fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
        let pair = match label(bytes) {
            Some("PRIVATE KEY") => pkcs8(bytes)?,
            Some("OPENSSH PRIVATE KEY") => openssh(bytes)?,
            Some("PUBLIC KEY" | "SSH2 PUBLIC KEY") => return Err(KeyError::Public),
            Some(label) if label.contains("ENCRYPTED") => return Err(KeyError::Encrypted),
            Some(label) => return Err(KeyError::Algorithm(told(label))),
            None if ssh_line(bytes) == Err(KeyError::Unknown) => return Err(KeyError::Unknown),
            None => return Err(KeyError::Public),
        };
        let id = fingerprint(pair.public_key().as_ref());
        Ok(Self { pair, id })
    }

    /// Its fingerprint.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its signature over `bytes`.
    pub(super) fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.pair.sign(bytes).as_ref().to_vec()
    }
}

/// A key that checks signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: [u8; 32],
    id: String,
    /// Whose it is, as the file that it comes from says; often nothing.
    pub owner: String,
}

impl PublicKey {
    /// Reads a public key: PEM, or a line as in `id_ed25519.pub`.
    pub fn load(path: &Path) -> Result<Self, StatementError> {
        let bytes = read(path)?;
        let key = Self::parse(&bytes);
        key.map_err(|source| StatementError::Key {
            path: path.to_owned(),
            source,
        })
    }

    fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
        match label(bytes) {
            Some("PUBLIC KEY") => spki(bytes),
            Some(label) if label.contains("PRIVATE KEY") => Err(KeyError::Private),
            Some(label) => Err(KeyError::Algorithm(told(label))),
            None => ssh_line(bytes),
        }
    }

    fn new(key: &[u8], owner: String) -> Result<Self, KeyError> {
        let key: [u8; 32] = key.try_into().map_err(|_| KeyError::Damaged)?;
        let id = fingerprint(&key);
        Ok(Self { key, id, owner })
    }

    /// Its fingerprint.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, &self.key);
        key.verify(message, signature).is_ok()
    }
}

/// The keys of an `allowed_signers` file of OpenSSH that may sign statements: lines of Ed25519 keys without
/// options, or with the one option `namespaces` where that names `in-toto`. Any other option (a certificate
/// authority, a time) makes a line count for nothing.
pub fn allowed_signers(path: &Path) -> Result<Vec<PublicKey>, StatementError> {
    let bytes = read(path)?;
    let key = |source| StatementError::Key {
        path: path.to_owned(),
        source,
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| key(KeyError::Unknown))?;
    let lines = text.lines().map(str::trim);
    let lines: Vec<&str> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let allowed: Vec<PublicKey> = lines.iter().filter_map(|line| allowed(line)).collect();
    if allowed.is_empty() {
        let skipped = lines.len();
        return Err(key(KeyError::NobodyAllowed { skipped }));
    }
    Ok(allowed)
}

fn allowed(line: &str) -> Option<PublicKey> {
    let (principals, rest) = line.split_once([' ', '\t'])?;
    let rest = rest.trim_start();
    let rest = if rest.starts_with(SSH_ED25519) {
        rest
    } else {
        let (option, rest) = rest.split_once([' ', '\t'])?;
        let (name, value) = option.split_once('=')?;
        let mut names = value.strip_prefix('"')?.strip_suffix('"')?.split(',');
        let counts = name.eq_ignore_ascii_case("namespaces") && names.any(|name| name == NAMESPACE);
        counts.then_some(rest.trim_start())?
    };
    let mut key = ssh_line(rest.as_bytes()).ok()?;
    principals.clone_into(&mut key.owner);
    Some(key)
}

/// The fingerprint of a key, as `ssh-keygen -lf` prints it.
fn fingerprint(key: &[u8]) -> String {
    let data = ssh_key::public::KeyData::Ed25519(ssh_key::public::Ed25519PublicKey(
        key.try_into().unwrap_or_default(),
    ));
    data.fingerprint(ssh_key::HashAlg::Sha256).to_string()
}

/// What a PEM file says that it is.
fn label(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (_, rest) = text.split_once("-----BEGIN ")?;
    Some(rest.split_once("-----")?.0)
}

fn told(label: &str) -> String {
    let short: String = label.chars().take(40).collect();
    format!("`{}`", clean(&short, false))
}

fn pkcs8(bytes: &[u8]) -> Result<Ed25519KeyPair, KeyError> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(bytes).map_err(|_| KeyError::Damaged)?;
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der()).map_err(|error| match error
        .to_string()
        .as_str()
    {
        "WrongAlgorithm" => KeyError::Algorithm("another algorithm".to_owned()),
        _ => KeyError::Damaged,
    })
}

fn openssh(bytes: &[u8]) -> Result<Ed25519KeyPair, KeyError> {
    let key = ssh_key::PrivateKey::from_openssh(bytes).map_err(|_| KeyError::Damaged)?;
    if key.is_encrypted() {
        return Err(KeyError::Encrypted);
    }
    let Some(pair) = key.key_data().ed25519() else {
        return Err(KeyError::Algorithm(told(key.algorithm().as_str())));
    };
    let (seed, public) = (pair.private.to_bytes(), pair.public.0);
    Ed25519KeyPair::from_seed_and_public_key(&seed, &public).map_err(|_| KeyError::Damaged)
}

fn spki(bytes: &[u8]) -> Result<PublicKey, KeyError> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(bytes).map_err(|_| KeyError::Damaged)?;
    match der.strip_prefix(&SPKI) {
        Some(key) => PublicKey::new(key, String::new()),
        None => Err(KeyError::Algorithm("another algorithm".to_owned())),
    }
}

/// A line as in `id_ed25519.pub`.
fn ssh_line(bytes: &[u8]) -> Result<PublicKey, KeyError> {
    let text = std::str::from_utf8(bytes).map_err(|_| KeyError::Unknown)?;
    let mut words = text.trim().splitn(3, [' ', '\t']);
    let (Some(kind), Some(data)) = (words.next(), words.next()) else {
        return Err(KeyError::Unknown);
    };
    let known = ["ssh-", "ecdsa-", "sk-"];
    if kind != SSH_ED25519 {
        return Err(
            if known.iter().any(|known| kind.starts_with(known)) && kind.len() < 60 {
                KeyError::Algorithm(told(kind))
            } else {
                KeyError::Unknown
            },
        );
    }
    let data = STANDARD.decode(data).map_err(|_| KeyError::Damaged)?;
    let key = ssh_key::PublicKey::from_bytes(&data).map_err(|_| KeyError::Damaged)?;
    let key = key.key_data().ed25519().ok_or(KeyError::Damaged)?;
    let owner = words.next().unwrap_or_default();
    PublicKey::new(&key.0, clean(owner, false))
}

/// Keys for tests of this module.
#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A key pair from one byte.
    fn from(seed: u8) -> (SigningKey, PublicKey) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public = PublicKey::new(pair.public_key().as_ref(), String::new()).unwrap();
        let id = public.id.clone();
        (SigningKey { pair, id }, public)
    }

    /// A key pair.
    pub(in crate::statement) fn pair() -> (SigningKey, PublicKey) {
        from(7)
    }

    /// Another one.
    pub(in crate::statement) fn other() -> (SigningKey, PublicKey) {
        from(8)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Made by `openssl genpkey -algorithm ed25519` for this test alone.
    const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\n-----END PRIVATE KEY-----\n";

    fn refused(bytes: &str) -> String {
        let sign = SigningKey::parse(bytes.as_bytes()).map(|key| key.id);
        let check = PublicKey::parse(bytes.as_bytes()).map(|key| key.id);
        let text = |result: Result<String, KeyError>| match result {
            Ok(id) => id,
            Err(error) => error.to_string(),
        };
        format!("sign: {}\ncheck: {}", text(sign), text(check))
    }

    #[test]
    fn what_is_no_usable_key_is_told() {
        let wrap = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        let texts = [
            PEM.to_owned(),
            wrap("PRIVATE KEY"),
            wrap("ENCRYPTED PRIVATE KEY"),
            wrap("ENCRYPTED SIGSTORE PRIVATE KEY"),
            wrap("EC PRIVATE KEY"),
            wrap("OPENSSH PRIVATE KEY"),
            wrap("PUBLIC KEY"),
            "ssh-rsa AAAA me".to_owned(),
            "ssh-ed25519 AAAA me".to_owned(),
            "format = 1\n".to_owned(),
            String::new(),
        ];
        insta::assert_snapshot!(texts.map(|text| refused(&text)).join("\n"), @"
        sign: SHA256:z/fSv0Z0RZS+Lccbc6ZoOWwt/fbj1VFJGSBKQbo4icE
        check: it is a private key, and checking takes the public one
        sign: it is damaged
        check: it is a private key, and checking takes the public one
        sign: it is encrypted, and nothing is asked for while packages are built
        check: it is a private key, and checking takes the public one
        sign: it is encrypted, and nothing is asked for while packages are built
        check: it is a private key, and checking takes the public one
        sign: it is a key for `EC PRIVATE KEY`; only Ed25519 is used here
        check: it is a private key, and checking takes the public one
        sign: it is damaged
        check: it is a private key, and checking takes the public one
        sign: it is a public key, and signing takes the private one
        check: it is a key for another algorithm; only Ed25519 is used here
        sign: it is a public key, and signing takes the private one
        check: it is a key for `ssh-rsa`; only Ed25519 is used here
        sign: it is a public key, and signing takes the private one
        check: it is damaged
        sign: it is neither a PEM file nor a key of OpenSSH
        check: it is neither a PEM file nor a key of OpenSSH
        sign: it is neither a PEM file nor a key of OpenSSH
        check: it is neither a PEM file nor a key of OpenSSH
        ");
    }

    #[test]
    fn one_key_has_one_id_whatever_file_it_comes_from() {
        let key = SigningKey::parse(PEM.as_bytes()).unwrap();
        assert_eq!(key.id(), testing::pair().0.id());
        let mut blob = Vec::new();
        for part in [SSH_ED25519.as_bytes(), key.pair.public_key().as_ref()] {
            blob.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
            blob.extend(part);
        }
        let line = format!("{SSH_ED25519} {} me@here", STANDARD.encode(blob));
        let public = PublicKey::parse(line.as_bytes()).unwrap();
        assert_eq!((public.id(), public.owner.as_str()), (key.id(), "me@here"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("allowed_signers");
        let allowed = |text: &str| {
            fs_err::write(&path, text.replace("LINE", &line)).unwrap();
            allowed_signers(&path).map(|keys| keys[0].owner.clone())
        };
        for good in [
            "ci@example LINE",
            "# c\n\nci@example namespaces=\"git,in-toto\" LINE",
        ] {
            assert_eq!(allowed(good).unwrap(), "ci@example");
        }
        for bad in [
            "LINE",
            "ci@example namespaces=\"git\" LINE",
            "ci@example cert-authority LINE",
            "ci@example valid-before=\"20200101\" LINE",
        ] {
            assert!(allowed(bad).is_err(), "{bad}");
        }
        let error = allowed("ci@example namespaces=\"git\" LINE").unwrap_err();
        let message = std::error::Error::source(&error).unwrap().to_string();
        insta::assert_snapshot!(message, @"no line of it allows an Ed25519 key to sign statements (1 lines are passed over)");
    }

    proptest! {
        #[test]
        fn no_file_is_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0_usize..150, with in any::<u8>()) {
            let mut pem = PEM.as_bytes().to_vec();
            if let Some(byte) = pem.get_mut(at) {
                *byte = with;
            }
            for bytes in [bytes, pem] {
                let _any = SigningKey::parse(&bytes);
                let _any = PublicKey::parse(&bytes);
            }
        }
    }
}
