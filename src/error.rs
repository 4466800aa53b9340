//! `Failure`: why the tool could not do what was asked, and what to do next.
//!
//! A package that does not build is an outcome, not a failure (see `build::outcome`).
//! Every module has a `thiserror` enum of its own; `commands::failure` alone turns
//! them into a `Failure`, and the exit code follows from its kind alone.

use std::error::Error as StdError;
use std::fmt;

/// What kind of failure it was; decides the exit code (`docs/exit-codes.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file or an argument of the user's is wrong: exit code 2.
    Input,
    /// The lock does not fit the project any more, or what was made does not match the lock: exit code 3.
    Lock,
    /// The machine, the network or the store stood in the way: exit code 4.
    CannotRun,
    /// Ctrl-C or SIGTERM: exit code 130.
    Interrupted,
}

impl Kind {
    /// The exit code, as documented.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Input => 2,
            Self::Lock => 3,
            Self::CannotRun => 4,
            Self::Interrupted => 130,
        }
    }
}

/// Why the tool could not go on, with hints on what to do next.
#[derive(Debug)]
pub struct Failure {
    /// Decides the exit code.
    pub kind: Kind,
    /// The error with its chain of sources.
    pub error: Box<dyn StdError + Send + Sync>,
    /// What the user can do, a sentence or a command each.
    pub hints: Vec<String>,
}

impl Failure {
    /// A failure of `kind` because of `error`.
    pub fn new(kind: Kind, error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            kind,
            error: error.into(),
            hints: Vec::new(),
        }
    }

    /// The same failure with one more hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)?;
        let mut source = self.error.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
