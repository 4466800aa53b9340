//! The shell or command itself: who it runs as, where, what it sees, and what its prompt says.

use std::collections::BTreeMap;
use std::path::Path;

use crate::backend::{Command, Mount, Streams, User, Writers};
use crate::build::package::{Builder, TOPDIR};
use crate::cli::EnterArgs;
use crate::commands::context::{Documents, Workshop};
use crate::commands::job;
use crate::error::{Failure, Kind};

/// Where the project is visible.
pub(super) const WORK: &str = "/work";
/// Bash where there is one, as a login shell.
const LOGIN: &str = "[ -x /bin/bash ] && exec /bin/bash --login; exec /bin/sh -l";

/// What a shell starts with.
#[derive(Debug, Clone)]
pub(super) struct Start {
    /// Where it stands.
    pub(super) folder: String,
    /// What a build has in its environment.
    pub(super) environment: BTreeMap<String, String>,
}

/// The account that builds. With `--rw` it is who can have the project folder's files as its own.
pub(super) fn builder(
    documents: &Documents,
    workshop: &Workshop,
    args: &EnterArgs,
) -> Result<Builder, Failure> {
    let mut builder = job::builder(documents);
    if args.rw {
        use std::os::unix::fs::MetadataExt as _;
        let project = &documents.project.directory;
        let owner = fs_err::metadata(project).map_err(|error| Failure::new(Kind::Input, error))?;
        let owner = User {
            uid: owner.uid(),
            gid: owner.gid(),
        };
        let refused =
            |why: &str| Failure::new(Kind::Input, format!("--rw cannot be had here: {why}"));
        match workshop.backend.capabilities().writers {
            Writers::NotRoot if args.root => {
                let why = "root inside cannot stand for you as long as you are not root";
                return Err(refused(why).hint("leave out --root, or run pristine as root"));
            }
            Writers::Same if args.root && owner != User::ROOT => {
                let why = "with this engine, what root inside writes is root's outside";
                return Err(refused(why).hint("leave out --root"));
            }
            Writers::Anyone | Writers::NotRoot => {}
            Writers::Same => builder.user = owner,
            Writers::Root => builder.user = User::ROOT,
            Writers::Nobody => {
                let why = "this engine gives users inside other ids outside (userns-remap)";
                return Err(refused(why).hint("use the native backend: --backend native"));
            }
        }
    }
    Ok(builder)
}

/// Where a shell begins: in the project where it can be written, at the caller's own place in it, else at home.
pub(super) fn start(documents: &Documents, args: &EnterArgs) -> Result<Start, Failure> {
    let failed = |error| Failure::new(Kind::Input, error);
    let mut folder = if args.root { "/root" } else { TOPDIR }.to_owned();
    if args.rw {
        WORK.clone_into(&mut folder);
        let project = fs_err::canonicalize(&documents.project.directory).map_err(failed)?;
        let here = std::env::current_dir().map_err(failed)?;
        if let Ok(below) = here.strip_prefix(&project)
            && below != Path::new("")
        {
            folder = format!("{WORK}/{}", below.display());
        }
    }
    Ok(Start {
        folder,
        environment: BTreeMap::new(),
    })
}

/// The command, or a login shell where there is none.
pub(super) fn command(
    documents: &Documents,
    workshop: &Workshop,
    args: &EnterArgs,
    (builder, start, label): (&Builder, &Start, &str),
) -> Result<Command, Failure> {
    let mut command = if args.command.is_empty() {
        Command::new(["/bin/sh", "-c", LOGIN])
    } else {
        Command::new(args.command.iter().cloned())
    };
    command.env.extend(start.environment.clone());
    command.account = Some(builder.clone());
    if !args.root {
        command.user = builder.user;
        command.env.extend(builder.environment());
    }
    let mut set = |name: &str, value: String| command.env.insert(name.to_owned(), value);
    set("PRISTINE", label.to_owned());
    // No file in the environment says how its prompt looks: bash sets it before the first one, other shells take it as it is.
    let prompt = format!("(pristine {label}) \\w \\$ ");
    set(
        "PROMPT_COMMAND",
        format!("PS1='{prompt}'; unset PROMPT_COMMAND"),
    );
    set("PS1", format!("(pristine {label}) $ "));
    // The terminal's type and colours are the caller's; nothing else is passed on.
    for name in ["TERM", "COLORTERM"] {
        if let Ok(value) = std::env::var(name) {
            set(name, value);
        }
    }
    start.folder.clone_into(&mut command.cwd);
    command.network = args.network;
    command.streams = Streams::Inherited;
    command.mounts = mounts(documents, workshop, args.rw)?;
    Ok(command)
}

/// The project's folder. The store is hidden where it lies in it: nothing inside needs it, and it must not be changed.
fn mounts(
    documents: &Documents,
    workshop: &Workshop,
    writable: bool,
) -> Result<Vec<Mount>, Failure> {
    let failed = |error| Failure::new(Kind::Input, error);
    let source = fs_err::canonicalize(&documents.project.directory).map_err(failed)?;
    let store = fs_err::canonicalize(workshop.store.root()).map_err(failed)?;
    let hidden = store.strip_prefix(&source).ok().map(|below| Mount::Empty {
        target: format!("{WORK}/{}", below.display()),
    });
    let target = WORK.to_owned();
    let work = if writable {
        Mount::Writable { source, target }
    } else {
        Mount::Host { source, target }
    };
    Ok(std::iter::once(work).chain(hidden).collect())
}
