//! What the solver is asked: the template's and the recipe's packages, and what every spec needs.

use crate::documents::Request;
use crate::documents::lock::{BinaryFacts, SpecFacts};
use crate::documents::recipe::Recipe;
use crate::documents::template::Template;
use crate::plan::{self, Binary, Node, PlanError};
use crate::solve::Wanted;

/// What the tools root is asked for.
pub fn tools(template: &Template) -> Vec<Wanted> {
    let asked_by = format!("template {} (tools)", template.name);
    let wanted = |request: &Request| Wanted::package(request.to_string(), asked_by.clone());
    template.tools.iter().map(wanted).collect()
}

/// What the template's own packages are asked for.
pub fn base(template: &Template) -> Vec<Wanted> {
    let asked_by = format!("template {}", template.name);
    let wanted = |request: &Request| Wanted::package(request.to_string(), asked_by.clone());
    template.packages.iter().map(wanted).collect()
}

/// What a root that only reads specs is asked for: the tools and the template's packages, which own the macros.
pub fn specs_root(template: &Template) -> Vec<Wanted> {
    tools(template).into_iter().chain(base(template)).collect()
}

/// What the environment is asked for.
pub fn environment(
    template: &Template,
    recipe: Option<&Recipe>,
    nodes: &[Node],
) -> Result<Vec<Wanted>, PlanError> {
    let mut wanted = specs_root(template);
    if let Some(recipe) = recipe {
        let asked_by = format!("recipe {}", recipe.name);
        wanted.extend(
            recipe
                .packages
                .iter()
                .map(|request| Wanted::package(request.to_string(), asked_by.clone())),
        );
    }
    for node in nodes {
        for (asker, capability) in plan::foreign_requirements(nodes, &node.name)? {
            let asked_by = if asker == node.name {
                format!("package {asker} (BuildRequires)")
            } else {
                format!(
                    "package {asker} (Requires), which is installed to build {}",
                    node.name
                )
            };
            wanted.push(Wanted::dependency(capability, asked_by));
        }
    }
    Ok(wanted)
}

/// What the plan needs to know of a spec.
pub fn node(name: &str, facts: &SpecFacts) -> Node {
    let binary = |binary: &BinaryFacts| {
        let own = binary.nevra.name.clone();
        let others = binary
            .provides
            .iter()
            .filter(|provide| !provide.starts_with(&format!("{own} ")));
        Binary {
            provides: std::iter::once(own.clone())
                .chain(others.cloned())
                .collect(),
            requires: binary.requires.clone(),
        }
    };
    Node {
        name: name.to_owned(),
        build_requires: facts.build_requires.clone(),
        binaries: facts.binaries.iter().map(binary).collect(),
    }
}
