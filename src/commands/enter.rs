//! `pristine enter`: a shell or a command in a throw-away clone of the pristine snapshot.

use crate::backend::{Command, Exit, Io, Streams, User};
use crate::build::package::TOPDIR;
use crate::cli::EnterArgs;
use crate::commands::context::Context;
use crate::commands::{creating, lock};
use crate::error::{Failure, Kind};

/// The verb. The exit code is the command's own, 128 and the signal's number where a signal ended it.
pub(super) fn run(context: &Context<'_>, args: &EnterArgs) -> Result<u8, Failure> {
    let documents = context.documents()?;
    let workshop = context.workshop(&documents.project)?;
    let Some(lock) = lock::old_lock(&documents)? else {
        return Err(Failure::new(
            Kind::Lock,
            "there is no pristine.lock, and so no environment",
        )
        .hint("make both: pristine build"));
    };
    let snapshot = if let Some(kept) = creating::kept_snapshot(&workshop, &lock)? {
        kept
    } else {
        let stock = creating::stock(context, &documents, &workshop, &lock)?;
        creating::fresh_snapshot(context, &documents, &workshop, &lock, &stock)?
    };
    let mut clone = workshop.backend.open(&snapshot.roots)?;
    let builder = &documents.template.builder;
    let account = crate::build::package::Builder {
        name: builder.name.to_string(),
        user: User {
            uid: builder.uid,
            gid: builder.gid,
        },
    };
    let quiet = &mut |_, _: &[u8]| {};
    let io = Io {
        stdin: None,
        output: quiet,
        cancel: &context.cancel,
    };
    clone.run(&account.command(), io)?;
    let exit = clone.run(
        &command(args, &account),
        Io {
            stdin: None,
            output: quiet,
            cancel: &context.cancel,
        },
    )?;
    clone.destroy()?;
    snapshot.publish()?;
    Ok(match exit {
        Exit::Code(code) => code,
        Exit::Signal(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        Exit::Limit(_) | Exit::Killed => Kind::CannotRun.exit_code(),
    })
}

fn command(args: &EnterArgs, account: &crate::build::package::Builder) -> Command {
    let mut command = if args.command.is_empty() {
        Command::new([
            "/bin/sh",
            "-c",
            "[ -x /bin/bash ] && exec /bin/bash --login; exec /bin/sh -l",
        ])
    } else {
        Command::new(args.command.iter().cloned())
    };
    if !args.root {
        command.user = account.user;
        TOPDIR.clone_into(&mut command.cwd);
        command.env.extend(account.environment());
    }
    // The terminal's type is the caller's; nothing else is passed on.
    if let Ok(term) = std::env::var("TERM") {
        command.env.insert("TERM".to_owned(), term);
    }
    command.network = args.network;
    command.streams = Streams::Inherited;
    command
}
