//! From the solver's contradicting rules to sentences.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::libsolv::{Job, Rule, SolvableId, StringId};
use super::nearest::Nearest;
use super::problem::{Asked, Cause, Help, Link, Problem, Reason, Unsolvable};
use super::request::{Request, Wanted};
use super::universe::Universe;
use crate::rpm::{Dependency, Rich};

/// More reasons than these only tire.
const MAX_REASONS: usize = 3;
/// Candidates with other versions shown.
const MAX_CANDIDATES: usize = 5;

/// What was asked for is not there at all.
pub(super) fn missing(universe: &mut Universe, wanted: &Wanted) -> Problem {
    let asked = Asked {
        capability: wanted.capability.clone(),
        by: wanted.asked_by.clone(),
    };
    let cause = missing_cause(universe, None, wanted.capability.clone());
    Problem {
        asked: vec![asked],
        reasons: vec![Reason {
            chain: Vec::new(),
            other_chain: Vec::new(),
            cause,
        }],
        more: 0,
    }
}

fn missing_cause(
    universe: &mut Universe,
    package: Option<SolvableId>,
    capability: String,
) -> Cause {
    let dependency: Dependency = capability
        .parse()
        .unwrap_or_else(|_| Dependency::new(&capability, None));
    let name = universe.pool.string(dependency.name());
    let mut candidates = universe.pool.providers(name);
    if candidates.is_empty() {
        // Packages for other architectures provide nothing here.
        candidates = universe.all_named(dependency.name());
    }
    let mut candidates: Vec<_> = candidates
        .into_iter()
        .map(|solvable| universe.nevra(solvable))
        .collect();
    candidates.sort_by(|one, other| other.cmp(one));
    candidates.dedup();
    candidates.truncate(MAX_CANDIDATES);
    let help = if candidates.is_empty() && !dependency.is_rich() {
        nearest(universe, dependency.name())
    } else {
        None
    };
    let help = help.into_iter().collect();
    Cause::Missing {
        package: package.map(|package| universe.nevra(package)),
        parts: missing_parts(universe, &dependency),
        capability,
        candidates,
        help,
    }
}

/// The parts of a rich dependency that nothing provides.
fn missing_parts(universe: &mut Universe, dependency: &Dependency) -> Vec<String> {
    let Ok(rich @ Rich::Joined { .. }) = dependency.rich() else {
        return Vec::new();
    };
    let leaves = rich
        .leaves()
        .into_iter()
        .filter(|leaf| !universe.is_provided(leaf));
    leaves.map(Dependency::to_string).collect()
}

fn nearest(universe: &Universe, name: &str) -> Option<Help> {
    let mut nearest = Nearest::new(name);
    for candidate in universe.pool.provided() {
        nearest.consider(&candidate);
    }
    nearest.found().map(Help::Nearest)
}

/// The solver's problems.
pub(super) fn problems(
    universe: &mut Universe,
    request: &Request,
    jobs: &[Job],
    problems: &[Vec<Rule>],
) -> Unsolvable {
    let problems = problems
        .iter()
        .map(|rules| problem(universe, request, jobs, rules))
        .collect();
    Unsolvable { problems }
}

fn problem(universe: &mut Universe, request: &Request, jobs: &[Job], rules: &[Rule]) -> Problem {
    let places: BTreeSet<_> = rules
        .iter()
        .filter_map(|rule| {
            if let Rule::Job(place) = rule {
                Some(*place)
            } else {
                None
            }
        })
        .collect();
    let asked = places
        .iter()
        .filter_map(|place| request.install.get(*place))
        .map(|wanted| Asked {
            capability: wanted.capability.clone(),
            by: wanted.asked_by.clone(),
        });
    let asked: BTreeSet<_> = asked.collect();
    let roots: Vec<_> = places
        .iter()
        .filter_map(|place| jobs.get(*place))
        .flat_map(|job| candidates(universe, job))
        .collect();
    let chains = chains(universe, &roots, rules);
    let mut ends: Vec<_> = rules.iter().filter(|rule| is_end(rule)).collect();
    // The newest packages first: those are the ones the user expects.
    ends.sort_by_cached_key(|rule| {
        (
            rank(rule),
            std::cmp::Reverse(subject(rule).map(|package| universe.nevra(package))),
        )
    });
    let mut reasons: Vec<Reason> = Vec::new();
    let mut more = 0;
    for rule in ends {
        let reason = reason(universe, &chains, rule);
        if reasons.contains(&reason) || mirrored(&reasons, &reason) {
            continue;
        }
        if reasons.len() < MAX_REASONS {
            reasons.push(reason);
        } else {
            more += 1;
        }
    }
    if reasons.is_empty() {
        reasons.push(Reason {
            chain: Vec::new(),
            other_chain: Vec::new(),
            cause: unnamed(universe, &asked),
        });
    }
    Problem {
        asked: asked.into_iter().collect(),
        reasons,
        more,
    }
}

/// The solver puts no name to what is wrong with a rich dependency that was asked for itself.
fn unnamed(universe: &mut Universe, asked: &BTreeSet<Asked>) -> Cause {
    let causes = asked
        .iter()
        .map(|asked| missing_cause(universe, None, asked.capability.clone()));
    let rich = |cause: &Cause| matches!(cause, Cause::Missing { parts, .. } if !parts.is_empty());
    causes.into_iter().find(rich).unwrap_or(Cause::Other)
}

/// Two versions contradict each other both ways round.
fn mirrored(reasons: &[Reason], reason: &Reason) -> bool {
    let Cause::TwoVersions { package, other } = &reason.cause else {
        return false;
    };
    let same = |cause: &Cause| matches!(cause, Cause::TwoVersions { package: a, other: b } if a == other && b == package);
    reasons.iter().any(|known| same(&known.cause))
}

fn candidates(universe: &mut Universe, job: &Job) -> Vec<SolvableId> {
    match job {
        Job::InstallNamed(solvables) | Job::InstallOneOf(solvables) | Job::Favor(solvables) => {
            solvables.clone()
        }
        Job::InstallProvider(id) | Job::MultiVersion(id) => universe.pool.providers(*id),
    }
}

/// How each package in the problem is reached: by which package's which requirement.
type Chains = BTreeMap<SolvableId, Option<(SolvableId, StringId)>>;

fn chains(universe: &mut Universe, roots: &[SolvableId], rules: &[Rule]) -> Chains {
    let mut chains: Chains = roots.iter().map(|root| (*root, None)).collect();
    let mut queue: VecDeque<_> = roots.iter().copied().collect();
    while let Some(package) = queue.pop_front() {
        let requirements = rules.iter().filter_map(|rule| match rule {
            Rule::Requires(source, dependency) if *source == package => Some(*dependency),
            _ => None,
        });
        for dependency in requirements {
            for provider in universe.pool.providers(dependency) {
                if let std::collections::btree_map::Entry::Vacant(entry) = chains.entry(provider) {
                    entry.insert(Some((package, dependency)));
                    queue.push_back(provider);
                }
            }
        }
    }
    chains
}

fn is_end(rule: &Rule) -> bool {
    !matches!(rule, Rule::Job(_) | Rule::Requires(..) | Rule::Other)
}

/// What is missing says more than what is in the way.
fn rank(rule: &Rule) -> u8 {
    match rule {
        Rule::NothingProvides(..) => 0,
        Rule::Conflicts(..) | Rule::SelfConflict(..) => 1,
        Rule::Obsoletes(..) => 2,
        Rule::InferiorArchitecture(_) | Rule::NotInstallable(_) => 3,
        Rule::SameName(..) => 4,
        Rule::Job(_) | Rule::Requires(..) | Rule::Other => 5,
    }
}

fn subject(rule: &Rule) -> Option<SolvableId> {
    match rule {
        Rule::NothingProvides(package, _)
        | Rule::Conflicts(package, ..)
        | Rule::SelfConflict(package, _)
        | Rule::Obsoletes(package, ..)
        | Rule::SameName(package, _)
        | Rule::InferiorArchitecture(package)
        | Rule::NotInstallable(package) => Some(*package),
        Rule::Job(_) | Rule::Requires(..) | Rule::Other => None,
    }
}

fn chain(universe: &mut Universe, chains: &Chains, to: Option<SolvableId>) -> Vec<Link> {
    let mut chain = Vec::new();
    let mut at = to;
    while let Some((package, dependency)) =
        at.and_then(|package| chains.get(&package).copied().flatten())
    {
        chain.push(Link {
            package: universe.nevra(package),
            requires: universe.pool.text(dependency),
        });
        at = Some(package);
    }
    chain.reverse();
    chain
}

fn reason(universe: &mut Universe, chains: &Chains, rule: &Rule) -> Reason {
    let other = match *rule {
        Rule::Conflicts(_, other, _) | Rule::Obsoletes(_, other, _) | Rule::SameName(_, other) => {
            Some(other)
        }
        _ => None,
    };
    let other_chain = chain(universe, chains, other);
    let chain = chain(universe, chains, subject(rule));
    let cause = match *rule {
        Rule::NothingProvides(package, dependency) => {
            let capability = universe.pool.text(dependency);
            missing_cause(universe, Some(package), capability)
        }
        Rule::Conflicts(package, other, dependency) => {
            conflict(universe, package, other, dependency)
        }
        Rule::SelfConflict(package, dependency) => conflict(universe, package, package, dependency),
        Rule::Obsoletes(package, other, _) => Cause::Obsoletes {
            package: universe.nevra(package),
            other: universe.nevra(other),
        },
        Rule::SameName(package, other) => Cause::TwoVersions {
            package: universe.nevra(package),
            other: universe.nevra(other),
        },
        Rule::InferiorArchitecture(package) | Rule::NotInstallable(package) => {
            Cause::Architecture {
                package: universe.nevra(package),
            }
        }
        Rule::Job(_) | Rule::Requires(..) | Rule::Other => Cause::Other,
    };
    Reason {
        chain,
        other_chain,
        cause,
    }
}

fn conflict(
    universe: &mut Universe,
    package: SolvableId,
    other: SolvableId,
    dependency: StringId,
) -> Cause {
    Cause::Conflict {
        package: universe.nevra(package),
        other: universe.nevra(other),
        dependency: universe.pool.text(dependency),
    }
}
