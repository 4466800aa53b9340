//! What every verb starts with: the project's documents, the store, the backend.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::Runtime;

use crate::backend::Backend;
use crate::cancel::Cancel;
use crate::commands::choosing;
use crate::documents::config::{BackendChoice, Package, Project};
use crate::documents::lock::{Inputs, LockedDocument, SpecInput};
use crate::documents::recipe::Recipe;
use crate::documents::template::Template;
use crate::error::{Failure, Kind};
use crate::events::{Event, Sink as _};
use crate::oci::Layout;
use crate::record::StepRecord;
use crate::resolve::Supply;
use crate::resolve::places::Places;
use crate::store::Store;
use crate::store::fetch::{FetchOptions, Fetcher};
use crate::ui::Ui;

/// Partial downloads older than this are not resumed any more.
const PARTIALS_KEPT: Duration = Duration::from_hours(72);

/// What the command line says, and what the program shares.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) ui: &'a Ui,
    pub(super) cancel: Cancel,
    pub(super) runtime: OnceLock<Runtime>,
    pub(super) store_option: Option<PathBuf>,
    pub(super) backend_option: Option<BackendChoice>,
    pub(super) folder: PathBuf,
    /// Whether nothing may be asked of the network.
    pub(super) offline: bool,
    /// When the program began.
    pub(super) started: Started,
    /// The steps that are done, for the record.
    pub(super) steps: Mutex<Vec<StepRecord>>,
}

/// When the program began, by the calendar and by the clock that only goes forward.
#[derive(Debug, Clone, Copy)]
pub(super) struct Started {
    /// Since 1970.
    pub(super) time: Duration,
    pub(super) instant: Instant,
}

impl Started {
    pub(super) fn now() -> Self {
        Self {
            time: now(),
            instant: Instant::now(),
        }
    }

    /// The present by the calendar as it was at the start: a clock that is set meanwhile makes no run end before
    /// it began.
    pub(super) fn present(&self) -> Duration {
        self.time + self.instant.elapsed()
    }
}

/// A project, loaded and checked as far as its own files go.
#[derive(Debug)]
pub(super) struct Documents {
    pub(super) project: Project,
    pub(super) template: Template,
    pub(super) recipe: Option<Recipe>,
    pub(super) packages: Vec<Package>,
}

/// Where the work is done.
#[derive(Debug)]
pub(super) struct Workshop {
    pub(super) store: Store,
    pub(super) fetcher: Fetcher,
    pub(super) backend: Box<dyn Backend>,
    /// Which backend that is.
    pub(super) choice: BackendChoice,
    pub(super) layout: Layout,
    /// What dead runs had left, a line each.
    pub(super) swept: Vec<String>,
}

impl Context<'_> {
    /// Loads the project's files.
    pub(super) fn documents(&self) -> Result<Documents, Failure> {
        let project = Project::load(&self.folder)?;
        let template = Template::load(&project.directory, &project.template)?;
        let recipe = match &project.recipe {
            Some(name) => Some(Recipe::load(&project.directory, name)?),
            None => None,
        };
        let packages = project.packages()?;
        Ok(Documents {
            project,
            template,
            recipe,
            packages,
        })
    }

    /// Opens the store that the command line, the environment or the project file names.
    pub(super) fn store(&self, project: &Project) -> Result<Store, Failure> {
        let path = self
            .store_option
            .clone()
            .unwrap_or_else(|| project.directory.join(&project.store));
        Ok(Store::open(&path)?)
    }

    /// Opens store and backend, and removes what dead runs left there.
    pub(super) fn workshop(&self, project: &Project) -> Result<Workshop, Failure> {
        let store = self.store(project)?;
        store.remember_project(&project.directory, project.name.as_str())?;
        let choice = self.backend_option.or(project.backend);
        let (choice, backend) = choosing::open(choice, store.root(), self.ui)?;
        let mut swept = backend.sweep()?;
        let before = SystemTime::UNIX_EPOCH + now().saturating_sub(PARTIALS_KEPT);
        let temporary = store.sweep_temporary(before)?;
        swept.extend(temporary.iter().map(|path| path.display().to_string()));
        tracing::info!(?swept);
        let fetcher = self.fetcher(&store);
        let layout = Layout::of(&store)?;
        layout.sweep()?;
        Ok(Workshop {
            store,
            fetcher,
            backend,
            choice,
            layout,
            swept,
        })
    }

    /// Downloads into the store, where they are allowed.
    pub(super) fn fetcher(&self, store: &Store) -> Fetcher {
        let options = FetchOptions {
            offline: self.offline,
            ..FetchOptions::default()
        };
        Fetcher::new(store.clone(), options)
    }

    /// Where downloads come from and go to.
    pub(super) fn supply<'a>(
        &'a self,
        project: &'a Project,
        workshop: &'a Workshop,
    ) -> Result<Supply<'a>, Failure> {
        Ok(Supply {
            project,
            store: &workshop.store,
            fetcher: &workshop.fetcher,
            runtime: self.runtime()?,
            sink: self.ui,
            cancel: &self.cancel,
        })
    }

    /// What asynchronous work runs on: started with the first of it, which many commands never have.
    pub(super) fn runtime(&self) -> Result<&Runtime, Failure> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let made = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| Failure::new(Kind::CannotRun, error))?;
        // Where another thread was faster, this one is dropped.
        Ok(self.runtime.get_or_init(|| made))
    }

    /// Fails when Ctrl-C was pressed: between steps, so that every step need not ask.
    pub(super) fn go_on(&self) -> Result<(), Failure> {
        if self.cancel.is_cancelled() {
            return Err(Failure::new(Kind::Interrupted, "interrupted"));
        }
        Ok(())
    }

    /// Runs asynchronous work that Ctrl-C ends.
    pub(super) fn interruptible<T, E: Into<Failure>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        self.runtime()?.block_on(async {
            tokio::select! {
                done = work => done.map_err(Into::into),
                () = self.cancel.cancelled() => Err(Failure::new(Kind::Interrupted, "interrupted")),
            }
        })
    }

    /// Does one named step; `result` says what came of it in a few words.
    pub(super) fn step<T, E: Into<Failure>>(
        &self,
        step: &str,
        work: impl FnOnce() -> Result<T, E>,
        result: impl FnOnce(&T) -> String,
    ) -> Result<T, Failure> {
        self.go_on()?;
        self.ui.emit(Event::StepStarted {
            step: step.to_owned(),
        });
        let started = Instant::now();
        let done = work().map_err(Into::into)?;
        let (result, took) = (result(&done), started.elapsed());
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let record = StepRecord {
            step: step.to_owned(),
            result: result.clone(),
            at: milliseconds(started.duration_since(self.started.instant)),
            milliseconds: milliseconds(took),
        };
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps.push(record);
        drop(steps);
        self.ui.emit(Event::StepDone {
            step: step.to_owned(),
            result,
            took,
        });
        Ok(done)
    }
}

impl Documents {
    /// Where these files ask for something.
    pub(super) fn places(&self) -> Places {
        let recipe = self.recipe.as_ref();
        Places::read(&self.project, &self.template, recipe, &self.packages)
    }

    /// The macros of specs and builds: the template's, and the project's over them.
    pub(super) fn macros(&self) -> BTreeMap<String, String> {
        let build = &self.project.build;
        let tag = |name: &str, value: &Option<crate::documents::Line>| {
            value
                .as_ref()
                .map(|value| (name.to_owned(), value.to_string()))
        };
        let own = self.template.macros.iter().chain(&build.macros);
        own.map(|(name, value)| (name.to_string(), value.to_string()))
            .chain(tag("vendor", &build.vendor))
            .chain(tag("packager", &build.packager))
            .collect()
    }

    /// What the lock is compared with.
    pub(super) fn inputs(&self) -> Result<Inputs, Failure> {
        let mut packages = BTreeMap::new();
        for package in &self.packages {
            let digest = digest_of(&self.project.directory.join(&package.spec))?;
            let input = SpecInput {
                spec: package.spec.clone(),
                digest,
                reading: None,
            };
            packages.insert(package.name.clone(), input);
        }
        Ok(Inputs {
            template: LockedDocument {
                name: self.template.name.clone(),
                digest: self.template.digest,
            },
            recipe: self.recipe.as_ref().map(|recipe| LockedDocument {
                name: recipe.name.clone(),
                digest: recipe.digest,
            }),
            requests: self.project.requests(),
            packages,
        })
    }
}

pub(super) fn digest_of(path: &Path) -> Result<crate::digest::Digest, Failure> {
    fs_err::read(path)
        .map(|bytes| crate::digest::Digest::of(&bytes))
        .map_err(|error| Failure::new(Kind::Input, error))
}

/// The time now, as a duration since 1970: read here and passed on.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the clock"
)]
pub(super) fn now() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// A time as records have it.
pub(super) fn timestamp(since_1970: Duration) -> String {
    use time::macros::format_description;
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let moment = time::OffsetDateTime::UNIX_EPOCH + since_1970;
    moment.format(form).unwrap_or_default()
}

/// Processors that this process may use.
pub(super) fn processors() -> NonZero<usize> {
    std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}
