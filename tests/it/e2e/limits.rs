//! Builds that meet their limits: each ends with its figures, in words and in the record.

use pristine::record::{Class, LimitRecord, Outcome, PackageRecord, Record};

use super::project::{Project, spec, spec_with};
use crate::conformance::skip;

/// Packages that each meet a limit, and what the project file says of them.
const GREEDY: [(&str, &str, &str); 4] = [
    (
        "bomb",
        "bomb() { bomb | bomb & }; bomb; sleep 60",
        "processes = 60",
    ),
    ("busy", "while :; do :; done", "cpu_time = \"1s\""),
    (
        "eater",
        "head -c 400000000 /dev/zero | tail -c 390000000 > /dev/null",
        "memory = \"128MiB\"",
    ),
    (
        "filler",
        "head -c 200000000 /dev/zero > big; sync big; sleep 60",
        "disk = \"64MiB\"",
    ),
];

#[test]
fn a_build_that_meets_a_limit_ends_with_its_figures() {
    let Some(mut project) = Project::new() else {
        return;
    };
    let mut settings = project.read("pristine.toml");
    for (name, script, limit) in GREEDY {
        project = project.package(name, &spec_with(name, "", "%build", script));
        let own = ["[package.", name, "]\ntimeout = \"100s\"\n", limit, "\n"];
        settings.push_str(&own.concat());
    }
    project.write("pristine.toml", settings);
    let project = project.package("modest", &spec("modest", ""));
    let ran = project.run(&["build"]);
    assert_eq!(ran.code, Some(1), "{}", ran.all());
    let record = project.record();
    let limits: Vec<(String, LimitRecord)> = record.packages.iter().filter_map(met).collect();
    let told: Vec<String> = limits
        .iter()
        .map(|(name, limit)| format!("{name}: {} {}", limit.limit, limit.value))
        .collect();
    let told = told.join("\n");
    let counted = rustix::process::geteuid().is_root();
    if !counted {
        // The kernel then refuses processes by user, and nobody hears of it.
        skip("without a cgroup a fork bomb is not ended by its limit");
    }
    let rest = if counted {
        told.strip_prefix("bomb: processes 60\n")
    } else {
        Some(told.as_str())
    };
    insta::assert_snapshot!(rest.unwrap_or(&told), @"
    busy: cpu 1000
    eater: memory 134217728
    filler: disk 67108864
    ");
    for (name, limit) in &limits {
        assert!(limit.suggestion.is_some(), "{name}: {limit:?}");
        assert!(
            limit.peak >= Some(limit.value / 10 * 9),
            "{name}: {limit:?}"
        );
    }
    assert!(
        ran.err.contains("ended by the memory limit of 128 MiB; the largest process was `tail`; raise `memory` to"),
        "{}",
        ran.err
    );
    assert_eq!(project.rubbish(), Vec::<String>::new());
    modest_is_told(&record);
}

/// The limit that a package's `%build` met.
fn met(package: &PackageRecord) -> Option<(String, LimitRecord)> {
    match &package.outcome {
        Outcome::Failed {
            class: Class::Limit,
            phase: Some(phase),
            limit: Some(limit),
            ..
        } if phase == "%build" => Some((package.name.clone(), limit.clone())),
        _ => None,
    }
}

/// What a build that ends well used is told as well.
fn modest_is_told(record: &Record) {
    let modest = record
        .packages
        .iter()
        .find(|package| package.name == "modest");
    let modest = modest.unwrap();
    let used = modest.used.unwrap();
    assert!(
        used.user.is_some() && used.disk.is_some_and(|bytes| bytes > 0),
        "{used:?}"
    );
    let phases: Vec<_> = modest
        .phases
        .iter()
        .map(|phase| phase.phase.as_str())
        .collect();
    assert_eq!(phases[..3], ["prepare", "rpmbuild", "%prep"], "{phases:?}");
    assert!(phases.contains(&"packaging"), "{phases:?}");
}
