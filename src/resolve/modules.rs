//! Which packages the modules of the repositories hide, as libdnf decides it.
//!
//! A stream is active when the template enables it or its module has it as the default, and what it requires
//! is there; what it requires may make further streams active. Packages of all other streams are hidden,
//! and so are packages of no module that have, or provide, the name of a package of an active stream.

use std::collections::{BTreeMap, BTreeSet};

use crate::documents::template::Template;
use crate::events::Event;
use crate::repository::{Modules, PackageEntry, Stream};
use crate::resolve::ResolveError;
use crate::resolve::groups::nearest;
use crate::rpm::{Dependency, Nevra, PackageFacts, Requirement};
use crate::solve::{Hiding, Preference, Request, Universe, Unsolvable, Wanted};

/// What a template says of modules.
#[derive(Debug)]
struct Choice<'a> {
    /// Modules that are enabled, with the stream of each.
    enabled: BTreeMap<&'a str, &'a str>,
    /// Modules that do not exist for this environment.
    disabled: BTreeSet<&'a str>,
}

/// What is hidden, to be asked package by package.
#[derive(Debug, Default)]
pub struct Filter {
    /// Packages of active streams, by full name.
    included: BTreeSet<String>,
    /// Packages of other streams, by full name, with the stream.
    excluded: BTreeMap<String, String>,
    /// Names of packages of active streams, with the stream.
    names: BTreeMap<String, String>,
}

impl Filter {
    /// Decides for `modules`, of which `entries` are the packages of all repositories.
    pub fn new<'a>(
        template: &Template,
        modules: &Modules,
        entries: impl Iterator<Item = &'a PackageEntry>,
        warn: &dyn Fn(Event),
    ) -> Result<Self, ResolveError> {
        let choice = Choice::of(template, modules)?;
        if modules.streams.is_empty() {
            return Ok(Self::default());
        }
        let platform = match &template.module_platform {
            Some(platform) => Some(platform.to_string()),
            None => platform(entries),
        };
        let active = choice.active(template, modules, platform.as_deref(), warn)?;
        Ok(Self::of(modules, &active))
    }

    /// `active` holds streams as [`solvables`] names them.
    fn of(modules: &Modules, active: &BTreeSet<String>) -> Self {
        let mut filter = Self::default();
        let solvables = solvables(modules);
        let gone = demodularized(modules, &solvables, active);
        for (stream, name) in modules.streams.iter().zip(&solvables) {
            let is_active = active.contains(name);
            let gone = gone.get(&(&stream.name, &stream.stream, &stream.arch));
            for artifact in &stream.artifacts {
                // libdnf passes over what is no full name, too.
                let Ok(nevra) = artifact.parse::<Nevra>() else {
                    continue;
                };
                let stream = || format!("{}:{}", stream.name, stream.stream);
                if !is_active {
                    let known = filter.excluded.entry(nevra.to_string());
                    known.or_insert_with(stream);
                    continue;
                }
                let left = gone.is_some_and(|gone| gone.contains(nevra.name.as_str()));
                if !left && !matches!(nevra.arch.as_str(), "src" | "nosrc") {
                    let known = filter.names.entry(nevra.name.clone());
                    known.or_insert_with(stream);
                }
                filter.included.insert(nevra.to_string());
            }
        }
        filter
    }

    /// What hides a package, where something does; packages of repositories with `module_hotfixes` are not asked for.
    pub fn hides(&self, facts: &PackageFacts) -> Option<Hiding> {
        if self.excluded.is_empty() && self.names.is_empty() {
            return None;
        }
        let nevra = facts.nevra.to_string();
        if self.included.contains(&nevra) {
            return None;
        }
        if let Some(stream) = self.excluded.get(&nevra) {
            return Some(Hiding::Inactive(stream.clone()));
        }
        let mut names = facts.provides.iter().map(Dependency::name);
        let active = self.names.get(&facts.nevra.name);
        let active = active.or_else(|| names.find_map(|name| self.names.get(name)));
        active.map(|stream| Hiding::Active(stream.clone()))
    }
}

impl<'a> Choice<'a> {
    fn of(template: &'a Template, modules: &Modules) -> Result<Self, ResolveError> {
        let mut choice = Self {
            enabled: BTreeMap::new(),
            disabled: BTreeSet::new(),
        };
        let names = || modules.streams.iter().map(|stream| stream.name.as_str());
        for wanted in &template.modules {
            let (name, stream) = wanted.parts();
            if !names().any(|known| known == name) {
                return Err(ResolveError::Unknown {
                    what: "module",
                    name: name.to_owned(),
                    nearest: nearest(name, names()),
                });
            }
            let Some(stream) = stream else {
                choice.disabled.insert(name);
                continue;
            };
            let mut streams = modules.streams.iter().filter(|known| known.name == name);
            if !streams.clone().any(|known| known.stream == stream) {
                let known: BTreeSet<&str> = streams
                    .by_ref()
                    .map(|known| known.stream.as_str())
                    .collect();
                return Err(ResolveError::Unknown {
                    what: "stream of a module",
                    name: wanted.to_string(),
                    nearest: known
                        .into_iter()
                        .map(|stream| format!("{name}:{stream}"))
                        .collect(),
                });
            }
            if let Some(other) = choice.enabled.insert(name, stream) {
                return Err(ResolveError::TwoStreams {
                    name: name.to_owned(),
                    streams: [other.to_owned(), stream.to_owned()],
                });
            }
        }
        Ok(choice)
    }

    /// The streams that are active, as [`solvables`] names them.
    fn active(
        &self,
        template: &Template,
        modules: &Modules,
        platform: Option<&str>,
        warn: &dyn Fn(Event),
    ) -> Result<BTreeSet<String>, ResolveError> {
        let mut solver = StreamSolver::new(template, modules, &self.disabled, platform)?;
        let asked_by = format!("template {} (modules)", template.name);
        let enabled: Vec<Wanted> = self
            .enabled
            .iter()
            .map(|(name, stream)| {
                Wanted::dependency(format!("module({name}:{stream})"), &*asked_by)
            })
            .collect();
        let defaults = modules.defaults.iter().filter_map(|(name, stream)| {
            let stream = stream.as_ref()?;
            let free =
                !self.enabled.contains_key(name.as_str()) && !self.disabled.contains(name.as_str());
            let known = modules
                .streams
                .iter()
                .any(|known| known.name == *name && known.stream == *stream);
            let wanted = || Wanted::dependency(format!("module({name}:{stream})"), "a default");
            (free && known).then(wanted)
        });
        let defaults: Vec<Wanted> = defaults.collect();
        let everything = [enabled.clone(), defaults.clone()].concat();
        if let Ok(active) = solver.solve(everything) {
            return Ok(active);
        }
        // Something does not go together: what the template enables must, defaults come as far as they can.
        let mut kept = enabled;
        let mut active = solver
            .solve(kept.clone())
            .map_err(|why| ResolveError::Unsolvable {
                what: "the modules of the template",
                why,
            })?;
        for default in defaults {
            kept.push(default);
            if let Ok(more) = solver.solve(kept.clone()) {
                active = more;
                continue;
            }
            let left = kept.pop().map(|wanted| wanted.capability);
            let text = format!(
                "the default stream {} is not used: what it requires is not there, or in the way of another",
                left.unwrap_or_default()
            );
            warn(Event::Warning { text });
        }
        Ok(active)
    }
}

/// Streams as packages: libdnf's own way to find out which go together.
struct StreamSolver {
    universe: Universe,
    names: Vec<String>,
    platform: Vec<Dependency>,
}

impl StreamSolver {
    fn new(
        template: &Template,
        modules: &Modules,
        disabled: &BTreeSet<&str>,
        platform: Option<&str>,
    ) -> Result<Self, ResolveError> {
        let mut universe = Universe::new(template.architecture.as_str())?;
        let streams = modules.streams.iter().zip(solvables(modules));
        let packages: Vec<PackageFacts> = streams
            .filter(|(stream, _)| !disabled.contains(stream.name.as_str()))
            .map(|(stream, name)| package(stream, &name))
            .collect();
        universe.add_repository("modules", Preference::default(), &packages);
        let provided = platform.into_iter().flat_map(|platform| {
            let name = platform.split_once(':').map_or(platform, |(name, _)| name);
            [format!("module({name})"), format!("module({platform})")]
        });
        Ok(Self {
            universe,
            names: packages.into_iter().map(|one| one.nevra.name).collect(),
            platform: provided.map(|text| Dependency::new(&text, None)).collect(),
        })
    }

    fn solve(&mut self, install: Vec<Wanted>) -> Result<BTreeSet<String>, Unsolvable> {
        let request = Request {
            install,
            exclude: self.platform.clone(),
            ..Request::default()
        };
        let solution = self.universe.solve(&request)?;
        let chosen = solution.packages.iter();
        Ok(chosen
            .map(|selected| self.names[selected.package].clone())
            .collect())
    }
}

/// What names each stream for the solver, in their order: streams of one name are active together.
///
/// As in libdnf these are the versions of a stream that require the same modules, whatever platform they were
/// built for; a context that is no hash stands for its own.
fn solvables(modules: &Modules) -> Vec<String> {
    let requires = |stream: &Stream| {
        let others = stream
            .requires
            .iter()
            .filter(|(name, _)| name != "platform");
        let mut texts: Vec<String> = others
            .map(|(name, streams)| {
                let mut streams = streams.clone();
                streams.sort();
                if streams.is_empty() {
                    name.clone()
                } else {
                    format!("{name}:[{}]", streams.join(","))
                }
            })
            .collect();
        texts.sort();
        if texts.is_empty() {
            "NoRequires".to_owned()
        } else {
            texts.join(";")
        }
    };
    let mut named: BTreeMap<(&str, &str, String), &str> = BTreeMap::new();
    for stream in modules
        .streams
        .iter()
        .filter(|stream| stream.static_context)
    {
        named
            .entry((&stream.name, &stream.stream, requires(stream)))
            .or_insert(&stream.context);
    }
    let solvable = |stream: &Stream| {
        let requires = requires(stream);
        let context = if stream.static_context {
            stream.context.clone()
        } else {
            let key = (stream.name.as_str(), stream.stream.as_str(), requires);
            let known = named.get(&key).map(|context| (*context).to_owned());
            known.unwrap_or(key.2)
        };
        format!("{}:{}:{context}", stream.name, stream.stream)
    };
    modules.streams.iter().map(solvable).collect()
}

/// A stream as a package `name`. One stream of a module excludes all others.
fn package(stream: &Stream, name: &str) -> PackageFacts {
    let own = format!("module({})", stream.name);
    let arch = if stream.arch.is_empty() {
        "noarch"
    } else {
        &stream.arch
    };
    let mut facts = PackageFacts::new(Nevra {
        name: name.to_owned(),
        epoch: 0,
        version: stream.version.to_string(),
        release: "0".to_owned(),
        arch: arch.to_owned(),
    });
    let plain = |text: &str| Dependency::new(text, None);
    facts.provides = vec![
        plain(&own),
        plain(&format!("module({}:{})", stream.name, stream.stream)),
    ];
    facts.conflicts = vec![plain(&own)];
    for (module, streams) in &stream.requires {
        let (not, any): (Vec<_>, Vec<_>) =
            streams.iter().partition(|stream| stream.starts_with('-'));
        let capability = |stream: &str| format!("module({module}:{stream})");
        for stream in not {
            facts.conflicts.push(plain(&capability(&stream[1..])));
        }
        let required = match any.as_slice() {
            [] => format!("module({module})"),
            [one] => capability(one),
            several => {
                let several: Vec<_> = several.iter().map(|one| capability(one)).collect();
                format!("({})", several.join(" or "))
            }
        };
        facts.requires.push(Requirement {
            dependency: required.parse().unwrap_or_else(|_| plain(&required)),
            pre: false,
        });
    }
    facts
}

/// The names that left a stream, as its newest active versions say.
fn demodularized<'a>(
    modules: &'a Modules,
    solvables: &'a [String],
    active: &BTreeSet<String>,
) -> BTreeMap<(&'a String, &'a String, &'a String), BTreeSet<&'a str>> {
    let mut newest: BTreeMap<&String, u64> = BTreeMap::new();
    let streams = || modules.streams.iter().zip(solvables);
    for (stream, name) in streams() {
        let version = newest.entry(name).or_default();
        *version = stream.version.max(*version);
    }
    let mut gone: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
    for (stream, name) in streams() {
        if active.contains(name) && newest.get(name) == Some(&stream.version) {
            let names = stream.demodularized.iter().map(String::as_str);
            gone.entry((&stream.name, &stream.stream, &stream.arch))
                .or_default()
                .extend(names);
        }
    }
    gone
}

/// What the distribution's release package says that its platform is; `None` where that is not clear.
fn platform<'a>(entries: impl Iterator<Item = &'a PackageEntry>) -> Option<String> {
    let releases = entries.filter(|entry| {
        let mut provides = entry.facts.provides.iter();
        provides.any(|provide| provide.name() == "system-release")
    });
    let mut newest: BTreeMap<&str, &PackageFacts> = BTreeMap::new();
    for entry in releases {
        let facts = &entry.facts;
        let known = newest.entry(facts.nevra.name.as_str()).or_insert(facts);
        if facts.nevra.compare_evr(&known.nevra).is_gt() {
            *known = facts;
        }
    }
    let provides = newest.values().flat_map(|facts| &facts.provides);
    let platforms: BTreeSet<&str> = provides
        .filter_map(|provide| {
            provide
                .name()
                .strip_prefix("base-module(")?
                .strip_suffix(')')
        })
        .collect();
    match platforms.into_iter().collect::<Vec<_>>().as_slice() {
        [one] => Some((*one).to_owned()),
        _ => None,
    }
}
