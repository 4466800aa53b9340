//! Signatures of RPM packages: the signature covers the header, the header names the payload's digest.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use pgp::packet::{Packet, PacketParser, Signature, SignatureType};
use rpm::{IndexSignatureTag, IndexTag, PackageMetadata};

use super::{Keyring, KeyringError, SignatureFault, SignedBy};
use crate::digest::Digest;
use crate::rpm::{HeaderError, read_headers};

/// Bytes read at once.
const CHUNK: usize = 256 << 10;

impl Keyring {
    /// Checks that a trusted key signed the package at `path`, and that all of it is as it was signed.
    ///
    /// The header is held in memory, the payload is not. Of several signatures one by a trusted
    /// key must be good, and none by a trusted key bad.
    pub fn verify_package(&self, path: &Path) -> Result<SignedBy, KeyringError> {
        let unreadable = |source| KeyringError::Io {
            path: path.to_owned(),
            source,
        };
        let faulty = |fault| KeyringError::Package {
            path: path.to_owned(),
            fault,
        };
        let malformed = |why: String| KeyringError::NotAPackage {
            path: path.to_owned(),
            why,
        };
        let file = File::open(path).map_err(unreadable)?;
        let mut reader = BufReader::with_capacity(CHUNK, file);
        let headers = read_headers(&mut reader).map_err(|error| match error {
            HeaderError::Read { source, .. } => unreadable(source),
            damage => malformed(damage.to_string()),
        })?;
        let metadata = PackageMetadata::parse(&mut headers.as_slice())
            .map_err(|error| malformed(describe(&error)))?;
        let offsets = metadata.get_package_segment_offsets();
        let header = usize::try_from(offsets.header).map_or(&[][..], |from| &headers[from..]);
        // What is signed are bytes; what is used later is what a parser made of them.
        if metadata
            .header_bytes()
            .map_err(|error| malformed(describe(&error)))?
            != header
        {
            return Err(malformed("its header is not in the usual form".to_owned()));
        }
        check_header(&metadata, header).map_err(faulty)?;
        let signatures = signatures(&metadata).map_err(faulty)?;
        let signed_by = self
            .verify(&signatures, &[SignatureType::Binary], header)
            .map_err(faulty)?;
        let (actual, _length) = Digest::of_reader(&mut reader).map_err(unreadable)?;
        check_payload(&metadata, actual).map_err(faulty)?;
        Ok(signed_by)
    }
}

fn describe(error: &rpm::Error) -> String {
    match error {
        rpm::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it is cut short".to_owned()
        }
        // The crate's text holds all of the file's beginning.
        rpm::Error::InvalidMagic { .. } => "it does not begin like one".to_owned(),
        other => other.to_string(),
    }
}

/// The digest beside the header: it tells damage from forgery.
fn check_header(metadata: &PackageMetadata, header: &[u8]) -> Result<(), SignatureFault> {
    let Ok(expected) = metadata
        .signature
        .get_entry_data_as_string(IndexSignatureTag::RPMSIGTAG_SHA256)
    else {
        return Ok(());
    };
    compare("header", expected, Digest::of(header))
}

/// The digest in the (signed) header. Packages of rpm older than 4.14 have none.
fn check_payload(metadata: &PackageMetadata, actual: Digest) -> Result<(), SignatureFault> {
    let expected = metadata
        .header
        .get_entry_data_as_string_array(IndexTag::RPMTAG_PAYLOADSHA256);
    match expected.ok().as_deref() {
        Some([expected]) => compare("payload", expected, actual),
        _ => Err(SignatureFault::Uncovered(
            "its header does not name the payload's SHA-256",
        )),
    }
}

fn compare(part: &'static str, expected: &str, actual: Digest) -> Result<(), SignatureFault> {
    if expected.parse() == Ok(actual) {
        return Ok(());
    }
    Err(SignatureFault::Damaged {
        part,
        expected: format!("sha256:{}", expected.escape_debug()),
        actual,
    })
}

/// The signatures of the header.
fn signatures(metadata: &PackageMetadata) -> Result<Vec<Signature>, SignatureFault> {
    let raw = metadata
        .raw_signatures()
        .map_err(|error| SignatureFault::Unreadable(describe(&error)))?;
    let mut found = Vec::with_capacity(raw.len());
    for bytes in raw {
        for packet in PacketParser::new(&bytes[..]) {
            match packet {
                Ok(Packet::Signature(signature)) => found.push(signature),
                Ok(_) => {
                    return Err(SignatureFault::Unreadable(
                        "it holds something else".to_owned(),
                    ));
                }
                Err(error) => return Err(SignatureFault::Unreadable(error.to_string())),
            }
        }
    }
    Ok(found)
}
