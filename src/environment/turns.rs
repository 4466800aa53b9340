//! In which order rpm takes the packages of a transaction: seen while it does, and kept for the next time.
//!
//! rpm sorts a transaction by rules of its own, which differ between its versions. Whoever makes packages
//! ready ahead of it does better to know the order; it is a hint, and nothing else depends on it.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use crate::digest::Digest;
use crate::environment::create::Ingredient;
use crate::store::Store;

/// The version of the kept files.
const VERSION: u32 = 1;

/// The kept order of one list of packages.
#[derive(Debug)]
pub(super) struct Turns<'a> {
    store: &'a Store,
    name: String,
    count: usize,
}

impl<'a> Turns<'a> {
    /// The order of `packages`, installed by an rpm of the root that `tools` names.
    pub(super) fn of(store: &'a Store, tools: &str, packages: &[Ingredient]) -> Self {
        let mut list = tools.to_owned();
        for package in packages {
            list.push('\n');
            list.push_str(&package.sha256.hex());
        }
        Self {
            store,
            name: format!("turns-{}.v{VERSION}", Digest::of(list.as_bytes()).hex()),
            count: packages.len(),
        }
    }

    /// The places of the packages in the order that was kept, where one was.
    pub(super) fn known(&self) -> Option<Vec<usize>> {
        let text = fs_err::read_to_string(self.store.derived(&self.name)).unwrap_or_default();
        let kept: Option<Vec<usize>> = text.lines().map(|line| line.parse().ok()).collect();
        kept.filter(|kept| self.fits(kept))
    }

    /// Keeps what was seen, where that is an order of all packages.
    pub(super) fn keep(&self, seen: &[usize]) {
        if !self.fits(seen) {
            return;
        }
        let places: Vec<String> = seen.iter().map(usize::to_string).collect();
        let lines = places.join("\n");
        if let Err(error) = self.store.keep_derived(&self.name, lines.as_bytes()) {
            tracing::debug!(%error, "the order of a transaction is not kept");
        }
    }

    fn fits(&self, order: &[usize]) -> bool {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        sorted.iter().copied().eq(0..self.count)
    }
}

/// Sees which files of a folder are opened by their names there.
#[derive(Debug)]
pub(super) struct Watch {
    queue: OwnedFd,
    end: OwnedFd,
}

impl Watch {
    /// Watches from now on.
    pub(super) fn on(folder: &Path) -> io::Result<Self> {
        let queue = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        inotify::add_watch(&queue, folder, WatchFlags::OPEN | WatchFlags::ONLYDIR)?;
        let end = eventfd(0, EventfdFlags::CLOEXEC)?;
        Ok(Self { queue, end })
    }

    /// Tells `opened` of each file, in their order, until `end` was called and all before it was told.
    pub(super) fn follow(&self, mut opened: impl FnMut(&str)) -> Opened {
        let mut buffer = vec![MaybeUninit::uninit(); 32 << 10];
        let mut events = inotify::Reader::new(&self.queue, &mut buffer);
        let mut all = Opened::default();
        loop {
            let ended = self.wait();
            while let Ok(event) = events.next() {
                all.partly |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                if let Some(Ok(name)) = event.file_name().map(std::ffi::CStr::to_str) {
                    all.take(name);
                    opened(name);
                }
            }
            if ended {
                return all;
            }
        }
    }

    /// Waits for the next event or for the end, and says whether it is the end.
    fn wait(&self) -> bool {
        let mut either = [&self.queue, &self.end].map(|fd| PollFd::new(fd, PollFlags::IN));
        match poll(&mut either, None) {
            Ok(_) => !either[1].revents().is_empty(),
            Err(Errno::INTR) => false,
            Err(_) => true,
        }
    }

    /// Nothing more is to come.
    pub(super) fn end(&self) {
        let written = rustix::io::write(&self.end, &1_u64.to_ne_bytes());
        debug_assert!(written.is_ok(), "an eventfd takes the number one");
    }
}

/// Which files were opened.
#[derive(Debug, Default)]
pub(super) struct Opened {
    last: HashMap<String, usize>,
    count: usize,
    /// Whether some may be missing.
    partly: bool,
}

impl Opened {
    fn take(&mut self, name: &str) {
        self.last.insert(name.to_owned(), self.count);
        self.count += 1;
    }

    /// The files in the order in which each was opened for the last time; nothing where some may be missing.
    pub(super) fn last(&self) -> Vec<&str> {
        if self.partly {
            return Vec::new();
        }
        let mut order: Vec<(&usize, &str)> =
            self.last.iter().map(|(name, at)| (at, &**name)).collect();
        order.sort_unstable();
        order.into_iter().map(|(_, name)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_time_of_each_file_counts() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            fs_err::write(folder.path().join(name), "").unwrap();
        }
        let watch = Watch::on(folder.path()).unwrap();
        for name in ["a", "b", "c", "a", "c", "b", "b"] {
            fs_err::read(folder.path().join(name)).unwrap();
        }
        watch.end();
        let mut told = String::new();
        let opened = watch.follow(|name| told.push_str(name));
        // The last two are one event: nobody had looked between.
        assert_eq!(told, "abcacb");
        assert_eq!(opened.last(), ["a", "c", "b"]);
        assert!(Watch::on(&folder.path().join("a")).is_err());
    }

    #[test]
    fn only_whole_orders_are_kept_and_used() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let packages: Vec<Ingredient> = ["a-1-1.noarch", "b-1-1.noarch", "c-1-1.noarch"]
            .iter()
            .map(|nevra| Ingredient {
                nevra: nevra.parse().unwrap(),
                sha256: Digest::of(nevra.as_bytes()),
                path: folder.path().join(nevra),
            })
            .collect();
        let turns = Turns::of(&store, "tools", &packages);
        for unfit in [&[0, 1][..], &[0, 1, 1], &[1, 2, 3], &[0, 1, 2, 3]] {
            turns.keep(unfit);
            assert_eq!(turns.known(), None, "{unfit:?}");
        }
        turns.keep(&[2, 0, 1]);
        assert_eq!(turns.known(), Some(vec![2, 0, 1]));
        assert_eq!(Turns::of(&store, "others", &packages).known(), None);
        assert_eq!(Turns::of(&store, "tools", &packages[1..]).known(), None);
        for damage in ["", "2\n0\nx\n", "2\n0\n", "\0"] {
            store.keep_derived(&turns.name, damage.as_bytes()).unwrap();
            assert_eq!(turns.known(), None, "{damage:?}");
        }
    }
}
