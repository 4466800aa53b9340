//! A long list of packages in pieces of whole packages, which all processors read at once.

use std::io::{self, Read};
use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use memchr::memmem;

/// A piece has at least so many bytes, but for the last.
const PIECE: usize = 1 << 20;
/// A package that takes more is none.
const MOST: usize = 16 << 20;
/// More than any distribution's list unpacks to.
const MAX_OPEN_SIZE: u64 = 8 << 30;
/// More lanes only wait for what comes before them, which is decompressed on one processor.
const MOST_LANES: usize = 8;
/// What a package ends with.
const END: &[u8] = b"</package>";
/// What stands before the packages of all pieces but the first, and after those of all but the last.
const OPEN: &[u8] = b"<metadata packages=\"0\">";
const CLOSE: &[u8] = b"</metadata>";

/// A document that is split between packages.
struct Splitter<R> {
    document: io::Take<R>,
    /// What was read of the next piece.
    kept: Vec<u8>,
    ended: bool,
}

impl<R: Read> Splitter<R> {
    fn new(document: R) -> Self {
        Self {
            document: document.take(MAX_OPEN_SIZE),
            kept: Vec::new(),
            ended: false,
        }
    }

    /// Packages that follow each other, as a document of their own.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.ended {
            return Ok(None);
        }
        let mut wanted = PIECE;
        loop {
            self.fill(wanted)?;
            if self.ended {
                return Ok(Some(std::mem::take(&mut self.kept)));
            }
            if let Some(at) = last_end(&self.kept) {
                let mut next = Vec::with_capacity(PIECE + (PIECE >> 2));
                next.extend_from_slice(OPEN);
                next.extend_from_slice(&self.kept[at..]);
                let mut piece = std::mem::replace(&mut self.kept, next);
                piece.truncate(at);
                piece.extend_from_slice(CLOSE);
                return Ok(Some(piece));
            }
            if self.kept.len() >= MOST {
                return Err(io::Error::other("it has a package that is too long"));
            }
            wanted = self.kept.len() * 2;
        }
    }

    /// Reads until so much is kept, or the document ends.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        let mut length = self.kept.len();
        self.kept.resize(wanted.max(length), 0);
        while length < self.kept.len() && !self.ended {
            match self.document.read(&mut self.kept[length..]) {
                Ok(0) => self.ended = true,
                Ok(count) => length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.kept.truncate(length);
        if self.ended && self.document.limit() == 0 {
            return Err(io::Error::other("it is too large"));
        }
        Ok(())
    }
}

/// Where the last package ends; nowhere if that may be in a comment or the like.
fn last_end(bytes: &[u8]) -> Option<usize> {
    let at = memmem::rfind(bytes, END)?;
    let before = &bytes[..at];
    // Forwards: that is the way that is fast.
    if let Some(mark) = memmem::find_iter(before, b"<!").last() {
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

/// Reads a document in pieces: `parse` on all processors, each with a lane of its own that `lane` makes, and `take` on
/// this one, in the document's order. Gives the lanes: piece by piece they had their turns, beginning with the first.
pub(super) fn read<L: Send, T: Send, E: Send>(
    document: impl Read + Send,
    unreadable: impl Fn(io::Error) -> E + Sync,
    lane: impl Fn() -> L,
    parse: impl Fn(&mut L, &[u8]) -> Result<T, E> + Sync,
    mut take: impl FnMut(T) -> Result<(), E>,
) -> Result<Vec<L>, E> {
    let mut splitter = Splitter::new(document);
    let first = splitter.next().map_err(&unreadable)?;
    if splitter.ended {
        let mut only = lane();
        if let Some(piece) = first {
            take(parse(&mut only, &piece)?)?;
        }
        return Ok(vec![only]);
    }
    let lanes = thread::available_parallelism().map_or(1, NonZero::get);
    let (parse, unreadable) = (&parse, &unreadable);
    thread::scope(|scope| {
        let (mut starts, mut ends, mut workers) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..lanes.min(MOST_LANES) {
            let (start, pieces) = sync_channel(1);
            let (results, end) = sync_channel(1);
            let lane = lane();
            workers.push(scope.spawn(move || work(lane, &pieces, &results, parse)));
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
        let lanes = workers.into_iter().map(|worker| {
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        Ok(lanes.collect())
    })
}

fn work<L, T, E>(
    mut lane: L,
    pieces: &Receiver<Result<Vec<u8>, E>>,
    results: &SyncSender<Result<T, E>>,
    parse: impl Fn(&mut L, &[u8]) -> Result<T, E>,
) -> L {
    for piece in pieces {
        let result = piece.and_then(|piece| parse(&mut lane, &piece));
        if results.send(result).is_err() {
            break;
        }
    }
    lane
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(packages: usize, text: &str) -> String {
        let package = |number: usize| format!("<package><name>{number}</name>{text}</package>\n");
        let all: String = (0..packages).map(package).collect();
        format!("<?xml?>\n<metadata packages=\"{packages}\">\n{all}</metadata>\n")
    }

    fn text(count: &mut usize, piece: &[u8]) -> Result<String, String> {
        *count += 1;
        String::from_utf8(piece.to_vec()).map_err(|error| error.to_string())
    }

    fn pieces(document: &str) -> Result<Vec<String>, String> {
        let mut pieces = Vec::new();
        let lanes = read(
            document.as_bytes(),
            |error| error.to_string(),
            || 0,
            text,
            |piece| {
                pieces.push(piece);
                Ok(())
            },
        )?;
        let turns = |lane: usize| (pieces.len() + lanes.len() - 1 - lane) / lanes.len();
        let expected: Vec<usize> = (0..lanes.len()).map(turns).collect();
        assert_eq!(lanes, expected);
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
            || 0,
            |count, piece| match text(count, piece)? {
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
        let outcome = read(failing, |error| error.to_string(), || 0, text, |_| Ok(()));
        assert_eq!(outcome, Err("broken".to_owned()));
        let outcome = read(
            document.as_bytes(),
            |_| String::new(),
            || 0,
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
