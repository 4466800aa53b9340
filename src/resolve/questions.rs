//! What `why` and `why-not` ask of the repositories.

use std::collections::BTreeSet;

use crate::documents::lock::{Lock, Origin};
use crate::repository::PackageEntry;
use crate::resolve::repositories::Published;
use crate::resolve::solving::Offer;
use crate::resolve::{ResolveError, Supply, advice, chain};
use crate::rpm::{Dependency, Gathering, Nevra, PackageFacts};
use crate::solve::Wanted;

impl Offer {
    /// What the packages of a lock say of themselves, and the paths among their files that others require;
    /// `wanted` is what the lock was solved for. What no repository has any more is left out.
    pub fn facts(
        &mut self,
        supply: Supply<'_>,
        lock: &Lock,
        wanted: &[Wanted],
    ) -> Result<Vec<PackageFacts>, ResolveError> {
        let texts: Vec<&str> = wanted
            .iter()
            .map(|wanted| wanted.capability.as_str())
            .collect();
        let mut view = self.view(supply, &texts)?;
        for (part, place, paths) in &view.owners {
            let files = &mut view.parts[*part][*place].facts.files;
            files.extend(paths.iter().cloned());
        }
        let mut facts = Vec::new();
        for (one, entries) in self.published.iter().zip(view.parts) {
            let from_here = |nevra: &Nevra| {
                lock.rpm(nevra).is_some_and(|rpm| match &rpm.origin {
                    Origin::Repository { name, .. } => *name == one.repository.name,
                    Origin::Url(_) => false,
                })
            };
            let entries = entries.into_iter().map(|entry| entry.facts);
            facts.extend(entries.filter(|facts| from_here(&facts.nevra)));
        }
        let outside = self.third_party().cloned();
        facts.extend(outside.filter(|facts| lock.rpm(&facts.nevra).is_some()));
        Ok(facts)
    }

    /// All packages of all repositories, hidden ones too, that are called `text` or provide it, the newest first;
    /// each with the place of its repository among `published`.
    pub fn candidates(
        &mut self,
        supply: Supply<'_>,
        text: &str,
    ) -> Result<Vec<(PackageEntry, usize)>, ResolveError> {
        self.mended(supply, |offer| offer.try_candidates(text))
    }

    fn try_candidates(&self, text: &str) -> Result<Vec<(PackageEntry, usize)>, ResolveError> {
        let dependency = text.parse().unwrap_or_else(|_| Dependency::new(text, None));
        let (mut called, mut providing) = (Vec::new(), Vec::new());
        let mut names = vec![dependency.name()];
        names.extend(text.match_indices('-').map(|(at, _)| &text[..at]));
        names.extend(text.match_indices('.').map(|(at, _)| &text[..at]));
        for (part, one) in self.published.iter().enumerate() {
            let mut numbers = BTreeSet::new();
            for name in &names {
                numbers.extend(one.index.packages_of(name)?);
            }
            for number in numbers {
                let entry = one.index.entry(number)?;
                let alone = Gathering::new(vec![&entry.facts]);
                if chain::is_called(&entry.facts.nevra, text) {
                    called.push((entry, part));
                } else if !alone.providers(&dependency).is_empty() {
                    providing.push((entry, part));
                }
            }
        }
        let mut found = if called.is_empty() { providing } else { called };
        found.sort_by(|(one, _), (other, _)| other.facts.cmp(&one.facts));
        Ok(found)
    }

    /// The repositories, in the template's order.
    pub fn published(&self) -> &[Published] {
        &self.published
    }

    /// The capability of any repository that is most like `name`, where one is like it at all.
    pub fn nearest(
        &mut self,
        supply: Supply<'_>,
        name: &str,
    ) -> Result<Option<String>, ResolveError> {
        self.mended(supply, |offer| advice::nearest(offer, name))
    }

    /// The priority of the repository of that name.
    pub fn priority(&self, name: &str) -> Option<u32> {
        let mut published = self.published.iter();
        let found = published.find(|one| one.repository.name.as_str() == name)?;
        Some(found.repository.priority)
    }
}
