//! `RegistryError`: why an image could not be pulled or pushed.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use oci_client::errors::{OciDistributionError, OciErrorCode};
use thiserror::Error;

use super::Registry;
use crate::digest::Digest;
use crate::oci::OciError;

/// What went wrong between this machine and a registry.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The registry has no such image, or blob of it.
    #[error("`{name}` is not in the registry")]
    NotFound {
        /// The image.
        name: String,
    },
    /// It wants other credentials, or any.
    #[error("the registry refused access to `{name}`: {credentials}")]
    Unauthorised {
        /// The image.
        name: String,
        /// The registry.
        registry: String,
        /// Where credentials were looked for.
        credentials: String,
    },
    /// Something has another digest than the one it was asked by.
    #[error("{what} of `{name}` has the digest {found} instead of {expected}")]
    Digest {
        /// The part of the image.
        what: &'static str,
        /// The image.
        name: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// Something is longer or shorter than its manifest says.
    #[error("a blob of `{name}` has {found} bytes or more instead of {expected}")]
    Length {
        /// The image.
        name: String,
        /// What the manifest says.
        expected: u64,
        /// How many came.
        found: u64,
    },
    /// The other side could not prove who it is.
    #[error("no trusted connection to the registry `{registry}`: {why}")]
    Tls {
        /// The registry.
        registry: String,
        /// What the TLS library says.
        why: String,
    },
    /// The other side speaks no TLS.
    #[error("the registry `{registry}` does not speak TLS")]
    WithoutTls {
        /// The registry.
        registry: String,
    },
    /// An image for several processors, and none of them is the right one.
    #[error("`{name}` has no image for {architecture}, only for {}", .available.join(", "))]
    Architecture {
        /// The image.
        name: String,
        /// What was asked for, by RPM's name.
        architecture: String,
        /// What there is, by OCI's names.
        available: Vec<String>,
    },
    /// The registry failed, or could not be reached.
    #[error("cannot {doing} `{name}` ({tries})")]
    Failed {
        /// To read after "cannot".
        doing: &'static str,
        /// The image.
        name: String,
        /// How often it was tried.
        tries: Tries,
        /// The last failure.
        source: Box<OciDistributionError>,
    },
    /// A file with credentials cannot be used.
    #[error("cannot use the credentials in `{}`: {why}", file.display())]
    Credentials {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// No HTTP client could be made.
    #[error("cannot make a client for registries: are the machine's CA certificates installed?")]
    Client {
        /// Its cause.
        source: OciDistributionError,
    },
    /// The layout in the store, or an image that breaks its rules.
    #[error(transparent)]
    Layout(#[from] OciError),
}

/// So many tries, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries(pub u32);

impl std::fmt::Display for Tries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            1 => f.write_str("one try"),
            tries => write!(f, "{tries} tries"),
        }
    }
}

impl Registry {
    /// The error of the last try.
    pub(super) fn failed(
        &self,
        doing: &'static str,
        tries: u32,
        error: OciDistributionError,
    ) -> RegistryError {
        let registry = || self.name.registry().to_owned();
        match tls(&error) {
            Some(rustls::Error::InvalidMessage(_)) => {
                return RegistryError::WithoutTls {
                    registry: registry(),
                };
            }
            Some(why) => {
                return RegistryError::Tls {
                    registry: registry(),
                    why: why.to_string(),
                };
            }
            None => {}
        }
        match status(&error) {
            Some(404) => RegistryError::NotFound {
                name: self.name.to_string(),
            },
            Some(401 | 403) => RegistryError::Unauthorised {
                name: self.name.to_string(),
                registry: registry(),
                credentials: self.found.origin.clone(),
            },
            _ => RegistryError::Failed {
                doing,
                name: self.name.to_string(),
                tries: Tries(tries),
                source: Box::new(error),
            },
        }
    }
}

/// The HTTP status behind an error, by what the distribution specification means it to be.
pub(super) fn status(error: &OciDistributionError) -> Option<u16> {
    match error {
        OciDistributionError::UnauthorizedError { .. } => Some(401),
        OciDistributionError::AuthenticationFailure(answer) if is_json(answer) => Some(401),
        OciDistributionError::ImageManifestNotFoundError(_) => Some(404),
        OciDistributionError::ServerError { code, .. } => Some(*code),
        OciDistributionError::RequestError(error) => error.status().map(|status| status.as_u16()),
        OciDistributionError::RegistryError { envelope, .. } => {
            envelope.errors.iter().find_map(|error| match error.code {
                OciErrorCode::ManifestUnknown
                | OciErrorCode::NameUnknown
                | OciErrorCode::BlobUnknown
                | OciErrorCode::NotFound => Some(404),
                OciErrorCode::Unauthorized => Some(401),
                OciErrorCode::Denied => Some(403),
                OciErrorCode::Toomanyrequests => Some(429),
                _ => None,
            })
        }
        _ => None,
    }
}

/// Whether a server of tokens has answered for itself: refusals are JSON, what stands before a server that fails is not.
/// The status of the answer is not known here.
fn is_json(answer: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(answer).is_ok()
}

/// Whether it may go away by itself.
pub(super) fn passing(error: &OciDistributionError) -> bool {
    if tls(error).is_some() {
        return false;
    }
    match (error, status(error)) {
        (_, Some(status)) => status >= 500 || [408, 425, 429].contains(&status),
        (OciDistributionError::RequestError(error), None) => {
            !error.is_builder() && !error.is_redirect()
        }
        (
            OciDistributionError::IoError(_) | OciDistributionError::AuthenticationFailure(_),
            None,
        ) => true,
        _ => false,
    }
}

/// What the TLS library says, where it is behind the error.
fn tls(error: &OciDistributionError) -> Option<&rustls::Error> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(one) = cause {
        if let Some(found) = one.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // What an `io::Error` holds is not among its sources, only the sources of that are.
        let held = one.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = match held {
            Some(held) => Some(held),
            None => one.source(),
        };
    }
    None
}
