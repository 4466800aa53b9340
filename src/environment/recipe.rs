//! The recipe's files and commands, on top of the environment, kept as a layer of their own.

use std::path::Path;

use crate::backend::{Backend, Clone, Command, Io, RootId, User};
use crate::cancel::Cancel;
use crate::documents::config::RecipeSettings;
use crate::documents::recipe::{Recipe, RecipeCommand, RecipeFile, Step};
use crate::environment::create::{EnvironmentError, keep_end};
use crate::environment::pack::{Content, Entry, pack};
use crate::events::{Event, Sink};

/// Where a recipe's scripts are put while they run.
const SCRIPT: &str = "/run/pristine/recipe";

/// What a recipe's steps need.
#[derive(Debug, Clone, Copy)]
pub struct Kitchen<'a> {
    /// The recipe.
    pub recipe: &'a Recipe,
    /// The project's settings for it.
    pub settings: &'a RecipeSettings,
    /// Seconds since 1970: the time of its files.
    pub epoch: u64,
    /// Where archives are spooled.
    pub spool: &'a Path,
}

/// Runs the recipe's steps in a clone of `environment` and keeps what they changed as a scratch root;
/// `None` where there are no steps.
pub fn apply(
    backend: &dyn Backend,
    environment: &[RootId],
    kitchen: Kitchen<'_>,
    sink: &dyn Sink,
    cancel: &Cancel,
) -> Result<Option<RootId>, EnvironmentError> {
    if kitchen.recipe.steps.is_empty() {
        return Ok(None);
    }
    let mut clone = backend
        .open(environment)
        .map_err(EnvironmentError::backend(
            "open the environment for the recipe",
        ))?;
    for step in &kitchen.recipe.steps {
        match step {
            Step::File(file) => write(&mut *clone, file, kitchen)?,
            Step::Command(command) => run(
                &mut *clone,
                &command_of(command, kitchen),
                kitchen,
                sink,
                cancel,
            )?,
            Step::Script(content) => {
                let script = RecipeScript(content);
                script.put(&mut *clone, kitchen)?;
                run(
                    &mut *clone,
                    &RecipeScript::command(kitchen),
                    kitchen,
                    sink,
                    cancel,
                )?;
            }
        }
    }
    let changed = backend.scratch_id();
    clone
        .freeze(&changed)
        .map_err(EnvironmentError::backend("keep what the recipe changed"))?;
    Ok(Some(changed))
}

fn put(clone: &mut dyn Clone, entry: Entry, kitchen: Kitchen<'_>) -> Result<(), EnvironmentError> {
    let mut tar =
        pack(&[entry], kitchen.epoch, kitchen.spool).map_err(|source| EnvironmentError::Spool {
            folder: kitchen.spool.to_owned(),
            source,
        })?;
    clone
        .copy_in("/", &mut tar)
        .map_err(EnvironmentError::backend("write a file of the recipe"))
}

fn write(
    clone: &mut dyn Clone,
    file: &RecipeFile,
    kitchen: Kitchen<'_>,
) -> Result<(), EnvironmentError> {
    let entry = Entry {
        path: file.path.as_str().trim_start_matches('/').to_owned(),
        mode: file.mode.bits(),
        owner: User {
            uid: file.owner.uid,
            gid: file.owner.gid,
        },
        content: Content::Bytes(file.content.clone()),
    };
    put(clone, entry, kitchen)
}

/// A recipe that is a script: copied in, run as root inside.
struct RecipeScript<'a>(&'a [u8]);

impl RecipeScript<'_> {
    fn put(&self, clone: &mut dyn Clone, kitchen: Kitchen<'_>) -> Result<(), EnvironmentError> {
        let entry = Entry {
            path: SCRIPT.trim_start_matches('/').to_owned(),
            mode: 0o755,
            owner: User::ROOT,
            content: Content::Bytes(self.0.to_vec()),
        };
        put(clone, entry, kitchen)
    }

    fn command(kitchen: Kitchen<'_>) -> Command {
        let mut command = Command::new([SCRIPT]);
        command.network = kitchen.settings.network;
        command.limits.time = kitchen.settings.timeout.limit();
        command
    }
}

fn command_of(own: &RecipeCommand, kitchen: Kitchen<'_>) -> Command {
    let mut command = Command::new(own.argv.iter().cloned());
    command.network = own.network;
    command.limits.time = own.timeout.unwrap_or(kitchen.settings.timeout).limit();
    command.env.extend(
        own.env
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.clone())),
    );
    command
}

fn run(
    clone: &mut dyn Clone,
    command: &Command,
    kitchen: Kitchen<'_>,
    sink: &dyn Sink,
    cancel: &Cancel,
) -> Result<(), EnvironmentError> {
    let mut command = command.clone();
    command
        .env
        .insert("SOURCE_DATE_EPOCH".to_owned(), kitchen.epoch.to_string());
    if command.network {
        sink.emit(Event::Warning {
            text: format!(
                "the recipe `{}` uses the network: what it fetches is not in the lock",
                kitchen.recipe.name
            ),
        });
    }
    let mut said = Vec::new();
    let exit = clone
        .run(
            &command,
            Io {
                stdin: None,
                output: &mut |_, bytes| keep_end(&mut said, bytes),
                cancel,
            },
        )
        .map_err(EnvironmentError::backend("run the recipe"))?;
    if exit.success() {
        return Ok(());
    }
    Err(EnvironmentError::Recipe {
        step: format!("command `{}`", command.argv.join(" ")),
        exit,
        output: String::from_utf8_lossy(&said).into_owned(),
    })
}
