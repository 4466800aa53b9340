//! What every test of the suite starts from: a store, a backend on it, and a small root
//! made of the host's own programs and the libraries that they need.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use pristine::backend::docker::{Address, Brand, Docker};
use pristine::backend::native::Native;
use pristine::backend::{Backend, BackendError, Command, Exit, Io, RootId, Stream};
use pristine::cancel::Cancel;

use crate::support::engine;

/// Programs of the small root; all go to `/bin`.
const PROGRAMS: &[&str] = &[
    "bash", "cat", "chmod", "chown", "cp", "dd", "echo", "env", "false", "find", "head",
    "hostname", "id", "ln", "ls", "mkdir", "mkfifo", "mknod", "mv", "nproc", "pwd", "readlink",
    "rm", "rmdir", "seq", "setsid", "sleep", "stat", "stty", "sync", "tail", "touch", "true",
    "tty", "uname", "wc",
];

/// A backend under test.
pub(crate) struct Fixture {
    pub(crate) name: &'static str,
    pub(crate) backend: Box<dyn Backend>,
    /// The small root.
    pub(crate) base: RootId,
    store: tempfile::TempDir,
}

/// Opens a backend on a store; `None`, with a word about why, where it cannot work here.
type Open = fn(&Path) -> Option<Box<dyn Backend>>;

/// The backends that the suite runs against: a new one is a line here.
const BACKENDS: [(&str, Open); 3] = [
    ("native", |store| Some(Box::new(native(store).unwrap()))),
    ("docker", |store| of_engine(store, Brand::Docker)),
    ("podman", |store| of_engine(store, Brand::Podman)),
];

/// Opens the backend of that name.
pub(crate) fn open(name: &str, store: &Path) -> Option<Box<dyn Backend>> {
    let (_, open) = BACKENDS.iter().find(|(known, _)| *known == name).unwrap();
    open(store)
}

/// The native backend, with the program that it re-executes.
pub(crate) fn native(store: &Path) -> Result<Native, BackendError> {
    Native::open_with(store, &crate::support::program())
}

/// The docker backend, with the tests' own engine or that of the test program which started this one.
fn of_engine(store: &Path, brand: Brand) -> Option<Box<dyn Backend>> {
    let host = match std::env::var(engine::HOST) {
        Ok(host) => host,
        Err(_) if brand == Brand::Podman => engine::podman()?.host(),
        Err(_) => engine::engine()?.host(),
    };
    let program = crate::support::program();
    let address = if host == engine::FOUND {
        Address::find(brand, &|name| std::env::var(name).ok())
    } else {
        Address::parse(brand, &host)
    };
    let backend = Docker::open_with(store, &address.unwrap(), &program).unwrap();
    Some(Box::new(backend))
}

static SHARED: Mutex<Vec<Weak<Fixture>>> = Mutex::new(Vec::new());

/// Runs a test against each backend.
pub(crate) fn each(test: impl Fn(&Fixture)) {
    for fixture in fixtures() {
        eprintln!("backend: {}", fixture.name);
        test(&fixture);
    }
}

/// Tests that run at the same time share a backend, as parallel builds do.
fn fixtures() -> Vec<Arc<Fixture>> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let alive: Vec<_> = shared.iter().filter_map(Weak::upgrade).collect();
    if !alive.is_empty() {
        return alive;
    }
    let tar = small_root();
    let mut made = Vec::new();
    // An engine that is named is that of one backend.
    let only = std::env::var(engine::HOST).and(std::env::var(engine::BACKEND));
    for (name, open) in BACKENDS {
        if only.as_ref().is_ok_and(|only| only != name) {
            continue;
        }
        let store = tempfile::tempdir().unwrap();
        let Some(backend) = open(store.path()) else {
            continue;
        };
        let base = RootId("tree-base".to_owned());
        backend.import(&base, &mut Cursor::new(&tar)).unwrap();
        made.push(Arc::new(Fixture {
            name,
            backend,
            base,
            store,
        }));
    }
    *shared = made.iter().map(Arc::downgrade).collect();
    made
}

impl Drop for Fixture {
    fn drop(&mut self) {
        // Files of subordinate ids: only the backend can remove them.
        self.backend.remove(&self.base).unwrap();
    }
}

/// What a command gave back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) exit: Exit,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Standard output without the last line end; the command must have succeeded.
    pub(crate) fn text(&self) -> &str {
        assert!(self.exit.success(), "{self:?}");
        self.out.trim_end_matches('\n')
    }
}

impl Fixture {
    /// The store's folder.
    pub(crate) fn store_root(&self) -> &Path {
        self.store.path()
    }

    /// A clone of the small root.
    pub(crate) fn open(&self) -> Box<dyn pristine::backend::Clone> {
        self.backend.open(std::slice::from_ref(&self.base)).unwrap()
    }

    /// Runs a shell script as root in a new clone.
    pub(crate) fn script(&self, script: &str) -> Ran {
        run(&mut *self.open(), &shell(script))
    }
}

/// A shell script as command.
pub(crate) fn shell(script: &str) -> Command {
    Command::new(["/bin/bash", "-c", script])
}

/// Longer than any command of a test takes.
pub(crate) const HANGS: Duration = Duration::from_mins(5);

/// Runs a command to its end; one that hangs is ended, which is told with what it said.
pub(crate) fn run(clone: &mut dyn pristine::backend::Clone, command: &Command) -> Ran {
    let mut command = command.clone();
    command.limits.time.get_or_insert(HANGS);
    try_run(clone, &command, &Cancel::new().unwrap()).unwrap()
}

/// Runs a command that may be cancelled or refused.
pub(crate) fn try_run(
    clone: &mut dyn pristine::backend::Clone,
    command: &Command,
    cancel: &Cancel,
) -> Result<Ran, BackendError> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut output = |stream, bytes: &[u8]| match stream {
        Stream::Out => out.extend_from_slice(bytes),
        Stream::Err => err.extend_from_slice(bytes),
    };
    let exit = clone.run(
        command,
        Io {
            stdin: None,
            output: &mut output,
            cancel,
        },
    )?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ran {
        exit,
        out: text(&out),
        err: text(&err),
    })
}

/// A layer with the programs and their libraries, as a tar.
pub(crate) fn small_root() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (folder, mode) in [
        ("bin/", 0o755),
        ("dev/", 0o755),
        ("etc/", 0o755),
        ("home/", 0o755),
        ("proc/", 0o755),
        ("root/", 0o700),
        ("tmp/", 0o1777),
        ("usr/", 0o755),
    ] {
        append(&mut tar, folder, tar::EntryType::Directory, mode, &[]);
    }
    append(
        &mut tar,
        "etc/passwd",
        tar::EntryType::Regular,
        0o644,
        b"root:x:0:0::/root:/bin/bash\nbuilder:x:1000:1000::/home:/bin/bash\n",
    );
    append(
        &mut tar,
        "etc/group",
        tar::EntryType::Regular,
        0o644,
        b"root:x:0:\nbuilder:x:1000:\n",
    );
    let mut libraries = BTreeSet::new();
    for program in PROGRAMS {
        let path = found(program);
        libraries.extend(libraries_of(&path));
        append(
            &mut tar,
            &format!("bin/{program}"),
            tar::EntryType::Regular,
            0o755,
            &std::fs::read(path).unwrap(),
        );
    }
    libraries.extend(libraries_of(&std::env::current_exe().unwrap()));
    for library in libraries {
        append(
            &mut tar,
            library.to_str().unwrap().trim_start_matches('/'),
            tar::EntryType::Regular,
            0o755,
            &std::fs::read(&library).unwrap(),
        );
    }
    tar.into_inner().unwrap()
}

/// Appends an entry owned by root.
pub(crate) fn append(
    tar: &mut tar::Builder<Vec<u8>>,
    path: &str,
    kind: tar::EntryType,
    mode: u32,
    bytes: &[u8],
) {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_700_000_000);
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, path, bytes).unwrap();
}

fn found(program: &str) -> PathBuf {
    let places =
        ["/bin", "/usr/bin", "/sbin", "/usr/sbin"].map(|folder| Path::new(folder).join(program));
    places
        .into_iter()
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("the host has no `{program}`: the suite needs it"))
}

/// The shared libraries that the loader names, the loader itself among them.
fn libraries_of(program: &Path) -> Vec<PathBuf> {
    let output = Process::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .filter(|path| path.is_file())
        .collect()
}
