//! What builds use, held against what their specs declare (`docs/declared.md`).
//!
//! The environment holds what every package of the project needs, so that a BuildRequires that is missing shows in
//! no build. What one build used is seen from outside (`backend::Trace`); here its files become packages, and these
//! are held against what is reachable from the spec's BuildRequires and the template's own packages.

use std::collections::{BTreeSet, HashMap};

use crate::backend::Watched;
use crate::documents::config::Trace as Settings;
use crate::resolve::chain;
use crate::rpm::{Gathering, Nevra, PackageFacts};
use crate::solve::Wanted;

mod judge;
mod line;

pub(super) use judge::{Spec, judge};

/// How builds are watched, and what every one of them may use.
#[derive(Debug)]
pub struct Tracing {
    /// What the project file says.
    pub settings: Settings,
    /// What the template asks for.
    pub base: Vec<Wanted>,
    /// What its image or root archive brings.
    pub given: BTreeSet<Nevra>,
}

/// The environment as all builds of a run see it.
#[derive(Debug)]
pub(super) struct Ground<'a> {
    gathering: Gathering<'a>,
    /// What each package requires, by places.
    requires: Vec<BTreeSet<usize>>,
    /// The template's packages and what they need: any build may use them.
    base: BTreeSet<usize>,
    owners: HashMap<&'a str, Vec<usize>>,
    watched: Watched,
}

impl<'a> Ground<'a> {
    pub(super) fn new(installed: &'a [PackageFacts], tracing: &Tracing) -> Self {
        let gathering = Gathering::new(installed.iter().collect());
        let requires = requires(&gathering, installed, |place| place);
        let mut base: BTreeSet<usize> = tracing
            .base
            .iter()
            .flat_map(|wanted| chain::brought(&gathering, wanted))
            .collect();
        let given = installed.iter().enumerate();
        base.extend(
            given
                .filter(|(_, facts)| tracing.given.contains(&facts.nevra))
                .map(|(place, _)| place),
        );
        let mut ground = Self {
            base: reach(&requires, base),
            gathering,
            requires,
            owners: HashMap::new(),
            watched: Watched::default(),
        };
        for (place, facts) in installed.iter().enumerate() {
            // Whether what all may use was only looked for matters to those that declare it all the same.
            let named = !ground.base.contains(&place);
            for path in &facts.files {
                ground.watched.insert(path, named);
                ground.owners.entry(path).or_default().push(place);
            }
        }
        ground
    }

    /// What a build is watched for that asks for this, and for which these packages of the project are installed.
    pub(super) fn watched(&self, asks: &[(String, String)], own: &[&PackageFacts]) -> Watched {
        let mut watched = self.watched.clone();
        let asked: BTreeSet<usize> = asks
            .iter()
            .map(|(requirement, _)| Wanted::dependency(requirement, ""))
            .flat_map(|wanted| chain::brought(&self.gathering, &wanted))
            .filter(|place| self.base.contains(place))
            .collect();
        let asked = asked.iter().map(|place| self.gathering.packages()[*place]);
        for path in asked.flat_map(|facts| &facts.files) {
            watched.insert(path, true);
        }
        for path in own.iter().flat_map(|facts| &facts.files) {
            watched.insert(path, true);
        }
        watched
    }
}

/// For each of `packages` the places of what it requires, as `place` numbers them.
fn requires(
    gathering: &Gathering<'_>,
    packages: &[PackageFacts],
    place: impl Fn(usize) -> usize,
) -> Vec<BTreeSet<usize>> {
    let of = |facts: &PackageFacts| {
        let requirements = facts.requires.iter();
        requirements
            .flat_map(|requirement| chain::leads_to(gathering, &requirement.dependency))
            .map(&place)
            .collect()
    };
    packages.iter().map(of).collect()
}

/// These and all that they require.
fn reach(requires: &[BTreeSet<usize>], from: BTreeSet<usize>) -> BTreeSet<usize> {
    let mut queue: Vec<usize> = from.iter().copied().collect();
    let mut reached = from;
    while let Some(place) = queue.pop() {
        for next in requires.get(place).into_iter().flatten() {
            if reached.insert(*next) {
                queue.push(*next);
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests;
