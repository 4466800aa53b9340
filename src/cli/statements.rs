//! Arguments of the verbs that write and check what others read: `attest`, `verify-attestation`, `sbom`, `export`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::documents::Name;
use crate::statement::export::Format;
use crate::statement::sbom::BillFormat;

/// What statements say that no record knows.
#[derive(Debug, Clone, Default, Args)]
pub struct Attesting {
    /// Who answers for the build: a URI of your CI, say, that those who check statements know
    #[arg(long, env = "PRISTINE_BUILDER_ID", value_name = "URI")]
    pub builder_id: Option<String>,
}

/// Arguments of `attest`.
#[derive(Debug, Clone, Args)]
pub struct AttestArgs {
    /// A run's name or the beginning of it, `latest`, or a run's folder
    #[arg(default_value = "latest")]
    pub run: String,
    /// Sign with this Ed25519 key: PKCS#8 in PEM, or OpenSSH's own form, not encrypted
    #[arg(long, env = "PRISTINE_ATTEST_KEY", value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Where they go, instead of attestations/ in the run's folder
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// What statements say beside that
    #[command(flatten)]
    pub attesting: Attesting,
}

/// Arguments of `sbom`.
#[derive(Debug, Clone, Args)]
pub struct SbomArgs {
    /// A run's name or the beginning of it, `latest`, or a run's folder
    #[arg(default_value = "latest")]
    pub run: String,
    /// `spdx` (SPDX 2.3) or `cyclonedx` (CycloneDX 1.6), both in JSON; without it both are written
    #[arg(long, value_parser = bill_parser())]
    pub format: Vec<BillFormat>,
    /// Where they go, instead of sbom/ in the run's folder
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// Reads the name of a format of bills.
fn bill_parser() -> impl TypedValueParser<Value = BillFormat> {
    PossibleValuesParser::new(BillFormat::ALL.map(BillFormat::name)).try_map(|name| {
        let mut all = BillFormat::ALL.into_iter();
        all.find(|format| format.name() == name)
            .ok_or("there is no such format")
    })
}

/// Arguments of `export`.
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    /// `rpms-lock` for hermeto and rpm-lockfile-prototype, `dnf-manifest` for libpkgmanifest, `mock-lock` for mock's
    /// `buildroot_lock.json`
    #[arg(value_name = "FORMAT", value_parser = format_parser())]
    pub format: Format,
    /// A lock instead of the project's
    #[arg(long, value_name = "FILE")]
    pub lock: Option<PathBuf>,
    /// Where it goes, instead of standard output
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The address of a repository for those who read the file, where the lock has none, or another
    #[arg(long, value_name = "REPOSITORY=URL", value_parser = base_url)]
    pub base_url: Vec<(Name, String)>,
}

/// Reads the name of a format.
fn format_parser() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::ALL.map(Format::name)).try_map(|name| {
        let mut all = Format::ALL.into_iter();
        all.find(|format| format.name() == name)
            .ok_or("there is no such format")
    })
}

/// Reads a repository and its address.
fn base_url(text: &str) -> Result<(Name, String), String> {
    let parts = text.split_once('=').filter(|(_, url)| url.contains("://"));
    let (name, url) = parts.ok_or("expected a repository's name, `=`, and a URL")?;
    let name = name.parse::<Name>().map_err(|error| error.to_string())?;
    Ok((name, url.to_owned()))
}

/// Arguments of `verify-attestation`.
#[derive(Debug, Clone, Args)]
pub struct VerifyAttestationArgs {
    /// Statements, and packages that they must be about
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Who may have signed: a public key, in PEM or as OpenSSH writes it; may be given several times
    #[arg(long, value_name = "PUB", required_unless_present = "allowed_signers")]
    pub key: Vec<PathBuf>,
    /// Who may have signed: a file of OpenSSH's `allowed_signers`
    #[arg(long, value_name = "FILE")]
    pub allowed_signers: Vec<PathBuf>,
    /// The lock that must have been built, to the last dependency
    #[arg(long, value_name = "FILE")]
    pub lock: Option<PathBuf>,
    /// The run's folder or its record.json: everything must be as they say
    #[arg(long, value_name = "RUN")]
    pub record: Option<PathBuf>,
    /// Who must have built, as `attest --builder-id` was given it
    #[arg(long, value_name = "URI")]
    pub builder_id: Option<String>,
}
