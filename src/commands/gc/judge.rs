//! What stays and what goes, each with its reason. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::backends::Place;
use super::fates::fates;
use super::found::Found;
use crate::backend::RootId;
use crate::digest::Digest;
use crate::documents::Lock;
use crate::documents::lock::BaseOrigin;
use crate::environment::create::{TOOLS, tools_root_id};
use crate::environment::snapshot;
use crate::oci::{Image, ImageRef};
use crate::record::Outcome;
use crate::record::retention::Fate;
use crate::store::{Holder, Pin};

/// Begins the ids of the roots of layers.
const TREE: &str = "tree-";

/// What is said of one thing, or of several for the same reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) what: String,
    pub(super) size: u64,
    pub(super) stays: bool,
    pub(super) why: String,
}

/// What goes, and the reasons for all.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) lines: Vec<Line>,
    pub(super) runs: BTreeSet<String>,
    pub(super) images: BTreeSet<Digest>,
    pub(super) layers: BTreeSet<Digest>,
    pub(super) oci_blobs: BTreeSet<Digest>,
    pub(super) roots: Vec<Place>,
    pub(super) blobs: BTreeSet<Digest>,
    pub(super) derived: Vec<PathBuf>,
}

/// Who wants what: the first reason that was found.
#[derive(Debug, Default)]
struct Wanted {
    content: BTreeMap<Digest, String>,
    /// Layers whose roots are used as they are, without unpacking the layer first.
    trees: BTreeMap<Digest, String>,
    roots: BTreeMap<String, String>,
}

impl Wanted {
    fn content(&mut self, digest: Digest, why: &str) {
        self.content.entry(digest).or_insert_with(|| why.to_owned());
    }

    fn tree(&mut self, diff_id: Digest, why: &str) {
        self.content(diff_id, why);
        self.trees.entry(diff_id).or_insert_with(|| why.to_owned());
    }

    /// All that a lock names.
    fn lock(&mut self, lock: &Lock, why: &str) {
        let metadata = lock.repositories.iter().flat_map(|one| &one.metadata);
        let sources = lock.packages.iter().flat_map(|package| &package.sources);
        let remote = sources.filter_map(|source| source.remote.as_ref());
        let digests = (lock.repositories.iter().map(|one| one.repomd))
            .chain(metadata.map(|one| one.digest))
            .chain(lock.keys.iter().map(|key| key.digest))
            .chain(lock.rpms().map(|rpm| rpm.digest))
            .chain(remote.map(|remote| remote.digest))
            .chain(lock.base.iter().map(|base| match &base.origin {
                BaseOrigin::Image { manifest, .. } => *manifest,
                BaseOrigin::Rootfs { sha256, .. } => *sha256,
            }))
            .chain(
                lock.base
                    .iter()
                    .flat_map(|base| &base.layers)
                    .map(|layer| layer.diff_id),
            );
        for digest in digests {
            self.content(digest, why);
        }
    }
}

/// Judges all that was found. Where `others` work in the store, roots that they may be using stay.
pub(super) fn judge(found: &Found, pinned: &BTreeMap<Pin, Holder>, others: bool) -> Verdict {
    let (mut verdict, mut wanted) = (Verdict::default(), Wanted::default());
    for (pin, holder) in pinned {
        if let Pin::Content(digest) = pin {
            wanted.tree(*digest, &format!("in use by {holder}"));
        }
    }
    runs(found, pinned, &mut wanted, &mut verdict);
    for (name, manifest) in &found.tags {
        wanted.content(*manifest, &format!("tag `{name}`"));
    }
    for clone in &found.clones {
        let why = format!("the kept clone `{}`", clone.name);
        wanted.content(clone.snapshot, &why);
        let roots = clone.roots.iter().cloned();
        wanted.roots.extend(roots.map(|root| (root, why.clone())));
    }
    for (project, lock) in &found.locks {
        let why = format!("the lock of `{}`", project.folder.display());
        wanted.lock(lock, &why);
        if let Some(tree) = lock.environment.tree {
            wanted.tree(tree, &why);
        }
        let tools = tools_root_id(lock.tools().map(|rpm| rpm.digest));
        wanted.roots.insert(tools.0, why.clone());
        for (image, _) in found
            .images
            .iter()
            .filter(|(image, _)| snapshot::is_of(image, lock))
        {
            wanted.content(image.reference.manifest, &why);
            for layer in &image.reference.layers {
                wanted.tree(layer.diff_id, &why);
            }
        }
    }
    images(found, &mut wanted, &mut verdict);
    layers(found, &mut wanted, &mut verdict);
    roots(found, &wanted, others, &mut verdict);
    blobs(found, &wanted, &mut verdict);
    verdict
}

/// The runs of each project by its own rule.
fn runs(found: &Found, pinned: &BTreeMap<Pin, Holder>, wanted: &mut Wanted, verdict: &mut Verdict) {
    let fates = fates(found);
    for found in &found.runs {
        let run = &found.run;
        let fate = match pinned.get(&Pin::Run(run.name.clone())) {
            Some(holder) => Fate::Stays(format!("in use by {holder}")),
            None => fates[run.name.as_str()].clone(),
        };
        let (stays, why) = match fate {
            Fate::Stays(why) => (true, why),
            Fate::Goes(why) => (false, why),
        };
        if let Some(record) = run.record.as_ref().filter(|_| stays) {
            let why = format!("run {}", run.name);
            wanted.content(record.snapshot, &why);
            for package in &record.packages {
                if let Outcome::Failed {
                    kept: Some(root), ..
                } = &package.outcome
                {
                    let why = format!("the failed build of {} in {why}", package.name);
                    wanted.roots.insert(root.clone(), why);
                }
            }
        }
        if !stays {
            verdict.runs.insert(run.name.clone());
        }
        verdict.lines.push(Line {
            what: format!("run {}", run.name),
            size: found.size,
            stays,
            why,
        });
    }
}

fn images(found: &Found, wanted: &mut Wanted, verdict: &mut Verdict) {
    let mut sizes: BTreeMap<Digest, u64> = (found.oci.blobs.iter())
        .map(|blob| (blob.digest, blob.size))
        .collect();
    let stays =
        |image: &Image, wanted: &Wanted| wanted.content.contains_key(&image.reference.manifest);
    // What several have in common counts for one that stays.
    let (kept, gone): (Vec<_>, Vec<_>) = found
        .images
        .iter()
        .partition(|(image, _)| stays(image, wanted));
    for (image, lock) in kept.into_iter().chain(gone) {
        let reference = &image.reference;
        let why = wanted.content.get(&reference.manifest).cloned();
        if why.is_some() {
            keep_image(reference, lock.as_ref(), wanted);
        } else {
            verdict.images.insert(reference.manifest);
        }
        let layers = reference.layers.iter().map(|layer| layer.digest);
        let parts = layers.chain([reference.manifest, reference.config]);
        verdict.lines.push(Line {
            what: format!("snapshot {}", reference.manifest.short()),
            size: parts.filter_map(|part| sizes.remove(&part)).sum(),
            stays: why.is_some(),
            why: why.unwrap_or_else(|| {
                "no kept run, no tag and no lock of a project wants it".to_owned()
            }),
        });
    }
}

/// All that belongs to an image, and that it was made from.
fn keep_image(reference: &ImageRef, lock: Option<&Lock>, wanted: &mut Wanted) {
    let running = wanted.trees.get(&reference.manifest).cloned();
    let why = format!("snapshot {}", reference.manifest.short());
    wanted.content(reference.config, &why);
    for layer in &reference.layers {
        wanted.content(layer.digest, &why);
        wanted.content(layer.diff_id, &why);
        if let Some(running) = &running {
            wanted.tree(layer.diff_id, running);
        }
    }
    if let Some(lock) = lock {
        wanted.lock(lock, &why);
    }
}

fn layers(found: &Found, wanted: &mut Wanted, verdict: &mut Verdict) {
    for (diff_id, blob) in &found.oci.layers {
        match wanted.content.get(diff_id).cloned() {
            Some(why) => wanted.content(*blob, &why),
            None => {
                verdict.layers.insert(*diff_id);
            }
        }
    }
    let told: BTreeSet<Digest> = (found.images.iter().map(|(image, _)| &image.reference))
        .flat_map(|image| {
            image
                .layers
                .iter()
                .map(|layer| layer.digest)
                .chain([image.manifest, image.config])
        })
        .collect();
    let mut lines = Grouped::default();
    for blob in &found.oci.blobs {
        let why = wanted.content.get(&blob.digest);
        if why.is_none() {
            verdict.oci_blobs.insert(blob.digest);
        }
        if !told.contains(&blob.digest) {
            lines.add(why, blob.size);
        }
    }
    lines.tell("layers without a snapshot", verdict);
}

/// The roots: those of layers that are used as they are, of failed builds in kept runs, and what people named.
fn roots(found: &Found, wanted: &Wanted, others: bool, verdict: &mut Verdict) {
    let trees: BTreeMap<RootId, &String> = (wanted.trees.iter())
        .map(|(diff_id, why)| (snapshot::root_id(diff_id), why))
        .collect();
    for (place, size) in &found.roots {
        let (_, root) = place;
        let name = root.0.as_str();
        let kept = wanted.roots.get(name).or_else(|| trees.get(root).copied());
        let (stays, why) = match kept {
            Some(why) => (true, why.as_str()),
            None if name.starts_with(TREE) => (
                false,
                "it is unpacked again when its snapshot is used, where that stays",
            ),
            None if !name.starts_with(TOOLS) && !root.is_failed() => {
                (true, "it has a name of its own")
            }
            None if others => (true, "a process that works in the store may be using it"),
            None if name.starts_with(TOOLS) => (false, "it is unpacked again when it is needed"),
            None => (false, "its run is not kept"),
        };
        if !stays {
            verdict.roots.push(place.clone());
        }
        verdict.lines.push(Line {
            what: shown(name),
            size: *size,
            stays,
            why: why.to_owned(),
        });
    }
}

/// What people are told a root is.
fn shown(name: &str) -> String {
    let short = |hex: &str| hex.chars().take(12).collect::<String>();
    match (name.strip_prefix(TREE), name.strip_prefix(TOOLS)) {
        (Some(hex), _) => format!("tree {}", short(hex)),
        (_, Some(hex)) => format!("tools {}", short(hex)),
        _ => format!("root {name}"),
    }
}

fn blobs(found: &Found, wanted: &Wanted, verdict: &mut Verdict) {
    let blind = "a lock that cannot be read may want it".to_owned();
    let otherwise = found.blind.then_some(&blind);
    let mut lines = Grouped::default();
    for blob in &found.blobs {
        let why = wanted.content.get(&blob.digest).or(otherwise);
        if why.is_none() {
            verdict.blobs.insert(blob.digest);
        }
        lines.add(why, blob.size);
    }
    lines.tell("packages, sources and metadata", verdict);
    let mut lines = Grouped::default();
    for (path, size) in &found.derived {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let latest = "what an address gave last".to_owned();
        let order = "the order in which packages are made ready".to_owned();
        let why = if name.starts_with("latest-") {
            Some(&latest)
        } else if name.starts_with("turns-") {
            Some(&order)
        } else {
            let mut all = wanted.content.iter();
            let named = all.find(|(digest, _)| name.contains(&digest.hex()));
            named.map(|(_, why)| why).or(otherwise)
        };
        if why.is_none() {
            verdict.derived.push(path.clone());
        }
        lines.add(why, *size);
    }
    lines.tell("indexes and hints", verdict);
}

/// Many files of a kind, told by their reasons.
#[derive(Debug, Default)]
struct Grouped(BTreeMap<Option<String>, (u64, u64)>);

impl Grouped {
    fn add(&mut self, why: Option<&String>, size: u64) {
        let (files, bytes) = self.0.entry(why.cloned()).or_default();
        *files += 1;
        *bytes += size;
    }

    fn tell(self, kind: &str, verdict: &mut Verdict) {
        for (why, (files, size)) in self.0 {
            verdict.lines.push(Line {
                what: format!("{files} {kind}"),
                size,
                stays: why.is_some(),
                why: why.unwrap_or_else(|| "nothing that stays was made from it".to_owned()),
            });
        }
    }
}
