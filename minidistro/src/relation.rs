//! Debian's relations between packages, and the same as RPM dependencies.
//!
//! Fields of binary packages only: `name[:any] [(operator version)]`, alternatives with `|`, all of them with `,`.

use std::cmp::Ordering;

use rpm::Dependency;

use crate::version::Evr;

/// Packages that only Debian's maintainer scripts need; those scripts are not run, so nothing here needs them.
const FOR_MAINTAINER_SCRIPTS: &[&str] = &[
    "adduser",
    "cdebconf",
    "debconf",
    "debconf-2.0",
    "dpkg",
    "init-system-helpers",
    "install-info",
    "ucf",
];

/// How two versions must compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Less,
    LessEqual,
    Equal,
    GreaterEqual,
    Greater,
}

/// One package with an optional version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Atom {
    pub(crate) name: String,
    pub(crate) version: Option<(Operator, Evr)>,
}

/// One relation: any of its alternatives satisfies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Relation(pub(crate) Vec<Atom>);

/// Reads a field such as `Depends`. The error is the part that is not understood.
pub(crate) fn parse(field: &str) -> Result<Vec<Relation>, String> {
    field
        .split(',')
        .map(str::trim)
        .filter(|relation| !relation.is_empty())
        .map(|relation| {
            relation
                .split('|')
                .map(|atom| Atom::parse(atom.trim()))
                .collect::<Result<_, _>>()
                .map(Relation)
        })
        .collect()
}

impl Atom {
    fn parse(text: &str) -> Result<Self, String> {
        let error = || format!("`{text}` is not a relation");
        let (name, constraint) = match text.split_once('(') {
            Some((name, rest)) => (
                name,
                Some(rest.trim_end().strip_suffix(')').ok_or_else(error)?),
            ),
            None => (text, None),
        };
        let name = name.trim().split(':').next().unwrap_or_default();
        if name.is_empty()
            || name.contains(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)))
        {
            return Err(error());
        }
        let version = constraint
            .map(|text| Self::constraint(text).ok_or_else(error))
            .transpose()?;
        Ok(Self {
            name: name.to_owned(),
            version,
        })
    }

    fn constraint(text: &str) -> Option<(Operator, Evr)> {
        let text = text.trim();
        let split = text.find(|c| !"<=>".contains(c))?;
        let operator = match &text[..split] {
            "<<" => Operator::Less,
            "<=" | "<" => Operator::LessEqual,
            "=" => Operator::Equal,
            ">=" | ">" => Operator::GreaterEqual,
            ">>" => Operator::Greater,
            _ => return None,
        };
        Some((operator, Evr::from_debian(text[split..].trim())?))
    }

    /// Whether a package, or what a package provides, of this version satisfies it.
    pub(crate) fn accepts(&self, version: Option<&Evr>) -> bool {
        let Some((operator, wanted)) = &self.version else {
            return true;
        };
        let Some(version) = version else { return false };
        let order = version.compare(wanted);
        match operator {
            Operator::Less => order == Ordering::Less,
            Operator::LessEqual => order != Ordering::Greater,
            Operator::Equal => order == Ordering::Equal,
            Operator::GreaterEqual => order != Ordering::Less,
            Operator::Greater => order == Ordering::Greater,
        }
    }

    /// As one RPM dependency.
    pub(crate) fn to_rpm(&self) -> Dependency {
        match &self.version {
            None => Dependency::any(&self.name),
            Some((Operator::Less, version)) => Dependency::less(&self.name, version.to_string()),
            Some((Operator::LessEqual, version)) => {
                Dependency::less_eq(&self.name, version.to_string())
            }
            Some((Operator::Equal, version)) => Dependency::eq(&self.name, version.to_string()),
            Some((Operator::GreaterEqual, version)) => {
                Dependency::greater_eq(&self.name, version.to_string())
            }
            Some((Operator::Greater, version)) => {
                Dependency::greater(&self.name, version.to_string())
            }
        }
    }

    /// As a part of a rich dependency.
    fn rich(&self) -> String {
        let operator = match &self.version {
            None => return self.name.clone(),
            Some((Operator::Less, _)) => "<",
            Some((Operator::LessEqual, _)) => "<=",
            Some((Operator::Equal, _)) => "=",
            Some((Operator::GreaterEqual, _)) => ">=",
            Some((Operator::Greater, _)) => ">",
        };
        let version = self
            .version
            .as_ref()
            .map(|(_, version)| version.to_string())
            .unwrap_or_default();
        format!("{} {operator} {version}", self.name)
    }
}

impl Relation {
    /// Whether the converted package keeps it.
    pub(crate) fn is_kept(&self, package: &str) -> bool {
        // base-files comes first of all; what it wants awk for is a maintainer script.
        package != "base-files"
            && !self
                .0
                .iter()
                .all(|atom| FOR_MAINTAINER_SCRIPTS.contains(&atom.name.as_str()))
    }

    /// As one RPM dependency, a rich one where there are alternatives.
    pub(crate) fn to_rpm(&self) -> Dependency {
        match self.0.as_slice() {
            [atom] => atom.to_rpm(),
            atoms => Dependency::any(format!(
                "({})",
                atoms
                    .iter()
                    .map(Atom::rich)
                    .collect::<Vec<_>>()
                    .join(" or ")
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rpm(field: &str) -> Vec<String> {
        parse(field)
            .unwrap()
            .iter()
            .map(|relation| relation.to_rpm().to_string())
            .collect()
    }

    #[test]
    fn relations_map() {
        assert_eq!(
            rpm(
                "libc6 (>= 2.38), libgcc-s1 (= 14.2.0-19), perl:any, gawk | mawk (<< 2), libx (>> 1.2), liby (<= 1:3-1~)"
            ),
            [
                "libc6 >= 2.38-0",
                "libgcc-s1 = 14.2.0-19",
                "perl",
                "(gawk or mawk < 2-0)",
                "libx > 1.2-0",
                "liby <= 1:3-1~"
            ]
        );
        assert_eq!(rpm(" ,a"), ["a"]);
    }

    #[test]
    fn anything_else_is_refused() {
        for field in ["a (", "a (1)", "a b", "a (~ 1)", "a |", "a (>= )"] {
            assert!(parse(field).is_err(), "{field}");
        }
    }

    #[test]
    fn versions_are_held_against_constraints() {
        for (constraint, version, expected) in [
            (">> 2.41", "2.41-12", true),
            (">> 2.41", "2.41", false),
            ("= 1.0", "1.0-1", false),
            ("<= 1.0", "1.0-1", false),
            ("<< 2.42", "2.41-12", true),
            (">= 1.0~", "1.0~rc1-1", true),
        ] {
            let relation = &parse(&format!("a ({constraint})")).unwrap()[0];
            assert_eq!(
                relation.0[0].accepts(Evr::from_debian(version).as_ref()),
                expected,
                "{version} {constraint}"
            );
        }
    }

    #[test]
    fn needs_of_maintainer_scripts_are_dropped() {
        let kept = |package, field| parse(field).unwrap()[0].is_kept(package);
        assert!(!kept("libpam-runtime", "debconf (>= 0.5) | debconf-2.0"));
        assert!(!kept("base-files", "awk"));
        assert!(kept("bash", "base-files (>= 2.1.12)"));
    }
}
