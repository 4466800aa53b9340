//! diffoscope's pages about the packages that differ, beside the audit's own report.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Ground, rebuild::Subject};
use crate::build::run::REPOSITORY;
use crate::commands::context::Context;
use crate::compare::{DeepView, Diffoscope};
use crate::error::{Failure, Kind};
use crate::record::audit::{DeepRecord, PackageAudit};
use crate::store::Store;

/// The folder of the pages, in the audit's.
const FOLDER: &str = "deep";
/// The longest that one pair of files may take, and all together.
const ONE: Duration = Duration::from_mins(5);
const ALL: Duration = Duration::from_mins(30);

/// diffoscope and the time that it has.
#[derive(Debug)]
pub(in crate::commands) struct Deep {
    program: Diffoscope,
    spent: Duration,
}

impl Deep {
    /// Ready, where it is installed; else that is said, with what to do.
    pub(in crate::commands) fn ready(context: &Context<'_>) -> Option<Self> {
        let Some(program) = Diffoscope::find() else {
            context.ui.note(
                "diffoscope is not installed, and so there are no deep views; all else goes on without it\n  \
                 hint: install it: `apt install diffoscope` (`diffoscope-minimal` is smaller), `dnf install diffoscope`, or `pip install diffoscope`",
            );
            return None;
        };
        Some(Self {
            program,
            spent: Duration::ZERO,
        })
    }

    /// Its page about two files, which lies in `folder` as `artefact` does, with another ending.
    pub(in crate::commands) fn look(
        &mut self,
        (context, store): (&Context<'_>, &Store),
        files: (&Path, &Path),
        (folder, artefact): (&Path, &Path),
    ) -> Result<DeepRecord, Failure> {
        context.go_on()?;
        let time = ONE.min(ALL.saturating_sub(self.spent));
        if time.is_zero() {
            let text = format!(
                "the {} minutes of all deep views are over",
                ALL.as_secs() / 60
            );
            return Ok(DeepRecord::Nothing { because: text });
        }
        let mut path = artefact.as_os_str().to_owned();
        path.push(".html");
        let path = PathBuf::from(path);
        let page = folder.join(&path);
        if let Some(parent) = page.parent() {
            fs_err::create_dir_all(parent).map_err(|error| Failure::new(Kind::CannotRun, error))?;
        }
        let temporary = store.scratch_folder()?;
        let started = Instant::now();
        let bounds = (temporary.path(), time);
        let view = self.program.look(files, &page, bounds, &context.cancel)?;
        self.spent += started.elapsed();
        context.go_on()?;
        Ok(match view {
            DeepView::Page => DeepRecord::Page { path },
            DeepView::Nothing(because) => DeepRecord::Nothing { because },
        })
    }
}

/// Adds a page for each pair of package files that differ.
pub(super) fn views(
    ground: Ground<'_>,
    folder: &Path,
    (deep, subjects): (&mut Deep, &[Subject<'_>]),
    packages: &mut BTreeMap<&str, PackageAudit>,
) -> Result<(), Failure> {
    ground
        .context
        .ui
        .note(&format!("{} looks at what differs", deep.program.version()));
    for subject in subjects {
        let Some(package) = packages.get_mut(subject.package.name.as_str()) else {
            continue;
        };
        let differ = package.artefacts.iter_mut();
        for artefact in differ.filter(|one| one.comparison.is_some()) {
            let outputs = &subject.package.outputs;
            let Some(kept) = outputs.iter().find(|file| file.path == artefact.path) else {
                continue;
            };
            let Some(first) = ground.artefact(kept)? else {
                continue;
            };
            let second = folder.join(REPOSITORY).join(&artefact.path);
            let place = (ground.context, &ground.workshop.store);
            let named = Path::new(FOLDER).join(&artefact.path);
            let view = deep.look(place, (&first, &second), (folder, &named))?;
            artefact.deep = Some(view);
        }
    }
    Ok(())
}
