//! `pristine enter`: a shell or a command in a clone of a pristine snapshot, thrown away at its end unless it is kept.

use std::io::IsTerminal as _;

use crate::backend::{self, BackendError, Command, Exit, Io, RootId};
use crate::build::conditions::Conditions;
use crate::build::package::Builder;
use crate::build::unpack;
use crate::cli::EnterArgs;
use crate::commands::context::{Context, Documents, Workshop};
use crate::commands::job::Draft;
use crate::commands::supplies::{self, Needs, Supplies};
use crate::documents::Lock;
use crate::error::{Failure, Kind};
use crate::events::{Event, Sink as _};

mod keeping;
mod place;
mod shell;

use place::Place;
use shell::{Start, WORK};

/// The verb. The exit code is the command's own, 128 and the signal's number where a signal ended it.
pub(super) fn run(context: &Context<'_>, args: &EnterArgs) -> Result<u8, Failure> {
    let documents = context.documents()?;
    let workshop = context.workshop(&documents.project)?;
    if args.list {
        keeping::list(context, &workshop)?;
        return Ok(0);
    }
    if let Some(name) = &args.forget {
        keeping::forget(context, &workshop, name)?;
        return Ok(0);
    }
    let holding = keeping::find(&workshop, args)?;
    let before = holding.as_ref().and_then(|holding| holding.before.as_ref());
    let mut place = place::find(context, &documents, &workshop, args, before)?;
    let builder = shell::builder(&documents, &workshop, args)?;
    let mut clone = workshop.backend.open(&place.layers())?;
    let mut start = prepare(
        context,
        (&documents, &workshop),
        args,
        (&place, &builder),
        &mut *clone,
    )?;
    if let Some(kept) = before {
        kept.folder.clone_into(&mut start.folder);
        start.environment.clone_from(&kept.environment);
    }
    if let Some(package) = &args.package {
        place.label = format!("{} {package}", place.label);
    }
    tell(context, args, &place.label);
    let command = shell::command(
        &documents,
        &workshop,
        args,
        (&builder, &start, &place.label),
    )?;
    let ended = quietly(context, &mut *clone, &command);
    match &holding {
        Some(holding) if matches!(ended, Ok(_) | Err(BackendError::Interrupted)) => {
            keeping::keep(&workshop, holding, clone, (&place, &start, args.rw))?;
        }
        _ => clone.destroy()?,
    }
    place.snapshot.publish()?;
    Ok(match ended? {
        Exit::Code(code) => code,
        Exit::Signal(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        Exit::Limit(_) | Exit::Killed => Kind::CannotRun.exit_code(),
    })
}

/// Makes the clone ready: packages, a package's sources. Gives where the shell starts.
fn prepare(
    context: &Context<'_>,
    (documents, workshop): (&Documents, &Workshop),
    args: &EnterArgs,
    (place, builder): (&Place<'_>, &Builder),
    clone: &mut dyn backend::Clone,
) -> Result<Start, Failure> {
    let mut start = shell::start(documents, args)?;
    if let Some(package) = &args.package {
        let lock = place.lock("--package")?;
        let draft = Draft::of_project(context, documents, workshop, lock, package)?;
        let requires = draft.open_requires(lock)?;
        let supplies = supply(
            context,
            (documents, workshop),
            args,
            (lock, &place.snapshot.roots),
            (package, &requires),
        )?;
        unpack(
            context,
            (&draft, builder),
            (documents, workshop, lock),
            &supplies,
            (clone, &mut start),
        )?;
        return Ok(start);
    }
    if !args.with.is_empty() {
        install(
            context,
            (documents, workshop),
            args,
            (place, builder),
            clone,
        )?;
    }
    if args.failed.is_some() {
        start.folder = unpack::build_folder(clone, builder.user, &context.cancel)?;
    }
    Ok(start)
}

/// Installs what `--with` names.
fn install(
    context: &Context<'_>,
    (documents, workshop): (&Documents, &Workshop),
    args: &EnterArgs,
    (place, builder): (&Place<'_>, &Builder),
    clone: &mut dyn backend::Clone,
) -> Result<(), Failure> {
    let ground = (place.lock("--with")?, &place.layers()[..]);
    let supplies = supply(
        context,
        (documents, workshop),
        args,
        ground,
        ("--with", &[]),
    )?;
    let command = builder.install(supplies.folder(), &supplies.names);
    let mut said = Vec::new();
    let io = Io {
        stdin: None,
        output: &mut |_, bytes: &[u8]| said.extend_from_slice(bytes),
        cancel: &context.cancel,
    };
    let exit = clone.run(&command, io)?;
    if exit.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    let text = format!(
        "rpm could not install what was asked for in the clone ({exit}): {}",
        said.trim()
    );
    Err(Failure::new(Kind::CannotRun, text))
}

/// What is installed besides.
fn supply(
    context: &Context<'_>,
    (documents, workshop): (&Documents, &Workshop),
    args: &EnterArgs,
    ground: (&Lock, &[RootId]),
    (name, build_requires): (&str, &[String]),
) -> Result<Supplies, Failure> {
    let needs = Needs {
        name,
        build_requires,
        with: &args.with,
    };
    supplies::gather(context, documents, workshop, ground, &needs)
}

/// Puts a package's sources in, as its build would have them.
fn unpack(
    context: &Context<'_>,
    (draft, builder): (&Draft, &Builder),
    (documents, workshop, lock): (&Documents, &Workshop, &Lock),
    supplies: &Supplies,
    (clone, start): (&mut dyn backend::Clone, &mut Start),
) -> Result<(), Failure> {
    let (macros, spool) = (documents.macros(), workshop.store.temporary_folder());
    let usual = Conditions::default();
    let job = draft.job(builder, lock, supplies, (&macros, &spool, &usual));
    let unpacked = context.step(
        &format!("unpacking the sources of {}", draft.name),
        || unpack::unpack(clone, &job, &context.cancel),
        |unpacked| unpacked.folder.clone(),
    )?;
    if let Some(said) = unpacked.failed {
        context.ui.emit(Event::Warning {
            text: format!("the sources could not be unpacked:\n{said}"),
        });
    }
    start.folder = unpacked.folder;
    start.environment = unpack::surroundings(&job).env;
    Ok(())
}

/// Says what is entered, to who sits before a terminal.
fn tell(context: &Context<'_>, args: &EnterArgs, label: &str) {
    if !args.command.is_empty() || !std::io::stdin().is_terminal() {
        return;
    }
    let project = if args.rw {
        "the project, writable"
    } else {
        "the project, read-only"
    };
    let end = match &args.keep {
        Some(name) => format!("kept as `{name}`"),
        None => "gone when you leave".to_owned(),
    };
    context
        .ui
        .note(&format!("{label}: {WORK} is {project}; all else is {end}"));
}

/// Runs a command on the caller's own streams.
fn quietly(
    context: &Context<'_>,
    clone: &mut dyn backend::Clone,
    command: &Command,
) -> Result<Exit, BackendError> {
    clone.run(
        command,
        Io {
            stdin: None,
            output: &mut |_, _| {},
            cancel: &context.cancel,
        },
    )
}
