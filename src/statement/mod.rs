//! What others can check: in-toto statements of what each package was made from, in signed envelopes
//! (`docs/statements.md`).
//!
//! A statement is made of the record of a run and its lock, never of what a build says of itself. What is read
//! here (envelopes, keys, records) comes from anybody: it is bounded, and no part of it is believed before its
//! signature was checked.

mod check;
mod descriptor;
mod envelope;
pub mod export;
mod key;
mod provenance;
mod run;
pub mod sbom;

use std::path::{Path, PathBuf};

use thiserror::Error;

pub use check::{Checked, Expected, Problem, check};
pub use descriptor::Descriptor;
pub use envelope::{Envelope, PAYLOAD_TYPE};
pub use key::{KeyError, PublicKey, SigningKey, allowed_signers};
pub use provenance::{BUILD_TYPE, BUILDER, PREDICATE_TYPE, STATEMENT_TYPE, Statement, url};
pub use run::{FOLDER, Source, Written, digest, output, write};

/// The largest statement, envelope or key file that is read, bytes.
const LIMIT: u64 = 64 << 20;

/// Why statements could not be made or read.
#[derive(Debug, Error)]
pub enum StatementError {
    /// The file system refused.
    #[error("cannot {doing} `{}`", path.display())]
    File {
        /// To read after "cannot".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Its cause.
        source: std::io::Error,
    },
    /// It is larger than anything that is read here.
    #[error("`{}` has more than {LIMIT} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A key cannot be used.
    #[error("cannot use the key `{}`", path.display())]
    Key {
        /// The key's file.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
    /// The record names a file or a package in a way that no run of this program does.
    #[error("the record names `{name}`, which is not in the run's folder")]
    Outside {
        /// What it names.
        name: String,
    },
    /// What the run's folder has is not what its record says.
    #[error("`{}` is not what the record says: expected {expected}, found {found}", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// The record's digest.
        expected: String,
        /// Its own.
        found: String,
    },
    /// It cannot be written as JSON.
    #[error("cannot write the statement of `{package}`")]
    Json {
        /// The package.
        package: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// All bytes of a file, as far as it is not too large.
pub fn read(path: &Path) -> Result<Vec<u8>, StatementError> {
    use std::io::Read as _;
    let failed = |source| StatementError::File {
        doing: "read",
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > LIMIT {
        return Err(StatementError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(bytes)
}
