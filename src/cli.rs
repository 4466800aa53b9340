//! The command line: types and help texts, nothing else.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

use crate::documents::config::BackendChoice;

/// Rebuild the build server on every build, and prove it.
#[derive(Debug, Parser)]
#[command(
    name = "pristine",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub struct Cli {
    /// The project: a folder with a `pristine.toml`
    #[arg(
        short = 'C',
        long,
        global = true,
        default_value = ".",
        value_name = "DIR"
    )]
    pub project: PathBuf,
    /// Where downloads, snapshots and runs are kept, instead of the project file's choice
    #[arg(long, global = true, env = "PRISTINE_STORE", value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Where environments are made and packages built, instead of the project file's choice;
    /// without any choice the first that works here
    #[arg(
        long,
        global = true,
        env = "PRISTINE_BACKEND",
        value_name = "NAME",
        value_parser = backend_parser()
    )]
    pub backend: Option<BackendChoice>,
    /// Only results and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Solve everything that the project needs and write `pristine.lock`
    ///
    /// Packages that are locked already stay as they are; `update` moves them.
    Lock,
    /// Solve again, taking the newest versions, and write `pristine.lock`
    Update {
        /// Only these packages may move; without names, all may
        names: Vec<String>,
    },
    /// Create the environment from the lock, then build every package in a clone of it
    Build(BuildArgs),
    /// Run a shell, or a command, in a throw-away clone of the pristine snapshot
    Enter(EnterArgs),
    /// List, export and import snapshots
    #[command(subcommand)]
    Snapshot(SnapshotVerb),
    /// Make the embedded distribution, write a demonstration project, and build it
    Demo(DemoArgs),
    /// Remove what interrupted runs left in the store, and runs beyond the number to keep
    Clean,
    /// Say which backends work on this host, and what to do where one does not
    Doctor,
}

/// Reads the name of a backend.
fn backend_parser() -> impl TypedValueParser<Value = BackendChoice> {
    let names = BackendChoice::ALL.map(BackendChoice::name);
    PossibleValuesParser::new(names).try_map(|name| {
        let all = BackendChoice::ALL.into_iter();
        all.into_iter()
            .find(|choice| choice.name() == name)
            .ok_or("there is no such backend")
    })
}

/// Arguments of `build`.
#[derive(Debug, Clone, Default, Args)]
pub struct BuildArgs {
    /// Refuse to build when `pristine.lock` does not fit the project, and say what changed
    ///
    /// Without it, a lock that does not fit is written anew first.
    #[arg(long)]
    pub locked: bool,
    /// Start from the kept snapshot of this lock, where there is one, instead of creating it anew
    #[arg(long)]
    pub reuse_snapshot: bool,
    /// Where the results go, instead of a new folder below the store's `runs/`
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// Arguments of `enter`.
#[derive(Debug, Clone, Args)]
pub struct EnterArgs {
    /// Let the commands inside use the host's network
    #[arg(long)]
    pub network: bool,
    /// Be root inside (never outside) instead of the builder
    #[arg(long)]
    pub root: bool,
    /// The command and its arguments; a login shell without one
    #[arg(last = true)]
    pub command: Vec<String>,
}

/// Verbs on snapshots.
#[derive(Debug, Subcommand)]
pub enum SnapshotVerb {
    /// The snapshots in the store
    List,
    /// Write a snapshot to a file that any OCI tool reads (`skopeo`, `podman load`)
    Export {
        /// Where to; `-` is standard output
        file: PathBuf,
        /// The snapshot's digest or the beginning of it; without it, the one of the project's lock
        #[arg(long)]
        snapshot: Option<String>,
        /// A plain tarball of the file tree instead of an OCI archive
        #[arg(long)]
        tar: bool,
    },
    /// Hand a snapshot to Docker Engine or Podman (`DOCKER_HOST`) as an image
    Load {
        /// The image's name there, with or without a tag
        #[arg(value_name = "NAME[:TAG]")]
        name: String,
        /// The snapshot's digest or the beginning of it; without it, the one of the project's lock
        #[arg(long)]
        snapshot: Option<String>,
    },
    /// Read a snapshot from an OCI archive
    Import {
        /// The archive
        file: PathBuf,
    },
}

/// Arguments of `demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Where the project is written
    #[arg(default_value = "pristine-demo", value_name = "DIR")]
    pub folder: PathBuf,
    /// The Debian suite that the distribution is made of
    #[arg(long, default_value = "trixie", value_parser = ["bookworm", "trixie", "sid"])]
    pub suite: String,
    /// The Debian mirror; without it, the one that the host's apt uses, else a public one
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
