//! What becomes of each run, by the rule of its project. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::found::Found;
use crate::digest::Digest;
use crate::documents::config::Keep;
use crate::record::Outcome;
use crate::record::retention::{self, Candidate, Fate};

/// The fate of each run, by name, as if nobody were using any.
pub(super) fn fates(found: &Found) -> BTreeMap<&str, Fate> {
    let recorded = || {
        found
            .runs
            .iter()
            .filter_map(|one| Some((one, one.run.record.as_ref()?)))
    };
    let names: BTreeSet<&str> = recorded()
        .map(|(_, record)| record.project.as_str())
        .collect();
    let layers: BTreeMap<Digest, u64> = (found.oci.blobs.iter())
        .map(|blob| (blob.digest, blob.size))
        .collect();
    let mut counted = BTreeSet::new();
    let mut fates = BTreeMap::new();
    for project in names {
        let mut of_project = Vec::new();
        for (one, record) in recorded().filter(|(_, record)| record.project == project) {
            of_project.push((one.run.name.as_str(), one.size, record));
        }
        let mut candidates = Vec::new();
        for (name, size, record) in of_project.iter().rev() {
            let image = found
                .images
                .iter()
                .find(|(image, _)| image.reference.manifest == record.snapshot);
            let own = image.iter().flat_map(|(image, _)| &image.reference.layers);
            let own = own.filter(|layer| counted.insert(layer.digest));
            let bytes: u64 = own.filter_map(|layer| layers.get(&layer.digest)).sum();
            candidates.push(Candidate {
                name: (*name).to_owned(),
                size: size + bytes,
                good: record.packages.iter().all(|package| {
                    matches!(package.outcome, Outcome::Built {} | Outcome::Reused { .. })
                }),
            });
        }
        candidates.reverse();
        let keep = found
            .rules
            .get(project)
            .copied()
            .unwrap_or_else(Keep::default);
        let decided = retention::decide(&candidates, &keep);
        fates.extend(of_project.iter().map(|(name, ..)| *name).zip(decided));
    }
    let newest = recorded().map(|(one, _)| one.run.name.as_str()).max();
    for one in found.runs.iter().filter(|one| one.run.record.is_none()) {
        let name = one.run.name.as_str();
        let fate = if newest.is_some_and(|newest| name < newest) {
            Fate::Goes("it was ended before it wrote its record".to_owned())
        } else {
            Fate::Stays("it was ended before it wrote its record, and none is newer".to_owned())
        };
        fates.insert(name, fate);
    }
    fates
}
