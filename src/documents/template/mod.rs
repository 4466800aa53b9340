//! Templates, `templates/NAME.toml`: the pinned base of an environment (`docs/template.md`).

mod access;
mod base;
mod read;
mod repo_file;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::config::with_known;
use super::error::{DocumentError, Problem};
use super::source::{self, DOCUMENT_LIMIT};
use super::values::{
    AbsolutePath, Architecture, Fingerprint, Glob, GroupName, ImageName, Line, MacroName,
    ModuleStream, Name, RelativePath, Request, Url,
};

use crate::digest::Digest;

pub use access::{Access, Proxy};
pub(super) use read::{Context, RawKey, split_groups};

/// The pinned base: an image or a root archive, RPM repositories and a package set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Its name: the file's name without `.toml`.
    pub name: Name,
    /// The file.
    pub path: PathBuf,
    /// Digest of the file's text, and of the `.repo` files that it names.
    pub digest: Digest,
    /// The architecture of the environment.
    pub architecture: Architecture,
    /// What the environment begins with; nothing where `None`.
    pub base: Option<Base>,
    /// Variables of URLs, `basearch` and `arch` included. URLs here have them replaced already.
    pub variables: BTreeMap<String, String>,
    /// The repositories in the order of the file.
    pub repositories: Vec<Repository>,
    /// Repositories of the `.repo` files that are not enabled: name and file.
    pub disabled: Vec<(String, RelativePath)>,
    /// Packages of the base set.
    pub packages: Vec<Request>,
    /// Groups of the base set.
    pub groups: Vec<GroupName>,
    /// Which packages of groups are installed.
    pub group_packages: Vec<GroupPackages>,
    /// Streams of modules that are enabled, and modules that are disabled.
    pub modules: Vec<ModuleStream>,
    /// What streams require of the distribution itself (`platform:el9`); found in the repositories where `None`.
    pub module_platform: Option<ModuleStream>,
    /// What the tools root needs.
    pub tools: Vec<Request>,
    /// Whether Recommends are installed.
    pub weak_dependencies: bool,
    /// Whose choices hold.
    pub policy: Policy,
    /// RPM macros of all builds.
    pub macros: BTreeMap<MacroName, Line>,
    /// Who runs rpmbuild.
    pub builder: Builder,
    /// Seconds since 1970 to which file times of the environment are clamped; chosen while locking where `None`.
    pub epoch: Option<i64>,
    /// What is left out of the environment's tree beside the usual.
    pub normalise: Normalise,
}

/// What an environment begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// An image in a registry, by digest, or by a tag that is made one while locking.
    Image(ImageName),
    /// An archive of a whole root.
    Rootfs {
        /// Where it is fetched from.
        url: Url,
        /// Digest of the file.
        sha256: Digest,
    },
}

/// A repository of RPM packages (rpm-md).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Its name in messages and in the lock.
    pub name: Name,
    /// Where it is.
    pub source: RepositorySource,
    /// Keys that are trusted for it; all others are ignored.
    pub keys: Vec<KeySource>,
    /// Keys that a `.repo` file names, where it comes from one and the template pins keys by fingerprint alone.
    pub key_files: Option<KeyFiles>,
    /// Which signatures are checked.
    pub check: Check,
    /// Why it is trusted without signatures, where it is.
    pub trusted: Option<Line>,
    /// 1 to 99: of two repositories that have a package, only those with the lower number are looked at.
    pub priority: u32,
    /// Of two repositories with the same package, it is taken from the one with the lower cost.
    pub cost: u32,
    /// Only these packages are looked at (name, name.arch or NEVRA); all where empty.
    pub include: Vec<Glob>,
    /// These packages are not looked at.
    pub exclude: Vec<Glob>,
    /// Packages of modules are looked at even where their stream is not the default one.
    pub module_hotfixes: bool,
    /// Left out, with a warning, where it cannot be reached while locking.
    pub skip_if_unavailable: bool,
    /// How its servers are reached.
    pub access: Access,
}

/// The keys of a repository out of a `.repo` file: those of its `gpgkey` that the template pins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFiles {
    /// Where they are fetched from.
    pub files: Vec<Url>,
    /// The keys that are trusted.
    pub fingerprints: Vec<Fingerprint>,
}

/// Packages of a group, as comps sorts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupPackages {
    /// Those without which the group makes no sense.
    Mandatory,
    /// Those that are installed unless something else is said.
    Default,
    /// Those that are installed beside another package.
    Conditional,
    /// Those that must be asked for.
    Optional,
}

/// Whose choices hold where the generations of dnf choose otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// dnf 4.14's, of Enterprise Linux 9.
    #[default]
    Dnf4,
    /// dnf 4.23's: whatever obsoletes only older versions of a package that is asked for does not come in its place.
    #[serde(rename = "dnf4.23")]
    Dnf423,
    /// dnf5's, of Fedora 41 and newer: the same, and where something is asked for by what it provides, packages of another
    /// word size may come too.
    Dnf5,
}

/// Where a repository is. Variables are replaced already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RepositorySource {
    /// One or more places with the same content, tried in this order.
    BaseUrls(Vec<Url>),
    /// A Metalink document that names mirrors of `repomd.xml`, with digests.
    Metalink(Url),
    /// A list of base URLs, one per line.
    MirrorList(Url),
}

/// A key that is trusted, by fingerprint, and where its material is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySource {
    /// Where it is fetched from; the file may hold other keys too.
    pub url: Url,
    /// The one key that is trusted.
    pub fingerprint: Fingerprint,
}

/// Which signatures of a repository are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Check {
    /// The detached signature of `repomd.xml`.
    pub metadata: bool,
    /// The signature of each package.
    pub packages: bool,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            metadata: true,
            packages: true,
        }
    }
}

/// The unprivileged user inside the environment who runs rpmbuild.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Builder {
    /// User and group name.
    pub name: Name,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// What differs between two installations of the same packages and is not part of the tree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Normalise {
    /// Paths that are removed; `*` matches within one component.
    pub remove: Vec<AbsolutePath>,
    /// Paths that become empty files.
    pub truncate: Vec<AbsolutePath>,
}

/// Gives the text of a `.repo` file that a template names.
pub type RepoFiles<'a> = &'a dyn Fn(&RelativePath) -> Result<String, DocumentError>;

impl Template {
    /// Reads the template `name` of the project in `directory`.
    pub fn load(directory: &Path, name: &Name) -> Result<Self, DocumentError> {
        let folder = directory.join("templates");
        let path = folder.join(format!("{name}.toml"));
        let text = source::read(&path, DOCUMENT_LIMIT).map_err(|error| match error.problem() {
            Problem::Missing => {
                let names = names_in(&folder);
                let known: Vec<&str> = names
                    .iter()
                    .filter_map(|name| name.strip_suffix(".toml"))
                    .collect();
                with_known(
                    DocumentError::of(
                        Problem::Missing,
                        &path,
                        format!("there is no template `{name}`"),
                    ),
                    name.as_str(),
                    "templates",
                    &known,
                )
            }
            _ => error,
        })?;
        Self::parse_with(name, &text, &path, &|file| {
            source::read(&directory.join(file), DOCUMENT_LIMIT)
        })
    }

    /// The template `name` of which `text` is the file, which lies at `path`. Reads nothing: it has no
    /// `.repo` files.
    pub fn parse(name: &Name, text: &str, path: &Path) -> Result<Self, DocumentError> {
        Self::parse_with(name, text, path, &|file| {
            Err(DocumentError::of(
                Problem::Missing,
                file.as_ref(),
                "no such file",
            ))
        })
    }

    /// The same; `contents` gives the `.repo` files that it names.
    pub fn parse_with(
        name: &Name,
        text: &str,
        path: &Path,
        contents: RepoFiles<'_>,
    ) -> Result<Self, DocumentError> {
        read::parse(name, text, path, contents)
    }

    /// `text` with variables (`$name`, `${name}`) replaced; what is no variable stays. For what
    /// servers send: lists of mirrors hold variables too.
    pub fn expand(&self, text: &str) -> String {
        let keep = |written: &str, _: &str| Ok::<_, std::convert::Infallible>(written.to_owned());
        match read::expand(text, &self.variables, keep) {
            Ok(expanded) => expanded,
        }
    }
}

/// The names of the files in `folder`, sorted; none where it cannot be read.
pub(super) fn names_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs_err::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        format = 1
        architecture = "aarch64"
        packages = ["bash"]
        [variables]
        releasever = "9"
        [[repository]]
        name = "main"
        mirrorlist = "https://mirror.example/${releasever}/$basearch-$releasever?arch=$arch"
        keys = [{ file = "keys/main.asc", fingerprint = "21CB256AE16FC54C6E652949702D426D350D275D" }]
    "#;

    #[test]
    fn the_least_template_has_the_documented_defaults() {
        let template =
            Template::parse(&"mini".parse().unwrap(), TEXT, Path::new("mini.toml")).unwrap();
        let repository = &template.repositories[0];
        assert_eq!(
            (repository.priority, repository.cost, repository.check),
            (99, 1000, Check::default())
        );
        assert_eq!(repository.keys[0].url.as_str(), "./keys/main.asc");
        assert_eq!(
            template
                .tools
                .iter()
                .map(Request::as_str)
                .collect::<Vec<_>>(),
            ["rpm", "rpm-build"]
        );
        assert_eq!(
            (
                template.builder.name.as_str(),
                template.builder.uid,
                template.builder.gid
            ),
            ("builder", 1000, 1000)
        );
        assert_eq!((template.weak_dependencies, template.epoch), (false, None));
        assert_eq!(template.policy, Policy::Dnf4);
        assert_eq!(template.digest, Digest::of(TEXT.as_bytes()));
    }

    #[test]
    fn policies_have_the_documented_names() {
        let named = ["dnf4", "dnf4.23", "dnf5", "dnf", "yum"]
            .map(|name| serde_json::from_value::<Policy>(name.into()).ok());
        let known = [Policy::Dnf4, Policy::Dnf423, Policy::Dnf5].map(Some);
        assert_eq!((&named[..3], &named[3..]), (&known[..], &[None, None][..]));
        let template = with_base("packages = [\"bash\"]\npolicy = \"dnf5\"", REPOSITORY).unwrap();
        assert_eq!(template.policy, Policy::Dnf5);
    }

    const REPOSITORY: &str = "[[repository]]\nname = \"main\"\nbaseurl = [\"https://m.example/\"]\ntrusted = true\nreason = \"a test\"";

    fn with_base(base: &str, rest: &str) -> Result<Template, DocumentError> {
        let text = format!("format = 1\narchitecture = \"x86_64\"\n{base}\n{rest}");
        Template::parse(&"mini".parse().unwrap(), &text, Path::new("mini.toml"))
    }

    #[test]
    fn a_base_needs_nothing_else() {
        let template = with_base("image = \"r.example/base:9\"", "").unwrap();
        let Some(Base::Image(name)) = template.base else {
            panic!("{:?}", template.base);
        };
        assert_eq!(name.to_string(), "r.example/base:9");
        assert!(template.repositories.is_empty() && template.packages.is_empty());
        let rootfs = format!(
            "rootfs = {{ url = \"https://m.example/$basearch.tar.xz\", sha256 = \"{}\" }}",
            "0".repeat(64)
        );
        let Some(Base::Rootfs { url, .. }) = with_base(&rootfs, "").unwrap().base else {
            panic!("no root archive");
        };
        assert_eq!(url.as_str(), "https://m.example/x86_64.tar.xz");
    }

    #[test]
    fn a_base_that_cannot_be_is_explained() {
        let image = "image = \"r.example/base:9\"";
        let both = format!(
            "{image}\nrootfs = {{ url = \"./root.tar\", sha256 = \"{}\" }}",
            "0".repeat(64)
        );
        let wrong = [
            with_base(&both, ""),
            with_base(image, "packages = [\"bash\"]"),
            with_base("image = \"base:9\"", ""),
            with_base("rootfs = { url = \"./root.tar\" }", ""),
        ]
        .map(|result| result.unwrap_err().to_string());
        insta::assert_snapshot!(wrong.join("\n\n"), @r#"
        mini.toml:4:10: both `image` and `rootfs`
          |
        4 | rootfs = { url = "./root.tar", sha256 = "00000000000000000000000000000000000000000000000000000000000…
          |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          = an environment begins with one of them: leave the other out

        mini.toml: the template has no repository
          = add a table `[[repository]]` with `name`, `keys` and one of `baseurl`, `metalink`, `mirrorlist`

        mini.toml:3:9: `base:9` is not the name of an image
          |
        3 | image = "base:9"
          |         ^^^^^^^^
          = its registry must be named: `registry.example.org/name:tag`, `docker.io/library/name:tag`

        mini.toml:3:10: missing key `sha256`
          |
        3 | rootfs = { url = "./root.tar" }
          |          ^^^^^^^^^^^^^^^^^^^^^^
        "#);
    }

    #[test]
    fn variables_are_replaced() {
        let template =
            Template::parse(&"mini".parse().unwrap(), TEXT, Path::new("mini.toml")).unwrap();
        let expected = "https://mirror.example/9/aarch64-9?arch=aarch64"
            .parse()
            .unwrap();
        assert_eq!(
            template.repositories[0].source,
            RepositorySource::MirrorList(expected)
        );
        for (text, expected) in [
            ("a/$basearch/os/", "a/aarch64/os/"),
            ("$nothing/${arch}$", "$nothing/aarch64$"),
            ("${arch", "${arch"),
            ("$releasever$releasever", "99"),
            ("", ""),
        ] {
            assert_eq!(template.expand(text), expected);
        }
    }
}
