//! `pristine why-not`: what keeps a package out of the lock.

use crate::commands::context::Context;
use crate::commands::why::Question;
use crate::documents::Lock;
use crate::documents::lock::{LockedRpm, Origin};
use crate::error::{Failure, Kind};
use crate::repository::PackageEntry;
use crate::resolve::repositories::Published;
use crate::resolve::solving::Offer;
use crate::resolve::{ResolveError, chain};
use crate::rpm::{Gathering, Nevra, PackageFacts};
use crate::solve::{Hiding, Unsolvable, Wanted};

/// Candidates that are told of.
const MAX_CANDIDATES: usize = 5;

pub(super) fn why_not(context: &Context<'_>, name: &str) -> Result<u8, Failure> {
    let question = Question::new(context)?;
    let mut offer = question.offer(context)?;
    let wanted = question.wanted(&offer)?;
    let locked = question
        .lock
        .rpms()
        .find(|rpm| chain::is_called(&rpm.nevra, name));
    if let Some(rpm) = locked {
        context.ui.result(&format!(
            "{} is in the lock; what brings it: pristine why {}",
            rpm.nevra, rpm.nevra.name
        ));
        return Ok(0);
    }
    let supply = question.supply(context)?;
    let candidates = offer.candidates(supply, name)?;
    let candidates: Vec<Candidate> = candidates
        .into_iter()
        .map(|(entry, part)| Candidate::new(entry, &offer.published()[part]))
        .collect();
    if candidates.is_empty() {
        let failure = Failure::new(Kind::Input, format!("no repository has `{name}`"));
        return Err(match offer.nearest(supply, name)? {
            Some(nearest) => failure.hint(format!("did you mean `{nearest}`?")),
            None => failure,
        });
    }
    let facts = offer.facts(supply, &question.lock, &wanted)?;
    for candidate in candidates.iter().take(MAX_CANDIDATES) {
        context.go_on()?;
        let reason = reason(context, &question, &mut offer, (&wanted, &facts), candidate)?;
        let shown = &candidate.entry.facts.nevra;
        context
            .ui
            .result(&format!("{shown} of {}: {reason}", candidate.repository));
    }
    if let Some(more) = candidates.len().checked_sub(MAX_CANDIDATES + 1) {
        context.ui.result(&format!("and {} more", more + 1));
    }
    Ok(0)
}

/// A package that could have been in the lock.
struct Candidate {
    entry: PackageEntry,
    repository: String,
    priority: u32,
    hidden: Option<Hiding>,
}

impl Candidate {
    fn new(entry: PackageEntry, published: &Published) -> Self {
        Self {
            hidden: published.hides(&entry),
            repository: published.repository.name.to_string(),
            priority: published.repository.priority,
            entry,
        }
    }
}

/// Why one package is not in the lock.
fn reason(
    context: &Context<'_>,
    question: &Question,
    offer: &mut Offer,
    (wanted, facts): (&[Wanted], &[PackageFacts]),
    candidate: &Candidate,
) -> Result<String, Failure> {
    let nevra = &candidate.entry.facts.nevra;
    if let Some(hidden) = &candidate.hidden {
        return Ok(hidden.to_string());
    }
    if question.lock.rpm(nevra).is_some() {
        return Ok(format!(
            "it is in the lock; what brings it: pristine why {}",
            nevra.name
        ));
    }
    let supply = question.supply(context)?;
    let mut with_it = wanted.to_vec();
    with_it.push(Wanted::package(nevra.to_string(), "this question"));
    match offer.solve(supply, "it and the rest", with_it, &[]) {
        Err(ResolveError::Unsolvable { why, .. }) => return Ok(forbidden(&why)),
        Err(error) => return Err(error.into()),
        Ok(_) => {}
    }
    let same_name = |rpm: &&LockedRpm| rpm.nevra.name == nevra.name;
    let Some(rpm) = question.lock.rpms().find(same_name) else {
        return Ok(not_asked_for(facts, candidate));
    };
    let newest = offer.solve(supply, "what the project needs", wanted.to_vec(), &[])?;
    if newest.install.iter().any(|rpm| rpm.nevra == *nevra) {
        return Ok(format!(
            "the lock stays with {}; to take it: pristine update {}",
            rpm.nevra, nevra.name
        ));
    }
    Ok(better(&question.lock, offer, candidate, rpm))
}

fn forbidden(why: &Unsolvable) -> String {
    let lines: Vec<String> = why.problems.iter().map(ToString::to_string).collect();
    format!("it is forbidden:\n  {}", lines.join("\n  "))
}

/// Nothing forbids it: whether somebody could have chosen it.
fn not_asked_for(facts: &[PackageFacts], candidate: &Candidate) -> String {
    let gathering = Gathering::new(facts.iter().collect());
    let alone = Gathering::new(vec![&candidate.entry.facts]);
    for package in facts {
        for requirement in &package.requires {
            let Ok(rich) = requirement.dependency.rich() else {
                continue;
            };
            let met = rich
                .leaves()
                .into_iter()
                .any(|leaf| !alone.providers(leaf).is_empty());
            let chosen = rich
                .leaves()
                .into_iter()
                .find_map(|leaf| gathering.providers(leaf).first().copied());
            if let Some(chosen) = chosen.filter(|_| met) {
                return format!(
                    "nothing forbids it; {} requires `{requirement}`, for which {} was chosen",
                    package.nevra, facts[chosen].nevra
                );
            }
        }
    }
    "nothing forbids it, and nothing asks for it: add it to the template, the recipe or a spec"
        .to_owned()
}

/// Why another package of the same name was chosen.
fn better(lock: &Lock, offer: &Offer, candidate: &Candidate, rpm: &LockedRpm) -> String {
    let nevra = &candidate.entry.facts.nevra;
    let chosen = &rpm.nevra;
    let origin = match &rpm.origin {
        Origin::Repository { name, .. } => lock.repository(name),
        Origin::Url(_) => None,
    };
    let Some(origin) = origin else {
        return format!("the recipe asks for {chosen}");
    };
    let priority = offer.priority(origin.name.as_str()).unwrap_or_default();
    if priority < candidate.priority {
        return format!(
            "{chosen} was chosen, whose repository {} has priority {priority}, and {} has {}: the lower number wins",
            origin.name, candidate.repository, candidate.priority
        );
    }
    better_version(nevra, chosen)
}

fn better_version(nevra: &Nevra, chosen: &Nevra) -> String {
    match chosen.compare_evr(nevra) {
        std::cmp::Ordering::Greater => format!("{chosen} was chosen, which is newer"),
        std::cmp::Ordering::Equal => {
            format!("{chosen} was chosen, which fits the machine better")
        }
        std::cmp::Ordering::Less => {
            format!("{chosen} was chosen, since a request or a requirement asks for that version")
        }
    }
}
