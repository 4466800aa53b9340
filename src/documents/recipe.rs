//! Recipes: what is added to the base (`docs/recipe.md`). Declared in `recipes/NAME.toml`, or an
//! executable script `recipes/NAME` for what TOML cannot say.
//!
//! A loaded recipe holds the content of all files that it names: what its digest covers is what is used.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::config::with_known;
use super::error::{DocumentError, Problem};
use super::source::{DOCUMENT_LIMIT, Source, read_bytes};
use super::template::{Context, KeySource, RawKey, names_in, split_groups};
use super::values::{
    AbsolutePath, GroupName, Line, Mode, Name, Owner, Period, RelativePath, Request, Url,
    VariableName,
};
use crate::digest::Digest;

/// The largest file that a recipe copies into the environment, bytes.
pub const FILE_LIMIT: u64 = 64 << 20;

/// What is added to the base of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// Its name.
    pub name: Name,
    /// The file.
    pub path: PathBuf,
    /// Digest of its text and of all files that it names.
    pub digest: Digest,
    /// Packages from the template's repositories.
    pub packages: Vec<Request>,
    /// Groups of packages.
    pub groups: Vec<GroupName>,
    /// RPMs from elsewhere, installed in the same transaction.
    pub rpms: Vec<ThirdParty>,
    /// What is done after the packages are installed, in the order of the file.
    pub steps: Vec<Step>,
}

/// An RPM that no repository of the template has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThirdParty {
    /// Where it is fetched from.
    pub url: Url,
    /// Its content.
    pub sha256: Digest,
    /// Keys of which one must have signed it; empty where it is trusted by its digest alone.
    pub keys: Vec<KeySource>,
    /// Why it is trusted without a signature, where it is.
    pub trusted: Option<Line>,
}

/// One step of a recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Writes a file.
    File(RecipeFile),
    /// Runs a command as root inside.
    Command(RecipeCommand),
    /// Runs the recipe itself, a script: its content, which begins with `#!`. Network and time
    /// limit are in the project file.
    Script(Vec<u8>),
}

/// A file that a recipe writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipeFile {
    /// Where it is written; folders that are missing are made.
    pub path: AbsolutePath,
    /// What is written.
    pub content: Vec<u8>,
    /// Permission bits.
    pub mode: Mode,
    /// Owner and group.
    pub owner: Owner,
}

/// A command that a recipe runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipeCommand {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Whether it has the host's network.
    pub network: bool,
    /// Environment variables beside the usual.
    pub env: BTreeMap<VariableName, String>,
    /// Wall time, where it is not the project file's.
    pub timeout: Option<Period>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawRecipe {
    #[serde(rename = "format")]
    _format: u64,
    #[serde(default)]
    packages: Vec<Request>,
    #[serde(default)]
    groups: Vec<GroupName>,
    #[serde(default)]
    rpm: Vec<Spanned<RawRpm>>,
    #[serde(default)]
    file: Vec<Spanned<RawFile>>,
    #[serde(default)]
    command: Vec<Spanned<RawCommand>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawRpm {
    url: Spanned<String>,
    sha256: Digest,
    #[serde(default)]
    keys: Vec<Spanned<RawKey>>,
    #[serde(default)]
    trusted: bool,
    reason: Option<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawFile {
    path: AbsolutePath,
    content: Option<String>,
    source: Option<Spanned<RelativePath>>,
    mode: Option<Mode>,
    owner: Option<Owner>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawCommand {
    run: Option<Spanned<Vec<String>>>,
    script: Option<Spanned<String>>,
    #[serde(default)]
    network: bool,
    #[serde(default)]
    env: BTreeMap<VariableName, String>,
    timeout: Option<Period>,
}

/// Gives the content of a file that a recipe names.
type Contents<'a> = &'a dyn Fn(&RelativePath) -> Result<Vec<u8>, DocumentError>;

impl Recipe {
    /// Reads the recipe `name` of the project in `directory`, and the files that it names.
    pub fn load(directory: &Path, name: &Name) -> Result<Self, DocumentError> {
        let folder = directory.join("recipes");
        let (declared, script) = (
            folder.join(format!("{name}.toml")),
            folder.join(name.as_str()),
        );
        match (declared.is_file(), script.is_file()) {
            (true, true) => {
                let error = DocumentError::of(
                    Problem::Invalid,
                    &declared,
                    format!("two recipes are named `{name}`"),
                );
                Err(error.note(format!(
                    "the other is `{}`: remove or rename one",
                    script.display()
                )))
            }
            (false, true) => Self::load_script(name, &script),
            (true, false) => {
                let text = super::source::read(&declared, DOCUMENT_LIMIT)?;
                Self::parse(name, &text, &declared, &|path| {
                    read_bytes(&directory.join(path), FILE_LIMIT)
                })
            }
            (false, false) => {
                let names = names_in(&folder);
                let known: Vec<&str> = names
                    .iter()
                    .map(|name| name.strip_suffix(".toml").unwrap_or(name))
                    .collect();
                let error = DocumentError::of(
                    Problem::Missing,
                    &declared,
                    format!("there is no recipe `{name}`"),
                );
                Err(with_known(error, name.as_str(), "recipes", &known))
            }
        }
    }

    /// The declared recipe `name` of which `text` is the file, which lies at `path`; `contents` gives the files
    /// that it names.
    pub fn parse(
        name: &Name,
        text: &str,
        path: &Path,
        contents: Contents<'_>,
    ) -> Result<Self, DocumentError> {
        let source = Source { path, text };
        let raw: RawRecipe = source.parse()?;
        let context = Context {
            source,
            variables: BTreeMap::new(),
        };
        let mut parts = format!("{}\n", Digest::of(text.as_bytes()));
        // TOML sorts tables by kind; where each begins tells the order in which they were written.
        let mut steps: BTreeMap<usize, Step> = BTreeMap::new();
        for raw in raw.file {
            let start = raw.span().start;
            let named = raw
                .get_ref()
                .source
                .as_ref()
                .map(|source| source.get_ref().clone());
            let file = context.file(raw, contents)?;
            if let Some(named) = named {
                let _infallible = writeln!(parts, "{} {named}", Digest::of(&file.content));
            }
            steps.insert(start, Step::File(file));
        }
        for raw in raw.command {
            steps.insert(raw.span().start, Step::Command(context.command(raw)?));
        }
        let (packages, groups) = split_groups(raw.packages, raw.groups);
        Ok(Self {
            name: name.clone(),
            path: path.to_owned(),
            digest: Digest::of(parts.as_bytes()),
            packages,
            groups,
            rpms: raw
                .rpm
                .into_iter()
                .map(|rpm| context.rpm(rpm))
                .collect::<Result<_, _>>()?,
            steps: steps.into_values().collect(),
        })
    }

    fn load_script(name: &Name, path: &Path) -> Result<Self, DocumentError> {
        let content = read_bytes(path, DOCUMENT_LIMIT)?;
        let mode = fs_err::metadata(path)
            .map_err(|error| DocumentError::unreadable(path, &error))?
            .permissions()
            .mode();
        if !content.starts_with(b"#!") {
            let error = DocumentError::of(
                Problem::Invalid,
                path,
                "the script does not begin with `#!`",
            );
            return Err(error.note("name its interpreter in the first line: `#!/bin/sh`; a declared recipe is named `NAME.toml`"));
        }
        if mode & 0o111 == 0 {
            let error = DocumentError::of(Problem::Invalid, path, "the script is not executable");
            return Err(error.note(format!("make it so: chmod +x {}", path.display())));
        }
        Ok(Self {
            name: name.clone(),
            path: path.to_owned(),
            digest: Digest::of(&content),
            packages: Vec::new(),
            groups: Vec::new(),
            rpms: Vec::new(),
            steps: vec![Step::Script(content)],
        })
    }
}

impl Context<'_> {
    fn rpm(&self, raw: Spanned<RawRpm>) -> Result<ThirdParty, DocumentError> {
        let raw = raw.into_inner();
        let keys = raw
            .keys
            .into_iter()
            .map(|key| self.key(key))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(ThirdParty {
            trusted: self.trust(raw.url.span(), &keys, raw.trusted, raw.reason)?,
            url: self.url(&raw.url)?,
            sha256: raw.sha256,
            keys,
        })
    }

    fn file(
        &self,
        raw: Spanned<RawFile>,
        contents: Contents<'_>,
    ) -> Result<RecipeFile, DocumentError> {
        let span = raw.span();
        let raw = raw.into_inner();
        let content = match (raw.content, raw.source) {
            (Some(content), None) => content.into_bytes(),
            (None, Some(path)) => {
                contents(path.get_ref()).map_err(|error| match error.problem() {
                    Problem::Missing => {
                        let error = self.source.error(
                            path.span(),
                            format!("there is no file `{}`", path.get_ref()),
                        );
                        error
                            .problem_is(Problem::Missing)
                            .note("paths are relative to the project's directory")
                    }
                    _ => error,
                })?
            }
            _ => {
                return Err(self
                    .source
                    .error(span, "a file has exactly one of `content` and `source`"));
            }
        };
        Ok(RecipeFile {
            path: raw.path,
            content,
            mode: raw.mode.unwrap_or(Mode::new(0o644)),
            owner: raw.owner.unwrap_or(Owner::ROOT),
        })
    }

    fn command(&self, raw: Spanned<RawCommand>) -> Result<RecipeCommand, DocumentError> {
        let span = raw.span();
        let raw = raw.into_inner();
        let (argv, place) = match (raw.run, raw.script) {
            (Some(run), None) => {
                let place = run.span();
                (run.into_inner(), place)
            }
            (None, Some(script)) => {
                let place = script.span();
                (
                    ["/bin/sh", "-e", "-c", script.get_ref()]
                        .map(str::to_owned)
                        .to_vec(),
                    place,
                )
            }
            _ => {
                return Err(self
                    .source
                    .error(span, "a command has exactly one of `run` and `script`"));
            }
        };
        if argv.first().is_none_or(String::is_empty) {
            return Err(self.source.error(place, "the command names no program"));
        }
        if argv
            .iter()
            .chain(raw.env.values())
            .any(|text| text.contains('\0'))
        {
            return Err(self
                .source
                .error(place, "a program cannot be given the character 0"));
        }
        Ok(RecipeCommand {
            argv,
            network: raw.network,
            env: raw.env,
            timeout: raw.timeout,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Recipe {
        let contents = |path: &RelativePath| Ok(format!("content of {path}").into_bytes());
        Recipe::parse(
            &"base".parse().unwrap(),
            &format!("format = 1\n{text}"),
            Path::new("base.toml"),
            &contents,
        )
        .unwrap()
    }

    #[test]
    fn steps_keep_the_order_of_the_file() {
        let recipe = parse(
            "[[command]]\nrun = [\"first\"]\n[[file]]\npath = \"/second\"\ncontent = \"x\"\n\
             [[command]]\nscript = \"third\"\n[[file]]\npath = \"/fourth\"\nsource = \"files/a\"\n",
        );
        let text = |step: &Step| match step {
            Step::File(file) => format!(
                "{} {:o} {}",
                file.path,
                file.mode.bits(),
                String::from_utf8_lossy(&file.content)
            ),
            Step::Command(command) => command.argv.join(" "),
            Step::Script(_) => String::new(),
        };
        let steps: Vec<String> = recipe.steps.iter().map(text).collect();
        assert_eq!(
            steps,
            [
                "first",
                "/second 644 x",
                "/bin/sh -e -c third",
                "/fourth 644 content of files/a"
            ]
        );
    }

    #[test]
    fn the_digest_covers_the_files_that_are_named() {
        let text = "format = 1\n[[file]]\npath = \"/a\"\nsource = \"a\"\n";
        let digest = |content: &'static [u8]| {
            let contents = move |_: &RelativePath| Ok(content.to_vec());
            Recipe::parse(
                &"base".parse().unwrap(),
                text,
                Path::new("base.toml"),
                &contents,
            )
            .unwrap()
            .digest
        };
        assert_eq!(digest(b"one"), digest(b"one"));
        assert_ne!(digest(b"one"), digest(b"two"));
    }

    #[test]
    fn a_script_is_a_recipe_of_one_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recipes/tools");
        fs_err::create_dir(folder.path().join("recipes")).unwrap();
        fs_err::write(&path, "#!/bin/sh\ntrue\n").unwrap();
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let recipe = Recipe::load(folder.path(), &"tools".parse().unwrap()).unwrap();
        assert_eq!(recipe.steps, [Step::Script(b"#!/bin/sh\ntrue\n".to_vec())]);
    }
}
