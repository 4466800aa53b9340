//! The steps that `lock`, `build` and `enter` share: the stock of packages, the environment, the snapshot.

use crate::backend::RootId;
use crate::commands::base;
use crate::commands::context::{Context, Documents, Workshop, processors};
use crate::commands::failure::mismatch;
use crate::commands::origin;
use crate::commands::scratch::Scratch;
use crate::digest::Digest;
use crate::documents::{Lock, Recipe};
use crate::environment::base::Additions;
use crate::environment::create::{self, Ingredients};
use crate::environment::snapshot::{self, Kept};
use crate::environment::{recipe, rules};
use crate::error::{Failure, Kind};
use crate::oci::{Image, Layer};
use crate::resolve::packages::{self, Stock};
use crate::store::ScratchFolder;
use crate::tree::Normalise;
use crate::ui;

/// Fetches what the store does not have, hashes every file and checks every signature.
pub(super) fn stock(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &Workshop,
    lock: &Lock,
) -> Result<Stock, Failure> {
    let supply = context.supply(&documents.project, workshop)?;
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

/// A new environment that nobody else uses yet: its layers, lowest first.
#[derive(Debug)]
pub(super) struct Fresh<'a> {
    layers: Vec<(Scratch<'a>, Layer)>,
    tree: Digest,
}

impl Fresh<'_> {
    /// Its digest.
    pub(super) fn tree(&self) -> Digest {
        self.tree
    }

    /// Leaves it in the store under its digest.
    pub(super) fn keep(self) -> Result<Digest, Failure> {
        for (mut root, layer) in self.layers {
            root.publish(&layer.diff_id)?;
        }
        Ok(self.tree)
    }
}

fn roots(layers: &[(Scratch<'_>, Layer)]) -> Vec<RootId> {
    layers.iter().map(|(root, _)| root.root.clone()).collect()
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
pub(super) fn create<'a>(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &'a Workshop,
    lock: &Lock,
    stock: &Stock,
) -> Result<Fresh<'a>, Failure> {
    let mut layers = lay_base(context, documents, workshop, lock)?;
    if layers.is_empty() || !stock.rpms.is_empty() {
        let expected = expected_layer(workshop, lock, layers.len())?;
        let kept = Kept::look(&workshop.layout, expected.as_ref());
        let (root, stage) = install(context, documents, workshop, (lock, stock), &roots(&layers))?;
        let freeze = || {
            let rules = normalise(documents, lock);
            snapshot::freeze(
                &*workshop.backend,
                &root.root,
                &rules,
                &workshop.layout,
                kept,
            )
        };
        let layer = context.step(
            "digesting the environment",
            || {
                std::thread::scope(|scope| {
                    // It is large, and nobody waits for its end.
                    scope.spawn(|| drop(stage));
                    freeze()
                })
            },
            |layer| layer.diff_id.short(),
        )?;
        layers.push((root, layer));
    }
    let tree = snapshot::tree_of(layers.iter().map(|(_, layer)| layer.diff_id));
    let tree = tree.ok_or_else(|| Failure::new(Kind::Lock, "the environment has no layers"))?;
    Ok(Fresh { layers, tree })
}

/// The digest that the layer upon so many of a base should have: where there are any, the lock has only that of all
/// together, and a kept snapshot has its own.
fn expected_layer(
    workshop: &Workshop,
    lock: &Lock,
    below: usize,
) -> Result<Option<Digest>, Failure> {
    if below == 0 {
        return Ok(lock.environment.tree);
    }
    let kept = snapshot::find(&workshop.layout, lock)?;
    let layer = kept
        .as_ref()
        .and_then(|kept| kept.reference.layers.get(below));
    Ok(layer.map(|layer| layer.diff_id))
}

/// The layers of the lock's base, unpacked anew; none where there is no base.
fn lay_base<'a>(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &'a Workshop,
    lock: &Lock,
) -> Result<Vec<(Scratch<'a>, Layer)>, Failure> {
    let backend = &*workshop.backend;
    let Some(base) = base::fetch(context, documents, workshop, lock.base.as_ref())? else {
        return Ok(Vec::new());
    };
    context.step(
        "unpacking the base",
        || {
            let unpack = |layer: Layer| {
                let root = snapshot::unpack(backend, &workshop.layout, &layer)?;
                Ok::<_, Failure>((Scratch::new(backend, root), layer))
            };
            base.layers.into_iter().map(unpack).collect()
        },
        |_| String::new(),
    )
}

/// The stock's packages in a root of their own, or on top of the `base`; and the folder with what was made for that.
fn install<'a>(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &'a Workshop,
    (lock, stock): (&Lock, &Stock),
    base: &[RootId],
) -> Result<(Scratch<'a>, ScratchFolder), Failure> {
    let backend = &*workshop.backend;
    let spool = workshop.store.temporary_folder();
    let stage = workshop.store.scratch_folder()?;
    let root = context.step(
        "creating the environment",
        || {
            if base.is_empty() {
                let ingredients = Ingredients {
                    stage: stage.path(),
                    tools: &stock.tools,
                    packages: &stock.rpms,
                    normalise: normalise(documents, lock),
                    store: &workshop.store,
                };
                return create::install(backend, &ingredients, &context.cancel);
            }
            let additions = Additions {
                packages: &stock.rpms,
                replacing: !lock.environment.replaced.is_empty(),
                stage: stage.path(),
                epoch: lock.epoch,
                spool: &spool,
            };
            crate::environment::base::add(backend, base, additions, &context.cancel)
        },
        |_| format!("{} packages in one transaction", stock.rpms.len()),
    )?;
    Ok((Scratch::new(backend, root), stage))
}

/// The environment, with the recipe's changes, as an image in the store.
#[derive(Debug)]
pub(super) struct Snapshot<'a> {
    /// Its layers' roots, lowest first: of this run alone until `publish`, where they were made by it.
    pub(super) roots: Vec<RootId>,
    /// Digest of the environment's tree.
    pub(super) environment: Digest,
    /// Digest of the tree of all its layers, those of the recipe too.
    pub(super) tree: Digest,
    /// Manifest digest of the image.
    pub(super) image: Digest,
    /// The roots that this run made, and their digests.
    own: Vec<(Scratch<'a>, Digest)>,
}

impl Snapshot<'_> {
    /// Leaves the roots to later runs. No clone of them may be open.
    pub(super) fn publish(self) -> Result<(), Failure> {
        for (mut root, diff_id) in self.own {
            root.publish(&diff_id)?;
        }
        Ok(())
    }
}

/// The full way: the environment anew, compared with the lock, then the recipe, then frozen.
pub(super) fn fresh_snapshot<'a>(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &'a Workshop,
    lock: &Lock,
    stock: &Stock,
) -> Result<Snapshot<'a>, Failure> {
    let fresh = create(context, documents, workshop, lock, stock)?;
    if let Some(expected) = lock.environment.tree
        && expected != fresh.tree()
    {
        return Err(mismatch(&expected, &fresh.keep()?));
    }
    let anew = prepare(context, documents, workshop, lock, fresh)?;
    let name = documents.project.name.as_str();
    let image = snapshot::keep(&workshop.layout, &anew.layers, name, lock)?.manifest;
    origin::made(documents, workshop, lock, &image)?;
    Ok(Snapshot {
        roots: anew.roots(),
        environment: anew.environment,
        tree: anew.tree,
        image,
        own: anew.own,
    })
}

/// An environment with the recipe's changes that was made anew; nobody else uses it.
#[derive(Debug)]
pub(super) struct Anew<'a> {
    /// Digest of the environment's tree, whatever the lock says.
    pub(super) environment: Digest,
    /// Digest of the tree of all its layers.
    pub(super) tree: Digest,
    /// Its layers, lowest first, which are in the store.
    pub(super) layers: Vec<Layer>,
    own: Vec<(Scratch<'a>, Digest)>,
}

impl Anew<'_> {
    /// Its layers' roots, lowest first.
    pub(super) fn roots(&self) -> Vec<RootId> {
        self.own.iter().map(|(root, _)| root.root.clone()).collect()
    }
}

/// The full way, to an environment of the lock beside the kept one.
pub(super) fn anew<'a>(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &'a Workshop,
    lock: &Lock,
    stock: &Stock,
) -> Result<Anew<'a>, Failure> {
    let fresh = create(context, documents, workshop, lock, stock)?;
    prepare(context, documents, workshop, lock, fresh)
}

/// The recipe's changes on top of an environment.
fn prepare<'a>(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &'a Workshop,
    lock: &Lock,
    fresh: Fresh<'a>,
) -> Result<Anew<'a>, Failure> {
    let environment = fresh.tree();
    let below = roots(&fresh.layers);
    let (mut own, mut layers) = (Vec::new(), Vec::new());
    for (root, layer) in fresh.layers {
        own.push((root, layer.diff_id));
        layers.push(layer);
    }
    if let Some(recipe) = &documents.recipe
        && let Some(changed) = cook(context, documents, workshop, (lock, recipe), &below)?
    {
        let backend = &*workshop.backend;
        let changed = Scratch::new(backend, changed);
        let rules = normalise(documents, lock);
        let layer = snapshot::freeze(backend, &changed.root, &rules, &workshop.layout, None)?;
        own.push((changed, layer.diff_id));
        layers.push(layer);
    }
    let tree = snapshot::tree_of(layers.iter().map(|layer| layer.diff_id)).unwrap_or(environment);
    Ok(Anew {
        environment,
        tree,
        layers,
        own,
    })
}

/// Runs the recipe on the environment; what it changed is a root of its own.
fn cook(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &Workshop,
    (lock, recipe): (&Lock, &Recipe),
    environment: &[RootId],
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

/// The kept snapshot of a lock, or one made now.
pub(super) fn snapshot<'a>(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &'a Workshop,
    lock: &Lock,
) -> Result<Snapshot<'a>, Failure> {
    if let Some(kept) = kept_snapshot(workshop, lock)? {
        return Ok(kept);
    }
    let inputs = documents.inputs()?;
    if (&inputs.template, &inputs.recipe) != (&lock.inputs.template, &lock.inputs.recipe) {
        let text = "the lock was made from another template or recipe than the project's, and no snapshot of it is kept";
        return Err(Failure::new(Kind::Lock, text)
            .hint("write it anew: pristine lock")
            .hint("where the lock is an older one: check out its commit"));
    }
    let stock = stock(context, documents, workshop, lock)?;
    fresh_snapshot(context, documents, workshop, lock, &stock)
}

/// The kept snapshot of a lock, where its image is in the store; its roots are made again where they are missing.
pub(super) fn kept_snapshot<'a>(
    workshop: &'a Workshop,
    lock: &Lock,
) -> Result<Option<Snapshot<'a>>, Failure> {
    let Some(image) = snapshot::find(&workshop.layout, lock)? else {
        return Ok(None);
    };
    // It was compared with the lock when the snapshot was found.
    let Some(environment) = lock.environment.tree else {
        return Ok(None);
    };
    of_image(workshop, &image, environment).map(Some)
}

/// The snapshot of an image; its roots are made again where they are missing.
pub(super) fn of_image<'a>(
    workshop: &'a Workshop,
    image: &Image,
    environment: Digest,
) -> Result<Snapshot<'a>, Failure> {
    let mut roots = Vec::new();
    for layer in &image.reference.layers {
        roots.push(snapshot::restore(
            &*workshop.backend,
            &workshop.layout,
            layer,
        )?);
    }
    let layers = image.reference.layers.iter();
    let tree = snapshot::tree_of(layers.map(|layer| layer.diff_id));
    Ok(Snapshot {
        tree: tree.unwrap_or(environment),
        roots,
        environment,
        image: image.reference.manifest,
        own: Vec::new(),
    })
}
