//! `pristine runs`: the kept runs, newest first.

use serde::Serialize;

use crate::commands::context::Context;
use crate::commands::{kept, tables};
use crate::error::{Failure, Kind};
use crate::record::runs::{self, Entry};
use crate::record::{Ending, Record, Scope};
use crate::report::{self, Counts};
use crate::ui::seconds;
use crate::words::clean;

/// The version of what `--json` prints.
const FORMAT: u32 = 1;

pub(super) fn run(context: &Context<'_>, json: bool) -> Result<u8, Failure> {
    let folder = kept::folder(context)?;
    let mut entries = runs::each(&folder)?;
    entries.reverse();
    if json {
        let list = List {
            format: FORMAT,
            runs: entries.iter().map(Line::of).collect(),
        };
        context.ui.result(&to_json(&list)?);
    } else if entries.is_empty() {
        context.ui.note("no run is kept yet: pristine build");
    } else {
        context.ui.result(&table(&entries));
        let index = report::index_page(&folder);
        if index.is_file() {
            context.ui.note(&format!("as a page: {}", index.display()));
        }
    }
    Ok(0)
}

/// What a machine is told of a run.
#[derive(Serialize)]
struct Line<'a> {
    run: &'a str,
    folder: String,
    /// Why its record cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(flatten)]
    recorded: Option<Recorded<'a>>,
}

#[derive(Serialize)]
struct List<'a> {
    format: u32,
    runs: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Recorded<'a> {
    project: &'a str,
    started: &'a str,
    ended: &'a str,
    milliseconds: u64,
    ending: Ending,
    scope: &'a Scope,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<&'a str>,
    #[serde(flatten)]
    counts: Counts,
}

impl<'a> Line<'a> {
    fn of(entry: &'a Entry) -> Self {
        let (record, error) = match &entry.record {
            Ok(record) => (record.as_ref(), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Self {
            run: &entry.name,
            folder: entry.folder.display().to_string(),
            error,
            recorded: record.map(|record| Recorded {
                project: &record.project,
                started: &record.started,
                ended: &record.ended,
                milliseconds: u64::try_from(report::took(record).as_millis()).unwrap_or(u64::MAX),
                ending: record.ending,
                scope: &record.scope,
                commit: record.source.as_ref().map(|source| source.commit.as_str()),
                counts: Counts::of(record),
            }),
        }
    }
}

/// A document for machines.
pub(super) fn to_json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(|error| Failure::new(Kind::CannotRun, error))
}

fn table(entries: &[Entry]) -> String {
    let mut table = tables::plain(["run", "started", "took", "packages", "commit"]);
    for entry in entries {
        match &entry.record {
            Ok(Some(record)) => table.add_row(line(&entry.name, record)),
            Ok(None) => table.add_row(told(
                &entry.name,
                "no record: ended early, or still going on",
            )),
            Err(error) => table.add_row(told(&entry.name, &error.to_string())),
        };
    }
    tables::text(&mut table)
}

/// A line about a run that has nothing else to tell.
fn told(name: &str, text: &str) -> [String; 4] {
    let nothing = String::new;
    [clean(name, false), nothing(), nothing(), clean(text, false)]
}

fn line(name: &str, record: &Record) -> [String; 5] {
    let ending = match record.ending {
        Ending::Complete => "",
        Ending::Interrupted => "interrupted: ",
    };
    let scope = match &record.scope {
        Scope::All => "",
        Scope::Only { .. } => " (a part)",
        Scope::Since { .. } => " (what changed)",
        Scope::Resume { .. } => " (resumed)",
    };
    let commit = record.source.as_ref().map(|source| {
        let short: String = clean(&source.commit, false).chars().take(12).collect();
        let changed = if source.changes.is_some() {
            " and changes"
        } else {
            ""
        };
        short + changed
    });
    [
        clean(name, false),
        clean(
            &record.started.replace('T', " ").replace('Z', " UTC"),
            false,
        ),
        seconds(report::took(record)),
        format!("{ending}{}{scope}", Counts::of(record).words()),
        commit.unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn runs_are_told_in_lines() {
        let mut interrupted = sample::every_class();
        interrupted.ending = Ending::Interrupted;
        let bad = crate::record::RecordError::Newer {
            path: "runs/c/record.json".into(),
            found: 99,
            newest: 2,
        };
        let entry = |name: &str, record| Entry {
            name: name.to_owned(),
            folder: name.into(),
            record,
        };
        let entries = [
            entry("d", Ok(None)),
            entry("c", Err(bad)),
            entry("b", Ok(Some(interrupted))),
            entry("a", Ok(Some(sample::hostile()))),
        ];
        insta::assert_snapshot!(table(&entries), @"
        run  started                  took        packages                                                                                        commit
        d                                         no record: ended early, or still going on
        c                                         `runs/c/record.json` has format 99, which is newer than the newest that this version reads (2)
        b    2026-01-02 03:04:05 UTC  3 min 01 s  interrupted: 2 built, 8 failed, 2 skipped                                                       0123456789ab
        a    2026-01-02 03:04:05 UTC  3 min 01 s  2 built, 8 failed, 2 skipped (a part)                                                           <script>docu
        ");
        let lines: Vec<_> = entries.iter().map(Line::of).collect();
        insta::assert_snapshot!(to_json(&lines[1]).unwrap(), @r#"
        {
          "run": "c",
          "folder": "c",
          "error": "`runs/c/record.json` has format 99, which is newer than the newest that this version reads (2)"
        }
        "#);
        insta::assert_snapshot!(to_json(&lines[2]).unwrap(), @r#"
        {
          "run": "b",
          "folder": "b",
          "project": "tools",
          "started": "2026-01-02T03:04:05Z",
          "ended": "2026-01-02T03:07:06Z",
          "milliseconds": 181000,
          "ending": "interrupted",
          "scope": {
            "what": "all"
          },
          "commit": "0123456789abcdef0123456789abcdef01234567",
          "green": false,
          "built": 2,
          "reused": 0,
          "failed": 8,
          "skipped": 2,
          "interrupted": 0
        }
        "#);
    }
}
