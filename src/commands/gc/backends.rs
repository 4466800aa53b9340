//! The backends that have roots in the store: the one in use, and any other that worked there before.

use crate::backend::{Backend, RootId};
use crate::commands::choosing;
use crate::commands::context::Workshop;
use crate::documents::config::BackendChoice;
use crate::error::Failure;

/// All of them.
#[derive(Debug)]
pub(super) struct Backends<'a> {
    own: &'a dyn Backend,
    others: Vec<Box<dyn Backend>>,
    /// Those that cannot be reached: what they have stays as it is.
    pub(super) warnings: Vec<String>,
}

/// Which of them.
pub(super) type Number = usize;
/// A root, and which of them has it.
pub(super) type Place = (Number, RootId);

impl<'a> Backends<'a> {
    /// Opens those that have roots, and removes what their dead runs left.
    pub(super) fn open(workshop: &'a Workshop) -> Result<Self, Failure> {
        let store = &workshop.store;
        let folder = |choice| choosing::roots_folder(store, choice);
        let mut known = vec![folder(workshop.choice)];
        let mut found = Self {
            own: &*workshop.backend,
            others: Vec::new(),
            warnings: Vec::new(),
        };
        for choice in BackendChoice::ALL {
            if known.contains(&folder(choice)) || !choosing::has_roots(store, choice)? {
                continue;
            }
            match choosing::open_one(choice, store.root()) {
                Ok(backend) => {
                    backend.sweep()?;
                    known.push(folder(choice));
                    found.others.push(backend);
                }
                Err(error) => found.warnings.push(format!(
                    "what `{}` has of this store is not looked at, and stays: {error}",
                    choice.name()
                )),
            }
        }
        Ok(found)
    }

    /// The one with that number; the one in use is the first.
    fn get(&self, number: Number) -> &dyn Backend {
        number
            .checked_sub(1)
            .map_or(self.own, |other| &*self.others[other])
    }

    /// All roots of all.
    pub(super) fn roots(&self) -> Result<Vec<Place>, Failure> {
        let mut roots = Vec::new();
        for number in 0..=self.others.len() {
            let own = self.get(number).roots()?;
            roots.extend(own.into_iter().map(|root| (number, root)));
        }
        Ok(roots)
    }

    /// Where a root is: each of them may have it.
    pub(super) fn places(&self, root: &RootId) -> Result<Vec<Place>, Failure> {
        let mut places = Vec::new();
        for number in 0..=self.others.len() {
            if self.get(number).has(root)? {
                places.push((number, root.clone()));
            }
        }
        Ok(places)
    }

    /// What a root takes on disk: one that another process removes meanwhile takes nothing.
    pub(super) fn size(&self, (number, root): &Place) -> u64 {
        self.get(*number).size(root).unwrap_or_default()
    }

    /// Removes a root.
    pub(super) fn remove(&self, (number, root): &Place) -> Result<(), Failure> {
        Ok(self.get(*number).remove(root)?)
    }
}
