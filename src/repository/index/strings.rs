//! Strings that get numbers: each is kept once, all in one piece of memory.

use std::iter;

use ahash::RandomState;
use hashbrown::HashTable;

/// Strings, each kept once, and something that belongs to each.
#[derive(Debug)]
pub(in crate::repository) struct Texts<V> {
    text: String,
    places: HashTable<Place<V>>,
    state: RandomState,
}

/// Where a string is, beside its hash: most that are not the same are known to be others without a look at them.
#[derive(Debug, Clone, Copy)]
struct Place<V> {
    hash: u32,
    start: u32,
    length: u32,
    value: V,
}

impl<V> Default for Texts<V> {
    fn default() -> Self {
        Self {
            text: String::new(),
            places: HashTable::new(),
            state: RandomState::new(),
        }
    }
}

impl<V: Copy> Texts<V> {
    /// None yet, and room for what may come.
    pub(in crate::repository) fn with_room(texts: usize, bytes: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
            places: HashTable::with_capacity(texts),
            state: RandomState::new(),
        }
    }

    /// Bytes of all together.
    pub(in crate::repository) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// What belongs to a string; where it is not there, its hash, with which it can be added.
    pub(in crate::repository) fn find(&self, string: &str) -> Result<V, Absent> {
        let hash = short(self.state.hash_one(string));
        let text = self.text.as_bytes();
        let same = |place: &Place<V>| {
            place.hash == hash
                && place.length as usize == string.len()
                && text[place.start as usize..].starts_with(string.as_bytes())
        };
        let found = self.places.find(long(hash), same);
        found.map(|place| place.value).ok_or(Absent(hash))
    }

    /// Adds a string that was looked for and is not there.
    pub(in crate::repository) fn add(&mut self, Absent(hash): Absent, string: &str, value: V) {
        // Whoever fills it stops long before it has so much text.
        let [start, length] =
            [self.text.len(), string.len()].map(|number| u32::try_from(number).unwrap_or(u32::MAX));
        self.text.push_str(string);
        let place = Place {
            hash,
            start,
            length,
            value,
        };
        self.places
            .insert_unique(long(hash), place, |place| long(place.hash));
    }
}

/// The hash of a string that is not there.
#[derive(Debug, Clone, Copy)]
pub(in crate::repository) struct Absent(u32);

/// Strings by number and numbers by string.
#[derive(Debug, Default)]
pub(in crate::repository) struct Strings {
    texts: Texts<u32>,
    ends: Vec<u32>,
}

impl Strings {
    /// None yet, and room for what may come.
    pub(super) fn with_room(strings: usize, bytes: usize) -> Self {
        Self {
            texts: Texts::with_room(strings, bytes),
            ends: Vec::with_capacity(strings),
        }
    }

    /// How many there are.
    pub(in crate::repository) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of all together.
    pub(in crate::repository) fn bytes(&self) -> usize {
        self.texts.bytes()
    }

    /// The string with this number.
    pub(in crate::repository) fn get(&self, number: u32) -> &str {
        let place = number as usize;
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.texts.text[start as usize..self.ends[place] as usize]
    }

    /// All, in the order of their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        let ends = self.ends.iter();
        let starts = iter::once(&0).chain(ends.clone());
        starts
            .zip(ends)
            .map(|(start, end)| &self.texts.text[*start as usize..*end as usize])
    }

    /// The number of a string, if it has one.
    pub(super) fn find(&self, string: &str) -> Option<u32> {
        self.texts.find(string).ok()
    }

    /// The number of a string, which gets one if it has none.
    pub(in crate::repository) fn number(&mut self, string: &str) -> u32 {
        self.texts.find(string).unwrap_or_else(|absent| {
            let number = u32::try_from(self.ends.len()).unwrap_or(u32::MAX);
            self.texts.add(absent, string, number);
            let end = u32::try_from(self.texts.bytes()).unwrap_or(u32::MAX);
            self.ends.push(end);
            number
        })
    }

    /// All, one after the other, and where each ends.
    pub(super) fn into_text(self) -> (Vec<u8>, Vec<u32>) {
        (self.texts.text.into_bytes(), self.ends)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_keep_their_numbers() {
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
        let found = ["ä", "a"].map(|string| strings.find(string));
        assert_eq!(found, [Some(4), None]);
        assert!(strings.iter().eq(given[..6].iter().copied()));
        let (text, ends) = strings.into_text();
        assert_eq!(text, given[..6].concat().into_bytes());
        assert_eq!(ends.len(), 6);
    }
}
