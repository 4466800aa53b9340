//! What several threads do for one: two things at once, and results in the order of what they were made from.

use std::collections::BTreeMap;
use std::thread;

/// Does two things at once, the first in a thread of its own.
pub fn beside<A: Send, B>(other: impl FnOnce() -> A + Send, own: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let other = scope.spawn(other);
        let own = own();
        (ended(other.join()), own)
    })
}

/// What a thread gave that was waited for; its panic goes on in this one.
pub fn ended<T>(result: thread::Result<T>) -> T {
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Gives things in the order of their numbers, which begin at 0 and have no gap; takes them as they come.
#[derive(Debug)]
pub struct Ordered<I, T> {
    coming: I,
    early: BTreeMap<usize, T>,
    next: usize,
}

impl<I: Iterator<Item = (usize, T)>, T> Ordered<I, T> {
    /// Orders what comes.
    pub fn new(coming: impl IntoIterator<IntoIter = I>) -> Self {
        Self {
            coming: coming.into_iter(),
            early: BTreeMap::new(),
            next: 0,
        }
    }

    /// Whether something came whose turn never did, since what is before it was lost. Asked at the end.
    pub fn has_gap(&self) -> bool {
        !self.early.is_empty()
    }
}

impl<I: Iterator<Item = (usize, T)>, T> Iterator for Ordered<I, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        loop {
            if let Some(item) = self.early.remove(&self.next) {
                self.next += 1;
                return Some(item);
            }
            let (number, item) = self.coming.next()?;
            self.early.insert(number, item);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_comes_early_waits_for_its_turn(order in Just((0..20).collect::<Vec<usize>>()).prop_shuffle()) {
            let mut ordered = Ordered::new(order.into_iter().map(|number| (number, number)));
            prop_assert!(ordered.by_ref().eq(0..20));
            prop_assert!(!ordered.has_gap());
        }
    }

    #[test]
    fn what_is_lost_is_seen() {
        let mut ordered = Ordered::new([(2, 'c'), (0, 'a'), (3, 'd')]);
        assert_eq!(ordered.by_ref().collect::<String>(), "a");
        assert!(ordered.has_gap());
    }
}
