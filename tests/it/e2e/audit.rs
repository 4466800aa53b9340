//! The audit: planted defects are named with their causes, clean packages are left alone, and what was shipped is verified.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pristine::cancel::Cancel;
use pristine::compare::{DeepView, Diffoscope};
use pristine::record::audit::{self, AuditOutcome, AuditRecord, Variation};

use super::interrupt::{interrupted, wait_for_ever};
use super::project::{Project, spec, spec_with};
use crate::conformance::skip;
use crate::support::engine::engine;

/// Packages with one defect each: name, the script whose output they ship, the cause that the audit must name.
const PLANTED: [(&str, &str, &str); 13] = [
    ("time", "date -u +%s", "embedded-time"),
    // Within one day only a calendar that is ahead shows it.
    ("date", "echo built on $(date -u +%F)", "embedded-time"),
    ("zone", "date -d @86400", "time-zone"),
    ("host", "uname -n", "host-name"),
    ("user", "id -un", "user"),
    ("locale", "echo \"built in ${LC_ALL:-C.UTF-8}\"", "locale"),
    (
        "sorted",
        "printf '%%s\\n' pear Apple banana Cherry _plum Date | sort",
        "locale",
    ),
    (
        "order",
        "cd %{_builddir}; mkdir listed; for n in a b c d e f g h i j k l m; do : > listed/$n.c; done; ls -U listed",
        "directory-order",
    ),
    // Where there is one processor, none can be taken away: what the build is told is another all the same.
    (
        "parallel",
        "echo jobs: $(nproc) %{_smp_mflags}",
        "parallelism",
    ),
    ("random", "cat /proc/sys/kernel/random/uuid", "random"),
    ("kernel", "uname -r", "kernel"),
    ("variable", "echo \"build ${BUILD_NUMBER:-0}\"", "variable"),
    // rpmbuild sets the umask of every section; what macros run has that of rpmbuild itself.
    ("umask", "echo made with %(umask)", "umask"),
];

/// A locale that sorts by letters, as the distribution's own tool makes it.
const LOCALE: &str = "packages = [\"locales\"]\n\n[[command]]\n\
    run = [\"localedef\", \"-i\", \"et_EE\", \"-f\", \"UTF-8\", \"et_EE.UTF-8\"]\n";

/// Ships memory that was never written: what an earlier function has left there.
const UNWRITTEN: &str = r"cd %{_builddir}
cat > dump.c <<'EOF'
#include <unistd.h>
static void earlier(void) { void *here[8]; for (int i = 0; i < 8; i++) here[i] = &here[i]; (void)*(void *volatile *)here; }
static int ships(void) { char never[64]; return write(1, never, 32) != 32; }
int main(void) { earlier(); return ships(); }
EOF
gcc -O0 -w dump.c -o dump
./dump > %{buildroot}/usr/share/unwritten/text
";

/// A package that ships what a script prints.
fn planted(name: &str, script: &str) -> String {
    let ships = format!("echo {name} > ");
    spec(name, "").replace(&ships, &format!("( {script} ) > "))
}

/// The same with a script after its file was made.
fn then(name: &str, more: &str, script: &str) -> String {
    spec(name, more).replace("\n\n%files", &format!("\n{script}\n\n%files"))
}

/// A package whose file has the mode that the umask gives it.
fn masked() -> String {
    planted("masked", "echo x").replace("%files", "%files\n%defattr(-,root,root,-)")
}

fn project() -> Option<Project> {
    let mut project = Project::new()?.recipe(LOCALE);
    for (name, script, _) in PLANTED {
        project = project.package(name, &planted(name, script));
    }
    let fails = "test -z \"$BUILD_NUMBER\"";
    let mode = "chmod $(printf %%o $(( 0666 & ~ %(umask) ))) %{buildroot}/usr/share/modes/text";
    let compiler = "BuildRequires: gcc\nBuildRequires: libc6-dev";
    Some(
        project
            .package("path", &planted("path", "cd %{_builddir}; pwd"))
            .package("masked", &masked())
            .package("modes", &then("modes", "", mode))
            .package("unwritten", &then("unwritten", compiler, UNWRITTEN))
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
    let mut found = found(&record);
    // What lies between the addresses is not always to be told.
    let unwritten = found.remove("unwritten").unwrap();
    assert!(unwritten.starts_with("differs random"), "{unwritten}");
    let mut expected: BTreeMap<String, String> = PLANTED
        .into_iter()
        .map(|(name, _, cause)| (name.to_owned(), format!("differs {cause}")))
        .collect();
    for (name, words) in [
        // rpmbuild sets the umask of every section itself.
        ("masked", "identical"),
        ("modes", "differs umask"),
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
        "date",
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
        ("date", "time"),
        ("fails", "environment"),
        ("host", "host-name"),
        ("kernel", "kernel"),
        ("random", "nothing"),
    ];
    assert_eq!(bisected, words(expected));
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
    allowed(&project);
    looked_at_deeply(&project);
    assert_eq!(project.rubbish(), Vec::<String>::new());
}

/// The words of `found` for these packages.
fn words<const N: usize>(expected: [(&str, &str); N]) -> BTreeMap<String, String> {
    expected
        .map(|(name, words)| (name.to_owned(), words.to_owned()))
        .into()
}

#[test]
fn an_audit_in_docker_says_the_same() {
    let (Some(mut project), Some(engine)) = (Project::hello(), engine()) else {
        return;
    };
    let planted_ones = ["time", "zone", "host", "kernel", "random"];
    for (name, script, _) in PLANTED {
        if planted_ones.contains(&name) {
            project = project.package(name, &planted(name, script));
        }
    }
    let docker = |verb| {
        project
            .spawn(project.docker(&engine.host(), &[verb]))
            .wait()
    };
    let ran = docker("build");
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    let ran = docker("audit");
    assert_eq!(ran.code, Some(1), "{}", ran.all());
    let record = newest(&project);
    assert!(record.environment.is_same());
    let expected = words([
        ("hello", "identical"),
        ("host", "differs host-name"),
        ("kernel", "differs kernel"),
        ("random", "differs random"),
        ("time", "differs embedded-time"),
        ("zone", "differs time-zone"),
    ]);
    assert_eq!(found(&record), expected, "{}", ran.all());
}

#[test]
fn a_run_that_took_packages_from_another_is_audited_as_a_whole() {
    let Some(project) = Project::hello() else {
        return;
    };
    let project = project
        .package("user", &spec("user", "BuildRequires: hello"))
        .package("host", &planted("host", "uname -n"));
    project.good(&["build"]);
    let before = project.record().run;
    project.edit("packages/user/user.spec", "echo user >", "echo other >");
    project.good(&["build", "--since", "latest"]);
    let [hello, host] = ["hello", "host"].map(|name| format!("{name}: as in run {before}"));
    assert_eq!(project.outcomes(), [&*hello, &*host, "user: built"]);
    let ran = project.run(&["audit"]);
    assert_eq!(ran.code, Some(1), "{}", ran.all());
    let expected = words([
        ("hello", "identical"),
        ("host", "differs host-name"),
        ("user", "identical"),
    ]);
    assert_eq!(found(&newest(&project)), expected, "{}", ran.all());
}

/// What the project file allows is no failure; what it does not name is one.
fn allowed(project: &Project) {
    let text = project.read("pristine.toml");
    let table = "[audit]\nwithout = [\"user\"]\n\
        allow = [{ cause = \"random\", packages = [\"random\"], reason = \"an id of its own\" }]\n";
    project.write("pristine.toml", format!("{text}{table}"));
    let ran = project.good(&["audit", "latest", "random", "user"]);
    assert!(
        ran.out.contains("1 may differ as it does") && ran.out.contains("it may: an id of its own"),
        "{}",
        ran.all()
    );
    let record = newest(project);
    assert_eq!(record.packages[0].allowed, ["an id of its own"]);
    assert_eq!(
        record.not_varied[&Variation::User],
        "switched off in pristine.toml"
    );
    let ran = project.run(&[
        "audit",
        "latest",
        "random",
        "user",
        "--with-variation",
        "user",
    ]);
    assert_eq!(ran.code, Some(1), "{}", ran.all());
    project.write("pristine.toml", text);
}

/// diffoscope's pages lie beside the report, which leads to them; without it all else is the same.
fn looked_at_deeply(project: &Project) {
    let page = "deep/host-1-1.noarch.rpm.html";
    let audit = ["audit", "latest", "host", "clean", "--deep"];
    if Diffoscope::find().is_none() {
        skip("diffoscope is not installed");
        return;
    }
    let ran = project.run(&audit);
    assert_eq!(ran.code, Some(1), "{}", ran.all());
    let record = newest(project);
    let folder = project.run_folder().join(audit::AUDITS).join(&record.audit);
    let text = fs_err::read_to_string(folder.join(page)).unwrap();
    assert!(text.contains("host-1-1.noarch.rpm"));
    let report = fs_err::read_to_string(folder.join(pristine::report::AUDIT)).unwrap();
    assert!(report.contains(&format!("href=\"./{page}\"")));
    assert!(
        ran.out.contains(&format!(
            "deep view: {}",
            project.plain(folder.join(page).to_str().unwrap())
        )),
        "{}",
        ran.all()
    );
}

#[test]
fn a_deep_view_ends_in_its_time_and_leaves_nothing_where_it_does_not_come_to_its_end() {
    let Some(diffoscope) = Diffoscope::find() else {
        skip("diffoscope is not installed");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs_err::write(&path, text).unwrap();
        path
    };
    let (first, second) = (file("first", "one\n"), file("second", "two\n"));
    let page = folder.path().join("page.html");
    let cancel = Cancel::new().unwrap();
    let look = |files: (&Path, &Path), seconds: u64| {
        let temporary = tempfile::tempdir().unwrap();
        let bounds = (temporary.path(), Duration::from_secs(seconds));
        diffoscope.look(files, &page, bounds, &cancel).unwrap()
    };
    assert_eq!(look((&first, &second), 240), DeepView::Page);
    assert!(fs_err::read_to_string(&page).unwrap().contains("two"));
    fs_err::remove_file(&page).unwrap();
    let nothing = |text: &str| DeepView::Nothing(text.to_owned());
    assert_eq!(
        look((&first, &second), 0),
        nothing("diffoscope had not ended after 0 s")
    );
    assert_eq!(
        look((&first, &first), 240),
        nothing("diffoscope finds no difference")
    );
    let missing = folder.path().join("missing");
    let DeepView::Nothing(why) = look((&first, &missing), 240) else {
        panic!("a page about nothing");
    };
    assert!(why.starts_with("diffoscope: "), "{why}");
    assert!(!page.exists());
    // Ctrl-C ends it at once, whatever time it has.
    cancel.cancel();
    assert_eq!(
        look((&first, &second), 240),
        nothing("diffoscope had not ended after 240 s")
    );
    assert!(!page.exists());
}

/// All programs of `PATH` but one, as links in a new folder.
fn path_without(program: &str, folder: &Path) -> PathBuf {
    fs_err::create_dir(folder).unwrap();
    for place in std::env::split_paths(&std::env::var_os("PATH").unwrap()) {
        for entry in fs_err::read_dir(place).into_iter().flatten().flatten() {
            let link = folder.join(entry.file_name());
            if entry.file_name() != program && !link.exists() {
                // Some place before has one of that name that leads nowhere.
                let _there = std::os::unix::fs::symlink(entry.path(), link);
            }
        }
    }
    folder.to_owned()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one run, seen from all sides")]
fn what_was_shipped_is_verified_from_its_record() {
    let Some(project) = Project::hello() else {
        return;
    };
    let project = project.package("user", &spec("user", "BuildRequires: hello"));
    // As a compiler signs what it makes.
    let signed = |version: &str| format!("echo 'GCC: (mini {version}) {version}' >");
    let hello = "packages/hello/hello.spec";
    project.edit(hello, "echo hello >", &signed("14.2.0"));
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
    project.edit(hello, &signed("14.2.0"), &signed("12.2.0"));
    project.good(&["build"]);
    let other = shipped("hello-1-1.noarch.rpm");
    let record = first.join("record.json");
    let mut command = project.command(&[
        "verify",
        other.to_str().unwrap(),
        "--record",
        record.to_str().unwrap(),
        "--deep",
        project.path("pages").to_str().unwrap(),
    ]);
    // That diffoscope is missing is said, and all else goes on.
    command.env(
        "PATH",
        path_without("diffoscope", &project.path("programs")),
    );
    let ran = project.spawn(command).wait();
    assert_eq!(ran.code, Some(1), "{}", ran.all());
    assert!(ran.out.contains("DIFF"), "{}", ran.all());
    assert!(ran.out.contains("usr/share/hello/text"), "{}", ran.all());
    assert!(ran.out.contains("toolchain difference"), "{}", ran.all());
    let note = "diffoscope is not installed, and so there are no deep views";
    assert!(ran.all().contains(note), "{}", ran.all());

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
