//! Why a download failed, with every address that was tried.

use std::fmt;
use std::time::Duration;

use reqwest::Url;
use std::path::PathBuf;

use thiserror::Error;

use crate::store::StoreError;

/// Why not everything was fetched.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FetchError {
    /// No mirror gave these files.
    #[error("{}", Failures(failures, *total))]
    Failed {
        /// The files, in the order in which they were asked for.
        failures: Vec<Failed>,
        /// How many files were asked for.
        total: usize,
    },
    /// The store could not take a file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The HTTP client could not be set up.
    #[error("cannot set up the HTTP client")]
    Client(#[source] reqwest::Error),
    /// A certificate or key that a repository names cannot be used.
    #[error("cannot use the certificates or the key in `{}`: {why}", path.display())]
    Access {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The caller's token was set.
    #[error("interrupted")]
    Interrupted,
}

/// A file that no mirror gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// What the caller called it.
    pub name: String,
    /// The addresses in the order of the mirrors.
    pub tried: Vec<Tried>,
    /// Every mirror answered for good that it does not have the right file: trying again is of no use.
    pub gone: bool,
}

/// One address, and why it did not give the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Without user name and password.
    pub url: String,
    /// How often it was tried.
    pub times: u32,
    /// Why it failed the last time.
    pub reason: String,
}

/// How many of many files a message shows.
const SHOWN: usize = 10;

struct Failures<'a>(&'a [Failed], usize);

impl fmt::Display for Failures<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(failures, total) = self;
        if let [failed] = failures {
            write!(f, "cannot fetch {}", failed.name)?;
            return failed.write(f, "\n  ");
        }
        write!(f, "cannot fetch {} of {total} files", failures.len())?;
        for failed in failures.iter().take(SHOWN) {
            write!(f, "\n  {}", failed.name)?;
            failed.write(f, "\n    ")?;
        }
        match failures.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

impl Failed {
    fn write(&self, f: &mut fmt::Formatter<'_>, separator: &str) -> fmt::Result {
        if self.tried.is_empty() {
            write!(f, ": no address is known for it")?;
        }
        for tried in &self.tried {
            write!(f, "{separator}{}: {}", tried.url, tried.reason)?;
            if tried.times > 1 {
                write!(f, " (tried {} times)", tried.times)?;
            }
        }
        Ok(())
    }
}

/// How one try ended without a file.
#[derive(Debug)]
pub(super) enum Fault {
    /// Nothing can go on.
    Fatal(FetchError),
    /// Another mirror, or another try, may help.
    Mirror(Problem),
}

/// What is wrong with a mirror, as far as one try can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) reason: String,
    /// It could not be reached at all.
    pub(super) unreachable: bool,
    pub(super) retry: Retry,
}

/// Whether, and when, the same mirror may be asked for the same file again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// It would answer the same.
    Never,
    /// After our own pause.
    Later,
    /// Not before this time, as it asks.
    After(Duration),
    /// Before any other, because the fault may be ours.
    AtOnce,
}

impl Problem {
    fn new(reason: impl Into<String>, retry: Retry) -> Self {
        Self {
            reason: reason.into(),
            unreachable: false,
            retry,
        }
    }

    /// Trying again may help.
    pub(super) fn passing(reason: impl Into<String>) -> Self {
        Self::new(reason, Retry::Later)
    }

    /// Trying again does not help.
    pub(super) fn lasting(reason: impl Into<String>) -> Self {
        Self::new(reason, Retry::Never)
    }

    /// Trying again from the start tells more.
    pub(super) fn again(reason: impl Into<String>) -> Self {
        Self::new(reason, Retry::AtOnce)
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self::Mirror(problem)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Fatal(error.into())
    }
}

/// An address as messages show it: passwords stay out of logs.
pub(super) fn shown(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut parsed) if !parsed.username().is_empty() || parsed.password().is_some() => {
            match (parsed.set_username(""), parsed.set_password(None)) {
                (Ok(()), Ok(())) => parsed.into(),
                _ => parsed.scheme().to_owned() + "://…",
            }
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(name: &str, tried: &[(&str, u32, &str)]) -> Failed {
        let tried = tried.iter().map(|&(url, times, reason)| Tried {
            url: shown(url),
            times,
            reason: reason.to_owned(),
        });
        Failed {
            name: name.to_owned(),
            tried: tried.collect(),
            gone: true,
        }
    }

    #[test]
    fn messages_name_every_address() {
        let one = failed(
            "hello.rpm",
            &[
                ("http://a.example/hello.rpm", 1, "404 Not Found"),
                (
                    "https://user:secret@b.example/hello.rpm",
                    5,
                    "503 Service Unavailable",
                ),
            ],
        );
        let two = failed("lost.rpm", &[]);
        let messages = [vec![one.clone()], vec![two.clone()], vec![one, two]].map(|failures| {
            FetchError::Failed {
                failures,
                total: 300,
            }
            .to_string()
        });
        let many = FetchError::Failed {
            failures: vec![failed("lost.rpm", &[]); 12],
            total: 12,
        }
        .to_string();
        assert!(many.ends_with("\n  and 2 more"), "{many}");
        insta::assert_snapshot!(messages.join("\n---\n"), @"
        cannot fetch hello.rpm
          http://a.example/hello.rpm: 404 Not Found
          https://b.example/hello.rpm: 503 Service Unavailable (tried 5 times)
        ---
        cannot fetch lost.rpm: no address is known for it
        ---
        cannot fetch 2 of 300 files
          hello.rpm
            http://a.example/hello.rpm: 404 Not Found
            https://b.example/hello.rpm: 503 Service Unavailable (tried 5 times)
          lost.rpm: no address is known for it
        ");
    }
}
