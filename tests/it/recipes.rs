//! `docs/ci`: the recipes for CI servers, held against the program.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory as _;
use pristine::cli::Cli;
use serde_json::Value;

use crate::conformance::skip;

fn recipes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ci")
}

fn read(name: &str) -> String {
    fs_err::read_to_string(recipes().join(name)).unwrap()
}

/// Every call of the program in a text, as words; of `docs/ci.md` too.
fn calls(text: &str) -> Vec<Vec<String>> {
    let word = |word: &str| word.trim_matches(['\'', '"', ',', '`', ')']).to_owned();
    let mut calls = Vec::new();
    for line in text.lines() {
        let line = line.trim_start();
        if line.starts_with(['#', '/', '-']) && !line.starts_with("- ") {
            continue;
        }
        for (at, _) in line.match_indices("pristine ") {
            let before = line[..at].chars().next_back();
            if before.is_none_or(|c| matches!(c, '\'' | '`' | ' ' | '/')) {
                let rest = line[at + "pristine ".len()..]
                    .split(['`', '\'', '>', ';', ','])
                    .next();
                let words = rest.unwrap_or_default().split_whitespace().map(word);
                calls.push(words.take_while(|word| word != "&&").collect());
            }
        }
    }
    calls
}

/// What is wrong with a call by our definition of the command line.
fn wrong(call: &[String]) -> Option<String> {
    let command = Cli::command();
    // Prose that begins like a call, and programs that are called after ours.
    let verb = command.find_subcommand(call.first()?)?;
    let known: BTreeSet<String> = verb
        .get_arguments()
        .chain(command.get_arguments())
        .filter_map(|argument| argument.get_long().map(|long| format!("--{long}")))
        .collect();
    let unknown = call
        .iter()
        .find(|word| word.starts_with("--") && !known.contains(*word));
    unknown.map(|word| format!("`pristine {}`: there is no `{word}`", call.join(" ")))
}

fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&read(name)).unwrap()
}

#[test]
fn the_recipes_for_ci_name_what_there_is() {
    let mut found = 0;
    for name in [
        "gitlab-ci.yml",
        "github-actions.yml",
        "Jenkinsfile",
        "pristine-nightly.service",
        "../ci.md",
    ] {
        for call in calls(&read(name)) {
            assert_eq!(wrong(&call), None, "{name}");
            let verb = call.first();
            let known = verb.is_some_and(|verb| Cli::command().find_subcommand(verb).is_some());
            found += usize::from(known);
        }
    }
    assert!(found >= 12, "only {found} calls were found");
    let unknown = ["build", "--lokced"].map(str::to_owned);
    assert!(wrong(&unknown).is_some());
}

#[test]
fn paths_of_results_and_caches_are_those_of_the_program() {
    let gitlab = yaml("gitlab-ci.yml");
    let job = &gitlab["nightly"];
    assert_eq!(
        job["artifacts"]["reports"]["junit"],
        format!("night/{}", pristine::report::JUNIT)
    );
    assert_eq!(job["artifacts"]["when"], "always");
    assert!(job["script"].to_string().contains("--output night"));
    let github = yaml("github-actions.yml");
    let steps = github["jobs"]["build"]["steps"].as_array().unwrap();
    let with = |action: &str| {
        let of = |step: &&Value| {
            step["uses"]
                .as_str()
                .is_some_and(|uses| uses.starts_with(action))
        };
        &steps.iter().find(of).unwrap()["with"]
    };
    assert_eq!(with("actions/upload-artifact")["path"], "night");
    assert_eq!(
        with("mikepenz/action-junit-report")["report_paths"],
        "night/junit.xml"
    );
    let jenkins = read("Jenkinsfile");
    for path in ["night/junit.xml", "'night/**'", "--output night"] {
        assert!(jenkins.contains(path), "{path}");
    }
    assert_eq!(jenkins.matches('{').count(), jenkins.matches('}').count());
    // What is cached are parts of a store.
    let store = tempfile::tempdir().unwrap();
    pristine::store::Store::open(store.path()).unwrap();
    let cached = job["cache"]["paths"].as_array().unwrap().iter();
    let cached = cached.map(|path| path.as_str().unwrap().to_owned());
    let paths = with("actions/cache")["path"].as_str().unwrap().lines();
    for path in cached.chain(paths.map(str::to_owned)) {
        let inside = path.strip_prefix("cache/").unwrap();
        assert!(store.path().join(inside).exists(), "{path}");
    }
}

#[test]
fn systemd_takes_the_units() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["pristine-nightly.service", "pristine-nightly.timer"] {
        // A program that is there, so that it is not what is complained about.
        let text = read(name).replace("/usr/local/bin/pristine", "/bin/true");
        fs_err::write(folder.path().join(name), text).unwrap();
    }
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(folder.path().join("pristine-nightly.timer"))
        .arg(folder.path().join("pristine-nightly.service"))
        .output();
    match verified {
        Err(error) => skip(&format!("systemd-analyze: {error}")),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let ours = said
                .lines()
                .filter(|line| line.contains("pristine-nightly"));
            assert_eq!(ours.collect::<Vec<_>>(), Vec::<&str>::new());
        }
    }
}
