//! Whether a lock still fits the project: what changed since it was made, in words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Lock, LockedDocument, LockedPackage, SpecFacts};
use crate::digest::Digest;
use crate::documents::values::{Name, RelativePath, Url};

/// What a project is now, to hold its lock against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    /// The template.
    pub template: LockedDocument,
    /// The recipe.
    pub recipe: Option<LockedDocument>,
    /// `Project::requests`.
    pub requests: Vec<String>,
    /// The packages by name.
    pub packages: BTreeMap<Name, SpecInput>,
}

/// A spec file as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecInput {
    /// The spec file.
    pub spec: RelativePath,
    /// Its digest.
    pub digest: Digest,
    /// What it says, where it has been read. A spec with another digest that says the same
    /// (a comment, a description) is no drift; one that was not read is.
    pub reading: Option<SpecReading>,
}

/// What a spec says, as the environment's own rpm reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecReading {
    /// Version, dependencies and packages.
    pub facts: SpecFacts,
    /// Its sources and patches in the order of the spec.
    pub sources: Vec<SourceFile>,
}

/// A source or patch as a spec names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// The file's name.
    pub file: String,
    /// Where it is to be fetched from; `None` where it lies beside the spec.
    pub url: Option<Url>,
}

/// One thing that changed since the lock was made: what, and how.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Drift {
    /// The file that changed.
    pub file: String,
    /// What about it.
    pub change: String,
}

impl Drift {
    fn new(file: impl fmt::Display, change: impl Into<String>) -> Self {
        Self {
            file: file.to_string(),
            change: change.into(),
        }
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.change)
    }
}

/// What differs between `inputs` and what `lock` was made from.
pub(super) fn check(lock: &Lock, inputs: &Inputs) -> Vec<Drift> {
    let mut drifts = Vec::new();
    document(
        &mut drifts,
        "template",
        Some(&lock.inputs.template),
        Some(&inputs.template),
    );
    document(
        &mut drifts,
        "recipe",
        lock.inputs.recipe.as_ref(),
        inputs.recipe.as_ref(),
    );
    let project = crate::documents::config::FILE;
    gained_and_lost(
        &mut drifts,
        project,
        "",
        &lock.inputs.requests,
        &inputs.requests,
    );
    let locked: BTreeMap<&Name, &LockedPackage> = lock
        .packages
        .iter()
        .map(|package| (&package.name, package))
        .collect();
    for (name, now) in &inputs.packages {
        match locked.get(name) {
            Some(was) => spec(&mut drifts, was, now),
            None => drifts.push(Drift::new(
                &now.spec,
                format!("the package `{name}` is new"),
            )),
        }
    }
    for (name, was) in locked {
        if !inputs.packages.contains_key(name) {
            drifts.push(Drift::new(
                &was.spec,
                format!("the package `{name}` is gone"),
            ));
        }
    }
    drifts
}

fn document(
    drifts: &mut Vec<Drift>,
    kind: &str,
    was: Option<&LockedDocument>,
    now: Option<&LockedDocument>,
) {
    let project = crate::documents::config::FILE;
    match (was, now) {
        (Some(was), Some(now)) if was.name != now.name => {
            drifts.push(Drift::new(
                project,
                format!("the {kind} is `{}`, was `{}`", now.name, was.name),
            ));
        }
        (Some(was), Some(now)) if was.digest != now.digest => {
            drifts.push(Drift::new(format!("{kind} `{}`", now.name), "changed"));
        }
        (None, Some(now)) => drifts.push(Drift::new(
            project,
            format!("gained the {kind} `{}`", now.name),
        )),
        (Some(was), None) => drifts.push(Drift::new(
            project,
            format!("lost the {kind} `{}`", was.name),
        )),
        _ => {}
    }
}

fn spec(drifts: &mut Vec<Drift>, was: &LockedPackage, now: &SpecInput) {
    if was.spec != now.spec {
        drifts.push(Drift::new(&now.spec, format!("moved from {}", was.spec)));
    }
    if was.digest == now.digest {
        return;
    }
    let Some(SpecReading { facts, sources }) = &now.reading else {
        drifts.push(Drift::new(&now.spec, "changed"));
        return;
    };
    if was.facts.nevra != facts.nevra {
        let (from, to) = (was.facts.nevra.evr(), facts.nevra.evr());
        drifts.push(Drift::new(
            &now.spec,
            format!("version changed from {from} to {to}"),
        ));
    }
    if was.facts.changelog != facts.changelog {
        let change = if facts.changelog { "gained" } else { "lost" };
        drifts.push(Drift::new(&now.spec, format!("{change} its change log")));
    }
    gained_and_lost(
        drifts,
        now.spec.as_str(),
        "BuildRequires ",
        &was.facts.build_requires,
        &facts.build_requires,
    );
    let text =
        |file: &str, url: Option<&Url>| url.map_or_else(|| file.to_owned(), ToString::to_string);
    let before: Vec<String> = was
        .sources
        .iter()
        .map(|source| {
            text(
                &source.file,
                source.remote.as_ref().map(|remote| &remote.url),
            )
        })
        .collect();
    let after: Vec<String> = sources
        .iter()
        .map(|source| text(&source.file, source.url.as_ref()))
        .collect();
    gained_and_lost(drifts, now.spec.as_str(), "sources ", &before, &after);
    binaries(drifts, &now.spec, &was.facts, facts);
}

/// Names of packages, and their dependencies; versions follow the version, which was compared.
fn binaries(drifts: &mut Vec<Drift>, spec: &RelativePath, was: &SpecFacts, now: &SpecFacts) {
    let names = |facts: &SpecFacts| {
        facts
            .binaries
            .iter()
            .map(|binary| format!("{}.{}", binary.nevra.name, binary.nevra.arch))
            .collect::<Vec<_>>()
    };
    gained_and_lost(drifts, spec.as_str(), "packages ", &names(was), &names(now));
    for binary in &now.binaries {
        let key = (&binary.nevra.name, &binary.nevra.arch);
        let Some(before) = was
            .binaries
            .iter()
            .find(|other| (&other.nevra.name, &other.nevra.arch) == key)
        else {
            continue;
        };
        let own_version = was.nevra != now.nevra;
        if !own_version {
            gained_and_lost(
                drifts,
                spec.as_str(),
                &format!("Provides of {} ", binary.nevra.name),
                &before.provides,
                &binary.provides,
            );
        }
        gained_and_lost(
            drifts,
            spec.as_str(),
            &format!("Requires of {} ", binary.nevra.name),
            &before.requires,
            &binary.requires,
        );
    }
}

fn gained_and_lost(
    drifts: &mut Vec<Drift>,
    file: &str,
    what: &str,
    was: &[String],
    now: &[String],
) {
    let (was, now): (BTreeSet<&String>, BTreeSet<&String>) =
        (was.iter().collect(), now.iter().collect());
    drifts.extend(
        now.difference(&was)
            .map(|item| Drift::new(file, format!("{what}gained `{item}`"))),
    );
    drifts.extend(
        was.difference(&now)
            .map(|item| Drift::new(file, format!("{what}lost `{item}`"))),
    );
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    /// What the sample lock was made from.
    fn inputs(lock: &Lock) -> Inputs {
        let input = |package: &LockedPackage| SpecInput {
            spec: package.spec.clone(),
            digest: package.digest,
            reading: None,
        };
        Inputs {
            template: lock.inputs.template.clone(),
            recipe: lock.inputs.recipe.clone(),
            requests: lock.inputs.requests.clone(),
            packages: lock
                .packages
                .iter()
                .map(|package| (package.name.clone(), input(package)))
                .collect(),
        }
    }

    /// The drift after `change`, a line each.
    fn drift(change: impl FnOnce(&mut Inputs)) -> String {
        let lock = sample::lock();
        let mut inputs = inputs(&lock);
        change(&mut inputs);
        let lines: Vec<String> = lock.check(&inputs).iter().map(Drift::to_string).collect();
        lines.join("\n")
    }

    fn zlib(inputs: &mut Inputs) -> &mut SpecInput {
        inputs
            .packages
            .get_mut(&"zlib".parse::<Name>().unwrap())
            .unwrap()
    }

    /// zlib's spec with other bytes, read: `change` is what they say.
    fn reread(change: impl FnOnce(&mut SpecReading)) -> String {
        drift(|inputs| {
            let was = sample::package("zlib", &["make", "gcc"]);
            let sources = was.sources.iter().map(|source| SourceFile {
                file: source.file.clone(),
                url: source.remote.as_ref().map(|remote| remote.url.clone()),
            });
            let mut reading = SpecReading {
                sources: sources.collect(),
                facts: was.facts,
            };
            change(&mut reading);
            zlib(inputs).digest = Digest::of(b"edited");
            zlib(inputs).reading = Some(reading);
        })
    }

    #[test]
    fn nothing_changed() {
        assert_eq!(drift(|_| ()), "");
        assert_eq!(
            reread(|_| ()),
            "",
            "a comment in a spec makes no lock stale"
        );
    }

    #[test]
    fn documents_change() {
        insta::assert_snapshot!(drift(|inputs| inputs.template.digest = Digest::of(b"edited")), @"template `mini`: changed");
        insta::assert_snapshot!(drift(|inputs| inputs.template.name = "other".parse().unwrap()), @"pristine.toml: the template is `other`, was `mini`");
        insta::assert_snapshot!(drift(|inputs| inputs.recipe = None), @"pristine.toml: lost the recipe `base`");
        insta::assert_snapshot!(drift(|inputs| inputs.requests = vec!["zlib with docs".to_owned()]), @"
        pristine.toml: gained `zlib with docs`
        pristine.toml: lost `zlib with tests`
        ");
    }

    #[test]
    fn packages_come_and_go() {
        let text = drift(|inputs| {
            let mut input = inputs.packages.pop_last().unwrap().1;
            input.spec = "packages/xz/xz.spec".parse().unwrap();
            inputs.packages.insert("xz".parse().unwrap(), input);
        });
        insta::assert_snapshot!(text, @"
        packages/xz/xz.spec: the package `xz` is new
        packages/zlib/zlib.spec: the package `zlib` is gone
        ");
    }

    #[test]
    fn specs_change() {
        insta::assert_snapshot!(drift(|inputs| zlib(inputs).digest = Digest::of(b"edited")), @"packages/zlib/zlib.spec: changed");
        let text = reread(|reading| {
            reading.facts.build_requires = vec!["gcc".to_owned(), "cmake".to_owned()];
            reading.facts.binaries[0].requires.push("glibc".to_owned());
            reading.facts.binaries[0]
                .provides
                .push("libz.so.1".to_owned());
            reading.sources[1].file = "other.patch".to_owned();
        });
        insta::assert_snapshot!(text, @"
        packages/zlib/zlib.spec: BuildRequires gained `cmake`
        packages/zlib/zlib.spec: BuildRequires lost `make`
        packages/zlib/zlib.spec: sources gained `other.patch`
        packages/zlib/zlib.spec: sources lost `fix.patch`
        packages/zlib/zlib.spec: Provides of zlib gained `libz.so.1`
        packages/zlib/zlib.spec: Requires of zlib gained `glibc`
        ");
        let text = reread(|reading| {
            reading.facts.nevra = "zlib-1.1-1.src".parse().unwrap();
            reading.facts.binaries[0].nevra = "zlib-1.1-1.x86_64".parse().unwrap();
            reading.facts.binaries[0].provides = vec!["zlib = 1.1-1".to_owned()];
            reading.sources[0].url =
                Some("https://upstream.example/zlib-1.1.tar.gz".parse().unwrap());
        });
        insta::assert_snapshot!(text, @"
        packages/zlib/zlib.spec: version changed from 1.0-1 to 1.1-1
        packages/zlib/zlib.spec: sources gained `https://upstream.example/zlib-1.1.tar.gz`
        packages/zlib/zlib.spec: sources lost `https://upstream.example/zlib-1.0.tar.gz`
        ");
    }
}
