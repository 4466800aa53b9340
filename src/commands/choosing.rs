//! Which backend does the work: the one that was asked for, else the first that works here.

use std::path::{Path, PathBuf};

use crate::backend::docker::{Address, Brand, Docker};
use crate::backend::native::Native;
use crate::backend::{Backend, BackendError};
use crate::documents::config::BackendChoice;
use crate::error::{Failure, Kind};
use crate::store::Store;
use crate::ui::Ui;

/// Opens the chosen backend on a store, or the first that works, which is named.
pub(super) fn open(
    choice: Option<BackendChoice>,
    store: &Path,
    ui: &Ui,
) -> Result<(BackendChoice, Box<dyn Backend>), Failure> {
    if let Some(choice) = choice {
        let backend = open_one(choice, store).map_err(|error| {
            Failure::from(error)
                .hint("which backends work on this host, and what the others need: pristine doctor")
        })?;
        return Ok((choice, backend));
    }
    let mut hints = Vec::new();
    for choice in BackendChoice::ALL {
        match open_one(choice, store) {
            Ok(backend) => {
                if choice != BackendChoice::ALL[0] {
                    let name = choice.name();
                    ui.note(&format!(
                        "the backend `{name}` is used: it is the first that works here (pristine doctor says why)"
                    ));
                }
                return Ok((choice, backend));
            }
            Err(BackendError::Unavailable { what, remedy }) => {
                let name = choice.name();
                hints.push(format!("{name}: {what}; to mend it: {remedy}"));
            }
            // The host has it, and it does not work: another one would hide that.
            Err(error) => return Err(error.into()),
        }
    }
    let failure = Failure::new(Kind::CannotRun, "no backend works on this host");
    Err(hints.into_iter().fold(failure, Failure::hint))
}

/// Opens one backend on a store.
pub(super) fn open_one(
    choice: BackendChoice,
    store: &Path,
) -> Result<Box<dyn Backend>, BackendError> {
    let brand = match choice {
        BackendChoice::Native => return Ok(Box::new(Native::open(store)?)),
        BackendChoice::Docker => Brand::Docker,
        BackendChoice::Podman => Brand::Podman,
    };
    let address = Address::find(brand, &|name| std::env::var(name).ok())?;
    Ok(Box::new(Docker::open(store, &address)?))
}

/// Whether a backend has ever worked in the store: those that cannot work here need not be asked.
pub(super) fn has_roots(store: &Store, choice: BackendChoice) -> Result<bool, Failure> {
    let folder = roots_folder(store, choice);
    if !folder.is_dir() {
        return Ok(false);
    }
    let mut entries =
        fs_err::read_dir(&folder).map_err(|error| Failure::new(Kind::CannotRun, error))?;
    Ok(entries.next().is_some())
}

/// Where a backend's roots are: the engines have theirs in common.
pub(super) fn roots_folder(store: &Store, choice: BackendChoice) -> PathBuf {
    match choice {
        BackendChoice::Native => store.roots_folder(),
        BackendChoice::Docker | BackendChoice::Podman => store.root().join("docker/roots"),
    }
}
