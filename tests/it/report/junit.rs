//! `junit.xml` against the schemas that its readers know.

use std::path::Path;
use std::process::Command;

use super::{Runs, lock, sample};
use crate::conformance::skip;

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fixtures/junit.xsd");

/// What the validator says; `None`, with a word about it, where there is none.
fn validate(file: &Path) -> Option<(bool, String)> {
    let ran = Command::new("xmllint")
        .args(["--noout", "--schema", SCHEMA])
        .arg(file)
        .output();
    match ran {
        Ok(output) => Some((
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )),
        Err(error) => {
            skip(&format!("xmllint: {error}"));
            None
        }
    }
}

#[test]
fn junit_fits_the_schemas_of_its_readers() {
    for record in [
        sample::every_class(),
        sample::hostile(),
        sample::record("20260102-030405-1", Vec::new()),
    ] {
        let runs = Runs::new();
        let file = runs.add(record, &lock(&[])).join("junit.xml");
        let Some((fits, said)) = validate(&file) else {
            return;
        };
        let text = fs_err::read_to_string(&file).unwrap();
        assert!(fits, "{said}\n{text}");
    }
}

#[test]
fn the_schema_is_not_blind() {
    let runs = Runs::new();
    let file = runs
        .add(sample::every_class(), &lock(&[]))
        .join("junit.xml");
    let text = fs_err::read_to_string(&file).unwrap();
    for (from, to) in [
        ("<testsuite name=", "<testsuite surprise=\"1\" name="),
        (" classname=\"tools\"", ""),
        (" time=\"", " time=\"long"),
        ("<failure message", "<failures message"),
    ] {
        assert!(text.contains(from), "{from}");
        fs_err::write(&file, text.replace(from, to)).unwrap();
        let Some((fits, _)) = validate(&file) else {
            return;
        };
        assert!(!fits, "{to}");
    }
}
