//! Metalinks (version 3, as `MirrorManager` writes them): where a repository's mirrors are, and what their
//! `repomd.xml` must be.

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use reqwest::Url;

use super::RepositoryError;
use super::stream::damaged;
use crate::digest::Digest;

/// The file that a metalink must be about.
const REPOMD: &str = "repomd.xml";
/// What a mirror's URL ends with, below the repository's root.
const PLACE: &str = "repodata/repomd.xml";
/// More elements inside each other than any metalink has.
const MAX_DEPTH: usize = 32;
/// More mirrors and versions than any metalink has.
const MAX_ENTRIES: usize = 10_000;
/// The longest text of one element, bytes.
const MAX_TEXT: usize = 4096;
/// Mirrors that are kept: the best ones. Who cannot fetch from so many cannot fetch.
pub(super) const MAX_MIRRORS: usize = 32;

/// What a metalink says of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metalink {
    /// Base URLs of the mirrors, the preferred one first.
    pub mirrors: Vec<String>,
    /// The `repomd.xml` that mirrors may have: the current one first, then those that mirrors which lag
    /// behind still have.
    pub versions: Vec<Version>,
}

/// One `repomd.xml` that a metalink lets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes, where the metalink says it.
    pub size: Option<u64>,
}

impl Metalink {
    /// Reads the bytes of a metalink that was fetched from the URL `from`; `name` is what errors call it.
    ///
    /// Mirrors of other protocols than `http` and `https` are left out; without a mirror or without
    /// a SHA-256 for the current `repomd.xml` it is refused.
    pub fn parse(bytes: &[u8], from: &str, name: &str) -> Result<Self, RepositoryError> {
        let text = super::stream::text(bytes, name)?;
        let mut collector = Collector {
            from: Url::parse(from).ok(),
            ..Collector::default()
        };
        collector
            .read(text)
            .map_err(|reason| damaged(name, &reason))?;
        collector
            .finish(name)
            .map_err(|reason| damaged(name, &reason))?
    }
}

/// A `repomd.xml` of which not all is read yet.
#[derive(Debug, Default)]
struct Draft {
    sha256: Option<String>,
    size: Option<String>,
}

#[derive(Default)]
struct Collector {
    from: Option<Url>,
    /// Names of the elements that are open.
    path: Vec<String>,
    text: String,
    /// The type of the hash, or the preference of the mirror, that is being read.
    hash: Option<String>,
    preference: u32,
    seen_file: bool,
    in_file: bool,
    versions: Vec<Draft>,
    mirrors: Vec<(u32, String)>,
}

impl Collector {
    fn read(&mut self, text: &str) -> Result<(), String> {
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        loop {
            match reader.read_event().map_err(|error| error.to_string())? {
                Event::Start(start) => self.start(&start)?,
                Event::End(_) => self.end()?,
                Event::Text(text) => self.add(&text.xml10_content())?,
                Event::CData(text) => self.add(&text.xml10_content())?,
                Event::GeneralRef(reference) => {
                    let character = match reference.resolve_char_ref() {
                        Ok(Some(character)) => character.to_string(),
                        _ => predefined(&reference.xml10_content())?.to_owned(),
                    };
                    self.add(&character)?;
                }
                Event::DocType(_) => {
                    return Err("it has a document type of its own".to_owned());
                }
                Event::Eof if self.path.is_empty() && self.seen_file => return Ok(()),
                Event::Eof => return Err("it ends too early".to_owned()),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::Empty(_) => {}
            }
        }
    }

    fn add(&mut self, text: &str) -> Result<(), String> {
        if self.text.len() + text.len() > MAX_TEXT {
            return Err("it has an element with too much text".to_owned());
        }
        self.text.push_str(text);
        Ok(())
    }

    fn start(&mut self, start: &BytesStart<'_>) -> Result<(), String> {
        if self.path.len() == MAX_DEPTH {
            return Err("its elements are nested too deeply".to_owned());
        }
        let name = start.local_name().as_ref().to_owned();
        self.text.clear();
        match name.as_str() {
            "metalink" if self.path.is_empty() => {}
            _ if self.path.is_empty() => return Err(format!("it begins with `<{name}>`")),
            "file" => {
                self.in_file = attribute(start, "name")?.as_deref() == Some(REPOMD);
                if self.in_file && std::mem::replace(&mut self.seen_file, true) {
                    return Err(format!("it names `{REPOMD}` twice"));
                }
                if self.in_file {
                    self.versions.push(Draft::default());
                }
            }
            "alternate" if self.in_file => self.versions.push(Draft::default()),
            "hash" => self.hash = attribute(start, "type")?,
            "url" => {
                self.preference = attribute(start, "preference")?
                    .and_then(|number| number.trim().parse().ok())
                    .unwrap_or(0);
            }
            _ => {}
        }
        if self.versions.len() > MAX_ENTRIES {
            return Err("it has too many entries".to_owned());
        }
        self.path.push(name);
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let text = std::mem::take(&mut self.text);
        let text = text.trim();
        let Some(name) = self.path.pop() else {
            return Ok(());
        };
        match name.as_str() {
            "file" => self.in_file = false,
            _ if !self.in_file => {}
            "url" => self.mirror(text)?,
            "size" => {
                if let Some(version) = self.versions.last_mut() {
                    version.size = Some(text.to_owned());
                }
            }
            "hash" if self.hash.take().as_deref() == Some("sha256") => {
                if let Some(version) = self.versions.last_mut() {
                    version.sha256 = Some(text.to_owned());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn mirror(&mut self, text: &str) -> Result<(), String> {
        if self.mirrors.len() == MAX_ENTRIES {
            return Err("it has too many entries".to_owned());
        }
        let base = text.strip_suffix(PLACE);
        if let Some(base) = base.and_then(|base| mirror_url(base, self.from.as_ref())) {
            self.mirrors.push((self.preference, base));
        }
        Ok(())
    }

    /// The metalink, or what it lacks; weak digests are an error of their own.
    fn finish(self, name: &str) -> Result<Result<Metalink, RepositoryError>, String> {
        let mut mirrors = self.mirrors;
        // Stable: mirrors of the same preference keep the order that the server chose for this client.
        mirrors.sort_by_key(|(preference, _)| std::cmp::Reverse(*preference));
        let mut kept: Vec<String> = Vec::new();
        for (_, mirror) in mirrors {
            if !kept.contains(&mirror) && kept.len() < MAX_MIRRORS {
                kept.push(mirror);
            }
        }
        if kept.is_empty() {
            return Err(format!("it names no http or https mirror of `{PLACE}`"));
        }
        let mut versions = Vec::new();
        for (place, draft) in self.versions.into_iter().enumerate() {
            match (version(draft)?, place) {
                (Some(version), _) => versions.push(version),
                (None, 0) => {
                    return Ok(Err(RepositoryError::WeakChecksum {
                        name: name.to_owned(),
                        what: REPOMD.to_owned(),
                        kind: "weaker than sha256".to_owned(),
                    }));
                }
                (None, _) => {}
            }
        }
        Ok(Ok(Metalink {
            mirrors: kept,
            versions,
        }))
    }
}

fn version(draft: Draft) -> Result<Option<Version>, String> {
    let size = draft
        .size
        .map(|size| {
            size.parse()
                .map_err(|_| format!("`{size}` is not a size of a file"))
        })
        .transpose()?;
    let Some(hex) = draft.sha256 else {
        return Ok(None);
    };
    let digest = hex
        .to_ascii_lowercase()
        .parse()
        .map_err(|_| format!("`{hex}` is not a SHA-256"))?;
    Ok(Some(Version { digest, size }))
}

fn attribute(start: &BytesStart<'_>, name: &str) -> Result<Option<String>, String> {
    let found = start
        .try_get_attribute(name)
        .map_err(|error| error.to_string())?;
    found
        .map(|found| {
            found
                .normalized_value(XmlVersion::Implicit1_0)
                .map(std::borrow::Cow::into_owned)
                .map_err(|error| error.to_string())
        })
        .transpose()
}

/// The entities that XML itself has; a document can define none here.
fn predefined(name: &str) -> Result<&'static str, String> {
    match name {
        "amp" => Ok("&"),
        "lt" => Ok("<"),
        "gt" => Ok(">"),
        "quot" => Ok("\""),
        "apos" => Ok("'"),
        _ => Err(format!("it uses the unknown entity `&{name};`")),
    }
}

/// A mirror as servers write it, made whole: a relative one counts from where the list came from.
/// `None` for what is no http or https URL, or carries a password.
pub(super) fn mirror_url(text: &str, from: Option<&Url>) -> Option<String> {
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return None;
    }
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(_) => from?.join(text).ok()?,
    };
    let usable = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none();
    usable.then(|| url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: &str = "https://mirrors.example/metalink?repo=fedora";

    fn hash(kind: &str, byte: &str) -> String {
        let length = match kind {
            "sha256" => 32,
            _ => 16,
        };
        format!("<hash type=\"{kind}\">{}</hash>", byte.repeat(length))
    }

    fn metalink(inside: &str, urls: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<metalink version=\"3.0\" xmlns=\"http://www.metalinker.org/\" \
             xmlns:mm0=\"http://fedorahosted.org/mirrormanager\">\n <files>\n  <file name=\"repomd.xml\">{inside}\
             <resources maxconnections=\"1\">{urls}</resources></file></files></metalink>\n"
        )
    }

    fn whole() -> String {
        let inside = format!(
            "<mm0:timestamp>7</mm0:timestamp><size>4000</size><verification>{}{}</verification>\
             <mm0:alternates><mm0:alternate><mm0:timestamp>6</mm0:timestamp><size>3900</size><verification>{}</verification></mm0:alternate>\
             <mm0:alternate><size>3800</size><verification>{}</verification></mm0:alternate></mm0:alternates>",
            hash("md5", "ff"),
            hash("sha256", "AA"),
            hash("sha256", "bb"),
            hash("md5", "cc")
        );
        let url = |preference: u32, url: &str| {
            format!(
                "<url protocol=\"x\" preference=\"{preference}\">{url}repodata/repomd.xml</url>\n"
            )
        };
        let urls = [
            url(90, "http://slow.example/pub/43/"),
            url(100, "https://fast.example/a&amp;b/43/"),
            url(95, "rsync://fast.example/43/"),
            url(80, "/relative/43/"),
            url(99, "https://user:secret@x.example/43/"),
            url(100, "https://fast.example/a&amp;b/43/"),
            "<url preference=\"100\">https://other.example/43/repodata/primary.xml</url>"
                .to_owned(),
        ];
        metalink(&inside, &urls.concat())
    }

    #[test]
    fn mirrors_come_by_preference_and_versions_by_age() {
        let read = Metalink::parse(whole().as_bytes(), FROM, "metalink of fedora").unwrap();
        assert_eq!(
            read.mirrors,
            [
                "https://fast.example/a&b/43",
                "http://slow.example/pub/43",
                "https://mirrors.example/relative/43",
            ]
        );
        let versions: Vec<_> = read
            .versions
            .iter()
            .map(|version| (version.digest.hex(), version.size))
            .collect();
        assert_eq!(
            versions,
            [("aa".repeat(32), Some(4000)), ("bb".repeat(32), Some(3900))]
        );
    }

    fn error(text: &[u8]) -> String {
        Metalink::parse(text, FROM, "metalink of fedora")
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn what_is_no_metalink_is_refused() {
        let good = hash("sha256", "aa");
        let url = "<url>https://m.example/repodata/repomd.xml</url>";
        insta::assert_snapshot!(error(b"<html><body>sign in</body></html>"), @"`metalink of fedora` is damaged or not repository metadata: it begins with `<html>`");
        insta::assert_snapshot!(error(b"\xff\xfe"), @"`metalink of fedora` is damaged or not repository metadata: byte 0 is not UTF-8 text");
        insta::assert_snapshot!(error(metalink(&good, "").as_bytes()), @"`metalink of fedora` is damaged or not repository metadata: it names no http or https mirror of `repodata/repomd.xml`");
        insta::assert_snapshot!(error(metalink(&hash("md5", "aa"), url).as_bytes()), @"`metalink of fedora` gives for `repomd.xml` only the checksum type `weaker than sha256`: sha256 or sha512 is needed");
        insta::assert_snapshot!(error(metalink(&format!("<size>-1</size>{good}"), url).as_bytes()), @"`metalink of fedora` is damaged or not repository metadata: `-1` is not a size of a file");
        insta::assert_snapshot!(error(metalink("<hash type=\"sha256\">&bomb;</hash>", url).as_bytes()), @"`metalink of fedora` is damaged or not repository metadata: it uses the unknown entity `&bomb;`");
        let bomb = format!("<!DOCTYPE lolz [<!ENTITY a \"aaaa\">]>{}", whole());
        insta::assert_snapshot!(error(bomb.as_bytes()), @"`metalink of fedora` is damaged or not repository metadata: it has a document type of its own");
        insta::assert_snapshot!(error(metalink(&"<a>".repeat(100), url).as_bytes()), @"`metalink of fedora` is damaged or not repository metadata: its elements are nested too deeply");
        insta::assert_snapshot!(error(metalink(&"<alternate/>".repeat(20_000), url).as_bytes()), @"`metalink of fedora` is damaged or not repository metadata: it has too many entries");
        insta::assert_snapshot!(error(metalink(&"x".repeat(5000), url).as_bytes()), @"`metalink of fedora` is damaged or not repository metadata: it has an element with too much text");
    }

    #[test]
    fn a_cut_metalink_is_an_error_wherever_it_was_cut() {
        let text = whole();
        for cut in 0..text.trim_end().len() {
            assert!(
                Metalink::parse(&text.as_bytes()[..cut], FROM, "m").is_err(),
                "cut at {cut}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "[<>/a-z =\"&;#]{0,80}") {
            let _whatever = Metalink::parse(metalink(&text, "").as_bytes(), FROM, "m");
        }
    }
}
