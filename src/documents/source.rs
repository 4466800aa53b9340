//! Reading a document: text, format, then the keys, with messages in the words of the docs.

use std::io::Read;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;

use super::error::{DocumentError, Problem};

/// The largest document that people write, bytes.
pub(super) const DOCUMENT_LIMIT: u64 = 4 << 20;

/// The newest format of each document that this program understands.
pub(super) const FORMAT: u64 = 1;

/// A document's text and where it came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

/// The bytes of the file `path`, which holds at most `limit` bytes.
pub(super) fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, DocumentError> {
    let mut bytes = Vec::new();
    fs_err::File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .map_err(|error| DocumentError::unreadable(path, &error))?;
    if bytes.len() as u64 > limit {
        let message = format!("the file is larger than {} MiB", limit >> 20);
        return Err(DocumentError::of(Problem::Unreadable, path, message));
    }
    Ok(bytes)
}

/// The text of the file `path`, which holds at most `limit` bytes.
pub(super) fn read(path: &Path, limit: u64) -> Result<String, DocumentError> {
    String::from_utf8(read_bytes(path, limit)?).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = String::from_utf8_lossy(&error.as_bytes()[..valid])
            .matches('\n')
            .count()
            + 1;
        DocumentError::of(
            Problem::Unreadable,
            path,
            format!("line {line} is not UTF-8 text"),
        )
    })
}

impl Source<'_> {
    /// The document as `T`. The format is looked at first, so that a newer document is
    /// called newer and not wrong.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, DocumentError> {
        self.refuse_merge_conflict()?;
        let header: Header = self.deserialize()?;
        match header.format {
            Some(format) if *format.get_ref() > FORMAT => {
                let message = format!(
                    "format {} is newer than this pristine understands",
                    format.get_ref()
                );
                let error = self
                    .error(format.span(), message)
                    .problem_is(Problem::Newer);
                return Err(error.note(format!("the newest format it understands is {FORMAT}")));
            }
            Some(format) if *format.get_ref() == 0 => {
                return Err(self
                    .error(format.span(), "there is no format 0")
                    .note(format!("write `format = {FORMAT}`")));
            }
            Some(_) => {}
            None => {
                let error = DocumentError::of(Problem::Invalid, self.path, "missing key `format`");
                return Err(error.note(format!("begin the file with `format = {FORMAT}`")));
            }
        }
        self.deserialize()
    }

    /// An error at the bytes `span`.
    pub(super) fn error(&self, span: Range<usize>, message: impl Into<String>) -> DocumentError {
        DocumentError::at(self.path, self.text, span, message)
    }

    fn deserialize<T: DeserializeOwned>(&self) -> Result<T, DocumentError> {
        toml::from_str(self.text).map_err(|error| self.explain(&error))
    }

    fn refuse_merge_conflict(&self) -> Result<(), DocumentError> {
        let mut start = 0;
        for line in self.text.split_inclusive('\n') {
            if line.starts_with("<<<<<<< ") {
                let error = self.error(
                    start..start + line.len(),
                    "the file holds an unresolved merge",
                );
                return Err(error.problem_is(Problem::MergeConflict));
            }
            start += line.len();
        }
        Ok(())
    }

    fn explain(&self, error: &toml::de::Error) -> DocumentError {
        let blank = |span: Range<usize>| {
            self.text
                .get(span)
                .is_none_or(|text| text.trim().is_empty())
        };
        let complaint = match error.message() {
            // The parser's own words for these two fit only some of their causes.
            text if text.starts_with("string values must be quoted") => {
                let missing = error.span().is_none_or(blank);
                Complaint::new(if missing {
                    "the value is missing"
                } else {
                    "text is written in quotes"
                })
            }
            text => Complaint::new(text),
        };
        let error = match error.span() {
            // A table that lacks a key is pointed at by its first line; a whole document has none.
            Some(span) if !(span.start == 0 && complaint.about_table) => {
                self.error(span, complaint.message)
            }
            _ => DocumentError::of(Problem::Invalid, self.path, complaint.message),
        };
        complaint.notes.into_iter().fold(error, DocumentError::note)
    }
}

/// What is read before all else; other keys do not matter to it.
#[derive(Deserialize)]
struct Header {
    format: Option<Spanned<u64>>,
}

/// serde's and the TOML parser's words, in the words of the docs.
struct Complaint {
    message: String,
    notes: Vec<String>,
    about_table: bool,
}

impl Complaint {
    fn new(text: &str) -> Self {
        for (prefix, what) in [("unknown field `", "key"), ("unknown variant `", "value")] {
            if let Some((found, allowed)) = text
                .strip_prefix(prefix)
                .and_then(|rest| rest.split_once("`, "))
            {
                return Self::unknown(what, found, allowed);
            }
        }
        let mut notes = Vec::new();
        let mut about_table = false;
        let message = if let Some(key) = text.strip_prefix("missing field ") {
            about_table = true;
            format!("missing key {key}")
        } else if let Some((found, wanted)) = text
            .strip_prefix("invalid type: ")
            .and_then(|rest| rest.rsplit_once(", expected "))
        {
            format!("expected {}, found {}", plain(wanted), plain(found))
        } else if let Some((found, wanted)) = text
            .strip_prefix("invalid value: ")
            .and_then(|rest| rest.rsplit_once(", expected "))
        {
            format!("expected {}, found {}", plain(wanted), plain(found))
        } else {
            // Messages of our own values have notes on further lines.
            let mut lines = text.lines().map(str::to_owned);
            let first = lines.next().unwrap_or_default();
            let (first, expected) = match first.split_once(": expected ") {
                Some((first, expected)) => (first.to_owned(), Some(format!("expected {expected}"))),
                None => (first, None),
            };
            notes.extend(expected.into_iter().chain(lines));
            first
        };
        Self {
            message,
            notes,
            about_table,
        }
    }

    fn unknown(what: &str, found: &str, allowed: &str) -> Self {
        let allowed: Vec<&str> = allowed.split('`').skip(1).step_by(2).collect();
        let mut notes = Vec::new();
        if let Some(advice) = advice(found) {
            notes.push(advice.to_owned());
        } else if let Some(nearest) = nearest(found, &allowed) {
            notes.push(format!("did you mean `{nearest}`?"));
        }
        if !allowed.is_empty() {
            notes.push(format!("{what}s allowed here: {}", allowed.join(", ")));
        }
        Self {
            message: format!("unknown {what} `{found}`"),
            notes,
            about_table: false,
        }
    }
}

/// What to say of keys that other tools have and this one has not, on purpose or not yet.
fn advice(key: &str) -> Option<&'static str> {
    Some(match key {
        "network" => {
            "a package is built without network: name its sources by URL in the spec, or fetch them in the recipe"
        }
        "gpgcheck" | "repo_gpgcheck" => {
            "signatures are checked unless `check = { packages = false }` or `check = { metadata = false }` says otherwise"
        }
        "gpgkey" => {
            "keys are pinned by fingerprint: `keys = [{ url = \"…\", fingerprint = \"…\" }]`"
        }
        "sslverify" => "certificates are always checked",
        "enabled" => "a repository that is not wanted is left out",
        _ => return None,
    })
}

/// serde's names of types, in the words of TOML.
fn plain(text: &str) -> String {
    let text = match text {
        "a sequence" | "sequence" => "a list",
        "a map" | "map" => "a table",
        "a boolean" => "`true` or `false`",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, not negative",
        "i32" | "i64" => "a whole number",
        "a nonzero u32" | "a nonzero u64" => "a whole number above 0",
        other => other,
    };
    text.replace("string \"", "text \"")
        .replace("a string", "text in quotes")
}

/// The one of `known` that `text` was probably meant to be.
pub fn nearest<'a>(text: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |candidate: &str| {
        let plain = |text: &str| text.to_lowercase().replace('-', "_");
        let (text, candidate) = (plain(text), plain(candidate));
        let longer = text.chars().count().max(candidate.chars().count());
        let begins =
            text.len() >= 3 && (candidate.starts_with(&text) || text.starts_with(&candidate));
        let steps = strsim::damerau_levenshtein(&text, &candidate);
        (begins || steps <= 1 + longer / 4).then_some(steps)
    };
    let ranked = known
        .iter()
        .filter_map(|candidate| Some((distance(candidate)?, *candidate)));
    ranked.min().map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_what_was_probably_meant() {
        let known = ["baseurl", "metalink", "mirrorlist", "sha256", "keys"];
        for (text, expected) in [
            ("baseur", Some("baseurl")),
            ("base-url", Some("baseurl")),
            ("mirror_list", Some("mirrorlist")),
            ("sha", Some("sha256")),
            ("key", Some("keys")),
            ("Metalink", Some("metalink")),
            ("wholly-other", None),
            ("", None),
        ] {
            assert_eq!(nearest(text, &known), expected, "{text}");
        }
    }
}
