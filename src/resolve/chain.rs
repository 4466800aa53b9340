//! Why a package is there: the shortest way to it from what was asked for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use crate::rpm::{Dependency, Gathering, Nevra, Operator, Rich};
use crate::solve::{Meaning, Wanted};

/// From what was asked for to a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// What was asked for; of several that are equally far, all.
    pub asked: Vec<Wanted>,
    /// Packages, each with what it requires of the next.
    pub links: Vec<(Nevra, String)>,
    /// The package at the end.
    pub target: Nevra,
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for wanted in &self.asked {
            writeln!(f, "  {} asks for `{}`", wanted.asked_by, wanted.capability)?;
        }
        for (package, capability) in &self.links {
            writeln!(f, "  {package} requires `{capability}`")?;
        }
        write!(f, "  which is {}", self.target)
    }
}

/// The shortest chain to the package with the place `target`; `None` where nothing leads to it.
pub fn shortest(gathering: &Gathering<'_>, wanted: &[Wanted], target: usize) -> Option<Chain> {
    let brought: Vec<BTreeSet<usize>> = wanted
        .iter()
        .map(|wanted| brought(gathering, wanted))
        .collect();
    let mut parents: BTreeMap<usize, Option<(usize, String)>> = BTreeMap::new();
    let mut queue = VecDeque::new();
    for place in brought.iter().flatten() {
        if parents.insert(*place, None).is_none() {
            queue.push_back(*place);
        }
    }
    while let Some(place) = queue.pop_front() {
        if place == target {
            break;
        }
        for requirement in &gathering.packages()[place].requires {
            for provider in leads_to(gathering, &requirement.dependency) {
                if let std::collections::btree_map::Entry::Vacant(entry) = parents.entry(provider) {
                    entry.insert(Some((place, requirement.to_string())));
                    queue.push_back(provider);
                }
            }
        }
    }
    let nevra = |place: usize| gathering.packages()[place].nevra.clone();
    let mut links = Vec::new();
    let mut at = target;
    while let Some((parent, capability)) = parents.get(&at)? {
        links.push((nevra(*parent), capability.clone()));
        at = *parent;
    }
    links.reverse();
    let asked = wanted.iter().zip(&brought);
    let mut asked: Vec<Wanted> = asked
        .filter(|(_, brought)| brought.contains(&at))
        .map(|(wanted, _)| wanted.clone())
        .collect();
    let mut seen = BTreeSet::new();
    asked.retain(|wanted| seen.insert((wanted.asked_by.clone(), wanted.capability.clone())));
    Some(Chain {
        asked,
        links,
        target: nevra(target),
    })
}

/// The packages that a request brings by itself.
pub fn brought(gathering: &Gathering<'_>, wanted: &Wanted) -> BTreeSet<usize> {
    if wanted.meaning == Meaning::Package {
        let named = named(gathering, &wanted.capability);
        if !named.is_empty() {
            return named;
        }
    }
    let text = &wanted.capability;
    let dependency = text.parse().unwrap_or_else(|_| Dependency::new(text, None));
    let provided = leads_to(gathering, &dependency);
    if !provided.is_empty() {
        return provided;
    }
    // What takes the place of the name that was asked for.
    let takes = |place: &usize| {
        let facts = gathering.packages()[*place];
        let mut obsoletes = facts.obsoletes.iter();
        obsoletes.any(|obsolete| obsolete.name() == dependency.name())
    };
    (0..gathering.packages().len()).filter(takes).collect()
}

/// The packages that are called `text`: name, `name-version`, `name-version-release`, `name.arch` or all of it.
pub fn named(gathering: &Gathering<'_>, text: &str) -> BTreeSet<usize> {
    let fits = |place: &usize| is_called(&gathering.packages()[*place].nevra, text);
    (0..gathering.packages().len()).filter(fits).collect()
}

/// Whether `text` is one of the forms in which a person names this package.
pub fn is_called(nevra: &Nevra, text: &str) -> bool {
    let Some(rest) = text.strip_prefix(nevra.name.as_str()) else {
        return false;
    };
    let Some(rest) = rest.strip_prefix('-') else {
        return rest.is_empty() || rest.strip_prefix('.') == Some(&nevra.arch);
    };
    let rest = rest
        .strip_suffix(&format!(".{}", nevra.arch))
        .unwrap_or(rest);
    let version = match rest.split_once(':') {
        Some((epoch, version)) if epoch.parse() == Ok(nevra.epoch) => version,
        Some(_) => return false,
        None => rest,
    };
    version == nevra.version || version == format!("{}-{}", nevra.version, nevra.release)
}

/// The packages that a requirement brings; the conditions of a rich one bring nothing.
pub fn leads_to(gathering: &Gathering<'_>, dependency: &Dependency) -> BTreeSet<usize> {
    match dependency.rich() {
        Ok(rich) => parts(gathering, &rich),
        Err(_) => BTreeSet::new(),
    }
}

fn parts(gathering: &Gathering<'_>, rich: &Rich) -> BTreeSet<usize> {
    match rich {
        Rich::Plain(dependency) => gathering.providers(dependency),
        Rich::Joined {
            operator,
            operands,
            otherwise,
        } => {
            let bringing = match operator {
                Operator::And | Operator::Or | Operator::With => operands.len(),
                Operator::Without | Operator::If | Operator::Unless => 1,
            };
            let operands = operands.iter().take(bringing);
            operands
                .chain(otherwise.as_deref())
                .flat_map(|part| parts(gathering, part))
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpm::{PackageFacts, Requirement};

    fn package(nevra: &str, requires: &[&str], provides: &[&str]) -> PackageFacts {
        let mut facts = PackageFacts::new(nevra.parse().unwrap());
        facts.requires = requires
            .iter()
            .map(|text| Requirement {
                dependency: text.parse().unwrap(),
                pre: false,
            })
            .collect();
        facts.provides = provides.iter().map(|text| text.parse().unwrap()).collect();
        facts
    }

    #[test]
    fn the_shortest_way_is_shown() {
        let facts = [
            package("app-1-1.noarch", &["mid", "(odd if far)"], &[]),
            package("mid-1-1.noarch", &["lib >= 2"], &[]),
            package("odd-1-1.noarch", &["mid"], &[]),
            package("libs-2-1.noarch", &[], &["lib = 2"]),
            package("far-1-1.noarch", &["libs"], &[]),
            package("alone-1-1.noarch", &[], &[]),
        ];
        let gathering = Gathering::new(facts.iter().collect());
        let wanted = [
            Wanted::package("app", "templates/base.toml:3"),
            Wanted::dependency("app >= 1", "foo.spec:7 (BuildRequires)"),
        ];
        let shown = |target| {
            shortest(&gathering, &wanted, target)
                .map(|chain| chain.to_string())
                .unwrap_or_default()
        };
        insta::assert_snapshot!(shown(3), @"
          templates/base.toml:3 asks for `app`
          foo.spec:7 (BuildRequires) asks for `app >= 1`
          app-1-1.noarch requires `mid`
          mid-1-1.noarch requires `lib >= 2`
          which is libs-2-1.noarch
        ");
        insta::assert_snapshot!(shown(0), @"
          templates/base.toml:3 asks for `app`
          foo.spec:7 (BuildRequires) asks for `app >= 1`
          which is app-1-1.noarch
        ");
        assert_eq!(shown(4), "", "a condition brings nothing");
        assert_eq!(shown(5), "");
    }

    #[test]
    fn packages_are_called_in_several_ways() {
        let nevra: Nevra = "a-b-2:1.0-3.x86_64".parse().unwrap();
        for text in [
            "a-b",
            "a-b-1.0",
            "a-b-1.0-3",
            "a-b-2:1.0",
            "a-b-2:1.0-3.x86_64",
            "a-b.x86_64",
            "a-b-1.0.x86_64",
        ] {
            assert!(is_called(&nevra, text), "{text}");
        }
        for text in [
            "a",
            "a-b-1",
            "a-b-3:1.0",
            "a-b.noarch",
            "a-b-1.0-4",
            "a-bc",
            "",
        ] {
            assert!(!is_called(&nevra, text), "{text}");
        }
    }
}
