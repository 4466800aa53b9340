//! Events as JSON, one object a line (`docs/events.md`): for programs, so that the format changes by its number alone.

use std::time::Duration;

use serde_json::{Value, json};

use crate::error::Failure;
use crate::events::Event;

/// The format version of the lines, told in the first.
pub(super) const FORMAT: u32 = 1;

/// The first line: `time` is when the program began, since 1970.
pub(super) fn begin(time: Duration) -> Value {
    let moment = time::OffsetDateTime::UNIX_EPOCH + Duration::from_secs(time.as_secs());
    let started = moment.format(&time::format_description::well_known::Rfc3339);
    json!({
        "event": "begin",
        "at": 0,
        "format": FORMAT,
        "tool": concat!("pristine ", env!("CARGO_PKG_VERSION")),
        "started": started.unwrap_or_default(),
    })
}

/// The last line where the tool could not do its work.
pub(super) fn failure(failure: &Failure, at: Duration) -> Value {
    json!({
        "event": "error",
        "at": milliseconds(at),
        "message": failure.to_string(),
        "hints": failure.hints,
        "code": failure.kind.exit_code(),
    })
}

/// One event, so long after the beginning.
pub(super) fn event(event: &Event, at: Duration) -> Value {
    let mut value = about(event);
    value["at"] = milliseconds(at).into();
    value
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn about(event: &Event) -> Value {
    match event {
        Event::StepStarted { step } => json!({ "event": "step_started", "step": step }),
        Event::StepDone { step, result, took } => json!({
            "event": "step_done", "step": step, "result": result, "milliseconds": milliseconds(*took),
        }),
        Event::Transfer {
            files,
            files_total,
            bytes,
            bytes_total,
        } => json!({
            "event": "transfer", "files": files, "files_total": files_total,
            "bytes": bytes, "bytes_total": bytes_total,
        }),
        Event::Warning { text } => json!({ "event": "warning", "text": text }),
        Event::Output { line } => json!({ "event": "output", "line": line }),
        Event::Progress {
            done,
            total,
            running,
            remaining,
        } => json!({
            "event": "progress", "done": done, "total": total, "running": running,
            "remaining": remaining.map(milliseconds),
        }),
        Event::RunEnded {
            run,
            folder,
            counts,
            took,
        } => json!({
            "event": "run_ended", "run": run, "folder": folder, "counts": counts,
            "milliseconds": milliseconds(*took),
        }),
        package => of_package(package),
    }
}

fn of_package(event: &Event) -> Value {
    match event {
        Event::PackageStarted {
            package,
            number,
            total,
            processors,
            expected,
        } => json!({
            "event": "package_started", "package": package, "number": number, "total": total,
            "processors": processors, "expected": expected.map(milliseconds),
        }),
        Event::PackagePhase { package, phase } => json!({
            "event": "package_phase", "package": package, "phase": phase,
        }),
        Event::PackageEnded {
            package,
            result,
            outcome,
            took,
            log,
            enter,
            excerpt,
        } => json!({
            "event": "package_ended", "package": package, "result": result, "outcome": outcome,
            "milliseconds": milliseconds(*took), "log": log, "enter": enter, "excerpt": excerpt,
        }),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::error::Kind;

    fn of_builds() -> [Event; 4] {
        let package = || "zlib".to_owned();
        let second = Duration::from_secs(1);
        [
            Event::Progress {
                done: 0,
                total: 2,
                running: 1,
                remaining: Some(second * 5),
            },
            Event::PackageStarted {
                package: package(),
                number: 1,
                total: 2,
                processors: 4,
                expected: None,
            },
            Event::PackagePhase {
                package: package(),
                phase: "%build".to_owned(),
            },
            Event::PackageEnded {
                package: package(),
                result: "failed",
                outcome: "failed: %build failed".to_owned(),
                took: second,
                log: Some("/runs/r/logs/zlib.log".into()),
                enter: Some("pristine enter --failed zlib".to_owned()),
                excerpt: vec!["error: no".to_owned()],
            },
        ]
    }

    /// One of each.
    fn lines() -> Vec<Value> {
        let second = Duration::from_secs(1);
        let step = || "solving".to_owned();
        let events = [
            Event::StepStarted { step: step() },
            Event::Transfer {
                files: 1,
                files_total: 2,
                bytes: 3,
                bytes_total: 4,
            },
            Event::StepDone {
                step: step(),
                result: "212 packages".to_owned(),
                took: second,
            },
            Event::Output {
                line: "a\u{1b}[31m".to_owned(),
            },
            Event::Warning {
                text: "not so good".to_owned(),
            },
            Event::RunEnded {
                run: "r".to_owned(),
                folder: "/runs/r".into(),
                counts: BTreeMap::from([("built", 1), ("failed", 1)]),
                took: second * 9,
            },
        ];
        let at = Duration::from_millis(7);
        let first = begin(Duration::from_hours(500_000));
        let last = failure(
            &Failure::new(Kind::CannotRun, "no disk").hint("free some"),
            at,
        );
        std::iter::once(first)
            .chain(events.iter().chain(&of_builds()).map(|one| event(one, at)))
            .chain([last])
            .collect()
    }

    #[test]
    fn each_event_is_one_line() {
        let text: Vec<String> = lines().iter().map(Value::to_string).collect();
        assert!(text.iter().all(|line| !line.contains('\n')));
        insta::assert_snapshot!(text.join("\n"), @r#"
        {"at":0,"event":"begin","format":1,"started":"2027-01-15T08:00:00Z","tool":"pristine 0.1.0"}
        {"at":7,"event":"step_started","step":"solving"}
        {"at":7,"bytes":3,"bytes_total":4,"event":"transfer","files":1,"files_total":2}
        {"at":7,"event":"step_done","milliseconds":1000,"result":"212 packages","step":"solving"}
        {"at":7,"event":"output","line":"a\u001b[31m"}
        {"at":7,"event":"warning","text":"not so good"}
        {"at":7,"counts":{"built":1,"failed":1},"event":"run_ended","folder":"/runs/r","milliseconds":9000,"run":"r"}
        {"at":7,"done":0,"event":"progress","remaining":5000,"running":1,"total":2}
        {"at":7,"event":"package_started","expected":null,"number":1,"package":"zlib","processors":4,"total":2}
        {"at":7,"event":"package_phase","package":"zlib","phase":"%build"}
        {"at":7,"enter":"pristine enter --failed zlib","event":"package_ended","excerpt":["error: no"],"log":"/runs/r/logs/zlib.log","milliseconds":1000,"outcome":"failed: %build failed","package":"zlib","result":"failed"}
        {"at":7,"code":4,"event":"error","hints":["free some"],"message":"no disk"}
        "#);
    }

    #[test]
    fn every_event_and_key_is_documented() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/events.md");
        let page = fs_err::read_to_string(page).unwrap();
        for line in lines() {
            let event = line["event"].as_str().unwrap();
            let row = page
                .lines()
                .find(|row| row.starts_with(&format!("| `{event}` |")));
            let row = row.unwrap_or_else(|| panic!("`{event}` is not in docs/events.md"));
            for key in line.as_object().unwrap().keys() {
                let everywhere = ["event", "at"].contains(&key.as_str());
                assert!(
                    everywhere || row.contains(&format!("`{key}`")),
                    "{event}: {key}"
                );
            }
        }
    }
}
