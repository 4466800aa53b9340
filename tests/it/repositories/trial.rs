//! A project, a server of repositories, and what `pristine lock` would find there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pristine::cancel::Cancel;
use pristine::documents::config::Project;
use pristine::documents::lock::LockedRpm;
use pristine::documents::{Recipe, Template};
use pristine::events::{Event, Sink};
use pristine::resolve::places::Places;
use pristine::resolve::solving::Offer;
use pristine::resolve::{ResolveError, Supply, request};
use pristine::store::Store;
use pristine::store::fetch::{FetchOptions, Fetcher};

use crate::support::http::{Answer, Server};
use crate::support::packages::Repository;

/// Hears warnings.
#[derive(Default)]
struct Ear(Mutex<Vec<String>>);

impl Sink for Ear {
    fn emit(&self, event: Event) {
        if let Event::Warning { text } = event {
            self.0.lock().unwrap().push(text);
        }
    }
}

/// A project, and a server of the files in its folder `site`.
pub(super) struct Trial {
    folder: tempfile::TempDir,
    pub(super) server: Server,
    /// What the server says instead of a file, by path.
    pub(super) instead: Arc<Mutex<Vec<(String, Answer)>>>,
    ear: Ear,
    runtime: tokio::runtime::Runtime,
}

/// What came of a solve.
#[derive(Debug)]
pub(super) struct Solved {
    pub(super) rpms: Vec<LockedRpm>,
    pub(super) repositories: Vec<pristine::documents::lock::LockedRepository>,
    pub(super) left_out: Vec<String>,
}

impl Solved {
    pub(super) fn names(&self) -> String {
        let mut names: Vec<String> = self.rpms.iter().map(|rpm| rpm.nevra.to_string()).collect();
        names.sort();
        names.join(" ")
    }
}

impl Trial {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = folder.path().join("site");
        fs_err::create_dir(&site).unwrap();
        fs_err::write(
            folder.path().join("pristine.toml"),
            "format = 1\n[project]\nname = \"trial\"\ntemplate = \"base\"\n",
        )
        .unwrap();
        let instead: Arc<Mutex<Vec<(String, Answer)>>> = Arc::default();
        let said = Arc::clone(&instead);
        let server = Server::start(move |request| {
            let said = said.lock().unwrap();
            if let Some((_, answer)) = said.iter().find(|(path, _)| *path == request.path) {
                return answer.clone();
            }
            let path = request.path.split('?').next().unwrap();
            // As a proxy it is asked for whole URLs.
            let after = |rest: &'_ str| rest.find('/').map(|at| at + 1 + "http://".len());
            let start = path.strip_prefix("http://").and_then(after);
            let path = &path[start.unwrap_or(0)..];
            fs_err::read(site.join(path))
                .map_or_else(|_| Answer::status(404), |bytes| Answer::whole(&bytes))
        });
        Self {
            folder,
            server,
            instead,
            ear: Ear::default(),
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap(),
        }
    }

    pub(super) fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// A repository that the server has at `name`.
    pub(super) fn repository(&self, name: &str) -> Repository {
        Repository::new(&self.path("site").join(name), 7)
    }

    /// Writes a file of the site.
    pub(super) fn publish(&self, relative: &str, text: impl AsRef<[u8]>) {
        let path = self.path("site").join(relative);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    /// Lets the server say something else than the file at `path`.
    pub(super) fn answer(&self, path: &str, answer: Answer) {
        self.instead.lock().unwrap().push((path.to_owned(), answer));
    }

    /// A template whose repositories follow; `SERVER` stands for the server's address, `KEY` for the fingerprint of its key.
    pub(super) fn template(&self, top: &str, tables: &str) -> Template {
        let text = format!("format = 1\narchitecture = \"x86_64\"\n{top}\n{tables}");
        let fingerprint = crate::support::packages::Key::new(7).fingerprint();
        let text = text
            .replace("SERVER", &self.server.origin())
            .replace(
                "KEYRING",
                "keys = [{ url = \"SERVER/KEY\", fingerprint = \"FP\" }]",
            )
            .replace("SERVER", &self.server.origin())
            .replace("FP", &fingerprint);
        self.publish("KEY", crate::support::packages::Key::new(7).armored());
        fs_err::create_dir_all(self.path("templates")).unwrap();
        fs_err::write(self.path("templates/base.toml"), text).unwrap();
        Template::load(self.folder.path(), &"base".parse().unwrap())
            .unwrap_or_else(|error| panic!("{error}"))
    }

    fn with_supply<T>(&self, work: impl FnOnce(Supply<'_>) -> T) -> T {
        let project = Project::load(self.folder.path()).unwrap();
        let store = Store::open(&self.path("store")).unwrap();
        let options = FetchOptions {
            attempts: 2,
            first_pause: Duration::from_millis(1),
            minimum_rate: 0,
            ..FetchOptions::default()
        };
        let fetcher = Fetcher::new(store.clone(), options);
        let cancel = Cancel::new().unwrap();
        work(Supply {
            project: &project,
            store: &store,
            fetcher: &fetcher,
            runtime: &self.runtime,
            sink: &self.ear,
            cancel: &cancel,
        })
    }

    /// Names of what the template lets be seen.
    pub(super) fn visible(
        &self,
        template: &Template,
    ) -> Result<BTreeSet<String>, Box<ResolveError>> {
        self.with_supply(|supply| {
            let offer = Offer::read(supply, template, None, &[])?;
            let packages = offer.packages()?;
            let names = packages.into_iter().map(|(_, nevra)| nevra.to_string());
            Ok(names.collect())
        })
    }

    /// Solves what the template and the recipe ask for.
    pub(super) fn solve(
        &self,
        template: &Template,
        recipe: Option<&Recipe>,
    ) -> Result<Solved, Box<ResolveError>> {
        self.solve_after(template, recipe, None)
    }

    /// The same where there is an older lock.
    pub(super) fn solve_after(
        &self,
        template: &Template,
        recipe: Option<&Recipe>,
        old: Option<&Solved>,
    ) -> Result<Solved, Box<ResolveError>> {
        self.with_supply(|supply| {
            let mut offer = Offer::read(supply, template, recipe, &[])?;
            let old = old.map(|old| lock_of(template, old));
            offer.remember(old.as_ref());
            let places = Places::read(supply.project, template, recipe, &[]);
            let mut wanted = request::base(template, &places);
            wanted.extend(offer.template_groups());
            wanted.extend(offer.recipe_groups());
            let rpms = offer.solve(supply, "the trial", wanted, &[])?;
            Ok(Solved {
                rpms: rpms.install,
                repositories: offer.locked_repositories().0,
                left_out: offer.left_out().iter().map(ToString::to_string).collect(),
            })
        })
    }

    /// Fetches what was locked, as a build does it.
    pub(super) fn fetch(
        &self,
        template: &Template,
        solved: &Solved,
    ) -> Result<(), Box<ResolveError>> {
        let lock = lock_of(template, solved);
        self.with_supply(|supply| {
            let trust = pristine::resolve::packages::trust(supply, &lock, template, None)?;
            let all: Vec<&LockedRpm> = lock.rpms().collect();
            Ok(pristine::resolve::packages::fetch(
                supply, &lock, &trust, &all,
            )?)
        })
    }

    /// Warnings so far, with the server's address as `SERVER`.
    pub(super) fn warnings(&self) -> Vec<String> {
        let heard = self.ear.0.lock().unwrap();
        heard.iter().map(|text| self.plain(text)).collect()
    }

    /// An error and its causes, with the server's address as `SERVER`.
    pub(super) fn message(&self, error: &ResolveError) -> String {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        self.plain(&text)
    }

    pub(super) fn plain(&self, text: &str) -> String {
        text.replace(&self.server.origin(), "SERVER")
            .replace(self.folder.path().to_str().unwrap(), "PROJECT")
    }

    /// How often a path was asked for.
    pub(super) fn asked(&self, path: &str) -> usize {
        self.server.ranges(path).len()
    }
}

/// A lock of what was solved.
fn lock_of(template: &Template, solved: &Solved) -> pristine::documents::Lock {
    use pristine::documents::lock as locks;
    let document = || locks::LockedDocument {
        name: template.name.clone(),
        digest: template.digest,
    };
    locks::Lock {
        architecture: template.architecture,
        epoch: 0,
        inputs: locks::LockedInputs {
            template: document(),
            recipe: None,
            requests: vec![],
            left_out: vec![],
        },
        base: None,
        repositories: solved.repositories.clone(),
        keys: vec![],
        packages: vec![],
        tools: locks::LockedTools::default(),
        environment: locks::LockedEnvironment {
            tree: None,
            rpms: solved.rpms.clone(),
            replaced: vec![],
        },
    }
}

/// What dnf would show of repositories in folders.
pub(super) struct Dnf {
    root: tempfile::TempDir,
    arguments: Vec<String>,
}

impl Dnf {
    /// `None`, with a word about why, where there is no dnf.
    pub(super) fn new(folders: &[&Path], arguments: &[&str]) -> Option<Self> {
        if !Path::new("/usr/bin/dnf").exists() {
            crate::conformance::skip("there is no dnf");
            return None;
        }
        let root = tempfile::tempdir().unwrap();
        let mut all: Vec<String> = [
            "-y",
            "--releasever=9",
            "--forcearch=x86_64",
            "--setopt=reposdir=/none",
            "--setopt=gpgcheck=0",
            "--setopt=install_weak_deps=0",
        ]
        .map(str::to_owned)
        .to_vec();
        all.push(format!("--installroot={}", root.path().display()));
        for folder in folders {
            let name = folder.file_name().unwrap().to_str().unwrap();
            all.push(format!("--repofrompath={name},file://{}", folder.display()));
        }
        all.extend(arguments.iter().map(ToString::to_string));
        Some(Self {
            root,
            arguments: all,
        })
    }

    /// Enables a stream without a look at what it requires.
    pub(super) fn enable(&self, module: &str, stream: u64) {
        let folder = self.root.path().join("etc/dnf/modules.d");
        fs_err::create_dir_all(&folder).unwrap();
        let text =
            format!("[{module}]\nname={module}\nstream={stream}\nprofiles=\nstate=enabled\n");
        fs_err::write(folder.join(format!("{module}.module")), text).unwrap();
    }

    pub(super) fn run(&self, arguments: &[&str]) -> (bool, String) {
        let output = std::process::Command::new("/usr/bin/dnf")
            .args(&self.arguments)
            .args(arguments)
            .env("HOME", self.root.path())
            .env("LC_ALL", "C")
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }

    /// Full names of the packages that it lets be seen.
    pub(super) fn visible(&self) -> BTreeSet<String> {
        let (good, text) = self.run(&[
            "-q",
            "repoquery",
            "--qf",
            "%{name}-%{version}-%{release}.%{arch}",
            "--available",
        ]);
        assert!(good, "{text}");
        let names = text.lines().filter(|line| line.ends_with(".noarch"));
        names.map(str::to_owned).collect()
    }
}
