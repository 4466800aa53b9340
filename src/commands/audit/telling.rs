//! An audit for the terminal: each package in a line, and what differs with its cause, its evidence and what mends it.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::commands::tables;
use crate::compare::{Comparison, Difference, Evidence};
use crate::record::audit::{
    AuditOutcome, AuditRecord, Bisection, DeepRecord, PackageAudit, Variation,
};
use crate::ui::seconds;
use crate::words::clean;

/// Differences that are told of one package file; the file has them all.
const TOLD: usize = 8;

/// The whole of it.
pub(super) fn audit(folder: &Path, record: &AuditRecord) -> String {
    let mut out = String::new();
    line(&mut out, &heading(record));
    environment(&mut out, record);
    for package in &record.packages {
        details(&mut out, folder, package);
    }
    let _infallible = write!(out, "\n{}\n", table(record));
    for (variation, why) in &record.not_varied {
        line(
            &mut out,
            &format!("not varied: {variation} ({})", clean(why, false)),
        );
    }
    let _infallible = write!(
        out,
        "\n{}",
        folder.join(crate::record::audit::FILE_NAME).display()
    );
    out
}

fn line(out: &mut String, text: &str) {
    let _infallible = writeln!(out, "{text}");
}

fn heading(record: &AuditRecord) -> String {
    let count = |word: &str| {
        let packages = record.packages.iter();
        packages
            .filter(|package| package.outcome.word() == word)
            .count()
    };
    let all = record.packages.len();
    let mut parts = vec![format!("{} of {all} reproducible", count("identical"))];
    for (word, told) in [
        ("differs", "differ"),
        ("failed", "failed"),
        ("skipped", "skipped"),
    ] {
        if count(word) > 0 {
            parts.push(format!("{} {told}", count(word)));
        }
    }
    let allowed = record.packages.iter().filter(|one| !one.allowed.is_empty());
    match allowed.count() {
        0 => {}
        1 => parts.push("1 may differ as it does".to_owned()),
        more => parts.push(format!("{more} may differ as they do")),
    }
    format!(
        "{}: {}\nrun {}",
        clean(&record.project, false),
        parts.join(", "),
        clean(&record.run, false)
    )
}

fn environment(out: &mut String, record: &AuditRecord) {
    let environment = &record.environment;
    if environment.is_same() {
        let digest = environment.second_tree.short();
        line(
            out,
            &format!("the second environment is the same, {digest}"),
        );
        return;
    }
    line(
        out,
        &format!(
            "\nDRIFT the second environment is not the first: {} -> {}",
            environment.first_tree.unwrap_or(environment.first).short(),
            environment.second_tree.short()
        ),
    );
    if environment.comparisons.is_empty() {
        line(
            out,
            "     the run's snapshot is not kept any more: nothing tells which files",
        );
    }
    for comparison in &environment.comparisons {
        out.push_str(&differences(comparison));
    }
}

fn details(out: &mut String, folder: &Path, package: &PackageAudit) {
    let name = clean(&package.name, false);
    match &package.outcome {
        AuditOutcome::Failed { reason } => {
            line(
                out,
                &format!(
                    "\nFAIL {name}: it does not build again: {}",
                    clean(reason, false)
                ),
            );
            bisection(out, package.bisection.as_ref());
        }
        AuditOutcome::Differs {} => {
            line(out, &format!("\nDIFF {name}: {}", causes(package)));
            for reason in &package.allowed {
                line(out, &format!("     it may: {}", clean(reason, false)));
            }
            bisection(out, package.bisection.as_ref());
            for artefact in package.artefacts.iter().filter(|one| !one.is_identical()) {
                let path = clean(&artefact.path.display().to_string(), false);
                match (&artefact.first, &artefact.second, &artefact.comparison) {
                    (None, ..) => line(out, &format!("  {path}: only the second build made it")),
                    (_, None, _) => {
                        line(out, &format!("  {path}: the second build did not make it"));
                    }
                    (.., None) => {
                        line(out, &format!("  {path}: the run does not keep it any more"));
                    }
                    (.., Some(comparison)) => {
                        line(out, &format!("  {path}"));
                        out.push_str(&differences(comparison));
                    }
                }
                if let Some(view) = &artefact.deep {
                    line(out, &deep_view(folder, view));
                }
            }
        }
        AuditOutcome::Identical {}
        | AuditOutcome::Skipped { .. }
        | AuditOutcome::Interrupted {} => {}
    }
}

/// Where diffoscope's page is, or why there is none, in a line.
pub(in crate::commands) fn deep_view(folder: &Path, view: &DeepRecord) -> String {
    match view {
        DeepRecord::Page { path } => format!("     deep view: {}", folder.join(path).display()),
        DeepRecord::Nothing { because } => format!("     no deep view: {}", clean(because, false)),
    }
}

fn bisection(out: &mut String, bisection: Option<&Bisection>) {
    let Some(found) = bisection else {
        return;
    };
    let names = |all: &[Variation]| {
        all.iter()
            .map(|one| one.name())
            .collect::<Vec<_>>()
            .join(", ")
    };
    if found.unvaried {
        line(out, "     it does so with nothing varied but the time");
    }
    if !found.alone.is_empty() {
        line(
            out,
            &format!("     found by rebuilding: {}", names(&found.alone)),
        );
    }
    for together in &found.together {
        line(
            out,
            &format!(
                "     found by rebuilding: only together, {}",
                names(together)
            ),
        );
    }
}

/// What differs in one file, for the terminal.
pub(in crate::commands) fn differences(comparison: &Comparison) -> String {
    let mut out = String::new();
    for difference in comparison.differences.iter().take(TOLD) {
        tell(&mut out, difference);
    }
    let listed = comparison.differences.len() as u64;
    let more = listed.saturating_sub(TOLD as u64) + comparison.left_out;
    if more > 0 {
        line(&mut out, &format!("     and {more} more"));
    }
    out
}

fn tell(out: &mut String, difference: &Difference) {
    let place = difference.place.join(" > ");
    line(
        out,
        &format!("     {} {}", clean(&place, false), difference.kind.words()),
    );
    line(
        out,
        &format!(
            "       cause: {}, {}",
            difference.cause.words(),
            clean(&difference.because, false)
        ),
    );
    if !difference.origin.is_empty() {
        line(
            out,
            &format!("       from: {}", clean(&difference.origin, false)),
        );
    }
    if let Some(evidence) = &difference.evidence {
        tell_evidence(out, evidence);
    }
    if !difference.remedy.is_empty() {
        line(
            out,
            &format!("       remedy: {}", clean(&difference.remedy, false)),
        );
    }
}

fn tell_evidence(out: &mut String, evidence: &Evidence) {
    if !evidence.lines.is_empty() {
        for text in evidence.lines.lines().take(TOLD) {
            line(out, &format!("       | {}", clean(text, false)));
        }
        return;
    }
    for (which, excerpt) in [("first ", &evidence.first), ("second", &evidence.second)] {
        let at = if excerpt.hex.is_empty() {
            String::new()
        } else {
            format!(" at {}", evidence.offset)
        };
        line(
            out,
            &format!("       {which}{at}: {}", clean(&excerpt.text, false)),
        );
        if !excerpt.hex.is_empty() {
            line(out, &format!("         {}", excerpt.hex));
        }
    }
}

/// The causes of a package in words, the most frequent first.
fn causes(package: &PackageAudit) -> String {
    let mut named: Vec<&str> = Vec::new();
    let comparisons = package
        .artefacts
        .iter()
        .filter_map(|one| one.comparison.as_ref());
    for (cause, _) in comparisons.flat_map(Comparison::causes) {
        if !named.contains(&cause.words()) {
            named.push(cause.words());
        }
    }
    if named.is_empty() {
        "other files".to_owned()
    } else {
        named.join(", ")
    }
}

fn table(record: &AuditRecord) -> String {
    let mut table = tables::plain(["package", "version", "outcome", "time", "why"]);
    for package in &record.packages {
        let time = Duration::from_millis(package.milliseconds);
        let why = match &package.outcome {
            AuditOutcome::Failed { reason } => reason.clone(),
            AuditOutcome::Differs {} if package.allowed.is_empty() => causes(package),
            AuditOutcome::Differs {} => format!("{} (allowed)", causes(package)),
            AuditOutcome::Skipped { because } => because.clone(),
            AuditOutcome::Identical {} | AuditOutcome::Interrupted {} => String::new(),
        };
        table.add_row([
            clean(&package.name, false),
            clean(package.version.as_deref().unwrap_or_default(), false),
            package.outcome.word().to_owned(),
            if package.milliseconds > 0 {
                seconds(time)
            } else {
                String::new()
            },
            clean(&why, false),
        ]);
    }
    tables::text(&mut table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Cause, Excerpt, Kind, Verdict};
    use crate::record::audit::sample;

    fn differing() -> AuditRecord {
        let mut record = sample::example();
        let excerpt = |hex: &str, text: &str| Excerpt {
            hex: hex.to_owned(),
            text: text.to_owned(),
        };
        record.packages[0].artefacts[0].comparison = Some(Comparison {
            verdict: Verdict::Different,
            differences: vec![Difference {
                place: vec!["usr/share/a/text\u{1b}[31m".to_owned()],
                kind: Kind::Content,
                evidence: Some(Evidence {
                    offset: 3,
                    first: excerpt("70 72", "pr"),
                    second: excerpt("61 75", "au"),
                    lines: String::new(),
                }),
                cause: Cause::HostName,
                because: "the first has its host name `pristine`, the second `auditor`".to_owned(),
                remedy: "do not write it".to_owned(),
                origin: String::new(),
            }],
            ..Comparison::identical()
        });
        record
    }

    #[test]
    fn what_differs_is_told_with_cause_evidence_and_remedy() {
        let mut record = differing();
        insta::assert_snapshot!(audit(Path::new("AUDIT"), &record), @"
        p: 0 of 1 reproducible, 1 differ
        run 20260102-030405-1
        the second environment is the same, 5ef5ef0364b6

        DIFF a: host name
             found by rebuilding: host-name
          a-1-1.x86_64.rpm
             usr/share/a/text has other content
               cause: host name, the first has its host name `pristine`, the second `auditor`
               first  at 3: pr
                 70 72
               second at 3: au
                 61 75
               remedy: do not write it

        package  version  outcome  time    why
        a                 differs  0.01 s  host name
        not varied: umask (switched off)

        AUDIT/audit.json
        ");
        record.packages[0].allowed = vec!["its host is known".to_owned()];
        record.packages[0].artefacts[0].deep = Some(DeepRecord::Page {
            path: "deep/a.html".into(),
        });
        let told = audit(Path::new("AUDIT"), &record);
        for line in [
            "p: 0 of 1 reproducible, 1 differ, 1 may differ as it does\n",
            "     it may: its host is known\n",
            "     deep view: AUDIT/deep/a.html\n",
            "host name (allowed)\n",
        ] {
            assert!(told.contains(line), "{line}: {told}");
        }
        record.packages[0].allowed.clear();
        record.packages[0].outcome = AuditOutcome::Failed {
            reason: "%check failed".to_owned(),
        };
        record.environment.second_tree = crate::digest::Digest::of(b"other");
        record.environment.first_tree = Some(crate::digest::Digest::of(b"tree"));
        insta::assert_snapshot!(audit(Path::new("AUDIT"), &record), @"
        p: 0 of 1 reproducible, 1 failed
        run 20260102-030405-1

        DRIFT the second environment is not the first: dc9c5edb8b2d -> d9298a10d1b0
             the run's snapshot is not kept any more: nothing tells which files

        FAIL a: it does not build again: %check failed
             found by rebuilding: host-name

        package  version  outcome  time    why
        a                 failed   0.01 s  %check failed
        not varied: umask (switched off)

        AUDIT/audit.json
        ");
    }
}
