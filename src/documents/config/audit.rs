//! `[audit]`: what second builds vary, and which differences are known and allowed.

use std::collections::BTreeSet;

use serde::Deserialize;
use toml::Spanned;

use super::is_for;
use crate::documents::error::DocumentError;
use crate::documents::source::Source;
use crate::documents::values::{Line, Name};
use crate::reproducibility::{Cause, Variation};

/// How packages are audited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// Varied too, beside what is by default.
    pub with: BTreeSet<Variation>,
    /// Left as they were in the run.
    pub without: BTreeSet<Variation>,
    /// Whether diffoscope, where it is installed, looks at packages that differ.
    pub deep: bool,
    /// Differences that are allowed, each with its reason.
    pub allow: Vec<AllowedDifference>,
}

/// A difference that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedDifference {
    /// Of this cause alone; of any where there is none.
    pub cause: Option<Cause>,
    /// In these packages of the project; in all where it names none.
    pub packages: Vec<String>,
    /// Why.
    pub reason: String,
}

/// The table as it is written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawAudit {
    with: Vec<Spanned<Variation>>,
    without: Vec<Spanned<Variation>>,
    deep: bool,
    allow: Vec<Spanned<RawAllowance>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawAllowance {
    cause: Option<Cause>,
    #[serde(default)]
    packages: Vec<Name>,
    reason: Line,
}

impl Audit {
    /// The table, of which nothing may contradict itself.
    pub(super) fn of(source: &Source<'_>, raw: RawAudit) -> Result<Self, DocumentError> {
        let names = |all: &[Spanned<Variation>]| -> BTreeSet<Variation> {
            all.iter().map(|one| *one.get_ref()).collect()
        };
        let (with, without) = (names(&raw.with), names(&raw.without));
        if let Some(both) = raw.without.iter().find(|one| with.contains(one.get_ref())) {
            let message = format!("`{}` is both varied and not varied", both.get_ref());
            return Err(source.error(both.span(), message));
        }
        let allow = raw.allow.into_iter();
        Ok(Self {
            with,
            without,
            deep: raw.deep,
            allow: allow
                .map(|one| allowance(source, one))
                .collect::<Result<_, _>>()?,
        })
    }

    /// The reasons for which a package may differ with these causes; none where one of them is not allowed.
    pub fn reasons<'a>(
        &self,
        package: &str,
        causes: impl IntoIterator<Item = &'a Cause>,
    ) -> Option<Vec<&str>> {
        let reason = |cause: &Cause| {
            let fits = |one: &&AllowedDifference| {
                is_for(&one.packages, package) && one.cause.is_none_or(|allowed| allowed == *cause)
            };
            self.allow.iter().find(fits).map(|one| one.reason.as_str())
        };
        let mut reasons: Vec<&str> = causes.into_iter().map(reason).collect::<Option<_>>()?;
        reasons.dedup();
        (!reasons.is_empty()).then_some(reasons)
    }
}

fn allowance(
    source: &Source<'_>,
    spanned: Spanned<RawAllowance>,
) -> Result<AllowedDifference, DocumentError> {
    let span = spanned.span();
    let raw = spanned.into_inner();
    if raw.cause.is_none() && raw.packages.is_empty() {
        let error = source.error(span, "every difference of every package would be allowed");
        return Err(error.note("write a `cause`, or the `packages` that may differ, or both"));
    }
    Ok(AllowedDifference {
        cause: raw.cause,
        packages: raw.packages.iter().map(ToString::to_string).collect(),
        reason: raw.reason.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::parsed;
    use super::*;

    fn audit(rest: &str) -> Result<Audit, String> {
        parsed(rest).map(|project| project.audit)
    }

    #[test]
    fn what_may_differ_is_told_by_cause_and_package() {
        assert_eq!(audit("").unwrap(), Audit::default());
        let settings = audit(
            "[audit]\nwith = [\"job-order\"]\nwithout = [\"locale\"]\ndeep = true\nallow = [\n  \
             { cause = \"random\", packages = [\"keys\"], reason = \"a key of its own\" },\n  \
             { packages = [\"old\"], reason = \"a binary of the vendor\" },\n]",
        )
        .unwrap();
        assert_eq!(settings.with, BTreeSet::from([Variation::JobOrder]));
        assert_eq!(settings.without, BTreeSet::from([Variation::Locale]));
        assert!(settings.deep);
        let reasons = |package, causes: &[Cause]| settings.reasons(package, causes);
        assert_eq!(
            reasons("keys", &[Cause::Random]),
            Some(vec!["a key of its own"])
        );
        assert_eq!(reasons("keys", &[Cause::Random, Cause::HostName]), None);
        assert_eq!(reasons("other", &[Cause::Random]), None);
        assert_eq!(
            reasons("old", &[Cause::Random, Cause::HostName]),
            Some(vec!["a binary of the vendor"])
        );
        // Of what nobody compared nothing is allowed.
        assert_eq!(reasons("old", &[]), None);
    }

    #[test]
    fn names_that_do_not_exist_are_refused_with_the_nearest() {
        insta::assert_snapshot!(audit("[audit]\nwithout = [\"hostname\"]").unwrap_err(), @r#"
        pristine.toml:6:12: unknown value `hostname`
          |
        6 | without = ["hostname"]
          |            ^^^^^^^^^^
          = did you mean `host-name`?
          = values allowed here: time, time-zone, host-name, build-path, user, locale, processors, job-order, file-order, umask, kernel, environment
        "#);
        for (text, nearest) in [
            (
                "allow = [{ cause = \"embeded-time\", reason = \"x\" }]",
                "embedded-time",
            ),
            ("withou = []", "without"),
            (
                "allow = [{ package = [\"a\"], reason = \"x\" }]",
                "packages",
            ),
        ] {
            let error = audit(&format!("[audit]\n{text}")).unwrap_err();
            let advice = format!("= did you mean `{nearest}`?");
            assert!(
                error.contains(&advice) && error.contains("pristine.toml:6:"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_contradicts_itself_or_allows_everything_is_refused() {
        insta::assert_snapshot!(
            audit("[audit]\nwith = [\"umask\"]\nwithout = [\"umask\"]").unwrap_err(),
            @r#"
        pristine.toml:7:12: `umask` is both varied and not varied
          |
        7 | without = ["umask"]
          |            ^^^^^^^
        "#
        );
        for (text, words) in [
            (
                "reason = \"we know\"",
                "every difference of every package would be allowed",
            ),
            (
                "cause = \"user\", reason = \" \"",
                "` ` is not a line of text",
            ),
            ("cause = \"user\"", "missing key `reason`"),
        ] {
            let error = audit(&format!("[audit]\nallow = [{{ {text} }}]")).unwrap_err();
            assert!(
                error.contains(words) && error.contains("pristine.toml:6:"),
                "{error}"
            );
        }
    }
}
