//! How far rpm is with its packages, and how far those who make packages ready may go ahead of it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// rpm opens each package a first time to read its headers, before it installs any, and again when its turn comes.
/// (One with a `%pretrans` once more in between: that is taken for its turn, and it is not kept ready for long.)
const INSTALLS: u32 = 2;

/// What all threads together know.
#[derive(Debug)]
pub(super) struct Pace {
    order: Vec<usize>,
    /// Bytes that are ready at once.
    most: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// The next in the order that is to be made ready.
    next: usize,
    /// How often each package was opened.
    opened: Vec<u32>,
    /// What rpm installs.
    current: Option<usize>,
    /// The size of each package that is ready, 0 for others.
    ready: Vec<u64>,
    ended: bool,
}

impl State {
    fn is_ahead(&self, package: usize) -> bool {
        self.opened[package] < INSTALLS || self.current == Some(package)
    }
}

impl Pace {
    /// Nothing is ready, and rpm has not begun. `order` are the packages' places in the order in which rpm is believed
    /// to take them.
    pub(super) fn new(order: Vec<usize>, most: u64) -> Self {
        let packages = order.len();
        Self {
            order,
            most,
            state: Mutex::new(State {
                next: 0,
                opened: vec![0; packages],
                current: None,
                ready: vec![0; packages],
                ended: false,
            }),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next package that is worth to be made ready, as soon as there is space for it.
    pub(super) fn next(&self) -> Option<usize> {
        let full = |state: &mut State| !state.ended && state.ready.iter().sum::<u64>() >= self.most;
        let waited = self.changed.wait_while(self.state(), full);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        while !state.ended {
            let package = *self.order.get(state.next)?;
            state.next += 1;
            if state.opened[package] < INSTALLS {
                return Some(package);
            }
        }
        None
    }

    /// A package is ready, with so many bytes. Whether rpm has not passed it yet.
    pub(super) fn ready(&self, package: usize, bytes: u64) -> bool {
        let mut state = self.state();
        let ahead = state.is_ahead(package);
        if ahead {
            state.ready[package] = bytes;
        }
        ahead
    }

    /// rpm opens a package; the one that it has passed with that, where it was ready.
    pub(super) fn opened(&self, package: usize) -> Option<usize> {
        let mut state = self.state();
        state.opened[package] += 1;
        if state.opened[package] < INSTALLS || state.current == Some(package) {
            return None;
        }
        let passed = state.current.replace(package)?;
        let bytes = std::mem::take(&mut state.ready[passed]);
        self.changed.notify_all();
        (bytes > 0).then_some(passed)
    }

    /// rpm is done.
    pub(super) fn end(&self) {
        self.state().ended = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_is_told_when_there_is_space_and_what_was_passed_is_not() {
        let pace = Pace::new(vec![2, 0, 1, 3], 10);
        for package in 0..4 {
            assert_eq!(pace.opened(package), None, "headers");
        }
        assert_eq!(pace.next(), Some(2));
        assert!(pace.ready(2, 10));
        assert_eq!(pace.opened(2), None, "the first");
        assert_eq!(pace.opened(2), None, "again");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| pace.next());
            assert_eq!(pace.opened(0), Some(2), "it was ready, and is passed");
            assert_eq!(
                waiting.join().unwrap(),
                Some(1),
                "0 is being installed already"
            );
        });
        assert!(pace.ready(0, 5), "rpm is at it");
        assert_eq!(pace.opened(1), Some(0));
        assert_eq!(pace.opened(3), None, "1 was not ready");
        assert!(!pace.ready(1, 5), "now it comes too late");
        assert_eq!(pace.next(), None);
    }

    #[test]
    fn whoever_waits_is_told_of_the_end() {
        let pace = Pace::new(vec![0, 1], 1);
        assert_eq!(pace.next(), Some(0));
        assert!(pace.ready(0, 1));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| pace.next());
            pace.end();
            assert_eq!(waiting.join().unwrap(), None);
        });
        assert_eq!(pace.next(), None);
    }
}
