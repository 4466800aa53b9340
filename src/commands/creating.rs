//! The steps that `lock`, `build` and `enter` share: the stock of packages, the environment, the snapshot.

use crate::backend::RootId;
use crate::commands::context::{Context, Documents, Workshop, processors};
use crate::commands::failure::mismatch;
use crate::digest::Digest;
use crate::documents::{Lock, Recipe};
use crate::environment::create::{self, Ingredients};
use crate::environment::snapshot;
use crate::environment::{recipe, rules};
use crate::error::Failure;
use crate::oci::Layer;
use crate::resolve::packages::{self, Stock};
use crate::tree::Normalise;
use crate::ui;

/// Fetches what the store does not have, hashes every file and checks every signature.
pub(super) fn stock(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &Workshop,
    lock: &Lock,
) -> Result<Stock, Failure> {
    let supply = context.supply(&documents.project, workshop);
    context.step(
        "fetching and verifying the packages",
        || {
            let trust =
                packages::trust(supply, lock, &documents.template, documents.recipe.as_ref())?;
            Stock::of(supply, lock, &trust, processors())
        },
        |_| {
            let bytes = lock.rpms().map(|rpm| rpm.size).sum();
            format!("{} packages, {}", lock.rpms().count(), ui::size(bytes))
        },
    )
}

/// A new environment that nobody else uses yet.
#[derive(Debug)]
pub(super) struct Fresh {
    root: RootId,
    layer: Layer,
}

impl Fresh {
    /// Its digest.
    pub(super) fn tree(&self) -> Digest {
        self.layer.diff_id
    }

    /// Leaves it in the store under its digest.
    pub(super) fn keep(self, workshop: &Workshop) -> Result<Digest, Failure> {
        let tree = self.layer.diff_id;
        workshop
            .backend
            .rename(&self.root, &snapshot::root_id(&tree))?;
        Ok(tree)
    }
}

/// What is made the same in the trees of this lock.
fn normalise(documents: &Documents, lock: &Lock) -> Normalise {
    let own = &documents.template.normalise;
    let text = |paths: &[crate::documents::AbsolutePath]| -> Vec<String> {
        paths.iter().map(ToString::to_string).collect()
    };
    rules::rules(lock.epoch, &text(&own.remove), &text(&own.truncate))
}

/// Creates the environment of a lock from nothing, by the distribution's own rpm, and digests its tree.
pub(super) fn create(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &Workshop,
    lock: &Lock,
    stock: &Stock,
) -> Result<Fresh, Failure> {
    let spool = workshop.store.temporary_folder();
    let stage = workshop.store.scratch_folder()?;
    let normalise = normalise(documents, lock);
    let root = context.step(
        "creating the environment",
        || {
            let ingredients = Ingredients {
                stage: stage.path(),
                tools: &stock.tools,
                packages: &stock.rpms,
                normalise: normalise.clone(),
                spool: &spool,
            };
            create::install(&*workshop.backend, &ingredients, &context.cancel)
        },
        |_| format!("{} packages in one transaction", stock.rpms.len()),
    )?;
    let layer = context.step(
        "digesting the environment",
        || {
            snapshot::freeze(
                &*workshop.backend,
                &root,
                &normalise,
                &workshop.layout,
                lock.environment.tree.as_ref(),
            )
        },
        |layer| layer.diff_id.short(),
    )?;
    Ok(Fresh { root, layer })
}

/// The environment, with the recipe's changes, as an image in the store.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// Its layers' roots, lowest first: of this run alone until `publish`, where they were made by it.
    pub(super) roots: Vec<RootId>,
    /// Digest of the environment's tree.
    pub(super) environment: Digest,
    /// Manifest digest of the image.
    pub(super) image: Digest,
    /// The layers of `roots`, where those are this run's own.
    own: Vec<Layer>,
}

impl Snapshot {
    /// Leaves the roots to later runs. No clone of them may be open.
    pub(super) fn publish(&self, workshop: &Workshop) -> Result<(), Failure> {
        for (root, layer) in self.roots.iter().zip(&self.own) {
            let id = snapshot::root_id(&layer.diff_id);
            workshop.backend.rename(root, &id)?;
        }
        Ok(())
    }
}

/// The full way: the environment anew, compared with the lock, then the recipe, then frozen.
pub(super) fn fresh_snapshot(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &Workshop,
    lock: &Lock,
    stock: &Stock,
) -> Result<Snapshot, Failure> {
    let fresh = create(context, documents, workshop, lock, stock)?;
    if let Some(expected) = lock.environment.tree
        && expected != fresh.tree()
    {
        return Err(mismatch(&expected, &fresh.keep(workshop)?));
    }
    let environment = fresh.tree();
    let (mut roots, mut layers) = (vec![fresh.root], vec![fresh.layer]);
    if let Some(own) = &documents.recipe
        && let Some(changed) = cook(context, documents, workshop, (lock, own), &roots[0])?
    {
        let rules = normalise(documents, lock);
        let layout = &workshop.layout;
        layers.push(snapshot::freeze(
            &*workshop.backend,
            &changed,
            &rules,
            layout,
            None,
        )?);
        roots.push(changed);
    }
    let name = documents.project.name.as_str();
    let image = snapshot::keep(&workshop.layout, &layers, name, lock)?.manifest;
    Ok(Snapshot {
        roots,
        environment,
        image,
        own: layers,
    })
}

/// Runs the recipe on the environment; what it changed is a root of its own.
fn cook(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &Workshop,
    (lock, recipe): (&Lock, &Recipe),
    environment: &RootId,
) -> Result<Option<RootId>, Failure> {
    let kitchen = recipe::Kitchen {
        recipe,
        settings: &documents.project.recipe_settings,
        epoch: u64::try_from(lock.epoch).unwrap_or(0),
        spool: &workshop.store.temporary_folder(),
    };
    let backend = &*workshop.backend;
    context.step(
        "running the recipe",
        || recipe::apply(backend, environment, kitchen, context.ui, &context.cancel),
        |changed| match changed {
            Some(_) => String::new(),
            None => "packages only".to_owned(),
        },
    )
}

/// The kept snapshot of a lock, where its image is in the store; its roots are made again where they are missing.
pub(super) fn kept_snapshot(workshop: &Workshop, lock: &Lock) -> Result<Option<Snapshot>, Failure> {
    let Some(image) = snapshot::find(&workshop.layout, lock)? else {
        return Ok(None);
    };
    let mut roots = Vec::new();
    for layer in &image.reference.layers {
        roots.push(snapshot::restore(
            &*workshop.backend,
            &workshop.layout,
            layer,
        )?);
    }
    let environment = image.reference.layers.first().map(|layer| layer.diff_id);
    Ok(environment.map(|environment| Snapshot {
        roots,
        environment,
        image: image.reference.manifest,
        own: Vec::new(),
    }))
}
