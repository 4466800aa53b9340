//! Checking statements: who signed, what it is about, and whether it says what lock and record say.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::envelope::EnvelopeError;
use super::provenance::{self, OF_RECORD};
use super::{
    BUILD_TYPE, Descriptor, Envelope, PAYLOAD_TYPE, PREDICATE_TYPE, PublicKey, STATEMENT_TYPE,
    Statement,
};
use crate::digest::Digest;
use crate::documents::Lock;
use crate::record::{Outcome, Record};
use crate::words::clean;

/// More envelopes than any file has.
const MANY: usize = 10_000;
/// So many differences are told.
const TOLD: usize = 5;

/// What statements are held against.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Who may have signed.
    pub keys: &'a [PublicKey],
    /// Who must have built, where that is asked.
    pub builder: Option<&'a str>,
    /// The lock of which it must be made.
    pub lock: Option<&'a Lock>,
    /// The record of its run, and the digest of that file; needs a lock.
    pub record: Option<(&'a Record, Digest)>,
}

/// A statement that somebody signed.
#[derive(Debug)]
pub struct Checked<'a> {
    /// What it says.
    pub statement: Statement,
    /// Who signed it.
    pub signer: &'a PublicKey,
}

/// Why a statement is refused.
#[derive(Debug, Error)]
pub enum Problem {
    /// It is something else.
    #[error("it is no file of envelopes (DSSE), one JSON object a line: {0}")]
    Shape(String),
    /// It has no signature at all.
    #[error("it is an unsigned statement: nobody vouches for what it says")]
    Unsigned,
    /// There is nothing in it.
    #[error("there is no statement in it")]
    Empty,
    /// It has more than anything has.
    #[error("it has more than {MANY} envelopes")]
    Many,
    /// The signature does not hold.
    #[error("{0}")]
    Envelope(#[from] EnvelopeError),
    /// What was signed is no statement.
    #[error("its payload is `{0}`, not an in-toto statement (`{PAYLOAD_TYPE}`)")]
    Payload(String),
    /// What was signed is another kind of statement.
    #[error("its `{field}` is `{found}`, expected `{expected}`")]
    Field {
        /// Which field.
        field: &'static str,
        /// What it says.
        found: String,
        /// What it should say.
        expected: String,
    },
    /// It lacks something.
    #[error("it is not the statement of a build by pristine: {0}")]
    Content(String),
    /// It was not made of that lock.
    #[error("its dependencies are not those of the {of}:{differences}")]
    Dependencies {
        /// `lock`, or `lock and record`.
        of: &'static str,
        /// A line for each.
        differences: String,
    },
    /// It is not about what the record has.
    #[error("the record has other packages of `{package}`:{differences}")]
    Subjects {
        /// The package of the project.
        package: String,
        /// A line for each.
        differences: String,
    },
    /// The record knows nothing of it.
    #[error("the record {run} has no build of `{package}`{instead}")]
    NotBuilt {
        /// The record's run.
        run: String,
        /// The package.
        package: String,
        /// What it has in place of one.
        instead: String,
    },
}

/// What is looked at first.
#[derive(Deserialize)]
struct Header {
    #[serde(rename = "_type", default)]
    kind: String,
    #[serde(rename = "predicateType", default)]
    predicate_type: String,
}

/// Checks every envelope of a file.
pub fn check<'a>(bytes: &[u8], expected: &Expected<'a>) -> Result<Vec<Checked<'a>>, Problem> {
    let mut checked = Vec::new();
    for value in serde_json::Deserializer::from_slice(bytes).into_iter::<Value>() {
        let value = value.map_err(shape)?;
        if checked.len() == MANY {
            return Err(Problem::Many);
        }
        if value.get("_type").is_some() {
            return Err(Problem::Unsigned);
        }
        let envelope: Envelope = serde_json::from_value(value).map_err(shape)?;
        checked.push(one(&envelope, expected)?);
    }
    if checked.is_empty() {
        return Err(Problem::Empty);
    }
    Ok(checked)
}

#[expect(clippy::needless_pass_by_value, reason = "given to map_err")]
fn shape(error: serde_json::Error) -> Problem {
    Problem::Shape(clean(&error.to_string(), false))
}

fn one<'a>(envelope: &Envelope, expected: &Expected<'a>) -> Result<Checked<'a>, Problem> {
    let (payload, signer) = envelope.open(expected.keys)?;
    if envelope.payload_type != PAYLOAD_TYPE {
        let found = clean(&envelope.payload_type, false);
        return Err(Problem::Payload(found));
    }
    let statement = parse(&payload)?;
    if let Some(builder) = expected.builder {
        field(
            "builder.id",
            &statement.predicate.run_details.builder.id,
            builder,
        )?;
    }
    if let Some(lock) = expected.lock {
        let record = expected.record.map(|(record, _)| record);
        dependencies(&statement, lock, record)?;
    }
    if let Some((record, digest)) = expected.record {
        of_record(&statement, record, digest)?;
    }
    Ok(Checked { statement, signer })
}

fn parse(payload: &[u8]) -> Result<Statement, Problem> {
    let content = |error: serde_json::Error| Problem::Content(clean(&error.to_string(), false));
    let header: Header = serde_json::from_slice(payload).map_err(content)?;
    field("_type", &header.kind, STATEMENT_TYPE)?;
    field("predicateType", &header.predicate_type, PREDICATE_TYPE)?;
    let value: Value = serde_json::from_slice(payload).map_err(content)?;
    let build_type = value["predicate"]["buildDefinition"]["buildType"].as_str();
    field("buildType", build_type.unwrap_or_default(), BUILD_TYPE)?;
    let statement: Statement = serde_json::from_value(value).map_err(content)?;
    if statement.subject.is_empty() {
        return Err(Problem::Content("it is about no package".to_owned()));
    }
    let unnamed = statement.subject.iter().find(|one| one.sha256().is_none());
    if let Some(subject) = unnamed {
        let name = clean(&subject.name, false);
        return Err(Problem::Content(format!("`{name}` has no SHA-256")));
    }
    Ok(statement)
}

fn field(field: &'static str, found: &str, expected: &str) -> Result<(), Problem> {
    if found == expected {
        return Ok(());
    }
    Err(Problem::Field {
        field,
        found: clean(found, false),
        expected: expected.to_owned(),
    })
}

/// Holds the dependencies against the lock, and where there is a record, against both together.
fn dependencies(
    statement: &Statement,
    lock: &Lock,
    record: Option<&Record>,
) -> Result<(), Problem> {
    let name = statement.package();
    let mut expected = provenance::of_lock(lock, name);
    let package = record.and_then(|record| {
        let package = record.packages.iter().find(|package| package.name == name);
        package.map(|package| (record, package))
    });
    if let Some((record, package)) = package {
        expected.extend(provenance::of_record(record, lock, package));
    }
    let found = &statement.predicate.build_definition.resolved_dependencies;
    let found = found
        .iter()
        .filter(|one| package.is_some() || !OF_RECORD.contains(&one.part()));
    let differences = differences(&expected.iter().collect(), &found.collect());
    if differences.is_empty() {
        return Ok(());
    }
    let of = if package.is_some() {
        "lock and record"
    } else {
        "lock"
    };
    Err(Problem::Dependencies { of, differences })
}

/// Holds everything that only the record knows against it.
fn of_record(statement: &Statement, record: &Record, digest: Digest) -> Result<(), Problem> {
    let name = statement.package();
    let built = record.packages.iter().find(|package| package.name == name);
    let instead = match built.map(|package| &package.outcome) {
        Some(Outcome::Built {}) => None,
        Some(Outcome::Reused { run }) => Some(format!(
            ": it was taken from the run {}, whose record is the one to look at",
            clean(run, false)
        )),
        Some(other) => Some(format!(": it {}", clean(&other.to_string(), false))),
        None => Some(String::new()),
    };
    let (Some(package), None) = (built, &instead) else {
        return Err(Problem::NotBuilt {
            run: clean(&record.run, false),
            package: clean(name, false),
            instead: instead.unwrap_or_default(),
        });
    };
    let details = &statement.predicate.run_details;
    field("invocationId", &details.metadata.invocation_id, &record.run)?;
    let subjects = provenance::subjects(package);
    let differences = differences(
        &subjects.iter().collect(),
        &statement.subject.iter().collect(),
    );
    if !differences.is_empty() {
        let package = clean(name, false);
        return Err(Problem::Subjects {
            package,
            differences,
        });
    }
    let file = crate::record::FILE_NAME;
    let mut byproducts = details.byproducts.iter();
    let said = byproducts.find(|one| one.name == file);
    let said = said.and_then(Descriptor::sha256);
    let said = said.map_or("nothing".to_owned(), |said| said.to_string());
    field(
        "record.json among the byproducts",
        &said,
        &digest.to_string(),
    )
}

/// A line for each thing that only one side has, the first few.
fn differences(expected: &BTreeSet<&Descriptor>, found: &BTreeSet<&Descriptor>) -> String {
    let missing = expected.difference(found);
    let missing = missing.map(|one| format!("\n  it lacks {}", one.told()));
    let added = found.difference(expected);
    let added = added.map(|one| format!("\n  it adds {}", clean(&one.told(), false)));
    let lines: Vec<String> = missing.chain(added).collect();
    let more = lines.len().saturating_sub(TOLD);
    let mut text: String = lines.into_iter().take(TOLD).collect();
    if more > 0 {
        text = format!("{text}\n  and {more} more");
    }
    text
}

#[cfg(test)]
mod tests {
    // The records of `report`'s tests, of a module beside this one.
    use pristine::report::sample as records;
    use proptest::prelude::*;

    use super::*;
    use crate::documents::lock::sample;
    use crate::statement::SigningKey;
    use crate::statement::key::testing::{other, pair};
    use crate::statement::provenance::Beside;

    fn lock() -> Lock {
        let mut lock = sample::lock();
        lock.base = Some(sample::image());
        lock
    }

    fn record() -> Record {
        let mut package = records::built("zlib", 0, 1000);
        package.inputs[1].sha256 = Digest::of(b"tarball");
        package.own_packages = vec![package.outputs[0].clone()];
        records::record("20260102-030405-1", vec![package])
    }

    fn beside() -> Beside {
        Beside {
            record: Digest::of(b"record"),
            log: Some(Digest::of(b"log")),
        }
    }

    fn statement() -> Statement {
        let record = record();
        Statement::new(
            &record,
            &lock(),
            &record.packages[0],
            beside(),
            super::super::BUILDER,
        )
    }

    fn signed(value: &Value, key: &SigningKey) -> Vec<u8> {
        let envelope = Envelope::sign(value.to_string().as_bytes(), key);
        serde_json::to_vec(&envelope).unwrap()
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a message for each case")]
    fn a_statement_says_what_lock_and_record_say() {
        let mut value = serde_json::to_value(statement()).unwrap();
        let all = value["predicate"]["buildDefinition"]["resolvedDependencies"].take();
        let all = all.as_array().unwrap().iter();
        let line = |one: &Value| {
            let mut one = one.clone();
            for digest in one["digest"].as_object_mut().unwrap().values_mut() {
                *digest = digest.as_str().unwrap()[..8].into();
            }
            one.to_string()
        };
        insta::assert_snapshot!(all.map(line).collect::<Vec<_>>().join("\n"), @r#"
        {"annotations":{"kind":"lock"},"digest":{"sha256":"49e2c8f1"},"name":"pristine.lock"}
        {"annotations":{"kind":"template"},"digest":{"sha256":"43385991"},"name":"mini"}
        {"annotations":{"kind":"recipe"},"digest":{"sha256":"cae66217"},"name":"base"}
        {"annotations":{"kind":"base"},"digest":{"sha256":"05b3abf2"},"name":"registry.example/base:9"}
        {"annotations":{"kind":"repository"},"digest":{"sha256":"d0df4763"},"name":"main","uri":"https://mirror.example/main/repodata/repomd.xml"}
        {"annotations":{"kind":"key"},"digest":{"sha256":"2c70e12b"},"name":"ABABABABABABABABABABABABABABABABABABABAB","uri":"https://mirror.example/key.asc"}
        {"annotations":{"kind":"key"},"digest":{"sha256":"2c70e12b"},"name":"CDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD","uri":"https://mirror.example/key.asc"}
        {"annotations":{"kind":"rpm","repository":"main"},"digest":{"sha256":"37d2b12d"},"name":"bash-5.2-1.x86_64","uri":"https://mirror.example/main/Packages/bash-5.2-1.x86_64.rpm"}
        {"annotations":{"kind":"rpm","location":"./rpms/tool.rpm"},"digest":{"sha256":"7c9bbe5e"},"name":"tool-1-1.x86_64"}
        {"annotations":{"kind":"tool","repository":"main"},"digest":{"sha256":"33f7d69a"},"name":"rpm-build-4.20-1.x86_64","uri":"https://mirror.example/main/Packages/rpm-build-4.20-1.x86_64.rpm"}
        {"annotations":{"kind":"source"},"digest":{"sha256":"db4b4d0d"},"name":"zlib-1.0.tar.gz","uri":"https://upstream.example/zlib-1.0.tar.gz"}
        {"annotations":{"kind":"input"},"digest":{"sha256":"0ea55c28"},"name":"packages/zlib/zlib.spec"}
        {"annotations":{"kind":"own-package"},"digest":{"sha256":"0ea55c28"},"name":"zlib-1.4-2.x86_64.rpm"}
        {"annotations":{"kind":"commit"},"digest":{"gitCommit":"01234567"},"name":"commit","uri":"git+https://git.example/tools@main"}
        "#);
        insta::assert_snapshot!(serde_json::to_string_pretty(&value).unwrap(), @r#"
        {
          "_type": "https://in-toto.io/Statement/v1",
          "predicate": {
            "buildDefinition": {
              "buildType": "urn:pristine:rpm-build:1",
              "externalParameters": {
                "package": "zlib",
                "project": "tools",
                "scope": {
                  "what": "all"
                },
                "source": {
                  "digest": {
                    "gitCommit": "0123456789abcdef0123456789abcdef01234567"
                  },
                  "name": "commit",
                  "uri": "git+https://git.example/tools@main"
                }
              },
              "internalParameters": {
                "backend": "native",
                "environment": "sha256:dc9c5edb8b2d479e697b4b0b8ab874f32b325138598ce9e7b759eb8292110622",
                "processors": 2,
                "snapshot": "sha256:6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d",
                "sourceDateEpoch": 1
              },
              "resolvedDependencies": null
            },
            "runDetails": {
              "builder": {
                "id": "urn:pristine:builder",
                "version": {
                  "pristine": "0.1.0"
                }
              },
              "byproducts": [
                {
                  "digest": {
                    "sha256": "836ff184e7b41b1e13cb5fd89fa1de98dbbab99e9d2918913ff43b86a5c7c213"
                  },
                  "name": "logs/zlib.log"
                },
                {
                  "digest": {
                    "sha256": "70ce871f8a3d3fb449bc3c3ace6547cef02dfc74ffe48d912532a724bfdbe5b9"
                  },
                  "name": "record.json"
                }
              ],
              "metadata": {
                "finishedOn": "2026-01-02T03:07:06Z",
                "invocationId": "20260102-030405-1",
                "startedOn": "2026-01-02T03:04:05Z"
              }
            }
          },
          "predicateType": "https://slsa.dev/provenance/v1",
          "subject": [
            {
              "digest": {
                "sha256": "0ea55c28f8014d8886b6248fe3da5d588f55c0823847a6b4579f1131b051b5e2"
              },
              "name": "zlib-1.4-2.x86_64.rpm"
            }
          ]
        }
        "#);
    }

    /// What checking says of a statement that `change` changed before it was signed.
    fn told(change: &dyn Fn(&mut Value)) -> String {
        let mut value = serde_json::to_value(statement()).unwrap();
        change(&mut value);
        let (signing, public) = pair();
        let (keys, lock, record) = ([public], lock(), record());
        let expected = Expected {
            keys: &keys,
            builder: Some(super::super::BUILDER),
            lock: Some(&lock),
            record: Some((&record, Digest::of(b"record"))),
        };
        match check(&signed(&value, &signing), &expected) {
            Ok(checked) => format!("good: {}", checked[0].statement.package()),
            Err(problem) => problem.to_string(),
        }
    }

    #[test]
    fn what_is_not_as_it_should_be_is_told() {
        let definition = |value: &mut Value, key: &str, to: Value| {
            value["predicate"]["buildDefinition"][key] = to;
        };
        let dependency = |value: &mut Value, change: &dyn Fn(&mut Vec<Value>)| {
            let all = &mut value["predicate"]["buildDefinition"]["resolvedDependencies"];
            change(all.as_array_mut().unwrap());
        };
        let changes: [&dyn Fn(&mut Value); 14] = [
            &|_| {},
            &|value| value["_type"] = "https://in-toto.io/Statement/v0.1".into(),
            &|value| value["predicateType"] = "https://spdx.dev/Document".into(),
            &|value| definition(value, "buildType", "urn:other".into()),
            &|value| value["subject"] = Value::Array(Vec::new()),
            &|value| value["subject"][0]["digest"] = serde_json::json!({"sha1": "00"}),
            &|value| value["subject"][0]["name"] = "other.rpm".into(),
            &|value| {
                let parameters = &mut value["predicate"]["buildDefinition"]["externalParameters"];
                parameters["surprise"] = 1.into();
            },
            &|value| {
                let parameters = &mut value["predicate"]["buildDefinition"]["externalParameters"];
                parameters["package"] = "libpng".into();
            },
            &|value| value["predicate"]["runDetails"]["builder"]["id"] = "me\u{1b}[31m".into(),
            &|value| value["predicate"]["runDetails"]["metadata"]["invocationId"] = "1".into(),
            &|value| value["predicate"]["runDetails"]["byproducts"] = Value::Array(Vec::new()),
            &|value| dependency(value, &|all| drop(all.remove(6))),
            &|value| dependency(value, &|all| all[6]["digest"]["sha256"] = "00".into()),
        ];
        insta::assert_snapshot!(changes.map(told).join("\n"), @"
        good: zlib
        its `_type` is `https://in-toto.io/Statement/v0.1`, expected `https://in-toto.io/Statement/v1`
        its `predicateType` is `https://spdx.dev/Document`, expected `https://slsa.dev/provenance/v1`
        its `buildType` is `urn:other`, expected `urn:pristine:rpm-build:1`
        it is not the statement of a build by pristine: it is about no package
        it is not the statement of a build by pristine: `zlib-1.4-2.x86_64.rpm` has no SHA-256
        the record has other packages of `zlib`:
          it lacks `zlib-1.4-2.x86_64.rpm` (sha256:0ea55c28f8014d8886b6248fe3da5d588f55c0823847a6b4579f1131b051b5e2)
          it adds `other.rpm` (sha256:0ea55c28f8014d8886b6248fe3da5d588f55c0823847a6b4579f1131b051b5e2)
        it is not the statement of a build by pristine: unknown field `surprise`, expected one of `project`, `package`, `source`, `scope`
        its dependencies are not those of the lock:
          it lacks source `libpng-1.0.tar.gz` (sha256:db4b4d0d1cb480bf9aeea253771c00febe627f236765fa37d6a5614f079a3aa0)
          it adds source `zlib-1.0.tar.gz` (sha256:db4b4d0d1cb480bf9aeea253771c00febe627f236765fa37d6a5614f079a3aa0)
        its `builder.id` is `me`, expected `urn:pristine:builder`
        its `invocationId` is `1`, expected `20260102-030405-1`
        its `record.json among the byproducts` is `nothing`, expected `sha256:70ce871f8a3d3fb449bc3c3ace6547cef02dfc74ffe48d912532a724bfdbe5b9`
        its dependencies are not those of the lock and record:
          it lacks key `CDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD` (sha256:2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683)
        its dependencies are not those of the lock and record:
          it lacks key `CDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD` (sha256:2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683)
          it adds key `CDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD` (sha256:00)
        ");
    }

    #[test]
    fn what_is_no_envelope_is_told() {
        let (signing, public) = pair();
        let keys = [public];
        let expected = Expected {
            keys: &keys,
            builder: None,
            lock: None,
            record: None,
        };
        let value = serde_json::to_value(statement()).unwrap();
        let good = signed(&value, &signing);
        assert_eq!(check(&good.repeat(2), &expected).unwrap().len(), 2);
        let deep = "[".repeat(100_000);
        let files = [
            value.to_string().as_bytes().to_vec(),
            Vec::new(),
            b"not JSON".to_vec(),
            b"{\"payload\": 1}".to_vec(),
            deep.into_bytes(),
            signed(&value, &other().0),
            [good, b"more".to_vec()].concat(),
        ];
        let told = files.map(|file| check(&file, &expected).unwrap_err().to_string());
        let told = told.join("\n").replace(other().1.id(), "OTHER");
        insta::assert_snapshot!(told, @"
        it is an unsigned statement: nobody vouches for what it says
        there is no statement in it
        it is no file of envelopes (DSSE), one JSON object a line: expected ident at line 1 column 2
        it is no file of envelopes (DSSE), one JSON object a line: invalid type: integer `1`, expected a string
        it is no file of envelopes (DSSE), one JSON object a line: recursion limit exceeded at line 1 column 128
        its signature is by none of the given keys, or it was changed (its signer says: OTHER)
        it is no file of envelopes (DSSE), one JSON object a line: expected value at line 1 column 5195
        ");
    }

    proptest! {
        #[test]
        fn damage_is_refused_and_never_a_panic(at in 0_usize..6000, with in any::<u8>()) {
            let (signing, public) = pair();
            let value = serde_json::to_value(statement()).unwrap();
            let good = signed(&value, &signing);
            let mut bad = good.clone();
            if let Some(byte) = bad.get_mut(at) {
                *byte = with;
            }
            let keys = [public];
            let lock = lock();
            let expected = Expected { keys: &keys, builder: None, lock: Some(&lock), record: None };
            if let Ok(checked) = check(&bad, &expected) {
                // Only what means the same passes: another name of the key, blanks.
                prop_assert_eq!(&checked[0].statement, &statement());
            }
        }
    }
}
