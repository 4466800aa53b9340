//! The page of an audit in a real browser.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pristine::compare::{Cause, Comparison, Difference, Evidence, Excerpt, FORMAT, Kind, Verdict};
use pristine::digest::Digest;
use pristine::record::audit::{
    self, ArtefactAudit, AuditOutcome, AuditRecord, Bisection, DeepRecord, EnvironmentAudit,
    PackageAudit, Variation, Varied,
};
use pristine::record::{Ending, HostRecord, How, Means, Undeclared, Unused, UsageRecord, UsedFile};
use pristine::report;
use serde_json::json;

use super::browser::Browser;
use super::pages::check;

const HOSTILE: &str = "<script>alert(1)</script>\u{1b}[31m\u{202e}\"'&/averyveryveryveryveryveryveryveryverylongnamethatnobodywouldgive";

fn difference(place: &[&str], cause: Cause, lines: &str) -> Difference {
    let excerpt = |text: &str| Excerpt {
        hex: text
            .bytes()
            .map(|byte| format!("{byte:02x}"))
            .collect::<Vec<_>>()
            .join(" "),
        text: text.to_owned(),
    };
    Difference {
        place: place.iter().map(|&name| name.to_owned()).collect(),
        kind: Kind::Content,
        evidence: Some(Evidence {
            offset: 12,
            first: excerpt("built on alpha, a host with a long name."),
            second: excerpt("built on omega, a host with a long name."),
            lines: lines.to_owned(),
        }),
        cause,
        because: "the first has its host name `alpha`, the second `omega`".to_owned(),
        remedy: "do not write `hostname` into files".to_owned(),
        origin: String::new(),
    }
}

fn comparison(differences: Vec<Difference>) -> Comparison {
    Comparison {
        format: FORMAT,
        verdict: if differences.is_empty() {
            Verdict::Identical
        } else {
            Verdict::Different
        },
        by_nature: differences.iter().take(1).cloned().collect(),
        differences,
        left_out: 3,
    }
}

fn package(name: &str, outcome: AuditOutcome, differences: Vec<Difference>) -> PackageAudit {
    PackageAudit {
        name: name.to_owned(),
        version: Some("1.0-1".to_owned()),
        outcome,
        varied: vec![Varied {
            variation: Some(Variation::HostName),
            what: "host name".to_owned(),
            first: "alpha".to_owned(),
            second: "omega".to_owned(),
        }],
        not_varied: BTreeMap::new(),
        artefacts: vec![ArtefactAudit {
            path: format!("{name}-1.0-1.x86_64.rpm").into(),
            first: Some(Digest::of(b"1")),
            second: Some(Digest::of(if differences.is_empty() { b"1" } else { b"2" })),
            deep: (!differences.is_empty()).then(|| DeepRecord::Page {
                path: format!("deep/{name}.html").into(),
            }),
            comparison: (!differences.is_empty()).then(|| comparison(differences)),
        }],
        allowed: vec![format!("<b>{name}</b> is known")],
        bisection: Some(Bisection {
            alone: vec![Variation::HostName],
            rebuilds: 4,
            ..Bisection::default()
        }),
        at: 10,
        milliseconds: 2400,
        log: None,
        usage: Some(usage(name)),
    }
}

/// What a package uses of another one without declaring it, and declares without using it.
fn usage(name: &str) -> UsageRecord {
    UsageRecord {
        means: Means::Events,
        gap: None,
        files: 3,
        packages: Vec::new(),
        undeclared: vec![Undeclared {
            package: "zlib1g-dev-1.3-1.x86_64".parse().unwrap(),
            how: How::Opened,
            files: vec![UsedFile {
                path: format!("/usr/include/{name}"),
                how: How::Opened,
                process: Some("cc1".to_owned()),
            }],
            add: "BuildRequires: zlib1g-dev".to_owned(),
            with: None,
            allowed: None,
        }],
        unused: vec![Unused {
            requirement: "flex".to_owned(),
            place: "a.spec:3".to_owned(),
            allowed: None,
        }],
    }
}

fn record(run: &str, packages: Vec<PackageAudit>) -> AuditRecord {
    let environment = EnvironmentAudit {
        first: Digest::of(b"one"),
        second: Digest::of(b"two"),
        first_tree: None,
        second_tree: Digest::of(b"two"),
        comparisons: vec![comparison(vec![difference(
            &["/etc/ld.so.cache"],
            Cause::Unknown,
            "",
        )])],
    };
    AuditRecord {
        format: audit::FORMAT,
        audit: format!("{run}-a"),
        run: run.to_owned(),
        project: "tools".to_owned(),
        tool: "pristine 0.1.0".to_owned(),
        started: "2026-01-03T03:04:05Z".to_owned(),
        ended: "2026-01-03T03:14:06Z".to_owned(),
        ending: Ending::Complete,
        host: HostRecord {
            backend: "native".to_owned(),
            kernel: "6.18.0".to_owned(),
            processors: 2,
            memory: 1 << 30,
            jobs: 1,
        },
        lock: Digest::of(b"lock"),
        environment,
        steps: Vec::new(),
        not_varied: BTreeMap::from([(Variation::Umask, "switched off".to_owned())]),
        packages,
    }
}

/// A store's folder of runs; writes audits into it as the verb does.
struct Audits(tempfile::TempDir);

impl Audits {
    fn add(&self, record: &AuditRecord) -> PathBuf {
        let runs = self.0.path().join("runs");
        let folder = runs
            .join(&record.run)
            .join(audit::AUDITS)
            .join(&record.audit);
        fs_err::create_dir_all(&folder).unwrap();
        record.save(&folder).unwrap();
        let artefacts = record.packages.iter().flat_map(|one| &one.artefacts);
        for view in artefacts.filter_map(|one| one.deep.as_ref()) {
            if let DeepRecord::Page { path } = view {
                let page = folder.join(path);
                fs_err::create_dir_all(page.parent().unwrap()).unwrap();
                fs_err::write(page, "<p>what diffoscope has found").unwrap();
            }
        }
        report::audit(&runs, &folder, record).unwrap();
        folder.join(report::AUDIT)
    }
}

fn mixed(name: &str) -> Vec<PackageAudit> {
    let lines = "@@ -1 +1 @@\n-built on alpha\n+built on omega\n";
    vec![
        package("clean", AuditOutcome::Identical {}, Vec::new()),
        package(
            name,
            AuditOutcome::Differs {},
            vec![
                difference(&["usr/bin/tool", ".rodata"], Cause::HostName, lines),
                difference(
                    &[name, name, name],
                    Cause::EmbeddedTime,
                    &format!("+{name}\n").repeat(30),
                ),
            ],
        ),
        package(
            "broken",
            AuditOutcome::Failed {
                reason: "exit code 1 in %build".to_owned(),
            },
            Vec::new(),
        ),
        package(
            "left",
            AuditOutcome::Skipped {
                because: "it was not built in the run".to_owned(),
            },
            Vec::new(),
        ),
    ]
}

#[test]
fn audits_can_be_read_everywhere_and_nothing_in_them_runs() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let audits = Audits(tempfile::tempdir().unwrap());
    let clean = audits.add(&record(
        "20260101-000000-1",
        vec![package("clean", AuditOutcome::Identical {}, Vec::new())],
    ));
    check(&mut browser, &clean, "audit-clean");
    assert_eq!(
        browser.evaluate("document.querySelector('h1').textContent"),
        json!("the package is reproducible")
    );
    let page = audits.add(&record("20260102-000000-1", mixed(HOSTILE)));
    let text = fs_err::read_to_string(&page).unwrap();
    assert!(text.contains("&lt;script&gt;") && !text.contains(['\u{1b}', '\u{202e}']));
    check(&mut browser, &page, "audit");
    // Folded out, everything is still readable and inside of the screen.
    let folded = text.replace("<details", "<details open");
    fs_err::write(&page, folded).unwrap();
    check(&mut browser, &page, "audit-open");
    let count = |browser: &mut Browser, selector: &str| {
        browser.evaluate(&format!("document.querySelectorAll({selector:?}).length"))
    };
    assert_eq!(count(&mut browser, "#differences article"), json!(2));
    assert_eq!(
        count(
            &mut browser,
            "#differences a[href^='./deep/'], #differences a[href^='deep/']"
        ),
        json!(1)
    );
    assert_eq!(count(&mut browser, "#causes tr"), json!(2));
    assert_eq!(count(&mut browser, "#declared > details"), json!(4));
    assert_eq!(
        count(&mut browser, "#nights rect.built"),
        json!(2),
        "this night and the one before"
    );
    assert_eq!(count(&mut browser, "#packages tbody tr"), json!(4));
    assert_eq!(
        browser.evaluate("document.querySelector('h1').textContent"),
        json!("1 of 3 packages are reproducible")
    );
}
