//! `pristine log`: what a package's build printed.

use std::io::BufReader;

use crate::cli::LogArgs;
use crate::commands::context::Context;
use crate::commands::kept;
use crate::documents::nearest;
use crate::error::{Failure, Kind};
use crate::record::{Outcome, PackageRecord, Record};

pub(super) fn run(context: &Context<'_>, args: &LogArgs) -> Result<u8, Failure> {
    let (folder, record) = kept::run(context, &args.run)?;
    let package = package(&record, &args.package)?;
    let Some(log) = &package.log else {
        return Err(no_log(&record, package));
    };
    let failed = |error| Failure::new(Kind::CannotRun, error);
    let file = fs_err::File::open(folder.join(log)).map_err(failed)?;
    context
        .ui
        .pour(&mut BufReader::new(file), args.raw)
        .map_err(failed)?;
    Ok(0)
}

fn package<'a>(record: &'a Record, name: &str) -> Result<&'a PackageRecord, Failure> {
    let mut packages = record.packages.iter();
    packages
        .find(|package| package.name == name)
        .ok_or_else(|| {
            let failure = Failure::new(
                Kind::Input,
                format!("the run {} has no package `{name}`", record.run),
            );
            let names: Vec<_> = record
                .packages
                .iter()
                .map(|package| package.name.as_str())
                .collect();
            match nearest(name, &names) {
                Some(other) => failure.hint(format!("there is `{other}`")),
                None => failure.hint(format!("its packages: pristine show {}", record.run)),
            }
        })
}

fn no_log(record: &Record, package: &PackageRecord) -> Failure {
    let (name, run) = (&package.name, &record.run);
    match &package.outcome {
        Outcome::Skipped { because } => Failure::new(
            Kind::Input,
            format!(
                "`{name}` was not tried in the run {run}: it needs `{because}`, which was not built"
            ),
        )
        .hint(format!("pristine log {run} {because}")),
        Outcome::Reused { run: other } => Failure::new(
            Kind::Input,
            format!("`{name}` was not built in the run {run}, but taken from the run {other}"),
        )
        .hint(format!("pristine log {other} {name}")),
        _ => Failure::new(Kind::Input, format!("`{name}` has no log in the run {run}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn what_has_no_log_is_told_with_where_to_look() {
        let mut record = sample::every_class();
        record.packages[0].outcome = Outcome::Reused {
            run: "20260101-000000-1".to_owned(),
        };
        let text = |failure: Failure| format!("{failure}\n  {}", failure.hints.join("\n  "));
        let texts = [
            text(package(&record, "libbaes").unwrap_err()),
            text(package(&record, "something else").unwrap_err()),
            text(no_log(&record, &record.packages[9])),
            text(no_log(&record, &record.packages[0])),
        ];
        insta::assert_snapshot!(texts.join("\n"), @"
        the run 20260102-030405-1 has no package `libbaes`
          there is `libbase`
        the run 20260102-030405-1 has no package `something else`
          its packages: pristine show 20260102-030405-1
        `child` was not tried in the run 20260102-030405-1: it needs `compiles`, which was not built
          pristine log 20260102-030405-1 compiles
        `libbase` was not built in the run 20260102-030405-1, but taken from the run 20260101-000000-1
          pristine log 20260101-000000-1 libbase
        ");
    }
}
