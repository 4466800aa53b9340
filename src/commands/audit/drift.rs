//! The second environment beside the first: equal by their digests, or told file by file.

use std::io::BufReader;

use super::Audited;
use crate::commands::context::{Context, Workshop};
use crate::commands::creating::Anew;
use crate::compare::{self, Comparison, Conditions, Origins};
use crate::environment::snapshot;
use crate::error::Failure;
use crate::oci::Layer;
use crate::record::audit::EnvironmentAudit;
use crate::resolve::packages::Stock;

/// Compares them.
pub(in crate::commands) fn environment(
    context: &Context<'_>,
    workshop: &Workshop,
    audited: &Audited,
    (second, stock): (&Anew<'_>, &Stock),
) -> Result<EnvironmentAudit, Failure> {
    let first = first_layers(workshop, audited)?;
    let diff_ids = first.iter().flatten().map(|layer| layer.diff_id);
    let mut environment = EnvironmentAudit {
        first: audited.record.environment,
        second: second.environment,
        first_tree: snapshot::tree_of(diff_ids),
        second_tree: second.tree,
        comparisons: Vec::new(),
    };
    let (false, Some(first)) = (environment.is_same(), first) else {
        return Ok(environment);
    };
    environment.comparisons = context.step(
        "comparing the environments",
        || {
            let rpms = stock.rpms.iter().map(|package| package.path.as_path());
            let origins = Origins::read(rpms)?;
            let pairs = first.iter().zip(&second.layers);
            let differing = pairs.filter(|(first, second)| first.diff_id != second.diff_id);
            let compare = |(first, second)| layers(workshop, (first, second), &origins);
            differing.map(compare).collect::<Result<Vec<_>, Failure>>()
        },
        |_| String::new(),
    )?;
    Ok(environment)
}

/// The layers of the run's snapshot, where that is still kept.
fn first_layers(workshop: &Workshop, audited: &Audited) -> Result<Option<Vec<Layer>>, Failure> {
    let wanted = audited.record.snapshot;
    if !workshop.layout.images()?.contains(&wanted) {
        return Ok(None);
    }
    Ok(Some(workshop.layout.describe(&wanted)?.reference.layers))
}

fn layers(
    workshop: &Workshop,
    (first, second): (&Layer, &Layer),
    origins: &Origins,
) -> Result<Comparison, Failure> {
    let mut open = (
        BufReader::new(workshop.layout.open_layer(first)?),
        BufReader::new(workshop.layout.open_layer(second)?),
    );
    let nothing = Conditions::default();
    Ok(compare::trees(&mut open.0, &mut open.1, origins, &nothing)?)
}
