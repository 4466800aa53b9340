//! A package's sources unpacked in a clone, as far as its build would before it compiles: what a person works on.

use crate::backend::{self, BackendError, Command, Io};
use crate::build::package::{Job, PackageError, TOPDIR, copy_in, macros, prepare, rpmbuild};
use crate::cancel::Cancel;
use crate::environment::pack::{Content, Entry};

/// Prints the folder that `%prep` left, below rpmbuild's own: its only folder, if there is but one.
const WHERE: &str = r#"place=/builddir/BUILD
while :; do
    only=
    for folder in "$place"/*/; do
        case $folder in */BUILDROOT/ | */SPECPARTS/ | "$place/*/") continue ;; esac
        [ -z "$only" ] || { only=; break; }
        only=${folder%/}
    done
    [ -n "$only" ] || break
    place=$only
    # rpm 4.20 and newer have a folder for each build, in which that of the sources lies.
    case $place in *-build) ;; *) break ;; esac
done
printf %s "$place""#;

/// What came of unpacking.
#[derive(Debug)]
pub struct Unpacked {
    /// The folder of the sources, inside.
    pub folder: String,
    /// The end of what rpmbuild said, where `%prep` failed.
    pub failed: Option<String>,
}

/// Puts sources, macros and the packages that the job names into a clone, and runs `%prep`.
pub fn unpack(
    clone: &mut dyn backend::Clone,
    job: &Job<'_>,
    cancel: &Cancel,
) -> Result<Unpacked, PackageError> {
    let sandbox = |source| PackageError::Sandbox {
        package: job.name.to_owned(),
        source,
    };
    copy_in(clone, job, vec![rpm_macros(job)])?;
    let mut failed = None;
    for command in [prepare(job), rpmbuild(job, "-bp")] {
        let (success, said) = run(clone, &command, cancel).map_err(sandbox)?;
        if !success {
            failed = Some(said);
            break;
        }
    }
    let folder = build_folder(clone, job.builder.user, cancel).map_err(sandbox)?;
    Ok(Unpacked { folder, failed })
}

/// The folder of the sources in a clone in which `%prep` has run.
pub fn build_folder(
    clone: &mut dyn backend::Clone,
    user: backend::User,
    cancel: &Cancel,
) -> Result<String, BackendError> {
    let mut command = Command::new(["/bin/sh", "-c", WHERE]);
    command.user = user;
    let (success, said) = run(clone, &command, cancel)?;
    Ok(if success && said.starts_with(TOPDIR) {
        said
    } else {
        TOPDIR.to_owned()
    })
}

/// What a build's own processes have: environment, folder, user. No limits.
pub fn surroundings(job: &Job<'_>) -> Command {
    let mut command = rpmbuild(job, "-bp");
    command.limits = backend::Limits::default();
    command
}

/// Runs a command and keeps the end of what it says.
fn run(
    clone: &mut dyn backend::Clone,
    command: &Command,
    cancel: &Cancel,
) -> Result<(bool, String), BackendError> {
    const KEPT: usize = 4096;
    let mut said = Vec::new();
    let exit = clone.run(
        command,
        Io {
            stdin: None,
            output: &mut |_, bytes| {
                said.extend_from_slice(bytes);
                said.drain(..said.len().saturating_sub(KEPT));
            },
            cancel,
        },
    )?;
    Ok((
        exit.success(),
        String::from_utf8_lossy(&said).trim().to_owned(),
    ))
}

/// `~/.rpmmacros`: an `rpmbuild` that is run by hand does what the build does.
fn rpm_macros(job: &Job<'_>) -> Entry {
    let mut lines: Vec<String> = macros(job)
        .map(|(name, value)| format!("%{name} {}\n", value.replace('\n', "\\\n")))
        .collect();
    for option in job.options {
        for kind in ["with", "without"] {
            if let Some(name) = option.strip_prefix(&format!("--{kind}=")) {
                lines.push(format!("%_{kind}_{name} --{kind}-{name}\n"));
            }
        }
    }
    Entry {
        path: ".rpmmacros".to_owned(),
        mode: 0o644,
        owner: job.builder.user,
        content: Content::Bytes(lines.concat().into_bytes()),
    }
}
