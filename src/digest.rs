//! SHA-256, the one digest by which everything is named.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::digest::common::hazmat::{SerializableState as _, SerializedState};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// A SHA-256 digest. Its text form is `sha256:` and 64 lower-case hex digits, as in OCI.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest([u8; 32]);

/// Text that is not a SHA-256 digest.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "`{text}` is not a SHA-256 digest: expected 64 hexadecimal digits, with or without `sha256:` before them"
)]
pub struct DigestError {
    text: String,
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest and the length of all that `reader` gives.
    pub fn of_reader(reader: &mut impl Read) -> io::Result<(Self, u64)> {
        let mut sink = HashingWriter::new(io::sink());
        let length = io::copy(reader, &mut sink)?;
        Ok((sink.finish().1, length))
    }

    /// The 64 lower-case hex digits alone: the form of file names in the store.
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        self.0
            .iter()
            .fold(String::with_capacity(64), |mut text, byte| {
                let _infallible = write!(text, "{byte:02x}");
                text
            })
    }

    /// The first twelve hex digits, for messages and folder names that people read.
    pub fn short(&self) -> String {
        self.hex()[..12].to_owned()
    }

    /// The raw 32 bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let error = || DigestError {
            text: text.to_owned(),
        };
        let hex = text.strip_prefix("sha256:").unwrap_or(text).as_bytes();
        if hex.len() != 64 {
            return Err(error());
        }
        let digit = |digit: u8| {
            char::from(digit)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            let high = digit(pair[0]).ok_or_else(error)?;
            *byte = high << 4 | digit(pair[1]).ok_or_else(error)?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// Where the hashing of something stands after its first bytes: it can go on from there, elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    state: Vec<u8>,
    length: u64,
}

impl Standing {
    /// Bytes that came so far.
    pub fn length(&self) -> u64 {
        self.length
    }
}

/// A writer that hashes all that passes through it.
pub struct HashingWriter<W> {
    inner: W,
    hasher: Sha256,
    length: u64,
}

impl<W> fmt::Debug for HashingWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashingWriter")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl<W: Write> HashingWriter<W> {
    /// Hashes what goes to `inner`.
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            length: 0,
        }
    }

    /// Goes on from where another stood; not from what cannot be understood.
    pub fn resume(inner: W, standing: &Standing) -> Option<Self> {
        let state = SerializedState::<Sha256>::try_from(&*standing.state).ok()?;
        Some(Self {
            inner,
            hasher: Sha256::deserialize(&state).ok()?,
            length: standing.length,
        })
    }

    /// Where it stands.
    pub fn standing(&self) -> Standing {
        Standing {
            state: self.hasher.serialize().to_vec(),
            length: self.length,
        }
    }

    /// Bytes that went through so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The digest of all that went through so far.
    pub fn digest(&self) -> Digest {
        Digest(self.hasher.clone().finalize().into())
    }

    /// The inner writer and the digest of all that went through.
    pub fn finish(self) -> (W, Digest) {
        (self.inner, Digest(self.hasher.finalize().into()))
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        let digest = Digest::of(b"abc");
        assert_eq!(
            digest.to_string(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(digest.hex().to_uppercase().parse(), Ok(digest));
    }

    #[test]
    fn hashing_goes_on_from_where_another_stood() {
        let bytes: Vec<u8> = (0..1000_u32).map(|at| at.to_le_bytes()[0]).collect();
        for cut in [0, 1, 63, 64, 65, 512, 1000] {
            let mut first = HashingWriter::new(io::sink());
            first.write_all(&bytes[..cut]).unwrap();
            let standing = first.standing();
            assert_eq!(standing.length(), cut as u64);
            let mut second = HashingWriter::resume(io::sink(), &standing).unwrap();
            second.write_all(&bytes[cut..]).unwrap();
            assert_eq!(
                (second.length(), second.finish().1),
                (1000, Digest::of(&bytes))
            );
        }
        let wrong = Standing {
            state: vec![0; 3],
            length: 3,
        };
        assert!(HashingWriter::resume(io::sink(), &wrong).is_none());
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "sha256:",
            "abc",
            &"g".repeat(64),
            &"+1".repeat(32),
            &"0".repeat(63),
            &"é".repeat(32),
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
