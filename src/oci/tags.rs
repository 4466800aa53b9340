//! Tags: names that people give to images, and that keep them. `tags.json` in the layout, changed under its lock.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use serde::{Deserialize, Serialize};

use super::layout::to_json;
use super::{Layout, OciError};
use crate::digest::Digest;
use crate::files;

const FORMAT: u32 = 1;
const FILE: &str = "tags.json";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    tags: BTreeMap<String, Digest>,
}

/// Whether a name can be a tag: letters, digits and `._-/:@+`, at most 200, and not only hexadecimal digits, which
/// would read as the beginning of a digest.
pub fn is_tag(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@+".contains(&byte);
    !name.is_empty()
        && name.len() <= 200
        && name.bytes().all(good)
        && !name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl Layout {
    /// All tags, and the manifests that they name.
    pub fn tags(&self) -> Result<BTreeMap<String, Digest>, OciError> {
        let path = self.path().join(FILE);
        let text = match fs_err::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
            text => text.map_err(OciError::file("read", &path))?,
        };
        let what = || format!("`{}`", path.display());
        let document: Document = serde_json::from_slice(&text)
            .map_err(|error| OciError::damaged(what(), error.to_string()))?;
        if document.format > FORMAT {
            let why = format!("its format is {}, known is {FORMAT}", document.format);
            return Err(OciError::refused(what(), why));
        }
        Ok(document.tags)
    }

    /// Gives an image a tag, which no other image has any longer.
    pub fn tag(&self, name: &str, manifest: &Digest) -> Result<(), OciError> {
        self.change_tags(|tags| {
            tags.insert(name.to_owned(), *manifest);
        })
    }

    /// Takes a tag away; says whether there was one.
    pub fn untag(&self, name: &str) -> Result<bool, OciError> {
        let mut there = false;
        self.change_tags(|tags| there = tags.remove(name).is_some())?;
        Ok(there)
    }

    fn change_tags(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, Digest>),
    ) -> Result<(), OciError> {
        let _lock = self.lock()?;
        let mut tags = self.tags()?;
        change(&mut tags);
        let path = self.path().join(FILE);
        let text = to_json(&Document {
            format: FORMAT,
            tags,
        })?;
        files::write_atomic(&path, &text).map_err(OciError::file("write", &path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_move_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::open(folder.path()).unwrap();
        let [one, two] = [b"1", b"2"].map(|text| Digest::of(text));
        layout.tag("release", &one).unwrap();
        layout.tag("nightly", &one).unwrap();
        layout.tag("nightly", &two).unwrap();
        let tags = layout.tags().unwrap();
        assert_eq!((tags["nightly"], tags["release"]), (two, one));
        assert!(layout.untag("release").unwrap() && !layout.untag("release").unwrap());
        assert_eq!(layout.tags().unwrap().len(), 1);
    }

    #[test]
    fn names_that_read_as_digests_are_no_tags() {
        for (name, good) in [
            ("release-1.2", true),
            ("registry.example.org/team/env:1", true),
            ("2026-01-02", true),
            ("", false),
            ("abc123", false),
            ("a b", false),
            ("\x1b[31m", false),
        ] {
            assert_eq!(is_tag(name), good, "{name}");
        }
    }
}
