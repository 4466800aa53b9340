//! Upstream tarballs in Debian's source pool.

use std::io::BufRead;

use deb822_fast::{Deb822, Paragraph};
use serde::{Deserialize, Serialize};

use crate::error::MinidistroError;
use crate::index::required;
use crate::version::Evr;

/// The upstream tarball of a Debian source package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Debian source package.
    pub package: String,
    /// Upstream version, without epoch and Debian revision.
    pub version: String,
    /// File name.
    pub file: String,
    /// Where it is.
    pub url: String,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// Finds the upstream tarballs of `wanted`, in that order, in an uncompressed `Sources` file.
pub(crate) fn find(
    sources: impl BufRead,
    wanted: &[String],
    root: &str,
    suite: &str,
) -> Result<Vec<Source>, MinidistroError> {
    let unreadable = |reason| MinidistroError::Index {
        what: format!("{suite}/main/source/Sources.xz"),
        reason,
    };
    let mut found: Vec<Option<(Evr, Source)>> = vec![None; wanted.len()];
    for paragraph in Deb822::iter_paragraphs_from_reader(sources) {
        let paragraph = paragraph.map_err(|error| unreadable(error.to_string()))?;
        let name = paragraph.get("Package").unwrap_or_default();
        for (slot, _) in found
            .iter_mut()
            .zip(wanted)
            .filter(|(_, wanted)| *wanted == name)
        {
            let (version, source) = tarball(&paragraph, root).map_err(unreadable)?;
            // An index can hold two versions of a source for a while: the newer one is meant.
            if slot
                .as_ref()
                .is_none_or(|(known, _)| known.compare(&version).is_lt())
            {
                *slot = Some((version, source));
            }
        }
    }
    let missing = |name: &String| MinidistroError::NoPackage {
        name: format!("{name} (source)"),
        suite: suite.to_owned(),
        wanted_by: String::new(),
    };
    found
        .into_iter()
        .zip(wanted)
        .map(|(found, name)| Ok(found.ok_or_else(|| missing(name))?.1))
        .collect()
}

fn tarball(paragraph: &Paragraph, root: &str) -> Result<(Evr, Source), String> {
    let package = required(paragraph, "Package")?;
    let text = required(paragraph, "Version")?;
    let version = Evr::from_debian(text)
        .ok_or_else(|| format!("`{text}` is not a version of `{package}`"))?;
    let folder = required(paragraph, "Directory")?;
    let line = required(paragraph, "Checksums-Sha256")?
        .lines()
        .find_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let (sha256, size, file) = (words.next()?, words.next()?, words.next()?);
            let (_, compression) = file.split_once(".orig.tar.")?;
            // Signatures have the same name with one more ending.
            (!compression.contains('.')).then_some((sha256, size, file))
        });
    let (sha256, size, file) =
        line.ok_or_else(|| format!("`{package}` has no upstream tarball"))?;
    let upstream = text.split_once(':').map_or(text, |(_, rest)| rest);
    let upstream = upstream
        .rsplit_once('-')
        .map_or(upstream, |(upstream, _)| upstream);
    let source = Source {
        package: package.to_owned(),
        version: upstream.to_owned(),
        file: file.to_owned(),
        url: format!("{root}/{folder}/{file}"),
        sha256: sha256.to_owned(),
        size: size
            .parse()
            .map_err(|_| format!("`{size}` is not a size"))?,
    };
    Ok((version, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCES: &str = "Package: zlib
Version: 1:1.3.dfsg+really1.3.1-1
Directory: pool/main/z/zlib
Checksums-Sha256:
 aa 3 zlib_1.3.dfsg+really1.3.1-1.dsc
 bb 4 zlib_1.3.dfsg+really1.3.1.orig.tar.gz.asc
 cc 5 zlib_1.3.dfsg+really1.3.1.orig.tar.gz
 dd 6 zlib_1.3.dfsg+really1.3.1-1.debian.tar.xz
";

    #[test]
    fn the_upstream_tarball_is_found() {
        let sources = find(
            SOURCES.as_bytes(),
            &["zlib".into()],
            "http://m.example/debian",
            "trixie",
        )
        .unwrap();
        insta::assert_compact_json_snapshot!(sources, @r#"
        [
          {
            "package": "zlib",
            "version": "1.3.dfsg+really1.3.1",
            "file": "zlib_1.3.dfsg+really1.3.1.orig.tar.gz",
            "url": "http://m.example/debian/pool/main/z/zlib/zlib_1.3.dfsg+really1.3.1.orig.tar.gz",
            "sha256": "cc",
            "size": 5
          }
        ]
        "#);
        let missing = find(SOURCES.as_bytes(), &["x".into()], "", "trixie")
            .unwrap_err()
            .to_string();
        insta::assert_snapshot!(missing, @"no package `x (source)` in trixie");
    }
}
