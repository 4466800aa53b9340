//! The commit that is built: of the user's own tree, or of a clean checkout, by the host's `git`.
//!
//! Neither the user's configuration of git nor that of a repository gets to run programs: no system or global
//! configuration is read, no hooks, no monitor, no external diffs, no `ext::` addresses.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use thiserror::Error;

use crate::digest::Digest;

/// What a tree is a checkout of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The commit's object id.
    pub commit: String,
    /// SHA-256 of what the tree has beside it; none where that is nothing.
    pub changes: Option<Digest>,
}

/// Why git did not do what it was asked.
#[derive(Debug, Error)]
pub enum GitError {
    /// There is none.
    #[error("cannot run `git`")]
    Run(#[source] io::Error),
    /// It refused.
    #[error("git cannot {doing}: {said}")]
    Refused {
        /// To read after "cannot".
        doing: String,
        /// Its own words.
        said: String,
    },
    /// There is no such commit.
    #[error("`{repository}` has no commit `{reference}`")]
    NoCommit {
        /// The repository as it was asked for.
        repository: String,
        /// The branch, tag or commit.
        reference: String,
    },
    /// A file of the tree or of the mirror.
    #[error("cannot {doing} `{path}`")]
    File {
        /// To read after "cannot".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Its cause.
        source: io::Error,
    },
}

/// Settings that keep git from running programs that a repository or its user names.
const CLOSED: [&str; 5] = [
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "protocol.ext.allow=never",
    "core.pager=cat",
    "gc.auto=0",
];

/// git in a folder, which finds its repository from there.
#[expect(
    clippy::disallowed_methods,
    reason = "the host's git, closed against what a repository says"
)]
fn git(folder: &Path) -> Command {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os() {
        // Those that lead to another repository, configuration or program; how ssh is called is the user's own business.
        let name = name.to_string_lossy();
        if name.starts_with("GIT_") && !name.starts_with("GIT_SSH") {
            command.env_remove(name.as_ref());
        }
    }
    command
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("LC_ALL", "C")
        .current_dir(folder)
        .stdin(Stdio::null());
    for setting in CLOSED {
        command.args(["-c", setting]);
    }
    command
}

fn ask(mut command: Command, doing: &str) -> Result<Vec<u8>, GitError> {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().map_err(GitError::Run)?;
    if status.success() {
        return Ok(stdout);
    }
    let said = String::from_utf8_lossy(&stderr);
    let first = said.lines().find(|line| !line.trim().is_empty());
    Err(GitError::Refused {
        doing: doing.to_owned(),
        said: first.unwrap_or("it did not say why").to_owned(),
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// What the tree in `folder` is a checkout of, and what it has beside that, without what lies in `except`. None where
/// git is missing, where it is no checkout, or has no commit yet.
pub fn state(folder: &Path, except: &Path) -> Result<Option<State>, GitError> {
    let mut command = git(folder);
    command.args(["rev-parse", "--verify", "HEAD^{commit}"]);
    let commit = match ask(command, "tell the commit") {
        Ok(commit) => text(&commit),
        // A repository of somebody else is not nothing.
        Err(error @ GitError::Refused { .. }) if error.to_string().contains("dubious") => {
            return Err(error);
        }
        Err(_) => return Ok(None),
    };
    let mut diff = git(folder);
    diff.args(["diff", "HEAD", "--binary", "--full-index", "--no-ext-diff"])
        .args(["--no-textconv", "--no-color", "--no-renames", "--", "."]);
    let diff = ask(diff, "compare the tree with its commit")?;
    let mut others = git(folder);
    others.args([
        "ls-files",
        "--others",
        "--exclude-standard",
        "-z",
        "--",
        ".",
    ]);
    let others = ask(others, "list the files that it does not track")?;
    let mut all = Vec::new();
    for name in others
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let name = Path::new(<OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name));
        let path = folder.join(name);
        if !path.starts_with(except) {
            all.extend(of_file(name, &path)?);
        }
    }
    let clean = diff.is_empty() && all.is_empty();
    all.extend(diff);
    Ok(Some(State {
        commit,
        changes: (!clean).then(|| Digest::of(&all)),
    }))
}

/// A line about a file that git does not track: its name and its content, or where it leads.
fn of_file(name: &Path, path: &Path) -> Result<Vec<u8>, GitError> {
    let failed = |source| GitError::File {
        doing: "read",
        path: path.to_owned(),
        source,
    };
    let kind = std::fs::symlink_metadata(path).map_err(failed)?.file_type();
    let digest = if kind.is_symlink() {
        let target = std::fs::read_link(path).map_err(failed)?;
        Digest::of(target.as_os_str().as_encoded_bytes())
    } else if kind.is_file() {
        let mut file = std::fs::File::open(path).map_err(failed)?;
        Digest::of_reader(&mut file).map_err(failed)?.0
    } else {
        Digest::of(b"")
    };
    Ok(format!("{}\0{digest}\n", name.display()).into_bytes())
}

/// Where a checkout comes from, as `URL#REF` says it; without a ref, what the repository has as `HEAD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// A URL, or an absolute path.
    pub repository: String,
    /// A branch, a tag or a commit.
    pub reference: String,
}

impl Origin {
    /// Reads `URL#REF` or `PATH#REF`; a relative path starts at `folder`.
    pub fn parse(text: &str, folder: &Path) -> Self {
        let (repository, reference) = match text.rsplit_once('#') {
            Some((repository, reference)) if !reference.is_empty() => (repository, reference),
            Some((repository, _)) => (repository, "HEAD"),
            None => (text, "HEAD"),
        };
        let path = folder.join(if repository.is_empty() {
            "."
        } else {
            repository
        });
        let repository = match path.canonicalize() {
            Ok(path) if !repository.contains("://") => path.display().to_string(),
            _ => repository.to_owned(),
        };
        Self {
            repository,
            reference: reference.to_owned(),
        }
    }

    /// Whether the network is needed for it.
    fn is_remote(&self) -> bool {
        !Path::new(&self.repository).is_absolute() && !self.repository.starts_with("file://")
    }
}

/// Writes the tree of a commit into the empty folder `target`, by way of a bare mirror in `mirrors`; gives the
/// commit's object id. With `offline` the mirror stays as it is.
pub fn checkout(
    origin: &Origin,
    mirrors: &Path,
    target: &Path,
    offline: bool,
) -> Result<String, GitError> {
    let name = Digest::of(origin.repository.as_bytes()).hex();
    let mirror = mirrors.join(format!("{}.git", &name[..16]));
    let failed = |doing| {
        let path = mirror.clone();
        move |source| GitError::File {
            doing,
            path,
            source,
        }
    };
    std::fs::create_dir_all(&mirror).map_err(failed("create"))?;
    let lock = std::fs::File::open(&mirror).map_err(failed("open"))?;
    // Others that use the same mirror wait: it is released with the handle.
    lock.lock().map_err(failed("lock"))?;
    let mut init = git(&mirror);
    init.args(["init", "--quiet", "--bare", "--template=", "."]);
    ask(init, "make a mirror")?;
    if !(offline && origin.is_remote()) {
        let mut fetch = git(&mirror);
        fetch
            .args([
                "fetch",
                "--quiet",
                "--force",
                "--prune",
                "--no-recurse-submodules",
            ])
            .args([
                "--no-write-fetch-head",
                "--end-of-options",
                &origin.repository,
            ])
            .args(["+refs/*:refs/*", "+HEAD:refs/pristine/HEAD"]);
        ask(fetch, &format!("fetch `{}`", origin.repository))?;
    }
    let commit = resolve(&mirror, origin)?;
    let index = tempfile::NamedTempFile::new_in(&mirror).map_err(failed("write in"))?;
    // A file of that name must not be there: an empty one is no index.
    let index = index.into_temp_path();
    std::fs::remove_file(&index).map_err(failed("write in"))?;
    let with_index = |arguments: &[&str]| {
        let mut command = git(&mirror);
        command.env("GIT_INDEX_FILE", &index).args(arguments);
        command
    };
    ask(with_index(&["read-tree", &commit]), "read the commit")?;
    let prefix = format!("--prefix={}/", target.display());
    ask(
        with_index(&[
            "--work-tree=.",
            "checkout-index",
            "--all",
            "--quiet",
            &prefix,
        ]),
        "check the commit out",
    )?;
    Ok(commit)
}

fn resolve(mirror: &Path, origin: &Origin) -> Result<String, GitError> {
    let name = match origin.reference.as_str() {
        "HEAD" => "refs/pristine/HEAD",
        name => name,
    };
    let mut command = git(mirror);
    command.args(["rev-parse", "--verify", "--quiet", "--end-of-options"]);
    command.arg(format!("{name}^{{commit}}"));
    match ask(command, "find the commit") {
        Ok(commit) => Ok(text(&commit)),
        Err(GitError::Refused { .. }) => Err(GitError::NoCommit {
            repository: origin.repository.clone(),
            reference: origin.reference.clone(),
        }),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().canonicalize().unwrap().display().to_string();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        for (text, repository, reference) in [
            (
                "https://example.org/a.git#main",
                "https://example.org/a.git",
                "main",
            ),
            (
                "ssh://git@example.org/a#v1#2",
                "ssh://git@example.org/a#v1",
                "2",
            ),
            ("git@example.org:a.git", "git@example.org:a.git", "HEAD"),
            ("#main", here.as_str(), "main"),
            (".#", here.as_str(), "HEAD"),
            ("sub#x", &format!("{here}/sub"), "x"),
        ] {
            let origin = Origin::parse(text, folder.path());
            assert_eq!(
                (origin.repository.as_str(), origin.reference.as_str()),
                (repository, reference)
            );
        }
    }

    fn run(folder: &Path, arguments: &[&str]) -> String {
        let mut command = git(folder);
        command.args(["-c", "user.name=a", "-c", "user.email=a@example.org"]);
        command.args(arguments);
        text(&ask(command, "set the test up").unwrap())
    }

    fn write(tree: &Path, name: &str, text: &str) {
        crate::files::write_atomic(&tree.join(name), text.as_bytes()).unwrap();
    }

    /// A repository with one commit of the file `a`, which it gives.
    fn repository(tree: &Path) -> String {
        run(tree, &["init", "--quiet", "--initial-branch=main"]);
        write(tree, "a", "one\n");
        run(tree, &["add", "a"]);
        run(tree, &["commit", "--quiet", "-m", "first"]);
        run(tree, &["rev-parse", "HEAD"])
    }

    #[test]
    fn a_tree_says_what_it_has_beside_its_commit() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path();
        let except = tree.join("cache");
        std::fs::create_dir_all(&except).unwrap();
        let state = || state(tree, &except).unwrap();
        assert_eq!(state(), None);
        run(tree, &["init", "--quiet"]);
        assert_eq!(state(), None, "no commit yet");
        let commit = repository(tree);
        write(tree, "cache/blob", "not of the project");
        let changes = None;
        assert_eq!(state(), Some(State { commit, changes }));
        write(tree, "a", "two\n");
        let edited = state().unwrap();
        write(tree, "new", "");
        let more = state().unwrap();
        assert!(edited.changes.is_some() && more.changes.is_some());
        assert_ne!(edited, more);
        assert_eq!(state(), Some(more), "the same again");
    }

    #[test]
    fn a_checkout_is_the_commit_and_runs_nothing_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let (tree, mirrors) = (folder.path().join("tree"), folder.path().join("mirrors"));
        std::fs::create_dir(&tree).unwrap();
        let commit = repository(&tree);
        write(&tree, "a", "edited\n");
        write(&tree, "new", "");
        let parse = |text: &str| Origin::parse(text, folder.path());
        let ext = format!("ext::sh -c touch%20{}/ran", folder.path().display());
        for reference in ["main", "HEAD", &commit[..12]] {
            let target = tempfile::tempdir().unwrap();
            let origin = parse(&format!("tree#{reference}"));
            let got = checkout(&origin, &mirrors, target.path(), true).unwrap();
            assert_eq!(got, commit);
            let entries = std::fs::read_dir(target.path()).unwrap();
            let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names, ["a"]);
            let text = fs_err::read_to_string(target.path().join("a")).unwrap();
            assert_eq!(text, "one\n");
        }
        let error = |text: &str| {
            let target = tempfile::tempdir().unwrap();
            let error = checkout(&parse(text), &mirrors, target.path(), false).unwrap_err();
            error
                .to_string()
                .replace(folder.path().to_str().unwrap(), "FOLDER")
        };
        insta::assert_snapshot!(error("tree#none"), @"`FOLDER/tree` has no commit `none`");
        insta::assert_snapshot!(error(&ext), @"git cannot fetch `ext::sh -c touch%20FOLDER/ran`: fatal: transport 'ext' not allowed");
        assert!(!folder.path().join("ran").exists());
    }
}
