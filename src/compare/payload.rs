//! Two payloads: streamed side by side, every file digested, and those that differ looked into.
//!
//! The headers' digests tell which contents to keep while they pass by; what differs all the same, or is too large to be
//! kept, is read once more and compared as it streams. Memory is bounded, whatever the payloads' sizes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::difference::named;
use super::files::relative;
use super::found::{Found, Place};
use super::package::Package;
use super::{CompareError, content, files};
use crate::digest::{Digest, HashingWriter};
use crate::threads::ended;
use crate::tree::payload::{Name, Payload, decompress};

/// The largest file that is looked into; of larger ones the bytes around the first difference are shown.
const LARGEST: u64 = 64 << 20;
/// What may wait for its counterpart.
const WAITING: usize = 256 << 20;
/// Files that are read once more.
const MOST_APART: usize = 32;

/// Content of a file under the key of its pair; none where it is too large to be kept.
type Kept = (usize, Option<Vec<u8>>);
/// What became of every file of a payload, by its number in the header.
type Digests = BTreeMap<usize, Digest>;

/// Files that both packages have: their numbers in the two headers. The number in the first is the pair's key.
struct Pairs(Vec<(usize, usize)>);

impl Pairs {
    fn new(first: &Package, second: &Package) -> Self {
        let numbers: HashMap<&[u8], usize> = second
            .files
            .iter()
            .enumerate()
            .map(|(at, file)| (file.path.as_slice(), at))
            .collect();
        let files = first
            .files
            .iter()
            .enumerate()
            .filter(|(_, file)| file.is_file());
        let pair = |(at, file): (usize, &files::FileFacts)| {
            Some((at, *numbers.get(file.path.as_slice())?))
        };
        Self(
            files
                .filter_map(pair)
                .filter(|(_, other)| second.files[*other].is_file())
                .collect(),
        )
    }

    /// Those whose content is kept: the headers say that it differs, or say nothing.
    fn wanted(&self, first: &Package, second: &Package) -> Vec<(usize, usize)> {
        let differs = |(a, b): &(usize, usize)| {
            let (a, b) = (&first.files[*a].digest, &second.files[*b].digest);
            a != b || a.is_empty()
        };
        self.0.iter().copied().filter(differs).collect()
    }
}

pub(super) fn compare(
    first: &Package,
    second: &Package,
    found: &mut Found<'_>,
) -> Result<(), CompareError> {
    let pairs = Pairs::new(first, second);
    let (looked_into, [own, other]) = stream(first, second, &pairs, found)?;
    check(first, &own, found);
    check(second, &other, found);
    let differ = |(a, b): &&(usize, usize)| own.get(a) != other.get(b) && !looked_into.contains(a);
    for (a, b) in pairs.0.iter().filter(differ).take(MOST_APART) {
        let place = Place::of(named(&first.files[*a].path));
        let mut streams = (entry(first, *a)?, entry(second, *b)?);
        content::stream(&place, &mut streams.0, &mut streams.1, found)
            .map_err(CompareError::payload(&first.path))?;
    }
    Ok(())
}

/// Reads both payloads at once, and looks into what was kept of them. Gives the keys of those pairs, and all digests.
fn stream(
    first: &Package,
    second: &Package,
    pairs: &Pairs,
    found: &mut Found<'_>,
) -> Result<(HashSet<usize>, [Digests; 2]), CompareError> {
    let wanted = pairs.wanted(first, second);
    let in_first: HashMap<usize, usize> = wanted.iter().map(|(a, _)| (*a, *a)).collect();
    let in_second: HashMap<usize, usize> = wanted.iter().map(|(a, b)| (*b, *a)).collect();
    thread::scope(|scope| {
        let ((to_a, from_a), (to_b, from_b)) = (sync_channel(1), sync_channel(1));
        let a = scope.spawn(|| digest(first, &in_first, to_a));
        let b = scope.spawn(|| digest(second, &in_second, to_b));
        let looked_into = pair_up(&[from_a, from_b], first, found);
        let own = ended(a.join()).map_err(CompareError::payload(&first.path))?;
        let other = ended(b.join()).map_err(CompareError::payload(&second.path))?;
        Ok((looked_into, [own, other]))
    })
}

/// Reads a payload to its end; contents under the keys of `wanted` are sent as they pass by.
#[expect(clippy::needless_pass_by_value, reason = "the channel ends with it")]
fn digest(
    package: &Package,
    wanted: &HashMap<usize, usize>,
    send: SyncSender<Kept>,
) -> io::Result<Digests> {
    let mut digests = Digests::new();
    each(package, |at, size, content| {
        let mut sink = HashingWriter::new(io::sink());
        match wanted.get(&at) {
            Some(key) if size <= LARGEST => {
                let mut bytes = Vec::new();
                content.read_to_end(&mut bytes)?;
                digests.insert(at, Digest::of(&bytes));
                // The other end waits until both sides have ended.
                let _ended = send.send((*key, Some(bytes)));
            }
            key => {
                io::copy(content, &mut sink)?;
                digests.insert(at, sink.finish().1);
                if let Some(key) = key {
                    let _ended = send.send((*key, None));
                }
            }
        }
        Ok(true)
    })?;
    Ok(digests)
}

/// Calls `with` with the number, the size and the content of every entry, until it says that it has enough.
fn each(
    package: &Package,
    mut with: impl FnMut(usize, u64, &mut dyn Read) -> io::Result<bool>,
) -> io::Result<()> {
    if package.files.is_empty() {
        return Ok(());
    }
    let numbers: HashMap<&[u8], usize> = package
        .files
        .iter()
        .enumerate()
        .map(|(at, file)| (file.path.as_slice(), at))
        .collect();
    let size_of = |number: usize| package.files.get(number).map(|file| file.content);
    let mut payload = Payload::new(decompress(package.open_payload()?)?);
    while let Some((name, size)) = payload.next_entry(&size_of)? {
        let at = match &name {
            Name::Number(at) => Some(*at),
            Name::Path(path) => numbers.get(relative(path)).copied(),
        };
        let at = at.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "it has a file that the header does not list",
            )
        })?;
        if !with(at, size, &mut payload)? {
            return Ok(());
        }
    }
    payload.finish()
}

/// Looks into contents as soon as both sides have sent theirs.
fn pair_up(from: &[Receiver<Kept>; 2], first: &Package, found: &mut Found<'_>) -> HashSet<usize> {
    let mut waiting: HashMap<usize, (usize, Vec<u8>)> = HashMap::new();
    let (mut held, mut done, mut open) = (0, HashSet::new(), [true; 2]);
    while open.contains(&true) {
        for side in 0..2 {
            let Some((key, content)) = open[side].then(|| from[side].recv().ok()).flatten() else {
                open[side] = false;
                continue;
            };
            let Some(content) = content else { continue };
            match waiting.remove(&key) {
                Some((of, other)) if of != side => {
                    held -= other.len();
                    let (a, b) = if side == 0 {
                        (content, other)
                    } else {
                        (other, content)
                    };
                    if done.insert(key) && a != b {
                        found.refill();
                        content::compare(&Place::of(named(&first.files[key].path)), &a, &b, found);
                    }
                }
                // A payload that has a file twice: both are compared as they stream.
                Some((_, other)) => held -= other.len(),
                None if held + content.len() <= WAITING => {
                    held += content.len();
                    waiting.insert(key, (side, content));
                }
                None => {}
            }
        }
    }
    done
}

/// Holds what a header says of its files against what they are, where it says so in SHA-256.
fn check(package: &Package, digests: &Digests, found: &mut Found<'_>) {
    const SHA256: u64 = 8;
    if package.tags.main.numbers(5011) != [SHA256] {
        return;
    }
    for (at, digest) in digests {
        let file = &package.files[*at];
        if file.is_file()
            && file.content > 0
            && !file.digest.is_empty()
            && file.digest != digest.hex().as_bytes()
        {
            files::false_digest(&file.path, found);
        }
    }
}

/// The content of one file, decompressed as it is read.
fn entry(package: &Package, wanted: usize) -> Result<Box<dyn Read>, CompareError> {
    let numbers: HashMap<Vec<u8>, usize> = package
        .files
        .iter()
        .enumerate()
        .map(|(at, file)| (file.path.clone(), at))
        .collect();
    let sizes: Vec<u64> = package.files.iter().map(|file| file.content).collect();
    let error = CompareError::payload(&package.path);
    let input = package
        .open_payload()
        .and_then(decompress)
        .map_err(&error)?;
    let mut payload = Payload::new(input);
    while let Some((name, _)) = payload
        .next_entry(&|number| sizes.get(number).copied())
        .map_err(&error)?
    {
        let at = match name {
            Name::Number(at) => Some(at),
            Name::Path(path) => numbers.get(relative(&path)).copied(),
        };
        if at == Some(wanted) {
            return Ok(Box::new(payload));
        }
    }
    Ok(Box::new(io::empty()))
}
