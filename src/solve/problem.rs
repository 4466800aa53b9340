//! Why a request cannot be met, in a person's words.

use std::fmt;

use thiserror::Error;

use crate::rpm::Nevra;

/// Why a request cannot be met.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct Unsolvable {
    /// Each stands alone: all must be mended.
    pub problems: Vec<Problem>,
}

/// One contradiction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What was asked for and cannot be had, alone or together.
    pub asked: Vec<Asked>,
    /// Why, the newest candidate first; the first few of them.
    pub reasons: Vec<Reason>,
    /// How many more reasons there are.
    pub more: usize,
}

/// One thing that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// What.
    pub capability: String,
    /// By whom.
    pub by: String,
}

/// A chain of requirements and what is wrong at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// From what was asked down to the package that cannot be had.
    pub chain: Vec<Link>,
    /// The same for the other package, where two stand in each other's way.
    pub other_chain: Vec<Link>,
    /// What is wrong there.
    pub cause: Cause,
}

/// One step of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The package.
    pub package: Nevra,
    /// What it requires, by which the chain goes on.
    pub requires: String,
}

/// What is wrong in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Nothing provides what is needed.
    Missing {
        /// Who needs it; `None` where it was asked for itself.
        package: Option<Nevra>,
        /// What is needed.
        capability: String,
        /// What provides the same name, but not as needed.
        candidates: Vec<Nevra>,
        /// What would help, as far as it is known.
        help: Vec<Help>,
        /// Of a rich dependency the parts that nothing provides.
        parts: Vec<String>,
    },
    /// A package conflicts with another that is needed as well, or with itself.
    Conflict {
        /// The package that says so.
        package: Nevra,
        /// The other.
        other: Nevra,
        /// What it says.
        dependency: String,
    },
    /// A package takes the place of another that is needed as well.
    Obsoletes {
        /// The package that says so.
        package: Nevra,
        /// The other.
        other: Nevra,
    },
    /// Two versions of one package would be needed at once.
    TwoVersions {
        /// One.
        package: Nevra,
        /// The other.
        other: Nevra,
    },
    /// The package is for other machines, or for worse ones than another of the same name.
    Architecture {
        /// The package.
        package: Nevra,
    },
    /// The requests contradict each other in a way the solver does not put a name to.
    Other,
}

/// What would help where something is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Help {
    /// The most similar capability, where there is none of the name.
    Nearest(String),
    /// Packages that have it, and that are hidden.
    Hidden {
        /// The first of them, the newest first.
        packages: Vec<Nevra>,
        /// The repository's name.
        repository: String,
        /// By what the first of them is.
        by: Hiding,
    },
    /// Repositories that were not looked into, each with the reason.
    Elsewhere(Vec<String>),
}

/// What hides a package of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hiding {
    /// A pattern of the repository's `exclude` fits.
    Exclude,
    /// No pattern of its `include` does.
    Include,
    /// It belongs to a module's stream (`name:stream`) that is not active.
    Inactive(String),
    /// A package of an active stream has its name, or the name of something that it provides.
    Active(String),
}

impl fmt::Display for Hiding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exclude => f.write_str("the repository's `exclude` in the template hides it"),
            Self::Include => {
                f.write_str("the repository's `include` in the template does not name it")
            }
            Self::Inactive(stream) => write!(
                f,
                "it is of the module stream {stream}, which is not active: `modules = [\"{stream}\"]` in the template enables it"
            ),
            Self::Active(stream) => write!(
                f,
                "the active module stream {stream} hides it, unless its repository has `module_hotfixes = true`"
            ),
        }
    }
}

impl fmt::Display for Help {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nearest(name) => write!(f, "the nearest name is `{name}`"),
            Self::Hidden {
                packages,
                repository,
                by,
            } => {
                let packages: Vec<_> = packages.iter().map(Nevra::to_string).collect();
                write!(f, "{repository} has {}, but {by}", packages.join(", "))
            }
            Self::Elsewhere(repositories) => {
                write!(f, "not looked into: {}", repositories.join(", "))
            }
        }
    }
}

impl fmt::Display for Unsolvable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.problems.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, asked) in self.asked.iter().enumerate() {
            if place > 0 {
                f.write_str(" and ")?;
            }
            write!(f, "{} asks for `{}`", asked.by, asked.capability)?;
        }
        for (place, reason) in self.reasons.iter().enumerate() {
            f.write_str(if place == 0 { ", but " } else { "; " })?;
            reason.fmt(f)?;
        }
        match self.more {
            0 => Ok(()),
            1 => f.write_str("; one more candidate does not fit either"),
            more => write!(f, "; {more} more candidates do not fit either"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for link in self.chain.iter().chain(&self.other_chain) {
            write!(f, "{} requires `{}`, and ", link.package, link.requires)?;
        }
        self.cause.fmt(f)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { .. } => self.missing(f),
            Self::Conflict {
                package,
                other,
                dependency,
            } if package == other => {
                write!(
                    f,
                    "{package} conflicts with `{dependency}`, which it provides itself"
                )
            }
            Self::Conflict {
                package,
                other,
                dependency,
            } => {
                write!(
                    f,
                    "{package} conflicts with `{dependency}`, which is {other}"
                )
            }
            Self::Obsoletes { package, other } => write!(f, "{package} takes the place of {other}"),
            Self::TwoVersions { package, other } => {
                write!(f, "{package} and {other} cannot be installed together")
            }
            Self::Architecture { package } => write!(f, "{package} is not for this architecture"),
            Self::Other => f.write_str("these cannot be had together"),
        }
    }
}

impl Cause {
    fn missing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Missing {
            package,
            capability,
            candidates,
            help,
            parts,
        } = self
        else {
            return Ok(());
        };
        match (package, parts.join("`, `")) {
            (Some(package), parts) if parts.is_empty() => write!(
                f,
                "{package} requires `{capability}`, which no package provides"
            )?,
            (Some(package), parts) => write!(
                f,
                "{package} requires `{capability}`, and no package provides `{parts}`"
            )?,
            (None, parts) if parts.is_empty() => f.write_str("no package provides it")?,
            (None, parts) => write!(f, "no package provides `{parts}`")?,
        }
        let mut notes = Vec::new();
        if !candidates.is_empty() {
            let candidates: Vec<_> = candidates.iter().map(Nevra::to_string).collect();
            notes.push(format!("there is only {}", candidates.join(", ")));
        }
        notes.extend(help.iter().map(ToString::to_string));
        match notes.as_slice() {
            [] => Ok(()),
            notes => write!(f, " ({})", notes.join("; ")),
        }
    }
}
