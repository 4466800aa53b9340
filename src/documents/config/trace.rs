//! `[trace]`: whether builds are watched for what they use, and what of it may stay undeclared or unused.

use serde::Deserialize;
use toml::Spanned;

use super::is_for;
use crate::documents::error::DocumentError;
use crate::documents::source::Source;
use crate::documents::values::{Line, Name};

/// How what builds use is held against what they declare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// Whether builds are watched at all.
    pub enabled: bool,
    /// Whether a package that uses what it does not declare has failed.
    pub strict: bool,
    /// What is allowed, each with its reason.
    pub allow: Vec<Allowance>,
}

/// Something that is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// What.
    pub what: Allowed,
    /// To which packages of the project; to all where it names none.
    pub packages: Vec<String>,
    /// Why.
    pub reason: String,
}

/// What is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// The use of a package of the environment, by its name.
    Undeclared(String),
    /// A BuildRequires of which nothing is used, as the spec has it, or its name alone.
    Unused(String),
}

/// The table as it is written.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawTrace {
    enabled: bool,
    strict: bool,
    allow: Vec<Spanned<RawAllowance>>,
}

impl Default for RawTrace {
    fn default() -> Self {
        Self {
            enabled: true,
            strict: false,
            allow: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawAllowance {
    undeclared: Option<Line>,
    unused: Option<Line>,
    #[serde(default)]
    packages: Vec<Spanned<Name>>,
    reason: Line,
}

impl Trace {
    /// The table, of which each allowance must be whole.
    pub(super) fn of(source: &Source<'_>, raw: RawTrace) -> Result<Self, DocumentError> {
        let allow = raw.allow.into_iter();
        Ok(Self {
            enabled: raw.enabled,
            strict: raw.strict,
            allow: allow
                .map(|one| allowance(source, one))
                .collect::<Result<_, _>>()?,
        })
    }

    /// The reason for which a package may use another without declaring it.
    pub fn undeclared(&self, package: &str, used: &str) -> Option<&str> {
        self.reason(
            package,
            |what| matches!(what, Allowed::Undeclared(name) if name == used),
        )
    }

    /// The reason for which a package may have a BuildRequires without using it; `name` is what that asks for.
    pub fn unused(&self, package: &str, requirement: &str, name: &str) -> Option<&str> {
        self.reason(
            package,
            |what| matches!(what, Allowed::Unused(text) if text == requirement || text == name),
        )
    }

    fn reason(&self, package: &str, fits: impl Fn(&Allowed) -> bool) -> Option<&str> {
        let found = self
            .allow
            .iter()
            .find(|allowance| is_for(&allowance.packages, package) && fits(&allowance.what));
        found.map(|allowance| allowance.reason.as_str())
    }
}

fn allowance(
    source: &Source<'_>,
    spanned: Spanned<RawAllowance>,
) -> Result<Allowance, DocumentError> {
    let span = spanned.span();
    let raw = spanned.into_inner();
    let what = match (raw.undeclared, raw.unused) {
        (Some(name), None) => Allowed::Undeclared(name.to_string()),
        (None, Some(text)) => Allowed::Unused(text.to_string()),
        _ => {
            let error = source.error(span, "what is allowed is not clear");
            return Err(error.note(
                "write either `undeclared = \"PACKAGE\"` or `unused = \"REQUIREMENT\"`, and a `reason`",
            ));
        }
    };
    if raw.reason.as_str().trim().is_empty() {
        return Err(source.error(span, "the reason is empty"));
    }
    Ok(Allowance {
        what,
        packages: raw
            .packages
            .iter()
            .map(|name| name.get_ref().to_string())
            .collect(),
        reason: raw.reason.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::parsed;
    use super::*;

    fn trace(rest: &str) -> Result<Trace, String> {
        parsed(rest).map(|project| project.trace)
    }

    #[test]
    fn what_is_allowed_has_a_reason() {
        let settings = trace("").unwrap();
        assert_eq!((settings.enabled, settings.strict), (true, false));
        let settings = trace(
            "[trace]\nstrict = true\nallow = [\n  { undeclared = \"which\", reason = \"old scripts\" },\n  { unused = \"gettext\", packages = [\"a\"], reason = \"for translators\" },\n]",
        )
        .unwrap();
        assert_eq!(settings.undeclared("x", "which"), Some("old scripts"));
        assert_eq!(settings.undeclared("x", "gettext"), None);
        let unused = |package| settings.unused(package, "gettext >= 1", "gettext");
        assert_eq!((unused("a"), unused("b")), (Some("for translators"), None));
        insta::assert_snapshot!(trace("[[trace.allow]]\nundeclared = \"which\"").unwrap_err(), @r"
        pristine.toml:5:1: missing key `reason`
          |
        5 | [[trace.allow]]
          | ^^^^^^^^^^^^^^^
        ");
        insta::assert_snapshot!(
            trace("[trace]\nallow = [{ undeclared = \"a\", unused = \"b\", reason = \"c\" }]").unwrap_err(),
            @r#"
        pristine.toml:6:10: what is allowed is not clear
          |
        6 | allow = [{ undeclared = "a", unused = "b", reason = "c" }]
          |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          = write either `undeclared = "PACKAGE"` or `unused = "REQUIREMENT"`, and a `reason`
        "#
        );
    }
}
