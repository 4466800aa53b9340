//! The base of an environment: brought into the store as the lock has it, or as the template names it, and verified.

use crate::backend::RootId;
use crate::commands::context::{Context, Documents, Workshop};
use crate::commands::lock::Moves;
use crate::documents::lock::{BaseOrigin, InstalledRpm, LockedBase, LockedLayer};
use crate::documents::template::Base;
use crate::documents::{ImageName, Lock};
use crate::environment::{base, snapshot};
use crate::error::{Failure, Kind};
use crate::oci::{Image, Layer, OciError};
use crate::registry::{Registry, RegistryOptions};
use crate::rpm::PackageFacts;
use crate::store::fetch::Download;
use crate::ui;

/// A base in the store.
#[derive(Debug)]
pub(super) struct Fetched {
    origin: BaseOrigin,
    pub(super) layers: Vec<Layer>,
}

/// A base that packages are solved against.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) locked: LockedBase,
    pub(super) roots: Vec<RootId>,
    pub(super) packages: Vec<PackageFacts>,
}

/// What an older lock says of the template's base, where that stays: a tag stays resolved until it may move.
pub(super) fn pinned<'a>(
    documents: &Documents,
    moves: &Moves,
    old: Option<&'a Lock>,
) -> Option<&'a LockedBase> {
    let locked = old?.base.as_ref()?;
    let stays = match (documents.template.base.as_ref()?, &locked.origin) {
        (Base::Image(now), BaseOrigin::Image { name, .. }) => {
            now == name && (now.digest().is_some() || *moves != Moves::Everything)
        }
        (Base::Rootfs { sha256: now, .. }, BaseOrigin::Rootfs { sha256, .. }) => now == sha256,
        _ => false,
    };
    stays.then_some(locked)
}

/// Refuses a tag that no lock has made a digest: which image a build uses is not decided by the hour.
pub(super) fn refuse_tag(documents: &Documents, old: Option<&Lock>) -> Result<(), Failure> {
    match &documents.template.base {
        Some(Base::Image(name))
            if name.digest().is_none() && pinned(documents, &Moves::Nothing, old).is_none() =>
        {
            Err(Failure::new(
                Kind::Lock,
                format!(
                    "the template `{}` names the image `{name}` by a tag, and pristine.lock has no digest of it",
                    documents.template.name
                ),
            )
            .hint("look which image it is now, and write its digest into the lock: pristine lock"))
        }
        _ => Ok(()),
    }
}

/// Brings the template's base into the store; where it is `locked`, nothing else is taken.
pub(super) fn fetch(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &Workshop,
    locked: Option<&LockedBase>,
) -> Result<Option<Fetched>, Failure> {
    let Some(base) = &documents.template.base else {
        return Ok(None);
    };
    let fetched = context.step(
        "fetching and verifying the base",
        || match base {
            Base::Image(name) => image(context, documents, workshop, (name, locked)),
            Base::Rootfs { .. } => archive(context, documents, workshop, locked),
        },
        |fetched| {
            let bytes = fetched.layers.iter().map(|layer| layer.size).sum();
            let layers = fetched.layers.len();
            format!(
                "{layers} layer{}, {}",
                if layers == 1 { "" } else { "s" },
                ui::size(bytes)
            )
        },
    )?;
    let own = fetched.locked_layers();
    if locked.is_some_and(|locked| locked.layers != own) {
        return Err(Failure::new(
            Kind::Lock,
            "the layers of the base are not those in pristine.lock",
        )
        .hint(
            "the lock was changed by hand: restore it from git, or write it anew: pristine lock",
        ));
    }
    Ok(Some(fetched))
}

fn image(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &Workshop,
    (name, locked): (&ImageName, Option<&LockedBase>),
) -> Result<Fetched, Failure> {
    let manifest = locked.and_then(|locked| match &locked.origin {
        BaseOrigin::Image { manifest, .. } => Some(*manifest),
        BaseOrigin::Rootfs { .. } => None,
    });
    let kept = match manifest.map(|digest| workshop.layout.image(&digest)) {
        Some(Ok(image)) => Some(image),
        // What is damaged is fetched again.
        None | Some(Err(OciError::Missing { .. } | OciError::Damaged { .. })) => None,
        Some(Err(error)) => return Err(error.into()),
    };
    let image: Image = if let Some(image) = kept {
        image
    } else {
        let name = manifest.map_or_else(|| name.clone(), |digest| name.with_digest(&digest));
        let registry = Registry::open(&name, RegistryOptions::default())?;
        let architecture = documents.template.architecture.as_str();
        context.interruptible(registry.pull(&workshop.layout, architecture, context.ui))?
    };
    Ok(Fetched {
        origin: BaseOrigin::Image {
            name: name.clone(),
            manifest: image.reference.manifest,
        },
        layers: image.reference.layers,
    })
}

fn archive(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &Workshop,
    locked: Option<&LockedBase>,
) -> Result<Fetched, Failure> {
    let Some(Base::Rootfs { url, sha256 }) = documents.template.base.clone() else {
        return Err(Failure::new(
            Kind::Input,
            "the template has no root archive",
        ));
    };
    let supply = context.supply(&documents.project, workshop)?;
    let project = &documents.project;
    supply.fetch(vec![Download {
        name: url.to_string(),
        urls: project.mirrored(&url.resolve(&project.directory)),
        digest: Some(sha256),
        ..Download::default()
    }])?;
    let path = workshop.store.verified(&sha256)?;
    let known = match locked.and_then(|locked| locked.layers.first()) {
        Some(layer) => workshop.layout.known_layer(&layer.diff_id)?,
        None => None,
    };
    let layer = match known {
        Some(layer) => layer,
        None => base::layer_of_archive(&workshop.layout, &path)?,
    };
    Ok(Fetched {
        origin: BaseOrigin::Rootfs { url, sha256 },
        layers: vec![layer],
    })
}

impl Fetched {
    fn locked_layers(&self) -> Vec<LockedLayer> {
        let registry = matches!(self.origin, BaseOrigin::Image { .. });
        let layers = self.layers.iter().map(|layer| LockedLayer {
            diff_id: layer.diff_id,
            digest: registry.then_some(layer.digest),
        });
        layers.collect()
    }
}

/// Brings the base into the store, unpacks it, and asks its rpm what is in it.
pub(super) fn ground(
    context: &Context<'_>,
    documents: &Documents,
    workshop: &Workshop,
    locked: Option<&LockedBase>,
) -> Result<Option<Ground>, Failure> {
    let Some(fetched) = fetch(context, documents, workshop, locked)? else {
        return Ok(None);
    };
    let ground = context.step(
        "reading the base's packages",
        || -> Result<_, Failure> {
            let mut roots = Vec::new();
            for layer in &fetched.layers {
                let root = snapshot::restore(&*workshop.backend, &workshop.layout, layer)?;
                roots.push(root);
            }
            let spool = workshop.store.temporary_folder();
            let backend = &*workshop.backend;
            let found = base::installed(backend, &roots, &spool, &context.cancel)?;
            let installed = found.iter().map(|package| InstalledRpm {
                nevra: package.facts.nevra.clone(),
                header: package.header,
            });
            Ok(Ground {
                locked: LockedBase {
                    origin: fetched.origin.clone(),
                    layers: fetched.locked_layers(),
                    installed: installed.collect(),
                },
                roots,
                packages: found.into_iter().map(|package| package.facts).collect(),
            })
        },
        |ground| format!("{} packages", ground.packages.len()),
    )?;
    Ok(Some(ground))
}
