//! Snapshots that go out and come in: files, engines, registries.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::choose::chosen;
use super::keeping;
use crate::backend::docker::{Address, Brand};
use crate::cli::SnapshotVerb;
use crate::commands::context::Context;
use crate::commands::origin;
use crate::documents::config::BackendChoice;
use crate::documents::lock::FILE;
use crate::documents::{ImageName, Lock, Project, Template};
use crate::engine;
use crate::environment::snapshot;
use crate::error::{Failure, Kind};
use crate::events::{Event, Sink as _};
use crate::oci::{Image, Layout};
use crate::registry::{Registry, RegistryOptions};
use crate::store::Store;

/// Export, load and push; pull and import.
pub(super) fn run(
    context: &Context<'_>,
    project: &Project,
    here: (&Store, &Layout),
    verb: &SnapshotVerb,
) -> Result<(), Failure> {
    let layout = here.1;
    match verb {
        SnapshotVerb::Export {
            file,
            snapshot,
            tar,
        } => {
            let image = chosen(context, here, snapshot.as_deref())?;
            export(layout, &image, file, *tar)?;
            let manifest = image.reference.manifest;
            context.ui.note(&format!("exported {manifest}"));
        }
        SnapshotVerb::Load { name, snapshot } => {
            let image = chosen(context, here, snapshot.as_deref())?;
            load(context, project, (layout, &image), name)?;
        }
        SnapshotVerb::Push { name, snapshot } => {
            let image = chosen(context, here, snapshot.as_deref())?;
            let registry = Registry::open(name, RegistryOptions::default())?;
            context.interruptible(registry.push(layout, &image, context.ui))?;
            let pushed = name.with_digest(&image.reference.manifest);
            context.ui.result(&pushed.to_string());
        }
        SnapshotVerb::Pull { name } => pull(context, project, layout, name)?,
        SnapshotVerb::Import { file, tag } => import(context, layout, file, tag.as_deref())?,
        _ => {}
    }
    Ok(())
}

fn load(
    context: &Context<'_>,
    project: &Project,
    (layout, image): (&Layout, &Image),
    name: &str,
) -> Result<(), Failure> {
    let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
    let brand = match context.backend_option.or(project.backend) {
        Some(BackendChoice::Podman) => Brand::Podman,
        _ => Brand::Docker,
    };
    let address = Address::find(brand, &|name| std::env::var(name).ok())?;
    let names = (repository, tag);
    context.interruptible(engine::load(layout, image, names, &address))?;
    context.ui.result(&format!("{repository}:{tag}"));
    Ok(())
}

fn pull(
    context: &Context<'_>,
    project: &Project,
    layout: &Layout,
    name: &ImageName,
) -> Result<(), Failure> {
    let template = Template::load(&project.directory, &project.template)?;
    let architecture = template.architecture.as_str();
    let registry = Registry::open(name, RegistryOptions::default())?;
    let image = context.interruptible(registry.pull(layout, architecture, context.ui))?;
    let manifest = &image.reference.manifest;
    layout.note_origin(manifest, &origin::brought(name.to_string()), None)?;
    // What was pulled under a name stays until another comes under it.
    layout.tag(&name.to_string(), manifest)?;
    context.ui.result(&manifest.to_string());
    tell_whose(context, project, &image)
}

fn import(
    context: &Context<'_>,
    layout: &Layout,
    file: &Path,
    tag: Option<&str>,
) -> Result<(), Failure> {
    let mut archive = fs_err::File::open(file).map_err(|error| Failure::new(Kind::Input, error))?;
    let manifest = layout.import_archive(&mut archive)?.manifest;
    let origin = origin::brought(file.display().to_string());
    layout.note_origin(&manifest, &origin, None)?;
    let own = format!("imported/{}", manifest.short());
    let tag = tag.unwrap_or(&own);
    keeping::tag(layout, tag, &manifest)?;
    context.ui.result(&manifest.to_string());
    context.ui.note(&format!("kept as {tag}"));
    Ok(())
}

/// Says whether the project can use an image that came from elsewhere.
fn tell_whose(context: &Context<'_>, project: &Project, image: &Image) -> Result<(), Failure> {
    if !project.directory.join(FILE).exists() {
        return Ok(());
    }
    let lock = Lock::load(&project.directory)?;
    if snapshot::is_of(image, &lock) {
        context.ui.note("it is the snapshot of the project's lock");
    } else {
        context.ui.emit(Event::Warning {
            text:
                "it is not the snapshot of the project's lock: `enter` and `build` will not use it"
                    .to_owned(),
        });
    }
    Ok(())
}

fn export(layout: &Layout, image: &Image, file: &Path, tar: bool) -> Result<(), Failure> {
    let write = |output: &mut dyn Write| -> Result<(), Failure> {
        if tar {
            layout.export_tar(image, output)?;
        } else {
            layout.export_archive(image, output)?;
        }
        Ok(())
    };
    if file == Path::new("-") {
        return write(&mut io::BufWriter::new(io::stdout().lock()));
    }
    let failed = |error: io::Error| {
        Failure::new(
            Kind::CannotRun,
            format!("cannot write `{}`: {error}", file.display()),
        )
    };
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut temporary = tempfile::Builder::new()
        .prefix(".pristine-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)
        .map_err(failed)?;
    let output: &mut File = temporary.as_file_mut();
    let mut output = io::BufWriter::with_capacity(1 << 20, output);
    write(&mut output)?;
    output.flush().map_err(failed)?;
    drop(output);
    temporary
        .persist(file)
        .map_err(|error| failed(error.error))?;
    Ok(())
}
