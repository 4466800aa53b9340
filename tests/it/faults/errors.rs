//! Calls that fail or write less than asked: one clear message, never a wrong success, and the store stays good.

use super::kills::Trial;
use super::tracer::{Hurt, conduct, order};
use super::{points, spread};

/// What the tool makes of an error at one of its calls.
fn refused(few: u64, errno: i32, lasting: bool) {
    let Some(trial) = Trial::new() else {
        return;
    };
    let arguments = ["build"];
    let calls = trial.hurt(&arguments, Hurt::Nothing).calls;
    for at in spread(points(few), calls) {
        let hurt = Hurt::Error { at, errno, lasting };
        let order = order(&trial.project.path(""), &arguments, hurt);
        let seen = conduct(&order);
        let said = fs_err::read_to_string(&order.output).unwrap();
        let what = format!("{hurt:?} of {calls} ({:?})", seen.hurt);
        println!("{what}: {:?} {}", seen.code, last_line(&said));
        assert!(!said.contains("panicked"), "{what}: {said}");
        match seen.code {
            // A call that may fail, or is made again.
            Some(0) => assert!(!said.contains("error: "), "{what}: {said}"),
            // What was hurt may have been a build's own process: then that package failed.
            Some(1) => assert!(said.contains(" FAIL "), "{what}: {said}"),
            Some(3 | 4) => {
                let errors = said.lines().filter(|line| line.starts_with("error: "));
                assert_eq!(errors.count(), 1, "{what}: {said}");
            }
            other => panic!("{what}: {other:?}: {said}"),
        }
        trial.recovers(&what);
    }
}

fn last_line(text: &str) -> &str {
    let errors = |line: &&str| line.starts_with("error: ");
    let error = text.lines().find(errors);
    error.or(text.lines().last()).unwrap_or_default()
}

#[test]
fn a_disk_that_is_full_from_any_call_on_is_told() {
    refused(2, libc::ENOSPC, true);
}

#[test]
fn a_call_that_fails_once_is_told_or_does_not_matter() {
    refused(3, libc::EIO, false);
}

#[test]
fn writes_may_be_short() {
    let Some(trial) = Trial::new() else {
        return;
    };
    let calls = trial.hurt(&["build"], Hurt::Nothing).calls;
    for at in spread(points(2), calls) {
        let seen = trial.hurt(&["build"], Hurt::Short(at));
        let what = format!("a short write at {at} of {calls} ({:?})", seen.hurt);
        println!("{what}");
        assert_eq!(seen.code, Some(0), "{what}");
        trial.recovers(&what);
    }
}
