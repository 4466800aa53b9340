//! Errors of modules become a `Failure` here and nowhere else: its kind, and what to do next.

use std::error::Error;
use std::io;

use crate::backend::{BackendError, Exit};
use crate::build::package::PackageError;
use crate::build::run::RunError;
use crate::compare::CompareError;
use crate::digest::Digest;
use crate::documents::DocumentError;
use crate::documents::lock::Drift;
use crate::engine::EngineError;
use crate::environment::create::EnvironmentError;
use crate::environment::source::SourceError;
use crate::environment::specs::SpecError;
use crate::error::{Failure, Kind};
use crate::git::GitError;
use crate::keyring::KeyringError;
use crate::oci::OciError;
use crate::plan::PlanError;
use crate::record::RecordError;
use crate::record::kept::KeptError;
use crate::record::runs::RunsError;
use crate::registry::RegistryError;
use crate::report::ReportError;
use crate::repository::RepositoryError;
use crate::resolve::ResolveError;
use crate::statement::export::ExportError;
use crate::statement::{KeyError, StatementError};
use crate::store::StoreError;
use crate::store::fetch::FetchError;

/// The error and all its causes.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| {
        (*error).source()
    })
}

/// A failure of `kind`, unless Ctrl-C or the user's own input is behind it.
fn failure(kind: Kind, error: impl Error + Send + Sync + 'static) -> Failure {
    let mut kind = kind;
    let mut hints = Vec::new();
    for cause in chain(&error) {
        match cause.downcast_ref::<BackendError>() {
            Some(BackendError::Interrupted) => kind = Kind::Interrupted,
            Some(BackendError::Unavailable { remedy, .. }) => hints.push(remedy.clone()),
            _ => {}
        }
        if let Some(hint) = refusal(cause).filter(|hint| !hints.iter().any(|known| known == hint)) {
            hints.push(hint.to_owned());
        }
        if matches!(
            cause.downcast_ref::<FetchError>(),
            Some(FetchError::Interrupted)
        ) {
            kind = Kind::Interrupted;
        }
    }
    let mut failure = Failure::new(kind, error);
    failure.hints = hints;
    failure
}

/// What to do where nothing can be written.
fn refusal(cause: &(dyn Error + 'static)) -> Option<&'static str> {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match cause.downcast_ref::<StoreError>() {
        Some(StoreError::ReadOnly { .. }) => return Some(READ_ONLY),
        Some(StoreError::Full { .. }) => return Some(FULL),
        _ => {}
    }
    match cause.downcast_ref::<io::Error>()?.kind() {
        ReadOnlyFilesystem => Some(READ_ONLY),
        StorageFull | QuotaExceeded => Some(FULL),
        _ => None,
    }
}

const READ_ONLY: &str = "a store is written even by what only uses it: make it writable, or name another with `--store DIR`; \
                         `runs`, `show`, `log`, `diff`, `snapshot list` and `snapshot export` only read";
const FULL: &str = "`pristine gc` frees what no kept run, tag or lock wants, and `--store DIR` names a store elsewhere";

macro_rules! always {
    ($($error:ty => $kind:ident),* $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                failure(Kind::$kind, error)
            }
        })*
    };
}

always! {
    minidistro::MinidistroError => CannotRun,
    DocumentError => Input,
    PlanError => Input,
    BackendError => CannotRun,
    StoreError => CannotRun,
    FetchError => CannotRun,
    KeyringError => CannotRun,
    EngineError => CannotRun,
    OciError => CannotRun,
    RecordError => CannotRun,
    ReportError => CannotRun,
    KeptError => CannotRun,
    RepositoryError => CannotRun,
    PackageError => CannotRun,
    RunError => CannotRun,
    CompareError => CannotRun,
}

impl From<StatementError> for Failure {
    fn from(error: StatementError) -> Self {
        let (kind, hint) = match &error {
            StatementError::Key { source, .. } => (Kind::Input, key_hint(source)),
            StatementError::TooLarge { .. } | StatementError::Outside { .. } => (Kind::Input, None),
            StatementError::Changed { .. } => (
                Kind::Lock,
                Some(
                    "a statement is made of what the build left: build again, or fetch the run's folder anew",
                ),
            ),
            StatementError::File { doing: "read", .. } => (Kind::Input, None),
            StatementError::File { .. } | StatementError::Json { .. } => (Kind::CannotRun, None),
        };
        let failure = failure(kind, error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        let hint = match &error {
            ExportError::NoAddress { repository }
            | ExportError::Path {
                repository: Some(repository),
                ..
            } => Some(format!(
                "say where it is for those who read the file: --base-url {repository}=https://…"
            )),
            ExportError::NotThere { .. } => {
                Some("`pristine build` and `pristine lock` fetch what a lock names".to_owned())
            }
            _ => None,
        };
        let kind = match error {
            ExportError::Rpm(_) | ExportError::Write(_) => Kind::CannotRun,
            _ => Kind::Input,
        };
        let failure = failure(kind, error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

fn key_hint(error: &KeyError) -> Option<&'static str> {
    match error {
        KeyError::Encrypted => Some(
            "give the machine that signs a copy without a passphrase: ssh-keygen -p -N \"\" -f COPY, or openssl pkey -in KEY -out COPY",
        ),
        KeyError::Algorithm(_) | KeyError::Unknown => Some(
            "make one: openssl genpkey -algorithm ed25519 -out KEY, or ssh-keygen -t ed25519 -N \"\" -f KEY",
        ),
        KeyError::Public | KeyError::Private => Some("name the other half"),
        KeyError::NobodyAllowed { .. } => Some(
            "a line is: who@example.org ssh-ed25519 AAAA…, or with namespaces=\"in-toto\" before the key",
        ),
        KeyError::Damaged => None,
    }
}

impl From<SpecError> for Failure {
    fn from(error: SpecError) -> Self {
        let kind = match error {
            SpecError::Parse { .. } | SpecError::Files { .. } => Kind::Input,
            SpecError::Answer { .. } | SpecError::Sandbox { .. } => Kind::CannotRun,
        };
        failure(kind, error)
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let kind = match error {
            SourceError::Rpm { .. } | SourceError::Content { .. } => Kind::Input,
            SourceError::Sandbox { .. } | SourceError::File { .. } => Kind::CannotRun,
        };
        failure(kind, error)
    }
}

impl From<EnvironmentError> for Failure {
    fn from(error: EnvironmentError) -> Self {
        let (kind, hint) = match error {
            EnvironmentError::Recipe { .. }
            | EnvironmentError::RecipeFile { .. }
            | EnvironmentError::Archive { .. } => (Kind::Input, None),
            EnvironmentError::BaseRpm {
                exit: Exit::Code(127),
                ..
            } => (
                Kind::Input,
                Some("a base needs an rpm of its own: take one with the package rpm-build"),
            ),
            _ => (Kind::CannotRun, None),
        };
        let failure = failure(kind, error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        let (kind, hint) = match &error {
            RegistryError::NotFound { .. } => (
                Kind::Input,
                Some("look at the name; registries also say this of images that they do not show to you".to_owned()),
            ),
            RegistryError::Unauthorised { registry, .. } => (
                Kind::CannotRun,
                Some(format!("log in first: podman login {registry}, or docker login {registry}")),
            ),
            RegistryError::Tls { .. } => (
                Kind::CannotRun,
                Some("if the registry has a CA of its own, install its certificate, or name it: SSL_CERT_FILE=/path/to/ca.pem".to_owned()),
            ),
            RegistryError::WithoutTls { .. } => (
                Kind::CannotRun,
                Some("where that is as it should be: `http://` before the image's name asks it without".to_owned()),
            ),
            RegistryError::Architecture { .. } => (Kind::Input, None),
            _ => (Kind::CannotRun, None),
        };
        let failure = failure(kind, error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<GitError> for Failure {
    fn from(error: GitError) -> Self {
        let hint = match &error {
            GitError::NoCommit { .. } => {
                "name a branch, a tag or a commit of it; what was not pushed is not there"
            }
            GitError::Run(_) => "install git",
            GitError::Refused { .. } => {
                "no configuration of git is read here (docs/building.md): an agent for ssh works, a credential helper does not"
            }
            GitError::File { .. } => return failure(Kind::CannotRun, error),
        };
        let kind = match &error {
            GitError::NoCommit { .. } => Kind::Input,
            _ => Kind::CannotRun,
        };
        failure(kind, error).hint(hint)
    }
}

impl From<RunsError> for Failure {
    fn from(error: RunsError) -> Self {
        let (kind, hint) = match &error {
            RunsError::Record(_) | RunsError::List { .. } => (Kind::CannotRun, None),
            RunsError::None { newest, .. } if newest.is_empty() => (
                Kind::Input,
                Some("this store keeps none yet: pristine build".to_owned()),
            ),
            RunsError::None { newest, .. } => (
                Kind::Input,
                Some(format!("the newest are {}", newest.join(", "))),
            ),
            RunsError::Several { .. } => (Kind::Input, Some("name one of them".to_owned())),
            RunsError::Unrecorded { .. } => (
                Kind::Input,
                Some("`latest` is the newest run that has one".to_owned()),
            ),
        };
        let failure = failure(kind, error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<ResolveError> for Failure {
    fn from(error: ResolveError) -> Self {
        // It stands for the error inside, which would not be found among its causes.
        let error = match error {
            ResolveError::Fetch(error) => return error.into(),
            error => error,
        };
        let (kind, hint) = match &error {
            ResolveError::NoSource { .. } => (
                Kind::Input,
                Some("put the file beside the spec, or name its URL in the Source tag".to_owned()),
            ),
            ResolveError::NotPinned { found, .. } => (
                Kind::Input,
                found.first().map(|(fingerprint, ..)| {
                    format!("check the fingerprint where its owner publishes it, and add it to the template: keys = [{{ fingerprint = \"{fingerprint}\" }}]")
                }),
            ),
            ResolveError::Unknown { nearest, .. } => (
                Kind::Input,
                (!nearest.is_empty()).then(|| format!("there is: {}", nearest.join(", "))),
            ),
            ResolveError::Unsolvable { .. }
            | ResolveError::Plan(_)
            | ResolveError::Key { .. }
            | ResolveError::TwoStreams { .. } => (Kind::Input, None),
            _ => (Kind::CannotRun, None),
        };
        let failure = failure(kind, error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// The environment that was made is not the one of the lock.
pub(super) fn mismatch(expected: &Digest, made: &Digest) -> Failure {
    let text = format!("the environment differs from the lock: expected {expected}, made {made}");
    Failure::new(Kind::Lock, text)
        .hint("a scriptlet or the tool that installs depends on more than the lock: compare the two trees")
        .hint(format!("`pristine snapshot export` shows the locked one, the new one is kept as tree {}", made.short()))
        .hint("if the change is wanted: remove `tree` from pristine.lock and run `pristine lock`")
}

/// The lock does not fit the project.
pub(super) fn stale(drift: &[Drift]) -> Failure {
    let mut changes = String::new();
    for change in drift {
        changes.push_str("\n  ");
        changes.push_str(&change.to_string());
    }
    Failure::new(
        Kind::Lock,
        format!("pristine.lock does not fit the project any more:{changes}"),
    )
    .hint("write it anew: pristine lock")
}
