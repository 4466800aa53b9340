//! What a build used of its environment, held against what its spec declares (`docs/declared.md`).

use serde::{Deserialize, Serialize};

use crate::rpm::Nevra;

/// What one build used, and what its spec says that it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageRecord {
    /// How it was seen.
    pub means: Means,
    /// Why it was not seen, or not all of it; none where nothing is known to be missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<String>,
    /// Files of the environment's packages that were opened or executed.
    #[serde(default)]
    pub files: u64,
    /// Names of the packages of the environment that these belong to, sorted.
    #[serde(default)]
    pub packages: Vec<String>,
    /// What was used and is not reachable from what is declared, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undeclared: Vec<Undeclared>,
    /// What is declared and was not touched, in the order of the names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unused: Vec<Unused>,
}

/// How the use of files was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Means {
    /// By the kernel's file events, with the process of each.
    Events,
    /// By the kernel's file events, which do not tell an unprivileged user which process it was.
    EventsWithoutProcesses,
    /// Not at all.
    None,
}

/// A package that was used and is not declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Undeclared {
    /// The package.
    pub package: Nevra,
    /// The strongest that was done with a file of it.
    pub how: How,
    /// Some of its files that were used, the strongest first.
    pub files: Vec<UsedFile>,
    /// The line that declares it, for the spec.
    pub add: String,
    /// Another undeclared package that brings this one: with its line this one is declared too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
    /// Why the project file allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<String>,
}

/// A file that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsedFile {
    /// Absolute path inside.
    pub path: String,
    /// What was done with it.
    pub how: How,
    /// The program that did it first, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
}

/// What was done with a file, the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It was only asked whether it is there.
    LookedFor,
    /// It is a symbolic link through which another file was used.
    Followed,
    /// It was opened.
    Opened,
    /// It was executed.
    Executed,
}

impl How {
    /// In a word or two.
    pub fn words(self) -> &'static str {
        match self {
            Self::LookedFor => "looked for",
            Self::Followed => "followed",
            Self::Opened => "opened",
            Self::Executed => "executed",
        }
    }
}

/// A BuildRequires of which nothing was touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unused {
    /// As rpm prints it.
    pub requirement: String,
    /// Where the spec has it (`packages/foo/foo.spec:12 (BuildRequires)`).
    pub place: String,
    /// Why the project file allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<String>,
}

impl UsageRecord {
    /// What could not be seen, and why.
    pub fn untraced(gap: impl Into<String>) -> Self {
        Self {
            means: Means::None,
            gap: Some(gap.into()),
            files: 0,
            packages: Vec::new(),
            undeclared: Vec::new(),
            unused: Vec::new(),
        }
    }

    /// What is to be declared: used, not allowed, and not brought by another one. A file that was only looked for is
    /// none of them.
    pub fn to_declare(&self) -> impl Iterator<Item = &Undeclared> {
        let all = self.undeclared.iter();
        all.filter(|one| one.how > How::LookedFor && one.allowed.is_none() && one.with.is_none())
    }

    /// Packages that were only looked for, and are not allowed.
    pub fn looked_for(&self) -> impl Iterator<Item = &Undeclared> {
        let all = self.undeclared.iter();
        all.filter(|one| one.how == How::LookedFor && one.allowed.is_none())
    }

    /// What could be removed from the spec.
    pub fn to_remove(&self) -> impl Iterator<Item = &Unused> {
        self.unused.iter().filter(|one| one.allowed.is_none())
    }
}
