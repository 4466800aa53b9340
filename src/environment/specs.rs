//! What a spec declares, read by the distribution's own `rpmspec` in a sandbox, since specs run macros.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::backend::{Backend, BackendError, Command, Exit, Io, RootId, Stream, User};
use crate::cancel::Cancel;
use crate::documents::lock;
use crate::environment::pack::{Entry, pack};
use crate::rpm::Nevra;

/// What a spec declares after macro expansion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecFacts {
    /// Name of the source package.
    pub name: String,
    /// Epoch, 0 where there is none.
    pub epoch: u32,
    /// Version.
    pub version: String,
    /// Release.
    pub release: String,
    /// Time of the newest entry of the change log, seconds since 1970.
    pub changelog: Option<u64>,
    /// BuildRequires as rpm prints them (`gcc >= 4`, `(a or b)`), sorted.
    pub build_requires: Vec<String>,
    /// File names of sources and patches, in the spec's order.
    pub sources: Vec<String>,
    /// Those that are named by a URL: file name → URL.
    pub urls: BTreeMap<String, String>,
    /// Its binary packages, in the spec's order.
    pub binaries: Vec<BinaryFacts>,
}

impl SpecFacts {
    fn nevra(&self, name: &str, arch: &str) -> Nevra {
        Nevra {
            name: name.to_owned(),
            epoch: self.epoch,
            version: self.version.clone(),
            release: self.release.clone(),
            arch: arch.to_owned(),
        }
    }
}

impl From<&SpecFacts> for lock::SpecFacts {
    fn from(facts: &SpecFacts) -> Self {
        let binary = |binary: &BinaryFacts| lock::BinaryFacts {
            nevra: facts.nevra(&binary.name, &binary.arch),
            provides: binary.provides.clone(),
            requires: binary.requires.clone(),
        };
        Self {
            nevra: facts.nevra(&facts.name, "src"),
            changelog: facts.changelog.is_some(),
            build_requires: facts.build_requires.clone(),
            binaries: facts.binaries.iter().map(binary).collect(),
        }
    }
}

/// A binary package that a spec declares, before rpmbuild adds what it finds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BinaryFacts {
    /// Package name.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// Provides as rpm prints them, the package's own name first.
    pub provides: Vec<String>,
    /// Requires as rpm prints them.
    pub requires: Vec<String>,
}

/// Why a spec could not be read.
#[derive(Debug, Error)]
pub enum SpecError {
    /// rpmspec refused it.
    #[error("`{spec}` does not parse: {}", .message.trim())]
    Parse {
        /// The spec's path.
        spec: PathBuf,
        /// What rpmspec said.
        message: String,
    },
    /// rpmspec's answer has another form than the one that was asked for.
    #[error("`{spec}`: rpmspec gave an answer that cannot be read: `{line}`")]
    Answer {
        /// The spec's path.
        spec: PathBuf,
        /// The line.
        line: String,
    },
    /// The spec or a file beside it could not be read on the host.
    #[error("cannot read the files of `{spec}`")]
    Files {
        /// The spec's path.
        spec: PathBuf,
        /// Its cause.
        source: std::io::Error,
    },
    /// The sandbox could not run it.
    #[error("cannot read `{spec}` in a sandbox")]
    Sandbox {
        /// The spec's path.
        spec: PathBuf,
        /// Its cause.
        source: BackendError,
    },
}

/// A spec on the host, and how it is to be read.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The spec; files beside it are its local sources.
    pub spec: &'a Path,
    /// Macros, name and value each.
    pub macros: &'a BTreeMap<String, String>,
    /// More arguments of rpmspec (`--with=x`).
    pub options: &'a [String],
    /// Where archives are spooled.
    pub spool: &'a Path,
}

/// One line a fact: a letter, a space, the value. Tags as in rpm's `--querytags`.
const SOURCE_FORMAT: &str = "N %{NAME}\nE %{EPOCHNUM}\nV %{VERSION}\nR %{RELEASE}\n[B %{REQUIRENEVRS}\n][C %{CHANGELOGTIME}\n]";
const BINARY_FORMAT: &str = "N %{NAME}\nA %{ARCH}\n[P %{PROVIDENEVRS}\n][R %{REQUIRENEVRS}\n]";
/// Stands between the three answers of one run.
const MARK: &str = "\u{1}pristine";

/// Reads one spec in a clone of `roots` (which hold `rpmspec`).
pub fn read(
    backend: &dyn Backend,
    roots: &[RootId],
    request: &Request<'_>,
    cancel: &Cancel,
) -> Result<SpecFacts, SpecError> {
    let spec = request.spec.to_owned();
    let sandbox = |source| SpecError::Sandbox {
        spec: spec.clone(),
        source,
    };
    let files = |source| SpecError::Files {
        spec: spec.clone(),
        source,
    };
    let mut tar = pack(&entries(request.spec).map_err(files)?, 0, request.spool).map_err(files)?;
    let mut clone = backend.open(roots).map_err(sandbox)?;
    clone.copy_in("/builddir", &mut tar).map_err(sandbox)?;
    let mut answers = Vec::new();
    for tail in [
        vec!["-q", "--srpm", "--qf", SOURCE_FORMAT],
        vec!["-q", "--qf", BINARY_FORMAT],
        vec!["-P"],
    ] {
        let name = request
            .spec
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let mut argv = vec!["rpmspec".to_owned()];
        argv.extend(tail.into_iter().map(str::to_owned));
        argv.extend(request.options.iter().cloned());
        for (key, value) in request.macros {
            argv.extend(["--define".to_owned(), format!("{key} {value}")]);
        }
        argv.push(format!("/builddir/SOURCES/{name}"));
        let (exit, out, err) = run(&mut *clone, &Command::new(argv), cancel).map_err(sandbox)?;
        if !exit.success() {
            let message = if err.trim().is_empty() {
                exit.to_string()
            } else {
                readable(&err)
            };
            return Err(SpecError::Parse { spec, message });
        }
        answers.push(out);
    }
    clone.destroy().map_err(sandbox)?;
    parse(&answers.join(MARK)).map_err(|line| SpecError::Answer { spec, line })
}

/// The sandbox's folder names mean nothing to the user.
fn readable(message: &str) -> String {
    message
        .replace("/builddir/SOURCES/", "")
        .lines()
        .filter(|line| !line.contains("can't parse") && !line.starts_with("warning:"))
        .map(|line| line.trim_start_matches("error: "))
        .collect::<Vec<_>>()
        .join("; ")
}

/// The spec and the plain files beside it.
fn entries(spec: &Path) -> std::io::Result<Vec<Entry>> {
    let mut entries = vec![Entry::folder("SOURCES", User::ROOT)];
    for path in local_files(spec)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        entries.push(Entry::host(
            format!("SOURCES/{name}"),
            path.clone(),
            User::ROOT,
        ));
    }
    Ok(entries)
}

/// The spec itself and the plain files beside it, sorted.
pub fn local_files(spec: &Path) -> std::io::Result<Vec<PathBuf>> {
    let folder = spec.parent().unwrap_or(Path::new("."));
    let mut files = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        // `metadata` follows links: a link to a shared source is a source.
        if fs_err::metadata(&path)?.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Runs a command and keeps its output, up to 16 MiB each.
pub(crate) fn run(
    clone: &mut dyn crate::backend::Clone,
    command: &Command,
    cancel: &Cancel,
) -> Result<(Exit, String, String), BackendError> {
    const MOST: usize = 16 << 20;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = clone.run(
        command,
        Io {
            stdin: None,
            output: &mut |stream, bytes| {
                let kept = match stream {
                    Stream::Out => &mut out,
                    Stream::Err => &mut err,
                };
                let room = MOST.saturating_sub(kept.len());
                kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
            },
            cancel,
        },
    )?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((exit, text(out), text(err)))
}

/// Reads the three answers, joined by `MARK`. An error is the line that cannot be read.
fn parse(text: &str) -> Result<SpecFacts, String> {
    let mut parts = text.splitn(3, MARK);
    let mut part = || {
        parts
            .next()
            .ok_or_else(|| "an answer is missing".to_owned())
    };
    let mut facts = SpecFacts::default();
    for line in part()?.lines().filter(|line| !line.is_empty()) {
        match line.split_once(' ') {
            Some(("N", value)) => value.clone_into(&mut facts.name),
            Some(("E", value)) => facts.epoch = value.parse().map_err(|_| line.to_owned())?,
            Some(("V", value)) => value.clone_into(&mut facts.version),
            Some(("R", value)) => value.clone_into(&mut facts.release),
            Some(("B", value)) if value.starts_with("rpmlib(") => {}
            Some(("B", value)) => facts.build_requires.push(value.trim().to_owned()),
            Some(("C", value)) => {
                let time = value.parse().map_err(|_| line.to_owned())?;
                facts.changelog = facts.changelog.max(Some(time));
            }
            _ => return Err(line.to_owned()),
        }
    }
    facts.build_requires.sort();
    facts.build_requires.dedup();
    for line in part()?.lines().filter(|line| !line.is_empty()) {
        let (letter, value) = line.split_once(' ').ok_or_else(|| line.to_owned())?;
        if letter == "N" {
            facts.binaries.push(BinaryFacts::default());
        }
        let binary = facts.binaries.last_mut().ok_or_else(|| line.to_owned())?;
        match letter {
            "N" => value.clone_into(&mut binary.name),
            "A" => value.clone_into(&mut binary.arch),
            "P" => binary.provides.push(value.trim().to_owned()),
            "R" if value.starts_with("rpmlib(") => {}
            "R" => binary.requires.push(value.trim().to_owned()),
            _ => return Err(line.to_owned()),
        }
    }
    parse_sources(part()?, &mut facts);
    Ok(facts)
}

/// `Source0: URL` and `Patch: file` lines of the expanded spec's preamble.
fn parse_sources(expanded: &str, facts: &mut SpecFacts) {
    for line in expanded.lines() {
        let Some((tag, value)) = line.split_once(':') else {
            continue;
        };
        let tag = tag.trim().to_ascii_lowercase();
        let value = value.trim();
        let number = tag
            .strip_prefix("source")
            .or_else(|| tag.strip_prefix("patch"));
        if value.is_empty()
            || !number.is_some_and(|number| number.bytes().all(|digit| digit.is_ascii_digit()))
        {
            continue;
        }
        // As rpm: the file name is what follows the last slash; `#/name` renames a download.
        let name = value.rsplit('/').next().unwrap_or(value).to_owned();
        if value.contains("://") {
            let url = value.split_once("#/").map_or(value, |(url, _)| url);
            facts.urls.insert(name.clone(), url.to_owned());
        }
        if !facts.sources.contains(&name) {
            facts.sources.push(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_of_rpmspec_are_read() {
        let source = "N foo\nE 2\nV 1\nR 1\nB gcc >= 4\nB (a or b)\nB rpmlib(CompressedFileNames) <= 3.0.4-1\nC 20\nC 10\n";
        let binary = "N foo\nA x86_64\nP foo = 2:1-1\nP foo(x86-64) = 2:1-1\nR bar\nN foo-data\nA noarch\nP foo-data = 2:1-1\n";
        let expanded = "Name: foo\nSource0: http://x/y/foo-1.tar.gz\nSource1: local.txt\nPatch: http://x/?id=7#/fix.patch\n\
                        %prep\nSources are: nowhere\n";
        let facts = parse(&[source, binary, expanded].join(MARK)).unwrap();
        assert_eq!(
            (facts.name.as_str(), facts.epoch, facts.changelog),
            ("foo", 2, Some(20))
        );
        assert_eq!(facts.build_requires, ["(a or b)", "gcc >= 4"]);
        assert_eq!(facts.sources, ["foo-1.tar.gz", "local.txt", "fix.patch"]);
        assert_eq!(facts.urls["fix.patch"], "http://x/?id=7");
        assert_eq!(facts.urls["foo-1.tar.gz"], "http://x/y/foo-1.tar.gz");
        assert_eq!(facts.binaries.len(), 2);
        assert_eq!(facts.binaries[0].requires, ["bar"]);
        assert_eq!(facts.binaries[1].arch, "noarch");
    }

    #[test]
    fn an_unreadable_answer_is_shown() {
        assert_eq!(parse(&["X y", "", ""].join(MARK)), Err("X y".to_owned()));
        assert_eq!(parse("N foo"), Err("an answer is missing".to_owned()));
    }

    #[test]
    fn rpms_message_is_made_readable() {
        let message = "error: line 3: Unknown tag: Frob: x\nerror: query of specfile /builddir/SOURCES/a.spec failed, can't parse\n";
        assert_eq!(readable(message), "line 3: Unknown tag: Frob: x");
    }
}
