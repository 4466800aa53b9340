//! Unpacks the payloads of RPM packages into a tree: no scriptlets, no database.
//!
//! The headers of all packages are read first and decide everything: places, types, owners,
//! modes, times. The payloads, which are streamed in parallel, only give content. Where two
//! packages have the same file, the later one's is taken; folders are merged, also through
//! links of the tree (`/lib` → `usr/lib`). Left out are ghosts, devices and sockets.

use std::collections::HashMap;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use super::handle::{self, Owner};
use super::{TreeError, xattr};
pub use cpio::{Name, Payload, SizeOf, decompress};
use owners::Owners;
use package::{Entry, Kind, Package};
use plan::{Id, Plan};

mod cpio;
mod owners;
mod package;
mod plain;
mod plan;

pub use plain::write_plain;

const BUFFER: usize = 128 * 1024;

/// Unpacks `packages` into the tree at `root`, which should be empty, with `threads` threads.
///
/// The result does not depend on `threads`. Memory does not depend on the payloads' sizes.
pub fn unpack_all(
    root: BorrowedFd<'_>,
    packages: &[PathBuf],
    threads: usize,
) -> Result<(), TreeError> {
    let packages = each(threads, packages.len(), &|at| Package::read(&packages[at]))?;
    let plan = plan::plan(&packages)?;
    make_folders(root, &plan)?;
    let later = each(threads, packages.len(), &|at| {
        let places = &plan.places[at];
        Unpacker::new(root, &packages[at], places).run()
    })?;
    let owners = Owners::read(root)?;
    for (package, at) in later
        .into_iter()
        .enumerate()
        .flat_map(|(package, entries)| entries.into_iter().map(move |at| (package, at)))
    {
        if let Some(place) = &plan.places[package][at] {
            let entry = &packages[package].entries[at];
            give(root, place, entry, owners.of(entry))
                .map_err(|errno| TreeError::path("set the owner of", place, errno))?;
        }
    }
    finish_folders(root, &packages, &plan, &owners)
}

/// Calls `job` with every number below `count`, on `threads` threads; results in order. Of
/// several errors the one with the lowest number is returned.
fn each<T: Send>(
    threads: usize,
    count: usize,
    job: &(dyn Fn(usize) -> Result<T, TreeError> + Sync),
) -> Result<Vec<T>, TreeError> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let results = Mutex::new(Vec::with_capacity(count));
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                break;
            }
            let result = job(at);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            results
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .push((at, result));
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads.min(count) {
            scope.spawn(work);
        }
        work();
    });
    let mut results = results
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_unstable_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Makes all folders, open to us alone until they are finished.
fn make_folders(root: BorrowedFd<'_>, plan: &Plan) -> Result<(), TreeError> {
    for path in plan.folders.keys().filter(|path| !path.is_empty()) {
        let (parent, name) = handle::split(path);
        let made = handle::open_folder(root, parent).and_then(|parent| {
            match rustix::fs::mkdirat(&parent, name, Mode::RWXU) {
                Err(Errno::EXIST) => handle::open_folder(parent.as_fd(), name).map(|_folder| ()),
                other => other,
            }
        });
        made.map_err(|errno| TreeError::path("make", path, errno))?;
    }
    Ok(())
}

/// Gives folders their owners, modes and times, once nothing is made in them any more.
/// A folder that no package has gets mode 0755, root and time 0.
fn finish_folders(
    root: BorrowedFd<'_>,
    packages: &[Package],
    plan: &Plan,
    owners: &Owners,
) -> Result<(), TreeError> {
    for (path, id) in &plan.folders {
        let entry = id.map(|(package, at): Id| &packages[package].entries[at]);
        let (owner, mode) =
            entry.map_or((Owner { uid: 0, gid: 0 }, 0o755), |entry| owners.of(entry));
        let mtime = entry.map_or(0, |entry| entry.mtime);
        let finish = || {
            let folder = handle::open_folder(root, path)?;
            owner.set(folder.as_fd())?;
            rustix::fs::fchmod(&folder, Mode::from_raw_mode(mode))?;
            handle::set_mtime_of(folder.as_fd(), mtime)
        };
        finish().map_err(|errno: Errno| {
            TreeError::path("set the owner, mode or time of", path, errno)
        })?;
    }
    Ok(())
}

/// Gives what is at `place` to `owner`, and again what that takes away.
fn give(
    root: BorrowedFd<'_>,
    place: &[u8],
    entry: &Entry,
    (owner, mode): (Owner, u32),
) -> rustix::io::Result<()> {
    let (folder, name) = handle::split(place);
    let folder = handle::open_folder(root, folder)?;
    owner.set_at(folder.as_fd(), name)?;
    if matches!(entry.kind, Kind::Symlink(_)) {
        return Ok(());
    }
    // Made by us, and not a link: following is no danger.
    rustix::fs::chmodat(&folder, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
    if let Some(value) = &entry.capabilities {
        let name = std::ffi::CString::new(name).map_err(|_| Errno::INVAL)?;
        xattr::set(
            handle::open_file(folder.as_fd(), &name)?.as_fd(),
            xattr::CAPABILITY,
            value,
        )?;
    }
    Ok(())
}

/// Unpacks one package.
struct Unpacker<'a> {
    root: BorrowedFd<'a>,
    package: &'a Package,
    places: &'a [Option<Vec<u8>>],
    /// Which entries the payload had.
    seen: Vec<bool>,
    /// Sets of hard links whose content was written.
    written: Vec<bool>,
    /// Entries whose owner is not root: they get it when the tree's tables are there.
    later: Vec<usize>,
    /// The folder of the entry before, which most entries share.
    last: Option<(&'a [u8], OwnedFd)>,
    buffer: Vec<u8>,
}

impl<'a> Unpacker<'a> {
    fn new(root: BorrowedFd<'a>, package: &'a Package, places: &'a [Option<Vec<u8>>]) -> Self {
        Self {
            root,
            package,
            places,
            seen: vec![false; package.entries.len()],
            written: vec![false; package.sets.len()],
            later: Vec::new(),
            last: None,
            buffer: vec![0; BUFFER],
        }
    }

    /// Returns the entries whose owner is still to be set.
    fn run(mut self) -> Result<Vec<usize>, TreeError> {
        let package = self.package;
        let damaged = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                TreeError::package(&package.file, "its payload is cut short")
            }
            _ => TreeError::package(&package.file, format!("its payload: {error}")),
        };
        if !package.entries.is_empty() {
            let numbers: HashMap<&[u8], usize> = package
                .entries
                .iter()
                .enumerate()
                .map(|(at, entry)| (entry.path.as_slice(), at))
                .collect();
            let mut payload = Payload::new(open(package).map_err(damaged)?);
            while let Some((name, size)) = payload
                .next_entry(&|number| package.content_size(number))
                .map_err(damaged)?
            {
                let at = self.find(&numbers, &name)?;
                self.add(at, size, &mut payload)?;
            }
            payload.finish().map_err(damaged)?;
        }
        self.complete()
    }

    /// The entry that the payload means, seen for the first time.
    fn find(&mut self, numbers: &HashMap<&[u8], usize>, name: &Name) -> Result<usize, TreeError> {
        let refused = |why| match name {
            Name::Path(name) => self.package.refused(name, why),
            Name::Number(at) => self.package.refused(&self.package.entries[*at].path, why),
        };
        let at = match name {
            Name::Number(at) => *at,
            Name::Path(name) => {
                let relative = name.strip_prefix(b"/").unwrap_or(name);
                let path = match relative {
                    b"" | b"." | b"./" => Vec::new(),
                    _ => super::extract::inside(relative).map_err(refused)?,
                };
                *numbers
                    .get(path.as_slice())
                    .ok_or_else(|| refused("the package's header does not list it"))?
            }
        };
        if std::mem::replace(&mut self.seen[at], true) {
            return Err(refused("the payload has it twice"));
        }
        Ok(at)
    }

    fn add(&mut self, at: usize, size: u64, content: &mut impl Read) -> Result<(), TreeError> {
        let entry = &self.package.entries[at];
        if entry.kind != Kind::File {
            return Ok(());
        }
        let Some(set) = entry.set else {
            self.check_size(entry, size)?;
            return self.write(at, content);
        };
        let links = &self.package.sets[set];
        let last = links.iter().all(|&link| self.seen[link]);
        if self.written[set] || (size == 0 && !(last && entry.size == 0)) {
            return Ok(());
        }
        self.check_size(entry, size)?;
        self.written[set] = true;
        let mut places = links
            .iter()
            .copied()
            .filter(|&link| self.places[link].is_some());
        let Some(first) = places.next() else {
            return Ok(());
        };
        self.write(first, content)?;
        places.try_for_each(|link| self.link(first, link))
    }

    fn check_size(&self, entry: &Entry, size: u64) -> Result<(), TreeError> {
        if size == entry.size {
            return Ok(());
        }
        let why = format!(
            "the payload has {size} bytes for it, the header says {}",
            entry.size
        );
        Err(self.package.refused(&entry.path, &why))
    }

    /// Makes the regular file `at` with what `content` gives, where it has a place.
    fn write(&mut self, at: usize, content: &mut impl Read) -> Result<(), TreeError> {
        let Some(place) = self.places[at].as_deref() else {
            return Ok(());
        };
        let entry = &self.package.entries[at];
        let error = |errno: Errno| TreeError::path("write", place, errno);
        let (folder, name) = handle::split(place);
        let folder = self.open(folder)?;
        let file = handle::create_file(folder, name).map_err(error)?;
        loop {
            let read = content.read(&mut self.buffer).map_err(|error| {
                TreeError::package(
                    &self.package.file,
                    format!(
                        "its payload, in `{}`: {error}",
                        super::error::shown(&entry.path)
                    ),
                )
            })?;
            if read == 0 {
                break;
            }
            handle::write_all(&file, &self.buffer[..read])
                .map_err(|error| TreeError::path("write", place, error))?;
        }
        rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode)).map_err(error)?;
        if let Some(value) = &entry.capabilities {
            xattr::set(file.as_fd(), xattr::CAPABILITY, value).map_err(error)?;
        }
        handle::set_mtime_of(file.as_fd(), entry.mtime).map_err(error)?;
        self.owned_later(at);
        Ok(())
    }

    fn owned_later(&mut self, at: usize) {
        let entry = &self.package.entries[at];
        if entry.user.is_some() || entry.group.is_some() {
            self.later.push(at);
        }
    }

    fn link(&mut self, first: usize, at: usize) -> Result<(), TreeError> {
        let (Some(target), Some(place)) =
            (self.places[first].as_deref(), self.places[at].as_deref())
        else {
            return Ok(());
        };
        let (target_folder, target_name) = handle::split(target);
        let error = |errno| TreeError::path("link", place, errno);
        let target_folder = handle::open_folder(self.root, target_folder).map_err(error)?;
        let (folder, name) = handle::split(place);
        let folder = self.open(folder)?;
        rustix::fs::linkat(&target_folder, target_name, folder, name, AtFlags::empty())
            .map_err(error)
    }

    /// Makes what needs no content, and checks that the payload had all that does.
    fn complete(mut self) -> Result<Vec<usize>, TreeError> {
        for (at, entry) in self.package.entries.iter().enumerate() {
            if entry.kind == Kind::File && !self.seen[at] {
                return Err(self
                    .package
                    .refused(&entry.path, "the payload does not have it"));
            }
            let Some(place) = self.places[at].as_deref() else {
                continue;
            };
            let (folder, name) = handle::split(place);
            let error = |errno| TreeError::path("make", place, errno);
            let folder = match &entry.kind {
                Kind::Symlink(target) => {
                    let folder = self.open(folder)?;
                    rustix::fs::symlinkat(target.as_slice(), folder, name).map_err(error)?;
                    folder
                }
                Kind::Fifo => {
                    let folder = self.open(folder)?;
                    rustix::fs::mknodat(folder, name, FileType::Fifo, Mode::RUSR, 0)
                        .map_err(error)?;
                    rustix::fs::chmodat(
                        folder,
                        name,
                        Mode::from_raw_mode(entry.mode),
                        AtFlags::empty(),
                    )
                    .map_err(error)?;
                    folder
                }
                _ => continue,
            };
            handle::set_mtime(folder, name, entry.mtime).map_err(error)?;
            self.owned_later(at);
        }
        if let Some(set) = self.written.iter().position(|&written| !written) {
            let entry = &self.package.entries[self.package.sets[set][0]];
            return Err(self.package.refused(
                &entry.path,
                "the payload has no content for it or for its hard links",
            ));
        }
        Ok(self.later)
    }

    fn open(&mut self, path: &'a [u8]) -> Result<BorrowedFd<'_>, TreeError> {
        let folder = match self.last.take() {
            Some((last, folder)) if last == path => folder,
            _ => handle::open_folder(self.root, path)
                .map_err(|errno| TreeError::path("open", path, errno))?,
        };
        Ok(self.last.insert((path, folder)).1.as_fd())
    }
}

fn open(package: &Package) -> io::Result<Box<dyn Read>> {
    let mut file = fs_err::File::open(&package.file)?;
    file.seek(SeekFrom::Start(package.payload))?;
    cpio::decompress(file)
}
