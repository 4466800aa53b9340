//! Versioned JSON files: written atomically, and refused where a newer version of the program wrote them.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::RecordError;
use crate::files;

/// What is read first of all.
#[derive(Deserialize)]
struct Header {
    format: u64,
}

/// Writes one.
pub(super) fn save(path: &Path, value: &impl Serialize, newest: u32) -> Result<(), RecordError> {
    let mut text = serde_json::to_string_pretty(value).map_err(|source| RecordError::Format {
        path: path.to_owned(),
        newest,
        source,
    })?;
    text.push('\n');
    files::write_atomic(path, text.as_bytes()).map_err(|source| RecordError::File {
        doing: "write",
        path: path.to_owned(),
        source,
    })
}

/// Reads one of `newest` format or an older one.
pub(super) fn load<T: DeserializeOwned>(path: &Path, newest: u32) -> Result<T, RecordError> {
    let text = fs_err::read_to_string(path).map_err(|source| RecordError::File {
        doing: "read",
        path: path.to_owned(),
        source,
    })?;
    let wrong = |source| RecordError::Format {
        path: path.to_owned(),
        newest,
        source,
    };
    let Header { format } = serde_json::from_str(&text).map_err(wrong)?;
    if format > u64::from(newest) {
        return Err(RecordError::Newer {
            path: path.to_owned(),
            found: format,
            newest,
        });
    }
    serde_json::from_str(&text).map_err(wrong)
}
