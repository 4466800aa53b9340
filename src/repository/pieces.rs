//! A long list of packages in pieces of whole packages, which all processors read at once.

use std::io::{self, Read};
use std::num::NonZero;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use memchr::memmem;

use crate::threads::{Ordered, ended};

/// A piece has at least so many bytes, but for the last: it and what is made of it fit into a processor's own cache.
const PIECE: usize = 1 << 18;
/// A package that takes more is none.
const MOST: usize = 16 << 20;
/// More than any distribution's list unpacks to.
const MAX_OPEN_SIZE: u64 = 8 << 30;
/// More lanes only wait for what comes before them, since one at a time decompresses.
const MOST_LANES: usize = 8;
/// What a package ends with.
const END: &[u8] = b"</package>";
/// What stands before the packages of all pieces but the first, and after those of all but the last.
const OPEN: &[u8] = b"<metadata packages=\"0\">";
const CLOSE: &[u8] = b"</metadata>";

/// Packages that follow each other, as a document of their own; the memory is used again.
#[derive(Debug, Default)]
struct Piece {
    memory: Vec<u8>,
    length: usize,
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        &self.memory[..self.length]
    }

    /// Makes room for so many bytes in all.
    fn reserve(&mut self, length: usize) {
        if self.memory.is_empty() {
            // Zeros that come from the system cost nothing, not even without optimisation.
            self.memory = vec![0; length];
        } else if self.memory.len() < length {
            self.memory.resize(length, 0);
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.reserve(self.length + bytes.len());
        self.memory[self.length..][..bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }
}

/// A document that is split between packages.
struct Splitter<R> {
    document: io::Take<R>,
    /// What was read of the next piece.
    kept: Vec<u8>,
    /// How many pieces there were.
    pieces: usize,
    ended: bool,
}

impl<R: Read> Splitter<R> {
    fn new(document: R) -> Self {
        Self {
            document: document.take(MAX_OPEN_SIZE),
            kept: Vec::new(),
            pieces: 0,
            ended: false,
        }
    }

    /// The next piece, and which it is.
    fn next(&mut self, piece: &mut Piece) -> io::Result<Option<usize>> {
        if self.ended {
            return Ok(None);
        }
        let number = self.pieces;
        self.pieces += 1;
        piece.length = 0;
        piece.reserve(OPEN.len() + self.kept.len() + PIECE + CLOSE.len());
        piece.push(if number > 0 { OPEN } else { b"" });
        piece.push(&self.kept);
        let mut wanted = piece.length + PIECE;
        loop {
            self.fill(piece, wanted)?;
            if self.ended {
                return Ok(Some(number));
            }
            if let Some(at) = last_end(piece.bytes()) {
                self.kept.clear();
                self.kept.extend_from_slice(&piece.bytes()[at..]);
                piece.length = at;
                piece.push(CLOSE);
                return Ok(Some(number));
            }
            if piece.length >= MOST {
                return Err(io::Error::other("it has a package that is too long"));
            }
            wanted = piece.length * 2;
        }
    }

    /// Reads until the piece has so many bytes, or the document ends.
    fn fill(&mut self, piece: &mut Piece, wanted: usize) -> io::Result<()> {
        piece.reserve(wanted);
        while piece.length < wanted && !self.ended {
            match self.document.read(&mut piece.memory[piece.length..wanted]) {
                Ok(0) => self.ended = true,
                Ok(count) => piece.length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
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

/// Reads a document in pieces: `parse` on all processors, each with a lane of its own that `lane` makes, which is told how
/// many there are, and `take` on this one, in the document's order. Gives the lanes; `parse` is told which of the pieces it has.
pub(super) fn read<L: Send, T: Send, E: Send>(
    document: impl Read + Send,
    unreadable: impl Fn(io::Error) -> E + Sync,
    lane: impl Fn(usize) -> L,
    parse: impl Fn(&mut L, usize, &[u8]) -> Result<T, E> + Sync,
    mut take: impl FnMut(T) -> Result<(), E>,
) -> Result<Vec<L>, E> {
    let mut splitter = Splitter::new(document);
    let mut first = Piece::default();
    let number = splitter.next(&mut first).map_err(&unreadable)?;
    if splitter.ended {
        let mut only = lane(1);
        if let Some(number) = number {
            take(parse(&mut only, number, first.bytes())?)?;
        }
        return Ok(vec![only]);
    }
    let work = Work {
        splitter: Mutex::new(splitter),
        unreadable,
        parse,
    };
    let mut first = Some(first);
    let lanes = thread::available_parallelism().map_or(1, NonZero::get);
    let lanes = lanes.min(MOST_LANES);
    thread::scope(|scope| {
        let (results, ends) = sync_channel(MOST_LANES);
        let mut workers = Vec::new();
        for _ in 0..lanes {
            let (lane, first, results, work) = (lane(lanes), first.take(), results.clone(), &work);
            workers.push(scope.spawn(move || work.lane(lane, first, &results)));
        }
        drop(results);
        for result in Ordered::new(ends) {
            take(result?)?;
        }
        let lanes = workers.into_iter().map(|worker| ended(worker.join()));
        Ok(lanes.collect())
    })
}

/// What all lanes do.
struct Work<R, U, P> {
    splitter: Mutex<Splitter<R>>,
    unreadable: U,
    parse: P,
}

impl<R: Read, U, P> Work<R, U, P> {
    /// Piece by piece; whoever is next decompresses its own.
    fn lane<L, T, E>(
        &self,
        mut lane: L,
        first: Option<Piece>,
        results: &SyncSender<(usize, Result<T, E>)>,
    ) -> L
    where
        U: Fn(io::Error) -> E,
        P: Fn(&mut L, usize, &[u8]) -> Result<T, E>,
    {
        let mut next = first.is_some().then_some((0, Ok(())));
        let mut piece = first.unwrap_or_default();
        loop {
            let Some((number, filled)) = next.or_else(|| self.next(&mut piece)) else {
                return lane;
            };
            let result = match filled {
                Ok(()) => (self.parse)(&mut lane, number, piece.bytes()),
                Err(error) => Err((self.unreadable)(error)),
            };
            let failed = result.is_err();
            // Whoever does not take it has seen an error before.
            if results.send((number, result)).is_err() || failed {
                let splitter = self.splitter.lock();
                splitter.unwrap_or_else(PoisonError::into_inner).ended = true;
                return lane;
            }
            next = None;
        }
    }

    fn next(&self, piece: &mut Piece) -> Option<(usize, io::Result<()>)> {
        let mut splitter = self.splitter.lock().unwrap_or_else(PoisonError::into_inner);
        match splitter.next(piece) {
            Ok(number) => Some((number?, Ok(()))),
            Err(error) => {
                splitter.ended = true;
                Some((splitter.pieces - 1, Err(error)))
            }
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

    fn text(numbers: &mut Vec<usize>, number: usize, piece: &[u8]) -> Result<String, String> {
        numbers.push(number);
        String::from_utf8(piece.to_vec()).map_err(|error| error.to_string())
    }

    fn pieces(document: &str) -> Result<Vec<String>, String> {
        let mut pieces = Vec::new();
        let lanes = read(
            document.as_bytes(),
            |error| error.to_string(),
            |_| Vec::new(),
            text,
            |piece| {
                pieces.push(piece);
                Ok(())
            },
        )?;
        assert!(lanes.iter().all(|numbers| numbers.is_sorted()));
        let mut numbers: Vec<usize> = lanes.into_iter().flatten().collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..pieces.len()).collect::<Vec<_>>());
        Ok(pieces)
    }

    #[test]
    fn all_packages_come_once_and_in_order() {
        for packages in [0, 1, 1000, 40_000] {
            let document = document(packages, &"x".repeat(100));
            let pieces = pieces(&document).unwrap();
            assert_eq!(pieces.len() > 1, packages > 1000, "{packages}");
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
            |_| Vec::new(),
            |numbers, number, piece| match text(numbers, number, piece)? {
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
        let outcome = read(
            failing,
            |error| error.to_string(),
            |_| Vec::new(),
            text,
            |_| Ok(()),
        );
        assert_eq!(outcome, Err("broken".to_owned()));
        let outcome = read(
            document.as_bytes(),
            |_| String::new(),
            |_| Vec::new(),
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
