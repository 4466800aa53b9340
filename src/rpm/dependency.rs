//! One dependency: a capability with an optional comparison, or a rich dependency.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::rich::Rich;

/// How a versioned dependency compares versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `=`
    Equal,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
}

impl Comparison {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Less,
        Self::LessOrEqual,
        Self::Equal,
        Self::GreaterOrEqual,
        Self::Greater,
    ];

    /// As RPM writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Equal => "=",
            Self::GreaterOrEqual => ">=",
            Self::Greater => ">",
        }
    }

    /// Reads an operator, RPM's other spellings (`==`, `=<`, `=>`) included.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "<" => Self::Less,
            "<=" | "=<" => Self::LessOrEqual,
            "=" | "==" => Self::Equal,
            ">=" | "=>" => Self::GreaterOrEqual,
            ">" => Self::Greater,
            _ => return None,
        })
    }
}

/// A dependency in RPM's own words: `foo`, `foo >= 1:2.0-3`, `/usr/bin/sh`, `(a if b else c)`.
///
/// Holds its text in one piece, since a repository has a million of them.
/// An epoch of 0 is left out, so that equal dependencies have equal text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dependency {
    text: Box<str>,
    name: u32,
    comparison: Option<Comparison>,
}

/// Text that is not a dependency.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{text}` is not a dependency: {reason}")]
pub struct DependencyError {
    text: String,
    reason: &'static str,
}

impl DependencyError {
    pub(super) fn new(text: &str, reason: &'static str) -> Self {
        Self {
            text: text.to_owned(),
            reason,
        }
    }
}

impl Dependency {
    /// A dependency on `name` as metadata has it: any text, no syntax asked for.
    ///
    /// A name that begins with `(` is the text of a rich dependency. A comparison with an
    /// empty version is no comparison, as in RPM.
    pub fn new(name: &str, comparison: Option<(Comparison, &str)>) -> Self {
        Parts::new(name, comparison).to_dependency()
    }

    /// A dependency of exactly these parts, which another dependency gave.
    pub(crate) fn exact(name: &str, comparison: Option<(Comparison, &str)>) -> Self {
        let text = match comparison {
            // A repository has a million of them: what formats anything is too slow.
            Some((comparison, version)) => [name, " ", comparison.as_str(), " ", version].concat(),
            None => name.to_owned(),
        };
        Self {
            text: text.into(),
            name: u32::try_from(name.len()).unwrap_or(u32::MAX),
            comparison: comparison.map(|(comparison, _)| comparison),
        }
    }

    /// The whole text, as RPM writes it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it has in it.
    pub fn parts(&self) -> Parts<'_> {
        Parts {
            name: self.name(),
            comparison: self.comparison(),
        }
    }

    /// The capability's name; of a rich dependency the whole text.
    pub fn name(&self) -> &str {
        self.text.get(..self.name as usize).unwrap_or(&self.text)
    }

    /// The comparison and the `[epoch:]version[-release]` it compares with.
    pub fn comparison(&self) -> Option<(Comparison, &str)> {
        let comparison = self.comparison?;
        let version = self
            .text
            .get(self.name as usize + comparison.as_str().len() + 2..)?;
        Some((comparison, version))
    }

    /// Whether it is written in parentheses, with `and`, `or`, `if` …
    pub fn is_rich(&self) -> bool {
        self.parts().is_rich()
    }

    /// Whether it asks for a file by its absolute path.
    pub fn is_file(&self) -> bool {
        self.parts().is_file()
    }

    /// Whether it asks for a feature of rpm itself, which no package provides.
    pub fn is_rpmlib(&self) -> bool {
        self.parts().is_rpmlib()
    }

    /// The names of all plain dependencies in it; its own where it is one, or cannot be read.
    pub fn leaf_names(&self) -> Vec<String> {
        match self.rich() {
            Ok(rich) => rich
                .leaves()
                .into_iter()
                .map(|leaf| leaf.name().to_owned())
                .collect(),
            Err(_) => vec![self.name().to_owned()],
        }
    }

    /// The parts of a rich dependency; a plain one is a single part.
    pub fn rich(&self) -> Result<Rich, DependencyError> {
        if self.is_rich() {
            Rich::parse(&self.text)
        } else {
            Ok(Rich::Plain(self.clone()))
        }
    }
}

/// A dependency whose text is somewhere else, in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts<'a> {
    name: &'a str,
    comparison: Option<(Comparison, &'a str)>,
}

impl<'a> Parts<'a> {
    /// As [`Dependency::new`].
    pub fn new(name: &'a str, comparison: Option<(Comparison, &'a str)>) -> Self {
        let comparison = comparison
            .map(|(comparison, version)| {
                (comparison, version.strip_prefix("0:").unwrap_or(version))
            })
            .filter(|(_, version)| !version.is_empty());
        Self { name, comparison }
    }

    /// The capability's name; of a rich dependency the whole text.
    pub fn name(self) -> &'a str {
        self.name
    }

    /// The comparison and the `[epoch:]version[-release]` it compares with.
    pub fn comparison(self) -> Option<(Comparison, &'a str)> {
        self.comparison
    }

    /// As [`Dependency::is_rich`].
    pub fn is_rich(self) -> bool {
        self.name.starts_with('(')
    }

    /// As [`Dependency::is_file`].
    pub fn is_file(self) -> bool {
        self.name.starts_with('/')
    }

    /// As [`Dependency::is_rpmlib`].
    pub fn is_rpmlib(self) -> bool {
        self.name.starts_with("rpmlib(")
    }

    /// With a text of its own.
    pub fn to_dependency(self) -> Dependency {
        Dependency::exact(self.name, self.comparison)
    }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl FromStr for Dependency {
    type Err = DependencyError;

    /// Reads what a person or a spec writes; stricter than [`Dependency::new`].
    fn from_str(text: &str) -> Result<Self, DependencyError> {
        let trimmed = text.trim();
        if trimmed.starts_with('(') {
            return Ok(Self::new(&Rich::parse(trimmed)?.to_string(), None));
        }
        let mut words = trimmed.split_whitespace();
        let name = words
            .next()
            .ok_or_else(|| DependencyError::new(text, "it is empty"))?;
        check_name(name).map_err(|reason| DependencyError::new(text, reason))?;
        let Some(operator) = words.next() else {
            return Ok(Self::new(name, None));
        };
        let comparison = Comparison::parse(operator).ok_or_else(|| {
            DependencyError::new(
                text,
                "after the name comes one of `<`, `<=`, `=`, `>=`, `>`",
            )
        })?;
        let version = words
            .next()
            .ok_or_else(|| DependencyError::new(text, "a version is missing after the operator"))?;
        check_version(version).map_err(|reason| DependencyError::new(text, reason))?;
        match words.next() {
            Some(_) => Err(DependencyError::new(
                text,
                "there is more text after the version",
            )),
            None => Ok(Self::new(name, Some((comparison, version)))),
        }
    }
}

/// Parentheses must match, and an operator stands outside of them only with spaces around it.
fn check_name(name: &str) -> Result<(), &'static str> {
    let mut depth = 0_usize;
    for character in name.chars() {
        match character {
            '(' => depth += 1,
            ')' => {
                depth = depth
                    .checked_sub(1)
                    .ok_or("a parenthesis closes that was not opened")?;
            }
            '<' | '>' | '=' if depth == 0 => return Err("write spaces around the operator"),
            _ if character.is_control() => return Err("it has a control character"),
            _ => {}
        }
    }
    if depth > 0 {
        return Err("a parenthesis is not closed");
    }
    Ok(())
}

fn check_version(version: &str) -> Result<(), &'static str> {
    let rest = match version.split_once(':') {
        Some((epoch, rest)) => {
            epoch
                .parse::<u32>()
                .map_err(|_| "the epoch before `:` is not a number")?;
            rest
        }
        None => version,
    };
    if rest.is_empty() {
        return Err("the version is empty");
    }
    if rest.contains(|character: char| "<>=():".contains(character) || character.is_control()) {
        return Err("the version has a character that versions cannot have");
    }
    Ok(())
}

/// A dependency that must be met, and when.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    /// What is required.
    pub dependency: Dependency,
    /// Whether a scriptlet needs it while the package is being installed, so that it must come first.
    pub pre: bool,
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.dependency.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_form_round_trips() {
        for text in [
            "foo",
            "foo >= 1:2.0-3",
            "foo = 1.0~rc1^git3-1.fc41",
            "libc.so.6(GLIBC_2.34)(64bit)",
            "font(:lang=en)",
            "/usr/bin/sh",
            "perl(:VERSION) >= 5.8",
            "(a if b)",
            "(a >= 1 if (b or libc.so.6()(64bit)) else c)",
        ] {
            assert_eq!(text.parse::<Dependency>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn parts_are_found() {
        let dependency: Dependency = "foo   =>  0:1.0".parse().unwrap();
        assert_eq!(dependency.as_str(), "foo >= 1.0");
        assert_eq!(dependency.name(), "foo");
        assert_eq!(
            dependency.comparison(),
            Some((Comparison::GreaterOrEqual, "1.0"))
        );
        let odd = Dependency::new("a name", Some((Comparison::Less, "1")));
        assert_eq!(
            (odd.name(), odd.comparison()),
            ("a name", Some((Comparison::Less, "1")))
        );
        assert_eq!(
            Dependency::new("foo", Some((Comparison::Equal, ""))).as_str(),
            "foo"
        );
    }

    #[test]
    fn anything_else_is_refused_with_the_reason() {
        let table = [
            ("", "it is empty"),
            ("foo>=1", "write spaces around the operator"),
            ("foo >=", "a version is missing after the operator"),
            (
                "foo 1.0",
                "after the name comes one of `<`, `<=`, `=`, `>=`, `>`",
            ),
            ("foo = x:1", "the epoch before `:` is not a number"),
            ("foo = 1:", "the version is empty"),
            ("foo = 1 2", "there is more text after the version"),
            ("foo(", "a parenthesis is not closed"),
            ("foo)", "a parenthesis closes that was not opened"),
        ];
        for (text, reason) in table {
            assert_eq!(
                text.parse::<Dependency>(),
                Err(DependencyError::new(text, reason))
            );
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in ".*") {
            if let Ok(dependency) = text.parse::<Dependency>() {
                prop_assert_eq!(dependency.to_string().parse::<Dependency>(), Ok(dependency));
            }
        }

        #[test]
        fn parts_of_any_metadata_come_back(name in "[^(]{1,12}", version in ".{0,8}") {
            for comparison in Comparison::ALL {
                let dependency = Dependency::new(&name, Some((comparison, &version)));
                prop_assert_eq!(dependency.name(), &name);
                let expected = version.strip_prefix("0:").unwrap_or(&version);
                prop_assert_eq!(dependency.comparison(), (!expected.is_empty()).then_some((comparison, expected)));
            }
        }
    }
}
