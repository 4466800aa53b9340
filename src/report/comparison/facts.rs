//! What else differs: the recipe, the commit, the configuration, the host.

use std::collections::BTreeMap;

use super::{Difference, both};
use crate::documents::Lock;
use crate::documents::lock::BaseOrigin;
use crate::record::{Record, SourceRecord};

pub(super) fn recipe(old: &Lock, new: &Lock) -> Vec<Difference> {
    let text = |lock: &Lock| {
        let recipe = lock.inputs.recipe.as_ref()?;
        Some(format!("{} {}", recipe.name, recipe.digest.short()))
    };
    let mut facts = Facts::default();
    facts.add("recipe", text(old), text(new));
    facts.0
}

/// Differences, in the order in which they are asked for.
#[derive(Default)]
pub(super) struct Facts(pub(super) Vec<Difference>);

impl Facts {
    fn add(&mut self, what: &str, from: Option<String>, to: Option<String>) {
        if from != to {
            self.0.push(Difference {
                what: what.to_owned(),
                from,
                to,
            });
        }
    }

    /// What is only in one of two lists.
    fn lists(&mut self, what: &str, old: &[String], new: &[String]) {
        for gone in old.iter().filter(|item| !new.contains(item)) {
            self.add(what, Some(gone.clone()), None);
        }
        for come in new.iter().filter(|item| !old.contains(item)) {
            self.add(what, None, Some(come.clone()));
        }
    }

    pub(super) fn sources(&mut self, old: Option<&SourceRecord>, new: Option<&SourceRecord>) {
        let commit = |source: &SourceRecord| source.commit.chars().take(12).collect::<String>();
        self.add("commit", old.map(commit), new.map(commit));
        let changes = |source: Option<&SourceRecord>| {
            let changes = source?.changes?;
            Some(changes.short())
        };
        self.add("changes beside the commit", changes(old), changes(new));
    }

    pub(super) fn locks(&mut self, old: &Lock, new: &Lock) {
        let pair = |text: fn(&Lock) -> String| (Some(text(old)), Some(text(new)));
        let (from, to) = pair(|lock| lock.architecture.to_string());
        self.add("architecture", from, to);
        let (from, to) = pair(|lock| {
            let template = &lock.inputs.template;
            format!("{} {}", template.name, template.digest.short())
        });
        self.add("template", from, to);
        self.add("base", base(old), base(new));
        self.lists("request", &old.inputs.requests, &new.inputs.requests);
        let left_out = |lock: &Lock| -> Vec<String> {
            lock.inputs
                .left_out
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        self.lists("repository left out", &left_out(old), &left_out(new));
        let (before, now) = (repositories(old), repositories(new));
        for (name, from, to) in both(&before, &now) {
            self.add(&format!("repository {name}"), from.cloned(), to.cloned());
        }
        let keys = |lock: &Lock| -> Vec<String> {
            lock.keys
                .iter()
                .map(|key| key.fingerprint.to_string())
                .collect()
        };
        self.lists("key", &keys(old), &keys(new));
        let (from, to) = pair(|lock| lock.epoch.to_string());
        self.add("epoch", from, to);
        let tree = |lock: &Lock| lock.environment.tree.map(|tree| tree.short());
        self.add("environment's tree", tree(old), tree(new));
    }

    pub(super) fn records(&mut self, old: &Record, new: &Record) {
        let pair = |from: &str, to: &str| (Some(from.to_owned()), Some(to.to_owned()));
        let (from, to) = pair(&old.tool, &new.tool);
        self.add("pristine", from, to);
        let (Some(old), Some(new)) = (&old.host, &new.host) else {
            return;
        };
        let (from, to) = pair(&old.backend, &new.backend);
        self.add("backend", from, to);
        let (from, to) = pair(&old.kernel, &new.kernel);
        self.add("kernel", from, to);
        let (from, to) = pair(&old.processors.to_string(), &new.processors.to_string());
        self.add("processors", from, to);
        let (from, to) = pair(&old.jobs.to_string(), &new.jobs.to_string());
        self.add("builds at once", from, to);
    }
}

fn base(lock: &Lock) -> Option<String> {
    Some(match &lock.base.as_ref()?.origin {
        BaseOrigin::Image { name, manifest } => format!("{name} {}", manifest.short()),
        BaseOrigin::Rootfs { url, sha256 } => format!("{url} {}", sha256.short()),
    })
}

fn repositories(lock: &Lock) -> BTreeMap<String, String> {
    lock.repositories
        .iter()
        .map(|repository| {
            let revision = match repository.revision.as_str() {
                "" => String::new(),
                revision => format!("revision {revision}, "),
            };
            let text = format!("{revision}repomd {}", repository.repomd.short());
            (repository.name.to_string(), text)
        })
        .collect()
}
