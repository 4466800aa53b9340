//! The packages of a project: found by pattern, each with what the project file says of it.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::{Project, with_known};
use crate::documents::error::{DocumentError, Problem};
use crate::documents::source::Source;
use crate::documents::values::{ByteSize, Cores, Glob, Name, Period, RelativePath};

/// What differs for one package: `[package.NAME]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct PackageSettings {
    skip: bool,
    pub(super) with: Vec<Name>,
    pub(super) without: Vec<Name>,
    timeout: Option<Period>,
    silence: Option<Period>,
    memory: Option<ByteSize>,
    swap: Option<ByteSize>,
    processes: Option<NonZeroU64>,
    cpu_time: Option<Period>,
    cores: Option<Cores>,
    disk: Option<ByteSize>,
    jobs: Option<NonZeroU32>,
}

/// A package of the project: a spec file and how to build it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name in the project: the spec file's name without `.spec`.
    pub name: Name,
    /// The spec file, relative to the project's directory. Its local sources lie beside it.
    pub spec: RelativePath,
    /// Build conditionals to switch on (`--with`).
    pub with: Vec<Name>,
    /// Build conditionals to switch off (`--without`).
    pub without: Vec<Name>,
    /// Limits of its build.
    pub limits: Limits,
    /// Parallel jobs within its build; the machine's processors where `None`.
    pub jobs: Option<NonZeroU32>,
}

/// Limits of one build. `None` means no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Wall time.
    pub time: Option<Duration>,
    /// Time without output.
    pub silence: Option<Duration>,
    /// Memory of all processes, bytes.
    pub memory: Option<u64>,
    /// Swap beside it, bytes; none where memory is limited and this is not.
    pub swap: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Processor time of all processes.
    pub cpu: Option<Duration>,
    /// Share of the machine's processors, in hundredths of one.
    pub cores: Option<u32>,
    /// What the clone may hold beside the environment, bytes.
    pub disk: Option<u64>,
}

impl Project {
    /// The packages of the project without those that are skipped, by name. Looks for spec files.
    pub fn packages(&self) -> Result<Vec<Package>, DocumentError> {
        let specs = self.find_specs()?;
        self.check_overrides(&specs)?;
        let skipped = |name: &Name| self.settings(name).is_some_and(|settings| settings.skip);
        let wanted = specs.into_iter().filter(|(name, _)| !skipped(name));
        Ok(wanted
            .map(|(name, spec)| self.package(name, spec))
            .collect())
    }

    fn settings(&self, name: &Name) -> Option<&PackageSettings> {
        self.overrides
            .iter()
            .find(|(key, _)| key.get_ref() == name)
            .map(|(_, settings)| settings)
    }

    fn package(&self, name: Name, spec: RelativePath) -> Package {
        let own = self.settings(&name).cloned().unwrap_or_default();
        let build = &self.build;
        Package {
            limits: Limits {
                time: own.timeout.unwrap_or(build.timeout).limit(),
                silence: own.silence.unwrap_or(build.silence).limit(),
                memory: own.memory.unwrap_or(build.memory).limit(),
                swap: own.swap.unwrap_or(build.swap).limit(),
                cpu: own.cpu_time.unwrap_or(build.cpu_time).limit(),
                cores: own.cores.or(build.cores).map(Cores::hundredths),
                disk: own.disk.unwrap_or(build.disk).limit(),
                processes: Some(own.processes.unwrap_or(build.processes).get()),
            },
            jobs: own.jobs.or(build.jobs),
            with: own.with,
            without: own.without,
            name,
            spec,
        }
    }

    fn find_specs(&self) -> Result<BTreeMap<Name, RelativePath>, DocumentError> {
        let source = Source {
            path: &self.path,
            text: &self.text,
        };
        let mut found: BTreeMap<Name, RelativePath> = BTreeMap::new();
        for pattern in &self.specs {
            for spec in self.matching(&source, pattern)? {
                let stem = Path::new(spec.as_str())
                    .file_stem()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                let name: Name = stem.parse().map_err(|error| {
                    DocumentError::of(
                        Problem::Invalid,
                        &self.directory.join(&spec),
                        format!("a package cannot have this name: {error}"),
                    )
                })?;
                match found.get(&name) {
                    Some(other) if *other != spec => {
                        let message =
                            format!("two packages are named `{name}`: `{other}` and `{spec}`");
                        // The default pattern stands nowhere in the file.
                        let error = match pattern.span() {
                            Range { end: 0, .. } => {
                                DocumentError::of(Problem::Invalid, &self.path, message)
                            }
                            span => source.error(span, message),
                        };
                        return Err(error.note(
                            "name the patterns of the specs that are meant: `specs = [\"…\"]`",
                        ));
                    }
                    Some(_) => {}
                    None => drop(found.insert(name, spec)),
                }
            }
        }
        if found.is_empty() {
            let patterns: Vec<&str> = self
                .specs
                .iter()
                .map(|pattern| pattern.get_ref().as_str())
                .collect();
            let error =
                DocumentError::of(Problem::Invalid, &self.path, "the project has no packages");
            return Err(error.note(format!("no file fits: {}", patterns.join(", "))));
        }
        Ok(found)
    }

    /// The files that fit `pattern`, sorted.
    fn matching(
        &self,
        source: &Source<'_>,
        pattern: &Spanned<Glob>,
    ) -> Result<Vec<RelativePath>, DocumentError> {
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        let directory = if self.directory.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &self.directory
        };
        let folder = glob::Pattern::escape(&directory.to_string_lossy());
        let paths = glob::glob_with(&format!("{folder}/{}", pattern.get_ref()), options)
            .map_err(|error| source.error(pattern.span(), error.to_string()))?;
        let mut specs = Vec::new();
        for path in paths {
            let path =
                path.map_err(|error| DocumentError::unreadable(error.path(), error.error()))?;
            if path.is_file() {
                let relative = path
                    .strip_prefix(&self.directory)
                    .unwrap_or(&path)
                    .to_string_lossy()
                    .into_owned();
                let spec = relative.parse().map_err(|error| {
                    DocumentError::of(Problem::Invalid, &path, format!("{error}"))
                })?;
                specs.push(spec);
            }
        }
        specs.sort();
        Ok(specs)
    }

    fn check_overrides(&self, specs: &BTreeMap<Name, RelativePath>) -> Result<(), DocumentError> {
        let Some((name, _)) = self
            .overrides
            .iter()
            .find(|(name, _)| !specs.contains_key(name.get_ref()))
        else {
            return Ok(());
        };
        let known: Vec<&str> = specs.keys().map(Name::as_str).collect();
        let error = DocumentError::at(
            &self.path,
            &self.text,
            name.span(),
            format!("the project has no package `{}`", name.get_ref()),
        );
        Err(with_known(
            error,
            name.get_ref().as_str(),
            "packages",
            &known,
        ))
    }
}
