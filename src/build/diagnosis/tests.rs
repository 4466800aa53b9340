use std::fmt::Write as _;

use super::*;

fn verdict(phase: &str, text: &str, exit: &Exit) -> Verdict {
    diagnose(phase, exit, &mut text.as_bytes()).unwrap()
}

#[test]
fn each_rule_fits_its_example_before_all_others() {
    let rules = Rules::load();
    let mut names = std::collections::BTreeSet::new();
    for rule in rules.all() {
        assert!(
            names.insert(&rule.name),
            "two rules are named {}",
            rule.name
        );
        let found = rules.find(rule.home(), &rule.example);
        let found = found.unwrap_or_else(|| panic!("{} does not fit its example", rule.name));
        assert_eq!(rules.rule(&found).name, rule.name, "{}", rule.example);
        assert!(!found.says.is_empty(), "{}", rule.name);
    }
}

#[test]
fn what_is_no_error_is_not_taken_for_one() {
    let rules = Rules::load();
    for line in [
        "checking for zlib.h... no",
        "gcc -Wall -Werror=format-security -c main.c",
        "PASS: tests/parse.sh",
        "# FAIL:  0",
        "test parser::tests::reads_errors ... ok",
        "-- Could NOT find X11",
        "main.c:3:5: warning: unused variable 'x' [-Wunused-variable]",
        "100% tests passed, 0 tests failed out of 3",
        "ok 3 - dies with error: no such thing",
    ] {
        for phase in ["%prep", "%build", "%check", "packaging"] {
            assert_eq!(rules.find(phase, line), None, "{phase}: {line}");
        }
    }
}

#[test]
fn the_reason_is_in_words() {
    for (phase, text, exit, reason) in [
        (
            "%build",
            "error: Bad exit status from /var/tmp/rpm-tmp.1 (%build)\n\nRPM build errors:\n    Bad exit status from /var/tmp/rpm-tmp.1 (%build)\n",
            Exit::Code(1),
            "%build failed",
        ),
        (
            "rpmbuild",
            "error: Failed build dependencies:\n\tzlib-devel is needed by a-1-1.x86_64\n\tcmake >= 3 is needed by a-1-1.x86_64\n",
            Exit::Code(11),
            "missing: zlib-devel, cmake >= 3",
        ),
        (
            "packaging",
            "RPM build errors:\n    File not found: /builddir/BUILDROOT/usr/bin/x\n",
            Exit::Code(1),
            "File not found: BUILDROOT/usr/bin/x",
        ),
        (
            "packaging",
            "error: Installed (but unpackaged) file(s) found:\n   /a\n   /b\n    Installed (but unpackaged) file(s) found:\n   /a\n   /b\n\nRPM build errors:\n",
            Exit::Code(1),
            "Installed (but unpackaged) file(s) found: /a, /b",
        ),
        (
            "rpmbuild",
            "",
            Exit::Code(3),
            "rpmbuild ended with exit code 3",
        ),
        (
            "%build",
            "",
            Exit::Signal(9),
            "%build was killed by signal 9",
        ),
    ] {
        assert_eq!(verdict(phase, text, &exit).reason, reason);
    }
}

#[test]
fn without_a_rule_the_excerpt_is_the_end() {
    let lines = |text: &str| verdict("%build", text, &Exit::Code(1)).excerpt;
    assert_eq!(lines("one\ntwo"), ["one", "two"]);
    let numbers: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    let end = lines(&format!("{}\n", numbers.join("\n")));
    assert_eq!((end.len(), end.last().unwrap().as_str()), (EXCERPT, "99"));
}

#[test]
fn the_first_error_counts_however_much_follows() {
    let mut text = String::from("cc -c a.c\na.c:1:1: error: first\n  1 | x\n    | ^\n");
    for number in 0..10_000 {
        let _infallible = writeln!(text, "b.c:{number}:1: error: more\nmore {number}");
    }
    text.push_str("make: *** [Makefile:2: all] Error 2\n");
    let verdict = verdict("%build", &text, &Exit::Code(2));
    assert_eq!(verdict.reason, "%build failed: a.c:1:1: first");
    assert_eq!(verdict.class, Class::Compiler);
    assert_eq!(
        verdict.excerpt[..4],
        ["cc -c a.c", "a.c:1:1: error: first", "  1 | x", "    | ^"]
    );
    assert_eq!(verdict.excerpt.len(), EXCERPT);
}

#[test]
fn long_lines_and_colours_do_no_harm() {
    let long = "x".repeat(3 << 20);
    let text = format!(
        "{long}\n\u{1b}[01m\u{1b}[Kmain.c:1:2:\u{1b}[m\u{1b}[K \u{1b}[01;31m\u{1b}[Kerror: \u{1b}[m\u{1b}[Kno"
    );
    let verdict = verdict("%build", &text, &Exit::Code(1));
    assert_eq!(verdict.reason, "%build failed: main.c:1:2: no");
    assert_eq!(verdict.excerpt[0].len(), LONGEST);
}

/// Logs of real builds, and what is said of each, as `failures.txt` has it.
#[test]
fn the_corpus_is_told() {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures");
    let entries = fs_err::read_dir(fixtures.join("failures")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let folder = tempfile::tempdir().unwrap();
    let mut told = String::new();
    for path in files {
        let mut log = crate::build::log::Log::create(&folder.path().join("log")).unwrap();
        log.begin("rpmbuild");
        log.write(&fs_err::read(&path).unwrap());
        let verdict = log.verdict(&Exit::Code(1)).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy();
        let class = serde_json::to_value(verdict.class).unwrap();
        let class = class.as_str().unwrap();
        let phase = verdict.phase.unwrap_or_default();
        let _infallible = writeln!(told, "{name}: {class}, {phase}: {}", verdict.reason);
    }
    let expected = fs_err::read_to_string(fixtures.join("failures.txt")).unwrap();
    assert_eq!(told, expected);
}
