//! The isolation boundary: roots, writable clones of them, commands run in a clone.
//!
//! One trait, few methods, in the words of the domain. Differences between backends
//! are data (`Capabilities`); nobody asks a backend for its name.
//! One conformance suite (`tests/it/conformance.rs`) runs against every backend.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::cancel::Cancel;
use crate::digest::{Digest, HashingWriter};

mod account;
pub mod docker;
mod limits;
pub mod native;
mod root;
mod surroundings;
mod trace;

pub use account::Account;
pub use limits::{Limit, LimitHit, Limits, Usage};
pub use root::RootId;
pub use surroundings::{Pinned, Surroundings};
pub use trace::{Touch, Touched, Trace, Watched};

/// What a backend can do here; the conformance suite and `environment` read it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each read on its own"
)]
pub struct Capabilities {
    /// Memory and process limits are kept by the kernel (a cgroup could be had). Without, they are watched
    /// from outside, which is less exact (`docs/limits.md`).
    pub limits: bool,
    /// Commands can have the host's network.
    pub network: bool,
    /// Works without host root.
    pub rootless: bool,
    /// A command can be attached to the caller's terminal.
    pub terminal: bool,
    /// No id inside is an id of anybody outside: root inside owns nothing there.
    pub own_ids: bool,
    /// A frozen clone has the `user.*` attributes and access control lists of what was changed in it.
    pub attributes: bool,
    /// Clones lie on the store's disk: what is free there is free for them.
    pub on_store_disk: bool,
    /// Who a command must run as to have a `Mount::Writable` as its own.
    pub writers: Writers,
}

/// Whose ids inside can stand for a host folder's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    /// Any user: its id is mapped to the owner's, for that folder or for that command.
    Anyone,
    /// Any user but root, since only the caller's one id can be mapped, and the tree needs root's own.
    NotRoot,
    /// The user with the owner's own ids: ids inside are ids outside.
    Same,
    /// Root inside, which is the caller outside.
    Root,
    /// Nobody.
    Nobody,
}

/// Who a command runs as, inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// User id inside.
    pub uid: u32,
    /// Group id inside.
    pub gid: u32,
}

impl User {
    /// root inside, never root outside.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };
}

/// Something made visible inside beside the clone itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mount {
    /// A host file or folder, read-only, nosuid, nodev.
    Host {
        /// Absolute path on the host.
        source: PathBuf,
        /// Absolute path inside; made where it is missing.
        target: String,
    },
    /// A host folder, writable, nosuid, nodev: what its owner has is the command user's inside, and what
    /// that user makes there is the owner's (`Capabilities::writers`). What is mounted below it is not seen.
    Writable {
        /// Absolute path on the host of a folder.
        source: PathBuf,
        /// Absolute path inside; made where it is missing.
        target: String,
    },
    /// An empty folder: hides what is there. Nothing that may be written into it lasts.
    Empty {
        /// Absolute path inside; made where it is missing.
        target: String,
    },
    /// An empty folder in memory that every user may write, of so many bytes at most. It ends with the command.
    Memory {
        /// Absolute path inside; made where it is missing.
        target: String,
        /// Bytes.
        size: u64,
    },
    /// A root of the same backend, writable: how a target root is filled by a tools root's `rpm`.
    Root {
        /// The root; no clone of it may be open.
        root: RootId,
        /// Absolute path inside; made where it is missing.
        target: String,
    },
}

/// Where a command's standard streams go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Streams {
    /// Input from `Io::stdin`, output to `Io::output`.
    Piped,
    /// The caller's own streams. Where input and output are a terminal, the command has one of its own, joined
    /// to the caller's: no command ever holds the caller's.
    Inherited,
}

/// One command to run in a clone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Program (absolute, or looked up in `PATH` of `env`) and arguments.
    pub argv: Vec<String>,
    /// The whole environment: nothing is inherited.
    pub env: BTreeMap<String, String>,
    /// Absolute working directory inside.
    pub cwd: String,
    /// Who it runs as.
    pub user: User,
    /// An account that the clone is to have, made before the command starts where it is missing.
    pub account: Option<Account>,
    /// Host network inside; else an empty network namespace with `lo` up.
    pub network: bool,
    /// More than the clone itself.
    pub mounts: Vec<Mount>,
    /// Another root inside (a `Mount::Root`) that the command enters by chroot, as `rpm --root` does
    /// for scriptlets: it gets a `/dev` and `/proc` of its own, which are no part of it.
    pub inner_root: Option<String>,
    /// Limits on all its processes together.
    pub limits: Limits,
    /// What it sees of the machine.
    pub surroundings: Surroundings,
    /// Standard streams.
    pub streams: Streams,
    /// `fsync` and its kin return at once: only for trees that are verified as a whole afterwards.
    pub skip_sync: bool,
}

impl Command {
    /// A command as root inside, in `/`, with a minimal environment and no network.
    pub fn new<T: Into<String>>(argv: impl IntoIterator<Item = T>) -> Self {
        let env = [
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            ("LANG", "C.UTF-8"),
            ("HOME", "/root"),
            ("TERM", "dumb"),
        ];
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            env: env
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            cwd: "/".to_owned(),
            user: User::ROOT,
            account: None,
            network: false,
            mounts: Vec::new(),
            inner_root: None,
            limits: Limits::default(),
            surroundings: Surroundings::default(),
            streams: Streams::Piped,
            skip_sync: false,
        }
    }
}

/// Which of the two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// The caller's ends of a piped command.
#[expect(missing_debug_implementations, reason = "holds the caller's closures")]
pub struct Io<'a> {
    /// Fed to standard input, then closed; `None` is `/dev/null`.
    pub stdin: Option<&'a mut (dyn Read + Send)>,
    /// Called with output in the order in which it was read.
    pub output: &'a mut dyn FnMut(Stream, &[u8]),
    /// Ends the command when set.
    pub cancel: &'a Cancel,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(u8),
    /// It died of this signal.
    Signal(i32),
    /// A limit ended it.
    Limit(Box<LimitHit>),
    /// It and everything beside it was killed from outside of the sandbox.
    Killed,
}

impl Exit {
    /// Exit code 0.
    pub fn success(&self) -> bool {
        *self == Self::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
            Self::Limit(limit) => write!(f, "{limit}"),
            Self::Killed => f.write_str(
                "killed from outside, with its whole sandbox: by an operator, or by a machine out of memory",
            ),
        }
    }
}

/// Why a backend could not do what was asked. A command's own failure is an `Exit`.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackendError {
    /// The host lacks something; `remedy` is a command or a setting.
    #[error("{what}")]
    Unavailable {
        /// What is missing, and how that was seen.
        what: String,
        /// What mends it.
        remedy: String,
    },
    /// A step of making or running a sandbox failed.
    #[error("cannot {doing}")]
    Step {
        /// The step, to read after "cannot".
        doing: String,
        /// Its cause.
        #[source]
        source: std::io::Error,
    },
    /// An archive or package is not safe or not readable.
    #[error("refused {what}: {why}")]
    Refused {
        /// The archive and the entry.
        what: String,
        /// The rule that it breaks.
        why: String,
    },
    /// The caller's token was set.
    #[error("interrupted")]
    Interrupted,
}

/// Refuses an id that a root has already.
fn absent(backend: &dyn Backend, root: &RootId) -> Result<(), BackendError> {
    if !backend.has(root)? {
        return Ok(());
    }
    Err(BackendError::Refused {
        what: format!("root `{}`", root.0),
        why: "it exists already".to_owned(),
    })
}

/// The error about a root that is not there.
fn missing(root: &RootId) -> BackendError {
    BackendError::Refused {
        what: format!("root `{}`", root.0),
        why: "there is none of that name".to_owned(),
    }
}

/// The isolation boundary.
pub trait Backend: Send + Sync + fmt::Debug {
    /// What it can do here.
    fn capabilities(&self) -> &Capabilities;

    /// A new id that no root has, marked as belonging to this process so that a later
    /// run can tell that it was left behind.
    fn scratch_id(&self) -> RootId;

    /// Whether a root of that id is kept.
    fn has(&self, root: &RootId) -> Result<bool, BackendError>;

    /// All roots that are kept, in the order of their ids; not those that are being made.
    fn roots(&self) -> Result<Vec<RootId>, BackendError>;

    /// Bytes that a root takes on disk.
    fn size(&self, root: &RootId) -> Result<u64, BackendError>;

    /// A digest of what `stat` tells of a root's files: while it stays the same, none of them was touched.
    fn fingerprint(&self, root: &RootId) -> Result<Digest, BackendError>;

    /// Makes a root of the payloads of `packages` (RPM files), without scriptlets, in parallel.
    fn unpack(&self, root: &RootId, packages: &[PathBuf]) -> Result<(), BackendError>;

    /// Makes a root of one uncompressed layer tar (OCI whiteouts allowed; an empty stream makes an empty root).
    fn import(&self, root: &RootId, tar: &mut (dyn Read + Send)) -> Result<(), BackendError>;

    /// Writes a root as canonical layer tar (`tree::canonical`), after `normalise` where given.
    fn export(
        &self,
        root: &RootId,
        normalise: Option<&crate::tree::Normalise>,
        tar: &mut (dyn Write + Send),
    ) -> Result<(), BackendError>;

    /// The digest of what `export` would write: dearer to hand out than to compute, for some backends.
    fn digest(
        &self,
        root: &RootId,
        normalise: Option<&crate::tree::Normalise>,
    ) -> Result<Digest, BackendError> {
        Ok(self.digest_by(root, normalise, &[])?.0)
    }

    /// As `digest`, sooner where the archive is the one that the `marks` are of; and its own marks, where the backend
    /// has any.
    fn digest_by(
        &self,
        root: &RootId,
        normalise: Option<&crate::tree::Normalise>,
        _marks: &[crate::tree::Mark],
    ) -> Result<(Digest, Vec<crate::tree::Mark>), BackendError> {
        let mut hasher = HashingWriter::new(std::io::sink());
        self.export(root, normalise, &mut hasher)?;
        Ok((hasher.finish().1, Vec::new()))
    }

    /// Gives a root another id. Where a root of that id is there already, that one stays, since clones
    /// of it may be open, and this one is removed: an id that others know names one content for good.
    fn rename(&self, from: &RootId, to: &RootId) -> Result<(), BackendError>;

    /// Removes a root; the visible cost is a rename.
    fn remove(&self, root: &RootId) -> Result<(), BackendError>;

    /// Opens a writable clone of a stack of roots, lowest first.
    fn open(&self, layers: &[RootId]) -> Result<Box<dyn Clone>, BackendError>;

    /// Removes what dead runs left: scratch roots, clones, cgroups. Returns what was removed, a line each.
    fn sweep(&self) -> Result<Vec<String>, BackendError>;
}

/// A writable copy of a stack of roots. Dropping it destroys it; `destroy` reports.
pub trait Clone: Send + fmt::Debug {
    /// Runs one command; returns when every process that it started is dead.
    ///
    /// A program that cannot be found or executed is `Exit::Code(127)` or `Exit::Code(126)`, with a line on
    /// standard error, as in a shell. `Io::stdin` is read only when the command takes input, and should not
    /// block for long: output waits meanwhile. A limit that was met is `Exit::Limit`, whatever the command made
    /// of it: also where the kernel killed only one process, or refused to start one.
    fn run(&mut self, command: &Command, io: Io<'_>) -> Result<Exit, BackendError>;

    /// As `run`, and tells which of the watched files the command's processes used, or in words why that is not
    /// known. Watching changes nothing about the command, and its trouble is never an error.
    fn run_traced(
        &mut self,
        command: &Command,
        io: Io<'_>,
        _watched: &Watched,
    ) -> Result<(Exit, Result<Trace, String>), BackendError> {
        let exit = self.run(command, io)?;
        Ok((
            exit,
            Err("this backend cannot see what is opened".to_owned()),
        ))
    }

    /// What its commands used so far, together, and what it holds now.
    fn used(&mut self) -> Result<Usage, BackendError>;

    /// Unpacks a tar below `path` inside, made where it is missing. Owners are those in the tar.
    fn copy_in(&mut self, path: &str, tar: &mut (dyn Read + Send)) -> Result<(), BackendError>;

    /// Writes the tree at `path` inside (a folder; only what the clone itself holds of it,
    /// not what its layers do) as canonical tar.
    fn copy_out(&mut self, path: &str, tar: &mut (dyn Write + Send)) -> Result<(), BackendError>;

    /// Ends the clone and keeps what it changed as a root: on the disk where the root lasts, which then must not be
    /// there yet.
    fn freeze(self: Box<Self>, root: &RootId) -> Result<(), BackendError>;

    /// Ends the clone and drops what it changed.
    fn destroy(self: Box<Self>) -> Result<(), BackendError>;
}
