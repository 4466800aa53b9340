//! What the solver is asked: the template's and the recipe's packages, and what every spec needs.

use crate::documents::Request;
use crate::documents::lock::{BinaryFacts, SpecFacts};
use crate::documents::recipe::Recipe;
use crate::documents::template::Template;
use crate::plan::{self, Binary, Foreign, Node, PlanError};
use crate::resolve::places::Places;
use crate::solve::Wanted;

/// What the tools root is asked for.
pub fn tools(template: &Template, places: &Places) -> Vec<Wanted> {
    let wanted = |request: &Request| {
        let text = request.to_string();
        let place = format!("{} (tools)", places.template(&text));
        Wanted::package(text, place)
    };
    template.tools.iter().map(wanted).collect()
}

/// What the template's own packages are asked for.
pub fn base(template: &Template, places: &Places) -> Vec<Wanted> {
    let wanted = |request: &Request| {
        let text = request.to_string();
        let place = places.template(&text);
        Wanted::package(text, place)
    };
    template.packages.iter().map(wanted).collect()
}

/// What a root that only reads specs is asked for: the tools and the template's packages, which own the macros.
pub fn specs_root(template: &Template, places: &Places) -> Vec<Wanted> {
    let mut wanted = tools(template, places);
    wanted.extend(base(template, places));
    wanted
}

/// What the environment is asked for.
pub fn environment(
    template: &Template,
    recipe: Option<&Recipe>,
    nodes: &[Node],
    places: &Places,
) -> Result<Vec<Wanted>, PlanError> {
    let mut wanted = specs_root(template, places);
    for request in recipe.iter().flat_map(|recipe| &recipe.packages) {
        let text = request.to_string();
        let place = places.recipe(&text);
        wanted.push(Wanted::package(text, place));
    }
    for (name, foreign) in plan::foreign_requirements(nodes)? {
        for Foreign {
            asker,
            capability,
            open,
        } in foreign
        {
            let asked_by = if asker == name {
                places.spec(asker, "BuildRequires", capability)
            } else {
                let place = places.spec(asker, "Requires", capability);
                format!("{place}, which is installed to build {name},")
            };
            wanted.push(Wanted::dependency(open, asked_by));
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
