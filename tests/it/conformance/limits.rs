//! Limits, cancellation, and what a command leaves running.

use std::time::{Duration, Instant};

use pristine::backend::{BackendError, Command, Exit, LimitHit, Limits};
use pristine::cancel::Cancel;

use super::fixture::{each, run, shell, try_run};
use super::skip;

#[test]
fn time_is_limited() {
    each(|fixture| {
        let limit = Duration::from_millis(300);
        let mut command = shell("echo begun; sleep 60 & sleep 60");
        command.limits.time = Some(limit);
        let start = Instant::now();
        let ran = run(&mut *fixture.open(), &command);
        assert_eq!(
            (ran.exit, ran.out.as_str()),
            (Exit::Limit(LimitHit::Time(limit)), "begun\n")
        );
        assert!(start.elapsed() < Duration::from_secs(30));
    });
}

#[test]
fn silence_is_limited_and_output_breaks_it() {
    each(|fixture| {
        let limit = Duration::from_millis(800);
        let mut command = shell("for i in 1 2 3 4 5 6; do echo $i; sleep 0.2; done; sleep 60");
        command.limits.silence = Some(limit);
        let ran = run(&mut *fixture.open(), &command);
        assert_eq!(
            (ran.exit, ran.out.as_str()),
            (Exit::Limit(LimitHit::Silence(limit)), "1\n2\n3\n4\n5\n6\n")
        );
    });
}

#[test]
fn memory_is_limited() {
    each(|fixture| {
        if !fixture.backend.capabilities().limits {
            return skip("no cgroup can be had here: memory is not limited");
        }
        let limit = 64 << 20;
        let mut command = shell("head -c 200000000 /dev/zero | tail -c 190000000 | wc -c");
        command.limits.memory = Some(limit);
        let ran = run(&mut *fixture.open(), &command);
        assert!(
            matches!(ran.exit, Exit::Limit(LimitHit::Memory(bytes)) if bytes == limit),
            "{ran:?}"
        );
        assert_eq!(
            run(
                &mut *fixture.open(),
                &shell("head -c 200000000 /dev/zero | tail -c 190000000 | wc -c")
            )
            .text(),
            "190000000"
        );
    });
}

#[test]
fn processes_are_limited() {
    each(|fixture| {
        if !fixture.backend.capabilities().limits {
            return skip("no cgroup can be had here: processes are limited for each user only");
        }
        let mut command = shell("for i in $(seq 1 50); do sleep 5 & done; echo all");
        command.limits.processes = Some(20);
        // The shell tries again and again.
        command.limits.time = Some(Duration::from_millis(500));
        let ran = run(&mut *fixture.open(), &command);
        assert!(ran.out.is_empty() && ran.err.contains("fork"), "{ran:?}");
        command.limits = Limits {
            processes: Some(200),
            ..Limits::default()
        };
        assert_eq!(run(&mut *fixture.open(), &command).text(), "all");
    });
}

#[test]
fn a_token_ends_the_command_at_once() {
    each(|fixture| {
        let cancel = Cancel::new().unwrap();
        let mut clone = fixture.open();
        let other = cancel.clone();
        // Set as soon as the command is seen to run.
        let mut output = |_stream, _bytes: &[u8]| other.cancel();
        let io = pristine::backend::Io {
            stdin: None,
            output: &mut output,
            cancel: &cancel,
        };
        let start = Instant::now();
        assert!(matches!(
            clone.run(
                &shell("trap '' TERM INT HUP; echo up; while :; do sleep 60; done"),
                io
            ),
            Err(BackendError::Interrupted)
        ));
        assert!(start.elapsed() < Duration::from_secs(30));
        let again = try_run(&mut *clone, &Command::new(["/bin/true"]), &cancel);
        assert!(
            matches!(again, Err(BackendError::Interrupted)),
            "a token stays set"
        );
        assert!(
            run(&mut *clone, &Command::new(["/bin/true"]))
                .exit
                .success(),
            "the clone is still good"
        );
    });
}

#[test]
fn nothing_outlives_the_command() {
    each(|fixture| {
        let start = Instant::now();
        let script = "setsid sleep 98.25 & (setsid bash -c 'trap \"\" HUP TERM; sleep 98.25; sleep 98.25' &) ; echo started";
        assert_eq!(fixture.script(script).text(), "started");
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "its streams are held open by a daemon"
        );
        assert_eq!(processes("98.25"), 0);
    });
}

/// Processes on the host with this argument.
pub(crate) fn processes(argument: &str) -> usize {
    let marked = |entry: std::fs::DirEntry| {
        std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| {
            line.split(|byte| *byte == 0)
                .any(|part| part == argument.as_bytes())
        })
    };
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|_| true)
        .map(marked)
        .filter(|found| *found)
        .count()
}
