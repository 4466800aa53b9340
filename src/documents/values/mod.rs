//! The texts of documents, each checked once, at the edge: what has one of these types is valid.
//!
//! The first line of each error is the complaint, further lines are notes on what is allowed.

mod image;
mod scalars;

use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

pub use image::ImageName;
pub use scalars::{Architecture, ByteSize, Cores, Mode, Owner, Period};

/// Text that is not what its place wants.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct ValueError(String);

/// Parses text where it is read and not afterwards, so that an error has the place of the text.
struct TextVisitor<T>(PhantomData<T>);

impl<T: FromStr<Err = ValueError>> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text in quotes")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// A type around a text that `$check` has accepted, perhaps in another form.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(into = "String")]
        pub struct $name(String);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(TextVisitor(PhantomData))
            }
        }

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ValueError;

            fn from_str(text: &str) -> Result<Self, ValueError> {
                $check(text).map(Self).map_err(ValueError)
            }
        }

        impl TryFrom<String> for $name {
            type Error = ValueError;

            fn try_from(text: String) -> Result<Self, ValueError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text!(
    /// The name of a project, template, recipe, repository, group or package: letters, digits
    /// and `._+-`, a letter or digit first.
    Name,
    name
);
text!(
    /// What is asked of the solver: a package's name, with a version where wanted
    /// (`cmake >= 3.20`), a capability, an absolute path, or a rich dependency in parentheses.
    Request,
    request
);
text!(
    /// A group of packages by its id or display name in the repositories' comps; an environment has
    /// `^` before it.
    GroupName,
    group_name
);
text!(
    /// A stream of a module that is enabled (`nodejs:20`), or a module that is disabled (`-nodejs`).
    ModuleStream,
    module_stream
);
text!(
    /// An absolute path inside an environment, without `.`, `..` and empty components.
    AbsolutePath,
    absolute_path
);
text!(
    /// A path below the project's directory, without `.`, `..` and empty components.
    RelativePath,
    relative_path
);
text!(
    /// Where something is fetched from: an `https`, `http` or `file` URL without user name and
    /// password, or a path relative to the project's directory, which begins with `./`.
    Url,
    url
);
text!(
    /// The fingerprint of an OpenPGP key: 40 upper-case hexadecimal digits, 64 for version 6 keys.
    Fingerprint,
    fingerprint
);
text!(
    /// A pattern: `*` any text, `?` one character, `[…]` one of these.
    Glob,
    glob_text
);
text!(
    /// The name of an RPM macro, without `%`.
    MacroName,
    macro_name
);

text!(
    /// One line of text, not empty, without control characters.
    Line,
    line
);
text!(
    /// The value of a template's variable: a line of text, which may be empty (Rocky's `$rltype` is).
    VariableValue,
    variable_value
);
text!(
    /// The name of an environment variable or of a template's variable: letters, digits and `_`.
    VariableName,
    variable_name
);

impl Request {
    /// The group that is asked for, where it is one: `@group`.
    pub fn group(&self) -> Option<GroupName> {
        let name = self.0.strip_prefix('@')?;
        Some(GroupName(name.to_owned()))
    }
}

impl GroupName {
    /// The environment that is meant, where it is one.
    pub fn environment(&self) -> Option<&str> {
        self.0.strip_prefix('^')
    }
}

impl ModuleStream {
    /// The module, and the stream that is enabled; `None` where the module is disabled.
    pub fn parts(&self) -> (&str, Option<&str>) {
        match self.0.split_once(':') {
            Some((name, stream)) => (name, Some(stream)),
            None => (self.0.trim_start_matches('-'), None),
        }
    }
}

impl AsRef<Path> for RelativePath {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl Url {
    /// As URL, with a path relative to `project` made absolute.
    pub fn resolve(&self, project: &Path) -> String {
        let Some(rest) = self.0.strip_prefix("./") else {
            return self.0.clone();
        };
        // Without a current directory nothing relative works anyway.
        let path = std::path::absolute(project.join(rest)).unwrap_or_else(|_| project.join(rest));
        // Escaping what a URL cannot hold is the URL library's work.
        reqwest::Url::from_file_path(&path)
            .map_or_else(|()| format!("file://{}", path.display()), String::from)
    }

    /// The file that it names on this machine, where it does.
    pub fn local_path(&self, project: &Path) -> Option<PathBuf> {
        match self.0.strip_prefix("./") {
            Some(rest) => Some(project.join(rest)),
            None => reqwest::Url::parse(&self.0)
                .ok()
                .filter(|url| url.scheme() == "file")?
                .to_file_path()
                .ok(),
        }
    }
}

impl Glob {
    /// Whether all of `text` fits the pattern.
    pub fn matches(&self, text: &str) -> bool {
        glob::Pattern::new(&self.0).is_ok_and(|pattern| pattern.matches(text))
    }
}

fn complaint(text: &str, what: &str, allowed: &str) -> ValueError {
    ValueError(refused(text, what, allowed))
}

fn refused(text: &str, what: &str, allowed: &str) -> String {
    let text: String = text
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(80)
        .collect();
    format!("`{text}` is not {what}\n{allowed}")
}

fn unless(wrong: bool, text: &str, what: &str, allowed: &str) -> Result<String, String> {
    if wrong {
        Err(refused(text, what, allowed))
    } else {
        Ok(text.to_owned())
    }
}

/// Whether `text` has characters that no name, path or URL here may have.
fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

fn name(text: &str) -> Result<String, String> {
    let fits = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.len() <= 128
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte));
    unless(
        !fits,
        text,
        "a name",
        "a name has letters, digits and `._+-`, begins with a letter or digit, and is at most 128 characters long",
    )
}

fn macro_name(text: &str) -> Result<String, String> {
    let fits = text.len() >= 3
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    unless(
        !fits,
        text,
        "the name of a macro",
        "it has at least three letters, digits and `_`, no `%`, and does not begin with a digit",
    )
}

fn variable_name(text: &str) -> Result<String, String> {
    let fits = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    unless(
        !fits,
        text,
        "the name of a variable",
        "it has letters, digits and `_`, no `$`, and does not begin with a digit",
    )
}

fn variable_value(text: &str) -> Result<String, String> {
    unless(
        has_control(text),
        text,
        "the value of a variable",
        "it has no line breaks or control characters",
    )
}

fn line(text: &str) -> Result<String, String> {
    unless(
        text.trim().is_empty() || has_control(text),
        text,
        "a line of text",
        "it is not empty and has no line breaks or control characters",
    )
}

fn request(text: &str) -> Result<String, String> {
    if let Some(group) = text.strip_prefix('@') {
        return group_name(group).map(|_| text.to_owned());
    }
    let odd = text.is_empty()
        || text != text.trim()
        || text.starts_with('-')
        || has_control(text)
        || text.contains('*');
    unless(
        odd,
        text,
        "a package",
        "write a name (`cmake`), a name and a version (`cmake >= 3.20`), a path (`/usr/bin/cc`) or a rich dependency (`(a or b)`)",
    )
}

fn group_name(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('^').unwrap_or(text);
    let fits = bare.starts_with(|c: char| c.is_alphanumeric())
        && bare == bare.trim()
        && bare.len() <= 128
        && !has_control(bare)
        && !bare.contains(['*', '@', '/']);
    unless(
        !fits,
        text,
        "a group of packages",
        "write the group's id as comps has it (`buildsys-build`); an environment has `^` before it (`^minimal-environment`)",
    )
}

fn module_stream(text: &str) -> Result<String, String> {
    let plain = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte))
    };
    let fits = match text.strip_prefix('-') {
        Some(name) => plain(name),
        None => text
            .split_once(':')
            .is_some_and(|(name, stream)| plain(name) && plain(stream)),
    };
    unless(
        !fits || text.len() > 256,
        text,
        "a stream of a module",
        "write the module and its stream (`nodejs:20`), or `-` and a module that is to be disabled (`-nodejs`)",
    )
}

fn components_fit(path: &str) -> bool {
    !has_control(path) && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn absolute_path(text: &str) -> Result<String, String> {
    let fits = text.strip_prefix('/').is_some_and(components_fit);
    unless(
        !fits,
        text,
        "an absolute path",
        "it begins with `/` and has no `.`, `..` or empty components",
    )
}

fn relative_path(text: &str) -> Result<String, String> {
    unless(
        !components_fit(text),
        text,
        "a path below the project's directory",
        "it does not begin with `/` and has no `.`, `..` or empty components",
    )
}

fn url(text: &str) -> Result<String, String> {
    let allowed = "write an `https`, `http` or `file` URL, or a path below the project's directory that begins with `./`";
    if let Some(rest) = text.strip_prefix("./") {
        let path = rest.strip_suffix('/').unwrap_or(rest);
        return unless(!components_fit(path), text, "a URL", allowed);
    }
    let url = reqwest::Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "https" | "http" | "file"));
    let Some(url) = url.filter(|_| !text.contains(|c: char| c.is_whitespace() || c.is_control()))
    else {
        return Err(refused(text, "a URL", allowed));
    };
    if !url.username().is_empty() || url.password().is_some() {
        let host = url.host_str().unwrap_or_default();
        return Err(format!(
            "the URL of `{host}` holds a user name or a password\nit would end up in the lock: use a mirror that needs none"
        ));
    }
    if url.scheme() == "file" && !text.starts_with("file:///") {
        return Err(refused(
            text,
            "a URL",
            "a `file` URL holds an absolute path: `file:///srv/mirror`",
        ));
    }
    Ok(text.to_owned())
}

fn fingerprint(text: &str) -> Result<String, String> {
    let digits: String = text
        .chars()
        .filter(|c| *c != ' ')
        .collect::<String>()
        .to_ascii_uppercase();
    let fits =
        matches!(digits.len(), 40 | 64) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let allowed = "write all 40 (or 64) hexadecimal digits, as `gpg --show-keys` prints them; a key id is too short to pin a key";
    unless(!fits, text, "the fingerprint of a key", allowed).map(|_| digits)
}

fn glob_text(text: &str) -> Result<String, String> {
    let error = match glob::Pattern::new(text) {
        Ok(_) if !text.is_empty() && !has_control(text) => return Ok(text.to_owned()),
        Ok(_) => "it is empty or has control characters".to_owned(),
        Err(error) => format!("at character {}: {}", error.pos + 1, error.msg),
    };
    Err(refused(text, "a pattern", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts<T: FromStr<Err = ValueError>>(good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(text.parse::<T>().is_ok(), "{text}");
        }
        for text in bad {
            assert!(text.parse::<T>().is_err(), "{text}");
        }
    }

    #[test]
    fn texts_are_checked() {
        accepts::<Name>(
            &["gcc-c++", "a", "3proxy", "x_y.z"],
            &["", ".a", "-a", "a/b", "a b", "é", &"a".repeat(129)],
        );
        accepts::<MacroName>(
            &["vendor", "_smp_mflags"],
            &["", "ab", "%vendor", "1ab", "a-b"],
        );
        accepts::<VariableName>(&["CC", "_a1"], &["", "1a", "$a", "a-b", "a=b"]);
        accepts::<Line>(&["Example Ltd."], &["", " ", "a\nb", "a\u{1b}"]);
        accepts::<Request>(
            &["cmake", "cmake >= 3", "/usr/bin/cc", "(a or b)", "@build"],
            &["", "@", "@a*", "-a", " a", "a\n", "py*"],
        );
        accepts::<GroupName>(
            &[
                "buildsys-build",
                "^minimal-environment",
                "Development Tools",
            ],
            &["", "^", "-a", " a", "a/b", "a\n", "@a"],
        );
        accepts::<ModuleStream>(
            &["nodejs:20", "perl:5.30", "-nodejs", "container-tools:rhel8"],
            &[
                "", "nodejs", "nodejs:", ":20", "a:b:c", "-", "-a:1", "a b:1",
            ],
        );
        accepts::<AbsolutePath>(
            &["/a", "/a b/c"],
            &["", "/", "a", "/a/", "//a", "/a/../b", "/./a", "/a\n"],
        );
        accepts::<RelativePath>(&["a", "a/b"], &["", "/a", "a/", "../a", "a//b"]);
        accepts::<Glob>(&["*.i686", "a[12]?"], &["", "a[", "***"]);
        accepts::<Url>(
            &[
                "https://a.b/c?d=$releasever",
                "file:///a",
                "./cache/mini",
                "./a/",
            ],
            &[
                "",
                "a",
                "/a",
                "ftp://a",
                "../a",
                "./../a",
                "https://u:p@a/",
                "file://a/b",
                "https://a b",
                "https://",
            ],
        );
    }

    #[test]
    fn fingerprints_are_whole_and_have_one_form() {
        let text = "bb58 56ff f66c d0ba 60b4  8d05 1b07 3b2f 7ce1 9d1c";
        assert_eq!(
            text.parse::<Fingerprint>().unwrap().as_str(),
            "BB5856FFF66CD0BA60B48D051B073B2F7CE19D1C"
        );
        accepts::<Fingerprint>(
            &[&"a".repeat(64)],
            &["", "7CE19D1C", &"g".repeat(40), &"a".repeat(41)],
        );
    }

    #[test]
    fn relative_locations_are_resolved_against_the_project() {
        let url: Url = "./mini distro/x".parse().unwrap();
        assert_eq!(url.resolve(Path::new("/p")), "file:///p/mini%20distro/x");
        assert_eq!(
            url.local_path(Path::new("/p")),
            Some("/p/mini distro/x".into())
        );
        let url: Url = "file:///p/a%20b".parse().unwrap();
        assert_eq!(url.local_path(Path::new("/q")), Some("/p/a b".into()));
        assert_eq!(
            "https://a/b"
                .parse::<Url>()
                .unwrap()
                .local_path(Path::new("/q")),
            None
        );
    }
}
