//! How far all downloads of one call are, told at most ten times a second.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Download;
use crate::events::{Event, Sink};

const PERIOD: Duration = Duration::from_millis(100);

/// Counts and tells. Every change goes through `change`.
pub(super) struct Progress<'a> {
    sink: &'a dyn Sink,
    state: Mutex<State>,
}

struct State {
    files: u64,
    files_total: u64,
    bytes: u64,
    bytes_total: u64,
    told: Option<Instant>,
}

impl<'a> Progress<'a> {
    pub(super) fn new<'d>(
        sink: &'a dyn Sink,
        downloads: impl Iterator<Item = &'d Download>,
    ) -> Self {
        let mut state = State {
            files: 0,
            files_total: 0,
            bytes: 0,
            bytes_total: 0,
            told: None,
        };
        for download in downloads {
            state.files_total += 1;
            state.bytes_total += download.size.unwrap_or(0);
        }
        Self {
            sink,
            state: Mutex::new(state),
        }
    }

    /// More bytes are there.
    pub(super) fn add(&self, bytes: u64) {
        self.change(|state| state.bytes += bytes);
    }

    /// Bytes that were there are of no use.
    pub(super) fn take_back(&self, bytes: u64) {
        self.change(|state| state.bytes = state.bytes.saturating_sub(bytes));
    }

    /// A length became known that was not.
    pub(super) fn expect(&self, bytes: u64) {
        self.change(|state| state.bytes_total += bytes);
    }

    /// One more file is complete.
    pub(super) fn file_done(&self) {
        self.change(|state| state.files += 1);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        if let Some(event) = state.due(Instant::now()) {
            self.sink.emit(event);
        }
    }
}

impl State {
    /// What is to be told now: nothing so soon after the last time, but always the end.
    fn due(&mut self, now: Instant) -> Option<Event> {
        let recent = self.told.is_some_and(|told| now < told + PERIOD);
        if recent && self.files < self.files_total {
            return None;
        }
        self.told = Some(now);
        Some(Event::Transfer {
            files: self.files,
            files_total: self.files_total,
            bytes: self.bytes,
            bytes_total: self.bytes_total.max(self.bytes),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_ten_times_a_second_and_the_end() {
        let start = Instant::now();
        let mut state = State {
            files: 0,
            files_total: 1,
            bytes: 0,
            bytes_total: 1000,
            told: None,
        };
        let mut told = Vec::new();
        for milliseconds in 0..1000 {
            state.bytes += 1;
            told.extend(state.due(start + Duration::from_millis(milliseconds)));
        }
        assert_eq!(told.len(), 10);
        state.files += 1;
        let end = Event::Transfer {
            files: 1,
            files_total: 1,
            bytes: 1000,
            bytes_total: 1000,
        };
        assert_eq!(state.due(start + Duration::from_secs(1)), Some(end.clone()));
        assert_eq!(state.due(start + Duration::from_secs(1)), Some(end));
    }
}
