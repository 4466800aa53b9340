//! The suites, and what a distribution to build in consists of.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A Debian suite.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Suite {
    /// Debian 12: rpm 4.18, gcc 12.
    Bookworm,
    /// Debian 13: rpm 4.20, gcc 14.
    #[default]
    Trixie,
    /// The next Debian: rpm 6, the newest gcc. It changes daily.
    Sid,
}

impl Suite {
    /// All of them, oldest first.
    pub const ALL: [Self; 3] = [Self::Bookworm, Self::Trixie, Self::Sid];

    /// Debian's name for it.
    pub fn codename(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Sid => "sid",
        }
    }

    /// The number in its `%dist`.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Bookworm => 12,
            Self::Trixie => 13,
            Self::Sid => 14,
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.codename())
    }
}

impl FromStr for Suite {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().find(|suite| suite.codename() == text);
        known
            .copied()
            .ok_or_else(|| format!("`{text}` is not a suite: expected bookworm, trixie or sid"))
    }
}

/// What Debian takes for granted: no package there depends on these.
pub(crate) const ESSENTIAL: &[&str] = &[
    "base-files",
    "base-passwd",
    "bash",
    "bsdutils",
    "coreutils",
    "dash",
    "debianutils",
    "diffutils",
    "findutils",
    "gawk",
    "grep",
    "gzip",
    "hostname",
    "libc-bin",
    "ncurses-base",
    "ncurses-bin",
    "perl-base",
    "sed",
    "tar",
    "util-linux",
];

/// In every suite, besides [`ESSENTIAL`].
const TO_BUILD: &[&str] = &[
    "login",
    "mount",
    "passwd",
    "procps",
    // rpmbuild, with what its macros and scripts call.
    "binutils",
    "bzip2",
    "cpio",
    "debugedit",
    "elfutils",
    "file",
    "lua5.4",
    "patch",
    "pkgconf",
    "rpm",
    "unzip",
    "xz-utils",
    "zip",
    "zstd",
    // To build with.
    "autoconf",
    "automake",
    "bison",
    "flex",
    "g++",
    "gcc",
    "gettext",
    "groff-base",
    "libc6-dev",
    "libtool",
    "m4",
    "make",
    "perl",
    "texinfo",
];

/// Wanted packages of a distribution that builds autotools and make projects in C, C++ and perl.
///
/// Their closure has fewer than 300 packages. The list is the same in every suite; with it come `basesystem` (what
/// every system has) and `rpm-build` (rpmbuild with what it calls), which have no files and require the others.
pub fn default_packages(_suite: Suite) -> Vec<&'static str> {
    [ESSENTIAL, TO_BUILD].concat()
}
