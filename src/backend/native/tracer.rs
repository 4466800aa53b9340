//! The tracer: a child of the keeper beside one sandbox, which hears from the kernel what its command opens.
//!
//! Each folder of the environment is marked in the sandbox's own overlay, so that nothing of any other sandbox is
//! heard. At the end it asks which of the other names the kernel knows there: an overlay begins with none, so that
//! each was looked up by the command. That shows links that were followed, and files that were only asked after.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;

use super::fanotify::{self, Event, Handle};
use super::wire::{self, Answer, Doing, Failure};
use super::{inside, sys};
use crate::backend::{Touch, Touched, Trace};

/// Bytes of events that are read at once.
const EVENTS: usize = 256 << 10;

/// The tracer's files.
pub(super) struct Tracer {
    /// Where it says that it watches, hears that the command has ended, and tells what it saw.
    channel: OwnedFd,
    /// The group of events that the tool has made.
    group: OwnedFd,
    /// What is watched, as `trace::list` writes it.
    list: OwnedFd,
    /// The sandbox's overlay.
    clone: OwnedFd,
}

impl Tracer {
    /// Takes the files that the tool sent, and a hold on the sandbox's overlay.
    pub(super) fn new([channel, group, list]: [OwnedFd; 3], clone: &OwnedFd) -> io::Result<Self> {
        Ok(Self {
            channel,
            group,
            list,
            clone: clone.try_clone()?,
        })
    }

    /// Works until the command has ended, or the tool is gone. Never returns: no other file of the keeper's stays open.
    pub(super) fn run(self) -> ! {
        let files = [&self.channel, &self.group, &self.list, &self.clone];
        if let Err(error) = keep_alone(files.map(AsFd::as_fd)) {
            let failure = Failure::step("prepare to trace", error);
            let _told = wire::send(&self.channel, &Answer::Failed(failure), &[]);
            sys::exit_now(1);
        }
        let [channel, group, list, clone] = PLACES.map(sys::inherited);
        let answer = match trace(channel, group, list, clone) {
            Ok(trace) => Answer::Traced(Box::new(trace)),
            Err(failure) => Answer::Failed(failure),
        };
        // Its last hold on the clone goes before anybody hears that it is done.
        let _closed = sys::close_from(4);
        let _told = wire::send(channel, &answer, &[]);
        sys::exit_now(0)
    }
}

/// Does a tracer's work in the thread that calls it: channel, group of events, list, root.
pub(super) fn beside([channel, group, list, root]: [OwnedFd; 4]) {
    let traced = trace(channel.as_fd(), group.as_fd(), list.as_fd(), root.as_fd());
    // Its last hold on the container's files goes before anybody hears that it is done.
    drop((group, root));
    let answer = match traced {
        Ok(trace) => Answer::Traced(Box::new(trace)),
        Err(failure) => Answer::Failed(failure),
    };
    let _told = wire::send(&channel, &answer, &[]);
}

/// The numbers of the four files: beside the standard streams, so that all others can be closed.
const PLACES: [i32; 4] = [3, 4, 5, 6];

/// Puts the files at their numbers and closes every other one above.
fn keep_alone(files: [BorrowedFd<'_>; 4]) -> io::Result<()> {
    let copies = files.map(|file| rustix::io::fcntl_dupfd_cloexec(file, 10));
    for (place, copy) in PLACES.into_iter().zip(copies) {
        let copy = copy?;
        sys::place(copy.as_fd(), place)?;
        std::mem::forget(copy);
    }
    sys::close_from(7)
}

fn trace(
    channel: BorrowedFd<'_>,
    group: BorrowedFd<'_>,
    list: BorrowedFd<'_>,
    clone: BorrowedFd<'_>,
) -> Result<Trace, Failure> {
    let text = read_list(list).doing(|| "read what is to be traced".to_owned())?;
    let folders = folders(&text);
    let mut seen = Seen::new(group, clone);
    for (path, _) in &folders {
        seen.mark(path).doing(|| format!("watch `{path}`"))?;
    }
    wire::send(channel, &Answer::Watching, &[]).doing(|| "begin to trace".to_owned())?;
    seen.follow(channel)
        .doing(|| "hear what is opened".to_owned())?;
    for (path, names) in &folders {
        seen.ask(path, names);
    }
    Ok(seen.trace)
}

fn read_list(list: BorrowedFd<'_>) -> io::Result<String> {
    let mut text = vec![0; usize::try_from(fstat(list)?.st_size).unwrap_or_default()];
    let mut read = 0;
    while read < text.len() {
        let offset = u64::try_from(read).unwrap_or_default();
        match rustix::io::pread(list, &mut text[read..], offset)? {
            0 => break,
            length => read += length,
        }
    }
    text.truncate(read);
    String::from_utf8(text).map_err(io::Error::other)
}

/// Folders, each with the names that are asked after.
fn folders(list: &str) -> Vec<(&str, Vec<&str>)> {
    let mut folders: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in list.lines() {
        match (line.strip_prefix('\t'), folders.last_mut()) {
            (Some(name), Some((_, names))) => names.push(name),
            _ => folders.push((line, Vec::new())),
        }
    }
    folders
}

/// The program that writes the loader's cache (or `ldconfig.real`).
const READS_ALL: &str = "ldconfig";

/// What was seen so far.
struct Seen<'a> {
    group: BorrowedFd<'a>,
    clone: BorrowedFd<'a>,
    /// The folders by their handles; several names can lead to one.
    folders: HashMap<Handle, Vec<String>>,
    /// What each process executes.
    programs: HashMap<i32, String>,
    trace: Trace,
}

impl<'a> Seen<'a> {
    fn new(group: BorrowedFd<'a>, clone: BorrowedFd<'a>) -> Self {
        Self {
            group,
            clone,
            folders: HashMap::new(),
            programs: HashMap::new(),
            trace: Trace::default(),
        }
    }

    /// Begins to watch a folder. One that is not there, or that a file has taken the place of, holds nothing to watch.
    fn mark(&mut self, path: &str) -> io::Result<()> {
        let folder = match self.open_folder(path) {
            Ok(folder) => folder,
            Err(error) => {
                return match error.raw_os_error() {
                    Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP) => Ok(()),
                    _ => Err(error),
                };
            }
        };
        let handle = fanotify::handle(folder.as_fd())?;
        let names = self.folders.entry(handle).or_default();
        if names.is_empty() {
            fanotify::watch(self.group, folder.as_fd())?;
            // Links lead to it by its own name.
            let own = inside::place(self.clone, folder.as_fd())?;
            names.extend(
                own.strip_prefix(".")
                    .ok()
                    .and_then(|own| own.to_str())
                    .map(|own| joined("/", own)),
            );
        }
        if !names.iter().any(|name| name == path) {
            names.push(path.to_owned());
        }
        Ok(())
    }

    fn open_folder(&self, path: &str) -> io::Result<OwnedFd> {
        inside::open(self.clone, below(path), OFlags::PATH | OFlags::DIRECTORY)
    }

    /// Takes events until the tool says that the command has ended, or is gone.
    fn follow(&mut self, channel: BorrowedFd<'_>) -> io::Result<()> {
        let mut buffer = vec![0; EVENTS];
        loop {
            let mut handles = [
                PollFd::from_borrowed_fd(self.group, PollFlags::IN),
                PollFd::from_borrowed_fd(channel, PollFlags::IN),
            ];
            match poll(&mut handles, None) {
                Err(Errno::INTR) => continue,
                result => result?,
            };
            let ended = !handles[1].revents().is_empty();
            // What was opened before the end is in the queue.
            while self.take(&mut buffer)? {}
            if ended {
                return Ok(());
            }
        }
    }

    /// Reads once; whether there may be more.
    fn take(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        match rustix::io::read(self.group, &mut *buffer) {
            Ok(length) => {
                for event in fanotify::events(&buffer[..length]) {
                    self.hear(event);
                }
                Ok(length > 0)
            }
            Err(Errno::AGAIN) => Ok(false),
            Err(Errno::INTR) => Ok(true),
            Err(errno) => Err(errno.into()),
        }
    }

    fn hear(&mut self, event: Event) {
        let Event::Opened {
            folder,
            name,
            executed,
            process,
        } = event
        else {
            self.trace.lost = true;
            return;
        };
        let Some(folders) = self.folders.get(&folder) else {
            return;
        };
        let touch = match process.and_then(|process| self.programs.get(&process)) {
            _ if executed && !is_loader(&name) => Touch::Executed,
            // It reads every library there is: for whoever uses one, another event comes.
            Some(program) if program.starts_with(READS_ALL) => Touch::LookedUp,
            _ => Touch::Opened,
        };
        let new = |folder: &String| {
            let known = self.trace.files.get(&joined(folder, &name));
            known.is_none_or(|known| known.touch < touch)
        };
        if folders.iter().any(new) {
            let folders = folders.clone();
            self.note(&folders, &name, touch, process);
        }
        if let Some(process) = process.filter(|_| touch == Touch::Executed) {
            self.programs.insert(process, name);
        }
    }

    /// Something is seen for the first time.
    fn note(&mut self, folders: &[String], name: &str, touch: Touch, process: Option<i32>) {
        let by = process.and_then(|process| self.program(process));
        for folder in folders {
            let seen = Touched {
                touch,
                process: by.clone(),
                target: None,
            };
            self.trace.note(joined(folder, name), seen);
        }
        self.trace.processes |= process.is_some();
        if touch == Touch::LookedUp {
            return;
        }
        // The first time is enough, and each event costs the command a moment. Programs are heard of again, since
        // they tell what a process is; the loader of all of them tells nothing.
        if let Some(folder) = folders.first()
            && let Ok(folder) = self.open_folder(folder)
            && let Err(error) =
                fanotify::enough_of(self.group, folder.as_fd(), name, is_loader(name))
        {
            tracing::debug!(%error, name, "is heard of again");
        }
    }

    /// The name of what a process executes: what has been forked, and executes nothing else yet, is still its parent.
    fn program(&self, process: i32) -> Option<String> {
        let known = self.programs.get(&process);
        if let Some(program) = known.or_else(|| self.programs.get(&parent(process)?)) {
            return Some(program.clone());
        }
        let name = fs_err::read_to_string(format!("/proc/{process}/comm")).ok()?;
        Some(name.trim_end().to_owned())
    }

    /// Which of these names were looked up in a folder.
    fn ask(&mut self, path: &str, names: &[&str]) {
        if names.is_empty() {
            return;
        }
        let Ok(folder) = self.open_folder(path) else {
            return;
        };
        for name in names {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let resolve = ResolveFlags::CACHED | ResolveFlags::BENEATH;
            let Ok(file) = openat2(&folder, *name, flags, Mode::empty(), resolve) else {
                continue;
            };
            let kind = fstat(&file).map(|facts| FileType::from_raw_mode(facts.st_mode));
            let path = joined(path, name);
            let target = match kind {
                // Folders are looked up by watching them.
                Ok(FileType::Directory) | Err(_) => continue,
                Ok(FileType::Symlink) => self.target(&path),
                Ok(_) => None,
            };
            let seen = Touched {
                touch: Touch::LookedUp,
                process: None,
                target,
            };
            self.trace.note(path, seen);
        }
    }

    /// Where a link leads in the end; none where it leads nowhere.
    fn target(&self, link: &str) -> Option<String> {
        let file = inside::open(self.clone, below(link), OFlags::PATH).ok()?;
        let place = inside::place(self.clone, file.as_fd()).ok()?;
        Some(joined(
            "/",
            place.strip_prefix(".").unwrap_or(&place).to_str()?,
        ))
    }
}

/// A path inside as seen from the root's handle.
fn below(path: &str) -> &Path {
    let path = path.trim_start_matches('/');
    Path::new(OsStr::from_bytes(
        if path.is_empty() { "." } else { path }.as_bytes(),
    ))
}

fn joined(folder: &str, name: &str) -> String {
    format!("{}/{name}", folder.trim_end_matches('/'))
}

/// Whether that is what the kernel executes beside every program.
fn is_loader(name: &str) -> bool {
    ["ld-linux", "ld-musl", "ld64.so", "ld.so"]
        .iter()
        .any(|start| name.starts_with(start))
        && name != "ld.so.cache"
}

fn parent(process: i32) -> Option<i32> {
    let stat = fs_err::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_they_are_written() {
        let list = "/\n\ta\n/usr/bin\n/usr/lib\n\tb c\n\td\n";
        assert_eq!(
            folders(list),
            [
                ("/", vec!["a"]),
                ("/usr/bin", vec![]),
                ("/usr/lib", vec!["b c", "d"])
            ]
        );
    }

    #[test]
    fn the_loader_is_no_program() {
        let loaders = [
            "ld-linux-x86-64.so.2",
            "ld64.so.2",
            "ld.so",
            "ld-musl-x86_64.so.1",
        ];
        assert!(loaders.into_iter().all(is_loader));
        for other in ["ld", "ld.bfd", "ld.so.cache", "lld"] {
            assert!(!is_loader(other), "{other}");
        }
    }
}
