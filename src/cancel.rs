//! One token that says "stop": set by Ctrl-C, watched by everything that waits.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

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
    children: Mutex<Vec<Weak<Self>>>,
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
                children: Mutex::default(),
            }),
        })
    }

    /// Makes a token that is set with this one, and can be set alone.
    pub fn child(&self) -> std::io::Result<Self> {
        let child = Self::new()?;
        self.inner.children().push(Arc::downgrade(&child.inner));
        // Asked after it is known: a parent that is set meanwhile is not missed.
        if self.is_cancelled() {
            child.cancel();
        }
        Ok(child)
    }

    /// Sets the token. Safe to call again.
    pub fn cancel(&self) {
        self.inner.cancel();
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

impl Inner {
    fn children(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Self>>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cancel(&self) {
        self.flag.store(true, Ordering::SeqCst);
        self.notify.notify_waiters();
        // The counter cannot overflow in any run: one write per signal.
        if let Err(errno) = rustix::io::write(&self.event, &1_u64.to_ne_bytes()) {
            tracing::warn!(%errno, "could not signal the cancel event");
        }
        let children: Vec<_> = self.children().iter().filter_map(Weak::upgrade).collect();
        for child in children {
            child.cancel();
        }
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

    #[test]
    fn a_child_is_set_with_its_parent_and_alone() {
        let token = Cancel::new().unwrap();
        let (one, other) = (token.child().unwrap(), token.child().unwrap());
        one.cancel();
        assert!(!token.is_cancelled() && !other.is_cancelled());
        token.cancel();
        assert!(other.is_cancelled());
        assert!(token.child().unwrap().is_cancelled());
    }
}
