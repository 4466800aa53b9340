//! From the text of a template to a valid one; what a recipe shares of it (keys, URLs, trust) is here too.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::access::RawAccess;
use super::base::RawRootfs;
use super::repo_file::{self, FileKeys};
use super::{
    Builder, Check, GroupPackages, KeySource, Normalise, Policy, RepoFiles, Repository,
    RepositorySource, Template,
};
use crate::documents::error::{DocumentError, Problem};
use crate::documents::source::{Source, nearest};
use crate::documents::values::{
    Architecture, Fingerprint, Glob, GroupName, ImageName, Line, MacroName, ModuleStream, Name,
    RelativePath, Request, Url, ValueError, VariableName, VariableValue,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawTemplate {
    #[serde(rename = "format")]
    _format: u64,
    architecture: Architecture,
    image: Option<ImageName>,
    rootfs: Option<Spanned<RawRootfs>>,
    #[serde(default)]
    variables: BTreeMap<VariableName, VariableValue>,
    #[serde(default)]
    repository: Vec<Spanned<RawRepository>>,
    #[serde(default)]
    repo_files: Vec<Spanned<RelativePath>>,
    #[serde(default)]
    keys: Vec<Spanned<RawKey>>,
    #[serde(default)]
    packages: Vec<Request>,
    #[serde(default)]
    groups: Vec<GroupName>,
    group_packages: Option<Vec<GroupPackages>>,
    #[serde(default)]
    modules: Vec<ModuleStream>,
    module_platform: Option<ModuleStream>,
    tools: Option<Vec<Spanned<Request>>>,
    #[serde(default)]
    weak_dependencies: bool,
    #[serde(default)]
    policy: Policy,
    #[serde(default)]
    macros: BTreeMap<MacroName, Line>,
    #[serde(default)]
    builder: RawBuilder,
    epoch: Option<Spanned<i64>>,
    #[serde(default)]
    normalise: Normalise,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawRepository {
    name: Spanned<Name>,
    baseurl: Option<Vec<Spanned<String>>>,
    metalink: Option<Spanned<String>>,
    mirrorlist: Option<Spanned<String>>,
    #[serde(default)]
    keys: Vec<Spanned<RawKey>>,
    #[serde(default)]
    check: Check,
    #[serde(default)]
    trusted: bool,
    reason: Option<Line>,
    priority: Option<Spanned<u32>>,
    cost: Option<u32>,
    #[serde(default)]
    include: Vec<Glob>,
    #[serde(default)]
    exclude: Vec<Glob>,
    #[serde(default)]
    module_hotfixes: bool,
    #[serde(default)]
    skip_if_unavailable: bool,
    proxy: Option<Spanned<String>>,
    sslclientcert: Option<Line>,
    sslclientkey: Option<Line>,
    sslcacert: Option<Line>,
}

/// A key as documents name it: `{ url | file, fingerprint }`.
#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table (`{ url = \"…\", fingerprint = \"…\" }`)"
)]
pub(in crate::documents) struct RawKey {
    pub(super) url: Option<Spanned<String>>,
    pub(super) file: Option<RelativePath>,
    pub(super) fingerprint: Fingerprint,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
struct RawBuilder {
    name: Option<Name>,
    uid: Option<Spanned<u32>>,
    gid: Option<Spanned<u32>>,
}

/// `baseurl`, `metalink`, `mirrorlist` as they stand in the file.
type GivenSources = (
    Option<Vec<Spanned<String>>>,
    Option<Spanned<String>>,
    Option<Spanned<String>>,
);

/// A document's source and the variables that its URLs may use.
pub(in crate::documents) struct Context<'a> {
    pub(in crate::documents) source: Source<'a>,
    pub(in crate::documents) variables: BTreeMap<String, String>,
}

/// The template `name` in `text`, the content of `path`.
pub(super) fn parse(
    name: &Name,
    text: &str,
    path: &Path,
    contents: RepoFiles<'_>,
) -> Result<Template, DocumentError> {
    let source = Source { path, text };
    let raw: RawTemplate = source.parse()?;
    keys_belong(source, &raw)?;
    let variables = variables(raw.architecture, raw.variables);
    let context = Context { source, variables };
    let base = context.base(raw.image, raw.rootfs)?;
    let keys = FileKeys::new(&context, raw.keys)?;
    let files = repo_file::read(&context, &raw.repo_files, &keys, contents)?;
    let digest = files.digest(text);
    let (packages, groups) = split_groups(raw.packages, raw.groups);
    let asks = !packages.is_empty() || !groups.is_empty();
    let none = raw.repository.is_empty() && files.repositories.is_empty();
    let repositories = if base.is_some() && none && !asks {
        Vec::new()
    } else {
        context.repositories(raw.repository, files.repositories)?
    };
    if base.is_none() && !asks {
        let error = DocumentError::of(
            Problem::Invalid,
            path,
            "the template has neither packages nor groups",
        );
        return Err(error.note("name the base set: `packages = [\"bash\", \"rpm-build\"]`"));
    }
    if let Some(epoch) = raw.epoch.as_ref().filter(|epoch| *epoch.get_ref() < 0) {
        return Err(source
            .error(epoch.span(), "an epoch before 1970")
            .note("write seconds since 1970-01-01 00:00 UTC"));
    }
    Ok(Template {
        variables: context.variables.clone(),
        name: name.clone(),
        path: path.to_owned(),
        digest,
        architecture: raw.architecture,
        base,
        repositories,
        disabled: files.disabled,
        packages,
        groups,
        group_packages: raw.group_packages.unwrap_or_else(|| {
            use GroupPackages::{Conditional, Default, Mandatory};
            vec![Mandatory, Default, Conditional]
        }),
        modules: raw.modules,
        module_platform: raw.module_platform,
        tools: context.tools(raw.tools)?,
        weak_dependencies: raw.weak_dependencies,
        policy: raw.policy,
        macros: raw.macros,
        builder: context.builder(raw.builder)?,
        epoch: raw.epoch.map(Spanned::into_inner),
        normalise: raw.normalise,
    })
}

/// Keys of the whole template are those of its `repo_files`.
fn keys_belong(source: Source<'_>, raw: &RawTemplate) -> Result<(), DocumentError> {
    let Some(key) = raw.keys.first().filter(|_| raw.repo_files.is_empty()) else {
        return Ok(());
    };
    let text = "`keys` of the whole template belong to `repo_files`";
    let error = source.error(key.span(), text);
    Err(error.note("a table `[[repository]]` has its own `keys`"))
}

/// The template's own variables, and those that the architecture sets.
fn variables(
    architecture: Architecture,
    own: BTreeMap<VariableName, VariableValue>,
) -> BTreeMap<String, String> {
    let given = ["basearch", "arch"].map(|name| (name.to_owned(), architecture.to_string()));
    let own = own.into_iter();
    let own = own.map(|(name, value)| (name.into(), value.into()));
    given.into_iter().chain(own).collect()
}

/// Groups have two spellings: a list of their own, and `@group` among the packages.
pub(in crate::documents) fn split_groups(
    packages: Vec<Request>,
    mut groups: Vec<GroupName>,
) -> (Vec<Request>, Vec<GroupName>) {
    let (asked, packages): (Vec<_>, Vec<_>) = packages
        .into_iter()
        .partition(|request| request.group().is_some());
    groups.extend(asked.iter().filter_map(Request::group));
    (packages, groups)
}

impl Context<'_> {
    fn tools(&self, raw: Option<Vec<Spanned<Request>>>) -> Result<Vec<Request>, DocumentError> {
        let Some(raw) = raw else {
            let names = ["rpm", "rpm-build"].into_iter();
            return Ok(names.filter_map(|name| name.parse().ok()).collect());
        };
        if let Some(group) = raw.iter().find(|tool| tool.get_ref().group().is_some()) {
            let error = self
                .source
                .error(group.span(), "a group is not a tool: name packages");
            return Err(error);
        }
        Ok(raw.into_iter().map(Spanned::into_inner).collect())
    }

    /// `[[repository]]`, and those `of_files` behind them.
    fn repositories(
        &self,
        raw: Vec<Spanned<RawRepository>>,
        of_files: Vec<Repository>,
    ) -> Result<Vec<Repository>, DocumentError> {
        if raw.is_empty() && of_files.is_empty() {
            let error = DocumentError::of(
                Problem::Invalid,
                self.source.path,
                "the template has no repository",
            );
            return Err(error.note("add a table `[[repository]]` with `name`, `keys` and one of `baseurl`, `metalink`, `mirrorlist`"));
        }
        let mut repositories: Vec<Repository> = Vec::new();
        for raw in raw {
            let span = raw.get_ref().name.span();
            let repository = self.repository(raw)?;
            if repositories
                .iter()
                .any(|other| other.name == repository.name)
            {
                return Err(self.source.error(
                    span,
                    format!("two repositories are named `{}`", repository.name),
                ));
            }
            repositories.push(repository);
        }
        for repository in of_files {
            let name = &repository.name;
            if repositories.iter().any(|other| other.name == *name) {
                let message = format!("two repositories are named `{name}`, one in a `.repo` file");
                return Err(DocumentError::of(
                    Problem::Invalid,
                    self.source.path,
                    message,
                ));
            }
            repositories.push(repository);
        }
        Ok(repositories)
    }

    fn repository(&self, raw: Spanned<RawRepository>) -> Result<Repository, DocumentError> {
        let span = raw.span();
        let raw = raw.into_inner();
        let keys = raw
            .keys
            .into_iter()
            .map(|key| self.key(key))
            .collect::<Result<Vec<_>, _>>()?;
        let trusted = self.trust(raw.name.span(), &keys, raw.trusted, raw.reason)?;
        if trusted.is_none() && !raw.check.metadata && !raw.check.packages {
            let error = self.source.error(
                raw.name.span(),
                format!(
                    "nothing would verify the repository `{}`",
                    raw.name.get_ref()
                ),
            );
            return Err(error.note(
                "check its metadata or its packages, or say `trusted = true` and a `reason`",
            ));
        }
        let source =
            self.repository_source(span.clone(), (raw.baseurl, raw.metalink, raw.mirrorlist))?;
        let proxy = raw
            .proxy
            .map(|proxy| self.expand(&proxy).map(|text| (text, proxy.span())))
            .transpose()?;
        let place = proxy.as_ref().map_or(span, |(_, place)| place.clone());
        let access = RawAccess {
            proxy: proxy.map(|(text, _)| text),
            certificate: raw.sslclientcert.map(String::from),
            key: raw.sslclientkey.map(String::from),
            authority: raw.sslcacert.map(String::from),
        };
        let access = access
            .check()
            .map_err(|error| self.source.error(place, error))?;
        let priority = raw.priority.unwrap_or_else(|| Spanned::new(0..0, 99));
        if !(1..=99).contains(priority.get_ref()) {
            return Err(self.source.error(
                priority.span(),
                "a priority is a number from 1 (first) to 99",
            ));
        }
        Ok(Repository {
            name: raw.name.into_inner(),
            source,
            keys,
            key_files: None,
            check: raw.check,
            trusted,
            priority: priority.into_inner(),
            cost: raw.cost.unwrap_or(1000),
            include: raw.include,
            exclude: raw.exclude,
            module_hotfixes: raw.module_hotfixes,
            skip_if_unavailable: raw.skip_if_unavailable,
            access,
        })
    }

    fn repository_source(
        &self,
        span: Range<usize>,
        given: GivenSources,
    ) -> Result<RepositorySource, DocumentError> {
        match given {
            (Some(urls), None, None) if !urls.is_empty() => {
                let urls = urls
                    .iter()
                    .map(|url| self.url(url))
                    .collect::<Result<_, _>>()?;
                Ok(RepositorySource::BaseUrls(urls))
            }
            (None, Some(url), None) => self.url(&url).map(RepositorySource::Metalink),
            (None, None, Some(url)) => self.url(&url).map(RepositorySource::MirrorList),
            _ => Err(self.source.error(
                span,
                "a repository has exactly one of `baseurl`, `metalink` and `mirrorlist`",
            )),
        }
    }

    /// Checks that something is either signed by pinned keys or trusted for a reason; gives the reason.
    pub(in crate::documents) fn trust(
        &self,
        span: Range<usize>,
        keys: &[KeySource],
        trusted: bool,
        reason: Option<Line>,
    ) -> Result<Option<Line>, DocumentError> {
        match (keys.is_empty(), trusted, reason) {
            (false, false, None) => Ok(None),
            (true, true, Some(reason)) => Ok(Some(reason)),
            (true, true, None) => Err(self
                .source
                .error(span, "trusted without a reason")
                .note("say why: `reason = \"…\"`")),
            (false, true, _) => Err(self
                .source
                .error(span, "both `keys` and `trusted = true`")
                .note("signatures are checked, or they are not: leave one out")),
            (false, false, Some(_)) => Err(self
                .source
                .error(span, "`reason` belongs to `trusted = true`")),
            (true, false, _) => {
                let error = self
                    .source
                    .error(span, "no `keys`: nothing says whose signature is trusted");
                Err(error.note("pin one: `keys = [{ url = \"…\", fingerprint = \"…\" }]`, or say `trusted = true` and a `reason`"))
            }
        }
    }

    pub(in crate::documents) fn key(
        &self,
        raw: Spanned<RawKey>,
    ) -> Result<KeySource, DocumentError> {
        let span = raw.span();
        let raw = raw.into_inner();
        let url = match (raw.url, raw.file) {
            (Some(url), None) => self.url(&url)?,
            (None, Some(file)) => format!("./{file}")
                .parse()
                .map_err(|error| self.source.error(span, format!("{error}")))?,
            _ => {
                return Err(self
                    .source
                    .error(span, "a key has exactly one of `url` and `file`"));
            }
        };
        Ok(KeySource {
            url,
            fingerprint: raw.fingerprint,
        })
    }

    /// A URL in which variables (`$name`, `${name}`) are replaced.
    pub(in crate::documents) fn url(&self, text: &Spanned<String>) -> Result<Url, DocumentError> {
        let url = self.expand(text)?;
        url.parse().map_err(|error: ValueError| {
            let message = error.to_string();
            let mut lines = message.lines();
            let error = self
                .source
                .error(text.span(), lines.next().unwrap_or_default());
            lines.fold(error, DocumentError::note)
        })
    }

    fn expand(&self, text: &Spanned<String>) -> Result<String, DocumentError> {
        expand(text.get_ref(), &self.variables, |_, name| {
            let known: Vec<&str> = self.variables.keys().map(String::as_str).collect();
            let message = format!("there is no variable `${name}`");
            let mut error = self.source.error(text.span(), message);
            if let Some(nearest) = nearest(name, &known) {
                error = error.note(format!("did you mean `${nearest}`?"));
            }
            Err(error.note(format!(
                "variables: {}; set more in the table `[variables]`",
                known.join(", ")
            )))
        })
    }

    fn builder(&self, raw: RawBuilder) -> Result<Builder, DocumentError> {
        let id = |id: Option<Spanned<u32>>| match id {
            None => Ok(1000),
            Some(id) if (1..=65535).contains(id.get_ref()) => Ok(id.into_inner()),
            Some(id) => Err(self.source.error(
                id.span(),
                "the builder is an unprivileged user: a number from 1 to 65535",
            )),
        };
        let name = match raw.name {
            Some(name) => name,
            None => "builder".parse().map_err(|error| {
                DocumentError::of(Problem::Invalid, self.source.path, format!("{error}"))
            })?,
        };
        Ok(Builder {
            name,
            uid: id(raw.uid)?,
            gid: id(raw.gid)?,
        })
    }
}

/// `text` with variables replaced; `unknown` gets what is none, as written and its name.
pub(super) fn expand<E>(
    text: &str,
    variables: &BTreeMap<String, String>,
    unknown: impl Fn(&str, &str) -> Result<String, E>,
) -> Result<String, E> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let braced = after
            .strip_prefix('{')
            .and_then(|after| after.split_once('}'));
        let (name, length) = if let Some((name, _)) = braced {
            (name, name.len() + 2)
        } else {
            let end = after.find(|c| !is_name(c)).unwrap_or(after.len());
            (&after[..end], end)
        };
        let written = &rest[before.len()..=before.len() + length];
        match variables.get(name) {
            Some(value) => expanded.push_str(value),
            None => expanded.push_str(&unknown(written, name)?),
        }
        rest = &after[length..];
    }
    expanded.push_str(rest);
    Ok(expanded)
}
