//! The project file, `pristine.toml` (`docs/project-file.md`).

mod audit;
mod keep;
mod packages;
mod trace;

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use audit::RawAudit;
pub use audit::{AllowedDifference, Audit};
pub use keep::Keep;
use keep::RawStore;
use packages::PackageSettings;
pub use packages::{Limits, Package};
use trace::RawTrace;
pub use trace::{Allowance, Allowed, Trace};

use super::error::{DocumentError, Problem};
use super::source::{DOCUMENT_LIMIT, Source, nearest, read};
use super::values::{ByteSize, Cores, Glob, Line, MacroName, Name, Period, RelativePath, Url};

/// The name of the project file.
pub const FILE: &str = "pristine.toml";

/// Where environments are made and packages are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendChoice {
    /// Namespaces of the kernel, without a daemon.
    Native,
    /// Docker Engine.
    Docker,
    /// Podman, by its Docker-compatible socket.
    Podman,
}

impl BackendChoice {
    /// All, in the order in which they are tried where none is chosen.
    pub const ALL: [Self; 3] = [Self::Native, Self::Docker, Self::Podman];

    /// Its name in the project file and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

/// A project: a directory with a `pristine.toml`.
#[derive(Debug, Clone)]
pub struct Project {
    /// The project file.
    pub path: PathBuf,
    /// The directory that holds it; relative paths in all documents start here.
    pub directory: PathBuf,
    /// The project's name.
    pub name: Name,
    /// The template to build on: `templates/NAME.toml`.
    pub template: Name,
    /// The recipe to add: `recipes/NAME.toml` or the script `recipes/NAME`.
    pub recipe: Option<Name>,
    /// How the recipe runs.
    pub recipe_settings: RecipeSettings,
    /// Where the store is, as the project file says; relative to `directory`.
    pub store: PathBuf,
    /// Which runs and snapshots stay.
    pub keep: Keep,
    /// The backend that the project file asks for.
    pub backend: Option<BackendChoice>,
    /// How packages are built.
    pub build: BuildSettings,
    /// How what builds use is held against what they declare.
    pub trace: Trace,
    /// How packages are audited.
    pub audit: Audit,
    /// URL prefixes and what they are replaced with.
    pub mirrors: BTreeMap<Url, Vec<Url>>,
    specs: Vec<Spanned<Glob>>,
    overrides: BTreeMap<Spanned<Name>, PackageSettings>,
    text: String,
}

/// How packages are built: `[build]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct BuildSettings {
    /// Wall time of one package's build.
    pub timeout: Period,
    /// Time without output.
    pub silence: Period,
    /// Memory of one build.
    pub memory: ByteSize,
    /// Swap of one build beside its memory.
    pub swap: ByteSize,
    /// Processes and threads of one build.
    pub processes: NonZeroU64,
    /// Processor time of one build.
    pub cpu_time: Period,
    /// Share of the machine's processors of one build; all where `None`.
    pub cores: Option<Cores>,
    /// What the clone of one build may hold beside the environment.
    pub disk: ByteSize,
    /// Parallel jobs within one build (`%_smp_mflags`); the machine's processors where `None`.
    pub jobs: Option<NonZeroU32>,
    /// The `Vendor` of what is built.
    pub vendor: Option<Line>,
    /// The `Packager` of what is built.
    pub packager: Option<Line>,
    /// RPM macros of all builds, over those of the template.
    pub macros: BTreeMap<MacroName, Line>,
    /// How many runs are kept: what `keep.last` of `[store]` says too.
    keep_runs: Option<Spanned<NonZeroU32>>,
}

impl Default for BuildSettings {
    fn default() -> Self {
        Self {
            timeout: Period::seconds(6 * 3600),
            silence: Period::seconds(3600),
            memory: ByteSize::NONE,
            swap: ByteSize::NONE,
            cpu_time: Period::NONE,
            cores: None,
            disk: ByteSize::NONE,
            processes: NonZeroU64::MIN.saturating_add(16383),
            jobs: None,
            vendor: None,
            packager: None,
            macros: BTreeMap::new(),
            keep_runs: None,
        }
    }
}

/// How the recipe runs: `[recipe]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct RecipeSettings {
    /// Whether a recipe that is a script has the network. Commands of a declared recipe say so themselves.
    pub network: bool,
    /// Wall time of one command of the recipe, or of the script.
    pub timeout: Period,
}

impl Default for RecipeSettings {
    fn default() -> Self {
        Self {
            network: false,
            timeout: Period::seconds(3600),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawDocument {
    #[serde(rename = "format")]
    _format: u64,
    backend: Option<BackendChoice>,
    project: RawProject,
    #[serde(default)]
    packages: RawPackages,
    #[serde(default)]
    package: BTreeMap<Spanned<Name>, PackageSettings>,
    #[serde(default)]
    store: RawStore,
    #[serde(default)]
    build: BuildSettings,
    #[serde(default)]
    recipe: RecipeSettings,
    #[serde(default)]
    trace: RawTrace,
    #[serde(default)]
    audit: RawAudit,
    #[serde(default)]
    mirrors: BTreeMap<Url, Vec<Url>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawProject {
    name: Name,
    template: Name,
    recipe: Option<Name>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
struct RawPackages {
    specs: Option<Vec<Spanned<Glob>>>,
}

impl Project {
    /// Reads `pristine.toml` in `directory`.
    pub fn load(directory: &Path) -> Result<Self, DocumentError> {
        let path = directory.join(FILE);
        let text = read(&path, DOCUMENT_LIMIT).map_err(|error| match error.problem() {
            Problem::Missing => error
                .note("a project is a directory with this file; `pristine demo` writes one to try"),
            _ => error,
        })?;
        Self::parse(&text, &path)
    }

    /// The project of which `text` is the project file, which lies at `path`. Reads nothing.
    pub fn parse(text: &str, path: &Path) -> Result<Self, DocumentError> {
        let source = Source { path, text };
        let raw: RawDocument = source.parse()?;
        let specs = raw.packages.specs.unwrap_or_else(default_specs);
        for spec in &specs {
            check_spec_pattern(&source, spec)?;
        }
        for (name, settings) in &raw.package {
            if let Some(both) = settings
                .with
                .iter()
                .find(|with| settings.without.contains(with))
            {
                let message = format!(
                    "`{}` is built both with and without `{both}`",
                    name.get_ref()
                );
                return Err(source.error(name.span(), message));
            }
        }
        let trace = Trace::of(&source, raw.trace)?;
        let audit = Audit::of(&source, raw.audit)?;
        let keep = Keep::of(&source, &raw.store, raw.build.keep_runs.as_ref())?;
        Ok(Self {
            path: path.to_owned(),
            directory: path.parent().unwrap_or(Path::new("")).to_owned(),
            name: raw.project.name,
            template: raw.project.template,
            recipe: raw.project.recipe,
            recipe_settings: raw.recipe,
            store: raw
                .store
                .path
                .map_or_else(|| "cache".into(), |path| path.as_str().into()),
            keep,
            backend: raw.backend,
            build: raw.build,
            trace,
            audit,
            mirrors: raw.mirrors,
            specs,
            overrides: raw.package,
            text: text.to_owned(),
        })
    }

    /// What the project file itself asks of the lock, a line each: written into the lock, so that
    /// a change is seen and can be named.
    pub fn requests(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .build
            .macros
            .iter()
            .map(|(name, value)| format!("macro {name} = {value}"))
            .collect();
        for (name, settings) in &self.overrides {
            lines.extend(
                settings
                    .with
                    .iter()
                    .map(|with| format!("{} with {with}", name.get_ref())),
            );
            lines.extend(
                settings
                    .without
                    .iter()
                    .map(|without| format!("{} without {without}", name.get_ref())),
            );
        }
        lines.sort();
        lines.dedup();
        lines
    }

    /// `url`, or what `[mirrors]` replaces it with: the longest prefix that fits decides.
    pub fn mirrored(&self, url: &str) -> Vec<String> {
        // A slash at the end says nothing: base URLs are written with and without one.
        let rest_after = |prefix: &str| {
            url.strip_prefix(prefix.trim_end_matches('/'))
                .filter(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let longest = self
            .mirrors
            .iter()
            .filter_map(|(prefix, mirrors)| Some((rest_after(prefix.as_str())?, mirrors)))
            .min_by_key(|(rest, _)| rest.len());
        match longest {
            Some((rest, mirrors)) => {
                let rest = rest.trim_start_matches('/');
                let join = |mirror: &Url| {
                    format!(
                        "{}/{rest}",
                        mirror.resolve(&self.directory).trim_end_matches('/')
                    )
                };
                mirrors.iter().map(join).collect()
            }
            None => vec![url.to_owned()],
        }
    }
}

/// Adds the nearest of `known` and what there is to an error about `text`.
pub(super) fn with_known(
    mut error: DocumentError,
    text: &str,
    what: &str,
    known: &[&str],
) -> DocumentError {
    if let Some(nearest) = nearest(text, known) {
        error = error.note(format!("did you mean `{nearest}`?"));
    }
    if known.is_empty() {
        error.note(format!("there are no {what}"))
    } else {
        error.note(format!("{what}: {}", known.join(", ")))
    }
}

fn default_specs() -> Vec<Spanned<Glob>> {
    "packages/*/*.spec"
        .parse()
        .map(|glob| vec![Spanned::new(0..0, glob)])
        .unwrap_or_default()
}

/// Whether an allowance is for a package of the project: for those that it names, for all where it names none.
fn is_for(packages: &[String], package: &str) -> bool {
    packages.is_empty() || packages.iter().any(|name| name == package)
}

fn check_spec_pattern(source: &Source<'_>, pattern: &Spanned<Glob>) -> Result<(), DocumentError> {
    let text = pattern.get_ref().as_str();
    let note = "write a pattern below the project's directory that ends with `.spec` (`packages/*/*.spec`)";
    if text.strip_suffix(".spec").is_none() {
        return Err(source
            .error(pattern.span(), format!("`{text}` does not name spec files"))
            .note(note));
    }
    if text.parse::<RelativePath>().is_err() {
        return Err(source
            .error(pattern.span(), format!("`{text}` leads out of the project"))
            .note(note));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(path: &str, rest: &str) -> Result<Project, DocumentError> {
        let text = format!("format = 1\n[project]\nname = \"demo\"\ntemplate = \"mini\"\n{rest}");
        Project::parse(&text, Path::new(path))
    }

    fn project(rest: &str) -> Project {
        at("p/pristine.toml", rest).unwrap()
    }

    /// The least project with `rest` behind it, or what is wrong with that in words.
    pub(super) fn parsed(rest: &str) -> Result<Project, String> {
        at("pristine.toml", rest).map_err(|error| error.to_string())
    }

    #[test]
    fn the_least_project_has_the_documented_defaults() {
        let project = project("");
        assert_eq!(project.directory, Path::new("p"));
        assert_eq!(project.store, Path::new("cache"));
        assert_eq!(
            (project.build.processes.get(), project.build.jobs),
            (16384, None)
        );
        assert_eq!((project.keep.last, project.keep.stated), (10, false));
        assert_eq!(project.build.timeout.limit(), Some(Duration::from_hours(6)));
        assert_eq!(project.build.silence.limit(), Some(Duration::from_hours(1)));
        assert!(!project.recipe_settings.network);
        assert!(project.requests().is_empty());
    }

    #[test]
    fn requests_name_what_the_lock_depends_on() {
        let project = project(
            "[build]\nmacros = { dist = \".x\" }\n[package.zlib]\nwith = [\"b\", \"a\"]\nwithout = [\"c\"]",
        );
        assert_eq!(
            project.requests(),
            [
                "macro dist = .x",
                "zlib with a",
                "zlib with b",
                "zlib without c"
            ]
        );
    }

    #[test]
    fn the_longest_prefix_decides_the_mirrors() {
        let project = project(
            "[mirrors]\n\"https://a.org\" = [\"./all\"]\n\"https://a.org/x/\" = [\"https://b.org/y/\", \"file:///srv\"]",
        );
        assert_eq!(
            project.mirrored("https://a.org/x/z.rpm"),
            ["https://b.org/y/z.rpm", "file:///srv/z.rpm"]
        );
        assert_eq!(
            project.mirrored("https://a.org/x"),
            ["https://b.org/y/", "file:///srv/"]
        );
        assert_eq!(project.mirrored("https://c.org/x"), ["https://c.org/x"]);
        assert_eq!(project.mirrored("https://a.organ/x"), ["https://a.organ/x"]);
    }

    #[test]
    fn packages_are_found_and_have_their_own_limits() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b", "a", "skipped", ".hidden"] {
            let folder = folder.path().join("packages").join(name);
            fs_err::create_dir_all(&folder).unwrap();
            fs_err::write(
                folder.join(format!("{}.spec", name.trim_start_matches('.'))),
                "",
            )
            .unwrap();
        }
        let text = "format = 1\nproject = { name = \"d\", template = \"t\" }\nbuild.memory = \"4GiB\"\n\
            package.skipped.skip = true\npackage.b = { memory = \"none\", jobs = 1, timeout = \"5m\", cores = 1.5, disk = \"2GiB\", cpu_time = \"9m\" }";
        fs_err::write(folder.path().join(FILE), text).unwrap();
        let packages = Project::load(folder.path()).unwrap().packages().unwrap();
        let names: Vec<_> = packages
            .iter()
            .map(|package| (package.name.as_str(), package.spec.as_str()))
            .collect();
        assert_eq!(
            names,
            [("a", "packages/a/a.spec"), ("b", "packages/b/b.spec")]
        );
        assert_eq!(packages[0].limits.memory, Some(4 << 30));
        assert_eq!(packages[1].limits.memory, None);
        assert_eq!(packages[1].limits.time, Some(Duration::from_mins(5)));
        assert_eq!(packages[1].limits.cpu, Some(Duration::from_mins(9)));
        assert_eq!(
            (packages[1].limits.cores, packages[1].limits.disk),
            (Some(150), Some(2 << 30))
        );
        assert_eq!(
            (packages[0].limits.cores, packages[0].limits.disk),
            (None, None)
        );
        assert_eq!(packages[1].jobs, NonZeroU32::new(1));
    }
}
