//! Where the files of an environment come from: the packages that have them, the scriptlets that name them.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::Path;

use fs_err::File;

use super::CompareError;
use super::files::relative;
use crate::rpm::{Tags, read_tags};

/// The scriptlets of a header: their tags, and their names.
const SCRIPTLETS: [(u32, &str); 6] = [
    (1023, "%pre"),
    (1024, "%post"),
    (1065, "a trigger"),
    (1151, "%pretrans"),
    (1152, "%posttrans"),
    (5066, "a file trigger"),
];
const TRANSACTION_TRIGGERS: (u32, &str) = (5076, "a transaction's file trigger");
/// Folders that are links in a tree with a merged `/usr`.
const MERGED: [&[u8]; 4] = [b"bin/", b"sbin/", b"lib/", b"lib64/"];
/// Files that tools make out of others, and the words by which scriptlets call those tools.
const MADE_BY_TOOLS: [(&[u8], &str); 8] = [
    (b"etc/ld.so.cache", "ldconfig"),
    (b"var/cache/ldconfig/aux-cache", "ldconfig"),
    (b"usr/share/info/dir", "install-info"),
    (b"usr/share/mime/mime.cache", "update-mime-database"),
    (
        b"usr/share/glib-2.0/schemas/gschemas.compiled",
        "glib-compile-schemas",
    ),
    (b"usr/lib/locale/locale-archive", "localedef"),
    (b"etc/ssl/certs/ca-certificates.crt", "update-ca-"),
    (b"etc/machine-id", "systemd-machine-id-setup"),
];

/// Which package or scriptlet a path of an environment comes from.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    owners: BTreeMap<Vec<u8>, String>,
    /// Package, scriptlet, its text.
    scriptlets: Vec<(String, &'static str, Vec<u8>)>,
}

impl Origins {
    /// Reads the headers of package files: those of the lock, in the order in which they are installed.
    pub fn read<'a>(packages: impl IntoIterator<Item = &'a Path>) -> Result<Self, CompareError> {
        let mut origins = Self::default();
        for path in packages {
            let file = File::open(path).map_err(CompareError::read(path))?;
            let tags =
                read_tags(&mut BufReader::new(file)).map_err(|source| CompareError::Header {
                    path: path.to_owned(),
                    source,
                })?;
            origins.add(&tags.main);
        }
        Ok(origins)
    }

    fn add(&mut self, tags: &Tags) {
        let text = |tag| {
            tags.texts(tag)
                .first()
                .map(|text| String::from_utf8_lossy(text).into_owned())
                .unwrap_or_default()
        };
        let name = format!(
            "{}-{}-{}.{}",
            text(1000),
            text(1001),
            text(1002),
            text(1022)
        );
        let (folders, indexes) = (tags.texts(1118), tags.numbers(1116));
        for (index, base) in indexes.iter().zip(tags.texts(1117)) {
            let folder = usize::try_from(*index)
                .ok()
                .and_then(|index| folders.get(index));
            let path = [folder.map_or(&[][..], Vec::as_slice), base].concat();
            self.owners.insert(merged(relative(&path)), name.clone());
        }
        for (tag, what) in SCRIPTLETS.into_iter().chain([TRANSACTION_TRIGGERS]) {
            let texts = tags.texts(tag);
            self.scriptlets
                .extend(texts.iter().map(|text| (name.clone(), what, text.clone())));
        }
    }

    /// In words, for a path without its first slash; empty where nothing is known to have made it.
    pub(super) fn of(&self, path: &[u8]) -> String {
        let owner = self.owners.get(path);
        let scriptlet = self.scriptlet(path);
        match (owner, scriptlet) {
            (Some(owner), None) => format!("the package {owner}"),
            (Some(owner), Some(scriptlet)) => format!("the package {owner}; {scriptlet}"),
            (None, Some(scriptlet)) => scriptlet,
            (None, None)
                if path.starts_with(b"var/lib/rpm/")
                    || path.starts_with(b"usr/lib/sysimage/rpm/") =>
            {
                "rpm itself: its database".to_owned()
            }
            (None, None) => String::new(),
        }
    }

    /// A scriptlet that names the path, or calls the tool that makes it.
    fn scriptlet(&self, path: &[u8]) -> Option<String> {
        let tool = MADE_BY_TOOLS
            .iter()
            .find(|(made, _)| *made == path)
            .map(|(_, tool)| tool.as_bytes());
        let absolute = [b"/", path].concat();
        let names = |text: &[u8], wanted: &[u8]| memchr::memmem::find(text, wanted).is_some();
        let (package, what, _) = self.scriptlets.iter().find(|(_, _, text)| {
            names(text, &absolute) || tool.is_some_and(|tool| names(text, tool))
        })?;
        Some(format!("{what} of {package} names it or makes it"))
    }
}

/// A path as it is in a tree whose `/bin`, `/sbin` and `/lib` are links into `/usr`.
fn merged(path: &[u8]) -> Vec<u8> {
    if MERGED.iter().any(|folder| path.starts_with(folder)) {
        [b"usr/", path].concat()
    } else {
        path.to_vec()
    }
}
