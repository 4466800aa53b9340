//! The words of an audit: what is varied on purpose, and why something differs.

use serde::{Deserialize, Serialize};

/// One thing that is deliberately different in the second build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variation {
    /// The calendar, beside that the second build is later in any case.
    Time,
    /// `TZ`: the local date is never the one in UTC.
    TimeZone,
    /// The machine's name.
    HostName,
    /// The builder's home, and so the folder in which everything is unpacked and built.
    BuildPath,
    /// Name, number and group of who builds.
    User,
    /// `LC_ALL`.
    Locale,
    /// How many processors there are, which ones, and what `%_smp_mflags` says.
    Processors,
    /// The order in which make starts what it may start.
    JobOrder,
    /// The order in which folders list their files.
    FileOrder,
    /// The permission bits that new files do not get.
    Umask,
    /// What `uname` says of the kernel.
    Kernel,
    /// Environment variables that no build should look at.
    Environment,
}

impl Variation {
    /// All, in the order of the docs.
    pub const ALL: [Self; 12] = [
        Self::Time,
        Self::TimeZone,
        Self::HostName,
        Self::BuildPath,
        Self::User,
        Self::Locale,
        Self::Processors,
        Self::JobOrder,
        Self::FileOrder,
        Self::Umask,
        Self::Kernel,
        Self::Environment,
    ];

    /// Whether it is varied where nobody says otherwise. Two are not: rpm itself writes the build path into every
    /// source package (its tag `SPEC`), and makefiles with a missing dependency fail in another order, and do not differ.
    pub fn by_default(self) -> bool {
        !matches!(self, Self::BuildPath | Self::JobOrder)
    }

    /// Its name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::TimeZone => "time-zone",
            Self::HostName => "host-name",
            Self::BuildPath => "build-path",
            Self::User => "user",
            Self::Locale => "locale",
            Self::Processors => "processors",
            Self::JobOrder => "job-order",
            Self::FileOrder => "file-order",
            Self::Umask => "umask",
            Self::Kernel => "kernel",
            Self::Environment => "environment",
        }
    }
}

impl std::fmt::Display for Variation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Why something differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The time of the build.
    EmbeddedTime,
    /// The time zone of the build: one time, written in two zones.
    TimeZone,
    /// The folder of the build.
    BuildPath,
    /// The name of the build's host.
    HostName,
    /// The user or the group that built.
    User,
    /// The locale: order of sorting, or language.
    Locale,
    /// The order in which folders were listed.
    DirectoryOrder,
    /// How many jobs ran at once, and in which order they ended.
    Parallelism,
    /// Random numbers, addresses of memory, memory that was never written.
    Random,
    /// The umask, or modes that come from it.
    Umask,
    /// The kernel of the build's host.
    Kernel,
    /// An environment variable.
    Variable,
    /// Another compiler, linker, interpreter or rpm.
    Toolchain,
    /// Another environment, without a part of the toolchain that shows itself.
    EnvironmentDrift,
    /// It follows from other differences: a digest, a size, an offset.
    Consequence,
    /// Nothing in the bytes tells.
    Unknown,
}

impl Cause {
    /// Every cause, in the order of the documentation.
    pub const ALL: [Self; 16] = [
        Self::EmbeddedTime,
        Self::TimeZone,
        Self::BuildPath,
        Self::HostName,
        Self::User,
        Self::Locale,
        Self::DirectoryOrder,
        Self::Parallelism,
        Self::Random,
        Self::Umask,
        Self::Kernel,
        Self::Variable,
        Self::Toolchain,
        Self::EnvironmentDrift,
        Self::Consequence,
        Self::Unknown,
    ];

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::EmbeddedTime => "embedded time",
            Self::TimeZone => "time zone",
            Self::BuildPath => "build path",
            Self::HostName => "host name",
            Self::User => "user",
            Self::Locale => "locale",
            Self::DirectoryOrder => "directory order",
            Self::Parallelism => "parallelism",
            Self::Random => "random or uninitialised bytes",
            Self::Umask => "umask",
            Self::Kernel => "kernel",
            Self::Variable => "environment variable",
            Self::Toolchain => "toolchain difference",
            Self::EnvironmentDrift => "environment drift",
            Self::Consequence => "follows from other differences",
            Self::Unknown => "unknown",
        }
    }
}
