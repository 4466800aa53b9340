//! Tree work, each piece in a process of its own, as root inside the store's user namespace.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Gid, OFlags, Uid};

use super::inside::{self, Kind};
use super::stack::{self, Places};
use super::wire::{Answer, Doing, Failure, Request, Stack};
use super::{keeper, sweep, sys, trees, wire};
use crate::backend::RootId;

/// Turns the forked keeper into a worker: root inside, gone when the keeper goes. The
/// caller's supplementary groups stay: they may be what makes a package file readable.
pub(super) fn prepare(keeper: BorrowedFd<'_>) -> io::Result<()> {
    sys::restore(libc::SIGCHLD);
    let (user, group) = (Uid::ROOT, Gid::ROOT);
    rustix::thread::set_thread_res_gid(group, group, group)?;
    rustix::thread::set_thread_res_uid(user, user, user)?;
    // A change of ids clears the death signal.
    keeper::end_with_parent(keeper)
}

/// Does one piece of work. Files: the archive's pipe, where there is one.
pub(super) fn work(
    request: Request,
    files: Vec<OwnedFd>,
    places: &Places,
) -> Result<Answer, Failure> {
    let mut files = files.into_iter();
    let mut pipe = || {
        files.next().ok_or_else(|| {
            Failure::step("read the request", io::Error::other("its pipe is missing"))
        })
    };
    match request {
        Request::Unpack {
            root,
            packages,
            threads,
        } => {
            let folder = stack::create_root(&root).doing(|| format!("make root `{}`", root.0))?;
            trees::unpack(folder.as_fd(), &packages, threads)?;
        }
        Request::Import { root } => {
            let folder = stack::create_root(&root).doing(|| format!("make root `{}`", root.0))?;
            trees::apply(folder.as_fd(), &mut std::fs::File::from(pipe()?))?;
        }
        Request::Export { root, normalise } => {
            let folder = opened(&root)?;
            let mut pipe = std::fs::File::from(pipe()?);
            trees::write_normalised(folder.as_fd(), normalise.as_ref(), &mut pipe)?;
        }
        Request::Digest {
            root,
            normalise,
            marks,
        } => {
            let folder = opened(&root)?;
            let digested = trees::digest(folder.as_fd(), normalise.as_ref(), &marks);
            return digested.map(|(digest, marks)| Answer::Digested(digest, marks));
        }
        Request::Fingerprint { root } => {
            let folder = opened(&root)?;
            return trees::fingerprint(folder.as_fd()).map(Answer::Digest);
        }
        Request::Size { root } => {
            let folder = opened(&root)?;
            return trees::size(folder.as_fd()).map(Answer::Size);
        }
        Request::CopyIn { stack, path } => {
            copy_in(places, &stack, &path, &mut std::fs::File::from(pipe()?))?;
        }
        Request::CopyOut { stack, path } => {
            copy_out(places, &stack, &path, &mut std::fs::File::from(pipe()?))?;
        }
        Request::Measure { stack } => return measure(&stack).map(Answer::Size),
        Request::Settle { from, to } => stack::settle(&from, &to)?,
        Request::Sweep => return sweep::sweep(places).map(Answer::Swept),
        other => {
            return Err(Failure::step(
                "serve a request",
                io::Error::other(format!("{other:?} is not a worker's")),
            ));
        }
    }
    Ok(Answer::Done)
}

/// What a clone changed, in bytes.
fn measure(stack: &Stack) -> Result<u64, Failure> {
    match stack::open_folder(&format!("{}/upper", stack.folder)) {
        Ok(folder) => trees::size(folder.as_fd()),
        // No command has run in it yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Failure::step("open a clone", error)),
    }
}

fn opened(root: &RootId) -> Result<OwnedFd, Failure> {
    stack::open_folder(&stack::root(root)).doing(|| format!("open root `{}`", root.0))
}

/// Through the overlay, so that a path whose parents lie in the layers is found there.
fn copy_in(places: &Places, stack: &Stack, path: &str, tar: &mut dyn Read) -> Result<(), Failure> {
    let clone = stack::mount(places, stack)?;
    let folder = inside::ensure(clone.as_fd(), Path::new(path), Kind::Folder)
        .doing(|| format!("make `{path}` in the clone"))?;
    let folder = inside::open(&folder, ".", OFlags::RDONLY | OFlags::DIRECTORY)
        .doing(|| format!("open `{path}` in the clone"))?;
    trees::apply(folder.as_fd(), tar)
}

/// Finds the folder through the overlay (links in the layers count), then reads the clone's own part of it.
fn copy_out(
    places: &Places,
    stack: &Stack,
    path: &str,
    tar: &mut dyn Write,
) -> Result<(), Failure> {
    let clone = stack::mount(places, stack)?;
    let doing = || format!("open `{path}` in the clone");
    let found = inside::open(
        &clone,
        path.trim_start_matches('/').to_owned() + "/.",
        OFlags::PATH | OFlags::DIRECTORY,
    )
    .doing(doing)?;
    let upper = stack::open_folder(&format!("{}/upper", stack.folder)).doing(doing)?;
    let place = inside::place(clone.as_fd(), found.as_fd()).doing(doing)?;
    match inside::open(&upper, &place, OFlags::RDONLY | OFlags::DIRECTORY) {
        Ok(folder) => trees::write(folder.as_fd(), tar),
        // Nothing below it was changed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => trees::write_empty(tar),
        Err(error) => Err(Failure::step(doing(), error)),
    }
}

/// Deletes folders in the trash.
pub(super) fn delete(entries: &[String]) -> Result<Answer, Failure> {
    let trash = stack::open_folder("trash").doing(|| "open the trash".to_owned())?;
    for entry in entries {
        let name = entry.strip_prefix("trash/").unwrap_or(entry);
        trees::remove(trash.as_fd(), OsStr::new(name))?;
    }
    Ok(Answer::Done)
}

/// Deletes entries of the trash as they are named, with what the machine has to spare, until no more can come.
pub(super) fn bury(entries: &OwnedFd) -> Result<Answer, Failure> {
    // Only a courtesy to the builds.
    let _refused = rustix::process::nice(19);
    while let Some((entry, _)) =
        wire::receive::<String>(entries).doing(|| "hear what to delete".to_owned())?
    {
        // What cannot be deleted now is left to the next sweep.
        if let Err(failure) = delete(&[entry]) {
            tracing::debug!(?failure, "trash stays");
        }
    }
    Ok(Answer::Done)
}
