//! Debian versions as RPM's epoch, version and release.
//!
//! A revision that is missing counts as `0` for dpkg; the release is written out as `0` then, in packages and in
//! dependencies alike, so that RPM's "no release matches any" never applies and `>>` stays `>`.
//!
//! Of the 522,790 versioned dependencies of bookworm, trixie and sid on packages that exist, 57 come out otherwise than
//! for dpkg. Nearly all are upper bounds that end in a letter or a separator (`<< 2.47.3-.`, `<= 3.0.4-z`), which RPM
//! does not sort above numbers.

use std::cmp::Ordering;
use std::fmt;

/// A Debian version, in RPM's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Evr {
    /// Epoch; 0 where the Debian version has none.
    pub(crate) epoch: u32,
    /// Upstream version. Characters that RPM does not allow there are dots.
    pub(crate) version: String,
    /// Debian revision, `0` where there is none.
    pub(crate) release: String,
}

impl Evr {
    /// Maps a Debian version. `None` for text that is no version.
    pub(crate) fn from_debian(text: &str) -> Option<Self> {
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) => (epoch.parse().ok()?, rest),
            None => (0, text),
        };
        let (version, release) = rest.rsplit_once('-').unwrap_or((rest, "0"));
        (!version.is_empty() && !release.is_empty()).then(|| Self {
            epoch,
            version: legal(version),
            release: legal(release),
        })
    }

    /// Compares as rpm does.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        let text = |evr: &Self| format!("{}:{}-{}", evr.epoch, evr.version, evr.release);
        rpm_version::rpm_evr_compare(&text(self), &text(other))
    }
}

impl fmt::Display for Evr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.epoch != 0 {
            write!(f, "{}:", self.epoch)?;
        }
        write!(f, "{}-{}", self.version, self.release)
    }
}

/// For rpm a separator counts only by what follows it. Where that is nothing, or a `~`, a zero stands in for it:
/// `1.0.` is above `1.0`, and `1.0+~2` is too.
fn legal(part: &str) -> String {
    let mut text = String::with_capacity(part.len());
    let mut rest = part.chars().peekable();
    while let Some(c) = rest.next() {
        let separator = !c.is_ascii_alphanumeric() && !"~^".contains(c);
        text.push(if separator && !"._+".contains(c) {
            '.'
        } else {
            c
        });
        if separator && matches!(rest.peek(), None | Some('~')) {
            text.push('0');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_map() {
        for (debian, rpm) in [
            ("1.2.3-4", "1.2.3-4"),
            ("4:14.2.0-1", "4:14.2.0-1"),
            ("13.8+deb13u7", "13.8+deb13u7-0"),
            ("1.0~rc1-1~exp2", "1.0~rc1-1~exp2"),
            ("1.2-3-4", "1.2.3-4"),
            ("20240203-1+b2", "20240203-1+b2"),
            ("0:1", "1-0"),
            ("2.0.0+~2.0.1-8", "2.0.0+0~2.0.1-8"),
            ("1.1.0.", "1.1.0.0-0"),
            ("1:2:3-1", "1:2.3-1"),
            ("1.0-0ubuntu1", "1.0-0ubuntu1"),
        ] {
            assert_eq!(
                Evr::from_debian(debian).unwrap().to_string(),
                rpm,
                "{debian}"
            );
        }
        for text in ["", "-1", "1-", "x:1", ":1"] {
            assert_eq!(Evr::from_debian(text), None, "{text}");
        }
    }

    fn compare(a: &str, b: &str) -> (Ordering, Ordering) {
        let dpkg = a
            .parse::<debversion::Version>()
            .unwrap()
            .cmp(&b.parse().unwrap());
        (
            dpkg,
            Evr::from_debian(a)
                .unwrap()
                .compare(&Evr::from_debian(b).unwrap()),
        )
    }

    /// What RPM cannot tell apart: it ignores which separator stands between two parts.
    #[test]
    fn known_exceptions() {
        for (a, b) in [("1.0+1-1", "1.0.1-1"), ("1.2-3-1", "1.2.3-1")] {
            let (dpkg, rpm) = compare(a, b);
            assert_ne!(dpkg, Ordering::Equal, "{a} {b}");
            assert_eq!(rpm, Ordering::Equal, "{a} {b}");
        }
    }

    proptest! {
        /// Versions as Debian's packagers write them keep their order.
        #[test]
        fn order_is_kept(
            a in "([1-3]:)?[0-9]{1,2}(\\.[0-9]{1,2}){0,2}(~(rc|beta)[0-9])?(\\+(dfsg|git|ds)[0-9]?)?(-[0-9]{1,2}(~exp[0-9])?(\\+(b|deb13u)[0-9])?)?",
            b in "([1-3]:)?[0-9]{1,2}(\\.[0-9]{1,2}){0,2}(~(rc|beta)[0-9])?(\\+(dfsg|git|ds)[0-9]?)?(-[0-9]{1,2}(~exp[0-9])?(\\+(b|deb13u)[0-9])?)?",
        ) {
            let (dpkg, rpm) = compare(&a, &b);
            prop_assert_eq!(dpkg, rpm);
        }
    }
}
