//! What the environment and this machine let an audit vary, tried in a clone before anything is built.

use super::variations::LATER;
use crate::backend::{Backend, BackendError, Clone, Command, Exit, Io, Mount, RootId, Stream};
use crate::cancel::Cancel;

/// What can be varied beyond what always can.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is tried by itself, and no two belong together"
)]
pub struct Abilities {
    /// A locale of the environment that sorts and classifies otherwise than the usual one.
    pub locale: Option<String>,
    /// Whether programs start where `uname` tells an old kernel.
    pub old_kernel: bool,
    /// The release that they see then.
    pub old_release: Option<String>,
    /// Whether its make can be told another order.
    pub shuffles: bool,
    /// Whether programs can be told another time.
    pub later: bool,
    /// Whether a folder in memory lists its files in another order than one on the disk.
    pub lists_otherwise: bool,
    /// Processors that commands have.
    pub processors: usize,
}

/// Where folders are listed.
const HERE: &str = "/var/tmp/pristine-probe";
/// Makes files in a folder and lists them as the file system does.
const LIST: &str = "mkdir -p \"$1\" && cd \"$1\" && \
    for n in a b c d e f g h i j k l m n o p q r s t u v w x y z; do : > $n.c; done && ls -U";
/// Bytes of the folder in memory that is tried.
const SMALL: u64 = 1 << 20;

/// Tries everything.
pub fn probe(
    backend: &dyn Backend,
    roots: &[RootId],
    cancel: &Cancel,
) -> Result<Abilities, BackendError> {
    let mut clone = backend.open(roots)?;
    let mut say = |command: &Command| said(&mut *clone, command, cancel);
    let locales = say(&Command::new(["locale", "-a"]))?;
    let make = say(&Command::new(["make", "--version"]))?;
    let processors = say(&Command::new(["nproc"]))?;
    let list = |name: &str| Command::new(["sh", "-c", LIST, "list", &format!("{HERE}/{name}")]);
    let on_disk = say(&list("disk"))?;
    let mut in_memory = list("memory");
    in_memory.mounts.push(Mount::Memory {
        target: format!("{HERE}/memory"),
        size: SMALL,
    });
    let in_memory = say(&in_memory)?;
    let mut old = Command::new(["uname", "-r"]);
    old.surroundings.old_kernel = true;
    let release = say(&old)?.filter(|release| release.starts_with("2.6."));
    let later = later(&mut *clone, cancel)?;
    clone.destroy()?;
    Ok(Abilities {
        later,
        locale: locales.as_deref().and_then(other_locale),
        old_kernel: release.is_some(),
        old_release: release.map(|release| release.trim().to_owned()),
        shuffles: make.as_deref().is_some_and(shuffles),
        lists_otherwise: on_disk.is_some() && in_memory.is_some() && on_disk != in_memory,
        processors: processors
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(1),
    })
}

/// Whether a program can be told that it is later than it is. A host that does not allow it is no failure.
fn later(clone: &mut dyn Clone, cancel: &Cancel) -> Result<bool, BackendError> {
    let date = |ahead| {
        let mut command = Command::new(["date", "+%s"]);
        command.surroundings.ahead = ahead;
        command
    };
    let seconds = |said: Option<String>| said.and_then(|text| text.trim().parse::<i64>().ok());
    let now = seconds(said(clone, &date(0), cancel)?);
    let then = match said(clone, &date(LATER), cancel) {
        Err(BackendError::Interrupted) => return Err(BackendError::Interrupted),
        Err(error) => {
            tracing::info!(%error, "programs cannot be told another time");
            None
        }
        Ok(text) => seconds(text),
    };
    Ok(matches!((now, then), (Some(now), Some(then)) if then >= now + LATER))
}

/// What a command says, where it succeeds.
fn said(
    clone: &mut dyn Clone,
    command: &Command,
    cancel: &Cancel,
) -> Result<Option<String>, BackendError> {
    let mut text = Vec::new();
    let io = Io {
        stdin: None,
        output: &mut |stream, bytes| {
            if stream == Stream::Out {
                text.extend_from_slice(bytes);
            }
        },
        cancel,
    };
    let exit = clone.run(command, io)?;
    Ok((exit == Exit::Code(0)).then(|| String::from_utf8_lossy(&text).into_owned()))
}

/// A locale that is not the usual one: the first with another language, in UTF-8 where there is one.
fn other_locale(list: &str) -> Option<String> {
    let plain = |name: &&str| {
        let language = name.split(['.', '_']).next().unwrap_or_default();
        !matches!(language, "C" | "POSIX" | "")
    };
    let mut names: Vec<&str> = list.lines().map(str::trim).filter(plain).collect();
    names.sort_by_key(|name| (!name.to_lowercase().contains("utf"), *name));
    names.first().map(|name| (*name).to_owned())
}

/// Whether this is GNU make 4.4 or newer, which has `--shuffle`.
fn shuffles(version: &str) -> bool {
    let number = version
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("GNU Make "));
    let mut parts = number.unwrap_or_default().split('.');
    let mut part = || {
        parts
            .next()
            .and_then(|part| part.trim().parse::<u32>().ok())
    };
    match (part(), part()) {
        (Some(major), Some(minor)) => (major, minor) >= (4, 4),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_in_utf_8_comes_first_and_the_usual_ones_never() {
        for (list, chosen) in [
            ("C\nC.utf8\nPOSIX\n", None),
            (
                "C\nen_US\nfr_FR.utf8\nPOSIX\net_EE.utf8\n",
                Some("et_EE.utf8"),
            ),
            ("C\nen_US\n", Some("en_US")),
            ("", None),
        ] {
            assert_eq!(other_locale(list).as_deref(), chosen, "{list:?}");
        }
    }

    #[test]
    fn only_a_new_gnu_make_shuffles() {
        for (version, can) in [
            ("GNU Make 4.4.1\nBuilt for x", true),
            ("GNU Make 4.3\n", false),
            ("GNU Make 5.0\n", true),
            ("bmake 1.2\n", false),
            ("", false),
        ] {
            assert_eq!(shuffles(version), can, "{version:?}");
        }
    }
}
