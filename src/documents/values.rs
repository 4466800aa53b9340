//! The texts of documents, each checked once, at the edge: what has one of these types is valid.
//!
//! The first line of each error is the complaint, further lines are notes on what is allowed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Text that is not what its place wants.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct ValueError(String);

/// A type around a text that `$check` has accepted, perhaps in another form.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(String);

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
    /// The name of an environment variable or of a template's variable: letters, digits and `_`.
    VariableName,
    variable_name
);

impl AsRef<Path> for RelativePath {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl Url {
    /// As URL, with a path relative to `project` made absolute.
    pub fn resolve(&self, project: &Path) -> String {
        match self.0.strip_prefix("./") {
            // Escaping what a URL cannot hold is the URL library's work.
            Some(rest) => reqwest::Url::from_file_path(project.join(rest)).map_or_else(
                |()| format!("file://{}", project.join(rest).display()),
                String::from,
            ),
            None => self.0.clone(),
        }
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

/// The processor architecture of an environment, by rpm's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit Arm.
    Aarch64,
    /// 64-bit POWER, little-endian.
    Ppc64le,
    /// IBM Z.
    S390x,
    /// 64-bit RISC-V.
    Riscv64,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::X86_64,
        Self::Aarch64,
        Self::Ppc64le,
        Self::S390x,
        Self::Riscv64,
    ];

    /// rpm's name of it, which is also the kernel's.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Ppc64le => "ppc64le",
            Self::S390x => "s390x",
            Self::Riscv64 => "riscv64",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A length of time: `90s`, `30m`, `2h`; `none` for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Period(Option<Duration>);

impl Period {
    /// So many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Some(Duration::from_secs(seconds)))
    }

    /// The limit, `None` where there is none.
    pub fn limit(self) -> Option<Duration> {
        self.0
    }
}

impl TryFrom<String> for Period {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        let units = [("s", 1), ("m", 60), ("h", 3600)];
        let allowed = "write a whole number and a unit (`90s`, `30m`, `2h`), or `none`";
        if text == "none" {
            return Ok(Self(None));
        }
        quantity(&text, &units)
            .map(Self::seconds)
            .ok_or_else(|| complaint(&text, "a length of time", allowed))
    }
}

/// An amount of memory: `512MiB`, `8GiB`; `none` for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ByteSize(Option<u64>);

impl ByteSize {
    /// No limit.
    pub const NONE: Self = Self(None);

    /// The limit in bytes, `None` where there is none.
    pub fn limit(self) -> Option<u64> {
        self.0
    }
}

impl TryFrom<String> for ByteSize {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        let units = [("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];
        let allowed = "write a whole number and a unit (`512MiB`, `8GiB`, `1TiB`), or `none`";
        if text == "none" {
            return Ok(Self::NONE);
        }
        quantity(&text, &units)
            .map(|bytes| Self(Some(bytes)))
            .ok_or_else(|| complaint(&text, "an amount of memory", allowed))
    }
}

/// A positive whole number with one of `units`.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, factor) = units
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?.trim_end(), *factor)))?;
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    let value = number
        .parse::<u64>()
        .ok()
        .filter(|value| digits && *value > 0)?;
    value.checked_mul(factor)
}

/// Permission bits of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Mode(u32);

impl Mode {
    /// The mode `bits`, of which only the lowest twelve count.
    pub const fn new(bits: u32) -> Self {
        Self(bits & 0o7777)
    }

    /// The bits: at most 0o7777.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl TryFrom<String> for Mode {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        let octal =
            matches!(text.len(), 3 | 4) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        let bits = octal.then(|| u32::from_str_radix(&text, 8).ok()).flatten();
        bits.map(Self).ok_or_else(|| {
            complaint(
                &text,
                "a file mode",
                "write three or four octal digits (`0644`, `0755`)",
            )
        })
    }
}

/// Owner of a file inside an environment, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Owner {
    /// root and its group.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };
}

impl TryFrom<String> for Owner {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        let id = |text: &str| match text {
            "root" => Some(0),
            digits => digits
                .parse::<u16>()
                .ok()
                .filter(|_| !digits.starts_with('+'))
                .map(u32::from),
        };
        let parse = || {
            let (user, group) = text.split_once(':')?;
            Some(Self {
                uid: id(user)?,
                gid: id(group)?,
            })
        };
        let allowed = "write numbers from 0 to 65535 or `root` (`root:root`, `1000:1000`)";
        parse().ok_or_else(|| complaint(&text, "an owner and a group", allowed))
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

fn line(text: &str) -> Result<String, String> {
    unless(
        text.trim().is_empty() || has_control(text),
        text,
        "a line of text",
        "it is not empty and has no line breaks or control characters",
    )
}

fn request(text: &str) -> Result<String, String> {
    if text.starts_with('@') {
        return Err(refused(
            text,
            "a package",
            "groups of packages have their own key: `groups = [\"…\"]`",
        ));
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
            &["cmake", "cmake >= 3", "/usr/bin/cc", "(a or b)"],
            &["", "@build", "-a", " a", "a\n", "py*"],
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
    fn limits_have_units() {
        let period = |text: &str| Period::try_from(text.to_owned()).ok().map(Period::limit);
        assert_eq!(period("2h"), Some(Some(Duration::from_secs(7200))));
        assert_eq!(period("30 m"), Some(Some(Duration::from_secs(1800))));
        assert_eq!(period("none"), Some(None));
        for text in [
            "",
            "2",
            "h",
            "0s",
            "-1s",
            "+1s",
            "1.5h",
            "2d",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert_eq!(period(text), None, "{text}");
        }
        let size = |text: &str| {
            ByteSize::try_from(text.to_owned())
                .ok()
                .and_then(ByteSize::limit)
        };
        assert_eq!(size("8GiB"), Some(8 << 30));
        assert_eq!(size("8GB"), None);
    }

    #[test]
    fn modes_and_owners_are_numbers() {
        let mode = |text: &str| Mode::try_from(text.to_owned()).ok().map(Mode::bits);
        assert_eq!(
            [mode("0644"), mode("755"), mode("4755")],
            [Some(0o644), Some(0o755), Some(0o4755)]
        );
        assert_eq!(
            [mode(""), mode("0o644"), mode("0888"), mode("00644")],
            [None; 4]
        );
        let owner = |text: &str| {
            Owner::try_from(text.to_owned())
                .ok()
                .map(|owner| (owner.uid, owner.gid))
        };
        assert_eq!(
            [owner("root:root"), owner("1000:10")],
            [Some((0, 0)), Some((1000, 10))]
        );
        assert_eq!(
            [
                owner("1000"),
                owner("a:b"),
                owner("70000:0"),
                owner("1:2:3"),
                owner("+1:1")
            ],
            [None; 5]
        );
    }

    #[test]
    fn architectures_have_one_text_form() {
        for architecture in Architecture::ALL {
            let text = serde_json::to_string(&architecture).unwrap();
            assert_eq!(text, format!("\"{architecture}\""));
            assert_eq!(
                serde_json::from_str::<Architecture>(&text).unwrap(),
                architecture
            );
        }
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
