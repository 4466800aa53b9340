//! `.repo` files, as dnf has them in `/etc/yum.repos.d`, as repositories of a template.
//!
//! What they say of signatures is not enough here: `gpgkey` names a file, and the template pins which
//! keys of it are trusted.

use std::fmt::Write as _;
use std::path::Path;
use std::str::FromStr;

use configparser::ini::Ini;
use toml::Spanned;

use super::access::RawAccess;
use super::read::{Context, RawKey, expand};
use super::{Check, KeyFiles, KeySource, RepoFiles, Repository, RepositorySource};
use crate::digest::Digest;
use crate::documents::error::{DocumentError, Problem};
use crate::documents::source::nearest;
use crate::documents::values::{Fingerprint, Glob, RelativePath, Url, ValueError};

/// The keys that a template trusts for the repositories of its `.repo` files.
#[derive(Debug)]
pub(super) struct FileKeys {
    /// Those with a place of their own.
    own: Vec<KeySource>,
    /// Those that must be in the files of `gpgkey`.
    pinned: Vec<Fingerprint>,
}

/// The repositories of all `.repo` files, and the texts that they came from.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) repositories: Vec<Repository>,
    /// Those that are not enabled: name and file.
    pub(super) disabled: Vec<(String, RelativePath)>,
    texts: Vec<(RelativePath, Digest)>,
}

impl FileKeys {
    pub(super) fn new(
        context: &Context<'_>,
        raw: Vec<Spanned<RawKey>>,
    ) -> Result<Self, DocumentError> {
        let mut keys = Self {
            own: Vec::new(),
            pinned: Vec::new(),
        };
        for key in raw {
            let inner = key.get_ref();
            if inner.url.is_none() && inner.file.is_none() {
                keys.pinned.push(key.into_inner().fingerprint);
            } else {
                keys.own.push(context.key(key)?);
            }
        }
        Ok(keys)
    }
}

impl Files {
    /// The digest of a template with `text` and these files; that of the text alone where there are none.
    pub(super) fn digest(&self, text: &str) -> Digest {
        let own = Digest::of(text.as_bytes());
        if self.texts.is_empty() {
            return own;
        }
        let mut parts = format!("{own}\n");
        for (path, digest) in &self.texts {
            let _infallible = writeln!(parts, "{digest} {path}");
        }
        Digest::of(parts.as_bytes())
    }
}

/// Reads the `.repo` files that a template names.
pub(super) fn read(
    context: &Context<'_>,
    paths: &[Spanned<RelativePath>],
    keys: &FileKeys,
    contents: RepoFiles<'_>,
) -> Result<Files, DocumentError> {
    let mut files = Files {
        repositories: Vec::new(),
        disabled: Vec::new(),
        texts: Vec::new(),
    };
    for path in paths {
        let text = contents(path.get_ref()).map_err(|error| match error.problem() {
            Problem::Missing => context
                .source
                .error(
                    path.span(),
                    format!("there is no file `{}`", path.get_ref()),
                )
                .problem_is(Problem::Missing)
                .note("paths are relative to the project's directory"),
            _ => error,
        })?;
        let file = RepoFile {
            context,
            keys,
            path: path.get_ref().as_ref(),
        };
        let (enabled, disabled) = file.repositories(&text)?;
        files.repositories.extend(enabled);
        let disabled = disabled.into_iter();
        files
            .disabled
            .extend(disabled.map(|name| (name, path.get_ref().clone())));
        files
            .texts
            .push((path.get_ref().clone(), Digest::of(text.as_bytes())));
    }
    Ok(files)
}

struct RepoFile<'a> {
    context: &'a Context<'a>,
    keys: &'a FileKeys,
    path: &'a Path,
}

/// One section of the file.
struct Section<'a> {
    file: &'a RepoFile<'a>,
    name: &'a str,
    ini: &'a Ini,
}

impl RepoFile<'_> {
    /// The enabled ones, and the names of the others.
    fn repositories(&self, text: &str) -> Result<(Vec<Repository>, Vec<String>), DocumentError> {
        let mut ini = Ini::new_cs();
        ini.set_comment_symbols(&['#', ';']);
        ini.set_inline_comment_symbols(Some(&[]));
        ini.set_multiline(true);
        let mut defaults = ini.defaults();
        defaults.delimiters = vec!['='];
        defaults.enable_inline_comments = false;
        ini.load_defaults(defaults);
        let sections = ini
            .read(text.to_owned())
            .map_err(|error| DocumentError::of(Problem::Invalid, self.path, error))?;
        let (mut repositories, mut disabled) = (Vec::new(), Vec::new());
        for name in sections.keys().filter(|name| *name != "main") {
            let section = Section {
                file: self,
                name,
                ini: &ini,
            };
            if *name == ini.defaults().default_section {
                return Err(section.error("a key before the first `[repository]`"));
            }
            if section.flag("enabled", true)? {
                repositories.push(section.repository()?);
            } else {
                disabled.push(name.clone());
            }
        }
        if repositories.is_empty() {
            let error = DocumentError::of(
                Problem::Invalid,
                self.path,
                "the file enables no repository",
            );
            return Err(error.note("say `enabled=1` in the sections that are wanted"));
        }
        Ok((repositories, disabled))
    }
}

impl Section<'_> {
    fn error(&self, message: impl std::fmt::Display) -> DocumentError {
        DocumentError::of(
            Problem::Invalid,
            self.file.path,
            format!("[{}]: {message}", self.name),
        )
    }

    fn repository(&self) -> Result<Repository, DocumentError> {
        self.refuse_what_weakens()?;
        let check = Check {
            metadata: self.flag("repo_gpgcheck", false)?,
            packages: self.flag("gpgcheck", true)?,
        };
        if !check.metadata && !check.packages {
            return Err(self
                .error("it checks no signature")
                .note("write it as a table `[[repository]]` with `trusted = true` and a `reason`, and `enabled=0` here"));
        }
        let name = self.value("name of the section", self.name)?;
        let (keys, key_files) = self.keys()?;
        let priority = self.number("priority", 99)?;
        if !(1..=99).contains(&priority) {
            return Err(self.error("a priority is a number from 1 (first) to 99"));
        }
        let access = RawAccess {
            proxy: self.text("proxy")?,
            certificate: self.text("sslclientcert")?,
            key: self.text("sslclientkey")?,
            authority: self.text("sslcacert")?,
        };
        let mut exclude = self.globs("excludepkgs")?;
        exclude.extend(self.globs("exclude")?);
        Ok(Repository {
            name,
            source: self.source()?,
            keys,
            key_files,
            check,
            trusted: None,
            priority,
            cost: self.number("cost", 1000)?,
            include: self.globs("includepkgs")?,
            exclude,
            module_hotfixes: self.flag("module_hotfixes", false)?,
            skip_if_unavailable: self.flag("skip_if_unavailable", false)?,
            access: access.check().map_err(|error| self.error(error))?,
        })
    }

    /// What would make a repository less than its template promises is not passed over in silence.
    fn refuse_what_weakens(&self) -> Result<(), DocumentError> {
        if !self.flag("sslverify", true)? {
            return Err(self.error("`sslverify` is off, and certificates are always checked"));
        }
        for key in ["username", "password", "proxy_username", "proxy_password"] {
            if self.text(key)?.is_some() {
                return Err(self.error(format_args!(
                    "`{key}` is not supported: use a mirror that needs none, or a client certificate"
                )));
            }
        }
        Ok(())
    }

    /// As librepo has it: what `baseurl` names comes before lists of mirrors.
    fn source(&self) -> Result<RepositorySource, DocumentError> {
        let urls = self.urls("baseurl")?;
        if !urls.is_empty() {
            return Ok(RepositorySource::BaseUrls(urls));
        }
        // A mirror list whose name says so is a metalink, for dnf too.
        let one = |key: &str| {
            let text = self.text(key)?;
            text.map(|text| self.value(key, &text)).transpose()
        };
        let (metalink, list): (Option<Url>, Option<Url>) = (one("metalink")?, one("mirrorlist")?);
        match (metalink, list) {
            (Some(url), _) => Ok(RepositorySource::Metalink(url)),
            (None, Some(url)) if url.as_str().contains("metalink") => {
                Ok(RepositorySource::Metalink(url))
            }
            (None, Some(url)) => Ok(RepositorySource::MirrorList(url)),
            (None, None) => Err(self.error("it has no `baseurl`, `metalink` or `mirrorlist`")),
        }
    }

    fn keys(&self) -> Result<(Vec<KeySource>, Option<KeyFiles>), DocumentError> {
        let keys = self.file.keys;
        let files = self.urls("gpgkey")?;
        if files.is_empty() && keys.own.is_empty() {
            return Err(self.error("it names no `gpgkey`").note(
                "add the key to the template: `keys = [{ url = \"…\", fingerprint = \"…\" }]`",
            ));
        }
        let wanted = keys.own.is_empty() || !keys.pinned.is_empty();
        let key_files = (wanted && !files.is_empty()).then(|| KeyFiles {
            files,
            fingerprints: keys.pinned.clone(),
        });
        Ok((keys.own.clone(), key_files))
    }

    /// The value of `key` with its variables replaced; lines of a longer one stay apart.
    fn text(&self, key: &str) -> Result<Option<String>, DocumentError> {
        let Some(text) = self.ini.get(self.name, key) else {
            return Ok(None);
        };
        let variables = &self.file.context.variables;
        let expanded = expand(text.trim(), variables, |_, name| {
            let known: Vec<&str> = variables.keys().map(String::as_str).collect();
            let mut error = self.error(format_args!("`{key}`: there is no variable `${name}`"));
            if let Some(nearest) = nearest(name, &known) {
                error = error.note(format!("did you mean `{nearest}`?"));
            }
            Err(error.note("set it in the template's table `[variables]`"))
        })?;
        Ok(Some(expanded).filter(|text| !text.is_empty()))
    }

    fn words(&self, key: &str) -> Result<Vec<String>, DocumentError> {
        let text = self.text(key)?.unwrap_or_default();
        let words = text.split(|c: char| c.is_whitespace() || c == ',');
        Ok(words
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect())
    }

    /// A text as one of the documents' values; further lines of its error are notes.
    fn value<T: FromStr<Err = ValueError>>(
        &self,
        key: &str,
        text: &str,
    ) -> Result<T, DocumentError> {
        text.parse().map_err(|error: ValueError| {
            let text = error.to_string();
            let mut lines = text.lines();
            let first = lines.next().unwrap_or_default();
            let error = self.error(format_args!("`{key}`: {first}"));
            lines.fold(error, DocumentError::note)
        })
    }

    fn urls(&self, key: &str) -> Result<Vec<Url>, DocumentError> {
        let words = self.words(key)?;
        words.iter().map(|word| self.value(key, word)).collect()
    }

    fn globs(&self, key: &str) -> Result<Vec<Glob>, DocumentError> {
        let words = self.words(key)?;
        words.iter().map(|word| self.value(key, word)).collect()
    }

    fn number(&self, key: &str, default: u32) -> Result<u32, DocumentError> {
        let Some(text) = self.text(key)? else {
            return Ok(default);
        };
        text.parse()
            .map_err(|_| self.error(format_args!("`{key}`: `{text}` is not a number")))
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool, DocumentError> {
        let Some(text) = self.text(key)? else {
            return Ok(default);
        };
        match text.to_ascii_lowercase().as_str() {
            "1" | "yes" | "true" | "on" | "enabled" => Ok(true),
            "0" | "no" | "false" | "off" | "disabled" => Ok(false),
            _ => Err(self.error(format_args!("`{key}`: `{text}` is neither yes nor no"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::Template;

    const PIN: &str = "{ fingerprint = \"21CB256AE16FC54C6E652949702D426D350D275D\" }";

    fn template(keys: &str, text: &str) -> Result<Template, String> {
        let template = format!(
            "format = 1\narchitecture = \"x86_64\"\npackages = [\"bash\"]\nrepo_files = [\"repos/x.repo\"]\nkeys = [{keys}]\n\
             [variables]\nreleasever = \"9\"\nstream = \"9-stream\"\n"
        );
        let contents = |_: &RelativePath| Ok(text.to_owned());
        let name = "mini".parse().unwrap();
        Template::parse_with(&name, &template, Path::new("mini.toml"), &contents)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_dnf_reads_is_read() {
        let text = "# a comment\n[main]\ngpgcheck=0\n\n[baseos]\nname=CentOS Stream $releasever - BaseOS; all\n\
            metalink=https://mirrors.example/metalink?repo=centos-baseos-$stream&arch=$basearch&protocol=https,http\n\
            gpgkey=file:///etc/pki/rpm-gpg/KEY-1\n       https://keys.example/KEY-2\ngpgcheck=1\nrepo_gpgcheck=0\nmetadata_expire=6h\ncountme=1\nenabled=1\n\
            [off]\nname=Off\nbaseurl=ftp://nowhere/\nenabled=0\n\
            [extras]\nbaseurl = https://one.example/${releasever}/$basearch/,\n  https://two.example/#x\nmirrorlist=https://unused.example/\nrepo_gpgcheck=yes\n\
            gpgkey=https://keys.example/KEY-2\npriority=10\ncost = 500\nexcludepkgs=a*, b\n   c\nincludepkgs=[d-f]*\nmodule_hotfixes=true\nskip_if_unavailable=True\n\
            proxy=_none_\nsslclientcert=/etc/pki/entitlement/1.pem\nsslclientkey=/etc/pki/entitlement/1-key.pem\nsslverify=1\n";
        let template = template(PIN, text).unwrap();
        let disabled: Vec<_> = template
            .disabled
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(disabled, ["off"]);
        let [baseos, extras] = template.repositories.as_slice() else {
            panic!("{:?}", template.repositories);
        };
        assert_eq!(
            baseos.source,
            RepositorySource::Metalink(
                "https://mirrors.example/metalink?repo=centos-baseos-9-stream&arch=x86_64&protocol=https,http"
                    .parse()
                    .unwrap()
            )
        );
        let keys = baseos.key_files.as_ref().unwrap();
        assert_eq!(
            keys.files.iter().map(Url::as_str).collect::<Vec<_>>(),
            [
                "file:///etc/pki/rpm-gpg/KEY-1",
                "https://keys.example/KEY-2"
            ]
        );
        assert_eq!(keys.fingerprints.len(), 1);
        assert_eq!(
            (baseos.check.packages, baseos.check.metadata),
            (true, false)
        );
        let RepositorySource::BaseUrls(urls) = &extras.source else {
            panic!("{:?}", extras.source);
        };
        assert_eq!(
            urls.iter().map(Url::as_str).collect::<Vec<_>>(),
            ["https://one.example/9/x86_64/", "https://two.example/#x"]
        );
        assert_eq!((extras.priority, extras.cost), (10, 500));
        assert_eq!((extras.exclude.len(), extras.include.len()), (3, 1));
        assert!(extras.module_hotfixes && extras.skip_if_unavailable && extras.check.metadata);
        assert!(extras.access.certificate.is_some());
    }

    #[test]
    fn what_cannot_be_used_as_it_is_is_named() {
        let error = |text: &str| template(PIN, text).unwrap_err();
        let base = "[a]\nbaseurl=https://a.example/\n";
        insta::assert_snapshot!(error("[a]\ngpgkey=https://k.example/\n"), @"repos/x.repo: [a]: it has no `baseurl`, `metalink` or `mirrorlist`");
        insta::assert_snapshot!(error("[a]\nbaseurl=https://a.example/$relver\ngpgkey=https://k.example/\n"), @r#"
        repos/x.repo: [a]: `baseurl`: there is no variable `$relver`
          = set it in the template's table `[variables]`
        "#);
        insta::assert_snapshot!(error(&format!("{base}gpgcheck=0\n")), @r#"
        repos/x.repo: [a]: it checks no signature
          = write it as a table `[[repository]]` with `trusted = true` and a `reason`, and `enabled=0` here
        "#);
        insta::assert_snapshot!(error(base), @r#"
        repos/x.repo: [a]: it names no `gpgkey`
          = add the key to the template: `keys = [{ url = "…", fingerprint = "…" }]`
        "#);
        insta::assert_snapshot!(error(&format!("{base}sslverify=0\n")), @"repos/x.repo: [a]: `sslverify` is off, and certificates are always checked");
        insta::assert_snapshot!(error(&format!("{base}username=me\n")), @"repos/x.repo: [a]: `username` is not supported: use a mirror that needs none, or a client certificate");
        insta::assert_snapshot!(error(&format!("{base}enabled=maybe\n")), @"repos/x.repo: [a]: `enabled`: `maybe` is neither yes nor no");
        insta::assert_snapshot!(error(&format!("{base}enabled=0\n")), @r#"
        repos/x.repo: the file enables no repository
          = say `enabled=1` in the sections that are wanted
        "#);
        insta::assert_snapshot!(error(&format!("{base}gpgkey=https://k.example/\npriority=100\n")), @"repos/x.repo: [a]: a priority is a number from 1 (first) to 99");
        insta::assert_snapshot!(error("[a\n"), @"repos/x.repo: line 1: Found opening bracket for section name but no closing bracket");
        insta::assert_snapshot!(error("name=x\n[a]\n"), @"repos/x.repo: [default]: a key before the first `[repository]`");
        insta::assert_snapshot!(error("[a/b]\nbaseurl=ftp://a.example/\ngpgkey=https://k.example/\n"), @r#"
        repos/x.repo: [a/b]: `name of the section`: `a/b` is not a name
          = a name has letters, digits and `._+-`, begins with a letter or digit, and is at most 128 characters long
        "#);
    }

    #[test]
    fn keys_with_a_place_of_their_own_stand_for_those_of_the_file() {
        let own =
            "{ fingerprint = \"21CB256AE16FC54C6E652949702D426D350D275D\", file = \"keys/x.asc\" }";
        let text = "[a]\nbaseurl=https://a.example/\ngpgkey=file:///etc/pki/KEY\n";
        let repository = |keys: &str| template(keys, text).unwrap().repositories.remove(0);
        let with_own = repository(own);
        assert_eq!((with_own.keys.len(), with_own.key_files), (1, None));
        let both = repository(&format!("{own}, {PIN}"));
        assert_eq!((both.keys.len(), both.key_files.is_some()), (1, true));
        // Without any, the keys that there are can only be told once the file is fetched.
        let none = repository("");
        assert!(none.keys.is_empty() && none.key_files.unwrap().fingerprints.is_empty());
    }

    #[test]
    fn the_digest_of_a_template_covers_its_repo_files() {
        let digest = |text: &str| template(PIN, text).unwrap().digest;
        let one = "[a]\nbaseurl=https://a.example/\ngpgkey=https://k.example/\n";
        assert_eq!(digest(one), digest(one));
        assert_ne!(digest(one), digest(&format!("{one}cost=1\n")));
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "(?s)[\\[\\]a-z=$ \n{}#;]{0,80}") {
            drop(template(PIN, &text));
        }
    }
}
