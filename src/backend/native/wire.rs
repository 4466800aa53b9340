//! Messages between the tool, the keeper and the processes that they start.
//!
//! One `SOCK_SEQPACKET` message is one request or answer: JSON, with open files beside
//! it. Nothing passes through arguments or the environment, where others could read it.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::WaitStatus;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::sys;
use crate::backend::{BackendError, Command, RootId, Trace, Usage, User};
use crate::digest::Digest;
use crate::tree::{Mark, Normalise};

/// Files beside one message, at most (the kernel's own limit is 253).
const FILES: usize = 128;
/// What fits a packet; longer texts go into a memory file beside it.
const INLINE: usize = 64 << 10;

/// The folders that make up one clone, relative to the store's root.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Stack {
    /// `clones/SESSION/NUMBER`.
    pub(super) folder: String,
    /// Lowest first.
    pub(super) layers: Vec<RootId>,
}

/// What the keeper is asked for. Each comes with a socket for the answer as its first file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    Unpack {
        root: RootId,
        packages: Vec<PathBuf>,
        threads: usize,
    },
    Import {
        root: RootId,
    },
    Export {
        root: RootId,
        normalise: Option<Normalise>,
    },
    Digest {
        root: RootId,
        normalise: Option<Normalise>,
        marks: Vec<Mark>,
    },
    Size {
        root: RootId,
    },
    Fingerprint {
        root: RootId,
    },
    Rename {
        from: RootId,
        to: RootId,
    },
    Remove {
        root: RootId,
    },
    /// A user namespace in which `user` inside has what is `owner`'s (user and group id) on the disk.
    Ids {
        owner: (u32, u32),
        user: User,
    },
    Run(Box<Run>),
    CopyIn {
        stack: Stack,
        path: String,
    },
    CopyOut {
        stack: Stack,
        path: String,
    },
    Freeze {
        stack: Stack,
        root: RootId,
    },
    /// Has all that was written to the store's file system on the disk, and gives a root its lasting name then.
    Settle {
        from: RootId,
        to: RootId,
    },
    Destroy {
        stack: Stack,
    },
    Measure {
        stack: Stack,
    },
    Sweep,
    Finish,
}

/// One command in one clone. Files: standard input, output and error, a tracer's where it is traced, then a detached
/// mount for each host mount whose `attached` is set.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) stack: Stack,
    pub(super) command: Command,
    /// Which of the mounts came as a file.
    pub(super) attached: Vec<bool>,
    /// Wait for the tool's word before the command starts: it puts the sandbox into its cgroup meanwhile.
    pub(super) gated: bool,
    /// Which of the streams are a terminal of the command's own; none where there is none.
    pub(super) terminal: Option<[bool; 3]>,
    /// A tracer watches what the command opens: its three files come after the streams.
    pub(super) traced: bool,
    /// Folders of the sandbox's cgroup: the keeper removes them when the tool cannot.
    pub(super) cgroup: Vec<PathBuf>,
}

/// What the zygote is told: as `Run`, with all mounts made. Files: the answer's socket,
/// three streams, the clone's mount, then one mount per target.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::backend) struct Start {
    pub(in crate::backend) command: Command,
    /// Where the mounts go, absolute inside.
    pub(in crate::backend) targets: Vec<String>,
    pub(in crate::backend) gated: bool,
    /// Which of the streams are a terminal of the command's own; none where there is none.
    pub(in crate::backend) terminal: Option<[bool; 3]>,
}

/// The first message to the keeper once its ids are mapped; the session's lock comes beside it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) session: String,
    /// The machine has started anew since the store was used last.
    pub(super) new_boot: bool,
}

/// Answers, from the keeper, a worker, the zygote or the sandbox.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::backend) enum Answer {
    /// The keeper has its user namespace and waits for its ids.
    Unmapped,
    /// Done.
    Done,
    /// The digest of what `stat` tells of a root.
    Digest(Digest),
    /// The digest of a root's archive, and marks of it.
    Digested(Digest, Vec<Mark>),
    /// Bytes that a root or a clone takes on disk.
    Size(u64),
    /// What a sweep removed.
    Swept(Vec<String>),
    /// The sandbox exists; its pid file descriptor comes beside it.
    Started,
    /// What the command and its children used; the end comes after it.
    Used(Spent),
    /// The command's terminal exists; the tool's end comes beside it. The command starts at the tool's word.
    Terminal,
    /// A user namespace that shows an owner's files as a user's; it comes beside it.
    Ids,
    /// The tracer watches: the command may start.
    Watching,
    /// What the tracer saw.
    Traced(Box<Trace>),
    /// The command exited.
    Code(u8),
    /// The command died of a signal.
    Signal(i32),
    /// Something could not be done.
    Failed(Failure),
}

impl Answer {
    /// How a command ended; none where it has not.
    pub(super) fn of(status: WaitStatus) -> Option<Self> {
        let code = status.exit_status();
        let code = code.map(|code| Self::Code(u8::try_from(code & 0xff).unwrap_or(u8::MAX)));
        code.or_else(|| status.terminating_signal().map(Self::Signal))
    }
}

/// What processes used, as the first process of a sandbox counts it: those that somebody waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::backend) struct Spent {
    user: Duration,
    system: Duration,
    /// Blocks of 512 bytes.
    read: u64,
    written: u64,
}

impl Spent {
    /// By the children of this process.
    pub(in crate::backend) fn by_children() -> io::Result<Self> {
        let usage = sys::used_by_children()?;
        let time = |time: libc::timeval| {
            Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0))
                + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
        };
        Ok(Self {
            user: time(usage.ru_utime),
            system: time(usage.ru_stime),
            read: u64::try_from(usage.ru_inblock).unwrap_or(0),
            written: u64::try_from(usage.ru_oublock).unwrap_or(0),
        })
    }
}

impl From<Spent> for Usage {
    fn from(spent: Spent) -> Self {
        Self {
            user: Some(spent.user),
            system: Some(spent.system),
            read: Some(spent.read.saturating_mul(512)),
            written: Some(spent.written.saturating_mul(512)),
            ..Self::default()
        }
    }
}

/// A `BackendError` that can travel.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::backend) enum Failure {
    Step {
        doing: String,
        errno: Option<i32>,
        text: String,
    },
    Refused {
        what: String,
        why: String,
    },
    Unavailable {
        what: String,
        remedy: String,
    },
}

impl Failure {
    /// A step that failed with `source`.
    pub(in crate::backend) fn step(doing: impl Into<String>, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        Self::Step {
            doing: doing.into(),
            errno: source.raw_os_error(),
            text: source.to_string(),
        }
    }
}

impl From<Failure> for BackendError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Step {
                doing,
                errno: Some(errno),
                ..
            } => Self::Step {
                doing,
                source: io::Error::from_raw_os_error(errno),
            },
            Failure::Step {
                doing,
                errno: None,
                text,
            } => Self::Step {
                doing,
                source: io::Error::other(text),
            },
            Failure::Refused { what, why } => Self::Refused { what, why },
            Failure::Unavailable { what, remedy } => Self::Unavailable { what, remedy },
        }
    }
}

/// Gives a failed system call the words for what was being done.
pub(in crate::backend) trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::step(what(), error))
    }
}

/// A connected pair of packet sockets.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Sends one message with `files` beside it.
pub(super) fn send(
    socket: impl AsFd,
    message: &impl Serialize,
    files: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    if text.len() <= INLINE {
        return send_packet(socket.as_fd(), &[b"i", &text], files);
    }
    let mut memory = fs_err::File::from_parts(
        memfd_create("message", MemfdFlags::CLOEXEC)?.into(),
        "message",
    );
    memory.write_all(&text)?;
    let mut all = vec![memory.as_fd()];
    all.extend_from_slice(files);
    send_packet(socket.as_fd(), &[b"m"], &all)
}

fn send_packet(
    socket: BorrowedFd<'_>,
    parts: &[&[u8]],
    files: &[BorrowedFd<'_>],
) -> io::Result<()> {
    if files.len() > FILES {
        return Err(io::Error::other(format!(
            "more than {FILES} files beside one message"
        )));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(io::Error::other("no room for the files beside a message"));
    }
    let parts: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    rustix::io::retry_on_intr(|| sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL))?;
    Ok(())
}

/// Receives one message; `None` when the other side is gone.
pub(super) fn receive<T: DeserializeOwned>(
    socket: impl AsFd,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut packet = vec![0; INLINE + 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        recvmsg(
            &socket,
            &mut [IoSliceMut::new(&mut packet)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )
    });
    let length = match received {
        Ok(message) => message.bytes,
        Err(rustix::io::Errno::CONNRESET) => 0,
        Err(errno) => return Err(errno.into()),
    };
    let mut files = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            files.extend(rights);
        }
    }
    match packet[..length].split_first() {
        None => Ok(None),
        Some((b'i', text)) => Ok(Some((serde_json::from_slice(text)?, files))),
        Some(_) if files.is_empty() => Err(io::Error::other("a message without its text")),
        Some(_) => {
            use std::io::Seek;
            let mut memory = fs_err::File::from_parts(files.remove(0).into(), "message");
            memory.rewind()?;
            let mut text = Vec::new();
            memory.read_to_end(&mut text)?;
            Ok(Some((serde_json::from_slice(&text)?, files)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_messages_arrive_with_their_files() {
        let (left, right) = pair().unwrap();
        for length in [0, 10, INLINE, 4 << 20] {
            let text = "x".repeat(length);
            send(&left, &text, &[left.as_fd(), right.as_fd()]).unwrap();
            let (got, files): (String, _) = receive(&right).unwrap().unwrap();
            assert_eq!((got.len(), files.len()), (length, 2));
        }
        drop(left);
        assert!(receive::<String>(&right).unwrap().is_none());
    }
}
