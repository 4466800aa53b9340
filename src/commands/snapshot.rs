//! `pristine snapshot list|export|load|push|pull|import`.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use comfy_table::{Table, presets};

use crate::backend::docker::{Address, Brand};
use crate::cli::SnapshotVerb;
use crate::commands::context::Context;
use crate::commands::lock;
use crate::digest::Digest;
use crate::documents::config::BackendChoice;
use crate::documents::lock::FILE;
use crate::documents::{Lock, Project, Template};
use crate::engine;
use crate::environment::snapshot::{self, LOCK_LABEL, PROJECT_LABEL};
use crate::error::{Failure, Kind};
use crate::events::{Event, Sink as _};
use crate::oci::{Image, Layout};
use crate::registry::{Registry, RegistryOptions};
use crate::ui;

/// The verb.
pub(super) fn run(context: &Context<'_>, verb: &SnapshotVerb) -> Result<u8, Failure> {
    let project = Project::load(&context.folder)?;
    let store = context.store(&project)?;
    let layout = Layout::open(&store.oci_folder())?;
    match verb {
        SnapshotVerb::List => list(context, &layout)?,
        SnapshotVerb::Export {
            file,
            snapshot,
            tar,
        } => {
            let image = chosen(context, &layout, snapshot.as_deref())?;
            export(&layout, &image, file, *tar)?;
            context
                .ui
                .note(&format!("exported {}", image.reference.manifest));
        }
        SnapshotVerb::Load { name, snapshot } => {
            let image = chosen(context, &layout, snapshot.as_deref())?;
            let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
            let brand = match context.backend_option.or(project.backend) {
                Some(BackendChoice::Podman) => Brand::Podman,
                _ => Brand::Docker,
            };
            let address = Address::find(brand, &|name| std::env::var(name).ok())?;
            let names = (repository, tag);
            context.interruptible(engine::load(&layout, &image, names, &address))?;
            context.ui.result(&format!("{repository}:{tag}"));
        }
        SnapshotVerb::Push { name, snapshot } => {
            let image = chosen(context, &layout, snapshot.as_deref())?;
            let registry = Registry::open(name, RegistryOptions::default())?;
            context.interruptible(registry.push(&layout, &image, context.ui))?;
            let pushed = name.with_digest(&image.reference.manifest);
            context.ui.result(&pushed.to_string());
        }
        SnapshotVerb::Pull { name } => {
            let template = Template::load(&project.directory, &project.template)?;
            let architecture = template.architecture.as_str();
            let registry = Registry::open(name, RegistryOptions::default())?;
            let image = context.interruptible(registry.pull(&layout, architecture, context.ui))?;
            context.ui.result(&image.reference.manifest.to_string());
            tell_whose(context, &project, &image)?;
        }
        SnapshotVerb::Import { file } => {
            let mut archive =
                fs_err::File::open(file).map_err(|error| Failure::new(Kind::Input, error))?;
            let image = layout.import_archive(&mut archive)?;
            context.ui.result(&image.manifest.to_string());
        }
    }
    Ok(0)
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

/// The snapshot that the user names, or the one of the project's lock.
fn chosen(
    context: &Context<'_>,
    layout: &Layout,
    beginning: Option<&str>,
) -> Result<Image, Failure> {
    match beginning {
        Some(beginning) => by_beginning(layout, beginning),
        None => of_project(context, layout),
    }
}

fn list(context: &Context<'_>, layout: &Layout) -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["snapshot", "project", "lock", "layers", "size"]);
    for digest in layout.images()? {
        let image = layout.describe(&digest)?;
        let label = |key: &str| image.config.labels.get(key).cloned().unwrap_or_default();
        let lock: String = label(LOCK_LABEL)
            .trim_start_matches("sha256:")
            .chars()
            .take(12)
            .collect();
        let layers = &image.reference.layers;
        table.add_row([
            digest.short(),
            label(PROJECT_LABEL),
            lock,
            layers.len().to_string(),
            ui::size(layers.iter().map(|layer| layer.size).sum()),
        ]);
    }
    context.ui.result(&table.trim_fmt());
    Ok(())
}

fn by_beginning(layout: &Layout, beginning: &str) -> Result<Image, Failure> {
    let beginning = beginning.trim_start_matches("sha256:");
    let found: Vec<Digest> = layout
        .images()?
        .into_iter()
        .filter(|digest| digest.hex().starts_with(beginning))
        .collect();
    match found.as_slice() {
        [digest] => Ok(layout.image(digest)?),
        [] => Err(Failure::new(
            Kind::Input,
            format!("no snapshot begins with `{beginning}`"),
        )
        .hint("see what there is: pristine snapshot list")),
        several => Err(Failure::new(
            Kind::Input,
            format!(
                "{} snapshots begin with `{beginning}`: give more digits",
                several.len()
            ),
        )),
    }
}

fn of_project(context: &Context<'_>, layout: &Layout) -> Result<Image, Failure> {
    let documents = context.documents()?;
    let found = match lock::old_lock(&documents)? {
        Some(lock) => snapshot::find(layout, &lock)?,
        None => None,
    };
    found.ok_or_else(|| {
        Failure::new(Kind::Lock, "there is no snapshot of the project's lock")
            .hint("make it: pristine build")
    })
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
