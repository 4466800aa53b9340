//! Where frames of a layer begin: at members of its tar that are chosen by what their own headers say, so that two tars which
//! differ in a few members have all frames in common but those.

use std::mem;

use tar::Header;

/// A tar is made of blocks of so many bytes.
const BLOCK: usize = 512;
/// One member of so many is chosen.
const ONE_OF: u32 = 16;
/// A frame has at least and at most so many bytes of the tar, but for the last.
pub(super) const LEAST: usize = 128 << 10;
pub(super) const MOST: usize = 8 << 20;

/// Cuts a tar into frames. Where it cuts is part of the format: it depends on the bytes alone, not on how they come.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    frame: Vec<u8>,
    /// So many bytes of the frame have been looked at.
    looked: usize,
}

impl Cutter {
    /// Takes what follows of the tar; gives the frames that are complete with that. The next are put into `spare` memory.
    pub(super) fn push(&mut self, mut bytes: &[u8], spare: impl Fn() -> Vec<u8>) -> Vec<Vec<u8>> {
        let mut complete = Vec::new();
        while !bytes.is_empty() {
            let (fits, rest) = bytes.split_at(bytes.len().min(MOST - self.frame.len()));
            self.frame.extend_from_slice(fits);
            bytes = rest;
            while let Some(end) = self.end() {
                let mut next = spare();
                next.extend_from_slice(&self.frame[end..]);
                self.frame.truncate(end);
                complete.push(mem::replace(&mut self.frame, next));
                self.looked = 0;
            }
        }
        complete
    }

    /// The last frame.
    pub(super) fn finish(self) -> Vec<u8> {
        self.frame
    }

    /// Where the frame ends, as far as it is known yet.
    fn end(&mut self) -> Option<usize> {
        // The first block of a frame may be the one that the frame before has ended at.
        self.looked = self.looked.max(LEAST);
        while let Some(block) = self.frame.get(self.looked..self.looked + BLOCK) {
            if is_chosen(block) {
                return Some(self.looked);
            }
            self.looked += BLOCK;
        }
        (self.frame.len() == MOST).then_some(MOST)
    }
}

/// Whether a block is the header of a member that begins a frame. One in the content of a file that looks like that
/// is as good.
fn is_chosen(block: &[u8]) -> bool {
    let header = Header::from_byte_slice(block);
    header.as_ustar().is_some() && header.cksum().is_ok_and(|sum| sum % ONE_OF == 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A tar of files with these sizes, each with a content of its own.
    fn tar(files: &[(u32, usize)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, size) in files {
            let mut header = Header::new_ustar();
            header.set_size(*size as u64);
            let content = name.to_le_bytes().repeat(size / 4 + 1);
            let path = format!("file-{name}");
            tar.append_data(&mut header, path, &content[..*size])
                .unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn frames(tar: &[u8], step: usize) -> Vec<Vec<u8>> {
        let mut cutter = Cutter::default();
        let mut frames: Vec<Vec<u8>> = tar
            .chunks(step)
            .flat_map(|bytes| cutter.push(bytes, Vec::new))
            .collect();
        frames.push(cutter.finish());
        frames
    }

    /// As many files as make some frames.
    fn many(count: u32) -> Vec<(u32, usize)> {
        (0..count)
            .map(|name| (name, (name as usize * 7919) % 60_000))
            .collect()
    }

    #[test]
    fn a_file_that_changes_changes_the_frames_that_it_is_in() {
        let mut files = many(1000);
        let before = frames(&tar(&files), 1 << 20);
        assert!(before.len() > 8, "{}", before.len());
        files[500].1 += 1000;
        files.remove(200);
        let after = frames(&tar(&files), 1 << 20);
        let new = after.iter().filter(|frame| !before.contains(frame));
        assert!((1..=4).contains(&new.count()));
    }

    #[test]
    fn a_file_without_members_in_it_is_cut_at_the_greatest_length() {
        let all = frames(&tar(&[(1, 20 << 20)]), 1 << 20);
        let lengths: Vec<usize> = all.iter().map(Vec::len).collect();
        assert_eq!(lengths, [MOST, MOST, (4 << 20) + 3 * BLOCK]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn the_frames_are_the_tar_however_it_comes(count in 0_u32..300, step in 1_usize..100_000, cut in 0_usize..1000) {
            let mut tar = tar(&many(count));
            // One that breaks off is no tar, and is kept all the same.
            tar.truncate(tar.len().saturating_sub(cut));
            let all = frames(&tar, step);
            prop_assert_eq!(&frames(&tar, 1 << 20), &all);
            prop_assert!(all.iter().all(|frame| frame.len() <= MOST));
            prop_assert_eq!(all.concat(), tar);
        }
    }
}
