//! What a command uses, seen from outside.

use std::collections::BTreeMap;

use pristine::backend::{Command, Io, Touch, Trace, Watched};
use pristine::cancel::Cancel;

use super::fixture::{each, run, shell};

fn traced(
    clone: &mut dyn pristine::backend::Clone,
    command: &Command,
    watched: &Watched,
) -> Result<Trace, String> {
    let cancel = Cancel::new().unwrap();
    let io = Io {
        stdin: None,
        output: &mut |_, _| {},
        cancel: &cancel,
    };
    let (exit, trace) = clone.run_traced(command, io, watched).unwrap();
    assert!(exit.success(), "{exit:?}");
    trace
}

/// A folder with files of every kind, all of which are watched.
const FOLDER: &str = "mkdir /data /data/below && cd /data && for name in asked opened never real below/inner; do echo x > $name; done \
    && ln -s real link && ln -s never unfollowed && ln -s below folder && printf '#!/bin/bash\\n' > script && chmod 755 script";

fn watched() -> Watched {
    let mut watched = Watched::default();
    for name in [
        "asked",
        "opened",
        "never",
        "real",
        "below/inner",
        "link",
        "unfollowed",
        "folder",
        "script",
        "missing",
    ] {
        watched.insert(&format!("/data/{name}"), true);
    }
    for path in ["/bin/cat", "/bin/bash", "/bin/true", "/bin/ls"] {
        watched.insert(path, true);
    }
    watched
}

#[test]
fn commands_are_traced_from_outside() {
    each(|fixture| {
        let mut clone = fixture.open();
        assert_eq!(run(&mut *clone, &shell(FOLDER)).text(), "");
        let script = "cat /data/opened /data/link /data/folder/inner >/dev/null; [ -e /data/asked ]; [ ! -e /data/missing ]; \
            ls /data >/dev/null; /data/script";
        let trace = match traced(&mut *clone, &shell(script), &watched()) {
            Ok(trace) => trace,
            Err(why) => {
                let elsewhere = why.contains("it is on another machine, or in a container");
                let root = rustix::process::geteuid().is_root();
                assert!(fixture.name != "native" && (elsewhere || !root), "{why}");
                return;
            }
        };
        assert!(!trace.lost);
        assert_eq!(trace.processes, rustix::process::geteuid().is_root());
        let in_data = trace
            .files
            .iter()
            .filter(|(path, _)| path.starts_with("/data"));
        let seen: BTreeMap<&str, Touch> = in_data
            .map(|(path, seen)| (path.as_str(), seen.touch))
            .collect();
        let expected = [
            ("/data/asked", Touch::LookedUp),
            ("/data/below/inner", Touch::Opened),
            ("/data/folder", Touch::LookedUp),
            ("/data/link", Touch::LookedUp),
            ("/data/opened", Touch::Opened),
            ("/data/real", Touch::Opened),
            ("/data/script", Touch::Executed),
        ];
        assert_eq!(seen, BTreeMap::from(expected));
        assert_eq!(
            trace.files["/data/link"].target.as_deref(),
            Some("/data/real")
        );
        assert_eq!(
            trace.files["/data/folder"].target.as_deref(),
            Some("/data/below")
        );
        if trace.processes {
            let by = |path: &str| trace.files[path].process.as_deref();
            assert_eq!(
                (by("/data/opened"), by("/data/script")),
                (Some("cat"), Some("bash"))
            );
        }
        // Another clone of the same root has seen nothing of it, and what was not opened stays so.
        let mut other = fixture.open();
        let trace = traced(&mut *other, &Command::new(["/bin/true"]), &watched()).unwrap();
        let used: Vec<&str> = trace.files.keys().map(String::as_str).collect();
        assert_eq!(used, ["/bin/true"]);
        other.destroy().unwrap();
        clone.destroy().unwrap();
    });
}

#[test]
fn many_openings_at_once_are_seen_or_said_to_be_lost() {
    each(|fixture| {
        let mut clone = fixture.open();
        let make = "mkdir /many && cd /many && touch {1..5000}";
        assert_eq!(run(&mut *clone, &shell(make)).text(), "");
        let mut watched = Watched::default();
        for number in 1..=5000 {
            watched.insert(&format!("/many/{number}"), false);
        }
        let script =
            "cd /many; for part in 1 2 3; do for n in {1..5000}; do : < $n; done & done; wait";
        let Ok(trace) = traced(&mut *clone, &shell(script), &watched) else {
            assert_ne!(fixture.name, "native");
            return;
        };
        assert!(
            trace.lost || trace.files.len() == 5000,
            "{}",
            trace.files.len()
        );
        clone.destroy().unwrap();
    });
}

#[test]
fn a_traced_command_that_is_killed_or_cancelled_ends_as_others_do() {
    each(|fixture| {
        let mut clone = fixture.open();
        let cancel = Cancel::new().unwrap();
        let mut output = |_, _: &[u8]| cancel.cancel();
        let io = Io {
            stdin: None,
            output: &mut output,
            cancel: &cancel,
        };
        let command = shell("echo started; sleep 1000");
        assert!(clone.run_traced(&command, io, &watched()).is_err());
        let cancel = Cancel::new().unwrap();
        let io = Io {
            stdin: None,
            output: &mut |_, _| {},
            cancel: &cancel,
        };
        let (exit, _) = clone
            .run_traced(&shell("kill -9 $$"), io, &watched())
            .unwrap();
        assert_eq!(exit, pristine::backend::Exit::Signal(9));
        clone.destroy().unwrap();
    });
}
