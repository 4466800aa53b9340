//! Rich (boolean) dependencies: `(a if (b or c) else d)`.

use std::fmt;

use super::dependency::{Dependency, DependencyError};

/// Deeper nesting is refused, so that no text can exhaust the stack.
const MAX_DEPTH: usize = 32;

/// More parts are refused: solvers go down a chain of them one call deeper for each.
const MAX_PARTS: usize = 512;
/// More clauses than these, written out as solvers need them, are refused: parts multiply there.
const MAX_CLAUSES: u64 = 1 << 16;

/// What joins the operands of a rich dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// All must be met.
    And,
    /// At least one must be met.
    Or,
    /// One package must meet all.
    With,
    /// One package must meet the first and not the second.
    Without,
    /// The first must be met where the second is.
    If,
    /// The first must be met where the second is not.
    Unless,
}

impl Operator {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::And,
        Self::Or,
        Self::With,
        Self::Without,
        Self::If,
        Self::Unless,
    ];

    /// As RPM writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::And => "and",
            Self::Or => "or",
            Self::With => "with",
            Self::Without => "without",
            Self::If => "if",
            Self::Unless => "unless",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|operator| operator.as_str() == text)
    }

    /// Whether `(a op b op c)` may be written.
    pub fn chains(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::With)
    }

    /// Whether an `else` may follow.
    pub fn takes_else(self) -> bool {
        matches!(self, Self::If | Self::Unless)
    }
}

/// A rich dependency's tree.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Rich {
    /// A capability, with or without a comparison.
    Plain(Dependency),
    /// Operands joined by one operator; two of them, more only where the operator chains.
    Joined {
        /// What joins them.
        operator: Operator,
        /// The operands, in order.
        operands: Vec<Self>,
        /// What follows `else`.
        otherwise: Option<Box<Self>>,
    },
}

impl Rich {
    /// Reads the text of a rich dependency, outer parentheses included.
    pub fn parse(text: &str) -> Result<Self, DependencyError> {
        let mut parser = Parser {
            rest: text.trim(),
            parts: 0,
        };
        let fail = |reason| DependencyError::new(text, reason);
        let rich = parser.group(0).map_err(fail)?;
        if !parser.rest.trim().is_empty() {
            return Err(fail("there is more text after the closing parenthesis"));
        }
        let (all, any) = rich.clauses();
        if all.max(any) > MAX_CLAUSES {
            return Err(fail("its parts multiply beyond measure"));
        }
        Ok(rich)
    }

    /// How many clauses it has when it is written as alternatives of which all must be met, and as sets of which any must.
    fn clauses(&self) -> (u64, u64) {
        let Self::Joined {
            operator,
            operands,
            otherwise,
        } = self
        else {
            return (1, 1);
        };
        let sum = |all: u64, more: u64| all.saturating_add(more);
        let product = |all: u64, more: u64| all.saturating_mul(more);
        let sizes: Vec<(u64, u64)> = operands.iter().map(Self::clauses).collect();
        let all = || sizes.iter().map(|(all, _)| *all);
        let any = || sizes.iter().map(|(_, any)| *any);
        let (left, right) = match sizes.as_slice() {
            [left, right] => (*left, *right),
            _ => ((1, 1), (1, 1)),
        };
        let (more_all, more_any) = otherwise.as_ref().map_or((0, 1), |rich| rich.clauses());
        match operator {
            Operator::And => (all().fold(0, sum), any().fold(1, product)),
            Operator::Or => (all().fold(1, product), any().fold(0, sum)),
            // One package meets them: a set of packages, however it is found.
            Operator::With | Operator::Without => (1, 1),
            // `a or not b`, and where there is an `else`, `c or b`.
            Operator::If => (
                sum(product(left.0, right.1), product(more_all, right.0)),
                product(sum(left.1, right.0), sum(more_any, right.1)),
            ),
            // `a and not b`, or where there is an `else`, `c and b`.
            Operator::Unless => (
                product(sum(left.0, right.1), sum(more_all.max(1), right.0)),
                sum(product(left.1, right.0), product(more_any, right.1)),
            ),
        }
    }

    /// All plain dependencies in it, left to right.
    pub fn leaves(&self) -> Vec<&Dependency> {
        match self {
            Self::Plain(dependency) => vec![dependency],
            Self::Joined {
                operands,
                otherwise,
                ..
            } => operands
                .iter()
                .chain(otherwise.as_deref())
                .flat_map(Self::leaves)
                .collect(),
        }
    }
}

impl fmt::Display for Rich {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operator, operands, otherwise) = match self {
            Self::Plain(dependency) => return dependency.fmt(f),
            Self::Joined {
                operator,
                operands,
                otherwise,
            } => (operator, operands, otherwise),
        };
        f.write_str("(")?;
        for (position, operand) in operands.iter().enumerate() {
            if position > 0 {
                write!(f, " {} ", operator.as_str())?;
            }
            operand.fmt(f)?;
        }
        if let Some(otherwise) = otherwise {
            write!(f, " else {otherwise}")?;
        }
        f.write_str(")")
    }
}

struct Parser<'a> {
    rest: &'a str,
    /// Parts so far.
    parts: usize,
}

impl<'a> Parser<'a> {
    /// `(` operand [ operator operand … [ `else` operand ] ] `)`
    fn group(&mut self, depth: usize) -> Result<Rich, &'static str> {
        if depth >= MAX_DEPTH {
            return Err("it is nested too deeply");
        }
        self.rest = self
            .rest
            .strip_prefix('(')
            .ok_or("a parenthesis is missing")?;
        let first = self.operand(depth)?;
        if self.closes() {
            return Ok(first);
        }
        let operator = Operator::parse(self.word())
            .ok_or("expected one of `and`, `or`, `with`, `without`, `if`, `unless`")?;
        let mut operands = vec![first, self.operand(depth)?];
        let mut otherwise = None;
        while !self.closes() {
            match self.word() {
                "" => return Err("a parenthesis is not closed"),
                "else" if operator.takes_else() && otherwise.is_none() => {
                    otherwise = Some(Box::new(self.operand(depth)?));
                }
                word if operator.chains() && word == operator.as_str() => {
                    operands.push(self.operand(depth)?);
                }
                _ => return Err("different operators need parentheses of their own"),
            }
        }
        Ok(Rich::Joined {
            operator,
            operands,
            otherwise,
        })
    }

    fn operand(&mut self, depth: usize) -> Result<Rich, &'static str> {
        self.rest = self.rest.trim_start();
        if self.rest.starts_with('(') {
            return self.group(depth + 1);
        }
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err("it has too many parts");
        }
        let name = self.word();
        if name.is_empty() {
            return Err("a capability is missing");
        }
        let before_operator = self.rest;
        let Some(comparison) = super::dependency::Comparison::parse(self.word()) else {
            self.rest = before_operator;
            return Ok(Rich::Plain(Dependency::new(name, None)));
        };
        match self.word() {
            "" => Err("a version is missing after the operator"),
            version => Ok(Rich::Plain(Dependency::new(
                name,
                Some((comparison, version)),
            ))),
        }
    }

    /// Takes `)` where it comes next.
    fn closes(&mut self) -> bool {
        self.rest = self.rest.trim_start();
        let closed = self.rest.strip_prefix(')');
        self.rest = closed.unwrap_or(self.rest);
        closed.is_some()
    }

    /// The next word; it ends at a space or at a parenthesis that it did not open itself.
    fn word(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        let mut depth = 0_usize;
        let end = self.rest.find(|character: char| match character {
            '(' => {
                depth += 1;
                false
            }
            ')' if depth == 0 => true,
            ')' => {
                depth -= 1;
                false
            }
            _ => character.is_whitespace(),
        });
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaf() -> impl Strategy<Value = Rich> {
        let name = prop_oneof![
            "[a-z][a-z0-9.+-]{0,6}",
            Just("libc.so.6(GLIBC_2.4)(64bit)".to_owned()),
            Just("/usr/bin/x".to_owned())
        ];
        (
            name,
            proptest::option::of((0..5_usize, "[1-9][0-9.]{0,3}[0-9]")),
        )
            .prop_map(|(name, version)| {
                let comparison = version.as_ref().map(|(index, version)| {
                    (super::super::Comparison::ALL[*index], version.as_str())
                });
                Rich::Plain(Dependency::new(&name, comparison))
            })
    }

    fn tree() -> impl Strategy<Value = Rich> {
        leaf().prop_recursive(4, 24, 4, |inner| {
            (
                0..6_usize,
                proptest::collection::vec(inner.clone(), 2..4),
                proptest::option::of(inner),
            )
                .prop_map(|(operator, mut operands, otherwise)| {
                    let operator = Operator::ALL[operator];
                    if !operator.chains() {
                        operands.truncate(2);
                    }
                    Rich::Joined {
                        operator,
                        operands,
                        otherwise: otherwise.filter(|_| operator.takes_else()).map(Box::new),
                    }
                })
        })
    }

    proptest! {
        #[test]
        fn text_form_round_trips(rich in tree()) {
            let text = rich.to_string();
            match &rich {
                Rich::Plain(_) => prop_assert_eq!(Rich::parse(&format!("({text})")), Ok(rich)),
                Rich::Joined { .. } => prop_assert_eq!(Rich::parse(&text), Ok(rich)),
            }
        }

        #[test]
        fn nothing_makes_it_panic(text in "[() a-c>=1]{0,40}") {
            if let Ok(rich) = Rich::parse(&text) {
                prop_assert!(!rich.leaves().is_empty());
            }
        }
    }

    #[test]
    fn wrong_ones_are_refused_with_the_reason() {
        let table = [
            (
                "(a",
                "expected one of `and`, `or`, `with`, `without`, `if`, `unless`",
            ),
            ("(a and b", "a parenthesis is not closed"),
            (
                "(a and b or c)",
                "different operators need parentheses of their own",
            ),
            (
                "(a if b if c)",
                "different operators need parentheses of their own",
            ),
            (
                "(a or b else c)",
                "different operators need parentheses of their own",
            ),
            ("(a and )", "a capability is missing"),
            ("(a >= )", "a version is missing after the operator"),
            (
                "(a xor b)",
                "expected one of `and`, `or`, `with`, `without`, `if`, `unless`",
            ),
            (
                "(a and b) c",
                "there is more text after the closing parenthesis",
            ),
        ];
        for (text, reason) in table {
            assert_eq!(
                Rich::parse(text),
                Err(DependencyError::new(text, reason)),
                "{text}"
            );
        }
        let deep = format!("{}a{}", "(".repeat(5000), ")".repeat(5000));
        assert_eq!(
            Rich::parse(&deep),
            Err(DependencyError::new(&deep, "it is nested too deeply"))
        );
    }
}
