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

/// Logs of real builds, and what is said of each.
#[test]
fn the_corpus_is_told() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fixtures/failures");
    let mut files: Vec<_> = fs_err::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut told = String::new();
    for path in files {
        let mut log =
            crate::build::log::Log::create(&tempfile::tempdir().unwrap().keep().join("log"))
                .unwrap();
        log.begin("rpmbuild");
        log.write(&fs_err::read(&path).unwrap());
        let verdict = log.verdict(&Exit::Code(1)).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let phase = verdict.phase.unwrap_or_default();
        let class = serde_json::to_value(verdict.class).unwrap();
        let class = class.as_str().unwrap();
        let _infallible = writeln!(told, "{name}: {class}, {phase}: {}", verdict.reason);
    }
    insta::assert_snapshot!(told, @r#"
    arch-in-noarch: packaging, packaging: Arch dependent binaries in noarch package
    archive-damaged: sources, %prep: %prep failed: an archive cannot be unpacked: stdin: not in gzip format
    archive-folder: sources, %prep: %prep failed: the archive has no folder `archive-folder-1`: see `%setup -n`
    autoconf-macro: dependency, %build: %build failed: autoconf macro `AC_PROG_LIBTOOL` is missing
    automake-check: test, %check: %check failed: test `bad.sh` failed
    buildroot-path: packaging, %install: %install failed: files name the build root `BUILD/buildroot-path-1-build/BUILDROOT`
    cargo-crate: dependency, %build: %build failed: crate `serde` is missing: vendor it as a source, since builds have no network
    cargo-error: compiler, %build: %build failed: cannot find value `y` in this scope (E0425)
    cargo-test: test, %check: %check failed: test `adds` failed
    cmake-compile: compiler, %build: %build failed: BUILD/cmake-compile-1-build/a.c:1:25: 'nothing' undeclared (first use in this function)
    cmake-module: dependency, %build: %build failed: CMake package `ZLIB` is missing
    cmake-package: dependency, %build: %build failed: CMake package `Qt6` is missing
    configure-library: dependency, %build: %build failed: configure: zlib was not found
    configure-tool: dependency, %build: %build failed: configure: bison is required to build tool
    ctest: test, %check: %check failed: test `parses` failed: Failed
    disk-full: infrastructure, %build: %build failed: no space was left on the disk
    file-missing: packaging, packaging: File not found: BUILD/file-missing-1-build/BUILDROOT/usr/bin/nothing
    g++-template: compiler, %build: %build failed: /usr/include/c++/14/bits/predefined_ops.h:45:23: no match for 'operator<' (operand types are 'S' and 'S')
    gcc-error: compiler, %build: %build failed: a.c:4:20: 'missing_name' undeclared (first use in this function)
    gcc-keep-going: compiler, %build: %build failed: a.c:1:25: 'x' undeclared (first use in this function)
    go-error: compiler, %build: %build failed: main.go:6:14: undefined: missing
    go-module: dependency, %build: %build failed: Go module `rsc.io/quote` is missing: vendor it as a source, since builds have no network
    go-test: test, %check: %check failed: test `TestSum` failed
    install-missing: packaging, %install: %install failed: cannot stat 'tool': No such file or directory
    killed-compiler: infrastructure, %build: %build failed: `cc1` was killed from outside: was the machine short of memory?
    ld-library: dependency, %build: %build failed: library `ssl` is missing
    ld-undefined: compiler, %build: %build failed: cannot link: undefined reference to `compress_it`
    listed-twice: packaging, packaging: File listed twice: /usr/share/listed-twice/text
    make-no-rule: other, %build: %build failed: make: No targets specified and no makefile found
    make-program: dependency, %build: %build failed: program `bison` is missing
    make-target: other, %build: %build failed: make: No rule to make target 'missing.h', needed by 'all'
    meson-dependency: dependency, %build: %build failed: `glib-2.0` is missing
    meson-test: test, %check: %check failed: test `parses` failed
    missing-header: dependency, %build: %build failed: header `zlib.h` is missing
    missing-program: dependency, %build: %build failed: program `asciidoctor` is missing
    network: dependency, %build: %build failed: it asked the network, and builds have none: make what it fetches a source
    ninja-compile: compiler, %build: %build failed: ../a.c:1:25: 'nothing' undeclared (first use in this function)
    patch-fails: sources, %prep: %prep failed: a patch does not apply: 1 out of 1 hunk FAILED
    patch-no-file: sources, %prep: %prep failed: a patch does not apply: 1 out of 1 hunk ignored
    perl-module: dependency, %build: %build failed: Perl module `Module::Install::Nothing` is missing
    perl-test: test, %check: %check failed: test `t/basic.t` failed
    pkg-config: dependency, %build: %build failed: pkg-config module `libcurl` is missing
    pytest: test, %check: %check failed: test `test_math.py::test_sum` failed
    python-module: dependency, %build: %build failed: Python module `setuptools_scm` is missing
    python-traceback: other, %build: %build failed: FileNotFoundError: [Errno 2] No such file or directory: 'schema.json'
    silent-exit: other, %build: %build failed
    source-checksum: sources, %prep: %prep failed: a checksum does not match: data.txt
    tap-assert: test, %check: %check failed: Assertion `1 + 1 == 3' failed.
    unittest: test, %check: %check failed: test `test_sum` of `test_math.Sums.test_sum` failed
    unpackaged: packaging, packaging: Installed (but unpackaged) file(s) found: /usr/bin/tool, /usr/share/loose
    "#);
}
