//! A long list of packages in pieces of whole packages, which all processors read at once.

use std::io::{self, BufRead, Read};
use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use memchr::memmem;

/// A piece has at least so many bytes, but for the last.
const PIECE: usize = 1 << 20;
/// A package that takes more is none.
const MOST: usize = 256 << 20;
/// What a package ends with.
const END: &[u8] = b"</package>";
/// What stands before the packages of all pieces but the first, and after those of all but the last.
const OPEN: &[u8] = b"<metadata packages=\"0\">";
const CLOSE: &[u8] = b"</metadata>";

/// Packages that follow each other.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Vec<u8>,
    first: bool,
    last: bool,
}

impl Piece {
    /// The packages as a document of their own.
    pub(super) fn document(&self) -> impl BufRead {
        let open = if self.first { &[] } else { OPEN };
        let close = if self.last { &[] } else { CLOSE };
        open.chain(self.bytes.as_slice()).chain(close)
    }
}

/// A document that is split between packages.
struct Splitter<R> {
    document: R,
    kept: Vec<u8>,
    first: bool,
    ended: bool,
}

impl<R: Read> Splitter<R> {
    fn new(document: R) -> Self {
        Self {
            document,
            kept: Vec::new(),
            first: true,
            ended: false,
        }
    }

    fn next(&mut self) -> io::Result<Option<Piece>> {
        if self.ended {
            return Ok(None);
        }
        let mut wanted = PIECE;
        loop {
            let missing = wanted.saturating_sub(self.kept.len());
            let mut part = self.document.by_ref().take(missing as u64);
            self.ended = part.read_to_end(&mut self.kept)? < missing;
            if self.ended {
                return Ok(Some(self.piece(self.kept.len())));
            }
            if let Some(at) = last_end(&self.kept) {
                return Ok(Some(self.piece(at)));
            }
            if self.kept.len() >= MOST {
                return Err(io::Error::other("it has a package that is too long"));
            }
            wanted = self.kept.len() * 2;
        }
    }

    fn piece(&mut self, length: usize) -> Piece {
        let rest = self.kept.split_off(length);
        Piece {
            bytes: std::mem::replace(&mut self.kept, rest),
            first: std::mem::take(&mut self.first),
            last: self.ended,
        }
    }
}

/// Where the last package ends; nowhere if that may be in a comment or the like.
fn last_end(bytes: &[u8]) -> Option<usize> {
    let at = memmem::rfind(bytes, END)?;
    let before = &bytes[..at];
    if let Some(mark) = memmem::rfind(before, b"<!") {
        let inside = &before[mark..];
        let end: &[u8] = match inside {
            [_, _, b'-', ..] => b"-->",
            [_, _, b'[', ..] => b"]]>",
            _ => b">",
        };
        memmem::find(inside, end)?;
    }
    Some(at + END.len())
}

/// Reads a document: `parse` on all processors, `take` on this one, in the document's order.
pub(super) fn read<T: Send, E: Send>(
    document: impl Read + Send,
    unreadable: impl Fn(io::Error) -> E + Sync,
    parse: impl Fn(&Piece) -> Result<T, E> + Sync,
    mut take: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    let mut splitter = Splitter::new(document);
    let first = splitter.next().map_err(&unreadable)?;
    if let Some(whole) = first.as_ref().filter(|piece| piece.last) {
        return take(parse(whole)?);
    }
    let lanes = thread::available_parallelism().map_or(1, NonZero::get);
    let (parse, unreadable) = (&parse, &unreadable);
    thread::scope(|scope| {
        let (mut starts, mut ends) = (Vec::new(), Vec::new());
        for _ in 0..lanes {
            let (start, pieces) = sync_channel(1);
            let (results, end) = sync_channel(1);
            scope.spawn(move || work(&pieces, &results, parse));
            starts.push(start);
            ends.push(end);
        }
        scope.spawn(move || {
            let mut next = Ok(first);
            for start in starts.iter().cycle() {
                let piece = next.map_err(unreadable).transpose();
                let Some(piece) = piece else { return };
                let broken = piece.is_err();
                // Whoever does not take it has seen an error before.
                if start.send(piece).is_err() || broken {
                    return;
                }
                next = splitter.next();
            }
        });
        // Lanes are fed in turn: the first that has nothing more is after the last piece.
        for end in ends.iter().cycle() {
            match end.recv() {
                Ok(result) => take(result?)?,
                Err(_) => break,
            }
        }
        Ok(())
    })
}

fn work<T, E>(
    pieces: &Receiver<Result<Piece, E>>,
    results: &SyncSender<Result<T, E>>,
    parse: impl Fn(&Piece) -> Result<T, E>,
) {
    for piece in pieces {
        if results.send(piece.and_then(|piece| parse(&piece))).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(packages: usize, text: &str) -> String {
        let package = |number: usize| format!("<package><name>{number}</name>{text}</package>\n");
        let all: String = (0..packages).map(package).collect();
        format!("<?xml?>\n<metadata packages=\"{packages}\">\n{all}</metadata>\n")
    }

    fn text(piece: &Piece) -> Result<String, String> {
        let mut text = String::new();
        match piece.document().read_to_string(&mut text) {
            Ok(_) => Ok(text),
            Err(error) => Err(error.to_string()),
        }
    }

    fn pieces(document: &str) -> Result<Vec<String>, String> {
        let mut pieces = Vec::new();
        read(
            document.as_bytes(),
            |error| error.to_string(),
            text,
            |piece| {
                pieces.push(piece);
                Ok(())
            },
        )?;
        Ok(pieces)
    }

    #[test]
    fn all_packages_come_once_and_in_order() {
        for packages in [0, 1, 5000, 40_000] {
            let document = document(packages, &"x".repeat(100));
            let pieces = pieces(&document).unwrap();
            assert_eq!(pieces.len() > 1, packages > 5000, "{packages}");
            let inner = |text: &String| {
                let text = text
                    .strip_prefix("<metadata packages=\"0\">")
                    .unwrap_or(text);
                text.strip_suffix("</metadata>").unwrap_or(text).to_owned()
            };
            let joined: String = pieces.iter().map(inner).collect();
            assert!(joined == document, "{packages}");
            for piece in &pieces {
                assert_eq!(
                    piece.matches("<package>").count(),
                    piece.matches(END_TEXT).count()
                );
            }
        }
    }

    const END_TEXT: &str = "</package>";

    #[test]
    fn what_only_looks_like_the_end_of_a_package_is_none() {
        for text in ["<!-- </package> -->", "<a><![CDATA[ </package> ]]></a>"] {
            let cut = text.find(END_TEXT).unwrap() + END_TEXT.len();
            let before = format!("<package>{}</package>", "x".repeat(10));
            assert_eq!(
                last_end(format!("{before}<package>{}", &text[..cut]).as_bytes()),
                None
            );
            let whole = format!("{before}<package>{text}</package>");
            assert_eq!(last_end(whole.as_bytes()), Some(whole.len()));
        }
        assert_eq!(last_end(b"<metadata><package>"), None);
    }

    #[test]
    fn the_first_error_ends_it() {
        let document = document(40_000, &"x".repeat(100));
        let mut taken = 0;
        let outcome = read(
            document.as_bytes(),
            |error| error.to_string(),
            |piece| match text(piece)? {
                text if text.contains("<name>20000</name>") => Err("refused".to_owned()),
                text => Ok(text),
            },
            |_| {
                taken += 1;
                Ok(())
            },
        );
        assert_eq!(outcome, Err("refused".to_owned()));
        assert!(taken > 0);
        let failing = document.as_bytes().chain(Failing);
        let outcome = read(failing, |error| error.to_string(), text, |_| Ok(()));
        assert_eq!(outcome, Err("broken".to_owned()));
        let outcome = read(
            document.as_bytes(),
            |_| String::new(),
            text,
            |_| Err("full".to_owned()),
        );
        assert_eq!(outcome, Err("full".to_owned()));
    }

    struct Failing;

    impl Read for Failing {
        fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("broken"))
        }
    }
}
