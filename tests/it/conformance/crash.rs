//! The tool is killed: nothing of it runs on, and the next run clears up.

use std::cell::RefCell;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use pristine::backend::{Backend as _, Io, RootId};
use pristine::cancel::Cancel;

use super::fixture::{each, native, open, shell, small_root};
use super::limits::processes;
use crate::support::engine;

const STORE: &str = "PRISTINE_TEST_STORE";
const BACKEND: &str = "PRISTINE_TEST_BACKEND";

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
    let mut command = shell("setsid sleep 97.125 & sleep 97.125 & echo up; sleep 97.125");
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

/// Starts a tool of its own and kills it while its command runs; gives its process id.
fn kill_a_tool(name: &str, store: &Path) -> u32 {
    let mut victim = Process::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "conformance::crash::victim"])
        .arg("--nocapture")
        .env(STORE, store)
        .env(BACKEND, name)
        .envs(engine::variable(name))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    assert!(
        lines.any(|line| line.unwrap() == "up"),
        "the command inside runs"
    );
    wait_until("the processes inside are up", || processes("97.125") >= 3);
    victim.kill().unwrap();
    victim.wait().unwrap();
    victim.id()
}

/// Waits for what must happen by itself soon.
pub(super) fn wait_until(what: &str, done: impl Fn() -> bool) {
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
        let victim = kill_a_tool(fixture.name, store.path());
        wait_until("no process is left", || processes("97.125") == 0);
        wait_until("no cgroup is left", || {
            let name = format!("pristine-{victim}-*");
            let found = Process::new("find")
                .args(["/sys/fs/cgroup", "-name", &name])
                .output()
                .unwrap();
            found.stdout.is_empty()
        });
        let backend = open(fixture.name, store.path()).unwrap();
        let removed = RefCell::new(Vec::new());
        // The keeper holds the session's lock until it has seen the end.
        wait_until("something is swept", || {
            removed.borrow_mut().extend(backend.sweep().unwrap());
            removed.borrow().iter().any(|line| {
                line.starts_with("clones of dead run ")
                    || line.starts_with("container of dead run ")
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
            let names = std::fs::read_dir(store.path().join(folder));
            let left: Vec<_> = names
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.file_name())
                .filter(|name| !name.to_string_lossy().starts_with('.'))
                .collect();
            assert!(left.is_empty(), "{folder}: {left:?}");
        }
    });
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

#[test]
fn roots_of_an_earlier_boot_are_not_used() {
    let store = tempfile::tempdir().unwrap();
    let root = RootId("tree-kept".to_owned());
    let backend = native(store.path()).unwrap();
    backend.import(&root, &mut std::io::empty()).unwrap();
    drop(backend);
    let backend = native(store.path()).unwrap();
    assert!(backend.has(&root).unwrap(), "the same boot");
    drop(backend);
    std::fs::write(store.path().join("clones/.boot"), "another\n").unwrap();
    let backend = native(store.path()).unwrap();
    assert!(!backend.has(&root).unwrap());
    assert_eq!(backend.sweep().unwrap(), ["trash roots-another"]);
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
