//! `pristine verify-attestation`: whether statements hold, and are about these packages.

use std::path::{Path, PathBuf};

use crate::cli::VerifyAttestationArgs;
use crate::commands::PACKAGE_FAILED;
use crate::commands::context::Context;
use crate::digest::Digest;
use crate::documents::Lock;
use crate::documents::lock::FILE;
use crate::error::{Failure, Kind};
use crate::events::{Event, Sink as _};
use crate::record::{FILE_NAME, Record};
use crate::statement::{self, Checked, Descriptor, Expected, PublicKey, Statement};
use crate::words::clean;

/// The folder of a run's packages, beside that of its statements.
const REPOSITORY: &str = "repository";

pub(super) fn run(context: &Context<'_>, args: &VerifyAttestationArgs) -> Result<u8, Failure> {
    let (artefacts, files): (Vec<&PathBuf>, Vec<&PathBuf>) =
        args.files.iter().partition(|path| is_package(path));
    if files.is_empty() {
        return Err(Failure::new(Kind::Input, "no statement is named")
            .hint("they lie in the run's folder, in attestations/, and end in .intoto.jsonl"));
    }
    let keys = keys(args)?;
    let record = args.record.as_deref().map(record).transpose()?;
    let lock = lock(args, record.as_ref().map(|(folder, ..)| folder.as_path()))?;
    let expected = Expected {
        keys: &keys,
        builder: args.builder_id.as_deref(),
        lock: lock.as_ref(),
        record: record.as_ref().map(|(_, record, digest)| (record, *digest)),
    };
    let mut findings = Findings::default();
    let mut statements = Vec::new();
    for path in files {
        match statement::check(&statement::read(path)?, &expected) {
            Ok(checked) => {
                for one in checked {
                    findings.good(path, &described(&one));
                    statements.push((path.as_path(), one.statement));
                }
            }
            Err(problem) => findings.bad(path, &problem.to_string()),
        }
    }
    if artefacts.is_empty() {
        beside(&mut findings, &statements)?;
    } else {
        given(&mut findings, &statements, &artefacts)?;
    }
    Ok(findings.tell(context))
}

fn is_package(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rpm")
}

fn keys(args: &VerifyAttestationArgs) -> Result<Vec<PublicKey>, Failure> {
    let mut keys = Vec::new();
    for path in &args.key {
        keys.push(PublicKey::load(path)?);
    }
    for path in &args.allowed_signers {
        keys.extend(statement::allowed_signers(path)?);
    }
    Ok(keys)
}

/// A record by its file or its folder, with the digest of the file.
fn record(path: &Path) -> Result<(PathBuf, Record, Digest), Failure> {
    let folder = if path.is_dir() {
        path.to_owned()
    } else if path.file_name().is_some_and(|name| name == FILE_NAME) {
        let parent = path.parent().unwrap_or(Path::new(""));
        Path::new(".").join(parent)
    } else {
        let text = format!("`{}` is no run's folder and no {FILE_NAME}", path.display());
        return Err(Failure::new(Kind::Input, text));
    };
    let record = Record::load(&folder)?;
    let digest = statement::digest(&folder.join(FILE_NAME))?;
    Ok((folder, record, digest))
}

/// The lock that is named, else the one beside the record, which must be the record's.
fn lock(args: &VerifyAttestationArgs, run: Option<&Path>) -> Result<Option<Lock>, Failure> {
    match (&args.lock, run) {
        (Some(path), _) => Ok(Some(Lock::load_file(path)?)),
        (None, Some(folder)) => Ok(Some(Lock::load_file(&folder.join(FILE))?)),
        (None, None) => Ok(None),
    }
}

fn described(checked: &Checked<'_>) -> String {
    let Statement { predicate, .. } = &checked.statement;
    let (definition, details) = (&predicate.build_definition, &predicate.run_details);
    let (parameters, signer) = (&definition.external_parameters, checked.signer);
    let owner = match signer.owner.as_str() {
        "" => String::new(),
        owner => format!(" ({owner})"),
    };
    let text = format!(
        "`{}` of {}, run {}, builder {}, {} dependencies, signed by {}{owner}",
        parameters.package,
        parameters.project,
        details.metadata.invocation_id,
        details.builder.id,
        definition.resolved_dependencies.len(),
        signer.id(),
    );
    clean(&text, false)
}

/// Holds the packages that lie beside the statements, or in the run's repository, against them.
fn beside(findings: &mut Findings, statements: &[(&Path, Statement)]) -> Result<(), Failure> {
    let mut found = 0;
    for (path, statement) in statements {
        let folder = path.parent().unwrap_or(Path::new(""));
        for subject in &statement.subject {
            let Some(name) = Path::new(&subject.name).file_name() else {
                continue;
            };
            let run = folder.parent().unwrap_or(Path::new(""));
            let places = [folder.join(name), run.join(REPOSITORY).join(name)];
            let Some(artefact) = places.iter().find(|place| place.is_file()) else {
                continue;
            };
            found += 1;
            let digest = statement::digest(artefact)?;
            findings.artefact(artefact, digest, statements);
        }
    }
    if found == 0 && !statements.is_empty() {
        let failure = Failure::new(
            Kind::Input,
            "the statements hold, but none of their packages lies beside them: nothing was held against them",
        );
        return Err(failure
            .hint("name the packages, too: pristine verify-attestation FILE… *.rpm --key PUB"));
    }
    Ok(())
}

fn given(
    findings: &mut Findings,
    statements: &[(&Path, Statement)],
    artefacts: &[&PathBuf],
) -> Result<(), Failure> {
    for artefact in artefacts {
        let digest = statement::digest(artefact)?;
        findings.artefact(artefact, digest, statements);
    }
    Ok(())
}

/// What was found, a line each.
#[derive(Debug, Default)]
struct Findings {
    lines: Vec<String>,
    bad: usize,
}

impl Findings {
    fn good(&mut self, path: &Path, text: &str) {
        let line = format!(
            "good  {}: {text}",
            clean(&path.display().to_string(), false)
        );
        self.lines.push(line);
    }

    fn bad(&mut self, path: &Path, text: &str) {
        let line = format!(
            "BAD   {}: {text}",
            clean(&path.display().to_string(), false)
        );
        self.lines.push(line);
        self.bad += 1;
    }

    fn artefact(&mut self, path: &Path, digest: Digest, statements: &[(&Path, Statement)]) {
        let subjects = || {
            statements
                .iter()
                .flat_map(|(_, statement)| &statement.subject)
        };
        if subjects().any(|subject| subject.sha256() == Some(digest)) {
            return self.good(path, &format!("{digest}, as stated"));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let stated = subjects().find(|subject| subject.name == name);
        match stated.and_then(Descriptor::sha256) {
            Some(stated) => self.bad(
                path,
                &format!("it is {digest}, the statement says {stated}"),
            ),
            None => self.bad(path, "no statement that holds is about it"),
        }
    }

    /// Prints it; the exit code.
    fn tell(self, context: &Context<'_>) -> u8 {
        let Self { lines, bad } = self;
        context.ui.result(&lines.join("\n"));
        if bad == 0 {
            return 0;
        }
        let text = format!("{bad} of {} do not hold", lines.len());
        context.ui.emit(Event::Warning { text });
        PACKAGE_FAILED
    }
}
