//! Which Debian mirror to use: the host's own, else a public one.

use std::path::{Path, PathBuf};

use deb822_fast::Deb822;

/// Used where the host has none.
pub const FALLBACK: &str = "http://ftp.debian.org/debian";

/// The first Debian archive that the host's apt uses, in the order in which apt reads its sources.
///
/// `etc_apt` is `/etc/apt` on a real host. What cannot be read is passed over.
pub fn of_host(etc_apt: &Path) -> Option<String> {
    let mut files: Vec<PathBuf> = fs_err::read_dir(etc_apt.join("sources.list.d"))
        .map(|entries| {
            entries
                .filter_map(Result::ok)
                .map(|entry| entry.path())
                .collect()
        })
        .unwrap_or_default();
    files.sort();
    files.insert(0, etc_apt.join("sources.list"));
    files.iter().find_map(|file| {
        let text = fs_err::read_to_string(file).ok()?;
        match file.extension()?.to_str()? {
            "sources" => deb822(&text),
            "list" => one_line(&text),
            _ => None,
        }
    })
}

fn deb822(text: &str) -> Option<String> {
    let sources: Deb822 = text.parse().ok()?;
    sources
        .iter()
        .filter(|source| source.get("Enabled") != Some("no"))
        .filter(|source| {
            source
                .get("Types")
                .is_some_and(|types| types.split_whitespace().any(|kind| kind == "deb"))
        })
        .flat_map(|source| source.get("URIs").unwrap_or_default().split_whitespace())
        .find_map(archive)
}

fn one_line(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb")?;
        let rest = rest.strip_prefix(|c: char| c.is_whitespace())?.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => rest,
        };
        archive(rest.split_whitespace().next()?)
    })
}

/// A main archive of Debian is served from a folder `debian`; others (security, third parties) are not.
fn archive(uri: &str) -> Option<String> {
    let uri = uri.trim_end_matches('/');
    let http = uri.starts_with("http://") || uri.starts_with("https://");
    (http && uri.ends_with("/debian")).then(|| uri.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let text = "# x\nTypes: deb-src\nURIs: http://a.example/debian\n\nTypes: deb deb-src\nURIs: http://sec.example/debian-security\n http://b.example/debian/\nSuites: trixie\n";
        assert_eq!(deb822(text).as_deref(), Some("http://b.example/debian"));
        let text = "# deb http://no.example/debian x main\ndeb-src http://no.example/debian x main\ndeb [arch=amd64 signed-by=/k] https://c.example/debian trixie main\n";
        assert_eq!(one_line(text).as_deref(), Some("https://c.example/debian"));
        assert_eq!(
            one_line("deb http://archive.example/ubuntu noble main\ndebian http://x/debian\n"),
            None
        );
    }

    #[test]
    fn the_first_of_the_hosts_sources_counts() {
        let etc = tempfile::tempdir().unwrap();
        assert_eq!(of_host(etc.path()), None);
        let folder = etc.path().join("sources.list.d");
        fs_err::create_dir(&folder).unwrap();
        fs_err::write(
            folder.join("b.list"),
            "deb http://b.example/debian trixie main\n",
        )
        .unwrap();
        fs_err::write(
            folder.join("a.sources.save"),
            "deb http://no.example/debian trixie main\n",
        )
        .unwrap();
        fs_err::write(
            folder.join("a.sources"),
            "Types: deb\nURIs: http://a.example/debian\n",
        )
        .unwrap();
        assert_eq!(
            of_host(etc.path()).as_deref(),
            Some("http://a.example/debian")
        );
    }
}
