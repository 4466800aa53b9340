//! `pristine demo`: the embedded distribution, a project to try, and its first build.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use include_dir::{Dir, include_dir};
use minidistro::{Options, Progress, Suite};

use crate::cli::{BuildArgs, DemoArgs};
use crate::commands::build;
use crate::commands::context::Context;
use crate::documents::{Project, config};
use crate::error::{Failure, Kind};
use crate::events::{Event, Sink as _};
use crate::files::write_atomic;
use crate::ui;

/// The project as it is written; `SUITE` and the mirror are filled in.
static PROJECT: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/src/commands/demo/project");

/// The Debian pool that the project's specs name; `[mirrors]` leads from here to the mirror in use.
const POOL: &str = "http://ftp.debian.org/debian/";

/// The verb.
pub(super) fn run(context: Context<'_>, args: &DemoArgs) -> Result<u8, Failure> {
    let suite: Suite = args
        .suite
        .parse()
        .map_err(|error: String| Failure::new(Kind::Input, error))?;
    let mirror = mirror(args);
    write_project(context.ui, &args.folder, suite, &mirror)?;
    let mut context = Context {
        folder: args.folder.clone(),
        ..context
    };
    let project = Project::load(&context.folder)?;
    // The store first: it refuses folders with the things of others in them.
    context.store(&project)?;
    distribution(&context, suite, &mirror)?;
    let code = build::run(&mut context, &BuildArgs::default())?;
    what_next(&context, code);
    Ok(code)
}

/// The mirror that the user names, or the host's apt uses, or a public one; with a slash at the end.
fn mirror(args: &DemoArgs) -> String {
    let mirror = args
        .mirror
        .clone()
        .or_else(|| minidistro::of_host(Path::new("/etc/apt")))
        .unwrap_or_else(|| minidistro::FALLBACK.to_owned());
    format!("{}/", mirror.trim_end_matches('/'))
}

/// Writes the project; one that is there already stays as its user left it.
fn write_project(ui: &ui::Ui, folder: &Path, suite: Suite, mirror: &str) -> Result<(), Failure> {
    let failed = |error| Failure::new(Kind::CannotRun, error);
    if folder.join(config::FILE).exists() {
        ui.note(&format!(
            "using the project in {} as it is",
            folder.display()
        ));
        return Ok(());
    }
    fs_err::create_dir_all(folder).map_err(failed)?;
    let mut there = fs_err::read_dir(folder).map_err(failed)?;
    if there.next().is_some() {
        let text = format!("`{}` is not empty and no project", folder.display());
        return Err(Failure::new(Kind::Input, text).hint("name a new folder: pristine demo DIR"));
    }
    let mut files = Vec::new();
    list(&PROJECT, &mut files);
    for (path, content) in files {
        let target = folder.join(path);
        if let Some(parent) = target.parent() {
            fs_err::create_dir_all(parent).map_err(failed)?;
        }
        write_atomic(&target, &filled(path, content, suite, mirror)).map_err(failed)?;
    }
    ui.note(&format!(
        "wrote a project of ten packages to {}",
        folder.display()
    ));
    Ok(())
}

fn list<'a>(folder: &'a Dir<'_>, files: &mut Vec<(&'a Path, &'a [u8])>) {
    files.extend(folder.files().map(|file| (file.path(), file.contents())));
    for folder in folder.dirs() {
        list(folder, files);
    }
}

/// The two files that depend on where and from what the demonstration is made.
fn filled(path: &Path, content: &[u8], suite: Suite, mirror: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(content);
    if path == Path::new(config::FILE) {
        text.replace(&format!("= [\"{POOL}\"]"), &format!("= [\"{mirror}\"]"))
            .into_bytes()
    } else if path == Path::new("templates/minidistro.toml") {
        text.replace("suite = \"trixie\"", &format!("suite = \"{suite}\""))
            .into_bytes()
    } else {
        content.to_vec()
    }
}

/// Makes the distribution of Debian's packages, in the project's store folder.
fn distribution(context: &Context<'_>, suite: Suite, mirror: &str) -> Result<(), Failure> {
    let home: PathBuf = context.folder.join("cache/minidistro");
    let output = home.join(suite.codename());
    let options = Options {
        suite,
        mirror: Some(mirror.trim_end_matches('/').to_owned()),
        packages: minidistro::default_packages(suite)
            .into_iter()
            .map(str::to_owned)
            .collect(),
        output: output.clone(),
        downloads: home.join("downloads"),
        sources: Vec::new(),
    };
    context.ui.note(&format!(
        "making the distribution of {suite}'s packages from {mirror}"
    ));
    context.step(
        "making the distribution",
        || -> Result<_, Failure> {
            let show = Bar::new(context.ui);
            let progress = |progress| show.take(&progress);
            let summary = context.interruptible(minidistro::generate(&options, &progress))?;
            let key = minidistro::signing_key_armored()?;
            write_atomic(&output.join("RPM-GPG-KEY-minidistro"), key.as_bytes())
                .map_err(|error| Failure::new(Kind::CannotRun, error))?;
            Ok(summary)
        },
        |summary| format!("{} packages, {}", summary.packages, ui::size(summary.bytes)),
    )?;
    Ok(())
}

/// The generator's progress as transfers.
struct Bar<'a> {
    ui: &'a ui::Ui,
    packages: AtomicU64,
    bytes: AtomicU64,
    files: AtomicU64,
    done: AtomicU64,
}

impl<'a> Bar<'a> {
    fn new(ui: &'a ui::Ui) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            ui,
            packages: zero(),
            bytes: zero(),
            files: zero(),
            done: zero(),
        }
    }

    fn take(&self, progress: &Progress) {
        match progress {
            Progress::Planned { packages, bytes } => {
                self.packages.store(*packages as u64, Ordering::Relaxed);
                self.bytes.store(*bytes, Ordering::Relaxed);
            }
            Progress::Downloaded { bytes, .. } => {
                self.done.fetch_add(*bytes, Ordering::Relaxed);
            }
            Progress::Converted { .. } => {
                self.files.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
        self.ui.emit(Event::Transfer {
            files: self.files.load(Ordering::Relaxed),
            files_total: self.packages.load(Ordering::Relaxed),
            bytes: self.done.load(Ordering::Relaxed),
            bytes_total: self.bytes.load(Ordering::Relaxed),
        });
    }
}

fn what_next(context: &Context<'_>, code: u8) {
    let folder = context.folder.display();
    context.ui.result(&format!(
        "\n{}\n\n  cd {folder}\n  \
         pristine enter                    a shell in the environment, gone when you leave it\n  \
         pristine build                    the same again, from nothing: the same bytes\n  \
         pristine snapshot export x.tar    the environment as an image for skopeo, podman or docker\n\n\
         README.md there says what to break, and what happens then.",
        if code == 0 { "Everything was built. What to try next:" } else { "What to try next:" },
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_in_is_there_to_be_filled() {
        let file = |path: &str| PROJECT.get_file(path).unwrap().contents();
        let project = filled(
            Path::new("pristine.toml"),
            file("pristine.toml"),
            Suite::Sid,
            "http://m/debian/",
        );
        assert!(
            String::from_utf8(project)
                .unwrap()
                .contains("= [\"http://m/debian/\"]")
        );
        let path = "templates/minidistro.toml";
        let template =
            String::from_utf8(filled(Path::new(path), file(path), Suite::Sid, "http://m/"))
                .unwrap();
        assert!(template.contains("suite = \"sid\""));
        let fingerprint = minidistro::FINGERPRINT.to_uppercase();
        assert!(
            template.contains(&fingerprint),
            "the template pins another key than {fingerprint}"
        );
    }
}
