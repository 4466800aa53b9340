//! The tool is killed: nothing of it runs on, and the next run clears up.

use std::cell::RefCell;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use pristine::backend::docker::{Address, Brand, Docker};
use pristine::backend::{Backend, Io, RootId};
use pristine::cancel::Cancel;

use super::fixture::{each, native, open, shell, small_root};
use super::limits::processes;
use crate::remote::protected;
use crate::support::engine;
use crate::support::ssh::Sshd;

const STORE: &str = "PRISTINE_TEST_STORE";
const BACKEND: &str = "PRISTINE_TEST_BACKEND";
/// How long a victim's commands sleep: what they are known by.
const SLEEP: &str = "PRISTINE_TEST_SLEEP";

#[test]
#[ignore = "runs as a tool that is killed, started by another test"]
fn victim() {
    let Some(store) = std::env::var_os(STORE) else {
        return;
    };
    let backend = open(&std::env::var(BACKEND).unwrap(), store.as_ref()).unwrap();
    let base = backend.scratch_id();
    backend
        .import(&base, &mut std::io::Cursor::new(small_root()))
        .unwrap();
    let mut clone = backend.open(std::slice::from_ref(&base)).unwrap();
    let sleep = std::env::var(SLEEP).unwrap();
    let script = format!("setsid sleep {sleep} & sleep {sleep} & echo up; sleep {sleep}");
    let mut command = shell(&script);
    command.limits.processes = Some(100);
    let mut output = |_stream, bytes: &[u8]| println!("\n{}", String::from_utf8_lossy(bytes));
    clone
        .run(
            &command,
            Io {
                stdin: None,
                output: &mut output,
                cancel: &Cancel::new().unwrap(),
            },
        )
        .unwrap();
}

/// Starts a tool of its own and kills it while its command, which sleeps so long, runs; gives its process id.
fn kill_a_tool(name: &str, store: &Path, sleep: &str, variables: &[(&str, String)]) -> u32 {
    let mut victim = Process::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "conformance::crash::victim"])
        .arg("--nocapture")
        .env(STORE, store)
        .env(BACKEND, name)
        .env(SLEEP, sleep)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    assert!(
        lines.any(|line| line.unwrap() == "up"),
        "the command inside runs"
    );
    wait_until("the processes inside are up", || processes(sleep) >= 3);
    victim.kill().unwrap();
    victim.wait().unwrap();
    victim.id()
}

/// Waits for what must happen by itself soon.
pub(crate) fn wait_until(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn kill_9_leaves_no_process_and_the_next_run_clears_up() {
    each(|fixture| {
        let store = tempfile::tempdir().unwrap();
        let engine: Vec<_> = engine::variable(fixture.name).into_iter().collect();
        let victim = kill_a_tool(fixture.name, store.path(), "97.125", &engine);
        wait_until("no process is left", || processes("97.125") == 0);
        wait_until("no cgroup is left", || {
            let name = format!("pristine-{victim}-*");
            let found = Process::new("find")
                .args(["/sys/fs/cgroup", "-name", &name])
                .output()
                .unwrap();
            found.stdout.is_empty()
        });
        is_cleared(open(fixture.name, store.path()).unwrap(), store.path());
    });
}

/// Whether the next run clears up.
fn is_cleared(backend: Box<dyn Backend>, store: &Path) {
    let removed = RefCell::new(Vec::new());
    // The keeper holds the session's lock until it has seen the end.
    wait_until("something is swept", || {
        removed.borrow_mut().extend(backend.sweep().unwrap());
        removed.borrow().iter().any(|line| {
            line.starts_with("clones of dead run ") || line.starts_with("container of dead run ")
        })
    });
    let removed = removed.into_inner();
    assert!(
        removed
            .iter()
            .any(|line| line.starts_with("unfinished root scratch-")),
        "{removed:?}"
    );
    assert_eq!(backend.sweep().unwrap(), Vec::<String>::new());
    drop(backend);
    for folder in [
        "roots",
        "clones",
        "trash",
        "docker/roots",
        "docker/sessions",
    ] {
        let names = std::fs::read_dir(store.join(folder));
        let left: Vec<_> = names
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name())
            .filter(|name| !name.to_string_lossy().starts_with('.'))
            .collect();
        assert!(left.is_empty(), "{folder}: {left:?}");
    }
}

#[test]
fn kill_9_leaves_nothing_in_an_engine_that_was_reached_by_tls_or_ssh() {
    let folder = tempfile::tempdir().unwrap();
    let (Some((engine, tls)), Some(sshd)) =
        (protected(folder.path(), String::new()), Sshd::start())
    else {
        return;
    };
    let found = (engine::HOST, engine::FOUND.to_owned());
    let socket = engine.host().replace("unix://", "");
    let place = folder.path().display().to_string();
    let by_tls = [
        ("DOCKER_HOST", tls),
        ("DOCKER_TLS_VERIFY", "1".to_owned()),
        ("DOCKER_CERT_PATH", place),
    ];
    let by_ssh = [
        (
            "DOCKER_HOST",
            format!("ssh://root@127.0.0.1:{}{socket}", sshd.port),
        ),
        ("PATH", sshd.path("user")),
    ];
    for (sleep, way) in [("97.25", &by_tls[..]), ("97.375", &by_ssh)] {
        let store = tempfile::tempdir().unwrap();
        let variables: Vec<_> = way.iter().cloned().chain([found.clone()]).collect();
        kill_a_tool("docker", store.path(), sleep, &variables);
        wait_until("no process is left", || processes(sleep) == 0);
        let address = Address::parse(Brand::Docker, &engine.host()).unwrap();
        let program = crate::support::program();
        let next = Docker::open_with(store.path(), &address, &program).unwrap();
        is_cleared(Box::new(next), store.path());
        let label = "label=io.pristine.session";
        assert_eq!(engine.docker(&["ps", "-aq", "--filter", label]), "");
        assert_eq!(
            engine.docker(&["volume", "ls", "-q", "--filter", label]),
            ""
        );
    }
}

#[test]
fn a_sweep_leaves_the_living_alone() {
    each(|fixture| {
        let mut clone = fixture.open();
        let id = fixture.backend.scratch_id();
        fixture.backend.import(&id, &mut std::io::empty()).unwrap();
        let other = open(fixture.name, fixture.store_root()).unwrap();
        // Cgroups are the host's, not the store's: another test's dead tool may have left one.
        let removed = other.sweep().unwrap();
        assert!(
            removed.iter().all(|line| line.starts_with("cgroup ")),
            "{removed:?}"
        );
        assert!(fixture.backend.has(&id).unwrap() && other.has(&id).unwrap());
        assert!(
            super::fixture::run(&mut *clone, &shell("true"))
                .exit
                .success()
        );
        fixture.backend.remove(&id).unwrap();
    });
}

#[test]
fn many_at_once_do_not_disturb_each_other() {
    each(|fixture| {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for round in 0..5 {
                        let text = format!("{thread}.{round}");
                        let mut clone = fixture.open();
                        let ran = super::fixture::run(
                            &mut *clone,
                            &shell(&format!(
                                "echo {text} > /tmp/own; cat /tmp/own; ls /tmp | wc -l"
                            )),
                        );
                        assert_eq!(ran.text(), format!("{text}\n1"));
                        clone.destroy().unwrap();
                    }
                });
            }
        });
    });
}

/// A backend's record of the machine's start, below the store's folder.
fn boot_record(name: &str) -> &'static str {
    if name == "native" {
        "clones/.boot"
    } else {
        "docker/boot"
    }
}

#[test]
fn what_nothing_can_make_again_outlasts_a_start_of_the_machine_and_nothing_else_does() {
    each(|fixture| {
        let name = fixture.name;
        let store = tempfile::tempdir().unwrap();
        let open = || open(name, store.path()).unwrap();
        let backend = open();
        let base = RootId("tree-base".to_owned());
        let mut small = std::io::Cursor::new(small_root());
        backend.import(&base, &mut small).unwrap();
        let lasting = [RootId::kept("mine", 1), RootId::failed("run", "package")];
        for (number, root) in lasting.iter().enumerate() {
            let mut clone = backend.open(std::slice::from_ref(&base)).unwrap();
            let script = shell(&format!("echo {number} > /own"));
            assert!(super::fixture::run(&mut *clone, &script).exit.success());
            clone.freeze(root).unwrap();
        }
        drop(backend);
        let backend = open();
        assert!(backend.has(&base).unwrap(), "the same boot");
        drop(backend);
        std::fs::write(store.path().join(boot_record(name)), "another\n").unwrap();
        let backend = open();
        assert_eq!(
            backend.roots().unwrap(),
            [lasting[1].clone(), lasting[0].clone()]
        );
        backend.sweep().unwrap();
        // The base is made again from its layer.
        backend
            .import(&base, &mut std::io::Cursor::new(small_root()))
            .unwrap();
        for (number, root) in lasting.iter().enumerate() {
            let mut clone = backend.open(&[base.clone(), root.clone()]).unwrap();
            let ran = super::fixture::run(&mut *clone, &shell("cat /own; ls / | wc -l"));
            assert_eq!(ran.text().lines().next(), Some(&*number.to_string()));
            clone.destroy().unwrap();
            backend.remove(root).unwrap();
        }
        backend.remove(&base).unwrap();
    });
}

#[test]
fn a_keeper_that_is_killed_is_an_error_and_no_verdict() {
    let store = tempfile::tempdir().unwrap();
    // In a process of its own, which has one keeper.
    let output = Process::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "conformance::crash::keeper_is_killed",
        ])
        .env(STORE, store.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    let backend = native(store.path()).unwrap();
    wait_until("what it left is swept", || {
        !backend.sweep().unwrap().is_empty()
    });
}

#[test]
#[ignore = "kills its only child, started by another test"]
fn keeper_is_killed() {
    let Some(store) = std::env::var_os(STORE) else {
        return;
    };
    let backend = native(store.as_ref()).unwrap();
    let base = backend.scratch_id();
    backend
        .import(&base, &mut std::io::Cursor::new(small_root()))
        .unwrap();
    let mut clone = backend.open(std::slice::from_ref(&base)).unwrap();
    let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let children: Vec<i32> = threads
        .flat_map(|thread| {
            std::fs::read_to_string(thread.path().join("children"))
                .unwrap()
                .split_whitespace()
                .map(|pid| pid.parse().unwrap())
                .collect::<Vec<_>>()
        })
        .collect();
    let [keeper] = children[..] else {
        panic!("{children:?}")
    };
    let keeper = rustix::process::Pid::from_raw(keeper).unwrap();
    let mut output = |_stream, _bytes: &[u8]| {
        rustix::process::kill_process(keeper, rustix::process::Signal::KILL).unwrap();
    };
    let io = Io {
        stdin: None,
        output: &mut output,
        cancel: &Cancel::new().unwrap(),
    };
    let error = clone.run(&shell("echo up; sleep 96.5"), io).unwrap_err();
    assert_eq!(error.to_string(), "cannot follow the command");
    assert_eq!(processes("96.5"), 0);
    assert!(backend.remove(&base).is_err());
}
