//! Where strings are found by what they say: a table with open addressing, each string in the first free slot from its
//! hash on.
//!
//! The hash is keyed by the digest of the metadata: whoever makes metadata cannot choose strings that all want the
//! same slot, since with each other choice the key is another one.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

use crate::digest::Digest;

/// Hashes strings for the slots of one index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keyed(SipHasher13);

impl Keyed {
    /// For the index of the `primary` with this digest.
    pub(super) fn by(primary: &Digest) -> Self {
        let key = primary.bytes().first_chunk().copied().unwrap_or_default();
        Self(SipHasher13::new_with_key(&key))
    }

    /// The hash of a string.
    pub(super) fn hash(self, string: &[u8]) -> u32 {
        let mut hasher = self.0;
        hasher.write(string);
        // The upper half: any will do.
        u32::try_from(hasher.finish() >> 32).unwrap_or_default()
    }
}

/// The slots that are looked at for a hash, in their order; `count` is a power of two.
pub(super) fn places(hash: u32, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |step| (hash as usize).wrapping_add(step) & (count - 1))
}

/// The slots of the strings with these hashes, by number: each has the string's number and one more, or nothing.
pub(super) fn table(hashes: &[u32]) -> Vec<u32> {
    // At most four of five are taken, so that few are looked at.
    let count = (hashes.len() + hashes.len() / 4 + 1).next_power_of_two();
    let mut slots = vec![0; count];
    for (number, hash) in (1..).zip(hashes) {
        if let Some(place) = places(*hash, count).find(|place| slots[*place] == 0) {
            slots[place] = number;
        }
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_string_has_the_first_free_slot() {
        assert_eq!(table(&[]), [0]);
        assert_eq!(table(&[5, 1, 5, 1]), [0, 2, 4, 0, 0, 1, 3, 0]);
        // Around the end.
        assert_eq!(table(&[7, 7, 7, 15]), [2, 3, 4, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn the_hash_is_the_same_for_all_times() {
        let of = |primary: &[u8]| Keyed::by(&Digest::of(primary)).hash(b"a string");
        insta::assert_compact_debug_snapshot!([of(b"a"), of(b"b")], @"[707429321, 2576459045]");
    }
}
