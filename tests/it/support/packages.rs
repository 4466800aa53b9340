//! Packages and repositories that a test makes itself, signed by a key of its own.

use std::path::{Path, PathBuf};

use pgp::composed::{ArmorOptions, DetachedSignature, SignedKeyDetails, SignedPublicKey};
use pgp::crypto::ed25519::{Mode, SecretKey as Ed25519};
use pgp::crypto::eddsa_legacy;
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::packet::{
    KeyFlags, PubKeyInner, PublicKey, SecretKey, SignatureConfig, SignatureType, Subpacket,
    SubpacketData, UserId,
};
use pgp::types::{
    KeyDetails as _, KeyVersion, PacketHeaderVersion, Password, PlainSecretParams, PublicParams,
    SecretParams, SignedUser, Tag, Timestamp,
};
use pristine::digest::Digest;
use rpm::{BuildConfig, CompressionType, PackageBuilder};

/// When the packages and signatures are made.
const TIME: u32 = 1_700_000_000;

/// An OpenPGP key.
pub(crate) struct Key {
    secret: SecretKey,
}

impl Key {
    /// The same key for the same seed.
    pub(crate) fn new(seed: u8) -> Self {
        let raw = Ed25519::try_from_bytes([seed; 32], Mode::EdDSALegacy).unwrap();
        let public = PublicParams::EdDSALegacy((&raw).into());
        let inner = PubKeyInner::new(
            KeyVersion::V4,
            PublicKeyAlgorithm::EdDSALegacy,
            Timestamp::from_secs(TIME),
            None,
            public,
        )
        .unwrap();
        let secret = PlainSecretParams::EdDSALegacy(eddsa_legacy::SecretKey::Ed25519(raw));
        let public = PublicKey::from_inner(inner).unwrap();
        Self {
            secret: SecretKey::new(public, SecretParams::Plain(secret)).unwrap(),
        }
    }

    pub(crate) fn fingerprint(&self) -> String {
        format!("{:X}", self.secret.fingerprint())
    }

    fn config(&self, kind: SignatureType, more: Vec<SubpacketData>) -> SignatureConfig {
        let mut config = SignatureConfig::v4(kind, self.secret.algorithm(), HashAlgorithm::Sha256);
        let named = [
            SubpacketData::SignatureCreationTime(Timestamp::from_secs(TIME)),
            SubpacketData::IssuerFingerprint(self.secret.fingerprint()),
        ];
        let all = named.into_iter().chain(more);
        config.hashed_subpackets = all.map(|data| Subpacket::regular(data).unwrap()).collect();
        let issuer = SubpacketData::IssuerKeyId(self.secret.legacy_key_id());
        config.unhashed_subpackets = vec![Subpacket::regular(issuer).unwrap()];
        config
    }

    /// The public half, in ASCII armor.
    pub(crate) fn armored(&self) -> String {
        let user = UserId::from_str(PacketHeaderVersion::New, "Test <test@example.org>").unwrap();
        let mut flags = KeyFlags::default();
        flags.set_certify(true);
        flags.set_sign(true);
        let public = self.secret.public_key();
        let own = self
            .config(
                SignatureType::CertPositive,
                vec![SubpacketData::KeyFlags(flags)],
            )
            .sign_certification(&self.secret, public, &Password::empty(), Tag::UserId, &user)
            .unwrap();
        let users = vec![SignedUser::new(user, vec![own])];
        let details = SignedKeyDetails::new(vec![], vec![], users, vec![]);
        SignedPublicKey::new(public.clone(), details, vec![])
            .to_armored_string(ArmorOptions::default())
            .unwrap()
    }

    fn sign(&self, data: &[u8]) -> String {
        let signature = self
            .config(SignatureType::Binary, vec![])
            .sign(&self.secret, &Password::empty(), data)
            .unwrap();
        DetachedSignature::new(signature)
            .to_armored_string(ArmorOptions::default())
            .unwrap()
    }
}

/// A package without files, to add to; its payload is not compressed.
pub(crate) fn package(name: &str, version: &str) -> PackageBuilder {
    let mut builder = PackageBuilder::new(name, version, "MIT", "noarch", "a package for tests");
    builder.using_config(
        BuildConfig::v4()
            .compression(CompressionType::None)
            .source_date(TIME),
    );
    builder
}

/// How metadata is compressed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

impl Packing {
    fn pack(self, bytes: &[u8]) -> (&'static str, Vec<u8>) {
        use std::io::Write as _;
        match self {
            Self::Plain => ("", bytes.to_vec()),
            Self::Gzip => {
                let level = flate2::Compression::fast();
                let mut gzip = flate2::write::GzEncoder::new(Vec::new(), level);
                gzip.write_all(bytes).unwrap();
                (".gz", gzip.finish().unwrap())
            }
            Self::Bzip2 => {
                let level = bzip2::Compression::fast();
                let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), level);
                bzip2.write_all(bytes).unwrap();
                (".bz2", bzip2.finish().unwrap())
            }
            Self::Xz => {
                let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
                xz.write_all(bytes).unwrap();
                (".xz", xz.finish().unwrap())
            }
            Self::Zstd => (".zst", zstd::encode_all(bytes, 3).unwrap()),
        }
    }
}

/// Which checksums metadata has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sums {
    Sha256,
    Sha512,
}

impl Sums {
    fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn hex(self, bytes: &[u8]) -> String {
        match self {
            Self::Sha256 => Digest::of(bytes).hex(),
            Self::Sha512 => {
                let sum = pristine::repository::Checksum::sha512_of(&mut &*bytes).unwrap();
                sum.to_string().trim_start_matches("sha512:").to_owned()
            }
        }
    }
}

/// A repository in a folder, and the key that signs it.
pub(crate) struct Repository {
    pub(crate) folder: PathBuf,
    pub(crate) key: Key,
}

impl Repository {
    /// An empty one, published.
    pub(crate) fn new(folder: &Path, seed: u8) -> Self {
        fs_err::create_dir_all(folder).unwrap();
        let repository = Self {
            folder: folder.to_owned(),
            key: Key::new(seed),
        };
        fs_err::write(folder.join("KEY"), repository.key.armored()).unwrap();
        repository.publish();
        repository
    }

    /// Puts a package signed by `key` into the folder; `publish` makes it known.
    pub(crate) fn add_signed_by(&self, builder: &mut PackageBuilder, key: &Key) -> PathBuf {
        let signer = rpm::signature::pgp::Signer::new(key.secret.clone()).unwrap();
        let package = builder.build_and_sign(signer).unwrap();
        self.put(&package)
    }

    /// Puts a package into the folder.
    pub(crate) fn add(&self, builder: &mut PackageBuilder) -> PathBuf {
        self.add_signed_by(builder, &self.key)
    }

    /// Puts a package without any signature into the folder.
    pub(crate) fn add_unsigned(&self, builder: &mut PackageBuilder) -> PathBuf {
        self.put(&builder.build().unwrap())
    }

    fn put(&self, package: &rpm::Package) -> PathBuf {
        let nevra = package.metadata.get_nevra().unwrap();
        let path = self.folder.join(format!(
            "{}-{}-{}.{}.rpm",
            nevra.name(),
            nevra.version(),
            nevra.release(),
            nevra.arch()
        ));
        package.write_file(&path).unwrap();
        path
    }

    /// Writes the metadata of the packages in the folder, and signs it.
    pub(crate) fn publish(&self) {
        let mut packages: Vec<PathBuf> = fs_err::read_dir(&self.folder)
            .unwrap()
            .map(|entry| PathBuf::from(entry.unwrap().file_name()))
            .filter(|name| name.extension().is_some_and(|extension| extension == "rpm"))
            .collect();
        packages.sort();
        pristine::repository::write(&self.folder, &packages, TIME.into()).unwrap();
        self.sign();
    }

    /// Lets `change` replace bytes of a published package, and the metadata say that this is how it must be.
    pub(crate) fn change(&self, package: &Path, change: impl FnOnce(&Path)) {
        let digest = |path: &Path| Digest::of(&fs_err::read(path).unwrap()).hex();
        let before = digest(package);
        change(package);
        let repodata = self.folder.join("repodata");
        let entries = fs_err::read_dir(&repodata).unwrap();
        let old = entries
            .map(|entry| entry.unwrap().path())
            .find(|path| path.to_str().unwrap().ends_with("-primary.xml.zst"))
            .unwrap();
        let packed = fs_err::read(&old).unwrap();
        let text = String::from_utf8(zstd::decode_all(&*packed).unwrap()).unwrap();
        let changed = text.replace(&before, &digest(package));
        let repacked = zstd::encode_all(changed.as_bytes(), 3).unwrap();
        let hex = |bytes: &[u8]| Digest::of(bytes).hex();
        let size = |bytes: &[u8]| format!("<size>{}</size>", bytes.len());
        let name = format!("{}-primary.xml.zst", hex(&repacked));
        fs_err::write(repodata.join(name), &repacked).unwrap();
        let repomd = repodata.join("repomd.xml");
        let said = fs_err::read_to_string(&repomd)
            .unwrap()
            .replace(&hex(&packed), &hex(&repacked))
            .replace(&hex(text.as_bytes()), &hex(changed.as_bytes()))
            .replace(&size(&packed), &size(&repacked));
        fs_err::write(&repomd, said).unwrap();
        self.sign();
    }

    /// Adds a metadata file of the type `kind` to what is published; its name tells how it is compressed.
    pub(crate) fn attach(&self, kind: &str, name: &str, bytes: &[u8]) {
        let repodata = self.folder.join("repodata");
        fs_err::write(repodata.join(name), bytes).unwrap();
        let record = format!(
            "<data type=\"{kind}\"><checksum type=\"sha256\">{}</checksum><location href=\"repodata/{name}\"/>\
             <timestamp>{TIME}</timestamp><size>{}</size></data></repomd>",
            Digest::of(bytes).hex(),
            bytes.len()
        );
        let repomd = repodata.join("repomd.xml");
        let said = fs_err::read_to_string(&repomd).unwrap();
        fs_err::write(&repomd, said.replace("</repomd>", &record)).unwrap();
        self.sign();
    }

    /// Writes the metadata anew with another compression and other checksums, and signs it.
    pub(crate) fn reshape(&self, packing: Packing, sums: Sums) {
        let repodata = self.folder.join("repodata");
        let mut records = String::new();
        for kind in ["primary", "filelists"] {
            let found = fs_err::read_dir(&repodata).unwrap();
            let old = found
                .map(|entry| entry.unwrap().path())
                .find(|path| {
                    path.to_str()
                        .unwrap()
                        .ends_with(&format!("-{kind}.xml.zst"))
                })
                .unwrap();
            let text = zstd::decode_all(&*fs_err::read(old).unwrap()).unwrap();
            let mut text = String::from_utf8(text).unwrap();
            for entry in fs_err::read_dir(&self.folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    let bytes = fs_err::read(&path).unwrap();
                    text = text.replace(&Digest::of(&bytes).hex(), &sums.hex(&bytes));
                }
            }
            let plain = format!("type=\"{}\" pkgid", sums.name());
            let text = text.replace("type=\"sha256\" pkgid", &plain);
            let (suffix, bytes) = packing.pack(text.as_bytes());
            let hex = sums.hex(&bytes);
            let place = format!("{hex}-{kind}.xml{suffix}");
            records.extend([format!(
                "<data type=\"{kind}\"><checksum type=\"{0}\">{hex}</checksum><open-checksum type=\"{0}\">{1}</open-checksum>\
                 <location href=\"repodata/{place}\"/><timestamp>{TIME}</timestamp><size>{2}</size><open-size>{3}</open-size></data>\n",
                sums.name(),
                sums.hex(text.as_bytes()),
                bytes.len(),
                text.len()
            )]);
            fs_err::write(repodata.join(place), bytes).unwrap();
        }
        let repomd = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<repomd xmlns=\"http://linux.duke.edu/metadata/repo\" \
             xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\">\n<revision>{TIME}</revision>\n<tags><content>OBS-1</content></tags>\n{records}</repomd>\n"
        );
        fs_err::write(repodata.join("repomd.xml"), repomd).unwrap();
        self.sign();
    }

    /// Signs `repomd.xml` as it is.
    pub(crate) fn sign(&self) {
        let repodata = self.folder.join("repodata");
        let repomd = fs_err::read(repodata.join("repomd.xml")).unwrap();
        fs_err::write(repodata.join("repomd.xml.asc"), self.key.sign(&repomd)).unwrap();
    }

    /// The `[[repository]]` of a template; the folder lies in the project under this name.
    pub(crate) fn table(&self) -> String {
        let name = self.folder.file_name().unwrap().to_str().unwrap();
        format!(
            "[[repository]]\nname = \"{name}\"\nbaseurl = [\"./{name}\"]\n\
             keys = [{{ file = \"{name}/KEY\", fingerprint = \"{}\" }}]\n",
            self.key.fingerprint()
        )
    }
}

/// Replaces every `from` in a package's bytes by `to`, which has the same length.
pub(crate) fn forge(package: &Path, from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let mut bytes = fs_err::read(package).unwrap();
    let places: Vec<usize> = (0..=bytes.len() - from.len())
        .filter(|at| bytes[*at..].starts_with(from.as_bytes()))
        .collect();
    assert!(!places.is_empty(), "{from} is not in the package");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    fs_err::write(package, bytes).unwrap();
}
