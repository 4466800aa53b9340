//! Walks a tree: every folder before its content, names in the order of their bytes.
//!
//! That is the order of full paths compared component by component.

use std::ffi::{CStr, CString};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::Stat;

use super::TreeError;
use super::handle;

/// Handles kept open at once; those of folders further up are opened again when needed.
const OPEN_FOLDERS: usize = 100;

/// One thing in the tree, as its visitor sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'a> {
    /// The folder that holds it; for the root, the root itself.
    pub parent: BorrowedFd<'a>,
    /// Its name there; `.` for the root.
    pub name: &'a CStr,
    /// Its path from the root, without a leading `/`; empty for the root.
    pub path: &'a [u8],
    /// What it is.
    pub stat: &'a Stat,
    /// Its own handle where it is a folder.
    pub folder: Option<BorrowedFd<'a>>,
}

struct Frame {
    folder: Option<OwnedFd>,
    path_length: usize,
    names: std::vec::IntoIter<CString>,
}

/// Calls `visit` for the root and everything below it. What a visitor removes or adds in a
/// folder whose names were read is not noticed.
pub(super) fn walk(
    root: BorrowedFd<'_>,
    visit: &mut dyn FnMut(&Node<'_>) -> Result<(), TreeError>,
) -> Result<(), TreeError> {
    walk_until(root, &mut |node| visit(node).map(ControlFlow::Continue))
}

/// What a visitor says that may have seen enough.
pub(super) type Further = Result<ControlFlow<()>, TreeError>;

/// As `walk`, until the visitor has seen enough.
pub(super) fn walk_until(
    root: BorrowedFd<'_>,
    visit: &mut dyn FnMut(&Node<'_>) -> Further,
) -> Result<(), TreeError> {
    let mut path = Vec::new();
    let mut stack = Vec::new();
    stack.extend(enter(root, c".", &path, visit)?);
    while let Some(frame) = stack.last_mut() {
        path.truncate(frame.path_length);
        let Some(name) = frame.names.next() else {
            stack.pop();
            continue;
        };
        let parent = match frame.folder.take() {
            Some(folder) => folder,
            None => handle::open_folder(root, &path)
                .map_err(|errno| TreeError::path("open", &path, errno))?,
        };
        let parent = &*frame.folder.insert(parent);
        let parent = parent.as_fd();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name.to_bytes());
        if path.len() > handle::LONGEST_PATH {
            return Err(TreeError::refused(
                "path",
                &path,
                "it is longer than 4095 bytes",
            ));
        }
        let stat = handle::stat(parent, &*name)
            .map_err(|errno| TreeError::path("look at", &path, errno))?;
        if handle::is_kind(&stat, libc::S_IFDIR) {
            let Some(frame) = enter(parent, &name, &path, visit)? else {
                return Ok(());
            };
            stack.push(frame);
            if let Some(far) = stack.len().checked_sub(OPEN_FOLDERS) {
                stack[far].folder = None;
            }
        } else {
            let node = Node {
                parent,
                name: &name,
                path: &path,
                stat: &stat,
                folder: None,
            };
            if visit(&node)?.is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Visits a folder and reads its names; nothing where the visitor has seen enough.
fn enter(
    parent: BorrowedFd<'_>,
    name: &CStr,
    path: &[u8],
    visit: &mut dyn FnMut(&Node<'_>) -> Further,
) -> Result<Option<Frame>, TreeError> {
    let error = |errno| TreeError::path("open", path, errno);
    let folder = handle::open_folder(parent, name.to_bytes()).map_err(error)?;
    let stat = rustix::fs::fstat(&folder).map_err(error)?;
    let node = Node {
        parent,
        name,
        path,
        stat: &stat,
        folder: Some(folder.as_fd()),
    };
    if visit(&node)?.is_break() {
        return Ok(None);
    }
    let names =
        handle::names(folder.as_fd()).map_err(|errno| TreeError::path("list", path, errno))?;
    Ok(Some(Frame {
        folder: Some(folder),
        path_length: path.len(),
        names: names.into_iter(),
    }))
}
