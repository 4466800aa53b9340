//! The table of rules, `rules.toml`.

use regex::{Regex, RegexSet};
use serde::Deserialize;

use crate::record::Class;

const TABLE: &str = include_str!("rules.toml");

/// A rule of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) class: Class,
    rank: u8,
    pattern: String,
    #[serde(default)]
    phase: Vec<String>,
    says: String,
    /// For the tests, and for who reads the table.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "tests hold the rule against it")
    )]
    pub(super) example: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    rule: Vec<Rule>,
}

/// A rule that fits a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    rule: usize,
    pub(super) rank: u8,
    /// What the rule says of the line.
    pub(super) says: String,
}

/// The rules, ready to use.
#[derive(Debug)]
pub(super) struct Rules {
    rules: Vec<Rule>,
    patterns: RegexSet,
}

impl Rules {
    /// The table as it was compiled in.
    #[expect(
        clippy::expect_used,
        reason = "the table is a part of the program, and tests read it"
    )]
    pub(super) fn load() -> Self {
        let table: Table = toml::from_str(TABLE).expect("rules.toml is a table of rules");
        let patterns = RegexSet::new(table.rule.iter().map(|rule| &rule.pattern))
            .expect("the patterns of rules.toml are regular expressions");
        Self {
            rules: table.rule,
            patterns,
        }
    }

    /// The best rule that fits a line of this phase.
    pub(super) fn find(&self, phase: &str, line: &str) -> Option<Found> {
        let fits = self.patterns.matches(line);
        let at_home = |rule: &Rule| rule.phase.is_empty() || rule.phase.iter().any(|p| p == phase);
        let index = fits
            .into_iter()
            .filter(|&index| at_home(&self.rules[index]))
            .min_by_key(|&index| self.rules[index].rank)?;
        let rule = &self.rules[index];
        Some(Found {
            rule: index,
            rank: rule.rank,
            says: says(rule, line),
        })
    }

    pub(super) fn rule(&self, found: &Found) -> &Rule {
        &self.rules[found.rule]
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> &[Rule] {
        &self.rules
    }
}

impl Rule {
    #[cfg(test)]
    pub(super) fn home(&self) -> &str {
        self.phase.first().map_or("%build", String::as_str)
    }
}

/// The rule's sentence about a line, without the folders of the sandbox.
fn says(rule: &Rule, line: &str) -> String {
    let mut sentence = String::new();
    if let Some(captures) = Regex::new(&rule.pattern)
        .ok()
        .and_then(|p| p.captures(line))
    {
        captures.expand(&rule.says, &mut sentence);
    }
    let sentence = sentence.replace("/builddir/", "").replace(" ``", "");
    sentence.trim_end_matches([':', ' ']).to_owned()
}
