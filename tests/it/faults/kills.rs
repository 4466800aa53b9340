//! SIGKILL at the tool's system calls, one after the other.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::tracer::{Hurt, Seen, conduct, order};
use super::{points, spread};
use crate::conformance::skip;
use crate::e2e::project::{Project, files};
use pristine::record::Record;

/// What a build of the trial project must always give.
#[derive(Debug, PartialEq, Eq)]
struct Made {
    lock: String,
    repository: BTreeMap<PathBuf, Vec<u8>>,
}

/// A project with a recipe, built once: the store has what the commands need.
pub(super) struct Trial {
    pub(super) project: Project,
    made: Made,
}

impl Trial {
    pub(super) fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skip(
                "a program that is followed loses the rights of newuidmap, unless root follows it",
            );
            return None;
        }
        let project =
            Project::hello()?.recipe("[[file]]\npath = \"/etc/own\"\ncontent = \"own\\n\"\n");
        project.good(&["build"]);
        let made = made(&project);
        Some(Self { project, made })
    }

    /// Records of all kept runs, oldest first by name.
    pub(super) fn records(&self) -> Vec<Record> {
        let runs = fs_err::read_dir(self.project.path("cache/runs")).unwrap();
        let mut folders: Vec<PathBuf> = runs.map(|entry| entry.unwrap().path()).collect();
        folders.sort();
        let read = |folder: &PathBuf| fs_err::read(folder.join("record.json")).unwrap();
        let texts = folders.iter().map(read);
        texts
            .map(|text| serde_json::from_slice(&text).unwrap())
            .collect()
    }

    /// Runs a command that is hurt.
    pub(super) fn hurt(&self, arguments: &[&str], hurt: Hurt) -> Seen {
        conduct(&order(&self.project.path(""), arguments, hurt))
    }

    /// The next build clears up and gives the same bytes.
    pub(super) fn recovers(&self, what: &str) {
        let ran = self.project.run(&["build"]);
        assert_eq!(ran.code, Some(0), "after {what}: {}", ran.all());
        assert_eq!(made(&self.project), self.made, "after {what}");
        assert_eq!(self.project.rubbish(), Vec::<String>::new(), "after {what}");
        assert_eq!(cgroups_of_the_dead(), Vec::<String>::new(), "after {what}");
    }
}

fn made(project: &Project) -> Made {
    Made {
        lock: project.read("pristine.lock"),
        repository: files(&project.run_folder().join("repository")),
    }
}

/// Control groups of the tool whose process is gone.
pub(super) fn cgroups_of_the_dead() -> Vec<String> {
    let mut folders = vec![PathBuf::from("/sys/fs/cgroup")];
    let mut dead = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            let process = name
                .strip_prefix("pristine-")
                .and_then(|rest| rest.split('-').next());
            match process {
                Some(process) if !PathBuf::from("/proc").join(process).exists() => dead.push(name),
                _ => folders.push(entry.path()),
            }
        }
    }
    dead
}

/// Kills the command at so many of its calls, evenly spread, and has the next build recover each time.
fn killed(few: u64, arguments: &[&str], before: impl Fn(&Project)) {
    let Some(trial) = Trial::new() else {
        return;
    };
    before(&trial.project);
    let calls = trial.hurt(arguments, Hurt::Nothing).calls;
    assert!(calls > 20, "{arguments:?} makes only {calls} calls");
    for (number, at) in spread(points(few), calls).enumerate() {
        // Every other one kills the process that makes the call, which may be another than the tool's first.
        let hurt = if number % 2 == 0 {
            Hurt::Kill(at)
        } else {
            Hurt::KillItself(at)
        };
        before(&trial.project);
        let seen = trial.hurt(arguments, hurt);
        let what = format!("{hurt:?} of {calls} in {arguments:?} ({:?})", seen.hurt);
        println!("{what}");
        trial.recovers(&what);
    }
}

#[test]
fn kill_9_at_any_call_of_lock() {
    killed(2, &["lock"], |project| {
        fs_err::remove_file(project.path("pristine.lock")).unwrap();
    });
}

#[test]
fn kill_9_at_any_call_of_build() {
    killed(4, &["build"], |_| {});
}

#[test]
fn kill_9_at_any_call_of_enter() {
    killed(2, &["enter", "--", "sh", "-c", "touch /etc/new"], |_| {});
}

#[test]
fn kill_9_at_any_call_of_export() {
    killed(2, &["snapshot", "export", "image.tar"], |project| {
        fs_err::remove_file(project.path("image.tar")).ok();
    });
}

#[test]
fn kill_9_at_any_call_of_gc() {
    // A collection has something to remove each time: the tree of a recipe that nobody wants any more.
    killed(2, &["gc"], |project| {
        let recipe = project.read("recipes/own.toml");
        project.write(
            "recipes/own.toml",
            format!("{recipe}[[file]]\npath = \"/etc/more\"\ncontent = \"\"\n"),
        );
        project.good(&["build", "--quiet"]);
        project.write("recipes/own.toml", recipe);
        project.good(&["lock", "--quiet"]);
        fs_err::remove_dir_all(project.run_folder()).unwrap();
    });
}
