//! Generates a minidistro from the command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use minidistro::{Options, Progress, Suite, default_packages, generate};

/// Turn Debian packages, with all they need, into a signed RPM repository.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Debian suite: bookworm, trixie or sid.
    #[arg(long, default_value = "trixie")]
    suite: Suite,
    /// Root of a Debian archive [default: the one that the host's apt uses, else a public one].
    #[arg(long)]
    mirror: Option<String>,
    /// The repository to write.
    #[arg(long)]
    output: PathBuf,
    /// Where downloads are kept [default: OUTPUT.downloads].
    #[arg(long)]
    downloads: Option<PathBuf>,
    /// Wanted packages, separated by commas [default: what it takes to build RPMs].
    #[arg(long, value_delimiter = ',')]
    packages: Vec<String>,
    /// Debian source packages whose upstream tarballs are looked up, separated by commas.
    #[arg(long, value_delimiter = ',')]
    sources: Vec<String>,
    /// Only metadata, of all packages of the suite: a large universe for solvers.
    #[arg(long)]
    universe: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say_error(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let mut downloads = arguments.output.clone().into_os_string();
    downloads.push(".downloads");
    let packages = if arguments.packages.is_empty() {
        let packages = default_packages(arguments.suite);
        packages.into_iter().map(str::to_owned).collect()
    } else {
        arguments.packages
    };
    let options = Options {
        suite: arguments.suite,
        mirror: arguments.mirror,
        packages,
        downloads: arguments.downloads.unwrap_or_else(|| downloads.into()),
        output: arguments.output,
        sources: arguments.sources,
    };
    if arguments.universe {
        let count = minidistro::universe(&options).await?;
        say(&format!("{{\"packages\": {count}}}"));
        return Ok(());
    }
    let summary = generate(&options, &show).await?;
    say(&serde_json::to_string_pretty(&summary)?);
    Ok(())
}

fn show(progress: Progress) {
    match progress {
        Progress::Planned { packages, bytes } => {
            say_error(&format!("{packages} packages, {bytes} bytes to have"));
        }
        Progress::Converted {
            name,
            reused: false,
        } => say_error(&format!("converted {name}")),
        _ => {}
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the one place of this program that writes its result"
)]
fn say(text: &str) {
    println!("{text}");
}

#[expect(
    clippy::print_stderr,
    reason = "the one place of this program that writes messages"
)]
fn say_error(text: &str) {
    eprintln!("{text}");
}
