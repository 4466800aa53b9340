//! Limits, cancellation, and what a command leaves running.

use std::time::{Duration, Instant};

use pristine::backend::{BackendError, Command, Exit, Limit, LimitHit, Limits};
use pristine::cancel::Cancel;

use super::fixture::{each, run, shell, try_run};
use super::skip;

#[test]
fn time_is_limited() {
    each(|fixture| {
        let limit = Duration::from_secs(1);
        let mut command = shell("echo begun; sleep 60 & sleep 60");
        command.limits.time = Some(limit);
        let start = Instant::now();
        let ran = run(&mut *fixture.open(), &command);
        let hit = ended_by(&ran, Limit::Time);
        assert_eq!((hit.value, ran.out.as_str()), (1000, "begun\n"));
        if fixture.name == "native" {
            assert_eq!(hit.process.as_deref(), Some("sleep"));
            assert_eq!(hit.counters["processes"], 3);
        }
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
        let hit = ended_by(&ran, Limit::Silence);
        assert_eq!((hit.value, ran.out.as_str()), (800, "1\n2\n3\n4\n5\n6\n"));
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
        let hit = ended_by(&ran, Limit::Memory);
        assert_eq!(hit.value, limit);
        assert!(hit.counters["oom_kill"] > 0, "{hit:?}");
        if fixture.name == "native" {
            assert_eq!(hit.process.as_deref(), Some("tail"));
            assert!(
                hit.peak.is_some_and(|peak| peak > limit * 9 / 10),
                "{hit:?}"
            );
        }
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
        // The shell tries again and again, where nobody ends it.
        let ended = fixture.name == "native";
        let patience = if ended { 5000 } else { 500 };
        command.limits.time = Some(Duration::from_millis(patience));
        let ran = run(&mut *fixture.open(), &command);
        assert!(ran.out.is_empty(), "{ran:?}");
        if ended {
            let hit = ended_by(&ran, Limit::Processes);
            assert_eq!((hit.value, hit.peak), (20, Some(20)));
            assert!(hit.counters["pids.max"] > 0, "{hit:?}");
        } else {
            assert!(ran.err.contains("fork"), "{ran:?}");
        }
        command.limits = Limits {
            processes: Some(200),
            ..Limits::default()
        };
        assert_eq!(run(&mut *fixture.open(), &command).text(), "all");
    });
}

#[test]
fn a_fork_bomb_is_ended_with_its_figures() {
    each(|fixture| {
        if fixture.name != "native" || !fixture.backend.capabilities().limits {
            return;
        }
        let mut command = shell("bomb() { bomb | bomb & }; bomb; sleep 60");
        command.limits.processes = Some(100);
        command.limits.time = Some(Duration::from_mins(1));
        let ran = run(&mut *fixture.open(), &command);
        let hit = ended_by(&ran, Limit::Processes);
        assert_eq!((hit.value, hit.peak), (100, Some(100)));
    });
}

#[test]
fn processor_time_is_limited_over_all_processes() {
    each(|fixture| {
        let mut command = shell("for i in 1 2 3; do (while :; do :; done) & done; wait");
        command.limits.cpu = Some(Duration::from_millis(600));
        command.limits.time = Some(Duration::from_mins(2));
        let ran = run(&mut *fixture.open(), &command);
        let hit = ended_by(&ran, Limit::Cpu);
        assert_eq!(hit.value, 600);
        // Engines tell the sum alone.
        let process = (fixture.name == "native").then_some("bash");
        assert_eq!(hit.process.as_deref(), process);
        assert!(hit.peak.is_some_and(|peak| peak >= 600), "{hit:?}");
    });
}

#[test]
fn the_disk_of_a_clone_is_limited() {
    each(|fixture| {
        let mut command = shell(
            "mkdir -p deep/er; head -c 60000000 /dev/zero > deep/er/file; sync deep/er/file; sleep 60",
        );
        command.limits.disk = Some(32 << 20);
        command.limits.time = Some(Duration::from_secs(100));
        let ran = run(&mut *fixture.open(), &command);
        let hit = ended_by(&ran, Limit::Disk);
        assert_eq!(hit.value, 32 << 20);
        assert!(hit.peak.is_some_and(|peak| peak > 32 << 20), "{hit:?}");
    });
}

#[test]
fn what_a_command_used_is_told() {
    each(|fixture| {
        let mut command = shell(
            "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; head -c 3000000 /dev/zero > file",
        );
        command.limits.processes = Some(100);
        let mut clone = fixture.open();
        assert!(run(&mut *clone, &command).exit.success());
        let used = clone.used().unwrap();
        assert!(used.user.is_some_and(|time| !time.is_zero()), "{used:?}");
        assert!(used.system.is_some() && used.written.is_some(), "{used:?}");
        assert!(used.disk.is_some_and(|bytes| bytes > 2_000_000), "{used:?}");
        if fixture.name == "native" && fixture.backend.capabilities().limits {
            assert!(used.memory.is_some_and(|bytes| bytes > 100_000), "{used:?}");
            assert!(
                used.processes.is_some_and(|most| (1..10).contains(&most)),
                "{used:?}"
            );
        }
    });
}

/// The limit that ended a command, which must be this one.
fn ended_by(ran: &super::fixture::Ran, limit: Limit) -> LimitHit {
    match &ran.exit {
        Exit::Limit(hit) if hit.limit == limit => (**hit).clone(),
        _ => panic!("not ended by {limit:?}: {ran:?}"),
    }
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
