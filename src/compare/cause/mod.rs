//! Why bytes differ: rules that hold what is there against how each side was made.
//!
//! A rule speaks only where the bytes show it: both sides have their own host name there, their own time, the same
//! lines in another order. Where none speaks and one thing alone was varied, that is the cause; else it is unknown.

mod chance;
mod facts;
mod moment;
mod order;
mod remedy;
mod site;
#[cfg(test)]
mod tests;

use super::conditions::{Conditions, Varied};
pub use crate::reproducibility::Cause;

pub(super) use facts::{mode, mtime, owner};
pub(super) use moment::{civil, local_times};
pub(super) use order::{common_ends, order, same_entries};
pub(super) use site::{Site, sites};

/// What the bytes are part of: rules and remedies depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Header,
    File,
    Text,
    Gzip,
    Zip,
    Ar,
    Tar,
    Elf,
    /// Machine code: bytes that look random without being it.
    Code,
    Python,
    Image,
    Bytes,
}

/// A cause with what shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) cause: Cause,
    pub(super) because: String,
}

impl Finding {
    pub(super) fn new(cause: Cause, because: impl Into<String>) -> Self {
        Self {
            cause,
            because: because.into(),
        }
    }

    pub(super) fn consequence() -> Self {
        Self::new(
            Cause::Consequence,
            "it is computed from what differs elsewhere",
        )
    }

    pub(super) fn remedy(&self, format: Format) -> String {
        remedy::remedy(self.cause, format).to_owned()
    }
}

/// The cause of one place where bytes differ, where they show it.
pub(super) fn explain(site: &Site<'_>, format: Format, conditions: &Conditions) -> Option<Finding> {
    facts::literal(site, conditions)
        .or_else(|| moment::text(site, conditions))
        .or_else(|| moment::binary(site, conditions))
        .or_else(|| facts::toolchain(site))
        .or_else(|| chance::text(site))
        .or_else(|| {
            (format != Format::Code)
                .then(|| chance::binary(site))
                .flatten()
        })
}

/// Where the bytes themselves show nothing.
pub(super) fn unexplained(conditions: &Conditions) -> Finding {
    let varied = conditions.varied();
    match varied.as_slice() {
        [] if *conditions != Conditions::default() => Finding::new(
            Cause::Random,
            "nothing that is known of the two differs, and yet the bytes do",
        ),
        [only] => Finding::new(
            cause_of(*only),
            format!(
                "the bytes do not show it, but {} is all that was varied",
                words_of(*only)
            ),
        ),
        // An audit is always later than the run.
        [Varied::Time, Varied::Environment] => Finding::new(
            Cause::EnvironmentDrift,
            "the bytes show no time, and beside that the environment's content is all that differs",
        ),
        _ => Finding::new(Cause::Unknown, "nothing in the bytes tells"),
    }
}

fn cause_of(varied: Varied) -> Cause {
    match varied {
        Varied::Time => Cause::EmbeddedTime,
        Varied::TimeZone => Cause::TimeZone,
        Varied::Host => Cause::HostName,
        Varied::Path => Cause::BuildPath,
        Varied::User => Cause::User,
        Varied::Locale => Cause::Locale,
        Varied::Processors | Varied::JobOrder => Cause::Parallelism,
        Varied::Umask => Cause::Umask,
        Varied::Kernel => Cause::Kernel,
        Varied::Variable => Cause::Variable,
        Varied::DirectoryOrder => Cause::DirectoryOrder,
        Varied::Toolchain => Cause::Toolchain,
        Varied::Environment => Cause::EnvironmentDrift,
    }
}

fn words_of(varied: Varied) -> &'static str {
    match varied {
        Varied::Time => "the time",
        Varied::TimeZone => "the time zone",
        Varied::Host => "the host name",
        Varied::Path => "the build path",
        Varied::User => "the user",
        Varied::Locale => "the locale",
        Varied::Processors => "the number of processors",
        Varied::JobOrder => "the order of jobs",
        Varied::Umask => "the umask",
        Varied::Kernel => "the kernel",
        Varied::Variable => "the environment",
        Varied::DirectoryOrder => "the order of directories",
        Varied::Toolchain => "the toolchain",
        Varied::Environment => "the environment's content",
    }
}
