//! What is asked of a universe, and its answer.

use super::universe::RepositoryId;
use crate::documents::template::Policy;
use crate::rpm::{Dependency, Nevra};

/// How the text of a [`Wanted`] is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Meaning {
    /// As an argument of `dnf install`: a package's name, with or without version and architecture,
    /// before a capability or a file.
    Package,
    /// As a dependency, like a `BuildRequires`: whatever provides it.
    Dependency,
}

/// One thing that must be there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// What: `name`, `name >= 1`, `/path`, `(a or b)`.
    pub capability: String,
    /// How the text is understood.
    pub meaning: Meaning,
    /// Who asks, for messages: `package foo (BuildRequires)`, `template base`.
    pub asked_by: String,
}

impl Wanted {
    /// A package, as an argument of `dnf install`.
    pub fn package(capability: impl Into<String>, asked_by: impl Into<String>) -> Self {
        Self {
            capability: capability.into(),
            meaning: Meaning::Package,
            asked_by: asked_by.into(),
        }
    }

    /// A dependency, like a `BuildRequires`.
    pub fn dependency(capability: impl Into<String>, asked_by: impl Into<String>) -> Self {
        Self {
            capability: capability.into(),
            meaning: Meaning::Dependency,
            asked_by: asked_by.into(),
        }
    }
}

/// What a solution must have.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// What must be there.
    pub install: Vec<Wanted>,
    /// Capabilities that count as there already: those of the project's own packages.
    /// Write them as the packages provide them, version included, or versioned requirements are not met.
    pub exclude: Vec<Dependency>,
    /// Packages to stay with where there is a choice: those of the lock, less the ones to update.
    pub keep: Vec<Nevra>,
    /// Whether weak dependencies are installed too.
    pub allow_weak: bool,
    /// Whose choices hold.
    pub policy: Policy,
}

/// A package of the solution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// The repository it comes from.
    pub repository: RepositoryId,
    /// Its place among the packages given when the repository was added.
    pub package: usize,
    /// What names it.
    pub nevra: Nevra,
}

/// The packages to install.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Solution {
    /// In the order in which rpm should install them.
    pub packages: Vec<Selected>,
    /// Installed packages that others take the place of.
    pub replaced: Vec<Nevra>,
}
