//! One token that says "stop": set by Ctrl-C, watched by everything that waits.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::Notify;

/// A shared flag with a file descriptor, so that both loops and `poll` can watch it.
///
/// Once set it stays set. Clones share the flag.
#[derive(Debug, Clone)]
pub struct Cancel {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    flag: AtomicBool,
    event: OwnedFd,
    notify: Notify,
}

impl Cancel {
    /// Makes a token that is not set.
    pub fn new() -> std::io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            inner: Arc::new(Inner {
                flag: AtomicBool::new(false),
                event,
                notify: Notify::new(),
            }),
        })
    }

    /// Sets the token. Safe to call again.
    pub fn cancel(&self) {
        self.inner.flag.store(true, Ordering::SeqCst);
        self.inner.notify.notify_waiters();
        // The counter cannot overflow in any run: one write per signal.
        if let Err(errno) = rustix::io::write(&self.inner.event, &1_u64.to_ne_bytes()) {
            tracing::warn!(%errno, "could not signal the cancel event");
        }
    }

    /// Waits, in asynchronous code, until the token is set.
    pub async fn cancelled(&self) {
        let notified = self.inner.notify.notified();
        // Asked after the waiter exists: a token that is set meanwhile is not missed.
        if !self.is_cancelled() {
            notified.await;
        }
    }

    /// Whether the token is set.
    pub fn is_cancelled(&self) -> bool {
        self.inner.flag.load(Ordering::SeqCst)
    }
}

impl AsFd for Cancel {
    /// Readable (`POLLIN`) once the token is set; never read from it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clone_sees_it() {
        let token = Cancel::new().unwrap();
        let other = token.clone();
        assert!(!other.is_cancelled());
        token.cancel();
        assert!(other.is_cancelled());
    }
}
