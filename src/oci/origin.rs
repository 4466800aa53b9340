//! How an image was made: `origins/HEX.json` beside it, and the lock as `origins/HEX.lock`.
//!
//! Beside, not in it: two equal builds give the same image, whoever makes it, when, with which version of the tool.

use std::io::ErrorKind;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::layout::to_json;
use super::{Layout, OciError};
use crate::digest::Digest;
use crate::files;

const FORMAT: u32 = 1;

/// How an image was made, or where it came from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Origin {
    /// Format version: filled in when it is written.
    pub format: u32,
    /// When it was made or brought here first, RFC 3339 in UTC.
    pub made: String,
    /// The program that did so, with its version.
    pub tool: String,
    /// The archive or the registry that it was brought from; none where it was made here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brought: Option<String>,
    /// The project's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// The template's name and digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<(String, Digest)>,
    /// The recipe's name and digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipe: Option<(String, Digest)>,
    /// The project's commit, where it is in git.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Where the repository of that commit is cloned from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// The project's folder in that repository; empty for the repository's own.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// Whether the project had changes that are in no commit.
    pub changed: bool,
}

impl Layout {
    /// Notes how an image was made; the first note stays, since the image is the same each time.
    pub fn note_origin(
        &self,
        manifest: &Digest,
        origin: &Origin,
        lock: Option<&str>,
    ) -> Result<(), OciError> {
        let lock_file = self.origin_file(manifest, "lock");
        if let Some(lock) = lock.filter(|_| !lock_file.exists()) {
            files::write_atomic(&lock_file, lock.as_bytes())
                .map_err(OciError::file("write", &lock_file))?;
        }
        let path = self.origin_file(manifest, "json");
        if path.exists() {
            return Ok(());
        }
        let origin = Origin {
            format: FORMAT,
            ..origin.clone()
        };
        files::write_atomic(&path, &to_json(&origin)?).map_err(OciError::file("write", &path))
    }

    /// How an image was made, where that is known.
    pub fn origin(&self, manifest: &Digest) -> Result<Option<Origin>, OciError> {
        let path = self.origin_file(manifest, "json");
        let text = match fs_err::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.map_err(OciError::file("read", &path))?,
        };
        let what = || format!("`{}`", path.display());
        let origin: Origin = serde_json::from_slice(&text)
            .map_err(|error| OciError::damaged(what(), error.to_string()))?;
        if origin.format > FORMAT {
            let why = format!("its format is {}, known is {FORMAT}", origin.format);
            return Err(OciError::refused(what(), why));
        }
        Ok(Some(origin))
    }

    /// The text of the lock that an image was made from, where it was made here.
    pub fn lock_of(&self, manifest: &Digest) -> Result<Option<String>, OciError> {
        let path = self.origin_file(manifest, "lock");
        match fs_err::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            text => text.map(Some).map_err(OciError::file("read", &path)),
        }
    }

    /// The file about an image's origin with that ending.
    pub(super) fn origin_file(&self, manifest: &Digest, ending: &str) -> PathBuf {
        let name = format!("{}.{ending}", manifest.hex());
        self.path().join("origins").join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_note_stays() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::open(folder.path()).unwrap();
        let manifest = Digest::of(b"1");
        assert_eq!(layout.origin(&manifest).unwrap(), None);
        for tool in ["first", "second"] {
            let origin = Origin {
                tool: tool.to_owned(),
                ..Origin::default()
            };
            layout.note_origin(&manifest, &origin, Some(tool)).unwrap();
        }
        assert_eq!(layout.origin(&manifest).unwrap().unwrap().tool, "first");
        assert_eq!(layout.lock_of(&manifest).unwrap().as_deref(), Some("first"));
    }
}
