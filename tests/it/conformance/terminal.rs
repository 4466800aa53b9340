//! A command on the caller's own terminal.

use std::io::{Read, Write};
use std::process::{Command as Process, Stdio};

use pristine::backend::{Io, Streams};
use pristine::cancel::Cancel;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::fixture::{each, open, shell, small_root};
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

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

/// Runs a script inside on a new terminal; acts each time once the text before it is seen; gives all that was on the screen.
fn session(backend: &str, script: &str, steps: &[(&str, Act)]) -> String {
    let store = tempfile::tempdir().unwrap();
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
    let mut child = Process::new("setsid")
        .args(["--ctty", "--wait"])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "conformance::terminal::on_a_terminal",
            "--nocapture",
        ])
        .env(STORE, store.path())
        .env(BACKEND, backend)
        .envs(engine::variable(backend))
        .env(SCRIPT, script)
        .stdin(stream())
        .stdout(stream())
        .stderr(stream())
        .spawn()
        .unwrap();
    drop(terminal);
    tcsetwinsize(&controller, size(24, 80)).unwrap();
    let mut controller = std::fs::File::from(controller);
    let (mut screen, mut seen, mut steps) = (String::new(), 0, steps.iter());
    let mut next = steps.next();
    let mut bytes = [0; 4096];
    // The end of a pseudo-terminal is an error, once its last holder is gone.
    'screen: while let Ok(length @ 1..) = controller.read(&mut bytes) {
        screen.push_str(&String::from_utf8_lossy(&bytes[..length]));
        while let Some((ready, act)) = next
            && let Some(place) = screen[seen..].find(ready)
        {
            seen += place + ready.len();
            match act {
                Type(text) => controller.write_all(text.as_bytes()).unwrap(),
                Size(rows, columns) => tcsetwinsize(&controller, size(*rows, *columns)).unwrap(),
                HangUp => break 'screen,
            }
            next = steps.next();
        }
    }
    drop(controller);
    child.wait().unwrap();
    screen
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
        let inside = screen.lines().find(|line| line.starts_with("/dev/"));
        assert!(
            inside.is_some_and(
                |line| line.starts_with("/dev/pts/0") || line.starts_with("/dev/console")
            ),
            "{screen}"
        );
        assert!(screen.contains("24 80"), "{screen}");
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
