//! The template's repositories, read; what modules hide taken away, groups turned into requests.

use std::collections::BTreeSet;

use crate::documents::recipe::Recipe;
use crate::documents::template::Template;
use crate::documents::{GroupName, Name};
use crate::repository::{Comps, Modules};
use crate::resolve::groups::Groups;
use crate::resolve::modules::Filter;
use crate::resolve::repositories::Published;
use crate::resolve::{ResolveError, Supply};
use crate::solve::Wanted;

/// Reads the template's repositories; those that cannot be reached and may be left out come by name.
pub(super) fn repositories(
    supply: Supply<'_>,
    template: &Template,
) -> Result<(Vec<Published>, Vec<Name>), ResolveError> {
    let mut read = Vec::new();
    let mut left_out = Vec::new();
    for repository in &template.repositories {
        match super::repositories::read(supply, template, repository)? {
            Some(one) => read.push(one),
            None => left_out.push(repository.name.clone()),
        }
    }
    Ok((read, left_out))
}

/// Takes away what modules hide.
pub(super) fn hide_modules(
    supply: Supply<'_>,
    template: &Template,
    read: &mut [Published],
) -> Result<(), ResolveError> {
    let mut modules = Modules::default();
    for one in &mut *read {
        modules.merge(one.modules(supply)?);
    }
    let entries = read.iter().flat_map(|one| &one.entries);
    let filter = Filter::new(template, &modules, entries, &|event| {
        supply.sink.emit(event);
    })?;
    for one in read {
        one.apply(&filter);
    }
    Ok(())
}

/// What the groups of template and recipe ask for; comps are read only where there are any.
pub(super) fn groups(
    supply: Supply<'_>,
    template: &Template,
    recipe: Option<&Recipe>,
    read: &mut [Published],
) -> Result<(Vec<Wanted>, Vec<Wanted>), ResolveError> {
    let of_recipe = recipe.map_or(&[][..], |recipe| &recipe.groups);
    if template.groups.is_empty() && of_recipe.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let mut comps = Comps::default();
    for one in &mut *read {
        comps.merge(one.comps(supply)?);
    }
    let entries = read.iter().flat_map(|one| &one.entries);
    let names: BTreeSet<&str> = entries
        .map(|entry| entry.facts.nevra.name.as_str())
        .collect();
    let groups = Groups {
        comps: &comps,
        kinds: &template.group_packages,
        arch: template.architecture.as_str(),
    };
    let wanted = |asked: &[GroupName], asked_by: &str| {
        groups.wanted(asked, asked_by, &|name| names.contains(name), &|event| {
            supply.sink.emit(event);
        })
    };
    let recipe_name = recipe.map_or_else(String::new, |recipe| format!("recipe {}", recipe.name));
    Ok((
        wanted(&template.groups, &format!("template {}", template.name))?,
        wanted(of_recipe, &recipe_name)?,
    ))
}
