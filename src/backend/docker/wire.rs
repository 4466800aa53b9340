//! What the tool and its program inside a container say to each other.
//!
//! Everything to the program comes on its standard input, in frames: a length (four bytes,
//! big endian) and as many bytes. The first frame is the order, the others are input; an
//! empty one ends the input. The end of the stream itself means that the tool is gone, and
//! ends the container. The program's last words are on standard error: the order's nonce, the answer as JSON, and a line end. Nobody else inside knows the nonce.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};

use crate::backend::Command;
use crate::backend::native::wire::{Answer, Spent};
use crate::tree::Normalise;

/// The hidden verb by which the tool's own program runs inside.
pub(super) const VERB: &str = "__inside";
/// Where the program and the libraries that it needs are inside: below `/dev`, which is no part of any tree.
pub(super) const PLACE: &str = "/dev/.pristine";
/// Where tree work finds its volume.
pub(super) const VOLUME: &str = "/volume";
/// Longest frame.
pub(super) const LONGEST: usize = 1 << 20;

/// The first frame.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// Marks the answer: unguessable text.
    pub(super) nonce: String,
    /// What is to be done.
    pub(super) work: Work,
}

/// The program's last words.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Last {
    /// How it ended.
    pub(super) answer: Answer,
    /// Processes that the kernel killed for want of memory meanwhile, on the whole machine.
    pub(super) kills: u64,
    /// What the work used.
    pub(super) spent: Option<Spent>,
}

/// What the program is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Work {
    /// Run a command.
    Run {
        command: Box<Command>,
        /// It takes input.
        input: bool,
        /// It gets a terminal of this size (rows, columns), and frames are what goes to that.
        terminal: Option<(u16, u16)>,
        /// What the root folder's mode is: engines do not all take it from the layers.
        root_mode: u32,
    },
    /// Steps on the tree in the volume, in this order.
    Tree(Vec<TreeStep>),
}

/// One step on a tree.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum TreeStep {
    /// Apply the archive that comes as input.
    Apply,
    /// Apply the archive that comes as input, as a layer above what is there.
    ApplyOver,
    /// Unpack as many packages, which come as input: eight bytes of length (big endian) before each.
    Unpack { packages: usize },
    /// Make it the same as others made from the same packages.
    Normalise(Normalise),
    /// Write it as canonical archive to standard output.
    Write,
}

/// What a frame brings to a terminal inside.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ToTerminal {
    /// What was typed.
    Keys(Vec<u8>),
    /// The size that the caller's has now: rows and columns.
    Size((u16, u16)),
}

impl ToTerminal {
    /// As a frame, ready to send.
    pub(super) fn frame(&self) -> Vec<u8> {
        match self {
            Self::Keys(keys) => frame(&[b"k", keys.as_slice()].concat()),
            Self::Size((rows, columns)) => {
                frame(&[b"s", &rows.to_be_bytes()[..], &columns.to_be_bytes()].concat())
            }
        }
    }

    /// Reads a frame's content; `None` where it is none of ours.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [b'k', keys @ ..] => Some(Self::Keys(keys.to_vec())),
            &[b's', a, b, c, d] => Some(Self::Size((
                u16::from_be_bytes([a, b]),
                u16::from_be_bytes([c, d]),
            ))),
            _ => None,
        }
    }
}

/// A frame, ready to send.
pub(super) fn frame(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(bytes.len() + 4);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(bytes);
    frame
}

/// Reads one frame; `None` at the end of the stream.
pub(super) fn read_frame(input: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > LONGEST {
        return Err(io::Error::other("a frame is too long"));
    }
    let mut bytes = vec![0; length];
    input.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}

/// Parts the program's last words from what was written before them.
#[derive(Debug)]
pub(super) struct LastWords {
    nonce: Vec<u8>,
    held: Vec<u8>,
    found: bool,
}

impl LastWords {
    pub(super) fn new(nonce: &str) -> Self {
        Self {
            nonce: nonce.as_bytes().to_vec(),
            held: Vec::new(),
            found: false,
        }
    }

    /// Takes what was read; gives what is certainly not the answer.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        if self.found {
            return Vec::new();
        }
        let length = self.nonce.len();
        let at = self
            .held
            .windows(length)
            .position(|window| window == self.nonce);
        if let Some(at) = at {
            self.found = true;
            let before = self.held.drain(..at).collect();
            self.held.drain(..length);
            return before;
        }
        // Only a beginning of the nonce has to wait.
        let from = self.held.len().saturating_sub(length - 1);
        let keep = (from..self.held.len())
            .find(|&at| self.nonce.starts_with(&self.held[at..]))
            .unwrap_or(self.held.len());
        self.held.drain(..keep).collect()
    }

    /// What was held back, and the answer, once the stream has ended.
    pub(super) fn end(self) -> (Vec<u8>, Option<Last>) {
        if !self.found {
            return (self.held, None);
        }
        let line = self.held.split(|&byte| byte == b'\n').next();
        (
            Vec::new(),
            line.and_then(|line| serde_json::from_slice(line).ok()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_found_however_they_are_cut() {
        let answer = serde_json::to_string(&Last {
            answer: Answer::Code(7),
            kills: 0,
            spent: None,
        });
        let answer = answer.unwrap();
        let text = format!("out nonnonce{answer}\nof a daemon");
        for size in 1..=text.len() {
            let mut words = LastWords::new("nonce");
            let mut before = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                before.extend(words.take(piece));
            }
            let (held, found) = words.end();
            before.extend(held);
            assert_eq!(before, b"out non", "{size}");
            let answer = found.map(|last| last.answer);
            assert!(matches!(answer, Some(Answer::Code(7))), "{size}");
        }
        let mut words = LastWords::new("nonce");
        assert_eq!(words.take(b"x non"), b"x ");
        let (held, found) = words.end();
        assert_eq!(
            (held.as_slice(), found.is_none()),
            (b"non".as_slice(), true)
        );
    }

    #[test]
    fn what_goes_to_a_terminal_comes_back() {
        for sent in [
            ToTerminal::Keys(b"ls\n".to_vec()),
            ToTerminal::Size((25, 300)),
        ] {
            let bytes = read_frame(&mut sent.frame().as_slice()).unwrap().unwrap();
            assert_eq!(ToTerminal::read(&bytes), Some(sent));
        }
        assert_eq!(ToTerminal::read(b"x"), None);
    }

    #[test]
    fn frames_come_back() {
        let bytes = [frame(b"one"), frame(b""), frame(b"two")].concat();
        let mut input = bytes.as_slice();
        for expected in [b"one".as_slice(), b"", b"two"] {
            assert_eq!(read_frame(&mut input).unwrap().unwrap(), expected);
        }
        assert!(read_frame(&mut input).unwrap().is_none());
        assert!(read_frame(&mut [0xff; 8].as_slice()).is_err());
    }
}
