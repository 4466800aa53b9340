//! NEVRA: name, epoch, version, release, architecture.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What names one binary package: name, epoch, version, release and architecture.
///
/// The text form is `name-[epoch:]version-release.arch`, the epoch left out where it is 0,
/// as `rpm -q` and dnf print it. Ordered by name, then by version as rpm compares, then by architecture.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Nevra {
    /// Package name.
    pub name: String,
    /// Epoch; 0 where the package has none.
    pub epoch: u32,
    /// Upstream version.
    pub version: String,
    /// Release of the package.
    pub release: String,
    /// Architecture (`x86_64`, `noarch`, `src` …).
    pub arch: String,
}

/// Text that is not a NEVRA.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{text}` is not a package's full name: expected name-[epoch:]version-release.arch")]
pub struct NevraError {
    text: String,
}

impl Nevra {
    /// `[epoch:]version-release`, the epoch left out where it is 0.
    pub fn evr(&self) -> String {
        if self.epoch == 0 {
            format!("{}-{}", self.version, self.release)
        } else {
            format!("{}:{}-{}", self.epoch, self.version, self.release)
        }
    }

    /// What rpmbuild names the package's file.
    pub fn file_name(&self) -> String {
        let Self {
            name,
            version,
            release,
            arch,
            ..
        } = self;
        format!("{name}-{version}-{release}.{arch}.rpm")
    }

    /// Compares the version alone with another, whatever epoch a distribution added to it.
    pub fn compare_version(&self, version: &str) -> Ordering {
        rpm_version::rpm_evr_compare(&self.version, version)
    }

    /// Compares epoch, version and release as rpm does (`rpmvercmp`, `~` and `^` included).
    pub fn compare_evr(&self, other: &Self) -> Ordering {
        let full = |nevra: &Self| format!("{}:{}-{}", nevra.epoch, nevra.version, nevra.release);
        rpm_version::rpm_evr_compare(&full(self), &full(other))
    }
}

impl fmt::Display for Nevra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}.{}", self.name, self.evr(), self.arch)
    }
}

impl FromStr for Nevra {
    type Err = NevraError;

    fn from_str(text: &str) -> Result<Self, NevraError> {
        let parse = || {
            let (rest, arch) = text.rsplit_once('.')?;
            let (rest, release) = rest.rsplit_once('-')?;
            let (name, version) = rest.rsplit_once('-')?;
            let (epoch, version) = match version.split_once(':') {
                Some((epoch, version)) => (epoch.parse().ok()?, version),
                None => (0, version),
            };
            let filled = [name, version, release, arch]
                .iter()
                .all(|part| !part.is_empty());
            let clean = !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/');
            (filled && clean).then(|| Self {
                name: name.to_owned(),
                epoch,
                version: version.to_owned(),
                release: release.to_owned(),
                arch: arch.to_owned(),
            })
        };
        parse().ok_or_else(|| NevraError {
            text: text.to_owned(),
        })
    }
}

impl PartialOrd for Nevra {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Nevra {
    fn cmp(&self, other: &Self) -> Ordering {
        let text = |nevra: &Self| (nevra.epoch, nevra.version.clone(), nevra.release.clone());
        self.name
            .cmp(&other.name)
            .then_with(|| self.compare_evr(other))
            .then_with(|| text(self).cmp(&text(other)))
            .then_with(|| self.arch.cmp(&other.arch))
    }
}

impl TryFrom<String> for Nevra {
    type Error = NevraError;

    fn try_from(text: String) -> Result<Self, NevraError> {
        text.parse()
    }
}

impl From<Nevra> for String {
    fn from(nevra: Nevra) -> Self {
        nevra.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        for text in [
            "bash-5.2.15-1.x86_64",
            "a-b-c-1:2.0~rc1-3.fc41.noarch",
            "gcc-4:14.2.0-1.x86_64",
        ] {
            assert_eq!(text.parse::<Nevra>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "bash",
            "bash-5.2",
            "bash-5.2-1",
            "-1-1.x",
            "a-x:1-1.x86_64",
            "../a-1-1.x86_64",
            "a b-1-1.x",
        ] {
            assert!(text.parse::<Nevra>().is_err(), "{text}");
        }
    }

    #[test]
    fn versions_compare_as_rpm_does() {
        let nevra = |evr: &str| format!("a-{evr}.noarch").parse::<Nevra>().unwrap();
        for (older, newer) in [
            ("1.9-1", "1.10-1"),
            ("1.0~rc1-1", "1.0-1"),
            ("1.0-1", "1.0^git1-1"),
            ("9-1", "1:1-1"),
        ] {
            assert!(nevra(older) < nevra(newer), "{older} < {newer}");
        }
    }
}
