//! `pristine diff`: what differs between two runs, or two locks.

use std::fmt::Write as _;

use crate::commands::context::Context;
use crate::commands::runs::to_json;
use crate::commands::{kept, tables};
use crate::error::Failure;
use crate::report::{Comparison, Difference, OutcomeChange, RpmChange};
use crate::words::clean;

pub(super) fn run(
    context: &Context<'_>,
    (old, new): (&str, &str),
    json: bool,
) -> Result<u8, Failure> {
    let (old, new) = (kept::side(context, old)?, kept::side(context, new)?);
    let comparison = Comparison::new(&old, &new);
    if json {
        context.ui.result(&to_json(&comparison)?);
    } else {
        context.ui.result(&text(&comparison));
    }
    for side in [&old, &new] {
        if side.lock.is_none() {
            context.ui.note(&format!(
                "the run {} kept no lock: configuration, recipe and tools were not compared",
                side.name
            ));
        }
    }
    Ok(0)
}

/// For a terminal: a section for each kind of difference.
fn text(comparison: &Comparison) -> String {
    let sides = [&comparison.from, &comparison.to].map(|side| clean(side, false));
    let mut out = sides.join(" -> ") + "\n";
    if comparison.is_empty() {
        return out + "nothing differs";
    }
    section(
        &mut out,
        "outcomes",
        comparison.outcomes.iter().map(outcome),
    );
    let packages = comparison.packages.iter();
    let packages = packages.map(|one| {
        [
            one.change.to_owned(),
            one.package.clone(),
            arrow(one.from.as_deref(), one.to.as_deref()),
        ]
    });
    section(&mut out, "packages", packages);
    let sources = comparison.sources.iter();
    let sources = sources.map(|one| [one.change.to_owned(), one.package.clone(), one.file.clone()]);
    section(&mut out, "specs and sources", sources);
    section(
        &mut out,
        "environment",
        comparison.environment.iter().map(rpm),
    );
    section(&mut out, "recipe", comparison.recipe.iter().map(other));
    section(
        &mut out,
        "configuration",
        comparison.configuration.iter().map(other),
    );
    out.trim_end().to_owned()
}

fn outcome(one: &OutcomeChange) -> [String; 3] {
    let word = if one.good { "mended" } else { "broken" };
    let both = format!("{} -> {}", one.from, one.to);
    [word.to_owned(), one.package.clone(), both]
}

fn rpm(one: &RpmChange) -> [String; 3] {
    let tools = if one.tools { " (tools)" } else { "" };
    let versions = arrow(one.from.as_deref(), one.to.as_deref()) + tools;
    [one.change.to_owned(), one.name.clone(), versions]
}

fn other(one: &Difference) -> [String; 3] {
    let word = match (&one.from, &one.to) {
        (None, _) => "added",
        (_, None) => "removed",
        _ => "changed",
    };
    [
        word.to_owned(),
        one.what.clone(),
        arrow(one.from.as_deref(), one.to.as_deref()),
    ]
}

fn arrow(from: Option<&str>, to: Option<&str>) -> String {
    let both: Vec<&str> = [from, to].into_iter().flatten().collect();
    both.join(" -> ")
}

fn section(out: &mut String, title: &str, rows: impl Iterator<Item = [String; 3]>) {
    let mut table = tables::bare();
    for row in rows {
        table.add_row(row.map(|cell| clean(&cell, false)));
    }
    if !table.is_empty() {
        let indented = tables::text(&mut table)
            .lines()
            .fold(String::new(), |text, line| text + "  " + line + "\n");
        let _infallible = write!(out, "\n{title}\n{indented}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::documents::lock::sample as locks;
    use crate::record::{FileRecord, Outcome};
    use crate::report::{Side, sample};

    #[test]
    fn two_runs_differ_in_sections() {
        let mut old = sample::every_class();
        "20260101-000000-1".clone_into(&mut old.run);
        old.packages[0].outcome = Outcome::Interrupted {};
        old.packages[11].version = Some("1.3-1".to_owned());
        old.packages[1].inputs[0].sha256 = Digest::of(b"older");
        old.packages[1].inputs.pop();
        let gone = FileRecord {
            path: "gone.patch".into(),
            ..old.packages[1].inputs[0].clone()
        };
        old.packages[1].inputs.push(gone);
        old.packages.pop();
        if let Some(source) = &mut old.source {
            "fedcba9876543210".clone_into(&mut source.commit);
        }
        if let Some(host) = &mut old.host {
            host.processors = 4;
        }
        let mut new_lock = locks::lock();
        new_lock.environment.rpms[0] = locks::rpm("bash-5.3-1.x86_64", "bash");
        new_lock.tools.only.pop();
        new_lock.inputs.recipe = None;
        new_lock.inputs.requests.push("more".to_owned());
        new_lock.repositories[0].revision = "1700000001".to_owned();
        let old = Side {
            name: old.run.clone(),
            record: Some(old),
            lock: Some(locks::lock()),
        };
        let new = sample::every_class();
        let new = Side {
            name: new.run.clone(),
            record: Some(new),
            lock: Some(new_lock),
        };
        insta::assert_snapshot!(text(&Comparison::new(&old, &new)), @"
        20260101-000000-1 -> 20260102-030405-1

        outcomes
          mended  libbase  interrupted -> built

        packages
          added  app  1.4-2

        specs and sources
          removed  needs-more  gone.patch
          added    needs-more  needs-more-1.4.tar.gz
          changed  needs-more  packages/needs-more/needs-more.spec

        environment
          up       bash       5.2-1 -> 5.3-1
          removed  rpm-build  4.20-1 (tools)

        recipe
          removed  recipe  base cae662172fd4

        configuration
          changed  commit           fedcba987654 -> 0123456789ab
          added    request          more
          changed  repository main  revision 1700000000, repomd d0df476353bf -> revision 1700000001, repomd d0df476353bf
          changed  processors       4 -> 8
        ");
        insta::assert_snapshot!(text(&Comparison::new(&old, &old)), @"
        20260101-000000-1 -> 20260101-000000-1
        nothing differs
        ");
    }

    #[test]
    fn two_locks_and_runs_without_one_differ_by_what_is_known() {
        let mut old = locks::lock();
        old.packages[0].digest = Digest::of(b"older");
        old.packages.pop();
        old.base = Some(locks::image());
        let (from, to) = (
            Side::of_lock("HEAD~1".to_owned(), old),
            Side::of_lock("HEAD".to_owned(), locks::lock()),
        );
        insta::assert_snapshot!(text(&Comparison::new(&from, &to)), @"
        HEAD~1 -> HEAD

        packages
          added  zlib  1.0-1

        specs and sources
          changed  libpng  packages/libpng/libpng.spec

        environment
          removed  bash   5.1-1
          removed  glibc  2.42-1

        configuration
          removed  base  registry.example/base:9 05b3abf2579a
        ");
        let mut before = sample::every_class();
        before.installed = ["gcc-14.3-1.x86_64", "zlib-1-1.noarch"]
            .map(|text| text.parse().unwrap())
            .into();
        let side = |record: crate::record::Record| Side {
            name: record.run.clone(),
            record: Some(record),
            lock: None,
        };
        let comparison = Comparison::new(&side(before), &side(sample::every_class()));
        insta::assert_snapshot!(text(&comparison), @"
        20260102-030405-1 -> 20260102-030405-1

        environment
          added    bash  5.2-1
          down     gcc   14.3-1 -> 14.2-1
          removed  zlib  1-1
        ");
    }
}
