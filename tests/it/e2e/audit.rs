//! The audit: planted defects are named with their causes, clean packages are left alone, and what was shipped is verified.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pristine::record::audit::{self, AuditOutcome, AuditRecord, Variation};

use super::interrupt::{interrupted, wait_for_ever};
use super::project::{Project, spec, spec_with};

/// Packages with one defect each: name, the script whose output they ship, the cause that the audit must name.
const PLANTED: [(&str, &str, &str); 10] = [
    ("time", "date -u +%s", "embedded-time"),
    ("zone", "date -d @86400", "time-zone"),
    ("host", "uname -n", "host-name"),
    ("user", "id -un", "user"),
    ("locale", "echo \"built in ${LC_ALL:-C.UTF-8}\"", "locale"),
    (
        "order",
        "cd %{_builddir}; mkdir listed; for n in a b c d e f g h i j k l m; do : > listed/$n.c; done; ls -U listed",
        "directory-order",
    ),
    ("parallel", "echo jobs: $(nproc)", "parallelism"),
    ("random", "cat /proc/sys/kernel/random/uuid", "random"),
    ("kernel", "uname -r", "kernel"),
    ("variable", "echo \"build ${BUILD_NUMBER:-0}\"", "variable"),
];

/// A package that ships what a script prints.
fn planted(name: &str, script: &str) -> String {
    let ships = format!("echo {name} > ");
    spec(name, "").replace(&ships, &format!("( {script} ) > "))
}

/// A package whose file has the mode that the umask gives it.
fn masked() -> String {
    planted("masked", "echo x").replace("%files", "%files\n%defattr(-,root,root,-)")
}

fn project() -> Option<Project> {
    let mut project = Project::new()?;
    for (name, script, _) in PLANTED {
        project = project.package(name, &planted(name, script));
    }
    let fails = "test -z \"$BUILD_NUMBER\"";
    Some(
        project
            .package("path", &planted("path", "cd %{_builddir}; pwd"))
            .package("masked", &masked())
            .package("clean", &spec("clean", ""))
            .package("another", &spec("another", "BuildRequires: clean"))
            .package("fails", &spec_with("fails", "", "%check", fails)),
    )
}

/// The newest audit of the newest run.
fn newest(project: &Project) -> AuditRecord {
    audit::of_run(&project.run_folder()).pop().unwrap()
}

/// How each package came out: a word, and the causes.
fn found(record: &AuditRecord) -> BTreeMap<String, String> {
    let packages = record.packages.iter();
    packages
        .map(|package| {
            let comparisons = package.artefacts.iter();
            let mut causes: Vec<String> = comparisons
                .filter_map(|artefact| artefact.comparison.as_ref())
                .flat_map(pristine::compare::Comparison::causes)
                .map(|(cause, _)| {
                    serde_json::to_value(cause)
                        .unwrap()
                        .as_str()
                        .unwrap()
                        .to_owned()
                })
                .collect();
            causes.dedup();
            let words = [&[package.outcome.word().to_owned()], causes.as_slice()].concat();
            (package.name.clone(), words.join(" "))
        })
        .collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "all is built and audited once")]
fn every_planted_defect_is_named_and_no_clean_package_is_called_bad() {
    let Some(project) = project() else {
        return;
    };
    project.good(&["build"]);
    let ran = project.run(&["audit"]);
    assert_eq!(ran.code, Some(1), "{}", ran.all());
    let record = newest(&project);
    assert!(record.environment.is_same());
    let folder = project.run_folder().join(audit::AUDITS).join(&record.audit);
    assert!(folder.join(pristine::report::AUDIT).is_file());
    let found = found(&record);
    let mut expected: BTreeMap<String, String> = PLANTED
        .iter()
        .map(|(name, _, cause)| ((*name).to_owned(), format!("differs {cause}")))
        .collect();
    for (name, words) in [
        // rpmbuild sets the umask of every section itself.
        ("masked", "identical"),
        ("path", "identical"),
        ("clean", "identical"),
        ("another", "identical"),
        ("fails", "failed"),
    ] {
        expected.insert(name.to_owned(), words.to_owned());
    }
    assert_eq!(found, expected, "{}", ran.all());
    for package in &record.packages {
        // And the time.
        let varied = Variation::ALL.iter().filter(|one| one.by_default());
        let name = &package.name;
        assert_eq!(package.varied.len(), varied.count() + 1, "{name}");
    }
    let not: Vec<_> = record.not_varied.keys().map(|one| one.name()).collect();
    assert_eq!(not, ["build-path", "job-order"]);
    // Which variation it is can be found by rebuilding alone.
    let ran = project.run(&[
        "audit",
        "latest",
        "host",
        "kernel",
        "fails",
        "random",
        "--bisect-variation",
    ]);
    assert_eq!(ran.code, Some(1), "{}", ran.all());
    let bisected: BTreeMap<String, String> = newest(&project)
        .packages
        .into_iter()
        .map(|package| {
            let found = package.bisection.unwrap();
            let names: Vec<_> = found.alone.iter().map(|one| one.name()).collect();
            let words = if found.unvaried {
                "nothing".to_owned()
            } else {
                names.join(" ")
            };
            (package.name, words)
        })
        .collect();
    let expected = [
        ("fails", "environment"),
        ("host", "host-name"),
        ("kernel", "kernel"),
        ("random", "nothing"),
    ];
    assert_eq!(
        bisected,
        expected
            .map(|(name, words)| (name.to_owned(), words.to_owned()))
            .into()
    );
    // rpm writes the path into every source package: it is varied on request.
    project.run(&["audit", "latest", "path", "--with-variation", "build-path"]);
    let text = serde_json::to_string(&newest(&project)).unwrap();
    assert!(text.contains("\"usr/share/path/text\""), "{text}");
    assert!(text.contains("\"build-path\""), "{text}");
    // What is switched off is not varied.
    let ran = project.run(&[
        "audit",
        "latest",
        "host",
        "--without-variation",
        "host-name",
    ]);
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    assert_eq!(
        newest(&project).not_varied[&Variation::HostName],
        "switched off"
    );
    assert_eq!(project.rubbish(), Vec::<String>::new());
}

#[test]
#[expect(clippy::too_many_lines, reason = "one run, seen from all sides")]
fn what_was_shipped_is_verified_from_its_record() {
    let Some(project) = Project::hello() else {
        return;
    };
    let project = project.package("user", &spec("user", "BuildRequires: hello"));
    project.good(&["build"]);
    let first = project.run_folder();
    let shipped = |name: &str| -> PathBuf {
        let to = project.path(&format!("shipped/{name}"));
        fs_err::create_dir_all(to.parent().unwrap()).unwrap();
        fs_err::copy(project.run_folder().join("repository").join(name), &to).unwrap();
        to
    };
    let good = shipped("hello-1-1.noarch.rpm");
    let other = shipped("user-1-1.src.rpm");
    // The repository is gone: the store has all.
    fs_err::rename(project.path("mini"), project.path("away")).unwrap();
    let arguments = [
        "verify",
        "--offline",
        good.to_str().unwrap(),
        other.to_str().unwrap(),
    ];
    let ran = project.good(&arguments);
    assert_eq!(
        ran.out.matches(": identical, sha256:").count(),
        2,
        "{}",
        ran.all()
    );
    fs_err::rename(project.path("away"), project.path("mini")).unwrap();

    // Another build under the same name, held against the record of the first: its spec comes out of the source package.
    project.edit(
        "packages/hello/hello.spec",
        "echo hello >",
        "echo tampered >",
    );
    project.good(&["build"]);
    let tampered = shipped("hello-1-1.noarch.rpm");
    let record = first.join("record.json");
    let ran = project.run(&[
        "verify",
        tampered.to_str().unwrap(),
        "--record",
        record.to_str().unwrap(),
    ]);
    assert_eq!(ran.code, Some(1), "{}", ran.all());
    assert!(ran.out.contains("DIFF"), "{}", ran.all());
    assert!(ran.out.contains("usr/share/hello/text"), "{}", ran.all());

    // The first run's own package is no longer what its record says.
    super::project::replace(&first.join("repository/hello-1-1.noarch.rpm"), b"damaged");
    let name = first.file_name().unwrap().to_str().unwrap();
    let said = project.run(&["audit", name, "user"]).failure();
    assert!(said.contains("is not what the run built"), "{said}");
    assert!(audit::of_run(&first).is_empty());
    assert!(!first.join("audits").exists());

    // No run has made it.
    fs_err::remove_dir_all(project.path("cache/runs")).unwrap();
    insta::assert_snapshot!(project.run(&["verify", good.to_str().unwrap()]).failure(), @"
    exit 2: error: no kept run has made hello-1-1.noarch.rpm
      hint: name the folder with its record.json and pristine.lock: --record DIR
      hint: packages of several runs are verified run by run
    ");
    insta::assert_snapshot!(project.run(&["audit"]).failure(), @"
    exit 2: error: there is no run `latest`
      hint: this store keeps none yet: pristine build
    ");
}

#[test]
fn an_interrupted_audit_leaves_nothing_and_drift_is_told_file_by_file() {
    let Some(project) = Project::new() else {
        return;
    };
    let waits = format!(
        "[ -z \"$PRISTINE_AUDIT\" ] || {{ {}; }}",
        wait_for_ever("audit-waits")
    );
    let project = project
        .package("waits", &spec_with("waits", "", "%build", &waits))
        .recipe("[[command]]\nscript = \"cat /proc/sys/kernel/random/uuid > /etc/stamp\"\n");
    project.good(&["build"]);
    interrupted(&project, &["audit"], "audit-waits");
    assert!(!project.run_folder().join("audits").exists());
    assert_eq!(project.rubbish(), Vec::<String>::new());
    let ran = project.run(&["audit", "--without-variation", "environment"]);
    assert_eq!(ran.code, Some(1), "{}", ran.all());
    assert!(ran.out.contains("DRIFT"), "{}", ran.all());
    assert!(ran.out.contains("etc/stamp"), "{}", ran.all());
    let record = newest(&project);
    assert_eq!(record.packages[0].outcome, AuditOutcome::Identical {});
    // Nobody else's files are audited as if they were the run's.
    project.write("recipes/own.toml", "format = 1\n");
    let said = project.run(&["audit"]).failure();
    assert!(
        said.contains("made from another state of the project: not the same are the recipe `own`"),
        "{said}"
    );
}
