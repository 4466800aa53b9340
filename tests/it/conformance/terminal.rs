//! A command on the caller's own terminal.

use std::io::{Read, Write};
use std::os::fd::AsFd as _;
use std::process::{Command as Process, Stdio};

use pristine::backend::{Io, Streams};
use pristine::cancel::Cancel;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::crash::wait_until;
use super::fixture::{HANGS, each, open, shell, small_root};
use super::limits::processes;
use crate::e2e::project::readable;
use crate::support::engine;

const STORE: &str = "PRISTINE_TEST_TERMINAL_STORE";
const BACKEND: &str = "PRISTINE_TEST_TERMINAL_BACKEND";
const SCRIPT: &str = "PRISTINE_TEST_TERMINAL_SCRIPT";

#[test]
#[ignore = "runs on a terminal, started by another test"]
fn on_a_terminal() {
    let (Some(store), Some(script)) = (std::env::var_os(STORE), std::env::var(SCRIPT).ok()) else {
        return;
    };
    let backend = open(&std::env::var(BACKEND).unwrap(), store.as_ref()).unwrap();
    let base = backend.scratch_id();
    backend
        .import(&base, &mut std::io::Cursor::new(small_root()))
        .unwrap();
    let mut clone = backend.open(std::slice::from_ref(&base)).unwrap();
    let mut command = shell(&script);
    command.streams = Streams::Inherited;
    let exit = clone
        .run(
            &command,
            Io {
                stdin: None,
                output: &mut |_, _| {},
                cancel: &Cancel::new().unwrap(),
            },
        )
        .unwrap();
    // In the foreground again: a background process that reads its terminal would be stopped.
    let mine =
        rustix::termios::tcgetpgrp(rustix::stdio::stdin()).unwrap() == rustix::process::getpgrp();
    println!("\nended: {exit}, foreground: {mine}");
    drop(clone);
    backend.remove(&base).unwrap();
}

/// What is done on the terminal.
#[derive(Clone, Copy)]
enum Act {
    Type(&'static str),
    /// Give it this many rows and columns.
    Size(u16, u16),
    /// Close it.
    HangUp,
}

use Act::{HangUp, Size, Type};

/// A tool on a terminal of its own.
struct Session {
    tool: std::process::Child,
    controller: std::fs::File,
    screen: String,
}

impl Session {
    /// Starts a tool that runs a script inside.
    fn start(backend: &str, store: &std::path::Path, script: &str) -> Self {
        let controller =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let terminal = std::fs::File::options()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        let stream = || Stdio::from(terminal.try_clone().unwrap());
        let tool = Process::new("setsid")
            .args(["--ctty", "--wait"])
            .arg(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "conformance::terminal::on_a_terminal",
                "--nocapture",
            ])
            .env(STORE, store)
            .env(BACKEND, backend)
            .envs(engine::variable(backend))
            .env(SCRIPT, script)
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .unwrap();
        let session = Self {
            tool,
            controller: std::fs::File::from(controller),
            screen: String::new(),
        };
        session.resize(25, 90);
        session
    }

    fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&self.controller, size).unwrap();
    }

    /// Reads more of what is shown; `false` at its end.
    fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        assert!(
            readable(&[self.controller.as_fd()], HANGS),
            "nothing more is shown: {}",
            self.screen
        );
        // The end of a pseudo-terminal is an error, once its last holder is gone.
        let Ok(length @ 1..) = self.controller.read(&mut bytes) else {
            return false;
        };
        let text = String::from_utf8_lossy(&bytes[..length]);
        self.screen.push_str(&text);
        true
    }

    /// Waits until a text is shown.
    fn wait_for(&mut self, text: &str) {
        while !self.screen.contains(text) {
            assert!(self.read(), "{}", self.screen);
        }
    }
}

/// Runs a script inside on a new terminal; acts each time once the text before it is seen; gives all that was on the screen.
fn session(backend: &str, script: &str, steps: &[(&str, Act)]) -> String {
    let store = tempfile::tempdir().unwrap();
    let mut session = Session::start(backend, store.path(), script);
    let (mut seen, mut steps) = (0, steps.iter());
    let mut next = steps.next();
    'screen: while session.read() {
        while let Some((ready, act)) = next
            && let Some(place) = session.screen[seen..].find(ready)
        {
            seen += place + ready.len();
            match act {
                Type(text) => session.controller.write_all(text.as_bytes()).unwrap(),
                Size(rows, columns) => session.resize(*rows, *columns),
                HangUp => break 'screen,
            }
            next = steps.next();
        }
    }
    let Session {
        mut tool,
        controller,
        screen,
    } = session;
    drop(controller);
    tool.wait().unwrap();
    screen
}

#[test]
fn the_size_of_the_terminal_is_known_and_followed() {
    each(|fixture| {
        let store = tempfile::tempdir().unwrap();
        let script =
            "trap 'stty size; exit 0' WINCH; stty size; echo ready; while :; do read -r -t 1; done";
        let mut session = Session::start(fixture.name, store.path(), script);
        session.wait_for("ready");
        assert!(session.screen.contains("25 90"), "{}", session.screen);
        session.resize(31, 101);
        session.wait_for("31 101");
        while session.read() {}
        assert!(session.tool.wait().unwrap().success(), "{}", session.screen);
    });
}

#[test]
fn all_is_shown_that_was_written_before_the_end() {
    each(|fixture| {
        // Somebody still holds the terminal.
        let script = "sleep 93.5 & disown; seq 1 20000; echo last-$((1+1))";
        let screen = session(fixture.name, script, &[]);
        assert!(
            screen.contains("\n20000\r\nlast-2") && screen.contains("ended: exit code 0"),
            "{}",
            &screen[screen.len().saturating_sub(500)..]
        );
        assert_eq!(processes("93.5"), 0);
    });
}

#[test]
fn kill_9_on_a_terminal_leaves_no_process_and_the_next_run_clears_up() {
    each(|fixture| {
        let store = tempfile::tempdir().unwrap();
        let script = "trap '' HUP; setsid sleep 94.5 & sleep 94.5 & echo ready; sleep 94.5";
        let mut session = Session::start(fixture.name, store.path(), script);
        session.wait_for("ready");
        wait_until("the processes inside are up", || processes("94.5") >= 3);
        session.tool.kill().unwrap();
        session.tool.wait().unwrap();
        wait_until("no process is left", || processes("94.5") == 0);
        let backend = open(fixture.name, store.path()).unwrap();
        wait_until("something is swept", || {
            !backend.sweep().unwrap().is_empty()
        });
    });
}

#[test]
fn a_shell_has_job_control() {
    each(|fixture| {
        // A job in the background that reads is stopped by the terminal, and goes on in the foreground.
        let steps = [
            ("# ", Type("set -b; test -t 0 && echo is-$((1+1))-tty\n")),
            (
                "is-2-tty",
                Type("bash -c 'read -r line; echo got-$line' &\n"),
            ),
            ("Stopped", Type("fg\nword\n")),
            ("got-word", Type("exit 7\n")),
        ];
        let screen = session(fixture.name, "exec bash --norc -i", &steps);
        assert!(!screen.contains("no job control"), "{screen}");
        assert!(screen.contains("got-word"), "{screen}");
        assert!(
            screen.contains("ended: exit code 7, foreground: true"),
            "{screen}"
        );
    });
}

#[test]
fn ctrl_c_goes_to_the_program_inside() {
    each(|fixture| {
        let screen = session(
            fixture.name,
            "trap 'echo caught; exit 5' INT; stty -echo; echo ready; while :; do sleep 0.1; done",
            &[("ready", Type("\x03"))],
        );
        assert!(screen.contains("caught"), "{screen}");
        assert!(
            screen.contains("ended: exit code 5, foreground: true"),
            "{screen}"
        );
    });
}

#[test]
fn ctrl_z_does_not_leave_the_caller_hanging() {
    each(|fixture| {
        let screen = session(
            fixture.name,
            "echo ready; read -r line; echo got $line; exit 0",
            &[("ready", Type("\x1a")), ("^Z", Type("hello\n"))],
        );
        assert!(screen.contains("got hello"), "{screen}");
        assert!(
            screen.contains("ended: exit code 0, foreground: true"),
            "{screen}"
        );
    });
}

#[test]
fn the_terminal_inside_is_one_of_its_own_and_follows_the_size() {
    each(|fixture| {
        let screen = session(
            fixture.name,
            "tty; stty size; trap 'stty size; exit 3' WINCH; echo ready; while :; do sleep 0.1; done",
            &[("ready", Size(50, 132))],
        );
        // The test's name may stand before it in its line.
        let inside = screen.find("/dev/").map(|start| &screen[start..]);
        let inside = inside.and_then(|text| text.lines().next());
        assert!(
            matches!(inside, Some("/dev/pts/0" | "/dev/console")),
            "{screen:?}"
        );
        assert!(screen.contains("25 90"), "{screen}");
        assert!(screen.contains("50 132"), "{screen}");
        assert!(screen.contains("ended: exit code 3"), "{screen}");
    });
}

#[test]
fn a_terminal_that_is_gone_ends_what_runs_on_it() {
    each(|fixture| {
        // Nothing inside gives way: it is ended all the same, or this would wait for ever.
        let screen = session(
            fixture.name,
            "trap '' HUP TERM INT; echo ready; while :; do sleep 0.1; done",
            &[("ready", HangUp)],
        );
        assert!(screen.contains("ready"), "{screen}");
    });
}
