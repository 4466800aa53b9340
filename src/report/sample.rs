//! Records for tests, of this crate's own and those of `tests/it`: a night with everything in it.

// `pristine` is this crate itself for its own tests.

use pristine::digest::Digest;
use pristine::record::{
    Class, Ending, FORMAT, FileRecord, Given, HostRecord, LimitRecord, Outcome, PackageRecord,
    PhaseRecord, Record, Resources, Scope, SourceRecord, StepRecord,
};

fn file(path: &str, content: &str) -> FileRecord {
    FileRecord {
        path: path.into(),
        sha256: Digest::of(content.as_bytes()),
        size: 7,
    }
}

/// A package that was built, by its start and length in milliseconds.
pub(crate) fn built(name: &str, at: u64, milliseconds: u64) -> PackageRecord {
    let phase = |phase: &str, share: u64| PhaseRecord {
        phase: phase.to_owned(),
        milliseconds: milliseconds * share / 10,
    };
    PackageRecord {
        name: name.to_owned(),
        version: Some("1.4-2".to_owned()),
        outcome: Outcome::Built {},
        needs: Vec::new(),
        inputs: vec![
            file(&format!("packages/{name}/{name}.spec"), name),
            file(&format!("{name}-1.4.tar.gz"), name),
        ],
        made_from: None,
        own_packages: Vec::new(),
        outputs: vec![file(&format!("{name}-1.4-2.x86_64.rpm"), name)],
        source_date_epoch: 1,
        at,
        milliseconds,
        phases: vec![phase("%prep", 1), phase("%build", 7), phase("%check", 2)],
        given: Some(Given {
            processors: 2,
            memory: Some(2 << 30),
        }),
        used: Some(Resources {
            user: Some(milliseconds * 15 / 10),
            system: Some(milliseconds / 10),
            memory: Some(300 << 20),
            processes: Some(12),
            read: Some(1 << 20),
            written: Some(70 << 20),
            disk: Some(90 << 20),
        }),
        usage: None,
        log: Some(format!("logs/{name}.log").into()),
    }
}

/// A package that failed.
pub(crate) fn failed(
    name: &str,
    at: u64,
    class: Class,
    reason: &str,
    lines: &[&str],
) -> PackageRecord {
    let mut package = built(name, at, 31_000);
    package.outputs.clear();
    package.outcome = Outcome::Failed {
        reason: reason.to_owned(),
        class,
        phase: Some("%build".to_owned()),
        limit: None,
        excerpt: lines.iter().map(ToString::to_string).collect(),
        kept: Some(format!("failed-{name}")),
    };
    package
}

/// One that was not tried.
pub(crate) fn skipped(name: &str, because: &str) -> PackageRecord {
    let mut package = built(name, 0, 0);
    package.needs = vec![because.to_owned()];
    package.outputs.clear();
    (package.phases, package.given, package.used, package.log) = (Vec::new(), None, None, None);
    package.outcome = Outcome::Skipped {
        because: because.to_owned(),
    };
    package
}

/// A run of these packages.
pub(crate) fn record(run: &str, packages: Vec<PackageRecord>) -> Record {
    let step = |step: &str, result: &str, at, milliseconds| StepRecord {
        step: step.to_owned(),
        result: result.to_owned(),
        at,
        milliseconds,
    };
    Record {
        format: FORMAT,
        run: run.to_owned(),
        project: "tools".to_owned(),
        tool: "pristine 0.1.0".to_owned(),
        started: "2026-01-02T03:04:05Z".to_owned(),
        ended: "2026-01-02T03:07:06Z".to_owned(),
        ending: Ending::Complete,
        scope: Scope::All,
        source: Some(SourceRecord {
            commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
            checkout: Some("https://git.example/tools#main".to_owned()),
            changes: None,
        }),
        host: Some(HostRecord {
            backend: "native".to_owned(),
            kernel: "6.18.0".to_owned(),
            processors: 8,
            memory: 32 << 30,
            jobs: 4,
        }),
        lock: Digest::of(b"lock"),
        base: None,
        environment: Digest::of(b"tree"),
        snapshot: Digest::of(b"image"),
        installed: ["bash-5.2-1.x86_64", "gcc-14.2-1.x86_64"]
            .map(|text| text.parse().unwrap())
            .into(),
        steps: vec![
            step("fetching packages", "212 files", 0, 2100),
            step("creating the environment", "119 packages", 2100, 6900),
        ],
        packages,
    }
}

/// A limit that was met.
pub(crate) fn limit() -> LimitRecord {
    LimitRecord {
        limit: "memory".to_owned(),
        value: 2 << 30,
        peak: Some(2 << 30),
        process: Some("cc1plus".to_owned()),
        counters: [("oom_kill".to_owned(), 3)].into(),
        suggestion: Some("raise `memory` to 3 GiB, or `jobs = 1` would have fitted".to_owned()),
    }
}

/// One failure of every class, what they stopped, and what was built beside them.
pub(crate) fn every_class() -> Record {
    let mut packages = failures();
    packages.insert(0, built("libbase", 9000, 42_000));
    packages.push(skipped("child", "compiles"));
    packages.push(skipped("grandchild", "child"));
    packages.push(built("app", 52_000, 95_000));
    for (package, needs) in [(3, 0), (4, 0), (9, 3), (10, 9), (11, 0)] {
        let needed = packages[needs].name.clone();
        packages[package].needs = vec![needed];
    }
    if let Outcome::Failed { limit: met, .. } = &mut packages[6].outcome {
        *met = Some(limit());
    }
    record("20260102-030405-1", packages)
}

fn failures() -> Vec<PackageRecord> {
    let missing: &[&str] = &[
        "error: Failed build dependencies:",
        "\tpkgconfig(zlib) is needed by needs-more-1.4-2",
    ];
    let wrong: &[&str] = &[
        "main.c:12:5: error: expected ';' before 'return'",
        "   12 |     x = 1",
        "make: *** [main.o] Error 1",
    ];
    let failures: [(&str, u64, Class, &str, &[&str]); 8] = [
        (
            "needs-more",
            9000,
            Class::Dependency,
            "a BuildRequires is missing: pkgconfig(zlib)",
            missing,
        ),
        (
            "patched",
            12_000,
            Class::Sources,
            "%prep failed",
            &["Hunk #1 FAILED at 12."],
        ),
        ("compiles", 51_000, Class::Compiler, "%build failed", wrong),
        (
            "tested",
            51_000,
            Class::Test,
            "%check failed",
            &["FAIL: test_parse (2 of 81)"],
        ),
        (
            "packs",
            60_000,
            Class::Packaging,
            "Installed (but unpackaged) file(s) found: /loose",
            &[],
        ),
        (
            "hungry",
            70_000,
            Class::Limit,
            "out of memory at 2 GiB",
            &["cc1plus invoked oom-killer"],
        ),
        (
            "unlucky",
            80_000,
            Class::Infrastructure,
            "no space left on the store's disk",
            &[],
        ),
        ("odd", 90_000, Class::Other, "exit code 3", &[]),
    ];
    let make = |(name, at, class, reason, lines): (&str, u64, Class, &str, &[&str])| {
        failed(name, at, class, reason, lines)
    };
    failures.into_iter().map(make).collect()
}

/// Strings that a page, a terminal or a CI server must not be driven by, wherever a stranger may put one.
pub(crate) const HOSTILE: &str = "<script>document.title='owned'</script><img src=x onerror=alert(1)>\"'&]]>\x1b[2J\x07\u{202e}gnp\u{0}\u{ffff}\na";

/// A run in which every text is hostile.
pub(crate) fn hostile() -> Record {
    let mut record = every_class();
    HOSTILE.clone_into(&mut record.project);
    record.scope = Scope::Only {
        packages: vec![HOSTILE.to_owned()],
    };
    HOSTILE.clone_into(&mut record.steps[0].step);
    HOSTILE.clone_into(&mut record.steps[0].result);
    if let Some(source) = &mut record.source {
        HOSTILE.clone_into(&mut source.commit);
        source.checkout = Some(HOSTILE.to_owned());
    }
    for (number, package) in record.packages.iter_mut().enumerate() {
        package.name = format!("{}{HOSTILE}{number}", package.name);
        package.version = Some(HOSTILE.to_owned());
        package.log = Some(format!("../javascript:{HOSTILE}").into());
        if let Outcome::Failed {
            reason,
            excerpt,
            phase,
            kept,
            limit,
            ..
        } = &mut package.outcome
        {
            (*reason, *phase, *kept) = (
                HOSTILE.to_owned(),
                Some(HOSTILE.to_owned()),
                Some(HOSTILE.to_owned()),
            );
            *excerpt = vec![HOSTILE.to_owned(), "x".repeat(3000)];
            if let Some(limit) = limit {
                limit.process = Some(HOSTILE.to_owned());
                limit.suggestion = Some(HOSTILE.to_owned());
            }
        }
    }
    record
}
