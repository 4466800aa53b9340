//! `DocumentError`: what is wrong with a document, where, and what is allowed there.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// What a document's error is about; the message does not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// The file does not exist.
    Missing,
    /// The file is there and cannot be read: permissions, size, not UTF-8, a fault of the disk.
    Unreadable,
    /// The file holds something that is not allowed.
    Invalid,
    /// The file's format is newer than this program.
    Newer,
    /// The file holds the markers of an unresolved merge.
    MergeConflict,
}

/// Something is wrong with a document. Its text has several lines: the place, the complaint,
/// the line of the document with a marker below it, and notes on what is allowed.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct DocumentError(Box<Details>);

#[derive(Debug)]
struct Details {
    problem: Problem,
    path: PathBuf,
    place: Option<Place>,
    message: String,
    notes: Vec<String>,
}

/// A place in a document, with what is needed to show it.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
    text: String,
    /// Offset of the marker in `text`, characters.
    offset: usize,
    /// Length of the marker, characters, at least 1.
    length: usize,
}

/// The longest piece of a line that is shown, characters.
const SHOWN: usize = 100;

impl DocumentError {
    /// An error about the whole of `path`.
    pub(super) fn of(problem: Problem, path: &Path, message: impl Into<String>) -> Self {
        Self(Box::new(Details {
            problem,
            path: path.to_owned(),
            place: None,
            message: message.into(),
            notes: Vec::new(),
        }))
    }

    /// An error at the bytes `span` of `text`, the content of `path`.
    pub(super) fn at(
        path: &Path,
        text: &str,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> Self {
        let mut error = Self::of(Problem::Invalid, path, message);
        error.0.place = Some(Place::new(text, span));
        error
    }

    /// The file could not be read.
    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::of(Problem::Missing, path, "no such file"),
            // The error's own text names the path again: its kind is what matters here.
            kind => Self::of(Problem::Unreadable, path, format!("cannot read it: {kind}")),
        }
    }

    /// The same error with one more note below it.
    #[must_use]
    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.0.notes.push(note.into());
        self
    }

    /// The same error, said to be about something else.
    #[must_use]
    pub(super) fn problem_is(mut self, problem: Problem) -> Self {
        self.0.problem = problem;
        self
    }

    /// What the error is about.
    pub fn problem(&self) -> Problem {
        self.0.problem
    }

    /// The document.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Line and column of the place, counted from 1, columns in characters.
    pub fn position(&self) -> Option<(usize, usize)> {
        self.0
            .place
            .as_ref()
            .map(|place| (place.line, place.column))
    }
}

impl fmt::Display for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", printable(&self.path.to_string_lossy()))?;
        let mut gutter = 1;
        if let Some(place) = &self.place {
            gutter = place.line.to_string().len();
            write!(f, ":{}:{}", place.line, place.column)?;
        }
        write!(f, ": {}", printable(&self.message))?;
        if let Some(place) = &self.place {
            let marker = "^".repeat(place.length);
            write!(f, "\n{:gutter$} |", "")?;
            write!(f, "\n{} | {}", place.line, place.text)?;
            write!(
                f,
                "\n{:gutter$} | {:offset$}{marker}",
                "",
                "",
                offset = place.offset
            )?;
        }
        for note in &self.notes {
            write!(f, "\n{:gutter$} = {}", "", printable(note))?;
        }
        Ok(())
    }
}

impl Place {
    fn new(text: &str, span: Range<usize>) -> Self {
        let start = text.floor_char_boundary(span.start.min(text.len()));
        let end = text.floor_char_boundary(span.end.clamp(start, text.len()));
        let head = &text[..start];
        let line_start = head.rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..]
            .find('\n')
            .map_or(text.len(), |newline| start + newline);
        let before = text[line_start..start].chars().count();
        // Cleaned as a whole: what is a password can only be told with what stands before it.
        let line = printable(text[line_start..line_end].trim_end_matches('\r'));
        let line: Vec<char> = line.chars().collect();
        let marked = text[start..end.min(line_end)].trim_end().chars().count();
        // A long line is shown around the place.
        let from = if before + marked <= SHOWN {
            0
        } else {
            // It may be behind the line's end, in what is not shown.
            before.saturating_sub(SHOWN / 4).min(line.len())
        };
        let to = line.len().min(from + SHOWN);
        let (lead, trail) = (
            if from > 0 { "…" } else { "" },
            if to < line.len() { "…" } else { "" },
        );
        let shown: String = line.get(from..to).unwrap_or_default().iter().collect();
        let offset = (before - from).min(to - from);
        Self {
            line: head.matches('\n').count() + 1,
            column: before + 1,
            text: format!("{lead}{shown}{trail}").trim_end().to_owned(),
            offset: offset + lead.chars().count(),
            length: marked.clamp(1, (to - from).saturating_sub(offset).max(1)),
        }
    }
}

/// Text of others without control characters, so that it cannot steer a terminal, and without
/// passwords of URLs, since messages end up in logs; as long as before.
fn printable(text: &str) -> String {
    let clean = |c: char| match c {
        '\t' => ' ',
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    let text: String = text.chars().map(clean).collect();
    let mut pieces = text.split("://");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |done, piece| {
        let ends = |c: char| matches!(c, '/' | '?' | '#' | '"' | '\'' | '`' | ' ' | ',');
        let authority = &piece[..piece.find(ends).unwrap_or(piece.len())];
        let secret = authority.rfind('@').unwrap_or(0);
        let stars = "*".repeat(piece[..secret].chars().count());
        format!("{done}://{stars}{}", &piece[secret..])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, span: Range<usize>) -> (usize, usize, usize, usize) {
        let place = Place::new(text, span);
        (place.line, place.column, place.offset, place.length)
    }

    #[test]
    fn a_place_is_counted_in_characters_from_one() {
        for (text, span, expected) in [
            ("abc", 0..3, (1, 1, 0, 3)),
            ("abc\ndef", 4..5, (2, 1, 0, 1)),
            ("é = è", 5..7, (1, 5, 4, 1)),
            ("abc\n", 4..4, (2, 1, 0, 1)),
            ("", 0..0, (1, 1, 0, 1)),
            ("a\r\nb", 0..4, (1, 1, 0, 1)),
            ("ab", 70..90, (1, 3, 2, 1)),
            ("a\r\r\rb", 2..3, (1, 3, 2, 1)),
            ("a\r\r\r", 3..4, (1, 4, 1, 1)),
        ] {
            assert_eq!(place(text, span), expected, "{text:?}");
        }
    }

    /// Found by fuzzing.
    #[test]
    fn a_place_may_lie_far_behind_what_is_shown_of_its_line() {
        let text = format!("a{}", "\r".repeat(500));
        assert_eq!(place(&text, 400..401), (1, 401, 1, 1));
    }

    #[test]
    fn a_long_line_is_shown_around_the_place() {
        let text = format!("{}HERE{}", "a".repeat(500), "b".repeat(500));
        let error = DocumentError::at(Path::new("x.toml"), &text, 500..504, "no");
        insta::assert_snapshot!(error, @"
        x.toml:1:501: no
          |
        1 | …aaaaaaaaaaaaaaaaaaaaaaaaaHEREbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb…
          |                           ^^^^
        ");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let error = DocumentError::at(
            Path::new("x.toml"),
            "a = \u{1b}[31m\t\u{202e}",
            4..5,
            "bad \u{7}",
        )
        .note("not \n this");
        insta::assert_snapshot!(error, @"
        x.toml:1:5: bad �
          |
        1 | a = �[31m �
          |     ^
          = not � this
        ");
    }

    proptest::proptest! {
        #[test]
        fn any_span_of_any_text_can_be_shown(text in "\\PC{0,40}(\n\\PC{0,200}[\r \u{7}]{0,200}){0,3}", start in 0_usize..400, length in 0_usize..400) {
            let error = DocumentError::at(Path::new("x"), &text, start..start + length, "no").to_string();
            assert!(error.lines().count() == 4 && error.lines().all(|line| line.chars().count() < SHOWN + 20));
        }
    }
}
