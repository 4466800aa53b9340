//! Strings that get numbers: each is kept once, all in one piece of memory.

use ahash::RandomState;
use hashbrown::HashTable;

/// Strings by number and numbers by string.
#[derive(Debug, Default)]
pub(in crate::repository) struct Strings {
    text: String,
    ends: Vec<u32>,
    /// Hashes and numbers.
    numbers: HashTable<(u32, u32)>,
    state: RandomState,
}

impl Strings {
    /// How many there are.
    pub(in crate::repository) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of all together.
    pub(in crate::repository) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// The string with this number.
    pub(in crate::repository) fn get(&self, number: u32) -> &str {
        slice(&self.text, &self.ends, number)
    }

    /// The number of a string that is there.
    pub(in crate::repository) fn find(&self, string: &str) -> Option<u32> {
        let hash = short(self.state.hash_one(string));
        let same = |(known, number): &(u32, u32)| *known == hash && self.get(*number) == string;
        let found = self.numbers.find(long(hash), same);
        found.map(|(_, number)| *number)
    }

    /// The number of a string, which gets one if it has none.
    pub(in crate::repository) fn number(&mut self, string: &str) -> u32 {
        let Self {
            text,
            ends,
            numbers,
            state,
        } = self;
        let hash = short(state.hash_one(string));
        let same =
            |(known, number): &(u32, u32)| *known == hash && slice(text, ends, *number) == string;
        if let Some((_, known)) = numbers.find(long(hash), same) {
            return *known;
        }
        let number = u32::try_from(ends.len()).unwrap_or(u32::MAX);
        text.push_str(string);
        // Whoever fills it stops long before it has so much text.
        ends.push(u32::try_from(text.len()).unwrap_or(u32::MAX));
        numbers.insert_unique(long(hash), (hash, number), |(hash, _)| long(*hash));
        number
    }

    /// All in byte order, each with its number.
    pub(super) fn sorted(&self) -> Vec<(Key<'_>, u32)> {
        let numbers = 0..u32::try_from(self.len()).unwrap_or(u32::MAX);
        let keyed = numbers.map(|number| (Key::new(self.get(number)), number));
        let mut sorted: Vec<_> = keyed.collect();
        sorted.sort_unstable();
        sorted
    }
}

/// The half of a hash that is kept.
fn short(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or_default()
}

/// As the table wants it: it looks at both ends.
fn long(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

fn slice<'a>(text: &'a str, ends: &[u32], number: u32) -> &'a str {
    let place = number as usize;
    let start = place.checked_sub(1).map_or(0, |before| ends[before]);
    &text[start as usize..ends[place] as usize]
}

/// A string in byte order; most comparisons need its beginning alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key<'a> {
    beginning: u128,
    pub(super) string: &'a str,
}

impl<'a> Key<'a> {
    fn new(string: &'a str) -> Self {
        let mut beginning = [0; 16];
        let length = string.len().min(beginning.len());
        beginning[..length].copy_from_slice(&string.as_bytes()[..length]);
        Self {
            beginning: u128::from_be_bytes(beginning),
            string,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_keep_their_numbers_and_sort_by_bytes() {
        let mut strings = Strings::default();
        let given = [
            "b",
            "",
            "longer than a word or two",
            "longer than a",
            "ä",
            "b\0",
            "b",
        ];
        let numbers = given.map(|string| strings.number(string));
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 0]);
        assert_eq!(numbers.map(|number| strings.get(number)), given);
        assert_eq!((strings.find("ä"), strings.find("a")), (Some(4), None));
        let sorted = strings.sorted();
        let sorted: Vec<&str> = sorted.iter().map(|(key, _)| key.string).collect();
        let mut expected = given[..6].to_vec();
        expected.sort_unstable();
        assert_eq!(sorted, expected);
    }
}
