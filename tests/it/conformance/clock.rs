#![expect(unsafe_code, reason = "asks for the time in every way that there is")]
//! A calendar that is ahead: every way to ask for it, and every wait for a time of it, by this very test program inside.

use std::collections::BTreeMap;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

use pristine::backend::{Command, Mount, User};

use super::fixture::{each, run, shell};

/// Seconds that it is ahead.
const AHEAD: i64 = 400 * 86_400;
/// Who builds has other ids than who follows.
const BUILDER: User = User {
    uid: 1000,
    gid: 1000,
};
/// Waits of this length are tried.
const SHORT: i64 = 30_000_000;
const SECOND: i64 = 1_000_000_000;
/// Set inside alone.
const INSIDE: &str = "PRISTINE_CLOCK";

fn command(ahead: i64) -> Command {
    let mut command = Command::new([
        "/probe",
        "--ignored",
        "--exact",
        "conformance::clock::inside",
        "--nocapture",
        "--test-threads=1",
    ]);
    command.env.insert(INSIDE.to_owned(), "1".to_owned());
    command.mounts = vec![Mount::Host {
        source: std::env::current_exe().unwrap(),
        target: "/probe".to_owned(),
    }];
    command.surroundings.ahead = ahead;
    command
}

#[test]
#[ignore = "runs inside a sandbox, started by another test"]
fn inside() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let mut told = asked();
    told.extend(waited());
    // In a thread of its own, and in a program that a program starts.
    told.extend(std::thread::spawn(|| ("thread".to_owned(), by_library())).join());
    let child = std::process::Command::new("/bin/bash")
        .args(["-c", "bash -c 'printf \"%(%s)T\" -1'"])
        .output()
        .unwrap();
    let child = String::from_utf8(child.stdout).unwrap();
    told.push(("child".to_owned(), child.parse().unwrap()));
    for (name, value) in told {
        // On a line of its own: the test harness has not ended its line.
        println!("\nclock {name} {value}");
    }
}

fn by_library() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_secs().cast_signed()
}

/// The time by every call.
fn asked() -> Vec<(String, i64)> {
    let clock = |id| {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the structure lives through the call.
        assert_eq!(unsafe { libc::clock_gettime(id, &raw mut time) }, 0);
        time.tv_sec
    };
    let mut day = libc::timeval {
        tv_sec: 0,
        tv_usec: 0,
    };
    let mut time = 0;
    // SAFETY: all pointers are null or to what lives through the calls; one is meant to be wrong.
    let (plain, wrong) = unsafe {
        assert_eq!(libc::gettimeofday(&raw mut day, null_mut()), 0);
        assert_eq!(libc::time(&raw mut time), time);
        let wrong = libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_REALTIME, 8);
        (libc::time(null_mut()), wrong)
    };
    let error = std::io::Error::last_os_error().raw_os_error();
    assert_eq!((wrong, error), (-1, Some(libc::EFAULT)));
    let named = [
        ("realtime", clock(libc::CLOCK_REALTIME)),
        ("coarse", clock(libc::CLOCK_REALTIME_COARSE)),
        ("tai", clock(libc::CLOCK_TAI)),
        ("gettimeofday", day.tv_sec),
        ("time", plain),
        ("time-written", time),
        ("library", by_library()),
        ("monotonic", clock(libc::CLOCK_MONOTONIC)),
    ];
    named.map(|(name, time)| (name.to_owned(), time)).into()
}

/// Waits until a time of the calendar: whether each took as long as it was to, in milliseconds.
fn waited() -> Vec<(String, i64)> {
    let until = || {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the structure lives through the call.
        unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut time) };
        let all = time.tv_nsec + SHORT;
        time.tv_sec += all / SECOND;
        time.tv_nsec = all % SECOND;
        time
    };
    let took = |name: &str, wait: &dyn Fn(&libc::timespec) -> i32, result: i32| {
        let end = until();
        let started = Instant::now();
        assert_eq!(wait(&end), result, "{name}");
        let took = started.elapsed();
        assert!(took >= Duration::from_millis(20), "{name} {took:?}");
        (name.to_owned(), took.as_millis().try_into().unwrap())
    };
    let condition = |end: &libc::timespec| {
        let mut lock = libc::PTHREAD_MUTEX_INITIALIZER;
        let mut waits = libc::PTHREAD_COND_INITIALIZER;
        // SAFETY: both are initialised, stay where they are, and are used by this thread alone.
        unsafe {
            assert_eq!(libc::pthread_mutex_lock(&raw mut lock), 0);
            let ended = libc::pthread_cond_timedwait(&raw mut waits, &raw mut lock, end);
            assert_eq!(libc::pthread_mutex_unlock(&raw mut lock), 0);
            ended
        }
    };
    let semaphore = |end: &libc::timespec| {
        // SAFETY: plain integers; `sem_init` gives them their values.
        unsafe {
            let mut waits: libc::sem_t = std::mem::zeroed();
            assert_eq!(libc::sem_init(&raw mut waits, 0, 0), 0);
            assert_eq!(libc::sem_timedwait(&raw mut waits, end), -1);
        }
        std::io::Error::last_os_error().raw_os_error().unwrap()
    };
    let sleep = |end: &libc::timespec| {
        // SAFETY: the structure lives through the call.
        unsafe { libc::clock_nanosleep(libc::CLOCK_REALTIME, libc::TIMER_ABSTIME, end, null_mut()) }
    };
    vec![
        took("wait-condition", &condition, libc::ETIMEDOUT),
        took("wait-semaphore", &semaphore, libc::ETIMEDOUT),
        took("wait-sleep", &sleep, 0),
    ]
}

fn told(text: &str) -> BTreeMap<String, i64> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("clock "));
    lines
        .map(|line| {
            let (name, value) = line.split_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

#[test]
fn the_calendar_can_be_ahead_for_a_command_and_all_that_it_starts_and_no_other_clock() {
    each(|fixture| {
        for user in [User::ROOT, BUILDER] {
            ahead(&mut *fixture.open(), user);
        }
    });
}

fn ahead(clone: &mut dyn pristine::backend::Clone, user: User) {
    let by = |ahead, clone: &mut dyn pristine::backend::Clone| {
        let mut command = command(ahead);
        command.user = user;
        told(run(clone, &command).text())
    };
    let (usual, ahead) = (by(0, clone), by(AHEAD, clone));
    assert_eq!(usual.len(), 13, "{usual:?}");
    assert!(usual.keys().eq(ahead.keys()));
    for (name, value) in &ahead {
        let apart = value - usual[name];
        match name.as_str() {
            "monotonic" => assert!((0..86_400).contains(&apart), "{name}"),
            // How long it waits depends on the machine; that it ends at all is what is tried.
            wait if wait.starts_with("wait-") => {}
            _ => assert!((AHEAD..AHEAD + 86_400).contains(&apart), "{name} {apart}"),
        }
    }
    // Files have the machine's time; signals, stops and exit codes are those of the programs. One that is followed stands still at other
    // times too: what looks stopped may be yet to stop, and is woken until it has ended.
    let mut shell = shell(
        "touch /tmp/new; [ $(stat -c %Y /tmp/new) -lt $(printf '%(%s)T' -1) ] && echo behind; \
         trap 'echo usr1' USR1; kill -USR1 $$; sleep 99 & kill $!; wait $!; echo $?; kill -STOP $BASHPID & \
         while read -r _ _ state _ < /proc/$!/stat && [[ $state != Z ]]; do kill -CONT $!; done; wait $!; \
         for n in 0 1 2 3 4 5 6 7; do (exit $n); echo -n $?; done",
    );
    shell.user = user;
    shell.surroundings.ahead = AHEAD;
    let said = run(clone, &shell).text().to_owned();
    assert_eq!(said, "behind\nusr1\n143\n01234567");
    shell.argv = super::fixture::shell("kill -SEGV $$").argv;
    let killed = run(clone, &shell);
    assert!(!killed.exit.success(), "{killed:?}");
}
