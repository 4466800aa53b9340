//! Whether packages meet a dependency, as rpm itself decides it when it installs: no solver is asked.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::dependency::{Comparison, Dependency};
use super::package::PackageFacts;
use super::rich::{Operator, Rich};

impl Dependency {
    /// Whether a package that provides `provided` meets this plain dependency: the names are equal,
    /// and some version lies in both ranges. A side without a version means every version; a version without
    /// a release means every release.
    pub fn is_met_by(&self, provided: &Self) -> bool {
        if self.name() != provided.name() {
            return false;
        }
        let (Some((wanted, version)), Some((given, other))) =
            (self.comparison(), provided.comparison())
        else {
            return true;
        };
        match compare(other, version) {
            Ordering::Less => given.goes_up() || wanted.goes_down(),
            Ordering::Greater => given.goes_down() || wanted.goes_up(),
            Ordering::Equal => {
                (wanted.has_equal() && given.has_equal())
                    || (wanted.goes_up() && given.goes_up())
                    || (wanted.goes_down() && given.goes_down())
            }
        }
    }
}

impl Comparison {
    fn has_equal(self) -> bool {
        matches!(self, Self::Equal | Self::LessOrEqual | Self::GreaterOrEqual)
    }

    fn goes_up(self) -> bool {
        matches!(self, Self::Greater | Self::GreaterOrEqual)
    }

    fn goes_down(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual)
    }
}

/// Compares two `[epoch:]version[-release]` of dependencies: without a release on one side, the other's does not count.
fn compare(one: &str, other: &str) -> Ordering {
    let split = |text: &str| {
        let (epoch, rest) = text.split_once(':').unwrap_or(("0", text));
        let (version, release) = match rest.rsplit_once('-') {
            Some((version, release)) => (version, Some(release.to_owned())),
            None => (rest, None),
        };
        let epoch = if epoch.is_empty() { "0" } else { epoch };
        (epoch.to_owned(), version.to_owned(), release)
    };
    let ((epoch, version, release), (epoch2, version2, release2)) = (split(one), split(other));
    let full = |epoch: &str, version: &str, release: &str| format!("{epoch}:{version}-{release}");
    let (release, release2) = match (&release, &release2) {
        (Some(release), Some(release2)) => (release.as_str(), release2.as_str()),
        _ => ("0", "0"),
    };
    rpm_version::rpm_evr_compare(
        &full(&epoch, &version, release),
        &full(&epoch2, &version2, release2),
    )
}

/// Packages that are there together, with an index of what they provide.
#[derive(Debug)]
pub struct Gathering<'a> {
    packages: Vec<&'a PackageFacts>,
    capabilities: BTreeMap<&'a str, Vec<(usize, &'a Dependency)>>,
    files: BTreeMap<&'a str, Vec<usize>>,
    names: BTreeMap<&'a str, Vec<usize>>,
    own: Vec<Dependency>,
}

impl<'a> Gathering<'a> {
    /// Packages by what they provide, themselves included, and by their files.
    pub fn new(packages: Vec<&'a PackageFacts>) -> Self {
        let mut capabilities: BTreeMap<&str, Vec<(usize, &Dependency)>> = BTreeMap::new();
        let mut files: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut names: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, &facts) in packages.iter().enumerate() {
            names.entry(&facts.nevra.name).or_default().push(place);
            for provided in &facts.provides {
                let known = capabilities.entry(provided.name()).or_default();
                known.push((place, provided));
            }
            for path in &facts.files {
                files.entry(path).or_default().push(place);
            }
        }
        let own = packages
            .iter()
            .map(|facts| itself(facts))
            .collect::<Vec<_>>();
        Self {
            packages,
            capabilities,
            files,
            names,
            own,
        }
    }

    /// The packages, by the place that other methods give.
    pub fn packages(&self) -> &[&'a PackageFacts] {
        &self.packages
    }

    /// The packages that provide a plain dependency, by their places.
    pub fn providers(&self, dependency: &Dependency) -> BTreeSet<usize> {
        let known = self.capabilities.get(dependency.name());
        let mut found: BTreeSet<usize> = known
            .into_iter()
            .flatten()
            .filter(|(_, provided)| dependency.is_met_by(provided))
            .map(|(place, _)| *place)
            .collect();
        let named = self.names.get(dependency.name()).into_iter().flatten();
        found.extend(named.filter(|place| dependency.is_met_by(&self.own[**place])));
        if dependency.is_file() {
            found.extend(self.files.get(dependency.name()).into_iter().flatten());
        }
        found
    }

    /// Whether the packages meet a dependency, rich or not.
    pub fn meets(&self, rich: &Rich) -> bool {
        let Rich::Joined {
            operator,
            operands,
            otherwise,
        } = rich
        else {
            return !self.single(rich).is_empty();
        };
        let meets = |place: usize| operands.get(place).is_some_and(|rich| self.meets(rich));
        let otherwise = |none| otherwise.as_ref().map_or(none, |rich| self.meets(rich));
        match operator {
            Operator::And => operands.iter().all(|operand| self.meets(operand)),
            Operator::Or => operands.iter().any(|operand| self.meets(operand)),
            Operator::With | Operator::Without => !self.single(rich).is_empty(),
            // `unless` is met where nothing is asked for; in a conflict, where it is, the conflict holds.
            Operator::If if meets(1) => meets(0),
            Operator::If => otherwise(true),
            Operator::Unless if meets(1) => otherwise(false),
            Operator::Unless => meets(0),
        }
    }

    /// The packages of which each alone meets it: what `with` and `without` speak of.
    fn single(&self, rich: &Rich) -> BTreeSet<usize> {
        let (operator, operands) = match rich {
            Rich::Plain(dependency) => return self.providers(dependency),
            Rich::Joined {
                operator, operands, ..
            } => (operator, operands),
        };
        let mut sets = operands.iter().map(|operand| self.single(operand));
        let first = sets.next().unwrap_or_default();
        sets.fold(first, |found, set| match operator {
            Operator::With | Operator::And => &found & &set,
            Operator::Without => &found - &set,
            _ => &found | &set,
        })
    }

    /// What is wrong with these packages being there together and nothing else: requirements that are not met,
    /// conflicts, obsoleted packages, one name in two versions; a sentence each. `multiple` says of which names several
    /// versions may be there.
    pub fn faults(&self, multiple: impl Fn(&str) -> bool) -> Vec<String> {
        let mut faults = Vec::new();
        for (place, facts) in self.packages.iter().enumerate() {
            self.unmet(place, &mut faults);
            for &other in &self.names[facts.nevra.name.as_str()] {
                let other_nevra = &self.packages[other].nevra;
                // Two word sizes of one package may have different versions.
                let beside = facts.nevra.arch != other_nevra.arch
                    && facts.nevra.arch != "noarch"
                    && other_nevra.arch != "noarch";
                if other > place && !beside && !multiple(&facts.nevra.name) {
                    faults.push(format!("{} and {other_nevra}", facts.nevra));
                }
            }
        }
        faults
    }

    fn unmet(&self, place: usize, faults: &mut Vec<String>) {
        let facts = self.packages[place];
        for requirement in &facts.requires {
            let dependency = &requirement.dependency;
            let met = dependency.is_rpmlib()
                || match dependency.rich() {
                    Ok(rich) => self.meets(&rich),
                    Err(_) => !self
                        .providers(&Dependency::new(dependency.as_str(), None))
                        .is_empty(),
                };
            if !met {
                faults.push(format!("{} requires {dependency}", facts.nevra));
            }
        }
        for conflict in &facts.conflicts {
            let holds = match conflict.rich() {
                Ok(Rich::Plain(plain)) => self
                    .providers(&plain)
                    .into_iter()
                    .any(|provider| provider != place),
                Ok(rich) => self.meets(&rich),
                Err(_) => false,
            };
            if holds {
                faults.push(format!("{} conflicts with {conflict}", facts.nevra));
            }
        }
        for obsolete in &facts.obsoletes {
            // Names, not what is provided: and never the package itself.
            for &other in self.names.get(obsolete.name()).into_iter().flatten() {
                let nevra = &self.packages[other].nevra;
                if nevra.name != facts.nevra.name && obsolete.is_met_by(&self.own[other]) {
                    faults.push(format!("{} obsoletes {nevra}", facts.nevra));
                }
            }
        }
    }
}

/// The capability by which a package is itself.
fn itself(facts: &PackageFacts) -> Dependency {
    let evr = facts.nevra.evr();
    Dependency::new(&facts.nevra.name, Some((Comparison::Equal, &evr)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_meet_as_in_rpm() {
        // Required, provided, whether it is met.
        let table = [
            ("a", "a", true),
            ("a", "b", false),
            ("a >= 2", "a", true),
            ("a", "a = 2", true),
            ("a = 1", "a = 1-5", true),
            ("a = 1-5", "a = 1", true),
            ("a = 1-5", "a = 1-6", false),
            ("a >= 1-5", "a = 1-6", true),
            ("a > 1", "a = 1-6", false),
            ("a < 1", "a = 1-6", false),
            ("a <= 1", "a = 1-6", true),
            ("a > 1", "a = 1:0.5", true),
            ("a < 1:1", "a = 9", true),
            ("a < 2", "a < 1", true),
            ("a > 2", "a > 1", true),
            ("a > 2", "a < 1", false),
            ("a < 2", "a > 1", true),
            ("a = 1.0~rc1", "a = 1.0", false),
            ("a < 1.0", "a = 1.0~rc1", true),
            ("a > 1.0", "a = 1.0^git1", true),
            ("a < 1.0.1", "a = 1.0^git1", true),
        ];
        for (wanted, provided, met) in table {
            let [wanted, provided] =
                [wanted, provided].map(|text| text.parse::<Dependency>().unwrap());
            assert_eq!(wanted.is_met_by(&provided), met, "{wanted} by {provided}");
        }
    }

    #[test]
    fn rich_dependencies_are_met_as_in_rpm() {
        let mut facts: Vec<PackageFacts> = ["a-1-1.noarch", "b-2-1.noarch"]
            .map(|text| PackageFacts::new(text.parse().unwrap()))
            .into();
        facts[0].provides = vec!["x = 1".parse().unwrap(), "y".parse().unwrap()];
        facts[1].provides = vec!["x = 3".parse().unwrap()];
        facts[1].files = vec!["/usr/bin/b".to_owned()];
        let gathering = Gathering::new(facts.iter().collect());
        for (text, met) in [
            ("(a and b)", true),
            ("(a and c)", false),
            ("(c or /usr/bin/b)", true),
            ("(c if d)", true),
            ("(c if a)", false),
            ("(c if d else b)", true),
            ("(c if d else e)", false),
            ("(a unless c)", true),
            ("(a unless b)", false),
            ("(c unless a else b)", true),
            ("(x >= 1 with x < 2)", true),
            ("(x >= 2 with x < 3)", false),
            ("(x with y)", true),
            ("(x without y)", true),
            ("(x < 2 without y)", false),
            ("((a and c) if (d or b))", false),
        ] {
            assert_eq!(gathering.meets(&Rich::parse(text).unwrap()), met, "{text}");
        }
    }
}
