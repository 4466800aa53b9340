//! One file per verb; each reads like its story.

use std::process::ExitCode;

use clap::Parser as _;

use crate::cancel::Cancel;
use crate::cli::{Cli, Verb};
use crate::error::{Failure, Kind};
use crate::ui::{Manner, Ui};

mod attest;
mod audit;
mod base;
mod build;
mod building;
mod choosing;
mod clean;
mod context;
mod creating;
mod current;
mod demo;
mod diff;
mod doctor;
mod earlier;
mod enter;
mod export;
mod failure;
mod gc;
mod job;
mod kept;
mod lock;
mod log;
mod origin;
mod recording;
mod run;
mod runs;
mod sbom;
mod scratch;
mod show;
mod signals;
mod snapshot;
mod source;
mod space;
mod store;
mod supplies;
mod tables;
mod usage;
mod verify;
mod verify_attestation;
mod why;
mod why_not;

/// Exit code when a package did not build (`docs/exit-codes.md`).
const PACKAGE_FAILED: u8 = 1;

/// Runs the program.
pub fn main() -> ExitCode {
    // In a sandbox's own processes this call does not return.
    crate::backend::native::dispatch();
    crate::backend::docker::dispatch();
    let cli = Cli::parse();
    start_log();
    let ui = Ui::new(Manner {
        quiet: cli.quiet,
        json: cli.verb.events_as_json(),
        timed: cli.verb.takes_long(),
        clock: context::now,
    });
    match run(&cli, &ui) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            ui.failure(&failure);
            ExitCode::from(failure.kind.exit_code())
        }
    }
}

/// Diagnostics for developers of pristine, off unless `PRISTINE_LOG` says otherwise.
fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("PRISTINE_LOG");
    if let Ok(filter) = filter {
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .init();
    }
}

fn run(cli: &Cli, ui: &Ui) -> Result<u8, Failure> {
    let started = context::Started::now();
    let cancel = Cancel::new().map_err(|error| Failure::new(Kind::CannotRun, error))?;
    signals::watch(&cancel).map_err(|error| Failure::new(Kind::CannotRun, error))?;
    let mut context = context::Context {
        ui,
        cancel,
        runtime: std::sync::OnceLock::new(),
        store_option: cli.store.clone(),
        backend_option: cli.backend,
        folder: cli.project.clone(),
        offline: cli.verb.offline(),
        started,
        steps: std::sync::Mutex::default(),
    };
    match &cli.verb {
        Verb::Lock { .. } => lock::run(&context, &lock::Moves::Nothing),
        Verb::Update { names, .. } => lock::run(&context, &lock::Moves::from_names(names)),
        Verb::Why { name, .. } => why::why(&context, name),
        Verb::WhyNot { name, .. } => why_not::why_not(&context, name),
        Verb::Build(args) => build::run(&mut context, args),
        Verb::Audit(args) => audit::run(&context, args),
        Verb::Verify(args) => verify::run(&context, args),
        Verb::Runs { json } => runs::run(&context, *json),
        Verb::Show { run, json } => show::run(&context, run, *json),
        Verb::Log(args) => log::run(&context, args),
        Verb::Export(args) => export::run(&context, args),
        Verb::Sbom(args) => sbom::run(&context, args),
        Verb::Attest(args) => attest::run(&context, args),
        Verb::VerifyAttestation(args) => verify_attestation::run(&context, args),
        Verb::Diff { old, new, json } => diff::run(&context, (old, new), *json),
        Verb::Clean { all } => clean::run(&context, *all),
        Verb::Gc { dry_run } => gc::run(&context, *dry_run),
        Verb::Store(verb) => store::run(&context, verb),
        Verb::Doctor { .. } => doctor::run(&context),
        Verb::Enter(args) => enter::run(&context, args),
        Verb::Run(args) => run::run(&context, args),
        Verb::Snapshot(verb) => snapshot::run(&context, verb),
        Verb::Demo(args) => demo::run(context, args),
    }
}
