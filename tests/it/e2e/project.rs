//! A project in a folder of its own, and the program run on it.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pristine::backend::{Backend as _, RootId};
use pristine::record::Record;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use super::watch::Watch;
use crate::support::distribution::{KEY, minidistro};
use crate::support::packages::Repository;
use crate::support::{program, scratch};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(4);

/// A second store in a project's folder, as another machine would have one.
pub(crate) const OTHER_STORE: &str = "other-store";

/// What every environment of these tests has: rpmbuild for packages without compiled programs.
pub(crate) const BASE: &str = r#"["bash", "coreutils", "diffutils", "file", "findutils", "gawk", "grep", "gzip", "rpm", "sed", "tar"]"#;

/// A project; its folder and its store are removed with it.
#[must_use]
pub(crate) struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    /// A project without packages. `None`, with a word about why, where there is no distribution.
    pub(crate) fn new() -> Option<Self> {
        Some(Self::on(minidistro()?))
    }

    /// The same on a distribution that the caller made.
    pub(crate) fn on(distribution: &Path) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("e2e-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir_in(scratch())
            .unwrap();
        let project = Self { folder };
        mirror(distribution, &project.path("mini"));
        project.write(
            "pristine.toml",
            "format = 1\n\n[project]\nname = \"trial\"\ntemplate = \"base\"\n",
        );
        let fingerprint = minidistro::FINGERPRINT.to_uppercase();
        project.write(
            "templates/base.toml",
            format!(
                "format = 1\narchitecture = \"x86_64\"\npackages = {BASE}\n\
                 tools = [\"coreutils\", \"dash\", \"rpm\"]\n\n\
                 [[repository]]\nname = \"mini\"\nbaseurl = [\"./mini\"]\n\
                 keys = [{{ file = \"mini/{KEY}\", fingerprint = \"{fingerprint}\" }}]\n"
            ),
        );
        project
    }

    /// A project with one package, `hello`, that builds.
    pub(crate) fn hello() -> Option<Self> {
        Some(Self::new()?.package("hello", &spec("hello", "")))
    }

    /// A path in the project's folder.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn write(&self, relative: &str, text: impl AsRef<[u8]>) {
        let path = self.path(relative);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    /// Text of a file.
    pub(crate) fn read(&self, relative: &str) -> String {
        fs_err::read_to_string(self.path(relative)).unwrap()
    }

    /// Replaces what is in a file.
    pub(crate) fn edit(&self, relative: &str, from: &str, to: &str) {
        let text = self.read(relative);
        assert!(text.contains(from), "`{from}` is not in {relative}");
        self.write(relative, text.replace(from, to));
    }

    /// With a package.
    pub(crate) fn package(self, name: &str, spec: &str) -> Self {
        self.write(&format!("packages/{name}/{name}.spec"), spec);
        self
    }

    /// With the recipe `recipes/own.toml`; `text` is what follows its format.
    pub(crate) fn recipe(self, text: &str) -> Self {
        self.write("recipes/own.toml", format!("format = 1\n{text}"));
        self.edit(
            "pristine.toml",
            "template = \"base\"",
            "template = \"base\"\nrecipe = \"own\"",
        );
        self
    }

    /// A repository of the test's own in the folder `name`, which the template gets.
    pub(crate) fn repository(&self, name: &str) -> Repository {
        let repository = Repository::new(&self.path(name), 7);
        let template = self.read("templates/base.toml");
        self.write(
            "templates/base.toml",
            format!("{template}{}", repository.table()),
        );
        repository
    }

    /// Adds a package to what the template asks for.
    pub(crate) fn wants(&self, package: &str) {
        self.edit(
            "templates/base.toml",
            "packages = [",
            &format!("packages = [\"{package}\", "),
        );
    }

    /// The program with these arguments, not started yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.folder.path());
        command
    }

    /// The program with these arguments in the engine that answers at `host`, not started yet.
    pub(crate) fn docker(&self, host: &str, arguments: &[&str]) -> Command {
        let mut command = self.command(&[&["--backend", "docker"], arguments].concat());
        command.env("DOCKER_HOST", host);
        command
    }

    /// Runs the program to its end; afterwards nothing of it may run or be mounted.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.start(arguments).wait()
    }

    /// Runs the program, which must succeed.
    pub(crate) fn good(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.all());
        ran
    }

    /// Starts the program.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running<'_> {
        self.spawn(self.command(arguments))
    }

    /// Starts a command whose standard streams go to files.
    pub(crate) fn spawn(&self, mut command: Command) -> Running<'_> {
        let watch = Watch::start(self.folder.path());
        let (out, err) = (self.stream(), self.stream());
        let child = command
            .stdin(Stdio::null())
            .stdout(out.reopen().unwrap())
            .stderr(err.reopen().unwrap())
            .spawn()
            .unwrap();
        Running {
            project: self,
            child,
            out,
            err,
            watch,
        }
    }

    fn stream(&self) -> tempfile::NamedTempFile {
        tempfile::Builder::new()
            .prefix(".stream-")
            .tempfile_in(self.folder.path())
            .unwrap()
    }

    /// Text with the folder's path as `PROJECT`.
    pub(crate) fn plain(&self, text: &str) -> String {
        text.replace(self.folder.path().to_str().unwrap(), "PROJECT")
    }

    /// The newest run's folder in the store.
    pub(crate) fn run_folder(&self) -> PathBuf {
        let runs = fs_err::read_dir(self.path("cache/runs")).unwrap();
        runs.map(|entry| entry.unwrap().path()).max().unwrap()
    }

    /// The newest run's record.
    pub(crate) fn record(&self) -> Record {
        Record::load(&self.run_folder()).unwrap()
    }

    /// How each package of the newest run ended.
    pub(crate) fn outcomes(&self) -> Vec<String> {
        let packages = self.record().packages.into_iter();
        packages
            .map(|package| format!("{}: {}", package.name, package.outcome))
            .collect()
    }

    /// The store's file with this content.
    pub(crate) fn blob(&self, sha256: &str) -> PathBuf {
        let found = files(&self.path("cache/blobs"));
        let mut named = found.keys().filter(|path| {
            path.display()
                .to_string()
                .replace('/', "")
                .contains(&sha256[2..])
        });
        self.path("cache/blobs").join(named.next().unwrap())
    }

    /// What lies in the store's folders for things that are at work, or that dead runs left.
    pub(crate) fn rubbish(&self) -> Vec<String> {
        let mut left = Vec::new();
        for folder in ["clones", "trash", "tmp", "roots"] {
            for entry in fs_err::read_dir(self.path("cache").join(folder)).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                let kept = match folder {
                    "roots" => !name.starts_with("scratch-"),
                    // A download that broke off is resumed.
                    "tmp" => name.starts_with("partial-"),
                    _ => false,
                };
                if !name.starts_with('.') && !kept {
                    left.push(format!("{folder}/{name}"));
                }
            }
        }
        left
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        for store in ["cache", OTHER_STORE] {
            remove_roots(&self.path(store));
        }
    }
}

/// Trees belong to subordinate ids: only the backend can remove them.
fn remove_roots(store: &Path) {
    let Ok(entries) = fs_err::read_dir(store.join("roots")) else {
        return;
    };
    let backend = crate::conformance::fixture::native(store).unwrap();
    backend.sweep().unwrap();
    for entry in entries {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.starts_with('.') && !name.starts_with("scratch-") {
            backend.remove(&RootId(name)).unwrap();
        }
    }
}

/// A copy of a repository, as hard links: what is to be changed is replaced, never written into.
fn mirror(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).unwrap();
    for entry in fs_err::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            mirror(&path, &target);
        } else {
            fs_err::hard_link(&path, &target).unwrap();
        }
    }
}

/// Replaces a file by one with this content; the other names of the old one keep it.
pub(crate) fn replace(path: &Path, content: &[u8]) {
    fs_err::remove_file(path).unwrap();
    fs_err::write(path, content).unwrap();
}

/// All files below a folder with their content, by relative path.
pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs_err::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let relative = path.strip_prefix(folder).unwrap().to_owned();
                found.insert(relative, fs_err::read(&path).unwrap());
            }
        }
    }
    found
}

/// A spec of a package with one file; `more` are lines after its preamble's.
pub(crate) fn spec(name: &str, more: &str) -> String {
    format!(
        "Name: {name}\nVersion: 1\nRelease: 1\nSummary: A package for tests\nLicense: MIT\n\
         BuildArch: noarch\n{more}\n\n%description\nA package for tests.\n\n\
         %install\nmkdir -p %{{buildroot}}/usr/share/{name}\n\
         echo {name} > %{{buildroot}}/usr/share/{name}/text\n\n\
         %files\n/usr/share/{name}\n"
    )
}

/// The same with a script in a section such as `%build` or `%check`.
pub(crate) fn spec_with(name: &str, more: &str, section: &str, script: &str) -> String {
    spec(name, more).replace("%files", &format!("{section}\n{script}\n\n%files"))
}

/// The program at work.
#[must_use]
pub(crate) struct Running<'a> {
    project: &'a Project,
    pub(crate) child: Child,
    out: tempfile::NamedTempFile,
    err: tempfile::NamedTempFile,
    watch: Watch,
}

impl Running<'_> {
    /// Waits until one of its processes has `marker` in its command line, and nothing else did.
    pub(crate) fn until(&mut self, marker: &str) {
        let tool = self.child.id();
        self.until_so(marker, || Watch::sees(tool, marker));
        self.watch.remember(tool);
    }

    /// Waits until something is so.
    pub(crate) fn until_so(&mut self, what: &str, is_so: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_so() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("ended before `{what}`, {status}: {}", self.said());
            }
            assert!(start.elapsed() < PATIENCE, "no `{what}`: {}", self.said());
            std::thread::yield_now();
        }
    }

    /// Waits until it says something.
    pub(crate) fn says(&mut self, text: &str) {
        let start = Instant::now();
        while !self.said().contains(text) {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("ended before `{text}`, {status}: {}", self.said());
            }
            assert!(start.elapsed() < PATIENCE, "no `{text}`: {}", self.said());
            std::thread::yield_now();
        }
    }

    fn said(&self) -> String {
        fs_err::read_to_string(self.err.path()).unwrap()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end of several that work at once, and sees that nothing of them is left.
    pub(crate) fn wait_for_all(all: Vec<Self>) -> Vec<Ran> {
        for running in &all {
            let handle = pidfd_open(Pid::from_child(&running.child), PidfdFlags::empty()).unwrap();
            assert!(readable(&[handle.as_fd()], PATIENCE), "{}", running.said());
        }
        all.into_iter().map(Self::wait).collect()
    }

    /// Waits for its end, and sees that nothing of it is left.
    pub(crate) fn wait(mut self) -> Ran {
        let pid = Pid::from_child(&self.child);
        let handle = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        if !readable(&[handle.as_fd()], PATIENCE) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
            panic!("it did not end: {}", self.said());
        }
        let status = self.child.wait().unwrap();
        self.watch.nothing_left();
        let text = |file: &tempfile::NamedTempFile| {
            self.project
                .plain(&fs_err::read_to_string(file.path()).unwrap())
        };
        Ran {
            code: status.code(),
            out: text(&self.out),
            err: text(&self.err),
        }
    }
}

/// Whether all of these become readable in time; a pidfd does when its process has ended.
pub(crate) fn readable(handles: &[std::os::fd::BorrowedFd<'_>], time: Duration) -> bool {
    let end = Instant::now() + time;
    handles.iter().all(|handle| {
        let mut polled = [PollFd::new(handle, PollFlags::IN)];
        let left = end.saturating_duration_since(Instant::now());
        poll(&mut polled, Some(&left.try_into().unwrap())).unwrap() == 1
    })
}

/// What the program said in the end; paths of the project read `PROJECT`.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Everything, for messages of tests.
    pub(crate) fn all(&self) -> String {
        format!("exit {:?}\n{}{}", self.code, self.out, self.err)
    }

    /// The exit code and the message of a failure, without the steps before it.
    pub(crate) fn failure(&self) -> String {
        let code = self
            .code
            .map_or("a signal".to_owned(), |code| code.to_string());
        let message = self.err.find("error: ").map(|at| &self.err[at..]);
        format!("exit {code}: {}", message.unwrap_or(&self.err).trim_end())
    }
}
