//! `pristine why`: which request brings a package into the lock.

use crate::commands::context::{Context, Documents};
use crate::documents::Lock;
use crate::documents::lock::FILE;
use crate::error::{Failure, Kind};
use crate::resolve::chain;
use crate::resolve::solving::Offer;
use crate::resolve::{Supply, request};
use crate::rpm::{Dependency, Gathering, PackageFacts};
use crate::solve::{Nearest, Wanted};
use crate::store::Store;
use crate::store::fetch::Fetcher;

/// What both questions about a lock begin with.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) documents: Documents,
    pub(super) lock: Lock,
    pub(super) store: Store,
    fetcher: Fetcher,
}

impl Question {
    pub(super) fn new(context: &Context<'_>) -> Result<Self, Failure> {
        let documents = context.documents()?;
        let lock = Lock::load(&documents.project.directory)?;
        let store = context.store(&documents.project)?;
        let fetcher = context.fetcher(&store);
        Ok(Self {
            documents,
            lock,
            store,
            fetcher,
        })
    }

    pub(super) fn supply<'a>(&'a self, context: &'a Context<'_>) -> Result<Supply<'a>, Failure> {
        Ok(Supply {
            project: &self.documents.project,
            store: &self.store,
            fetcher: &self.fetcher,
            runtime: context.runtime()?,
            sink: context.ui,
            cancel: &context.cancel,
        })
    }

    /// The repositories as the lock saw them.
    pub(super) fn offer(&self, context: &Context<'_>) -> Result<Offer, Failure> {
        let (template, recipe) = (&self.documents.template, self.documents.recipe.as_ref());
        let supply = self.supply(context)?;
        Ok(Offer::of_lock(supply, template, recipe, &self.lock)?)
    }

    /// What the environment of the lock was asked for.
    pub(super) fn wanted(&self, offer: &Offer) -> Result<Vec<Wanted>, Failure> {
        let nodes: Vec<_> = self
            .lock
            .packages
            .iter()
            .map(|package| request::node(package.name.as_str(), &package.facts))
            .collect();
        let (template, recipe) = (&self.documents.template, self.documents.recipe.as_ref());
        let places = self.documents.places();
        let mut wanted = request::environment(template, recipe, &nodes, &places)?;
        wanted.extend(offer.template_groups());
        wanted.extend(offer.recipe_groups());
        let recipes = recipe.iter();
        wanted.extend(recipes.flat_map(|recipe| offer.third_party_requests(recipe.name.as_str())));
        Ok(wanted)
    }
}

pub(super) fn why(context: &Context<'_>, name: &str) -> Result<u8, Failure> {
    let question = Question::new(context)?;
    let mut offer = question.offer(context)?;
    let wanted = question.wanted(&offer)?;
    let facts = offer.facts(question.supply(context)?, &question.lock, &wanted)?;
    let environment = &question.lock.environment.rpms;
    let (inside, tools): (Vec<&PackageFacts>, Vec<&PackageFacts>) = facts
        .iter()
        .partition(|facts| environment.iter().any(|rpm| rpm.nevra == facts.nevra));
    let mut told = tell(context, &inside, &wanted, name, "the environment");
    if !told {
        // The tools' own packages build on those of the environment.
        let all: Vec<&PackageFacts> = tools.into_iter().chain(inside).collect();
        told = tell(context, &all, &wanted, name, "the tools");
    }
    if told {
        return Ok(0);
    }
    let failure = Failure::new(Kind::Input, format!("`{name}` is not in {FILE}"));
    let mut nearest = Nearest::new(name);
    for rpm in question.lock.rpms() {
        nearest.consider(&rpm.nevra.name);
    }
    Err(match nearest.found() {
        Some(nearest) => failure.hint(format!("did you mean `{nearest}`?")),
        None => failure.hint(format!("what keeps it out: pristine why-not {name}")),
    })
}

/// Whether there was anything to tell.
fn tell(
    context: &Context<'_>,
    packages: &[&PackageFacts],
    wanted: &[Wanted],
    name: &str,
    part: &str,
) -> bool {
    let gathering = Gathering::new(packages.to_vec());
    let mut targets = chain::named(&gathering, name);
    if targets.is_empty() {
        let dependency = name.parse().unwrap_or_else(|_| Dependency::new(name, None));
        targets = gathering.providers(&dependency);
    }
    for target in &targets {
        let nevra = &packages[*target].nevra;
        let text = match chain::shortest(&gathering, wanted, *target) {
            Some(chain) => format!("{nevra} is in {part}:\n{chain}"),
            None => format!(
                "{nevra} is in {part}, and nothing that is asked for now leads to it: \
                 what the project asks for has changed since it was locked"
            ),
        };
        context.ui.result(&text);
    }
    !targets.is_empty()
}
