//! A Docker Engine of the tests' own: one for the whole test program, with folders and a
//! socket of its own and without network. It ends with the program, however that ends.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::conformance::skip;

/// Names the engine to a test program that another one started, or that is to try it by hand.
pub(crate) const HOST: &str = "PRISTINE_TEST_ENGINE";

/// In its place: the engine is the one that Docker's own variables name.
pub(crate) const FOUND: &str = "found";

/// Names the backend to test alone, by hand, with the engine that `HOST` names.
pub(crate) const BACKEND: &str = "PRISTINE_TEST_ENGINE_OF";

/// Ends the engine when its input ends, which is when the test program is gone. Engines stop
/// their containers as they end.
const GUARD: &str = r#"
folder=$1
cd "$folder" || exit 1
kind=$2 before=$3; shift 3
start() {
if [ $kind = podman ]; then
  podman --root "$folder/data" --runroot "$folder/exec" --tmpdir "$folder/tmp" --cgroup-manager cgroupfs --runtime runc \
    --events-backend file --log-level info system service --time=0 "unix://$folder/socket" >log 2>&1 </dev/null &
else
  dockerd --data-root "$folder/data" --exec-root "$folder/exec" --pidfile "$folder/pid" --host "unix://$folder/socket" \
  --iptables=false --ip6tables=false --bridge=none --shutdown-timeout 5 "$@" >log 2>&1 </dev/null &
fi
engine=$!
until [ -S socket ] && grep -q -e 'API listen on' -e 'API service listening' log; do
  kill -0 $engine 2>/dev/null || break
  sleep 0.05
done
echo started
}
sh -c "$before"
start "$@"
# A word more than the end is to kill it, and one more to start it again.
while read -r _; do
  kill -9 $engine; wait $engine
  read -r _
  # Also where nobody asks for it any more: what it ran ends with it. A process that nobody reaps is taken for alive.
  rm -f socket exec/containerd/containerd.pid; start "$@"
done
kill $engine 2>/dev/null; wait $engine
if [ $kind = podman ]; then
  podman --root "$folder/data" --runroot "$folder/exec" --tmpdir "$folder/tmp" --cgroup-manager cgroupfs --runtime runc rm --all --force >/dev/null 2>&1
  umount "$folder/data/overlay" 2>/dev/null
fi
cd /
while read -r _ place _; do
  case $place in "$folder"/*) umount -l "$place" 2>/dev/null ;; esac
done </proc/mounts
rm -rf --one-file-system "$folder"
"#;

/// What is different about an engine of a test's own.
#[derive(Default)]
pub(crate) struct Setting {
    /// Run where the engine will, before it starts: mounts there are its own.
    pub(crate) before: String,
    /// More options of `dockerd`.
    pub(crate) options: Vec<String>,
}

/// A running engine.
pub(crate) struct Engine {
    folder: PathBuf,
    guard: Mutex<Child>,
    said: Mutex<BufReader<ChildStdout>>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        let guard = self.guard.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(guard.stdin.take());
        let _ended = guard.wait();
    }
}

/// Docker Engine; `None` (and a line that says why) where it cannot be started here.
pub(crate) fn engine() -> Option<&'static Engine> {
    static ENGINE: OnceLock<Result<Engine, String>> = OnceLock::new();
    shared(&ENGINE, "docker")
}

/// Podman, the same way.
pub(crate) fn podman() -> Option<&'static Engine> {
    static ENGINE: OnceLock<Result<Engine, String>> = OnceLock::new();
    shared(&ENGINE, "podman")
}

fn shared(
    engine: &'static OnceLock<Result<Engine, String>>,
    kind: &str,
) -> Option<&'static Engine> {
    match engine.get_or_init(|| Engine::start(kind)) {
        Ok(engine) => Some(engine),
        Err(why) => {
            skip(why);
            None
        }
    }
}

/// What tells a test program that this one starts where the engine is, if its backend needs one.
pub(crate) fn variable(backend: &str) -> Option<(&'static str, String)> {
    if let Ok(given) = std::env::var(HOST) {
        return Some((HOST, given));
    }
    let engine = match backend {
        "docker" => engine(),
        "podman" => podman(),
        _ => None,
    };
    engine.map(|engine| (HOST, engine.host()))
}

impl Engine {
    /// Starts another engine, which ends when the value is dropped.
    pub(crate) fn start(kind: &str) -> Result<Self, String> {
        Self::start_with(kind, &Setting::default())
    }

    /// Starts another engine that is different in something.
    pub(crate) fn start_with(kind: &str, setting: &Setting) -> Result<Self, String> {
        let (program, package) = match kind {
            "podman" => ("podman", "podman"),
            _ => ("dockerd", "docker.io"),
        };
        let root = rustix::process::geteuid().is_root();
        let installed = Command::new(program).arg("--version").output().is_ok();
        if !root || !installed {
            return Err(format!(
                "{program} needs root here, and the package {package}"
            ));
        }
        let folder = tempfile::Builder::new()
            .prefix("pristine-engine-")
            .tempdir()
            .unwrap()
            .keep();
        // Docker's mounts are in a namespace of their own, in which it can be started again.
        let own = ["unshare", "--mount", "--propagation", "slave"];
        let mut guard = Command::new("setsid")
            .args(own.iter().filter(|_| kind == "docker"))
            .args(["sh", "-c", GUARD, "guard"])
            .arg(&folder)
            .arg(kind)
            .arg(&setting.before)
            .args(&setting.options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(guard.stdout.take().unwrap());
        let engine = Self {
            folder,
            guard: Mutex::new(guard),
            said: Mutex::new(said),
        };
        engine.started();
        let log = fs_err::read_to_string(engine.folder.join("log")).unwrap_or_default();
        if !engine.folder.join("socket").exists() {
            let last: Vec<_> = log.lines().rev().take(3).collect();
            return Err(format!("{program} does not start here: {last:?}"));
        }
        Ok(engine)
    }

    fn started(&self) {
        let mut line = String::new();
        self.said.lock().unwrap().read_line(&mut line).unwrap();
    }

    fn say(&self) {
        let mut guard = self.guard.lock().unwrap();
        guard.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    /// Ends it by SIGKILL; what runs in containers is left.
    pub(crate) fn kill(&self) {
        self.say();
    }

    /// Starts it again, with all that it had.
    pub(crate) fn start_again(&self) {
        self.say();
        self.started();
    }

    /// Its address, as `DOCKER_HOST` takes it.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.folder.join("socket").display())
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> rustix::process::Pid {
        let text = fs_err::read_to_string(self.folder.join("pid")).unwrap();
        rustix::process::Pid::from_raw(text.trim().parse().unwrap()).unwrap()
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs the docker command on it.
    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        docker(&self.host(), arguments)
    }
}

/// Runs the docker command on an engine.
pub(crate) fn docker(host: &str, arguments: &[&str]) -> String {
    let output = Command::new("docker")
        .args(arguments)
        .env("DOCKER_HOST", host)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "docker {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A port of the loopback that nobody uses.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
