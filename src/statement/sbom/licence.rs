//! The licence of a package, as far as it is an SPDX expression.

use crate::digest::Digest;
use crate::words::clean;

/// What a package's header says of its licence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Licence {
    /// Nothing.
    Unknown,
    /// An SPDX expression.
    Expression(String),
    /// Something else, in the packager's words.
    Words(String),
}

impl Licence {
    /// Reads the header's `License`: `MIT AND (GPL-2.0-only OR Apache-2.0)` is one of SPDX; `GPLv2+ and MIT` is not.
    pub(super) fn parse(text: &str) -> Self {
        let text = clean(text.trim(), false);
        if text.is_empty() {
            return Self::Unknown;
        }
        match spdx::Expression::parse(&text) {
            Ok(_) => Self::Expression(text),
            Err(_) => Self::Words(text),
        }
    }

    /// The id that SPDX documents give words that are no expression.
    pub(super) fn reference(words: &str) -> String {
        format!("LicenseRef-{}", Digest::of(words.as_bytes()).short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_told_from_words() {
        let kind = |text: &str| match Licence::parse(text) {
            Licence::Unknown => "unknown",
            Licence::Expression(_) => "expression",
            Licence::Words(_) => "words",
        };
        for (text, expected) in [
            ("", "unknown"),
            (" ", "unknown"),
            ("MIT", "expression"),
            ("MIT AND (GPL-2.0-or-later OR Apache-2.0)", "expression"),
            ("GPL-2.0-only WITH Classpath-exception-2.0", "expression"),
            ("LicenseRef-Fedora-Public-Domain", "expression"),
            ("GPLv2+ and MIT", "words"),
            ("Public Domain", "words"),
            ("MIT AND", "words"),
        ] {
            assert_eq!(kind(text), expected, "{text:?}");
        }
        assert_eq!(Licence::reference("x"), Licence::reference("x"));
    }
}
